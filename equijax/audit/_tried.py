"""Trying a step on random numbers: what the audit without data knows of fibres and of a user's own actions."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from equijax.audit._error import widened
from equijax.audit._layout import Fibre, Layout
from equijax.audit._network import Network, Step
from equijax.audit._report import CauseKind
from equijax.audit._rules import ELEMENTWISE, LINEAR
from equijax.audit._shared import mixes
from equijax.nn import Layer
from equijax.nn._jaxpr import Equation, Values, evaluate

#: A relative difference above this many roundings is no rounding.
ROUNDINGS = 1e4


@dataclasses.dataclass(frozen=True)
class Tried:
    """What a trial found.

    Attributes:
      elements: the elements with which the step does not commute, or of which that is not known.
      kind: the kind of the cause; None where it is not known whether this does any harm.
      reason: what was found, or why it is not known.
    """

    elements: tuple[int, ...]
    kind: CauseKind | None
    reason: str


def try_fibres(network: Network, step: Step) -> Tried | None:
    """Tries a step outside of our layers whose arrays have a fibre or an action of the user's; None where it commutes."""
    layouts = {v: network.layouts.get(v) for v in (*step.before, *step.written)}
    if not any(_moves_values(layout) for layout in layouts.values()) or all(_is_ours(network, eq) for eq in step.equations):
        return None
    elements = _elements(network, [*layouts.values()])
    values = _random_values(network, step)
    if values is None:
        return Tried(elements, None, "has parameters whose values are not known") if elements else None
    clean = _run(network, step, values)
    failing: dict[int, list[int]] = {}
    for e in elements:
        moved = {v: network.frame.move(e, values[v], _known(layouts[v]))[0] for v in step.before}
        for v, found in _run(network, step, moved).items():
            wanted = network.frame.move(e, clean[v], _known(layouts[v]))[0]
            if _differ(found, wanted):
                failing.setdefault(e, []).append(v)
    if not failing:
        return None
    wrong = {v for variables in failing.values() for v in variables}
    why = "does not commute with the group"
    if not any(_is_taken(network, v) for v in wrong):
        return Tried(tuple(failing), None, f"{why}, and what follows may or may not make up for it")
    return Tried(tuple(failing), _kind(network, step), why)


def _moves_values(layout: Layout | None) -> bool:
    """Tells whether more is moved than places."""
    return layout is not None and (layout.custom is not None or any(isinstance(a, Fibre) for a in layout.atoms))


def _is_ours(network: Network, equation: Equation) -> bool:
    """Tells whether an equation belongs to a layer of the library, which is tested."""
    modules = (network.trace.modules.get(call.path) for call in equation.scope)
    return any(isinstance(m, Layer) and type(m).__module__.split(".")[0] == __name__.split(".")[0] for m in modules)


def _elements(network: Network, layouts: list[Layout | None]) -> tuple[int, ...]:
    """The elements that map all arrays to themselves; on a grid one for each turn, and shifts where the action is custom."""
    frame = network.frame
    acting = [e for e in range(frame.count) if all(layout is not None and frame.maps(e, layout) for layout in layouts)]
    if not frame.is_grid:
        return tuple(acting)
    custom = any(layout is not None and layout.custom is not None for layout in layouts)
    first: dict[Any, int] = {}
    for e in acting:
        if custom or not frame.is_shift(e):
            first.setdefault(tuple(frame.shift[e]) if frame.is_shift(e) else int(frame.point[e]), e)
    return tuple(first.values())


def _random_values(network: Network, step: Step) -> Values | None:
    """Random numbers for what enters a step; None where a parameter that it reads is not known."""
    made = {v for eq in step.equations for v in eq.outputs}
    read = {v for eq in step.equations for v in eq.inputs}
    if read - made - set(step.before) - set(network.known):
        return None
    random, avals = np.random.default_rng(0), network.trace.program.avals
    result: Values = {}
    for v in step.before:
        drawn = random.standard_normal(avals[v].shape)
        result[v] = (drawn if jnp.issubdtype(avals[v].dtype, jnp.inexact) else 0 * drawn).astype(avals[v].dtype)
    return result


def _run(network: Network, step: Step, start: Values) -> Values:
    values: Values = {**network.known, **start}
    evaluate(step.equations, values)
    return {v: np.asarray(values[v]) for v in step.written}


def _known(layout: Layout | None) -> Layout:
    if layout is None:
        raise ValueError("an array at a cut has no known action")
    return layout


def _differ(found: Any, wanted: Any) -> bool:
    dtype = np.asarray(found).dtype
    eps = float(jnp.finfo(dtype).eps) if jnp.issubdtype(dtype, jnp.inexact) else 1e-12
    size = float(np.linalg.norm(widened(wanted))) or 1.0
    return float(np.linalg.norm(widened(found) - widened(wanted))) > ROUNDINGS * eps * size


def _is_taken(network: Network, v: int) -> bool:
    """Tells whether an array is the result, or is taken by a layer or the user for what its action says."""
    if v in network.trace.result_variables or v in network.declared:
        return True
    return any(v in eq.inputs and _is_ours(network, eq) for eq in network.equations)


def _kind(network: Network, step: Step) -> CauseKind:
    layouts = network.layouts
    nonlinear = [eq for eq in step.equations if eq.name in ELEMENTWISE - LINEAR - {"mul", "div"}]
    if any(mixes(layouts.get(v)) or _is_custom(layouts.get(v)) for eq in nonlinear for v in eq.inputs):
        return "nonlinearity"
    fibres = any(isinstance(a, Fibre) for v in step.before for a in _known(layouts.get(v)).atoms)
    return "fibre" if fibres else "unknown"


def _is_custom(layout: Layout | None) -> bool:
    return layout is not None and layout.custom is not None
