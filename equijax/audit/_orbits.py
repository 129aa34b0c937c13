"""Weights that are equal along orbits: the numbers of the orbits, and the nearest shared weights."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def orbit_labels(count: int, edges: list[tuple[np.ndarray, np.ndarray]], outside: np.ndarray) -> np.ndarray:
    """Returns the number of the connected component of every entry; −1 for components that touch ``outside``."""
    rows = np.concatenate([a for a, _ in edges]) if edges else np.zeros(0, int)
    columns = np.concatenate([b for _, b in edges]) if edges else np.zeros(0, int)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    return np.where(np.isin(labels, labels[outside]), -1, labels) if len(outside) else labels


def shared(weight: Any, labels: np.ndarray) -> Any:
    """Returns weights averaged over the orbits, and 0 where the orbit leaves the window."""
    array = np.asarray(weight)
    flat, orbits = array.reshape(-1).astype(np.float64), np.broadcast_to(labels, array.shape).reshape(-1)
    kept = orbits >= 0
    size = int(orbits.max()) + 1 if kept.any() else 1
    sums = np.bincount(orbits[kept], flat[kept], size)
    counts = np.maximum(np.bincount(orbits[kept], minlength=size), 1)
    return jnp.asarray(np.where(kept, (sums / counts)[np.maximum(orbits, 0)], 0.0).reshape(array.shape).astype(array.dtype))


def is_shared(weight: Any, labels: np.ndarray) -> bool:
    """Tells whether weights are equal along the orbits, up to rounding."""
    array = np.asarray(weight).astype(np.float64)
    size = float(np.linalg.norm(array)) or 1.0
    eps = float(jnp.finfo(np.asarray(weight).dtype).eps) if jnp.issubdtype(np.asarray(weight).dtype, jnp.floating) else 1e-12
    return float(np.linalg.norm(np.asarray(shared(array, labels)) - array)) <= 100 * eps * size
