"""The layouts that actions give to arrays, and the permutations that they are made of."""

from fractions import Fraction

import numpy as np

from equijax.actions import (
    Action,
    FibreAction,
    FiniteAction,
    GraphAction,
    GridAction,
    ProductAction,
    TensorAction,
    TrivialAction,
)
from equijax.audit._graph_places import GraphPlaces
from equijax.audit._layout import Atom, Base, Fibre, Layout, Still, normalised
from equijax.groups import Permutation
from equijax.groups._group import Element


def layout_of(action: Action, shape: tuple[int, ...]) -> Layout:
    """Returns the layout of an array of this shape under an action of this library; others become custom."""
    if isinstance(action, FiniteAction):
        action = action.action
    if isinstance(action, GraphAction):
        action.axes(len(shape))  # raises: a graph is more than one array
    if isinstance(action, ProductAction) and (orders := _orders(action)):
        return _product_layout(orders, shape)
    if not isinstance(action, (FibreAction, GridAction, TensorAction, TrivialAction)):
        return Layout(tuple((Still(n),) for n in shape), action)
    axes: list[tuple[Atom, ...]] = []
    for axis, size in zip(action.axes(len(shape)), shape, strict=True):
        if axis.role == "base" and isinstance(action, GridAction):
            j = axis.index or 0
            axes.append((Base(size, j, Fraction(action.spacing[j]), Fraction(action.origin[j]).limit_denominator(2)),))
        elif axis.role == "base":
            axes.append((Base(size, copy=axis.index or 0),))
        elif axis.role == "fibre":
            axes.append((Fibre(action.fibre),))  # pyright: ignore[reportAttributeAccessIssue]
        else:
            axes.append((Still(size, "batch" if axis.role == "batch" else "feature"),))
    return normalised(tuple(axes))


def permutations_of(action: Action, elements: Element, places: GraphPlaces | None) -> tuple[np.ndarray, ...]:
    """Returns the image vectors of all elements for every base axis, int ``(elements, points)``; none for other actions.

    Args:
      action: the action on the input.
      elements: its elements, stacked.
      places: where it moves a graph, its nodes, edges and graphs.
    """
    if isinstance(action.group, Permutation):
        return (elements,)
    if isinstance(action, ProductAction) and _orders(action):
        return tuple(elements)
    if places is not None:
        graphs = places.sizes[2]
        return (elements[0], elements[1], np.broadcast_to(np.arange(graphs), (len(elements[0]), graphs)))
    return ()


def _orders(action: ProductAction) -> list[int]:
    """Returns how many axes each factor moves; nothing where a factor is no permutation of points."""
    factors = [f.action if isinstance(f, FiniteAction) else f for f in action.factors]
    orders = [f.order for f in factors if isinstance(f, TensorAction)]
    return orders if len(orders) == len(factors) else []


def _product_layout(orders: list[int], shape: tuple[int, ...]) -> Layout:
    owners = [(axis, copy) for axis, order in enumerate(orders) for copy in range(order)]
    first = len(shape) - 1 - len(owners)
    axes: list[tuple[Atom, ...]] = [(Still(n, "batch" if k < first else "feature"),) for k, n in enumerate(shape)]
    for k, (axis, copy) in enumerate(owners, first):
        axes[k] = (Base(shape[k], axis, copy=copy),)
    return normalised(tuple(axes))
