"""Softmax over the edges that arrive at a node, and over the nodes of a graph."""

import jax
import jax.numpy as jnp

from equijax._dtypes import accumulation_dtype
from equijax._extrema import segment_below_largest
from equijax.graphs import Graph, neighbour_sum
from equijax.nn._mask import keep


def exponentials(
    scores: jax.Array, ids: jax.Array, num_segments: int, mask: jax.Array, own: jax.Array | None = None
) -> tuple[jax.Array, jax.Array | None, jax.Array]:
    r"""The softmax of each segment, numerator and denominator.

    .. math:: w_e = e^{s_e - m}, \qquad t = \sum_{e} w_e, \qquad m = \max_{e} s_e

    Args:
      scores: ``(rows, *rest)``.
      ids: int32 ``(rows,)``, the segment of each row.
      num_segments: number of segments.
      mask: bool ``(rows,)``, True where a row is there.
      own: ``(num_segments, *rest)``, one more score for each segment, or None.

    Returns:
      w ``(rows, *rest)``, 0 where the mask is False; w of ``own`` ``(num_segments, *rest)`` or None; t
      ``(num_segments, *rest)``, 1 where a segment is empty. All at least float32.
    """
    wide = accumulation_dtype(scores.dtype)
    scores = keep(scores, mask).astype(wide)
    ids = jnp.where(mask, ids, num_segments)  # out of range: dropped
    rows, numbers = scores, ids
    if own is not None:
        own = own.astype(wide)
        rows, numbers = jnp.concatenate([scores, own]), jnp.concatenate([ids, jnp.arange(num_segments, dtype=ids.dtype)])
    shifted, _ = segment_below_largest(rows, numbers, num_segments)
    weights = keep(jnp.exp(keep(shifted[: scores.shape[0]], mask)), mask)
    total = jax.ops.segment_sum(weights, ids, num_segments)
    if own is not None:
        own = jnp.exp(shifted[scores.shape[0] :])
        total = total + own
    else:  # a softmax of nothing is nothing, but one of infinite scores is undefined
        there = jnp.zeros((num_segments,), bool).at[ids].set(True, mode="drop")
        total = keep(total, there, 1.0)
    return weights, own, total


def attention_sum(exponents: tuple, values: jax.Array, graph: Graph) -> jax.Array:
    r"""The mean of the senders' values, weighted by a softmax over the edges that arrive; 0 where none arrives.

    .. math:: y_i = \sum_{e:\, j → i} \frac{w_e}{t_i} \; v_j

    Args:
      exponents: what :func:`exponentials` returns: w ``(E, heads)``, w of each node for itself ``(N, heads)`` or None, and
        t. Dropout of w leaves t as it is.
      values: ``(N, heads, features)``.
      graph: the graph.

    Returns:
      ``(N, heads, features)`` of the dtype of ``values``; sums are formed in at least float32.
    """
    weights, own, total = exponents
    summed = neighbour_sum(values.astype(total.dtype), graph, weights)
    summed = summed if own is None else summed + own[..., None] * values.astype(total.dtype)
    return (summed / total[..., None]).astype(values.dtype)


def softmax_of(weights: jax.Array, total: jax.Array, ids: jax.Array, fibre: tuple[int, ...]) -> jax.Array:
    """Returns w / t as ``(rows, *fibre, heads)``, of what :func:`exponentials` returns for the segments ``ids``."""
    y = weights / jnp.take(total, ids, axis=0, mode="clip")
    return y.reshape(y.shape[0], *fibre, -1)
