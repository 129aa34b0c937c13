"""Elements as arrays: which are refused, and what comes of a traced one that is none.

An element whose values are known is refused where it is none. A traced one has no values: what is looked up for a number
that is out of range is poisoned, so that it shows.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import shown
from equijax._arrays import as_array
from equijax._indices import narrowed

_INT32 = np.iinfo(np.int32)


def concrete(tree: Any) -> Any:
    """Returns a pytree of numpy arrays, or None where a leaf is traced and has no value yet."""
    try:
        return jax.tree.map(np.asarray, tree, is_leaf=lambda leaf: isinstance(leaf, list))
    except jax.errors.TracerArrayConversionError:
        return None


def on_device(value: Any) -> jax.Array:
    """Returns ``jnp.asarray(value)``; that compiles a program for every shape of a numpy array, unless told the dtype."""
    if not isinstance(value, (np.ndarray, np.generic)):
        return jnp.asarray(value)
    with np.errstate(over="ignore"):
        array = np.asarray(value, jax.dtypes.canonicalize_dtype(value.dtype))
    return jnp.asarray(array, array.dtype)


def as_arrays(g: Any) -> Any:
    """Returns an element whose lists are arrays."""
    return jax.tree.map(on_device, g, is_leaf=lambda leaf: isinstance(leaf, list))


def batch_shape(group: Any, g: Any) -> tuple[int, ...]:
    """Returns the leading axes of elements ``g`` of ``group``."""
    leaf = jax.tree.leaves(g, is_leaf=lambda leaf: isinstance(leaf, list))[0]
    shape, described = np.shape(leaf), jax.tree.leaves(group.element_shape)[0]
    return shape[: len(shape) - len(described.shape)]


def require_one(group: Any, g: Any, name: str = "g") -> None:
    """Raises ``ValueError`` where ``g`` are several elements of a group."""
    group.require_element(g, name)
    batch = batch_shape(group, g)
    if batch:
        raise ValueError(f"`{name}` has leading axes {batch}; give one element of {group!r}, or map over them by jax.vmap.")


def require_tuple(g: Any, length: int, name: str, what: str) -> tuple[Any, ...]:
    """Returns an element of a product as a tuple.

    Raises:
      TypeError: it is no tuple of so many entries.
    """
    if not isinstance(g, tuple) or len(g) != length:
        raise TypeError(f"`{name}` is {shown(g)}; an element of this group is {what}, a tuple.")
    return tuple(g)


def integers(value: Any, name: str, shape: tuple[int | None, ...] = (), what: str = "integers") -> Any:
    """Returns integers ``(…, *shape)`` as int32, a numpy array where they are known.

    Args:
      value: an array, or lists of numbers.
      name: the argument's name.
      shape: the last axes; None is any length.
      what: what they are, for the message.

    Raises:
      TypeError: they are no integers (bools are none).
      ValueError: the last axes are others, or a known number does not fit in int32. A traced one that does not becomes the
        smallest int32.
    """
    empty = isinstance(value, list) and not value  # which numpy takes for floats
    array = np.zeros(0, np.int32) if empty else as_array(value)
    if array is None or not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"`{name}` is {shown(value)}; it must hold {what}.")
    _require_last_axes(array, name, shape, what)
    if isinstance(array, np.ndarray):
        outside = (array < _INT32.min) | (array > _INT32.max)
        if outside.any():
            raise ValueError(f"`{name}` holds {array[outside].reshape(-1)[0]}, which is beyond the integers of 32 bits.")
        return array.astype(np.int32)
    return narrowed(array)


def known_integers(value: Any, name: str, shape: tuple[int | None, ...] = (), what: str = "integers") -> np.ndarray:
    """Returns :func:`integers` that are known.

    Raises:
      TypeError: they are traced.
    """
    found = integers(value, name, shape, what)
    if not isinstance(found, np.ndarray):
        raise TypeError(f"`{name}` is {shown(value)}; it must hold {what} that are known when a program is traced.")
    return found


def reals(value: Any, name: str, shape: tuple[int, ...], what: str = "real numbers") -> jax.Array:
    """Returns real numbers ``(…, *shape)`` in the default precision.

    Raises:
      TypeError: they are no real numbers.
      ValueError: the last axes are others, or a number is known and not finite.
    """
    array = as_array(value)
    if array is None or not _is_real(array.dtype):
        raise TypeError(f"`{name}` is {shown(value)}; it must hold {what}.")
    _require_last_axes(array, name, shape, what)
    return jnp.asarray(array, float)


def numeric(value: Any, name: str) -> jax.Array:
    """Returns an array of numbers of any dtype, complex ones and bools among them.

    Raises:
      TypeError: it is none.
    """
    if isinstance(value, jax.Array):
        array = None if jnp.issubdtype(value.dtype, jax.dtypes.extended) else value
    else:
        array = as_array(value)
        array = None if array is None or array.dtype.kind in "USOMm" else on_device(value)
    if array is None:
        raise TypeError(f"`{name}` is {shown(value)}; it must be an array of numbers.")
    return array


def array_shape(value: Any, name: str) -> tuple[int, ...]:
    """Returns the shape of an array of numbers, or of a ``jax.ShapeDtypeStruct`` that describes one.

    Raises:
      TypeError: it is neither.
    """
    return value.shape if isinstance(value, jax.ShapeDtypeStruct) else numeric(value, name).shape


def known_reals(value: Any, name: str, what: str = "real numbers") -> np.ndarray:
    """Returns real numbers that are known, float64.

    Raises:
      TypeError: they are no real numbers, or traced.
    """
    array = as_array(value)
    if not isinstance(array, np.ndarray) or not _is_real(array.dtype):
        raise TypeError(f"`{name}` is {shown(value)}; it must hold {what}.")
    return array.astype(np.float64)


def numbers(g: Any, order: int, name: str) -> Any:
    """Returns numbers of elements of a finite group as int32, a numpy array where they are known.

    Raises:
      TypeError: they are no integers.
      ValueError: a known one is not one of ``0 … order - 1``; traced ones pass.
    """
    found = integers(g, name, (), f"numbers of elements, 0 … {order - 1}")
    if isinstance(found, np.ndarray):
        wrong = (found < 0) | (found >= order)
        if wrong.any():
            bad = found[wrong].reshape(-1)[0]
            raise ValueError(f"`{name}` holds {bad}; the elements of this group are numbered 0 … {order - 1}.")
    return found


def known_numbers(g: Any, order: int, name: str) -> np.ndarray:
    """Returns :func:`numbers` that are known.

    Raises:
      TypeError: they are traced.
    """
    known_integers(g, name, (), f"numbers of elements, 0 … {order - 1},")
    return numbers(g, order, name)


def looked_up(table: Any, g: Any, name: str = "g") -> jax.Array:
    """Returns the entries of a table for numbers of elements, ``(*g.shape, …)``.

    A traced number that is none of the elements' gives :func:`poison`.

    Raises:
      TypeError: they are no integers.
      ValueError: a known one is none of the elements'.
    """
    index = numbers(g, len(table), name)
    if isinstance(index, np.ndarray) and isinstance(table, np.ndarray):
        return on_device(table[index])
    table = jnp.asarray(table)
    return table[index] if isinstance(index, np.ndarray) else taken(table, index)


def taken(table: jax.Array, *index: jax.Array) -> jax.Array:
    """Returns ``table[index]`` for int32 indices of its first axes, with :func:`poison` where one is out of range."""
    inside = [jnp.where(i < 0, n, i) for i, n in zip(index, table.shape, strict=False)]
    return table.at[tuple(inside)].get(mode="fill", fill_value=poison(table.dtype))


def poison(dtype: Any) -> Any:
    """What is put where an index that was traced is out of range: NaN, the extreme integer, or False."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return float("nan")
    if jnp.issubdtype(dtype, jnp.bool_):
        return False
    limits = jnp.iinfo(dtype)
    return int(limits.min if limits.min < 0 else limits.max)


def known_where(known: jax.Array, x: jax.Array) -> jax.Array:
    """Marks what an element or a choice that does not exist has made, which only a traced one can do.

    Args:
      known: bool ``(*batch,)``.
      x: ``(*batch, *rest)``.

    Returns:
      ``x``, and where ``known`` is False NaN for floats, the smallest number of a signed integer, the largest of an unsigned
      one, False of a boolean. Of integers the mark may stand for itself.
    """
    known = known.reshape(*known.shape, *(1,) * (x.ndim - known.ndim))
    return jnp.where(jnp.broadcast_to(known, x.shape), x, jnp.asarray(poison(x.dtype), x.dtype))


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def _require_last_axes(array: Any, name: str, shape: tuple[int | None, ...], what: str) -> None:
    last = array.shape[array.ndim - len(shape) :]
    if array.ndim < len(shape) or any(n not in (None, m) for n, m in zip(shape, last, strict=True)):
        axes = ", ".join("n" if n is None else str(n) for n in shape)
        raise ValueError(f"`{name}` has shape {array.shape}; it must hold {what}, with the last axes ({axes}).")
