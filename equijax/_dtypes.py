"""Which numbers a layer takes, and in which dtype it adds them up: the rule of ``docs/conventions.md``, in one place.

* Floats keep their dtype. What is added up, averaged or squared is added up in at least float32 and cast back.
* Integers and booleans keep their dtype where they are only moved or compared. Where anything is computed they are taken
  as float32, as Flax's layers take them; beside parameters, as the dtype to which both promote.
* Aggregations and layers on graphs take floats alone: integers on a node are numbers of kinds, to be embedded.
* Complex numbers pass through what is linear, and through nothing that orders, rounds or squares them.
"""

from typing import Any

import jax
import jax.numpy as jnp


def accumulation_dtype(dtype: Any) -> Any:
    """Returns the dtype in which sums of ``dtype`` are formed: floats at least float32, everything else itself."""
    return jnp.float32 if jnp.issubdtype(dtype, jnp.inexact) and jnp.finfo(dtype).bits < 32 else dtype


def as_floats(x: jax.Array) -> jax.Array:
    """Returns an array of floats as it is, and integers and booleans as float32, as Flax's layers do."""
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.float32)


def widened(x: jax.Array) -> tuple[jax.Array, Any]:
    """Returns an array in the dtype in which it is added up, and the dtype of the result.

    Example:
      >>> import jax.numpy as jnp
      >>> wide, dtype = widened(jnp.ones(2, jnp.bfloat16))
      >>> wide.dtype.name, dtype.name
      ('float32', 'bfloat16')
    """
    x = as_floats(x)
    return x.astype(accumulation_dtype(x.dtype)), x.dtype


def require_real(x: jax.Array, name: str, what: str) -> jax.Array:
    """Returns an array after checking that it is not complex.

    Args:
      x: the array.
      name: the argument's name.
      what: who needs it, for the message.

    Raises:
      TypeError: it is complex.
    """
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(
            f"`{name}` has dtype {x.dtype}; {what} needs real numbers. Put real and imaginary parts side by side on the "
            f"features: jnp.concatenate([{name}.real, {name}.imag], -1)."
        )
    return x


def require_floats(x: jax.Array, name: str, what: str) -> jax.Array:
    """Returns an array after checking that it holds real floats.

    Raises:
      TypeError: it holds integers, booleans or complex numbers.
    """
    if not jnp.issubdtype(require_real(x, name, what).dtype, jnp.floating):
        raise TypeError(f"`{name}` has dtype {x.dtype}; {what} needs floats. Write {name}.astype(jnp.float32).")
    return x


def unit_for_powers(largest: jax.Array, order: float = 2) -> jax.Array:
    """Returns by what numbers are divided so that their powers neither overflow nor vanish: 1, or a power of two.

    Divided by a power of two, floats keep all their digits; in the middle of the range nothing is divided at all.

    Args:
      largest: the largest size among the numbers, of a dtype of at least 32 bits.
      order: the power.
    """
    largest = jax.lax.stop_gradient(largest)
    reach = jnp.asarray(2.0 ** (jnp.finfo(largest.dtype).maxexp / (2 * max(order, 1.0))), largest.dtype)
    mantissa, _ = jnp.frexp(largest)
    extreme = ((largest > reach) | (largest * reach < 1)) & (largest > 0) & jnp.isfinite(largest)
    one = jnp.ones((), largest.dtype)
    return jnp.where(extreme, largest / (2 * jnp.where(extreme, mantissa, one)), one)
