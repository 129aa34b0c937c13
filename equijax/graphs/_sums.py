"""Sums over the neighbours of every node: of values of the senders, and of computed messages."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


def neighbour_sum(values: Array, graph: Any, weights: Array | None = None) -> Array:
    r"""Sums the values of every node's neighbours, times a scalar weight per edge.

    .. math:: y[r] = \sum_{e:\, \mathrm{receivers}[e] = r} w[e]\; x[\mathrm{senders}[e]]
    """
    keep = graph.edge_mask
    messages = _where(keep, values[graph.senders])
    accumulate = _accumulator(messages.dtype)
    messages = messages.astype(accumulate)
    if weights is not None:
        scale = _where(keep, weights).astype(accumulate)
        messages = messages * scale.reshape(scale.shape + (1,) * (messages.ndim - scale.ndim))
    return jax.ops.segment_sum(messages, graph.receivers, graph.num_nodes).astype(values.dtype)


def message_reduce(
    fn: Callable[..., Any], graph: Any, nodes: Any, edges: Any = None, reductions: Any = "sum"
) -> Any:
    """Computes a message on every edge and reduces the messages that each node receives."""
    keep = graph.edge_mask
    senders = jax.tree.map(lambda x: _where(keep, x[graph.senders]), nodes)
    receivers = jax.tree.map(lambda x: _where(keep, x[graph.receivers]), nodes)
    messages = fn(senders, receivers, jax.tree.map(lambda x: _where(keep, x), edges))
    words = jax.tree.broadcast(reductions, messages)
    return jax.tree.map(lambda word, m: _reduce(word, m, graph, keep), words, messages)


def _reduce(word: str, messages: Array, graph: Any, keep: Array) -> Array:
    """Reduces messages ``(E, *rest)`` to nodes by a word; nodes without a message get zeros."""
    if word == "sum":
        summed = _where(keep, messages).astype(_accumulator(messages.dtype))
        return jax.ops.segment_sum(summed, graph.receivers, graph.num_nodes).astype(messages.dtype)
    if word not in ("max", "min"):
        raise ValueError(f"`reductions` has {word!r}; the words are 'sum', 'max' and 'min'.")
    reduce = jax.ops.segment_max if word == "max" else jax.ops.segment_min
    receivers = jnp.where(keep, graph.receivers, graph.num_nodes)  # out of range: dropped
    found = jnp.zeros((graph.num_nodes,), bool).at[receivers].set(True, mode="drop")
    return _where(found, reduce(messages, receivers, graph.num_nodes))


def _where(keep: Array, x: Array) -> Array:
    """Returns ``x`` with zeros where ``keep`` (one entry for each row of x) is False."""
    return jnp.where(keep.reshape(keep.shape + (1,) * (x.ndim - 1)), x, jnp.zeros((), x.dtype))


def _accumulator(dtype: Any) -> Any:
    """Returns the dtype in which values of ``dtype`` are summed."""
    return jnp.float32 if dtype in (jnp.bfloat16, jnp.float16) else dtype
