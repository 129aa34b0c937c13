"""The layouts that actions give to arrays, and the permutations that they are made of."""

from fractions import Fraction
from typing import Any, TypeGuard

import jax
import numpy as np

from equijax._arguments import shown
from equijax.actions import Action
from equijax.audit._atoms import Atom, Base, Fibre, Still
from equijax.audit._graph_places import GraphPlaces
from equijax.audit._layout import Layout, normalised
from equijax.graphs import Graph
from equijax.groups._group import Element


def is_action(value: Any) -> TypeGuard[Action]:
    """Tells an action from a pytree of actions: the one question about a class that the audit asks of its arguments."""
    return isinstance(value, Action)


def actions_in(tree: Any) -> list[Any]:
    """Returns the leaves of a pytree of actions."""
    return jax.tree.leaves(tree, is_leaf=is_action)


def moves_graph(action: Action) -> bool:
    """Tells whether an action moves a ``Graph``, whose nodes, edges and graphs the audit tells apart."""
    return action.moves is Graph


def layout_of(action: Action, shape: tuple[int, ...]) -> Layout:
    """Returns the layout of an array of this shape: its places, its fibre, or custom where it is moved as a whole.

    Raises:
      ValueError: the action moves more than one array, or another shape.
    """
    action = action.plain
    if action.moves is not None:
        action.axes(len(shape))  # raises: a graph is more than one array
    grid, vector = action.grid(shape), action.vector
    custom = Layout(tuple((Still(n),) for n in shape), action)
    if action.sets is None and vector is None:
        return custom
    roles = action.axes(len(shape))
    if action.sets is None and grid is None and any(axis.role == "base" for axis in roles):
        return custom
    axes: list[tuple[Atom, ...]] = []
    seen: list[int] = []
    for axis, size in zip(roles, shape, strict=True):
        j = axis.index or 0
        if axis.role == "base" and grid is not None:
            spacing, origin = grid[0].spacing[j], grid[0].origin[j]
            axes.append((Base(size, j, Fraction(spacing), Fraction(origin).limit_denominator(2)),))
        elif axis.role == "base":
            number = action.sets[j]  # pyright: ignore[reportOptionalSubscript]
            axes.append((Base(size, number, copy=seen.count(number)),))
            seen.append(number)
        elif axis.role == "fibre" and vector is not None:
            axes.append((Fibre(vector.fibre),))
        else:
            axes.append((Still(size, "batch" if axis.role == "batch" else "feature"),))
    return normalised(tuple(axes))


def permutations_of(action: Action, elements: Element, places: GraphPlaces | None) -> tuple[np.ndarray, ...]:
    """Returns the image vectors of all elements for every set of points, int ``(elements, points)``; none for other actions.

    Args:
      action: the action on the input.
      elements: its elements, stacked.
      places: where it moves a graph, its nodes, edges and graphs.
    """
    images = action.group.images(elements)
    if places is None:
        return images
    graphs = places.sizes[2]
    return (*images[:2], np.broadcast_to(np.arange(graphs), (len(images[0]), graphs)))


def require_action_tree(value: Any, name: str) -> None:
    """Raises ``TypeError`` where an argument is neither None, nor an action, nor a pytree of actions."""
    found = actions_in(value)
    if value is not None and (not found or not all(map(is_action, found))):
        raise TypeError(f"`{name}` is {shown(value)}; it must be an Action, or a pytree of actions.")
