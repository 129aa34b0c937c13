"""Valid calls of equijax.nn on graphs."""

from typing import Any

import jax
import numpy as np
from flax import nnx

import equijax as ej
from tests.wrong_uses.layers import described, same, uses_of
from tests.wrong_uses.trying import Use

X = np.ones((3, 4), np.float32)
GRAPH = ej.Graph(X, np.array([0, 1]), np.array([1, 2]))
EDGES = ej.Graph(X, np.array([0, 1]), np.array([1, 2]), edges=np.ones((2, 4), np.float32))
POINTS = ej.Graph(X, np.array([0, 1]), np.array([1, 2]), positions=np.ones((3, 3), np.float32))
TO = ("a", "to", "a")
HETERO = ej.graphs.HeteroGraph({"a": X}, {TO: ([0, 1], [1, 2])})
WIDTHS = {"in_features": 4, "out_features": 4}
LAYERS: dict[str, tuple[dict[str, Any], Any]] = {
    "GCNConv": (WIDTHS, GRAPH),
    "SAGEConv": (WIDTHS, GRAPH),
    "GINConv": ({"mlp": same}, GRAPH),
    "GINEConv": ({"in_features": 4, "mlp": same}, EDGES),
    "GATConv": ({**WIDTHS, "num_heads": 1}, GRAPH),
    "GATv2Conv": ({**WIDTHS, "num_heads": 1}, GRAPH),
    "EdgeConv": ({"network": same}, GRAPH),
    "PNAConv": ({**WIDTHS, "average_degrees": (1.3, 0.8)}, GRAPH),
    "ResGatedGraphConv": (WIDTHS, GRAPH),
    "GatedGCN": ({"features": 4}, EDGES),
    "TransformerConv": ({**WIDTHS, "num_heads": 1}, GRAPH),
    "GraphTransformerBlock": ({"features": 4, "num_heads": 1}, GRAPH),
    "GraphNorm": ({"num_features": 4}, GRAPH),
    "GraphLayerNorm": ({"num_features": 4}, GRAPH),
    "PairNorm": ({}, GRAPH),
    "GraphPool": ({}, GRAPH),
    "GraphAttentionPool": ({**WIDTHS, "num_heads": 1}, GRAPH),
    "MapNodes": ({"fn": jax.nn.relu}, GRAPH),
    "MapEdges": ({"fn": jax.nn.relu}, EDGES),
    "MessagePassing": ({}, GRAPH),
    "EGNN": (WIDTHS, POINTS),
    "HeteroConv": ({"layers": {TO: ej.nn.PairNorm()}}, HETERO),
    "HeteroMap": ({"fns": {"a": jax.nn.relu}}, HETERO),
    "SignNet": ({"phi": same, "rho": same}, GRAPH),
    "BasisNet": ({"num_vectors": 2, "out_features": 2, "hidden_features": 2, "nodes_per_graph": 3}, None),
}
ANY = {"negative": "any number", "2**40": "any number"}
POSITIVE = {"1.5": "another number", "2**40": "another number", "np.int64": "another number"}
KINDS = {"message": "optional function", "update": "optional function", "local": "optional function", "scalers": "some words",
         "aggregators": "some words", "average_degrees": "pair of numbers", "num_vectors": "int", "nodes_per_graph": "optional int"}  # fmt: skip
OWN = {"GCNConv": {"self_loops": "optional flag"}, "HeteroConv": {"layers": "thing"}}
RIGHT = {
    "GINConv": {"epsilon": ANY}, "GINEConv": {"epsilon": ANY}, "GATConv": {"negative_slope": ANY}, "PairNorm": {"scale": ANY},
    "GATv2Conv": {"negative_slope": ANY}, "EGNN": {"aggregation": {"list": "either: one word is wanted"}},
    "BasisNet": {"hidden_features": {"None": "either: the docstring says"}},
}  # fmt: skip
SPECTRAL = ej.nn.BasisNet(
    2, 2, hidden_features=2, nodes_per_graph=3, kernel_init=jax.nn.initializers.zeros, rngs=nnx.Rngs(0)
)
VECTORS = GRAPH.replace(nodes=np.ones((3, 2), np.float32))
FUNCTIONS = [
    Use("average_degrees", ej.nn.average_degrees, {"graphs": [GRAPH]}, {"graphs": "thing"}),
    Use(
        "BasisNet.__call__",
        described(SPECTRAL),
        {"graph": VECTORS, "groups": np.array([[0, 1]], np.int32)},
        {"graph": "graph", "groups": "indices"},
        {"groups": {"negative": "-1 leaves a vector out"}},
    ),
]
USES = FUNCTIONS + [
    use
    for name, (given, graph) in LAYERS.items()
    for use in uses_of(name, given, graph, KINDS | OWN.get(name, {}), RIGHT.get(name, {}))
]
