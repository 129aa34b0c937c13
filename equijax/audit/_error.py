"""The equivariance error of any function."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import function, require_key
from equijax.actions import Action
from equijax.actions._acting import measured_elements, require_elements, require_moved, shape_of
from equijax.actions._action import require_action
from equijax.groups import agree
from equijax.groups._elements import as_arrays, on_device
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

    Norms run over the whole output; of a pytree, such as a graph, over its floating leaves, while the other leaves (indices,
    masks) must agree exactly, or the error is infinite. A value near the rounding of the dtype (1e-16 in float64, 1e-7 in
    float32) means equivariant; 1 means that nothing is left of it.

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
    function(fn, "fn")
    require_action(in_action, "in_action")
    require_action(out_action, "out_action")
    require_moved(x)
    if key is not None:
        require_key(key)
    y = fn(x)
    in_action, out_action = in_action.for_input(x), out_action.for_input(y)
    if not agree(in_action.group, out_action.group):
        raise ValueError(
            f"`in_action` belongs to {in_action.group!r} and `out_action` to {out_action.group!r}; both sides must be "
            "moved by the same element of one group."
        )
    if elements is None:
        elements = default_elements(in_action, out_action, x, y, key)
    require_elements(in_action.group, elements)
    elements = as_arrays(elements)
    into, out = functools.partial(moved, in_action), functools.partial(moved, out_action)
    return errors_at(fn, into, out, x, y, elements)


def errors_at(
    fn: Callable[[Any], Any],
    into: Callable[[Element, Any], Any],
    out: Callable[[Element, Any], Any],
    x: Any,
    y: Any,
    elements: Element,
) -> np.ndarray:
    """Returns ``‖fn(into(g, x)) - out(g, y)‖ / ‖y‖`` for every element, float64; ``y`` is ``fn(x)``."""
    scale = _norm(y)
    known = jax.tree.map(np.asarray, elements)  # picked in numpy: JAX would compile a program for each shape
    count = len(jax.tree.leaves(known)[0])
    errors = np.empty(count)
    for i in range(count):
        g = jax.tree.map(lambda leaf, i=i: on_device(leaf[i]), known)
        distance = _distance(fn(into(g, x)), out(g, y))
        errors[i] = distance / scale if scale else distance
    return errors


_compiled = jax.jit(lambda action, g, x: action(g, x), static_argnums=0)


def moved(action: Action, g: Element, x: Any) -> Any:
    """Applies a compiled action to an element that is known, after the action has had its look at the element."""
    action.require_acts(g, np.shape(x) if isinstance(x, (jax.Array, np.ndarray)) else ())
    return _compiled(action, g, x)


def default_elements(in_action: Action, out_action: Action, x: Any, y: Any, key: jax.Array | None = None) -> Element:
    """Returns the elements to measure when none are named, stacked along a leading axis."""
    key = jax.random.key(0) if key is None else key
    return measured_elements([(in_action, shape_of(x)), (out_action, shape_of(y))], key)


def is_floating(leaf: Any) -> bool:
    """Tells whether a leaf holds real or complex numbers, not indices or flags."""
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def _norm(tree: Any) -> float:
    leaves = jax.tree.leaves(tree)
    counted = [leaf for leaf in leaves if is_floating(leaf)] or leaves
    return float(np.sqrt(sum(np.sum(np.abs(wide(leaf)) ** 2) for leaf in counted)))


def _distance(a: Any, b: Any) -> float:
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    exact = [pair for pair in pairs if not is_floating(pair[1])]
    if len(exact) < len(pairs) and not all(np.array_equal(x, y) for x, y in exact):
        return float("inf")
    return _norm([wide(x) - wide(y) for x, y in pairs if len(exact) == len(pairs) or is_floating(y)])


#: Numbers beyond this stand for infinity, as the least number of a dtype does in a mask.
ENDLESS = 1e30


def gap(a: Any, b: Any, known: np.ndarray | None = None) -> np.ndarray:
    """Returns ``a - b`` in float64, with 0 where both are the same infinity, and where ``b`` is not known.

    It is finite too where one of them is infinite and the other is not, or is another infinity: such a pair counts as much
    as the root mean square of the finite numbers.
    """
    a, b = widened(a), widened(b)
    infinite = np.isinf(a) | np.isinf(b)
    if infinite.any():
        apart = infinite & (a != b) & ~np.isnan(a) & ~np.isnan(b)
        finite = np.abs(b[np.isfinite(b)])
        size = float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0
        a, b = np.where(infinite & ~np.isnan(a), np.where(apart, size or 1.0, 0.0), a), np.where(np.isinf(b), 0.0, b)
        b = np.where(apart, 0.0, b)
    result = a - b
    return result if known is None else np.where(known, result, 0.0)


def eps_of(value: Any) -> float:
    """Returns one unit of rounding of an array's dtype."""
    dtype = np.asarray(value).dtype
    return float(jnp.finfo(dtype).eps) if jnp.issubdtype(dtype, jnp.inexact) else 1e-12


def wide(leaf: Any) -> np.ndarray:
    """Returns an array of any dtype as float64, or as complex128 where it is complex."""
    return np.asarray(leaf, np.complex128 if np.iscomplexobj(leaf) else np.float64)


def widened(leaf: Any) -> np.ndarray:
    """Returns an array as :func:`wide` does, with infinities in the place of numbers beyond ``ENDLESS``.

    They come from masks; in a norm they would hide all others.
    """
    array = wide(leaf)
    if not array.size or (not np.iscomplexobj(array) and array.max() <= ENDLESS and array.min() >= -ENDLESS):
        return array
    far = np.abs(array) > ENDLESS
    return np.where(far, np.where(np.real(array) < 0, -np.inf, np.inf), array) if far.any() else array
