"""What the static reading claims, held against a measurement."""

import re

import jax

import equijax as ej


def static_of(case):
    """Returns the static report on a planted network or an entry of the gallery."""
    options = {name: value for name, value in case.options.items() if name in ("out_action", "actions", "depth")}
    with jax.numpy_dtype_promotion("standard"):
        return ej.audit.static(case.make(), case.x.shape, in_action=case.action, dtype=case.x.dtype, **options)


def contradictions(case, report):
    """Returns the elements that the static reading says are kept, and the measurement that they are not."""
    static = static_of(case)
    wrong = []
    for label, error in zip(report.elements, report.error, strict=True):
        shift = [int(n) for n in re.findall(r"-?\d+", label)] if label.startswith("shift ") else None
        if shift is not None:
            claimed = all(step is not None and n % step == 0 for n, step in zip(shift, static.steps, strict=True))
        else:
            claimed = label in static.kept
        if claimed and not error <= 10 * report.floor:
            wrong.append(label)
    return wrong
