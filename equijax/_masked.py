"""Putting a number where a mask is False: what sets, graphs and the audit all do with padding."""

import jax
import jax.numpy as jnp


def keep(x: jax.Array, mask: jax.Array | None, fill: float = 0.0) -> jax.Array:
    """Puts ``fill`` where the mask is False, whatever stood there, NaN included; its gradient is zero.

    Args:
      x: ``(*shape, *rest)``.
      mask: bool ``(*shape,)``, or None for everything.
      fill: the number to put.
    """
    if mask is None:
        return x
    return jnp.where(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x, jnp.asarray(fill, x.dtype))
