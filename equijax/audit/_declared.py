"""What our layers say of the arrays at their edges."""

import dataclasses
from fractions import Fraction
from typing import Any

from equijax.actions import FiniteAction, GraphAction, GridAction, TrivialAction
from equijax.audit._actions import layout_of
from equijax.audit._layout import Base, Layout, Still
from equijax.nn import Layer


def _grid_layout(action: GridAction, layout: Layout | None, shape: tuple[int, ...]) -> GridAction | None:
    """Returns a layer's grid action with the spacing and the origin that were propagated; None where they don't fit."""
    if layout is None or layout.custom is not None or len(layout.axes) != len(shape):
        return None
    bases = [axis for axis, role in zip(layout.axes, action.axes(len(shape)), strict=True) if role.role == "base"]
    atoms = [axis[0] for axis in bases if len(axis) == 1]
    if len(atoms) != action.ndim or not all(
        isinstance(a, Base) and a.spacing.denominator == 1 and a.spacing > 0 for a in atoms
    ):
        return None
    spacing: Any = tuple(int(a.spacing) for a in atoms)  # pyright: ignore[reportAttributeAccessIssue]
    origin: Any = tuple(float(a.origin) for a in atoms)  # pyright: ignore[reportAttributeAccessIssue]
    if any(Fraction(2 * p).denominator != 1 for p in map(Fraction, origin)):
        return None
    return dataclasses.replace(action, spacing=spacing, origin=origin)


def pools_graphs(module: Any) -> bool:
    """Tells whether one of our layers makes a row for each graph."""
    if not (isinstance(module, Layer) and isinstance(module.in_action, GraphAction)):
        return False
    try:
        return isinstance(module.out_action, TrivialAction)
    except ValueError:  # a chain behind whose function nothing is known
        return False


def fitted(layer: Layer, layout: Layout | None, shape: tuple[int, ...]) -> Layout | None:
    """Returns the layout that a layer expects of its input, where the propagated one leaves the fibre open."""
    try:
        action = layer.in_action
        if isinstance(action, GridAction):
            action = _grid_layout(action, layout, shape)
        elif isinstance(action, FiniteAction) or layout is None or layout.base:
            return None
        if action is None or layout is None:
            return None
        wanted = layout_of(action, shape)
    except (ValueError, TypeError, NotImplementedError):
        return None
    axes = tuple(
        b if all(isinstance(x, Still) for x in b) is False else a for a, b in zip(layout.axes, wanted.axes, strict=True)
    )
    return dataclasses.replace(layout, axes=axes)


def declared(layer: Layer, entered: Layout | None, shape: tuple[int, ...]) -> Layout | None:
    """Returns the layout of the output of one of our layers."""
    try:
        action = layer.in_action
        if isinstance(action, GridAction):
            inner = None if entered is None else _grid_layout(action, entered, entered.shape)
            if inner is None:
                return None
            action = inner
        out = layer.out_action_for(action)
        if isinstance(out, FiniteAction):
            out = out.action
        layout = layout_of(out, shape)
        return layout if layout.shape == shape else None
    except (ValueError, TypeError, NotImplementedError):
        return None
