"""Faults that are no equivariance errors: mixing of the batch, changing state, randomness, leaking masks.

Batch mixing and mask leaks are found like errors of equivariance: something is changed that must not matter (the other
samples, the masked entries), and at every cut what must not have changed is compared; behind a step that lets the change
through the comparison starts again.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.audit._error import widened
from equijax.audit._findings import Walk
from equijax.audit._grown import leaks_of_graph
from equijax.audit._layout import Base, Layout, Still
from equijax.audit._network import Network
from equijax.audit._report import Cause, CauseKind
from equijax.audit._sentences import cause
from equijax.audit._walker import SAFE
from equijax.nn._jaxpr import Values, evaluate

Keep = Callable[[int], np.ndarray | None]


def side_effects(subject: Any, found: Walk) -> tuple[dict[int, tuple[Cause, ...]], tuple[str, ...]]:
    """Returns further causes for each finding, by its number, and notes."""
    network: Network = subject.network
    kinds: dict[int, list[CauseKind]] = {}
    leaks: dict[CauseKind, list[int]]
    for i in _random_steps(network, found):
        kinds.setdefault(i, []).append("randomness")
    changed = _changed_state(network, found, subject.x)
    notes = [f"the state {name} changes when the model is called" for name in changed]
    for i in _owners(found, changed):
        if "randomness" not in kinds.get(i, ()):
            kinds.setdefault(i, []).append("state")
    if network.frame.places is not None:
        leaks, more = leaks_of_graph(subject, found)
        notes += more
    else:
        leaks = {"batch": _leaks(network, found, _other_samples(network, subject.x), lambda v: _first_sample(network, v))}
        masked = _other_padding(subject.x)
        if masked is not None:
            changed_x, mask = masked
            leaks["mask"] = _leaks(network, found, changed_x, lambda v: _valid_entries(network, v, mask))
    for kind, numbers in leaks.items():
        for i in numbers:
            kinds.setdefault(i, []).append(kind)
    causes = {
        i: tuple(cause(kind, network, found.findings[i].step) for kind in dict.fromkeys(own)) for i, own in kinds.items()
    }
    return causes, tuple(notes)


def _random_steps(network: Network, found: Walk) -> list[int]:
    """Returns the numbers of the findings that combine the input with random numbers."""
    drawn = network.random - network.depends
    return [
        i for i, finding in enumerate(found.findings) if any(v in drawn for eq in finding.step.equations for v in eq.inputs)
    ]


def _changed_state(network: Network, found: Walk, x: tuple[Any, ...]) -> list[str]:
    """Returns the names of the state that a call changes, but for counters of random keys."""
    trace = network.trace
    if len(trace.new_state_variables) != len(trace.state_variables):
        return ["(new variables)"]
    every = zip(trace.state_names, trace.state_variables, trace.new_state_variables, strict=True)
    pairs = [
        pair for pair in every if pair[0] not in trace.counters
    ]  # random numbers that matter are found by what uses them
    if all(old == new for _, old, new in pairs):
        return []
    values: Values = {**trace.program.constants, **dict(zip(trace.state_variables, trace.state, strict=True))}
    values.update(zip(trace.x_variables, x, strict=True))
    evaluate(trace.program.equations, values)
    return [name for name, old, new in pairs if old != new and not _same(values[old], values[new])]


def _same(a: Any, b: Any) -> bool:
    if jnp.issubdtype(getattr(a, "dtype", np.float32), jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == "f")


def _owners(found: Walk, names: list[str]) -> list[int]:
    """Returns the number of the first finding of every module whose state changes."""
    result = []
    for name in names:
        for i, finding in enumerate(found.findings):
            if any(name.startswith(f"{call.path}.") for call in finding.step.calls):
                result.append(i)
                break
        else:
            if found.findings and "." not in name:
                result.append(_own(found))
    return list(dict.fromkeys(result))


def _own(found: Walk) -> int:
    """Returns the number of the first finding that belongs to no submodule."""
    return next((i for i, finding in enumerate(found.findings) if not finding.step.calls), 0)


def _other_samples(network: Network, x: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Returns the input with every sample but the first exchanged; None without a batch of at least two."""
    layouts = [network.layouts.get(v) for v in network.trace.x_variables]
    if any(a is None or not a.axes or a.axes[0] != (Still(a.shape[0], "batch"),) or a.shape[0] < 2 for a in layouts):
        return None
    result = []
    for leaf in x:
        value = np.array(leaf)
        if jnp.issubdtype(value.dtype, jnp.inexact):
            value[1:] = (-1.3 * value[:0:-1] + 0.1).astype(value.dtype)
        else:
            value[1:] = value[:0:-1]
        result.append(jnp.asarray(value))
    return tuple(result)


def _first_sample(network: Network, v: int) -> np.ndarray | None:
    layout = network.layouts.get(v)
    if layout is None or not layout.axes or not layout.axes[0]:
        return None
    first = layout.axes[0][0]
    if not isinstance(first, Still) or first.role != "batch":
        return None
    keep = np.zeros(layout.shape, bool)
    keep[: layout.shape[0] // first.size] = True
    return keep


def _other_padding(x: tuple[Any, ...]) -> tuple[tuple[Any, ...], np.ndarray] | None:
    """Returns the input with every masked entry exchanged, and the mask; None where no leaf is a mask of another one."""
    for mask in x:
        if np.asarray(mask).dtype != bool:
            continue
        valid = np.asarray(mask)
        shown = [leaf for leaf in x if leaf is not mask and np.shape(leaf)[: valid.ndim] == valid.shape and np.ndim(leaf)]
        shown = [leaf for leaf in shown if jnp.issubdtype(np.asarray(leaf).dtype, jnp.inexact)]
        if shown and not valid.all():
            result = []
            for leaf in x:
                value = np.array(leaf)
                if any(leaf is other for other in shown):
                    value[~valid] = (-1.7 * value[~valid] + 0.9).astype(value.dtype)
                result.append(jnp.asarray(value))
            return tuple(result), valid
    return None


def _valid_entries(network: Network, v: int, mask: np.ndarray) -> np.ndarray | None:
    layout: Layout | None = network.layouts.get(v)
    if layout is None:
        return None
    keep = np.ones(layout.shape, bool)
    if layout.shape[: mask.ndim] == mask.shape and any(isinstance(a, Base) for a in layout.atoms):
        keep &= mask.reshape(mask.shape + (1,) * (keep.ndim - mask.ndim))
        second = layout.shape[mask.ndim : mask.ndim + 1]
        if mask.ndim == 2 and second == mask.shape[1:] and len({a.copy for a in layout.base}) > 1:
            keep &= mask.reshape(mask.shape[0], 1, mask.shape[1], *(1,) * (keep.ndim - 3))
    return keep


def _leaks(network: Network, found: Walk, changed: tuple[Any, ...] | None, keep: Keep) -> list[int]:
    """Returns the numbers of the findings behind which something has changed that must not."""
    if changed is None:
        return []
    values: Values = {**found.statics, **dict(zip(network.trace.x_variables, changed, strict=True))}
    guilty = []
    for i, finding in enumerate(found.findings):
        evaluate(finding.step.equations, values)
        for v in finding.step.after:
            own = keep(v)
            if own is None:
                continue
            clean = np.asarray(found.clean[v])
            gap = np.where(own, widened(values[v]) - widened(clean), 0.0)
            size = float(np.linalg.norm(np.where(own, widened(clean), 0.0))) or 1.0
            if float(np.linalg.norm(gap)) > 3 * SAFE * found.floors[v] * size:
                guilty.append(i)
            values[v] = np.where(own, clean, np.asarray(values[v]))
    return list(dict.fromkeys(guilty))
