"""Heads of attention: splitting features, and joining them again."""

import jax
import jax.numpy as jnp

from equijax._dtypes import accumulation_dtype
from equijax._numbers import positive_int


def head_width(out_features: int, num_heads: int, concat: bool) -> int:
    """Returns the number of features of one head.

    Raises:
      ValueError: with ``concat`` the heads do not divide the features.
    """
    positive_int(num_heads, "num_heads")
    if concat and positive_int(out_features, "out_features") % num_heads:
        raise ValueError(
            f"`num_heads` is {num_heads}; it must divide out_features = {out_features}, of which each head gives a part. "
            "Where there is concat=False, each head gives all, and they are averaged."
        )
    return out_features // num_heads if concat else out_features


def per_head(x: jax.Array, num_heads: int, vectors: jax.Array | None = None) -> jax.Array:
    """Sums the features of each head, ``(rows, *fibre, heads · features)`` to ``(rows, *fibre, heads)``; at least float32.

    It is one matrix product: sums over short rows are slow.

    Args:
      x: the features.
      num_heads: number of heads.
      vectors: ``(heads, features)``, by which the features are multiplied first; None for ones.
    """
    wide = accumulation_dtype(x.dtype)
    width = x.shape[-1] // num_heads
    vectors = jnp.ones((num_heads, width), wide) if vectors is None else vectors.astype(wide)
    blocks = jnp.einsum("hc,hk->hck", vectors, jnp.eye(num_heads, dtype=wide)).reshape(num_heads * width, num_heads)
    return jnp.dot(x.astype(wide), blocks, precision="highest")


def apart(x: jax.Array, num_heads: int) -> jax.Array:
    """Splits ``(rows, *fibre, heads · features)`` into ``(rows, |fibre| · heads, features)``."""
    return jax.lax.collapse(x.reshape(*x.shape[:-1], num_heads, x.shape[-1] // num_heads), 1, x.ndim)


def join_heads(y: jax.Array, fibre: tuple[int, ...], num_heads: int, concat: bool) -> jax.Array:
    """Turns ``(rows, |fibre| · heads, features)`` into ``(rows, *fibre, heads · features)``, or the mean over heads."""
    y = y.reshape(y.shape[0], *fibre, num_heads, y.shape[-1])
    return jax.lax.collapse(y, y.ndim - 2) if concat else y.mean(axis=-2)
