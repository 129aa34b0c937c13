"""Choices that a caller hands in: checked where they are known, and marked where they are traced and wrong."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.groups._elements import integers, known_integers


def require_numbers(numbers: Any, limits: np.ndarray, name: str) -> jax.Array:
    """Returns numbers as int32 after checking that they are integers in ``0 … limits - 1``, where they are known.

    Raises:
      TypeError: they are no integers.
      ValueError: one that is known is out of range.
    """
    found = integers(numbers, name)
    if isinstance(found, np.ndarray):
        bad = found[(found < 0) | (found >= limits)]
        if bad.size:
            raise ValueError(f"`{name}` holds {bad[0]}; its entries must be at least 0 and below {limits.tolist()}.")
    return jnp.asarray(found)


def places_of(choice: Any, strides: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the phase on each axis, 0 for None, after checking that there is such a phase."""
    if choice is None:
        return (0,) * len(strides)
    found = known_integers(choice, "choice", (len(strides),), "the phase on each axis")
    if found.ndim > 1:
        raise ValueError(f"`choice` has shape {found.shape}; give one phase, ({len(strides)},).")
    require_numbers(found, np.array(strides, np.int32), "choice")
    return tuple(found.tolist())
