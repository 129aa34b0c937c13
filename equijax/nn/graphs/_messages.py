"""Messages on edges, and what a node makes of those that arrive."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from equijax.graphs import Graph, message_reduce, neighbour_sum
from equijax.graphs._chunks import map_edges, num_chunks
from equijax.nn._aggregation import Aggregation, Max, Mean, Min, Several, Sum
from equijax.nn.graphs._layer import masked

_REDUCTIONS: dict[type, str] = {Sum: "sum", Mean: "sum", Max: "max", Min: "min"}


def on_edges(fn: Callable[..., Any], graph: Graph, nodes: Any, edges: Any = None) -> Any:
    """Computes ``fn(senders, receivers, edges)`` on every edge, in chunks where the arrays would be large.

    Args:
      fn: maps pytrees of arrays ``(n, …)``, zeros on padded edges, to one; it treats every edge alike.
      graph: the graph.
      nodes: pytree of arrays ``(N, …)``.
      edges: pytree of arrays ``(E, …)``, or None.

    Returns:
      A pytree of arrays ``(E, …)``.
    """

    def compute(arrays: tuple) -> Any:
        senders, receivers, mask, values = arrays
        pick = lambda index: masked(jax.tree.map(lambda x: x[index], nodes), mask)  # noqa: E731
        return fn(pick(senders), pick(receivers), masked(values, mask))

    arrays = (graph.senders, graph.receivers, graph.edge_mask, edges)
    at_ends = jax.tree.map(lambda x: jax.ShapeDtypeStruct((graph.num_edges, *x.shape[1:]), x.dtype), nodes)
    chunks = num_chunks(jax.tree.leaves((at_ends, at_ends, jax.eval_shape(compute, arrays))), graph.num_edges)
    return map_edges(compute, arrays, chunks)


def aggregate(
    aggregation: Aggregation, fn: Callable[..., jax.Array], graph: Graph, nodes: Any, edges: Any = None
) -> jax.Array:
    """Aggregates the messages ``fn(senders, receivers, edges)`` that arrive at each node; 0 where none arrives.

    Sums, means and extremes are formed without holding all messages; other aggregations hold them.

    Returns:
      ``(N, *rest, out_features)`` for messages ``(E, *rest, features)``.
    """
    parts = aggregation.parts if isinstance(aggregation, Several) else (aggregation,)
    if not all(type(part) in _REDUCTIONS for part in parts):
        messages = on_edges(fn, graph, nodes, edges)
        return aggregation.over_segments(messages, graph.receivers, graph.num_nodes, graph.edge_mask)
    words = sorted({_REDUCTIONS[type(part)] for part in parts})

    def repeated(*arguments: Any) -> dict[str, jax.Array]:
        return dict.fromkeys(words, fn(*arguments))

    totals = message_reduce(repeated, graph, nodes, edges, reductions={word: word for word in words})
    return _assemble(parts, totals, graph)


def aggregate_neighbours(aggregation: Aggregation, nodes: jax.Array, graph: Graph) -> jax.Array:
    """Aggregates the features of the senders as they are: the fast case of :func:`aggregate`."""
    if isinstance(aggregation, (Sum, Mean)):
        return _assemble((aggregation,), {"sum": neighbour_sum(nodes, graph)}, graph)
    return aggregate(aggregation, lambda sender, receiver, edge: sender, graph, nodes)


def _assemble(parts: tuple, totals: dict[str, jax.Array], graph: Graph) -> jax.Array:
    found = [totals[_REDUCTIONS[type(part)]] for part in parts]
    if any(isinstance(part, Mean) for part in parts):
        count = jnp.maximum(graph.in_degrees(), 1)
        for k, part in enumerate(parts):
            if isinstance(part, Mean):
                found[k] = found[k] / count.astype(found[k].dtype).reshape(-1, *(1,) * (found[k].ndim - 1))
    return found[0] if len(found) == 1 else jnp.concatenate(found, axis=-1)


def side_by_side(*parts: jax.Array | None) -> jax.Array:
    """Concatenates features; ``(E, features)`` is repeated over the fibre of ``(E, *fibre, features)``.

    None is left out. Of several dtypes the widest of floats is taken.
    """
    given = [part for part in parts if part is not None]
    shape = max((part.shape[:-1] for part in given), key=len)
    dtype = max((part.dtype for part in given), key=lambda kind: (jnp.issubdtype(kind, jnp.floating), kind.itemsize))
    fit = [jnp.broadcast_to(with_fibre(part, len(shape) + 1), (*shape, part.shape[-1])) for part in given]
    return jnp.concatenate([part.astype(dtype) for part in fit], axis=-1)


def with_fibre(edges: jax.Array, ndim: int) -> jax.Array:
    """Returns ``(E, features)`` as ``(E, 1, …, 1, features)`` with ``ndim`` axes."""
    return edges.reshape(edges.shape[0], *(1,) * (ndim - edges.ndim), *edges.shape[1:])
