"""Values of a sampled field between its samples."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from equijax._dtypes import accumulation_dtype

#: Samples on each side along an axis that a value is made of, and the shape of their window.
REACH, SHAPE = 6, 9.0


def resampled(x: jax.Array, points: jax.Array, boundary: str) -> jax.Array:
    r"""Returns the values of a field at points between its samples, by a windowed sinc along every axis.

    .. math:: f(p) = \sum_n f[n] \prod_k \frac{s(p_k - n_k)}{\sum_m s(p_k - m)}, \qquad s(t) = \mathrm{sinc}(t)\, K(t / 6)

    with the Kaiser window K. At a sample it is the sample; a constant stays constant; waves longer than three pixels come
    out to about 0.1 %.

    Args:
      x: ``(*sizes, channels)``.
      points: in units of samples, float ``(count, axes)``.
      boundary: ``"wrap"`` for a torus, ``"zero"`` for zeros outside.

    Returns:
      ``(count, channels)``, of the dtype of ``x`` where that is floating, else float.
    """
    d, sizes = points.shape[1], x.shape[:-1]
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.result_type(float)
    wide = accumulation_dtype(dtype)
    flat, length = x.reshape(math.prod(sizes), -1).astype(wide), jnp.asarray(sizes, jnp.int32)[None]
    first = jnp.floor(points).astype(jnp.int32) - (REACH - 1)
    taps = jnp.arange(2 * REACH)
    weights = _weights((points - first.astype(points.dtype))[:, :, None] - taps.astype(points.dtype)[None, None])
    weights = (weights / weights.sum(-1, keepdims=True)).astype(wide)
    place = jnp.asarray(np.cumprod((1, *sizes[:0:-1]))[::-1].astype(np.int32))[None]

    def add(total: jax.Array, tap: jax.Array) -> tuple[jax.Array, None]:
        index = first + tap[None]
        factor = jnp.prod(jnp.take_along_axis(weights, jnp.broadcast_to(tap[None], first.shape)[..., None], -1)[..., 0], -1)
        if boundary == "wrap":
            index = index % length
        else:
            factor = jnp.where(((index >= 0) & (index < length)).all(-1), factor, 0)
            index = jnp.clip(index, jnp.zeros_like(length), length - 1)
        return total + factor[:, None] * flat[(index * place).sum(-1)], None

    every = jnp.asarray(list(itertools.product(range(2 * REACH), repeat=d)), jnp.int32)
    return lax.scan(add, jnp.zeros((len(points), flat.shape[1]), wide), every)[0].astype(dtype)


def _weights(distance: jax.Array) -> jax.Array:
    inside = jnp.clip(1 - (distance / REACH) ** 2, 0)
    return jnp.sinc(distance) * jnp.i0(SHAPE * jnp.sqrt(inside)) / jnp.i0(jnp.asarray(SHAPE, distance.dtype))
