"""Messages on edges, and what a node makes of those that arrive."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from equijax._dtypes import accumulation_dtype, require_floats
from equijax.graphs import Graph, message_reduce, neighbour_sum
from equijax.graphs._chunks import map_edges, num_chunks
from equijax.nn._aggregation import Aggregation, Max, Mean, Min, Several, Sum
from equijax.nn._returned import require_returned
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
    at_ends = _at_ends(nodes, graph)
    chunks = num_chunks(jax.tree.leaves((at_ends, at_ends, jax.eval_shape(compute, arrays))), graph.num_edges)
    return map_edges(compute, arrays, chunks)


def aggregate(
    aggregation: Aggregation, fn: Callable[..., jax.Array], graph: Graph, nodes: Any, edges: Any = None
) -> jax.Array:
    """Aggregates the messages ``fn(senders, receivers, edges)`` that arrive at each node; 0 where none arrives.

    Sums, means and extremes are formed without holding all messages; other aggregations hold them. Sums are at least
    float32 until a mean is divided.

    Returns:
      ``(N, *rest, out_features)`` for messages ``(E, *rest, features)``, of their dtype.

    Raises:
      TypeError: the messages are no floats.
      ValueError: they are not ``(E, *rest, features)``.
    """
    parts = aggregation.parts if type(aggregation) is Several else (aggregation,)
    if not all(type(part) in _REDUCTIONS for part in parts):
        messages = _require_messages(on_edges(fn, graph, nodes, edges), graph)
        return aggregation.over_segments(messages, graph.receivers, graph.num_nodes, graph.edge_mask)
    words = sorted({_REDUCTIONS[type(part)] for part in parts})
    dtype = _require_messages(jax.eval_shape(fn, _at_ends(nodes, graph), _at_ends(nodes, graph), edges), graph).dtype

    def repeated(*arguments: Any) -> dict[str, jax.Array]:
        message = fn(*arguments)
        wide = message.astype(accumulation_dtype(dtype))
        return {word: wide if word == "sum" else message for word in words}

    totals = message_reduce(repeated, graph, nodes, edges, reductions={word: word for word in words})
    return _assemble(parts, totals, graph, dtype)


def _require_messages(messages: Any, graph: Graph) -> Any:
    """Returns messages after checking that they are one array of floats, with a row for each edge and their features."""
    shape = getattr(messages, "shape", ())
    if hasattr(messages, "dtype") and (len(shape) < 2 or shape[0] != graph.num_edges):
        raise ValueError(
            f"`message` returned shape {shape}; it must return ({graph.num_edges}, …, features), a row for each edge. Write "
            "x[:, None] for one number."
        )
    messages = require_returned(messages, shape, "message", "one vector for each edge")
    return require_floats(messages, "message", "an aggregation")


def aggregate_neighbours(aggregation: Aggregation, nodes: jax.Array, graph: Graph) -> jax.Array:
    """Aggregates the features of the senders as they are: the fast case of :func:`aggregate`."""
    if type(aggregation) in (Sum, Mean):
        total = neighbour_sum(nodes.astype(accumulation_dtype(nodes.dtype)), graph)
        return _assemble((aggregation,), {"sum": total}, graph, nodes.dtype)
    return aggregate(aggregation, lambda sender, receiver, edge: sender, graph, nodes)


def _assemble(parts: tuple, totals: dict[str, jax.Array], graph: Graph, dtype: Any) -> jax.Array:
    """Puts what was reduced side by side, with sums divided where a mean is wanted, and casts it to ``dtype``."""

    def one(part: Aggregation) -> jax.Array:
        total = totals[_REDUCTIONS[type(part)]]
        if type(part) is Mean:
            count = jnp.maximum(graph.in_degrees(), 1).astype(total.dtype)
            total = total / count.reshape(-1, *(1,) * (total.ndim - 1))
        return total.astype(dtype)

    return one(parts[0]) if len(parts) == 1 else jnp.concatenate([one(part) for part in parts], axis=-1)


def _at_ends(nodes: Any, graph: Graph) -> Any:
    """Shapes of the features of nodes at one end of every edge."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((graph.num_edges, *x.shape[1:]), x.dtype), nodes)


def side_by_side(*parts: jax.Array | None) -> jax.Array:
    """Concatenates features; ``(E, features)`` is repeated over the fibre of ``(E, *fibre, features)``.

    None is left out. The result has the dtype to which the floats among the parts promote; integers are cast to it.

    Raises:
      TypeError: no part holds floats.
      ValueError: a part has no axis for its features.
    """
    given = [part for part in parts if part is not None]
    for part in given:
        if part.ndim < 2:
            raise ValueError(f"features of shape {part.shape} have no axis of their own. Write x[:, None] for one number.")
    floats = [part.dtype for part in given if jnp.issubdtype(part.dtype, jnp.floating)]
    if not floats:
        raise TypeError(f"features have dtype {given[0].dtype}; floats are needed. Write x.astype(jnp.float32).")
    with jax.numpy_dtype_promotion("standard"):  # the casts below are wanted
        dtype = jnp.result_type(*floats)
    shape = max((part.shape[:-1] for part in given), key=len)
    fit = [jnp.broadcast_to(with_fibre(part, len(shape) + 1), (*shape, part.shape[-1])) for part in given]
    return jnp.concatenate([part.astype(dtype) for part in fit], axis=-1)


def with_fibre(edges: jax.Array, ndim: int) -> jax.Array:
    """Returns ``(E, features)`` as ``(E, 1, …, 1, features)`` with ``ndim`` axes."""
    return edges.reshape(edges.shape[0], *(1,) * (ndim - edges.ndim), *edges.shape[1:])
