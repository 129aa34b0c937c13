"""What graphs are given: trees of arrays, masks, lists of graphs, mappings by type. Each is checked here alone."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import listed, shown
from equijax._arrays import as_array
from equijax._exported import is_open

_NUMBERS = "an array of numbers"


def arrays(value: Any, name: str) -> Any:
    """Returns a pytree of JAX arrays; nested lists of numbers are one array.

    Raises:
      TypeError: a leaf is no array of numbers.
    """
    if isinstance(value, list) and all(np.ndim(leaf) == 0 for leaf in jax.tree.leaves(value)):
        return array(value, name)
    if isinstance(value, (jax.Array, np.ndarray)):
        return array(value, name)
    leaves, structure = jax.tree_util.tree_flatten_with_path(value)
    checked = [array(leaf, f"{name}{jax.tree_util.keystr(path)}") for path, leaf in leaves]
    return jax.tree.unflatten(structure, checked)


def array(value: Any, name: str, what: str = _NUMBERS) -> jax.Array:
    """Returns one JAX array: a copy; of numpy arrays without ``jnp.asarray``, which compiles a program for each shape.

    Raises:
      TypeError: it is no array of numbers, nor a list of them.
    """
    if isinstance(value, jax.Array) or hasattr(value, "__jax_array__"):
        return jnp.asarray(value)
    known = as_array(value)
    if known is None or known.dtype.kind in "USMm":
        raise TypeError(f"`{name}` is {shown(value)}; it must be {what}.")
    if not isinstance(known, np.ndarray):
        return known
    return jax.device_put(known.copy() if known is value else known)


def mask(value: Any, name: str) -> jax.Array | None:
    """Returns a mask as an array of bools; None stays None.

    Raises:
      TypeError: it is none.
    """
    if value is None:
        return None
    found = array(value, name, "a mask, an array of bools")
    if found.dtype != jnp.bool_:
        raise TypeError(f"`{name}` has dtype {found.dtype}; a mask is bool. Write {name}.astype(bool).")
    return found


def graphs_of(value: Any, name: str = "graphs") -> list[Any]:
    """Returns a list of what should be graphs; what counts their sizes looks at each.

    Raises:
      TypeError: it is no list, as a single graph.
    """
    return listed(value, name, "graphs")


def require_mapping(value: Any, name: str, what: str) -> None:
    """Raises ``TypeError`` where an argument is no dictionary by type."""
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` is {shown(value)}; it must be a dictionary, {what}.")


def full(value: Any, size: Any, dtype: Any) -> Any:
    """Returns a filled array: of numpy, for which nothing is compiled, where the size is no open one of ``jax.export``."""
    return (jnp if is_open(size) else np).full(size, value, dtype)
