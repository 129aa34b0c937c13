"""Averages that a layer keeps of what it has seen."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


def update_average(average: nnx.Variable, found: jax.Array, momentum: float, counted: Any) -> None:
    """Moves a stored average towards what was found; no gradient flows into it.

    Args:
      average: the stored average.
      found: what was found, of as many entries.
      momentum: how much of the old average is kept.
      counted: bool that broadcasts to the average: where it is False nothing was counted, and the average stays.
    """
    old = average[...]
    new, share = jax.lax.stop_gradient(found).reshape(old.shape).astype(old.dtype), jnp.asarray(momentum, old.dtype)
    average[...] = jnp.where(counted, share * old + (1 - share) * new, old)
