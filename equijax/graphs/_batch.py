"""Many graphs in one, and back."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

from equijax._arguments import boolean
from equijax.graphs._budget import Budget, GraphBudget, sizes_of
from equijax.graphs._graph import Graph
from equijax.graphs._hetero import HeteroGraph
from equijax.graphs._hetero_batch import batch_hetero, unbatch_hetero
from equijax.graphs._hetero_budget import HeteroBudget
from equijax.graphs._host import assemble, on_host, order_by_graph, require_all_valid
from equijax.graphs._join import joined, joined_indices, with_table, with_zero_shifts

_OF_NODES = ("nodes", "positions", "velocities", "node_mask")
_OF_EDGES = ("edges", "shifts", "edge_mask")
_OF_GRAPHS = ("globals", "graph_mask")

AnyGraph = TypeVar("AnyGraph", Graph, HeteroGraph)


def batch(graphs: Iterable[AnyGraph], budget: Budget | None = None) -> AnyGraph:
    """Puts many graphs into one flat graph, on the host, in numpy.

    The nodes, edges and graphs follow one another in the order given. With a budget, padding (zeros) follows behind: padding
    nodes belong to the first padding graph, and padding edges join the first padding node to itself. What is padding in the
    graphs given stays padding. Where some graphs have shifts, the others get zeros. Their tables are left behind; the batch
    gets one where the budget has table shapes.

    Args:
      graphs: all :class:`Graph` or all :class:`HeteroGraph`, with equal features: the same fields (and types), and in each
        the same shapes (but for axis 0) and dtypes.
      budget: the static sizes of the batch, a :class:`GraphBudget` or for several types a :class:`HeteroBudget`; None takes
        as much as the graphs need, without padding.

    Returns:
      One graph, with ``node_graph`` numbering the graphs in their order.

    Raises:
      TypeError: an entry is no graph, or the budget none for these graphs.
      ValueError: there is no graph; one differs from the first in its features; they don't fit the budget; they are traced.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> pair = ej.Graph(jnp.ones((2, 8)), senders=[0], receivers=[1])
      >>> both = ej.graphs.batch([pair, pair])
      >>> both, both.senders.tolist(), both.node_graph.tolist()
      (Graph(4 nodes, 2 edges, 2 graphs; nodes float32[4,8]), [0, 2], [0, 0, 1, 1])
    """
    graphs = list(graphs)
    if not graphs:
        raise ValueError("`graphs` is empty, so the features of a batch are not known. Give at least one graph.")
    hetero = isinstance(graphs[0], HeteroGraph)
    if budget is not None:
        _require_budget(budget, HeteroBudget if hetero else GraphBudget)
    join: Any = batch_hetero if hetero else _batch_flat
    return join(graphs, budget)


def _batch_flat(graphs: Sequence[Graph], budget: GraphBudget | None) -> Graph:
    sizes = sizes_of(graphs)
    nodes, edges, count = (int(total) for total in sizes.sum(0))
    room = (nodes, edges, count)
    if budget is not None:
        budget.require_room(*room)
        room = (budget.nodes, budget.edges, budget.graphs)
    hosts = [on_host(graph, "batch") for graph in graphs]
    columns = {name: [getattr(host, name) for host in hosts] for name in (*_OF_NODES, *_OF_EDGES, *_OF_GRAPHS)}
    columns["shifts"] = with_zero_shifts(columns["shifts"], sizes[:, 1].tolist())
    fields = {}
    for names, size in zip((_OF_NODES, _OF_EDGES, _OF_GRAPHS), room, strict=True):
        fields |= {name: joined(columns[name], size, name) for name in names}
    first_node, _, first_graph = (np.cumsum(sizes, 0) - sizes).T
    for name, first, size, padding in (
        ("senders", first_node, room[1], nodes),
        ("receivers", first_node, room[1], nodes),
        ("node_graph", first_graph, room[0], count),
    ):
        fields[name] = joined_indices([getattr(host, name) for host in hosts], first, size, padding)
    flat = Graph(**fields)
    return flat if budget is None or budget.table is None else with_table(flat, budget.table, "GraphBudget")


def unbatch(graph: AnyGraph) -> list[AnyGraph]:
    """Takes a batch apart into its graphs, on the host; padding is dropped.

    The exact inverse of :func:`batch`. The nodes of a graph need not follow one another; they keep their order, and so do
    its edges.

    Args:
      graph: a :class:`Graph` or a :class:`HeteroGraph`, with any ``node_graph``.

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
    split: Any = unbatch_hetero if isinstance(graph, HeteroGraph) else _unbatch_flat
    return split(graph)


def _unbatch_flat(graph: Graph) -> list[Graph]:
    host = on_host(graph, "unbatch")
    count = host.num_graphs
    require_all_valid(host.node_mask, host.node_graph, host.graph_mask)
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
    graphs: Iterable[AnyGraph], budget: Budget, *, key: jax.Array | None = None, drop_last: bool = False
) -> Iterator[AnyGraph]:
    """Goes once through a data set in batches of one budget, as many graphs in each as fit.

    Every graph appears exactly once, but for those of a last batch left out. All batches have the same shapes.

    Args:
      graphs: the graphs of the data set.
      budget: the static sizes of every batch, a :class:`GraphBudget` or a :class:`HeteroBudget`.
      key: random key that shuffles the graphs; None keeps their order.
      drop_last: whether to leave out the last batch if it is not full: if one of the graphs given would still fit in.

    Returns:
      An iterator of graphs, as from :func:`batch`.

    Raises:
      TypeError: an entry is no graph, or the budget none for these graphs.
      ValueError: a graph does not fit even alone; the message names its number in ``graphs``.

    Example:
      >>> import equijax as ej
      >>> graphs = [ej.graphs.complete_graph(n) for n in (3, 4, 5, 4)]
      >>> budget = ej.graphs.GraphBudget.of(graphs, batch_size=2)
      >>> [int(flat.graph_mask.sum()) for flat in ej.graphs.batches(graphs, budget)]
      [2, 2]
    """
    graphs, drop_last = list(graphs), boolean(drop_last, "drop_last")
    _require_budget(budget, Budget)
    sizes = budget.sizes(graphs)
    order = None if key is None else np.asarray(jax.random.permutation(key, len(graphs)))
    groups = budget.pack(sizes, order, drop_last=drop_last)
    return (batch([graphs[k] for k in group], budget) for group in groups)


def _require_budget(budget: Any, wanted: type) -> None:
    if not isinstance(budget, wanted):
        name = "GraphBudget" if wanted is Budget else wanted.__name__
        raise TypeError(
            f"`budget` is a {type(budget).__name__}; these graphs need a {name}. Write {name}.of(all graphs, batch_size)."
        )
