"""Trying a step on random numbers: what the audit without data knows of fibres and of a user's own actions."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from equijax.audit._atoms import Fibre
from equijax.audit._error import eps_of, widened
from equijax.audit._layout import Layout
from equijax.audit._network import Network
from equijax.audit._report import CauseKind
from equijax.audit._rules import ELEMENTWISE, LINEAR
from equijax.audit._shared import mixes
from equijax.audit._steps import Step, joined
from equijax.nn import Layer
from equijax.nn._jaxpr import Equation, Values, evaluate

#: A relative difference above this many roundings is no rounding.
ROUNDINGS = 1e4


@dataclasses.dataclass(frozen=True)
class Tried:
    """What a trial found.

    Attributes:
      elements: the elements with which the step does not commute, or of which that is not known.
      kind: the kind of the cause; None where that is not known.
      reason: what was found, or why it is not known.
    """

    elements: tuple[int, ...]
    kind: CauseKind | None
    reason: str


def try_fibres(network: Network, steps: Sequence[Step]) -> tuple[Tried | None, int]:
    """Tries a step outside of our layers whose arrays have a fibre or an action of the user's.

    Where it does not commute, it is tried together with the steps behind it, which may make up for it: a square that
    becomes a length.

    Args:
      network: the network.
      steps: the step, and those behind it.

    Returns:
      What was found, None where nothing is wrong; and how many of the steps behind it belong to the block that commutes.
    """
    first = steps[0]
    layouts = [network.layouts.get(v) for v in (*first.before, *first.written)]
    if not any(map(_moves_values, layouts)) or all(_is_ours(network, eq) for eq in first.equations):
        return None, 0
    failing: set[int] = set()
    values = _random_values(network, first)
    for count in range(1, len(steps) + 1):
        block = joined(list(steps[:count]))
        elements = _elements(network, [network.layouts.get(v) for v in (*block.before, *block.after)])
        if not _can_run(network, block):
            return (Tried(elements, None, "has parameters whose values are not known"), 0) if elements else (None, 0)
        found = _failing(network, block, elements, values)
        if not found:
            return None, count - 1
        failing = failing or found
    return Tried(tuple(sorted(failing)), _kind(network, first), "does not commute with the group"), 0


def _failing(network: Network, block: Step, elements: tuple[int, ...], values: Values) -> set[int]:
    """Returns the elements with which a block does not commute on the given activations."""
    frame, layouts = network.frame, network.layouts
    clean, wrong = _run(network, block, values), set()
    for e in elements:
        moved = {v: frame.move(e, values[v], _known(layouts.get(v)))[0] for v in block.before}
        for v, found in _run(network, block, moved).items():
            if _differ(found, frame.move(e, clean[v], _known(layouts.get(v)))[0]):
                wrong.add(e)
    return wrong


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


def _can_run(network: Network, block: Step) -> bool:
    """Tells whether all parameters that a block reads are known."""
    made = {v for eq in block.equations for v in eq.outputs}
    read = {v for eq in block.equations for v in eq.inputs}
    return not read - made - set(block.before) - set(network.known)


def _random_values(network: Network, step: Step) -> Values:
    """Random numbers for what enters a step; whole numbers are 0."""
    random, avals = np.random.default_rng(0), network.trace.program.avals
    result: Values = {}
    for v in step.before:
        drawn = random.standard_normal(avals[v].shape)
        result[v] = (drawn if jnp.issubdtype(avals[v].dtype, jnp.inexact) else 0 * drawn).astype(avals[v].dtype)
    return result


def _run(network: Network, step: Step, start: Values) -> Values:
    values: Values = {**network.known, **start}
    evaluate(step.equations, values)
    return {v: np.asarray(values[v]) for v in step.after if v in values}


def _known(layout: Layout | None) -> Layout:
    if layout is None:
        raise ValueError("an array at a cut has no known action")
    return layout


def _differ(found: Any, wanted: Any) -> bool:
    size = float(np.linalg.norm(widened(wanted))) or 1.0
    return float(np.linalg.norm(widened(found) - widened(wanted))) > ROUNDINGS * eps_of(found) * size


def _kind(network: Network, step: Step) -> CauseKind:
    layouts = network.layouts
    nonlinear = [eq for eq in step.equations if eq.name in ELEMENTWISE - LINEAR - {"mul", "div"}]
    if any(mixes(layouts.get(v)) or _is_custom(layouts.get(v)) for eq in nonlinear for v in eq.inputs):
        return "nonlinearity"
    fibres = any(isinstance(a, Fibre) for v in step.before for a in _known(layouts.get(v)).atoms)
    return "fibre" if fibres else "unknown"


def _is_custom(layout: Layout | None) -> bool:
    return layout is not None and layout.custom is not None
