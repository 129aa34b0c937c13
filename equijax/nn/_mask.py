"""Masks say which elements of a padded set are there."""

from typing import Any

import jax
import jax.numpy as jnp

from equijax._masked import keep as keep


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


def tensor_mask(mask: jax.Array | None, order: int) -> jax.Array | None:
    """Returns the mask of the entries of a tensor, ``(*batch, n, …, n)``: all of their nodes are there."""
    if mask is None or not order:
        return None
    nodes, batch = mask.shape[-1], mask.shape[:-1]
    whole = jnp.ones((), bool)
    for axis in range(order):
        whole = whole & mask.reshape(*batch, *(nodes if k == axis else 1 for k in range(order)))
    return whole


def keep_nodes(x: jax.Array, mask: jax.Array | None, order: int) -> jax.Array:
    """Puts zeros at the entries of a tensor, ``(*batch, n, …, n, features)``, whose nodes are not all there."""
    return keep(x, tensor_mask(mask, order))
