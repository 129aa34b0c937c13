"""Sums over the neighbours of every node, in the form that suits their size."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equijax._arguments import function, shown
from equijax._dtypes import accumulation_dtype
from equijax._exported import is_open
from equijax._masked import keep
from equijax._rows import take
from equijax.graphs._chunks import num_chunks, scan_edges
from equijax.graphs._given import arrays as tree_of_arrays
from equijax.graphs._host import require_graph
from equijax.graphs._reduce import add_at, finish, reduce_once, reduce_step, start
from equijax.graphs._table_sum import table_sum
from equijax.groups._elements import numeric

# Where the array of all messages has at least this many bytes, a table is faster than a scatter (docs/performance.md).
TABLE_BYTES = 8 * 2**20


def neighbour_sum(values: Float[Array, "N *rest"], graph: Any, weights: Array | None = None) -> Float[Array, "N *rest"]:
    r"""Sums the values of every node's neighbours, times a weight for each edge.

    .. math:: y[r] = \sum_{e:\, \mathrm{receivers}[e] = r} w[e]\; x[\mathrm{senders}[e]]

    Law: relabelling nodes and edges relabels the output; the order of the edges changes the rounding only, and the same
    order gives the same bits on a CPU. Masked edges are left out, whatever they and their nodes hold. A node without edges
    gets zeros.

    Floats of less than 32 bits are added up in float32, integers in their own dtype, of 32 bits at least. The algorithm is
    chosen when the sum is traced, by the sizes: the graph's neighbour table, which gathers only; or a scatter, in chunks of
    edges where all messages at once would be large. Tables are used on CPUs alone. Each can be differentiated any number of
    times, forwards and backwards; the table is at its fastest for values and first gradients.

    Args:
      values: ``(N, *rest)``.
      graph: the graph, N nodes and E edges.
      weights: ``(E,)``, or ``(E, *lead)`` where ``lead`` are the first axes of ``rest`` (one weight for each head). They are
        cast to the dtype of the sum. None is 1.

    Returns:
      ``(N, *rest)``, of the dtype of ``values``.

    Raises:
      TypeError: integer values with weights that are not, booleans or integers of less than 32 bits; or no graph.
      ValueError: a shape does not fit the graph.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.ones((3, 8)), senders=[0, 1, 2], receivers=[1, 2, 1])
      >>> ej.graphs.neighbour_sum(graph.nodes, graph, weights=jnp.ones(3)).shape
      (3, 8)
    """
    require_graph(graph, "neighbour_sum")
    values, weights = numeric(values, "values"), None if weights is None else numeric(weights, "weights")
    _require_fit(values, graph, weights)
    dtype = jnp.dtype(accumulation_dtype(values.dtype))
    x = values.astype(dtype)
    scale = None if weights is None else weights.astype(dtype)
    lead = () if scale is None else scale.shape[1:]
    x = x.reshape(x.shape[0], *lead, math.prod(x.shape[1 + len(lead) :]))
    size = graph.num_edges * math.prod(x.shape[1:]) * dtype.itemsize
    if graph.table is not None and not is_open(size) and size >= TABLE_BYTES:
        # Scatters are fast on accelerators, and the many small steps of a table are not.
        y = jax.lax.platform_dependent(
            x,
            scale,
            cpu=lambda x, scale: table_sum(x, scale, graph.table),
            default=lambda x, scale: _sum_by_scatter(x, scale, graph),
        )
    else:
        y = _sum_by_scatter(x, scale, graph)
    return y.reshape(values.shape).astype(values.dtype)


def message_reduce(fn: Callable[..., Any], graph: Any, nodes: Any, edges: Any = None, reductions: Any = "sum") -> Any:
    r"""Computes a message on every edge and reduces the messages that arrive at each node.

    .. math:: y[r] = \bigoplus_{e:\, \mathrm{receivers}[e] = r} f(x[\mathrm{senders}[e]],\, x[r],\, a[e])

    Law: relabelling nodes and edges relabels the output; the order of the edges changes the rounding of sums only. Masked
    edges contribute nothing: ``fn`` sees zeros there, and its result is dropped, so its gradient must be finite at zeros.
    A node without messages gets zeros, for the maximum and the minimum too. Where several messages are the maximum, they
    share its gradient equally. Floats of less than 32 bits are added up in float32.

    Where the arrays of all edges would be large, the edges are worked through in chunks, and the backward pass computes each
    chunk again instead of storing it. ``fn`` must treat every edge alike and be pure: random numbers enter by ``edges``.
    It may close over arrays, such as parameters, and is differentiated through.

    Args:
      fn: ``fn(sender_values, receiver_values, edge_values)`` on any number n of edges: pytrees like ``nodes``, ``nodes`` and
        ``edges`` of arrays ``(n, *rest)``. It returns a pytree of messages ``(n, *rest)``.
      graph: the graph, N nodes and E edges.
      nodes: pytree of arrays ``(N, *rest)``.
      edges: pytree of arrays ``(E, *rest)``, or None.
      reductions: ``"sum"``, ``"max"`` or ``"min"``, or a pytree of these words: one for each message, or for each part of
        their tree.

    Returns:
      The pytree of messages, reduced to ``(N, *rest)``.

    Raises:
      TypeError: a sum of booleans or of integers of less than 32 bits; or no graph.
      ValueError: an unknown word; a message whose axis 0 does not run over the edges; a shape that does not fit the graph.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.ones((3, 8)), senders=[0, 1, 2], receivers=[1, 2, 1])
      >>> difference = lambda sender, receiver, edge: sender - receiver
      >>> ej.graphs.message_reduce(difference, graph, graph.nodes, reductions="max").shape
      (3, 8)
    """
    require_graph(graph, "message_reduce")
    nodes, edges = tree_of_arrays(nodes, "nodes"), tree_of_arrays(edges, "edges")
    function(fn, "fn", "a function of the values of sender, receiver and edge")
    _require_axis(nodes, "nodes", graph.num_nodes, "node")
    _require_axis(edges, "edges", graph.num_edges, "edge")
    inputs, messages = _message_shapes(fn, graph, nodes, edges)
    words = _spread_words(reductions, messages)
    for word, message in zip(jax.tree.leaves(words), jax.tree.leaves(messages), strict=True):
        if word != "sum" and jnp.issubdtype(message.dtype, jnp.complexfloating):
            raise TypeError(f"`fn(…)` has dtype {message.dtype}; a {word} needs real numbers, which have an order.")
        if word == "sum":
            _require_room(message.dtype, "fn(…)")

    def compute(chunk: tuple) -> tuple[Any, Array]:
        senders, receivers, valid, values = chunk
        senders, receivers = (jnp.where(valid, ends, graph.num_nodes) for ends in (senders, receivers))
        gather = lambda ends: jax.tree.map(lambda x: take(x, ends), nodes)  # noqa: E731
        return fn(gather(senders), gather(receivers), jax.tree.map(lambda x: keep(x, valid), values)), receivers

    def step(totals: Any, chunk: tuple) -> Any:
        computed, receivers = compute(chunk)
        return jax.tree.map(lambda word, m, total: reduce_step(word, total, m, receivers), words, computed, totals)

    arrays = (graph.senders, graph.receivers, graph.edge_mask, edges)
    chunks = num_chunks([*inputs, *jax.tree.leaves(messages)], graph.num_edges)
    if chunks == 1:
        computed, receivers = compute(arrays)
        return jax.tree.map(lambda word, m: reduce_once(word, m, receivers, graph.num_nodes), words, computed)
    totals = jax.tree.map(lambda word, m: start(word, m, graph.num_nodes), words, messages)
    totals = scan_edges(step, totals, arrays, chunks)
    return jax.tree.map(lambda word, m, total: finish(word, total, m.dtype), words, messages, totals)


def _spread_words(reductions: Any, messages: Any) -> Any:
    """Returns a word for each message.

    Raises:
      ValueError: an unknown word, or words in another tree than that of the messages.
    """
    for word in jax.tree.leaves(reductions):
        if not isinstance(word, str) or word not in ("sum", "max", "min"):
            raise ValueError(f"`reductions` holds {shown(word)}; the words are 'sum', 'max' and 'min'.")
    try:
        return jax.tree.broadcast(reductions, messages)
    except (TypeError, ValueError):
        raise ValueError(
            f"`reductions` is {shown(reductions)}; it must be a word, or have the tree of the messages, "
            f"{shown(jax.tree.structure(messages))}."
        ) from None


def _sum_by_scatter(x: Array, weights: Array | None, graph: Any) -> Array:
    def step(total: Array, chunk: tuple) -> Array:
        senders, receivers, valid, scale = chunk
        senders, receivers = (jnp.where(valid, ends, graph.num_nodes) for ends in (senders, receivers))
        messages = take(x, senders)
        if scale is not None:
            messages = messages * keep(scale, valid)[..., None]
        return add_at(total, receivers, messages)

    message = jax.ShapeDtypeStruct((graph.num_edges, *x.shape[1:]), x.dtype)
    arrays = (graph.senders, graph.receivers, graph.edge_mask, weights)
    return scan_edges(step, jnp.zeros_like(x), arrays, num_chunks([message], graph.num_edges))


def _message_shapes(fn: Callable[..., Any], graph: Any, nodes: Any, edges: Any) -> tuple[list, Any]:
    """Returns the shapes of what ``fn`` reads, as a list, and of what it returns, for all edges at once."""
    on_edges = lambda x: jax.ShapeDtypeStruct((graph.num_edges, *x.shape[1:]), x.dtype)  # noqa: E731
    inputs = (*2 * (jax.tree.map(on_edges, nodes),), jax.tree.map(on_edges, edges))
    messages = jax.eval_shape(fn, *inputs)
    _require_axis(messages, "fn(…)", graph.num_edges, "edge")
    return jax.tree.leaves(inputs), messages


def _require_axis(tree: Any, name: str, size: int, what: str) -> None:
    for path, leaf in jax.tree.leaves_with_path(tree):
        if leaf.ndim == 0 or leaf.shape[0] != size:
            raise ValueError(
                f"`{name}{jax.tree_util.keystr(path)}` has shape {leaf.shape}; its axis 0 must run over the {size} {what}s."
            )


def _require_room(dtype: Any, name: str) -> None:
    """Refuses to add integers of less than 32 bits, whose sums would not fit into their own dtype."""
    if dtype == jnp.bool_ or (jnp.issubdtype(dtype, jnp.integer) and jnp.iinfo(dtype).bits < 32):
        raise TypeError(f"`{name}` has dtype {dtype}, which sums do not fit into. Write .astype(jnp.int32), or floats.")


def _require_fit(values: Array, graph: Any, weights: Array | None) -> None:
    _require_axis(values, "values", graph.num_nodes, "node")
    _require_room(values.dtype, "values")
    if weights is None:
        return
    _require_axis(weights, "weights", graph.num_edges, "edge")
    if weights.shape[1:] != values.shape[1 : weights.ndim]:
        raise ValueError(
            f"`weights` has shape {weights.shape}; after the axis of the edges, its axes must be the first of those of a "
            f"node's value, {values.shape[1:]}. Write weights.reshape(-1) for one weight per edge."
        )
    if jnp.issubdtype(weights.dtype, jnp.inexact) and not jnp.issubdtype(values.dtype, jnp.inexact):
        raise TypeError(f"`values` are {values.dtype} and `weights` {weights.dtype}. Write values.astype(weights.dtype).")
    whole = not jnp.issubdtype(values.dtype, jnp.inexact)
    is_complex = jnp.issubdtype(weights.dtype, jnp.complexfloating) and not jnp.issubdtype(values.dtype, jnp.complexfloating)
    if is_complex or (whole and not np.can_cast(weights.dtype, values.dtype)):
        raise TypeError(
            f"`weights` are {weights.dtype}, which `values`, {values.dtype}, can't hold. Write values.astype(weights.dtype)."
        )
