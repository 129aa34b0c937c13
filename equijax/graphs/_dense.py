"""Graphs as dense arrays, one row and one column for each node, and back."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import shown
from equijax._exported import exported, is_open
from equijax._indices import bounded_int
from equijax.graphs._given import array, arrays, mask
from equijax.graphs._graph import Graph
from equijax.graphs._host import order_by_graph, require_graph, require_no_shifts
from equijax.groups._elements import concrete


@exported
class DenseGraph(NamedTuple):
    """Graphs of up to n nodes as dense arrays; a pytree. Entry ``[g, i, j]`` belongs to the edges from node i to node j.

    Attributes:
      nodes: ``(G, n, …)``, a pytree of such arrays, or None; zeros at padding.
      adjacency: float ``(G, n, n)``, the number of valid edges from i to j.
      edges: ``(G, n, n, …)``, a pytree of such arrays, or None: the sum over the edges from i to j.
      mask: bool ``(G, n)``, True where there is a node.
    """

    nodes: Any
    adjacency: Any
    edges: Any
    mask: Any


def to_dense(graph: Graph, max_nodes: int | None = None) -> DenseGraph:
    """Returns the graphs of a batch as dense arrays, for layers on tensors such as ``PermutationEquivariantLinear``.

    The nodes of a graph keep their order. The features of parallel edges are summed. Positions and velocities are left out;
    for their dense form write ``to_dense(graph.replace(nodes=graph.positions))``.

    Args:
      graph: a graph or a batch of G graphs. It may be traced, where ``max_nodes`` is given.
      max_nodes: the static size n; None is the size of the largest graph.

    Returns:
      The arrays. Inside jit no error can be raised, so the nodes, edges and adjacency of a graph of more than n nodes are
      NaN there.

    Raises:
      TypeError: the graph is traced, n is smaller than its N nodes, and features are no floats, so they can't be NaN.
      ValueError: a graph has more nodes; or the graph is traced and ``max_nodes`` is None; or it has shifts, for which there
        is no place.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.ones((5, 8)), senders=[0, 1, 3], receivers=[1, 2, 4], node_graph=[0, 0, 0, 1, 1])
      >>> dense = ej.graphs.to_dense(graph)
      >>> dense.nodes.shape, dense.adjacency.shape, dense.mask.tolist()
      ((2, 3, 8), (2, 3, 3), [[True, True, True], [True, True, False]])
    """
    require_graph(graph, "to_dense")
    require_no_shifts(graph, "a dense graph")
    n, owner, number = _layout(graph, max_nodes)
    too_large = jax.ops.segment_max(number, owner, graph.num_graphs) >= n
    if (is_open(graph.num_nodes) or n < graph.num_nodes) and concrete(too_large) is None:
        _require_floats(graph)
    spoil = lambda x: _spoiled(x, too_large)  # noqa: E731
    place = jnp.where(number < n, number, n)
    sender, receiver = place[graph.senders], place[graph.receivers]
    edge_owner = jnp.where(graph.edge_mask, graph.node_graph[graph.senders], graph.num_graphs)
    ones = jnp.ones(graph.num_edges, _float_of(graph))

    def dense_nodes(x: jax.Array) -> jax.Array:
        return spoil(jnp.zeros((graph.num_graphs, n, *x.shape[1:]), x.dtype).at[owner, place].set(x, mode="drop"))

    def dense_edges(x: jax.Array) -> jax.Array:
        zeros = jnp.zeros((graph.num_graphs, n, n, *x.shape[1:]), x.dtype)
        return spoil(zeros.at[edge_owner, sender, receiver].add(x, mode="drop"))

    mask = jnp.zeros((graph.num_graphs, n), bool).at[owner, place].set(True, mode="drop")
    nodes, edges = jax.tree.map(dense_nodes, graph.nodes), jax.tree.map(dense_edges, graph.edges)
    return DenseGraph(nodes, dense_edges(ones), edges, mask)


def from_dense(dense: DenseGraph) -> Graph:
    """Returns the flat graph of dense arrays: an edge wherever ``adjacency`` is not zero.

    Args:
      dense: the arrays. They may be traced: then the graph has all ``G n²`` edges, and ``edge_mask`` says which are there.
        ``mask`` None is all True.

    Returns:
      A graph of ``G n`` nodes, with ``mask`` as its ``node_mask``; edges are in the order (graph, sender, receiver), and
      those that join padding are left out.

    Raises:
      TypeError: it is no :class:`DenseGraph`, a part of it no array of numbers, or its mask no bool.
      ValueError: the shapes don't agree.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.graphs.from_dense(ej.graphs.DenseGraph(jnp.ones((1, 3, 8)), jnp.ones((1, 3, 3)), None, None))
      Graph(3 nodes, 9 edges, 1 graph; nodes float32[3,8])
    """
    if not isinstance(dense, DenseGraph):
        raise TypeError(f"`dense` is {shown(dense)}; it must be a DenseGraph(nodes, adjacency, edges, mask).")
    adjacency, given = array(dense.adjacency, "adjacency"), mask(dense.mask, "mask")
    nodes, edges = arrays(dense.nodes, "nodes"), arrays(dense.edges, "edges")
    count, n = adjacency.shape[:2] if adjacency.ndim == 3 else (0, -1)
    if adjacency.ndim != 3 or n != adjacency.shape[-1]:
        raise ValueError(f"`adjacency` has shape {adjacency.shape}; it must be (G, n, n).")
    there = jnp.ones((count, n), bool) if given is None else given
    shapes = {"nodes": (count, n), "edges": (count, n, n), "mask": (count, n)}
    for name, value in (("nodes", nodes), ("edges", edges), ("mask", there)):
        for leaf in jax.tree.leaves(value):
            if jnp.shape(leaf)[: len(shapes[name])] != shapes[name] or (name == "mask" and leaf.ndim != 2):
                raise ValueError(f"`{name}` has shape {jnp.shape(leaf)}; its first axes must be {shapes[name]}.")
    valid = ((adjacency != 0) & there[:, :, None] & there[:, None, :]).reshape(-1)
    known = concrete(valid)
    kept = np.arange(count * n * n) if known is None else np.flatnonzero(known)
    graph, sender, receiver = np.unravel_index(kept, (count, n, n))
    return Graph(
        jax.tree.map(lambda x: x.reshape(count * n, *x.shape[2:]), nodes),
        senders=graph * n + sender,
        receivers=graph * n + receiver,
        edges=jax.tree.map(lambda x: x.reshape(count * n * n, *x.shape[3:])[kept], edges),
        node_graph=np.repeat(np.arange(count), n),
        node_mask=there.reshape(-1),
        edge_mask=valid[kept],
        graph_mask=jnp.ones(count, bool),
    )


def nodes_from_dense(values: Any, graph: Graph) -> Any:
    """Returns values of dense nodes as values of the nodes of ``graph``, whose dense form they came from.

    Args:
      values: ``(G, n, …)``, or a pytree of such arrays.
      graph: the graph.

    Returns:
      ``(N, …)``, zeros at padding. Inside jit no error can be raised, so floats of nodes beyond n are NaN there;
      integers are 0.

    Raises:
      TypeError: a value is no array of numbers.
      ValueError: another shape, or a graph has more than n nodes.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.graphs.complete_graph(3)
      >>> ej.graphs.nodes_from_dense(jnp.ones((1, 3, 8)), graph).shape
      (3, 8)
    """
    require_graph(graph, "nodes_from_dense")
    values = _dense_values(values, graph, 1)

    def pick(x: jax.Array) -> jax.Array:
        n, owner, number = _layout(graph, x.shape[1], " (from `values`)")
        return _spoiled(x.at[owner, number].get(mode="fill", fill_value=0), graph.node_mask & (number >= n))

    return jax.tree.map(pick, values)


def edges_from_dense(values: Any, graph: Graph) -> Any:
    """Returns values of pairs of nodes as values of the edges of ``graph``, whose dense form they came from.

    Args:
      values: ``(G, n, n, …)``, or a pytree of such arrays.
      graph: the graph.

    Returns:
      ``(E, …)``, zeros at padding. Inside jit no error can be raised, so floats of edges beyond n are NaN there;
      integers are 0.

    Raises:
      TypeError: a value is no array of numbers.
      ValueError: another shape, or a graph has more than n nodes.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.graphs.complete_graph(3)
      >>> ej.graphs.edges_from_dense(jnp.ones((1, 3, 3, 8)), graph).shape
      (6, 8)
    """
    require_graph(graph, "edges_from_dense")
    values = _dense_values(values, graph, 2)

    def pick(x: jax.Array) -> jax.Array:
        n, owner, number = _layout(graph, x.shape[1], " (from `values`)")
        owner = jnp.where(graph.edge_mask, owner[graph.senders], graph.num_graphs)
        sender, receiver = number[graph.senders], number[graph.receivers]
        found = x.at[owner, sender, receiver].get(mode="fill", fill_value=0)
        return _spoiled(found, graph.edge_mask & ((sender >= n) | (receiver >= n)))

    return jax.tree.map(pick, values)


def _dense_values(values: Any, graph: Graph, axes: int) -> Any:
    """Returns the values of dense nodes, or of their pairs, after checking that there are as many as graphs.

    Raises:
      TypeError: they are no arrays of numbers.
      ValueError: another shape.
    """
    values = arrays(values, "values")
    for path, leaf in jax.tree.leaves_with_path(values):
        sizes = leaf.shape[: axes + 1]
        if len(sizes) != axes + 1 or sizes[0] != graph.num_graphs or len(set(sizes[1:])) != 1:
            wanted = f"({graph.num_graphs}, {'n, ' * axes}…)"
            raise ValueError(f"`values{jax.tree_util.keystr(path)}` has shape {leaf.shape}; it must be {wanted}.")
    return values


def _layout(graph: Graph, max_nodes: int | None, source: str = "") -> tuple[int, jax.Array, jax.Array]:
    """Returns the size n, the graph of each node (G at padding), and the number of each node in its graph."""
    owner = jnp.where(graph.node_mask, graph.node_graph, graph.num_graphs)
    _, _, number = order_by_graph(owner, graph.num_graphs, jnp)
    known = concrete((number, graph.node_mask))
    largest = None if known is None else int(known[0][known[1]].max(initial=-1)) + 1
    if max_nodes is None:
        if largest is None:
            raise ValueError("`max_nodes` is None, but the graph is traced: the largest is not known. Give a static size.")
        return max(largest, 1), owner, number
    n = bounded_int(max_nodes, "max_nodes")
    if largest is not None and largest > n:
        raise ValueError(f"`max_nodes` is {n}{source}, but a graph has {largest} nodes. Give at least {largest}.")
    return n, owner, number


def _require_floats(graph: Graph) -> None:
    for name in ("nodes", "edges"):
        for leaf in jax.tree.leaves(getattr(graph, name)):
            if not jnp.issubdtype(leaf.dtype, jnp.inexact):
                raise TypeError(
                    f"`graph.{name}` holds {leaf.dtype}, but the graph is traced: where a graph has more than `max_nodes` "
                    "nodes they could not be marked as NaN. Embed them or make them floats first, or call to_dense outside "
                    "of jit."
                )


def _spoiled(x: jax.Array, where: jax.Array) -> jax.Array:
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    return jnp.where(where.reshape(-1, *(1,) * (x.ndim - 1)), jnp.asarray(jnp.nan, x.dtype), x)


def _float_of(graph: Graph) -> Any:
    """The dtype of the first floating features, or JAX's default."""
    for leaf in jax.tree.leaves((graph.nodes, graph.edges, graph.positions)):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf.dtype
    return jnp.result_type(float)
