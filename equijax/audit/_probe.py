"""Finding out how an action on a pytree moves the axes of its leaves, by letting it move numbered axes."""

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions import Action
from equijax.audit._atoms import Atom, Base, Still
from equijax.audit._frame import Frame
from equijax.audit._layout import Layout, normalised
from equijax.audit._trace import Trace


def probed_layouts(action: Action, traced: Trace, frame: Frame) -> list[Layout]:
    """Returns a layout for each leaf: an axis belongs to the base if the action permutes its entries like a set.

    Raises:
      ValueError: a leaf moves in another way than by permuting whole axes.
    """
    axes: list[list[tuple[Atom, ...]]] = [[(Still(n),) for n in np.shape(leaf)] for leaf in traced.x]
    for number, leaf in enumerate(traced.x):
        copies = 0
        for k, n in enumerate(np.shape(leaf)):
            if _permutes(action, traced, frame, number, k):
                axes[number][k] = (Base(n, copy=copies),)
                copies += 1
        if copies != np.ndim(leaf) and axes[number] and isinstance(axes[number][0][0], Still):
            axes[number][0] = (Still(np.shape(leaf)[0], "batch"),)
    layouts = [normalised(tuple(row)) for row in axes]
    for number, (leaf, layout) in enumerate(zip(traced.x, layouts, strict=True)):
        for e in range(frame.count):
            moved = jax.tree.leaves(action(frame.element(e), jax.tree.unflatten(traced.x_tree, traced.x)))[number]
            if not np.array_equal(np.asarray(moved), frame.move(e, leaf, layout)[0]):
                raise ValueError(
                    f"`in_action` moves leaf {number} of `x`, of shape {np.shape(leaf)}, in a way that is no permutation of "
                    "whole axes. Pass a pytree of actions like `x`, one for each leaf."
                )
    return layouts


def _permutes(action: Action, traced: Trace, frame: Frame, number: int, k: int) -> bool:
    """Tells whether axis k of a leaf is moved like the points of a set."""
    n = np.shape(traced.x[number])[k]
    probe = Layout(((Base(n),),))
    if not all(frame.acts(e, probe) for e in range(frame.count)):
        return False
    shape = [1] * np.ndim(traced.x[number])
    shape[k] = n
    leaves = list(traced.x)
    leaves[number] = jnp.broadcast_to(jnp.arange(n).reshape(shape), np.shape(traced.x[number])).astype(jnp.int32)
    for e in range(frame.count):
        moved = np.asarray(jax.tree.leaves(action(frame.element(e), jax.tree.unflatten(traced.x_tree, leaves)))[number])
        own = np.moveaxis(moved, k, -1).reshape(-1, n)[0]
        if not np.array_equal(own, frame.move(e, np.arange(n), probe)[0]):
            return False
    return True
