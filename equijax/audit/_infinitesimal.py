r"""The Lie derivative of a network along continuous shifts and Lie algebras, and what every step adds to it.

.. math:: L f(x) = Df_x[dρ(X)\, x] - dρ(X) f(x) = \sum_i D(f_N … f_{i+1})_{a_i}\, [\,(L f_i)(a_{i-1})\,]

The sum is exact. A shift by a part of a pixel is the trigonometric one, so ``dρ`` is minus the spectral derivative; on grids
of even size the highest frequency has none. Along a direction X of a Lie algebra ``dρ(X)`` is the derivative of ``exp(tX)``
at t = 0: the algebra of a fibre, or that of the action where an array is moved as a whole.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.audit._atoms import Base, Fibre
from equijax.audit._error import widened
from equijax.audit._findings import Walk
from equijax.audit._frame import Frame
from equijax.audit._layout import Layout
from equijax.audit._network import Network
from equijax.audit._report import Infinitesimal
from equijax.audit._steps import Step, joined
from equijax.nn._jaxpr import Program, Values, evaluate, read

#: Below this part of the derivative of the activations a Lie derivative is rounding.
ROUNDING = 1e-3

#: How the name of a continuous shift begins.
SHIFT = "shift along axis"


def lie_derivatives(network: Network, found: Walk) -> tuple[Infinitesimal, ...]:
    """Returns the Lie derivative along every axis of a torus, and along every direction of a Lie algebra."""
    frame = network.frame
    shifts = range(len(frame.centre)) if frame.wraps else ()
    turns = range(len(frame.group.algebra)) if frame.places is None else ()
    flows = {
        **{f"{SHIFT} {axis}": functools.partial(derivative, frame, axis) for axis in shifts},
        **{f"direction {k} of the Lie algebra": functools.partial(turning, frame, k) for k in turns},
    }
    known: dict[Any, _Step] = {}
    return tuple(_along(network, found, name, flow, known) for name, flow in flows.items())


def turning(frame: Frame, direction: int, value: Any, layout: Layout | None) -> np.ndarray | None:
    """Returns dρ(X) · value for one X of the Lie algebra; None where the group has no derivative on the array."""
    if layout is None or layout.numbers is not None:
        return None
    group, array = frame.group, widened(value)
    if layout.custom is not None:
        custom, direct = layout.custom, jnp.asarray(group.algebra[direction])
        own = jnp.asarray(array)
        curve = lambda t: custom(group.exp(t * direct), own)  # noqa: E731
        return widened(jax.jvp(curve, (jnp.zeros((), float),), (jnp.ones((), float),))[1])
    atoms = layout.atoms
    parts = array.reshape([a.size for a in atoms])
    result = np.zeros_like(parts)
    for k, atom in enumerate(atoms):
        if isinstance(atom, Fibre):
            if atom.fibre.group != group:
                return None
            result += np.moveaxis(np.tensordot(atom.fibre.algebra[direction], parts, (1, k)), 0, k)
    return result.reshape(array.shape)


def derivative(frame: Frame, axis: int, value: Any, layout: Layout | None) -> np.ndarray | None:
    """Returns dρ · value for the shift along one axis; None where the array does not go once around the torus."""
    if layout is None or layout.custom is not None or frame.period is None:
        return None
    array = widened(value)
    result = np.zeros_like(array)
    for k, atoms in enumerate(layout.axes):
        for atom in atoms:
            if isinstance(atom, Base) and atom.axis == axis:
                if len(atoms) > 1 or atom.size * abs(atom.spacing) != frame.period[axis]:
                    return None
                matrix = _spectral(atom.size, float(atom.spacing))
                result -= np.moveaxis(np.tensordot(matrix, array, (1, k)), 0, k)
    return result


def _spectral(size: int, spacing: float) -> np.ndarray:
    frequency = np.fft.fftfreq(size, spacing)
    if size % 2 == 0:
        frequency[size // 2] = 0.0
    columns = np.fft.fft(np.eye(size), axis=0) * (2j * np.pi * frequency)[:, None]
    return np.fft.ifft(columns, axis=0).real


def _along(
    network: Network, found: Walk, name: str, flow_of: Callable[[Any, Layout | None], Any], known: dict[Any, "_Step"]
) -> Infinitesimal:
    clean = found.clean
    flows = {v: flow_of(clean[v], network.layouts.get(v)) for v in clean if _is_float(clean[v])}
    groups = _groups([finding.step for finding in found.findings], flows)
    tangent = {v: flows[v] for v in network.trace.x_variables if v in flows}
    local: list[float] = []
    gaps: list[dict[int, np.ndarray]] = []
    pullbacks: list[_Step] = []
    for _, step in groups:
        key = (step.before, step.equations)
        known[key] = own = known.get(key) or _Step(found.statics, step, clean)
        exact, moved = own.pushed(flows), own.pushed(tangent)
        gap = {v: exact[v] - flow for v, flow in flows.items() if v in exact and flow is not None}
        scale = np.sqrt(sum(np.sum(widened(clean[v]) ** 2) for v in gap)) or 1.0
        local.append(float(np.sqrt(sum(np.sum(g**2) for g in gap.values())) / scale))
        gaps.append(gap)
        pullbacks.append(own)
        tangent = {**{v: tangent[v] for v in step.after if v in tangent}, **moved}
    results = [v for v in dict.fromkeys(network.trace.result_variables) if flows.get(v) is not None and v in tangent]
    total = {v: tangent[v] - flow for v, flow in flows.items() if v in results and flow is not None}
    size = float(sum(np.sum(d**2) for d in total.values()))
    scale = float(np.sqrt(sum(np.sum(widened(clean[v]) ** 2) for v in results))) or 1.0
    error = np.sqrt(size) / scale
    shares = _shares(pullbacks, gaps, total, size)
    floor = ROUNDING * max(float(np.finfo(np.asarray(clean[v]).dtype).eps) for v in results) ** 0.5 if results else 0.0
    spread_shares, spread_local = [0.0] * len(found.findings), [0.0] * len(found.findings)
    for (first, _), share, one in zip(groups, shares, local, strict=True):
        spread_shares[first], spread_local[first] = share, one
    kept = tuple(spread_shares) if error > floor else ()
    return Infinitesimal(name, float(error), kept, tuple(spread_local))


def _shares(
    pullbacks: Sequence["_Step"], gaps: Sequence[dict[int, np.ndarray]], total: dict[int, np.ndarray], size: float
) -> list[float]:
    """Returns ⟨D(f_N … f_i+1)[gap_i], D⟩ / |D|² for every step, by one pass backwards."""
    cotangent = dict(total)
    shares = [0.0] * len(pullbacks)
    for i in reversed(range(len(pullbacks))):
        shares[i] = float(sum(np.sum(gap * cotangent[v]) for v, gap in gaps[i].items() if v in cotangent)) / (size or 1.0)
        own = pullbacks[i]
        back = own.pulled(cotangent)
        passing = {v: cotangent[v] for v in own.step.before if v in cotangent and v not in own.step.written}
        cotangent = {v: passing.get(v, 0.0) + back.get(v, 0.0) for v in {*passing, *back}}
    return shares


class _Step:
    """One step as a function of the floats that enter it, and its derivative: traced once, for all directions."""

    def __init__(self, statics: Values, step: Step, clean: Values):
        self.statics, self.step, self.clean = statics, step, clean
        self.inputs = tuple(v for v in step.before if _is_float(clean[v]))
        self.outputs = tuple(v for v in step.written if _is_float(clean[v]))
        self.points = tuple(jnp.asarray(clean[v]) for v in self.inputs)

    def function(self, *arrays: Any) -> tuple[Any, ...]:
        """Evaluates the step."""
        values: Values = {**self.statics, **{v: self.clean[v] for v in self.step.before}}
        values.update(zip(self.inputs, arrays, strict=True))
        evaluate(self.step.equations, values)
        return tuple(values[v] for v in self.outputs)

    def pushed(self, tangents: dict[int, Any]) -> dict[int, np.ndarray]:
        """Returns the tangents of what the step writes."""
        return dict(zip(self.outputs, self._at(self.forwards, self.inputs, tangents), strict=True))

    def pulled(self, cotangents: dict[int, Any]) -> dict[int, np.ndarray]:
        """Returns the cotangents of what enters the step."""
        return dict(zip(self.inputs, self._at(self.backwards, self.outputs, cotangents), strict=True))

    def _at(self, derivative: Program, variables: Sequence[int], given: dict[int, Any]) -> list[np.ndarray]:
        arrays = [_like(given.get(v), self.clean[v]) for v in variables]
        return [widened(t) for t in derivative(*self.points, *arrays)]

    @functools.cached_property
    def forwards(self) -> Program:
        """The points and their tangents → the tangents of the results."""
        return self._traced(lambda points, given: jax.jvp(self.function, points, given)[1], self.inputs)

    @functools.cached_property
    def backwards(self) -> Program:
        """The points and the cotangents of the results → those of the points."""
        return self._traced(lambda points, given: jax.vjp(self.function, *points)[1](given), self.outputs)

    def _traced(self, derivative: Callable[[Any, Any], Any], variables: Sequence[int]) -> Program:
        return read(jax.make_jaxpr(derivative)(self.points, tuple(jnp.asarray(self.clean[v]) for v in variables))).needed()


def _like(value: Any, point: Any) -> np.ndarray:
    point = np.asarray(point)
    return np.zeros_like(point) if value is None else np.asarray(value).astype(point.dtype)


def _is_float(value: Any) -> bool:
    return jnp.issubdtype(np.asarray(value).dtype, jnp.floating)


def _groups(steps: list[Step], flows: dict[int, np.ndarray | None]) -> list[tuple[int, Step]]:
    """Joins steps until every activation behind them has a derivative."""
    result: list[tuple[int, Step]] = []
    pending: list[Step] = []
    for i, step in enumerate(steps):
        pending.append(step)
        if all(flows.get(v, 0) is not None for v in step.after) or i == len(steps) - 1:
            result.append((i - len(pending) + 1, joined(pending)))
            pending = []
    return result
