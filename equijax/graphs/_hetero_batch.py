"""Many graphs of several types in one, and back."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from equijax.graphs._hetero import EdgeSet, HeteroGraph, assembled
from equijax.graphs._hetero_budget import HeteroBudget, sizes_by_type, types_of
from equijax.graphs._host import order_by_graph, require_all_valid
from equijax.graphs._join import joined, joined_indices, with_table, with_zero_shifts


def batch_hetero(graphs: Sequence[HeteroGraph], budget: HeteroBudget | None) -> HeteroGraph:
    """Puts graphs of the same types into one, as :func:`batch` says."""
    names, kinds = types_of(graphs)
    sizes = sizes_by_type(graphs, names, kinds) if budget is None else budget.sizes(graphs)
    came = sizes.sum(0).tolist()
    if budget is not None:
        budget.require_room(*came)
    keys = (*names, *kinds, "graphs")
    total = dict(zip(keys, came, strict=True))
    room = total if budget is None else dict(zip(keys, budget.rooms.values(), strict=True))
    first = dict(zip(keys, (np.cumsum(sizes, 0) - sizes).T, strict=True))
    hosts = [_on_host(graph, "batch") for graph in graphs]

    def of_nodes(field: str) -> dict[str, Any]:
        parts = {name: [(getattr(host, field) or {}).get(name) for host in hosts] for name in names}
        return {name: joined(column, room[name], f"{field}[{name!r}]") for name, column in parts.items()}

    def of_edges(kind: Any) -> EdgeSet:
        sets = [host.edges[kind] for host in hosts]
        ends = [
            joined_indices([each[side] for each in sets], first[kind[2 * side]], room[kind], total[kind[2 * side]])
            for side in (0, 1)
        ]
        columns: Any = {name: [getattr(each, name) for each in sets] for name in ("edges", "edge_mask", "shifts")}
        columns["shifts"] = with_zero_shifts(columns["shifts"], [len(each.senders) for each in sets])
        fields: Any = {name: joined(column, room[kind], f"edges[{kind!r}]") for name, column in columns.items()}
        return EdgeSet(ends[0], ends[1], **fields)

    owners = {
        name: joined_indices([host.node_graph[name] for host in hosts], first["graphs"], room[name], total["graphs"])
        for name in names
    }
    flat = HeteroGraph(
        of_nodes("nodes"),
        {kind: of_edges(kind) for kind in kinds},
        globals=joined([host.globals for host in hosts], room["graphs"], "globals"),
        positions={name: points for name, points in of_nodes("positions").items() if points is not None},
        node_graph=owners,
        node_mask=of_nodes("node_mask"),
        graph_mask=joined([host.graph_mask for host in hosts], room["graphs"], "graph_mask"),
    )
    return flat if budget is None or budget.table is None else with_table(flat, dict(budget.table), "HeteroBudget")


def unbatch_hetero(graph: HeteroGraph) -> list[HeteroGraph]:
    """Takes a batch apart, as :func:`unbatch` says."""
    host, count = _on_host(graph, "unbatch"), graph.num_graphs
    owner, numbers, places = {}, {}, {}
    for name in host.node_types:
        require_all_valid(host.node_mask[name], host.node_graph[name], host.graph_mask)
        owner[name] = np.where(host.node_mask[name], host.node_graph[name], count)
        order, starts, numbers[name] = order_by_graph(owner[name], count)
        places[name] = (order, starts)
    for kind, given in host.edges.items():
        order, starts, _ = order_by_graph(np.where(given.edge_mask, owner[kind[0]][given.senders], count), count)
        places[kind] = (order, starts)

    def own(tree: Any, key: Any, k: int) -> Any:
        order, starts = places[key]
        return jax.tree.map(lambda leaf: leaf[order[starts[k] : starts[k + 1]]], tree)

    def edges_of(kind: Any, k: int) -> EdgeSet:
        part = own(host.edges[kind], kind, k)
        ends = [numbers[kind[2 * side]][part[side]].astype(np.int32) for side in (0, 1)]
        return part._replace(senders=ends[0], receivers=ends[1])

    parts = []
    for k in np.flatnonzero(host.graph_mask).tolist():
        by_node = lambda trees: {name: own(tree, name, k) for name, tree in trees.items()}  # noqa: B023, E731
        masks = by_node(host.node_mask)
        parts.append(
            assembled(
                host,
                nodes=by_node(host.nodes),
                edges={kind: edges_of(kind, k) for kind in host.edge_types},
                globals=jax.tree.map(lambda leaf: leaf[k : k + 1], host.globals),  # noqa: B023
                positions=None if host.positions is None else by_node(host.positions),
                node_graph={name: np.zeros(len(mask), np.int32) for name, mask in masks.items()},
                node_mask=masks,
                graph_mask=host.graph_mask[k : k + 1],
            )
        )
    return jax.device_put(parts)


def _on_host(graph: HeteroGraph, function: str) -> HeteroGraph:
    """Returns the graph with numpy arrays and without its tables."""
    bare = assembled(graph, edges={kind: given._replace(table=None) for kind, given in graph.edges.items()})
    try:
        return jax.tree.map(np.asarray, bare)
    except jax.errors.TracerArrayConversionError:
        raise ValueError(f"`graph` is traced; {function} works on the host. Call it outside of jit, on the data.") from None
