"""Checks of arguments that are no arrays, in one place: each names the argument, what came and what is needed."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.core import Tracer


def shown(value: Any) -> str:
    """Says what a value is in a few words: arrays by shape and dtype, long values by their beginning."""
    if isinstance(value, Tracer):
        return f"a traced array of shape {value.shape}, which has no value yet"
    large = isinstance(value, (np.ndarray, jax.Array)) and value.size > 8
    text = "" if large else " ".join(repr(value).split())
    if isinstance(value, (np.ndarray, jax.Array)) and (large or len(text) > 80):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return text if len(text) <= 80 else f"{text[:77]}… of type {type(value).__name__}"


def boolean(value: Any, name: str) -> bool:
    """Returns a bool.

    Raises:
      TypeError: it is none.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"`{name}` is {shown(value)}; it must be True or False.")
    return bool(value)


def real_number(
    value: Any,
    name: str,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    *,
    positive: bool = False,
    what: str = "finite number",
) -> float:
    """Returns a finite number between two bounds; integers stay integers.

    Raises:
      TypeError: it is no real number (a bool is none).
      ValueError: it is not finite, or out of bounds.
    """
    wanted = "above 0" if positive else _between(minimum, maximum)
    traced = isinstance(value, Tracer)
    if traced or isinstance(value, (bool, np.bool_, str, bytes)) or np.ndim(_flat(value)) or not _is_real(value):
        raise TypeError(f"`{name}` is {shown(value)}; it must be a {what}{wanted and ' ' + wanted}.")
    number = value if isinstance(value, (int, float)) else np.asarray(value).item()
    if not math.isfinite(number) or not minimum <= number <= maximum or (positive and number <= 0):
        raise ValueError(f"`{name}` is {number}; it must be a {what}{wanted and ' ' + wanted}.")
    return number


def function(value: Any, name: str, what: str = "a function of one array") -> Callable[..., Any]:
    """Returns a callable.

    Raises:
      TypeError: it can't be called.
    """
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"`{name}` is {shown(value)}; it must be {what}.")
    return value


def one_of(value: Any, name: str, choices: Iterable[str]) -> str:
    """Returns one of several words.

    Raises:
      ValueError: it is none of them.
    """
    known = tuple(choices)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"`{name}` is {shown(value)}; it must be one of {', '.join(map(repr, known))}.")
    return value


def listed(value: Any, name: str, what: str) -> list[Any]:
    """Returns the entries of a list, tuple, array or iterator.

    Raises:
      TypeError: it has no entries, as a number; or a name, as a string or a mapping.
    """
    if isinstance(value, (str, bytes, Mapping)) or not np.iterable(value):
        raise TypeError(f"`{name}` is {shown(value)}; it must be a list of {what}.")
    return list(value)


def as_shape(value: Any, name: str = "shape") -> tuple[int, ...]:
    """Returns a shape, a tuple of integers of at least 0; sizes that ``jax.export`` leaves open stay as they are.

    Raises:
      TypeError: it is no tuple or list of integers.
      ValueError: an entry is negative.
    """
    entries = value if isinstance(value, (tuple, list)) else None
    try:
        sizes = None if entries is None else tuple(map(_size, entries))
    except TypeError:
        sizes = None
    if sizes is None:
        raise TypeError(f"`{name}` is {shown(value)}; it must be a tuple of integers, for example (3,) or ().")
    if any(isinstance(n, int) and not 0 <= n < 2**31 for n in sizes):
        raise ValueError(f"`{name}` is {shown(value)}; its entries must be between 0 and 2³¹ - 1.")
    return sizes


def _size(n: Any) -> Any:
    if export.is_symbolic_dim(n):
        return n
    if isinstance(n, bool):
        raise TypeError
    return operator.index(n)


def shape_or_value(value: Any, name: str) -> Any:
    """Returns the shape of an array, or what is moved where that is no single array, such as a graph, itself.

    Raises:
      TypeError: it is neither: a single array, a number or a word.
      ValueError: an entry of the shape is negative.
    """
    plain = (int, float, complex, str, bytes, np.generic, type(None), Tracer)
    if isinstance(value, (tuple, list)) and all(_is_entry(n, plain) for n in value):
        return as_shape(value, name)
    leaves = jax.tree.leaves(value)
    single = len(leaves) == 1 and leaves[0] is value
    if leaves and not single and all(hasattr(leaf, "shape") for leaf in leaves):
        return value
    raise TypeError(f"`{name}` is {shown(value)}; it must be the shape of an array, or a graph or the like itself.")


def _is_entry(n: Any, plain: tuple[type, ...]) -> bool:
    return export.is_symbolic_dim(n) or (isinstance(n, plain) and not np.ndim(n))


def require_key(key: Any, name: str = "key") -> None:
    """Raises ``TypeError`` where an argument is no random key."""
    if isinstance(key, jax.Array) and not key.ndim and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return
    if isinstance(key, (jax.Array, np.ndarray)) and key.dtype == np.uint32 and key.ndim == 1 and key.shape[0] in (2, 4):
        return
    raise TypeError(f"`{name}` is {shown(key)}; it must be one random key, for example jax.random.key(0).")


def float_dtype(value: Any, name: str) -> Any:
    """Returns a dtype of floating or complex numbers as it was given.

    Raises:
      TypeError: it is no dtype, or one of integers or bools.
    """
    try:
        inexact = not isinstance(value, (int, float)) and jnp.issubdtype(jnp.dtype(value), jnp.inexact)
    except (TypeError, ValueError):
        inexact = False
    if value is None or not inexact:
        raise TypeError(f"`{name}` is {shown(value)}; it must be a dtype of floating point numbers, such as jnp.float32.")
    return value


def _flat(value: Any) -> Any:
    return value if hasattr(value, "ndim") or isinstance(value, (list, tuple)) else 0


def _is_real(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return True
    dtype = getattr(value, "dtype", None)
    return dtype is not None and (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer))


def _between(minimum: float, maximum: float) -> str:
    if minimum > -math.inf and maximum < math.inf:
        return f"between {minimum} and {maximum}"
    if minimum > -math.inf:
        return f"of at least {minimum}"
    return f"of at most {maximum}" if maximum < math.inf else ""
