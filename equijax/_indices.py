"""Integers that number things: checked as they are given, before they are cast to 32 bits, so that none wraps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import shown
from equijax._arrays import as_array
from equijax._exported import is_open
from equijax._numbers import positive_int

_INT32 = np.iinfo(np.int32)


def indices(value: Any, name: str) -> Any:
    """Returns integers as an array of the dtype in which they are given; lists become numpy arrays.

    Raises:
      TypeError: they are no integers.
    """
    array = value if hasattr(value, "dtype") else as_array(value)
    if array is None:
        raise TypeError(f"`{name}` is {shown(value)}; it must be an array of integers.")
    if isinstance(value, (list, tuple)) and array.size == 0:
        array = array.astype(np.int32)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"`{name}` has dtype {array.dtype}; indices must be integers. Write {name}.astype(int).")
    return array


def narrowed(array: Any) -> Any:
    """Returns integers as int32; those that do not fit become the smallest int32, which is no index of anything."""
    limits = np.iinfo(array.dtype)
    if limits.max <= _INT32.max:
        return array.astype(np.int32)
    xp = jnp if isinstance(array, jax.Array) else np
    inside = array <= _INT32.max if limits.min == 0 else (array >= _INT32.min) & (array <= _INT32.max)
    return xp.where(inside, array.astype(np.int32), np.int32(_INT32.min))


def bounded_int(value: Any, name: str, minimum: int = 1) -> int:
    """Returns a number of things as an int after checking that int32 can number them; an open size of ``jax.export`` passes.

    Raises:
      TypeError: it is no integer.
      ValueError: it is too small or too large.
    """
    return value if is_open(value) else positive_int(value, name, minimum)


def require_range(known: np.ndarray | None, limit: int, name: str, what: str) -> None:
    """Raises ``ValueError`` where a known index is not one of ``0 … limit - 1``; traced ones (None) pass."""
    if known is None or known.ndim == 0 or not known.size:
        return
    outside = (known < 0) | (known >= limit)
    if outside.any():
        k = int(np.argmax(outside))
        raise ValueError(f"`{name}` holds {known[k]} at entry {k}; there are {limit} {what}, numbered 0 … {limit - 1}.")
