"""Elements that a caller lists to average over: as a value, and the check that they form a group."""

import functools
from typing import Any

import jax
import numpy as np
from scipy.spatial import KDTree

from equijax.actions import Action
from equijax.groups import Group
from equijax.groups._elements import concrete
from equijax.groups._group import Element
from equijax.nn._layer import sized

_TOLERANCE = 1e-4


class Listed:
    """Elements as a static attribute of a module: compared by value.

    Args:
      elements: a pytree of arrays, stacked along a leading axis.

    Raises:
      ValueError: there is none.
    """

    def __init__(self, elements: Element):
        leaves, self.structure = jax.tree.flatten(elements, is_leaf=lambda leaf: isinstance(leaf, list))
        self.leaves = tuple(np.asarray(leaf) for leaf in leaves)
        if not self.leaves or any(not leaf.ndim or not len(leaf) for leaf in self.leaves):
            raise ValueError(
                "`elements` is empty; list at least the identity, stacked along a leading axis, or leave it out for the "
                "whole group."
            )
        self.key = (self.structure, tuple((leaf.shape, leaf.dtype.str, leaf.tobytes()) for leaf in self.leaves))

    def each(self) -> list[Element]:
        """Returns the elements one by one."""
        return [jax.tree.unflatten(self.structure, [leaf[i] for leaf in self.leaves]) for i in range(len(self))]

    def __len__(self) -> int:
        return len(self.leaves[0])

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Listed) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"{len(self)} elements"


def listed_or_none(elements: Element) -> Listed | None:
    """Returns listed elements as a value, or None where they are traced."""
    known = concrete(elements)
    return None if known is None else Listed(known)


def require_closed(listed: Listed, action: Action, x: Any, name: str) -> None:
    """Checks that listed elements form a group as they move ``x``: shifts of a torus are counted modulo its periods.

    Args:
      listed: the elements.
      action: the action.
      x: what it moves: one sample, an array or a pytree.
      name: the action's name, for the message.

    Raises:
      ValueError: the product of two elements is none of them, or some are listed more often than others.
    """
    if _moves_nothing(action):
        return
    group = sized(action, x.shape if hasattr(x, "shape") else x).group
    if not is_closed(group, listed):
        raise no_group(listed, group, name)


def _moves_nothing(action: Action) -> bool:
    try:
        return not action.moved_axes
    except ValueError:  # of a graph
        return False


def no_group(listed: Listed, group: Group, name: str) -> ValueError:
    """Returns the error for elements that form no group."""
    return ValueError(
        f"`elements` lists {len(listed)} elements of {group!r} that form no group as `{name}` moves them: the identity or a "
        "product of two of them is missing, or some are listed more often than others. List a whole subgroup; or draw "
        "elements with samples=…, where an average over the group is enough."
    )


@functools.lru_cache(maxsize=256)
def is_closed(group: Group, listed: Listed) -> bool:
    """Tells whether listed elements form a finite group, each listed equally often.

    Products with a few generators are looked up among the elements: as many as double what is reached each time.
    """
    with jax.ensure_compile_time_eval():
        first = jax.tree.map(lambda e: np.asarray(e)[None], group.identity)
        rows = _rows(group.compose(first, jax.tree.unflatten(listed.structure, listed.leaves)), len(listed))
        tree = KDTree(rows)
        number = np.array([min(near) for near in tree.query_ball_point(rows, _TOLERANCE)])
        counts = np.bincount(number, minlength=len(rows))
        start = int(np.ravel(tree.query(_rows(first, 1), distance_upper_bound=_TOLERANCE)[1])[0])
        if start == len(rows) or len(set(counts[counts > 0])) > 1:
            return False
        reached, images = {int(number[start])}, []
        for k in np.unique(number):
            if int(k) in reached:
                continue
            generator = jax.tree.unflatten(listed.structure, [leaf[k][None] for leaf in listed.leaves])
            product = group.compose(generator, jax.tree.unflatten(listed.structure, listed.leaves))
            found = np.ravel(tree.query(_rows(product, len(listed)), distance_upper_bound=_TOLERANCE)[1])
            if (found == len(rows)).any():
                return False
            images.append(number[found])
            reached = _orbit(reached, images)
        return True


def _orbit(reached: set[int], images: list[np.ndarray]) -> set[int]:
    """Returns what is reached from some elements by repeated multiplication."""
    found, new = set(reached), set(reached)
    while new:
        new = {int(image[k]) for image in images for k in new} - found
        found |= new
    return found


def _rows(elements: Element, count: int) -> np.ndarray:
    """Returns elements as float64 vectors, ``(count, numbers)``."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(elements)]
    return np.concatenate([leaf.reshape(count, -1).astype(np.float64) for leaf in leaves], axis=1)
