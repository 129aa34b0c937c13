"""What the functions of a user return: checked in one place against what is asked of them."""

from typing import Any

import jax
import jax.numpy as jnp


def require_returned(value: Any, shape: tuple[int, ...], name: str, what: str, dtype: Any = None) -> jax.Array:
    """Returns what a function of the user gave, after checking that it is one array of a shape.

    Args:
      value: what it gave.
      shape: the shape that was asked for.
      name: the argument that holds the function.
      what: what it must return, for the message.
      dtype: the dtype that was asked for, or a kind such as ``jnp.floating``; None is any.

    Raises:
      TypeError: it is no array, or has another dtype.
      ValueError: it has another shape.
    """
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise TypeError(
            f"`{name}` returned a {type(value).__name__}; it must return {what}, an array of shape {tuple(shape)}."
        )
    if value.shape != tuple(shape):
        raise ValueError(f"`{name}` returned shape {value.shape}; it must return {what}, an array of shape {tuple(shape)}.")
    if dtype is not None and not jnp.issubdtype(value.dtype, dtype):
        wanted = getattr(dtype, "__name__", dtype)
        raise TypeError(f"`{name}` returned dtype {value.dtype}; it must return {what}, an array of dtype {wanted}.")
    return value


def require_batch(value: Any, batch: tuple[int, ...], name: str) -> jax.Array:
    """Returns what a function of the user gave, after checking that it is an array that begins with the axes of a batch."""
    shape = getattr(value, "shape", ())
    if hasattr(value, "dtype") and shape[: len(batch)] != tuple(batch):
        raise ValueError(f"`{name}` returned shape {shape}; it must keep the batch axes {tuple(batch)}.")
    return require_returned(value, shape, name, "one array")


def require_scores(value: Any, shape: tuple[int, ...], name: str) -> jax.Array:
    """Returns the scores that a function of the user gave, real floats, one for each candidate."""
    value = require_returned(value, shape, name, "one number for each candidate", jnp.number)
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise TypeError(f"`{name}` returned dtype {value.dtype}; numbers of which one is the largest are real.")
    return value


def require_pointwise(value: Any, x: jax.Array, name: str) -> jax.Array:
    """Returns what a pointwise function of the user made of ``x``: an array of its shape, of floats where ``x`` has them."""
    return require_returned(value, x.shape, name, f"one number for each of {x.dtype}{list(x.shape)}", jnp.inexact)
