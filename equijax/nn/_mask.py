"""Masks say which elements of a padded set are there."""

from typing import Any

import jax
import jax.numpy as jnp


def require_mask(mask: Any, shape: tuple[int, ...], of: str = "inputs", name: str = "mask") -> jax.Array:
    """Returns the mask as an array after checking that it is boolean and of shape ``shape``.

    Args:
      mask: bool, True where an element is there.
      shape: the shape that it must have.
      of: the argument that is masked, for the message.
      name: the mask's own name, for the message.

    Raises:
      TypeError: another dtype.
      ValueError: another shape.
    """
    mask = jnp.asarray(mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"`{name}` has dtype {mask.dtype}; it must be bool, True where an element is there.")
    if mask.shape != tuple(shape):
        raise ValueError(
            f"`{name}` has shape {mask.shape}, but `{of}` needs {tuple(shape)}, one entry for each element. "
            "Use jnp.broadcast_to where one mask serves a whole batch."
        )
    return mask


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
