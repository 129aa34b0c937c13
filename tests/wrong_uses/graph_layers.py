"""Valid calls of equijax.nn on graphs."""

from typing import Any

import jax
import numpy as np

import equijax as ej
from tests.wrong_uses.layers import same, uses_of

X = np.ones((3, 4), np.float32)
GRAPH = ej.Graph(X, np.array([0, 1]), np.array([1, 2]))
EDGES = ej.Graph(X, np.array([0, 1]), np.array([1, 2]), edges=np.ones((2, 4), np.float32))
POINTS = ej.Graph(X, np.array([0, 1]), np.array([1, 2]), positions=np.ones((3, 3), np.float32))
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
}
ANY = {"negative": "any number", "2**40": "any number"}
POSITIVE = {"1.5": "another number", "2**40": "another number", "np.int64": "another number"}
KINDS = {"message": "optional function", "update": "optional function", "local": "optional function", "scalers": "some words",
         "aggregators": "some words", "average_degrees": "pair of numbers"}  # fmt: skip
OWN = {"GCNConv": {"self_loops": "optional flag"}}
RIGHT = {
    "GINConv": {"epsilon": ANY}, "GINEConv": {"epsilon": ANY}, "GATConv": {"negative_slope": ANY}, "PairNorm": {"scale": ANY},
    "GATv2Conv": {"negative_slope": ANY}, "EGNN": {"aggregation": {"list": "either: one word is wanted"}},
}  # fmt: skip
USES = [
    use
    for name, (given, graph) in LAYERS.items()
    for use in uses_of(name, given, graph, KINDS | OWN.get(name, {}), RIGHT.get(name, {}))
]
