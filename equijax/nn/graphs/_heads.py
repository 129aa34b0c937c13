"""Heads of attention: splitting features, and joining them again."""

import jax

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


def to_heads(x: jax.Array, num_heads: int) -> jax.Array:
    """Splits ``(rows, *fibre, heads · features)`` into ``(rows, |fibre|, heads, features)``."""
    x = jax.lax.collapse(x, 1, x.ndim - 1)
    return x.reshape(*x.shape[:2], num_heads, x.shape[-1] // num_heads)


def join_heads(y: jax.Array, fibre: tuple[int, ...], num_heads: int, concat: bool) -> jax.Array:
    """Turns ``(rows, |fibre| · heads, features)`` into ``(rows, *fibre, heads · features)``, or the mean over heads."""
    y = y.reshape(y.shape[0], *fibre, num_heads, y.shape[-1])
    return jax.lax.collapse(y, y.ndim - 2) if concat else y.mean(axis=-2)
