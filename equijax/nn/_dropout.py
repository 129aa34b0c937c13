"""Dropout of attention, and random numbers that belong to the rows of an array instead of to a call."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._arguments import boolean

Streams = nnx.Rngs | nnx.RngStream | jax.Array


class DropsAttention(nnx.Module):
    """What a layer with dropout of its attention weights has; it holds no keys, ``rngs`` come with the call."""

    def __init__(self, dropout_rate: float, deterministic: bool):
        self.dropout_rate = float(dropout_rate)
        self.deterministic = bool(deterministic)

    def dropout_key(self, deterministic: bool | None, rngs: Streams | None) -> jax.Array | None:
        """Returns one key for the dropout of a call; None where nothing is dropped.

        Raises:
          ValueError: ``rngs`` is missing.
        """
        if (self.deterministic if deterministic is None else deterministic) or self.dropout_rate == 0:
            return None
        return key_from(rngs)

    def set_view(self, deterministic: bool | None = None) -> None:
        """Class method used by ``nnx.view``.

        Args:
          deterministic: if True, nothing is dropped.
        """
        if deterministic is not None:
            self.deterministic = boolean(deterministic, "deterministic")


def key_from(rngs: Streams | None, collection: str = "dropout") -> jax.Array:
    """Returns the next key of the streams, of one of them, or the key itself.

    Raises:
      ValueError: there is none.
    """
    if rngs is None:
        raise ValueError("`rngs` is None, but dropout needs a key. Call the layer with rngs=nnx.Rngs(dropout=0).")
    if isinstance(rngs, nnx.Rngs):
        return rngs[collection]()
    return rngs() if isinstance(rngs, nnx.RngStream) else rngs


def as_streams(rngs: Streams | None) -> nnx.Rngs | nnx.RngStream | None:
    """Returns streams for several layers: of a key, which would give all of them the same numbers, new ones."""
    return rngs if rngs is None or isinstance(rngs, (nnx.Rngs, nnx.RngStream)) else nnx.Rngs(rngs)


def key_of_rows(key: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns a key for each row, ``(n,)``, by its number: the same one however the rows are cut into chunks."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)


def dropped(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Puts zeros with the probability ``rate`` and divides the rest by ``1 - rate``; None for the key drops nothing."""
    if key is None:
        return x
    return _kept(x, rate, lambda kept: jax.random.bernoulli(key, kept, x.shape))


def dropped_rows(x: jax.Array, rate: float, key: jax.Array | None, rows: jax.Array | None = None) -> jax.Array:
    """Drops entries of ``(n, *rest)``, where the noise of a row depends on the key and its number alone.

    Args:
      x: the rows.
      rate: the probability of dropping.
      key: one key for all rows; None drops nothing.
      rows: int32 ``(n,)``, the number of each row; None counts them.
    """
    if key is None:
        return x
    keys = key_of_rows(key, jnp.arange(x.shape[0], dtype=jnp.int32) if rows is None else rows)
    return _kept(x, rate, lambda kept: jax.vmap(lambda key: jax.random.bernoulli(key, kept, x.shape[1:]))(keys))


def _kept(x: jax.Array, rate: float, draw: Any) -> jax.Array:
    if rate == 1:
        return jnp.zeros_like(x)
    return jnp.where(draw(1 - rate), x / jnp.asarray(1 - rate, x.dtype), jnp.zeros_like(x))
