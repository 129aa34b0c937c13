"""Faults that are no equivariance errors: mixing of the batch, changing state, randomness, leaking masks.

Batch mixing and mask leaks are found like errors of equivariance: something is changed that must not matter (the other
samples, the masked entries), and at every cut what must not have changed is compared; behind a step that lets the change
through the comparison starts again.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.audit._atoms import Base, Still
from equijax.audit._error import widened
from equijax.audit._findings import Walk
from equijax.audit._grown import leaks_of_graph
from equijax.audit._layout import Layout
from equijax.audit._leak import LeakKind, Leaks, change
from equijax.audit._network import Network
from equijax.audit._report import Cause, CauseKind
from equijax.audit._sentences import cause
from equijax.audit._walker import SAFE
from equijax.nn._jaxpr import Values, evaluate

Keep = Callable[[int], np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class SideEffects:
    """Faults that are no errors of equivariance.

    Attributes:
      causes: number of a finding → its further causes.
      sizes: number of a finding → kind of a fault → its size.
      totals: kind of a leak → change of the output.
      notes: sentences about what was found beside the rows.
    """

    causes: dict[int, tuple[Cause, ...]]
    sizes: dict[int, dict[str, float]]
    totals: dict[str, float]
    notes: tuple[str, ...]


def side_effects(subject: Any, found: Walk) -> SideEffects:
    """Looks for what changes a result, or the model, and must not."""
    network: Network = subject.network
    kinds: dict[int, list[CauseKind]] = {}
    sizes: dict[int, dict[str, float]] = {}
    for i in _random_steps(network, found):
        kinds.setdefault(i, []).append("randomness")
    changed = _changed_state(network, subject.x)
    notes = [f"the state {name} changes when the model is called" for name in changed]
    for i, size in _owners(found, changed).items():
        if "randomness" not in kinds.get(i, ()):
            kinds.setdefault(i, []).append("state")
            sizes.setdefault(i, {})["state"] = size
    leaks: dict[LeakKind, Leaks] = {}
    if network.frame.places is not None:
        leaks, more = leaks_of_graph(subject, found)
        notes += more
    else:
        others = _other_samples(network, subject.x)
        if others is not None:
            leaks["batch"] = _leaks(network, found, others, lambda v: _first_sample(network, v))
        masked = _other_padding(subject.x)
        if masked is not None:
            others, number = masked
            valid, own = np.asarray(subject.x[number]), network.layouts.get(network.trace.x_variables[number])
            leaks["mask"] = _leaks(network, found, others, lambda v: _valid_entries(network.layouts.get(v), own, valid))
    for kind, one in leaks.items():
        for i, size in one.sizes.items():
            kinds.setdefault(i, []).append(kind)
            sizes.setdefault(i, {})[kind] = size
    causes = {
        i: tuple(cause(kind, network, found.findings[i].step) for kind in dict.fromkeys(own)) for i, own in kinds.items()
    }
    totals: dict[str, float] = {kind: one.total for kind, one in leaks.items() if one.sizes}
    return SideEffects(causes, sizes, totals, tuple(notes))


def _random_steps(network: Network, found: Walk) -> list[int]:
    """Returns the numbers of the findings that combine the input with random numbers."""
    drawn = network.random - network.depends
    return [
        i for i, finding in enumerate(found.findings) if any(v in drawn for eq in finding.step.equations for v in eq.inputs)
    ]


def _changed_state(network: Network, x: tuple[Any, ...]) -> dict[str, float]:
    """Returns the names of the state that a call changes, but for counters of random keys, and by which part of it."""
    trace = network.trace
    if len(trace.new_state_variables) != len(trace.state_variables):
        return {"(new variables)": 1.0}
    every = zip(trace.state_names, trace.state_variables, trace.new_state_variables, strict=True)
    pairs = [
        pair for pair in every if pair[0] not in trace.counters
    ]  # random numbers that matter are found by what uses them
    if all(old == new for _, old, new in pairs):
        return {}
    values: Values = {**trace.program.constants, **dict(zip(trace.state_variables, trace.state, strict=True))}
    values.update(zip(trace.x_variables, x, strict=True))
    evaluate(trace.program.equations, values)
    return {
        name: _part(values[old], values[new])
        for name, old, new in pairs
        if old != new and not _same(values[old], values[new])
    }


def _part(old: Any, new: Any) -> float:
    """Returns the change of a state relative to it, or to what it becomes where it was zero."""
    if jnp.issubdtype(getattr(old, "dtype", np.float32), jax.dtypes.prng_key) or np.shape(old) != np.shape(new):
        return 1.0
    before, after = widened(old), widened(new)
    return change([(before, after, np.ones(before.shape, bool))]) if before.any() else 1.0


def _same(a: Any, b: Any) -> bool:
    if jnp.issubdtype(getattr(a, "dtype", np.float32), jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == "f")


def _owners(found: Walk, parts: dict[str, float]) -> dict[int, float]:
    """Returns the number of the first finding of every module whose state changes, and the largest change of it."""
    result: dict[int, float] = {}
    for name, size in parts.items():
        owned = (
            i
            for i, finding in enumerate(found.findings)
            if any(name.startswith(f"{call.path}.") for call in finding.step.calls)
        )
        i = next(owned, _own(found) if found.findings and "." not in name else None)
        if i is not None:
            result[i] = max(size, result.get(i, 0.0))
    return result


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


def _other_padding(x: tuple[Any, ...]) -> tuple[tuple[Any, ...], int] | None:
    """Returns the input with every masked entry exchanged, and which leaf is the mask; None where none is one of another."""
    for number, mask in enumerate(x):
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
            return tuple(result), number
    return None


def _valid_entries(layout: Layout | None, own: Layout | None, mask: np.ndarray) -> np.ndarray | None:
    """Returns where an array holds valid entries only, along all copies of the places that the mask is about.

    None where that is not known: the array holds some of the places only.
    """
    if layout is None:
        return None
    keep = np.ones(layout.shape, bool)
    if own is None or own.custom is not None or not own.base or layout.custom is not None:
        return _valid_by_size(keep, mask)
    if not layout.base:
        return keep
    moved = [k for k, axis in enumerate(own.axes) if any(isinstance(a, Base) for a in axis)]
    batch = mask.shape[: len(mask.shape) - len(moved)]
    if moved != list(range(len(batch), mask.ndim)) or len(batch) > 1:
        return None
    places = [(a.axis, a.size) for a in own.base]
    for copy in {a.copy for a in layout.base}:
        axes = [k for k, axis in enumerate(layout.axes) if any(isinstance(a, Base) and a.copy == copy for a in axis)]
        atoms = [a for k in axes for a in layout.axes[k]]
        if [(a.axis, a.size) for a in atoms if isinstance(a, Base) and a.copy == copy] != places or len(atoms) > len(places):
            return None
        part = mask
        if batch:
            if 0 in axes or layout.shape[0] % batch[0]:
                return None
            part = np.repeat(mask, layout.shape[0] // batch[0], axis=0)
        shape = [n if k in axes or (batch and k == 0) else 1 for k, n in enumerate(layout.shape)]
        keep &= part.reshape(shape)
    return keep


def _valid_by_size(keep: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns where an array holds valid entries only, if all that is known of its axes is how long they are."""
    if mask.ndim != 2 or keep.shape[:1] != mask.shape[:1]:
        valid = mask.reshape(mask.shape + (1,) * (keep.ndim - mask.ndim)) if keep.shape[: mask.ndim] == mask.shape else True
        return keep & valid
    for k in range(1, keep.ndim):
        if keep.shape[k] == mask.shape[1]:
            keep = keep & mask.reshape([n if j in (0, k) else 1 for j, n in enumerate(keep.shape)])
    return keep


def _leaks(network: Network, found: Walk, changed: tuple[Any, ...], keep: Keep) -> Leaks:
    """Returns by how much what must not change has changed behind each finding, each of which begins without a change."""
    start: Values = {**found.statics, **dict(zip(network.trace.x_variables, changed, strict=True))}
    values, result = dict(start), Leaks()
    for i, finding in enumerate(found.findings):
        evaluate(finding.step.equations, values)
        for v in finding.step.after:
            own = keep(v)
            if own is None:
                continue
            clean = np.asarray(found.clean[v])
            size = change([(clean, values[v], own)])
            if size > 3 * SAFE * found.floors[v]:
                result.sizes[i] = max(size, result.sizes.get(i, 0.0))
            values[v] = np.where(own, clean, np.asarray(values[v]))
    if result.sizes:
        for finding in found.findings:
            evaluate(finding.step.equations, start)
        kept = [(v, keep(v)) for v in found.results]
        result.total = change((found.clean[v], start[v], own) for v, own in kept if own is not None)
    return result
