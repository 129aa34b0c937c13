"""Valid calls of equijax.graphs: what holds graphs, and budgets of their batches."""

from typing import Any

import numpy as np

import equijax as ej
from equijax import graphs
from equijax.graphs import DenseGraph, GraphBudget, HeteroBudget, HeteroGraph, NeighbourTable, RowShapes, TableShapes
from tests.wrong_uses.trying import Use

X, P = np.ones((3, 4)), np.arange(9.0).reshape(3, 3)
SENDERS, RECEIVERS = np.array([0, 1]), np.array([1, 2])
NODES, EDGES, ONE = np.ones(3, bool), np.ones(2, bool), np.ones(1, bool)
FIELDS: dict[str, Any] = {
    "nodes": X, "senders": SENDERS, "receivers": RECEIVERS, "edges": np.ones((2, 4)), "globals": np.ones((1, 2)), "positions": P,
    "velocities": P, "shifts": np.ones((2, 3)), "node_graph": np.zeros(3, int), "node_mask": NODES, "edge_mask": EDGES,
    "graph_mask": ONE,
}  # fmt: skip
KINDS = {
    **dict.fromkeys(("nodes", "edges", "globals"), "features"),
    **dict.fromkeys(("positions", "velocities", "shifts"), "points"),
    **dict.fromkeys(("senders", "receivers"), "indices"),
    **dict.fromkeys(("node_mask", "edge_mask", "graph_mask", "mask"), "mask"),
    "node_graph": "optional indices",
    "table": "optional thing",
}
GRAPH = ej.Graph(**FIELDS)
PLAIN = ej.Graph(X, SENDERS, RECEIVERS)
SHAPES = TableShapes(RowShapes(1, 3, 0), RowShapes(1, 3, 0))
TO = ("a", "to", "a")
HETERO = HeteroGraph({"a": X}, {TO: (SENDERS, RECEIVERS)})
WHOLE = {"globals": {"higher rank": "features of any axes"}}
NONE = {name: "no graphs" for name in ("()", "size 0")}
BUDGET, HETERO_BUDGET = GraphBudget(9, 9, 3), HeteroBudget({"a": 9}, {TO: 9}, 3)
SIZES = np.array([[3, 2, 1], [2, 1, 1]])


def of_types(nodes: Any) -> HeteroGraph:
    """A graph whose features are put in."""
    return HeteroGraph({"a": nodes}, {TO: (SENDERS, RECEIVERS)}, node_mask={"a": NODES})


def edge_set(senders: Any, receivers: Any, edges: Any, edge_mask: Any, shifts: Any, table: Any = None) -> HeteroGraph:
    """A graph whose edges are put in."""
    return HeteroGraph(
        {"a": X}, {TO: graphs.EdgeSet(senders, receivers, edges, edge_mask, shifts, table)}, positions={"a": P}
    )


def dense(nodes: Any, adjacency: Any, edges: Any, mask: Any) -> ej.Graph:
    """A graph from dense arrays that are put in."""
    return graphs.from_dense(DenseGraph(nodes, adjacency, edges, mask))


GRAPHS = [
    Use("Graph", ej.Graph, FIELDS, KINDS, WHOLE),
    Use("Graph.replace", lambda nodes: GRAPH.replace(nodes=nodes), {"nodes": X}, KINDS),
    Use("Graph.replace of edges", lambda senders: PLAIN.replace(senders=senders), {"senders": SENDERS}, KINDS),
    Use("Graph.map_nodes", GRAPH.map_nodes, {"fn": lambda x: x}),
    Use("Graph.map_edges", GRAPH.map_edges, {"fn": lambda x: x}),
    Use("Graph.with_table", PLAIN.with_table, {"shapes": SHAPES}, {"shapes": "optional thing"}),
    Use("HeteroGraph", HeteroGraph,
        {"nodes": {"a": X}, "edges": {TO: (SENDERS, RECEIVERS)}, "globals": np.ones((1, 2)), "positions": {"a": P},
         "node_graph": {"a": np.zeros(3, int)}, "node_mask": {"a": NODES}, "graph_mask": ONE},
        {"nodes": "thing", "edges": "thing", "globals": "features", "positions": "optional thing", "node_graph": "optional thing",
         "node_mask": "optional thing", "graph_mask": "mask"}, WHOLE),
    Use("HeteroGraph of one type", of_types, {"nodes": X}, KINDS),
    Use("HeteroGraph.replace", lambda nodes: HETERO.replace(nodes=nodes), {"nodes": {"a": X}}, {"nodes": "thing"}),
    Use("HeteroGraph.relation", HETERO.relation, {"edge_type": TO}, {"edge_type": "thing"}),
    Use("HeteroGraph.with_table", HETERO.with_table, {"shapes": {TO: SHAPES}}, {"shapes": "optional thing"}),
    Use("EdgeSet", edge_set,
        {"senders": SENDERS, "receivers": RECEIVERS, "edges": np.ones((2, 4)), "edge_mask": EDGES, "shifts": np.ones((2, 3))}, KINDS),
    Use("DenseGraph", dense,
        {"nodes": np.ones((1, 3, 4)), "adjacency": np.ones((1, 3, 3)), "edges": np.ones((1, 3, 3, 2)), "mask": NODES[None]},
        {**KINDS, "adjacency": "features"}, {"adjacency": {"None": "either: it is needed", "()": "either: it is needed",
                                                           "size 0": "either: it is square"}}),
]  # fmt: skip
BUDGETS = [
    Use("RowShapes", RowShapes, {"width": 1, "nodes": 3, "splits": 0}),
    Use("TableShapes", TableShapes, {"incoming": SHAPES.incoming, "outgoing": SHAPES.outgoing},
        {"incoming": "thing", "outgoing": "thing"}),
    Use("table_shapes", graphs.table_shapes, {"graphs": [(SENDERS, RECEIVERS, 3)], "num_nodes": 9, "num_edges": 9},
        {"graphs": "thing", "num_graphs": "optional int"}, {"graphs": NONE}),
    Use("NeighbourTable.build", NeighbourTable.build,
        {"senders": SENDERS, "receivers": RECEIVERS, "num_nodes": 3, "edge_mask": EDGES, "shapes": SHAPES},
        {"senders": "integers", "receivers": "integers", "edge_mask": "known mask", "shapes": "optional thing"}),
    Use("GraphBudget", GraphBudget, {"nodes": 9, "edges": 9, "graphs": 3}, {"table": "optional thing"}),
    Use("GraphBudget.of", GraphBudget.of, {"graphs": [PLAIN], "batch_size": 2},
        {"graphs": "thing", "spread": "positive number"}),
    Use("GraphBudget.report", BUDGET.report, {"graphs": [PLAIN]}, {"graphs": "thing"}, {"graphs": NONE}),
    Use("GraphBudget.sizes", BUDGET.sizes, {"graphs": [PLAIN]}, {"graphs": "thing"}, {"graphs": NONE}),
    Use("GraphBudget.pack", BUDGET.pack, {"sizes": SIZES, "order": np.array([1, 0])},
        {"sizes": "integers", "order": "optional integers"}),
    Use("HeteroBudget", HeteroBudget, {"nodes": {"a": 9}, "edges": {TO: 9}, "graphs": 3},
        {"nodes": "thing", "edges": "thing", "table": "optional thing"}, {"edges": {"()": "no types"}}),
    Use("HeteroBudget.of", HeteroBudget.of, {"graphs": [HETERO], "batch_size": 2},
        {"graphs": "thing", "spread": "positive number"}),
    Use("HeteroBudget.report", HETERO_BUDGET.report, {"graphs": [HETERO]}, {"graphs": "thing"}, {"graphs": NONE}),
    Use("batch", graphs.batch, {"graphs": [PLAIN], "budget": BUDGET}, {"graphs": "thing", "budget": "optional thing"}),
    Use("batch of several types", graphs.batch, {"graphs": [HETERO], "budget": HETERO_BUDGET},
        {"graphs": "thing", "budget": "optional thing"}),
    Use("batches", graphs.batches, {"graphs": [PLAIN], "budget": BUDGET}, {"graphs": "thing", "budget": "thing"}, {"graphs": NONE}),
    Use("unbatch", graphs.unbatch, {"graph": PLAIN}, {"graph": "graph"}),
]  # fmt: skip
USES = [*GRAPHS, *BUDGETS]
