"""Elements whose values are known: they can be checked, which traced ones can't."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def concrete(tree: Any) -> Any:
    """Returns a pytree of numpy arrays, or None where a leaf is traced and has no value yet."""
    try:
        return jax.tree.map(np.asarray, tree, is_leaf=lambda leaf: isinstance(leaf, list))
    except jax.errors.TracerArrayConversionError:
        return None


def as_arrays(g: Any) -> Any:
    """Returns an element whose lists are arrays."""
    return jax.tree.map(jnp.asarray, g, is_leaf=lambda leaf: isinstance(leaf, list))


def batch_shape(group: Any, g: Any) -> tuple[int, ...]:
    """Returns the leading axes of elements ``g`` of ``group``."""
    leaf, described = jax.tree.leaves(as_arrays(g))[0], jax.tree.leaves(group.element_shape)[0]
    return leaf.shape[: leaf.ndim - len(described.shape)]


def require_numbers(g: Any, order: int, name: str) -> None:
    """Raises ``ValueError`` where a known element number is not one of ``0 … order - 1``; traced ones pass."""
    numbers = concrete(g)
    if numbers is not None and numbers.size and (numbers.min() < 0 or numbers.max() >= order):
        bad = numbers[(numbers < 0) | (numbers >= order)].reshape(-1)[0]
        raise ValueError(f"`{name}` holds {bad}; the elements of this group are numbered 0 … {order - 1}.")
