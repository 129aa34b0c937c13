"""What our layers say of the arrays at their edges."""

import dataclasses
from fractions import Fraction
from typing import Any

import jax

from equijax.actions import Action
from equijax.audit._actions import layout_of
from equijax.audit._atoms import Base, Still
from equijax.audit._layout import Layout, batch_size
from equijax.nn import Layer
from equijax.nn._phases import Choice


def _moves_grid(action: Action) -> bool:
    """Tells whether an action moves a field over the points of a grid of any size."""
    points = action.vector is not None and any(axis.role == "base" for axis in action.moved_axes)
    return points and action.group.grid_ndim > 0 and action.plain is action


def _moves_vector(action: Action) -> bool:
    """Tells whether an action moves a single vector of a fibre, and no points."""
    return action.vector is not None and all(axis.role == "fibre" for axis in action.moved_axes)


def _on_grid(action: Any, layout: Layout | None, shape: tuple[int, ...]) -> Action | None:
    """Returns a layer's action on a grid with the spacing and the origin that were propagated; None where they don't fit."""
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
    if not (isinstance(module, Layer) and module.in_action.moves is not None):
        return False
    try:
        return module.out_action.moves is None
    except ValueError:  # a chain behind whose function nothing is known
        return False


def is_choice(result: Any, leaf: int) -> bool:
    """Tells whether an array that a layer returns is part of a choice that it made by its input."""
    parts = jax.tree.leaves(result, is_leaf=lambda part: isinstance(part, Choice))
    return [isinstance(part, Choice) for part in parts for _ in jax.tree.leaves(part)][leaf]


def chosen(entered: Layout | None, shape: tuple[int, ...]) -> Layout:
    """Returns the layout of a choice."""
    members = batch_size(entered, shape[0]) if shape else False
    return Layout(tuple((Still(n, "batch" if members and k == 0 else "feature"),) for k, n in enumerate(shape)), chosen=True)


def fitted(layer: Layer, layout: Layout | None, shape: tuple[int, ...]) -> Layout | None:
    """Returns the layout that a layer expects of its input, where the propagated one leaves the fibre open."""
    try:
        action = layer.in_action
        if _moves_grid(action):
            action = _on_grid(action, layout, shape)
        elif (action.plain is not action and not _moves_vector(action)) or layout is None or layout.base:
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
        if _moves_grid(action):
            inner = None if entered is None else _on_grid(action, entered, entered.shape)
            if inner is None:
                return None
            action = inner
        out = layer.out_action_for(action)
        layout = layout_of(out, shape) if out.is_known else None
        return layout if layout is not None and layout.shape == shape else None
    except (ValueError, TypeError, NotImplementedError):
        return None
