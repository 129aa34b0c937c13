"""The equivariance error of any function."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions import Action, FiniteAction, GridAction
from equijax.actions._motions import common_motions
from equijax.groups._group import Element


def equivariance_error(
    fn: Callable[[Any], Any],
    in_action: Action,
    out_action: Action,
    x: Any,
    elements: Element | None = None,
    *,
    key: jax.Array | None = None,
) -> np.ndarray:
    r"""Measures how far ``fn`` is from commuting with a group, element by element.

    .. math:: e(g) = \frac{‖ f(g·x) - g·f(x) ‖}{‖ f(x) ‖}

    Norms run over the whole output. A value near the rounding of the dtype (1e-16 in float64, 1e-7 in float32) means
    equivariant; 1 means that nothing is left of it.

    Args:
      fn: the function, for example a layer.
      in_action: how the group moves ``x``.
      out_action: how the group moves ``fn(x)``; ``TrivialAction(group)`` for invariant functions.
      x: array or pytree, with any batch axes.
      elements: group elements stacked along a leading axis, for example ``layer.exactness(x.shape).elements()``. None
        takes, on a grid, every point element that maps ``x`` and ``fn(x)`` to themselves, on a torus with a random shift
        (with boundary ``"zero"`` shifts are measured only where you name them); elsewhere all elements of a finite group
        of order up to 1024, or 8 random ones (always of permutations, which are never listed).
      key: for the random elements; None is ``jax.random.key(0)``.

    Returns:
      float64 ``(number of elements,)``. ``.max()`` is the figure to quote.

    Raises:
      ValueError: the actions belong to different groups.

    Example: a circular convolution, and one with zero padding.
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> act = ej.GridAction(ej.Translation(1))
      >>> x = jnp.arange(8.0)[:, None] ** 2
      >>> blur = lambda x: x + jnp.roll(x, 1, axis=0)
      >>> bool(ej.equivariance_error(blur, act, act, x).max() < 1e-6)
      True
      >>> padded = lambda x: x.at[1:].add(x[:-1])
      >>> bool(ej.equivariance_error(padded, act, act, x).max() > 1e-2)
      True
    """
    if in_action.group != out_action.group:
        raise ValueError(
            f"`in_action` belongs to {in_action.group!r} and `out_action` to {out_action.group!r}; both sides must be "
            "moved by the same element of one group."
        )
    y = fn(x)
    if elements is None:
        elements = default_elements(in_action, out_action, x, y, key)
    scale = float(_norm(y))
    count = len(jax.tree.leaves(elements)[0])
    errors = np.empty(count)
    for i in range(count):
        g = jax.tree.map(lambda leaf, i=i: leaf[i], elements)
        moved, expected = fn(_moved(in_action, g, x)), _moved(out_action, g, y)
        difference = jax.tree.map(lambda a, b: widened(a) - widened(b), moved, expected)
        distance = float(_norm(difference))
        errors[i] = distance / scale if scale else distance
    return errors


_compiled = jax.jit(lambda action, g, x: action(g, x), static_argnums=0)


def _moved(action: Action, g: Element, x: Any) -> Any:
    """Applies a compiled action to an element that is known, after the action has had its look at the element."""
    action.require_acts(g, np.shape(x) if isinstance(x, (jax.Array, np.ndarray)) else ())
    return _compiled(action, g, x)


def default_elements(
    in_action: Action, out_action: Action, x: Any, y: Any, key: jax.Array | None = None, limit: int = 1024, samples: int = 8
) -> Element:
    """Returns the elements to measure when none are named, stacked along a leading axis.

    On grids these are all point elements that map ``x`` and ``y`` to themselves, on a torus each with a random shift, and a
    few shifts alone; of a finite group of order up to ``limit`` all elements; else random ones.
    """
    key = jax.random.key(0) if key is None else key
    sides = [
        (action.action if isinstance(action, FiniteAction) else action, z) for action, z in ((in_action, x), (out_action, y))
    ]
    grids = [(action, action.sizes(np.shape(z))) for action, z in sides if isinstance(action, GridAction)]
    group = in_action.group
    if not grids:
        try:
            return group.elements() if group.order <= limit else group.sample(key, (samples,))
        except ValueError:
            return group.sample(key, (samples,))
    motions = common_motions(*grids)
    plain = dataclasses.replace(motions, elements={0: motions.elements[0]})
    return jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves),
        motions.each(group, key),
        plain.sample(group, jax.random.fold_in(key, 1), (samples // 2 if any(motions.steps) else 0,)),
    )


def _norm(tree: Any) -> float:
    squares = [np.sum(np.abs(widened(leaf)) ** 2) for leaf in jax.tree.leaves(tree)]
    return float(np.sqrt(np.sum(squares)))


def widened(leaf: Any) -> np.ndarray:
    """Returns an array of any dtype as float64, or as complex128 where it is complex."""
    return np.asarray(leaf, np.complex128 if np.iscomplexobj(leaf) else np.float64)
