"""Working through the edges of a graph in chunks, so that no large array of all edges is ever written."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from equijax._exported import is_open

# Arrays of more than 32 MiB are mapped into memory anew at every call by glibc's malloc, which then takes most of the time.
WHOLE_BYTES = 32 * 2**20
CHUNK_BYTES = 4 * 2**20


def num_chunks(arrays: Iterable[Any], num_edges: int) -> int:
    """Returns in how many chunks to work through arrays (or their shapes) over all edges; one, where a size is open."""
    arrays = tuple(arrays)
    if is_open(num_edges, *(n for a in arrays for n in a.shape)):
        return 1
    size = sum(math.prod(a.shape) * a.dtype.itemsize for a in arrays)
    return 1 if size <= WHOLE_BYTES else min(num_edges, -(-size // CHUNK_BYTES))


def scan_edges(step: Callable[[Any, Any], Any], total: Any, arrays: Any, chunks: int) -> Any:
    """Returns ``total`` after ``total = step(total, chunk)`` for all chunks of ``arrays``; gradients compute chunks again.

    Args:
      step: pure; it closes over what it needs.
      total: pytree, the first total.
      arrays: pytree of arrays over the edges. The last chunk is filled up with zeros, so a mask among them says False there.
      chunks: number of chunks.
    """
    if chunks == 1:
        return step(total, arrays)
    body = jax.checkpoint(lambda total, chunk: (step(total, chunk), None), prevent_cse=False)
    return jax.lax.scan(body, total, _cut(arrays, chunks))[0]


def map_edges(fn: Callable[[Any], Any], arrays: Any, chunks: int) -> Any:
    """Returns ``fn(arrays)``, computed in chunks; gradients compute chunks again.

    Args:
      fn: pure, from a pytree of arrays ``(n, …)`` to one; it treats every row alike.
      arrays: pytree of arrays over the edges. The last chunk is filled up with zeros, as for :func:`scan_edges`.
      chunks: number of chunks.
    """
    if chunks == 1:
        return fn(arrays)
    num_edges = jax.tree.leaves(arrays)[0].shape[0]
    body = jax.checkpoint(lambda carry, chunk: (carry, fn(chunk)), prevent_cse=False)
    found = jax.lax.scan(body, None, _cut(arrays, chunks))[1]
    return jax.tree.map(lambda x: jax.lax.collapse(x, 0, 2)[:num_edges], found)


def _cut(arrays: Any, chunks: int) -> Any:
    num_edges = jax.tree.leaves(arrays)[0].shape[0]
    size = -(-num_edges // chunks)

    def cut(x: jax.Array) -> jax.Array:
        filling = jnp.zeros((chunks * size - num_edges, *x.shape[1:]), x.dtype)
        return jnp.concatenate([x, filling]).reshape(chunks, size, *x.shape[1:])

    return jax.tree.map(cut, arrays)
