"""Valid calls of equijax.graphs: functions of graphs, and ways to and from other forms."""

import ase.build
import networkx
import numpy as np
import scipy.sparse

import equijax as ej
from equijax import graphs
from tests.wrong_uses.graphs import BUDGET, GRAPH, KINDS, PLAIN, RECEIVERS, SENDERS, P, X
from tests.wrong_uses.trying import Use

PATH = networkx.path_graph(3)
networkx.set_node_attributes(PATH, {k: {"x": 1.0, "p": [1.0 * k, 0.0]} for k in range(3)})
networkx.set_edge_attributes(PATH, {edge: {"w": 1.0} for edge in PATH.edges})
BOTH = graphs.undirected(PLAIN)
BARE = ej.Graph(X, SENDERS, RECEIVERS, edges=np.ones((2, 4)))
TABLE = PLAIN.with_table().table
GRAPH_KIND = {"graph": "graph", **KINDS}
USES = [
    Use("add_self_loops", graphs.add_self_loops, {"graph": BARE, "fill": 0.0}, {"graph": "graph", "fill": "any number"},
        {"fill": {"NaN": "NaN is a float", "bool": "bools are numbers", "traced": "arrays may be traced"}}),
    Use("reverse", graphs.reverse, {"graph": GRAPH}, GRAPH_KIND),
    Use("undirected", graphs.undirected, {"graph": GRAPH}, GRAPH_KIND),
    Use("radius_graph", graphs.radius_graph, {"positions": P, "radius": 4.0, "nodes": X, "node_graph": np.zeros(3, int)},
        {"positions": "known reals", "radius": "positive number", "nodes": "features", "node_graph": "optional integers",
         "cell": "skip"}, {"positions": {"size 0": "points without coordinates are one point"}}),
    Use("radius_graph in a cell", lambda cell: graphs.radius_graph(P, 4.0, cell=cell), {"cell": 9.0 * np.eye(3)},
        {"cell": "optional reals"}, {"cell": {"negative": "another lattice", "1.5": "another lattice", "2**40": "either: they may depend"}}),
    Use("complete_graph", graphs.complete_graph, {"num_nodes": 3}),
    Use("edge_vectors", graphs.edge_vectors, {"graph": GRAPH}, GRAPH_KIND),
    Use("strain", graphs.strain, {"graph": GRAPH, "eps": np.zeros((3, 3))}, {"graph": "graph", "eps": "array"},
        {"eps": {"higher rank": "a strain of each graph", "size 0": "either: it is square"}}),
    Use("neighbour_sum", graphs.neighbour_sum, {"values": X, "graph": PLAIN, "weights": np.ones(2)},
        {"values": "weights", "graph": "graph", "weights": "weights"},
        {"values": {"size 0": "no features", "traced": "arrays may be traced"},
         "weights": {"None": "1", "traced": "arrays may be traced", "bool": "bools are numbers"}}),
    Use("message_reduce", graphs.message_reduce,
        {"fn": lambda sender, receiver, edge: sender, "graph": PLAIN, "nodes": X, "edges": np.ones((2, 4)), "reductions": "max"},
        {**GRAPH_KIND, "reductions": "thing"}),
    Use("random_walk_encoding", graphs.random_walk_encoding, {"graph": BOTH, "steps": 2}, GRAPH_KIND),
    Use("laplacian_encoding", graphs.laplacian_encoding, {"graph": BOTH, "k": 2}, GRAPH_KIND),
    Use("to_dense", graphs.to_dense, {"graph": BARE, "max_nodes": 3}, {"graph": "graph", "max_nodes": "optional int"}),
    Use("from_dense", graphs.from_dense, {"dense": graphs.DenseGraph(None, np.ones((1, 2, 2)), None, None)}, {"dense": "thing"}),
    Use("nodes_from_dense", graphs.nodes_from_dense, {"values": np.ones((1, 3, 4)), "graph": PLAIN}, {**GRAPH_KIND, "values": "features"}),
    Use("edges_from_dense", graphs.edges_from_dense, {"values": np.ones((1, 3, 3, 4)), "graph": PLAIN},
        {**GRAPH_KIND, "values": "features"}),
    Use("NeighbourTable.relabelled", TABLE.relabelled, {"p": np.array([1, 2, 0]), "q": np.array([1, 0])},  # pyright: ignore
        {"p": "indices", "q": "indices"}),
    Use("from_scipy", graphs.from_scipy, {"adjacency": scipy.sparse.csr_array(np.eye(3)), "nodes": X},
        {"adjacency": "thing", "nodes": "features"}),
    Use("to_scipy", graphs.to_scipy, {"graph": PLAIN, "weights": np.ones(2)}, {"graph": "graph", "weights": "weights"},
        {"weights": {"None": "1"}}),
    Use("from_jraph", graphs.from_jraph, {"graph": graphs.to_jraph(PLAIN), "padded": False}, GRAPH_KIND),
    Use("to_jraph", graphs.to_jraph, {"graph": graphs.batch([PLAIN], BUDGET)}, GRAPH_KIND),
    Use("from_ase", graphs.from_ase, {"atoms": ase.build.molecule("H2O"), "cutoff": 1.2}, {"atoms": "thing", "cutoff": "positive number"}),
    Use("from_networkx", graphs.from_networkx, {"graph": PATH, "nodes": "x", "edges": "w", "positions": "p"},
        {"graph": "graph", "nodes": "optional words", "edges": "optional words", "positions": "optional thing",
         "shifts": "optional thing"}, {"nodes": {"list": "several"}, "edges": {"list": "several"}}),
    Use("to_networkx", graphs.to_networkx, {"graph": PLAIN}, GRAPH_KIND),
]  # fmt: skip
