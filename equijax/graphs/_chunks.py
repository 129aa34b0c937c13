"""Working through the edges of a graph in chunks, so that no large array of all edges is ever written."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

# Arrays of more than 32 MiB are mapped into memory anew at every call by glibc's malloc, which then takes most of the time.
WHOLE_BYTES = 32 * 2**20
CHUNK_BYTES = 8 * 2**20


def num_chunks(arrays: Iterable[Any], num_edges: int) -> int:
    """Returns in how many chunks to work through arrays (or their shapes) over all edges."""
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
    num_edges = jax.tree.leaves(arrays)[0].shape[0]
    size = -(-num_edges // chunks)

    def cut(x: jax.Array) -> jax.Array:
        filling = jnp.zeros((chunks * size - num_edges, *x.shape[1:]), x.dtype)
        return jnp.concatenate([x, filling]).reshape(chunks, size, *x.shape[1:])

    body = jax.checkpoint(lambda total, chunk: (step(total, chunk), None), prevent_cse=False)
    return jax.lax.scan(body, total, jax.tree.map(cut, arrays))[0]
