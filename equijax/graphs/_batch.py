"""Many graphs in one, and back."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from equijax.graphs._budget import GraphBudget, sizes_of
from equijax.graphs._graph import Graph
from equijax.graphs._host import FIELDS, assemble, on_host, order_by_graph

_OF_NODES = ("nodes", "positions", "velocities", "node_mask")
_OF_EDGES = ("edges", "shifts", "edge_mask")
_OF_GRAPHS = ("globals", "graph_mask")


def batch(graphs: Iterable[Graph], budget: GraphBudget | None = None) -> Graph:
    """Puts many graphs into one flat graph, on the host, in numpy.

    The nodes, edges and graphs follow one another in the order given. With a budget, padding (zeros) follows behind: padding
    nodes belong to the first padding graph, and padding edges join the first padding node to itself. What is padding in the
    graphs given stays padding. Where some graphs have shifts, the others get zeros. Their tables are left behind; the batch
    gets one where the budget has table shapes.

    Args:
      graphs: graphs with equal features: the same fields, and in each the same shapes (but for axis 0) and dtypes.
      budget: the static sizes of the batch; None takes as much as the graphs need, without padding.

    Returns:
      One graph, with ``node_graph`` numbering the graphs in their order.

    Raises:
      TypeError: an entry is no graph.
      ValueError: there is no graph; one differs from the first in its features; they don't fit the budget; they are traced.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> pair = ej.Graph(jnp.ones((2, 8)), senders=[0], receivers=[1])
      >>> both = ej.graphs.batch([pair, pair])
      >>> both, both.senders.tolist(), both.node_graph.tolist()
      (Graph(4 nodes, 2 edges, 2 graphs; nodes float32[4,8]), [0, 2], [0, 0, 1, 1])
    """
    graphs = list(graphs)
    sizes = sizes_of(graphs)
    if not graphs:
        raise ValueError("`graphs` is empty, so the features of a batch are not known. Give at least one graph.")
    nodes, edges, count = (int(total) for total in sizes.sum(0))
    room = (nodes, edges, count)
    if budget is not None:
        budget.require_room(*room)
        room = (budget.nodes, budget.edges, budget.graphs)
    hosts = _with_shifts([on_host(graph, "batch") for graph in graphs])
    fields = {}
    for names, size in zip((_OF_NODES, _OF_EDGES, _OF_GRAPHS), room, strict=True):
        fields |= {name: _joined([getattr(host, name) for host in hosts], size, name) for name in names}
    first_node, _, first_graph = (np.cumsum(sizes, 0) - sizes).T
    for name, first, size, padding in (
        ("senders", first_node, room[1], nodes),
        ("receivers", first_node, room[1], nodes),
        ("node_graph", first_graph, room[0], count),
    ):
        parts = [getattr(host, name) for host in hosts]
        shifted = np.concatenate(parts) + np.repeat(first, [len(part) for part in parts])
        fields[name] = np.concatenate([shifted, np.full(size - len(shifted), padding)]).astype(np.int32)
    flat = Graph(**fields)
    return flat if budget is None or budget.table is None else _with_table(flat, budget)


def unbatch(graph: Graph) -> list[Graph]:
    """Takes a batch apart into its graphs, on the host; padding is dropped.

    The exact inverse of :func:`batch`. The nodes of a graph need not follow one another; they keep their order, and so do
    its edges.

    Args:
      graph: a graph, with any ``node_graph``.

    Returns:
      A graph for each that ``graph_mask`` says is valid, in their order, without tables.

    Raises:
      TypeError: it is no graph.
      ValueError: it is traced, or a valid node belongs to a graph that is padding.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.ones((3, 8)), senders=[0], receivers=[2], node_graph=[0, 1, 0])
      >>> ej.graphs.unbatch(graph)  # doctest: +NORMALIZE_WHITESPACE
      [Graph(2 nodes, 1 edge, 1 graph; nodes float32[2,8]),
       Graph(1 node, 0 edges, 1 graph; nodes float32[1,8])]
    """
    host = on_host(graph, "unbatch")
    count = host.num_graphs
    lost = host.node_mask & ~host.graph_mask[host.node_graph]
    if lost.any():
        node = int(np.argmax(lost))
        raise ValueError(
            f"`graph` has a valid node, {node}, in graph {host.node_graph[node]}, which graph_mask marks as padding. Mask "
            "the node, or not the graph."
        )
    owner = np.where(host.node_mask, host.node_graph, count)
    edge_owner = np.where(host.edge_mask, owner[host.senders], count)
    node_order, node_starts, number = order_by_graph(owner, count)
    edge_order, edge_starts, _ = order_by_graph(edge_owner, count)
    by_node = {name: jax.tree.map(lambda leaf: leaf[node_order], getattr(host, name)) for name in _OF_NODES}
    by_edge = {name: jax.tree.map(lambda leaf: leaf[edge_order], getattr(host, name)) for name in _OF_EDGES}
    by_edge |= {name: number[getattr(host, name)[edge_order]].astype(np.int32) for name in ("senders", "receivers")}
    by_graph = {name: getattr(host, name) for name in _OF_GRAPHS}
    parts = []
    for k in np.flatnonzero(host.graph_mask):
        fields = {"node_graph": np.zeros(node_starts[k + 1] - node_starts[k], np.int32)}
        for group, start, stop in (
            (by_node, node_starts[k], node_starts[k + 1]),
            (by_edge, edge_starts[k], edge_starts[k + 1]),
            (by_graph, k, k + 1),
        ):
            fields |= jax.tree.map(lambda leaf, start=start, stop=stop: leaf[start:stop], group)
        parts.append(assemble(**fields))
    return jax.device_put(parts)


def batches(
    graphs: Iterable[Graph], budget: GraphBudget, *, key: jax.Array | None = None, drop_last: bool = False
) -> Iterator[Graph]:
    """Goes once through a data set in batches of one budget, as many graphs in each as fit.

    Every graph appears exactly once, but for those of a last batch left out. All batches have the same shapes.

    Args:
      graphs: the graphs of the data set.
      budget: the static sizes of every batch.
      key: random key that shuffles the graphs; None keeps their order.
      drop_last: whether to leave out the last batch if it is not full: if one of the graphs given would still fit in.

    Returns:
      An iterator of graphs, as from :func:`batch`.

    Raises:
      ValueError: a graph does not fit even alone; the message names its number in ``graphs``.

    Example:
      >>> import equijax as ej
      >>> graphs = [ej.graphs.complete_graph(n) for n in (3, 4, 5, 4)]
      >>> budget = ej.graphs.GraphBudget.of(graphs, batch_size=2)
      >>> [int(flat.graph_mask.sum()) for flat in ej.graphs.batches(graphs, budget)]
      [2, 2]
    """
    graphs = list(graphs)
    sizes = sizes_of(graphs)
    order = None if key is None else np.asarray(jax.random.permutation(key, len(graphs)))
    groups = budget.pack(sizes, order, drop_last=drop_last)
    return (batch([graphs[k] for k in group], budget) for group in groups)


def _with_shifts(hosts: list[Graph]) -> list[Graph]:
    """Gives graphs without shifts zeros for them where another has some."""
    first = next((host.shifts for host in hosts if host.shifts is not None), None)
    if first is None:
        return hosts
    zeros = lambda host: np.zeros((host.num_edges, *first.shape[1:]), first.dtype)  # noqa: E731
    return [
        host
        if host.shifts is not None
        else assemble(**{name: getattr(host, name) for name in FIELDS} | {"shifts": zeros(host)})
        for host in hosts
    ]


def _joined(trees: list[Any], size: int, name: str) -> Any:
    """Concatenates trees of arrays and appends zeros up to ``size`` rows."""
    structure = jax.tree.structure(trees[0])
    columns = []
    for k, tree in enumerate(trees):
        leaves, other = jax.tree.flatten(tree)
        if other != structure:
            raise ValueError(
                f"`graphs[{k}].{name}` is {_described(tree)}, but `graphs[0].{name}` is {_described(trees[0])}. All graphs "
                "of a batch need the same fields."
            )
        columns.append(leaves)
    joined = [_joined_leaf(leaves, size, name) for leaves in zip(*columns, strict=True)]
    return jax.tree.unflatten(structure, joined)


def _joined_leaf(leaves: tuple[np.ndarray, ...], size: int, name: str) -> np.ndarray:
    first = leaves[0]
    for k, leaf in enumerate(leaves):
        if leaf.shape[1:] != first.shape[1:] or leaf.dtype != first.dtype:
            raise ValueError(
                f"`graphs[{k}].{name}` holds {leaf.dtype}{list(leaf.shape)}, but `graphs[0].{name}` {first.dtype}"
                f"{list(first.shape)}. All graphs of a batch need the same features and dtypes."
            )
    joined = np.zeros((size, *first.shape[1:]), first.dtype)
    total = sum(map(len, leaves))
    np.concatenate(leaves, out=joined[:total])
    return joined


def _described(tree: Any) -> str:
    return "None" if tree is None else str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree))


def _with_table(flat: Graph, budget: GraphBudget) -> Graph:
    try:
        return flat.with_table(budget.table)
    except ValueError as error:
        raise ValueError(
            f"`budget.table` has too few rows for these graphs: {error} Every batch of the graphs given to "
            "GraphBudget.of(graphs, batch_size, tables=True) fits, so compute the budget from all data that it is to serve."
        ) from error
