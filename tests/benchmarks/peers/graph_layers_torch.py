"""Runs the graph layers of PyTorch Geometric with random weights, and writes inputs, weights, outputs and gradients.

    python tests/benchmarks/peers/graph_layers_torch.py out.npz --nodes 12 --edges 30 --seed 0 --dtype float64

Needs torch and torch_geometric only. ``tests/nn/graphs/pyg.py`` reads the file.
"""

# pyright: reportMissingImports=false
# These packages are in the peer's environment only.

import argparse

import numpy as np
import torch
import torch_geometric
from torch import nn
from torch_geometric import nn as pyg
from torch_geometric.utils import degree

FEATURES, OUT, EDGE_FEATURES = 4, 6, 3
ALL_AGGREGATORS = ["mean", "min", "max", "std", "var", "sum"]
ALL_SCALERS = ["identity", "amplification", "attenuation", "linear", "inverse_linear"]


def mlp(inputs, hidden=5, outputs=OUT):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def layers(histogram):
    """Name -> (layer, what its call takes besides nodes and edges)."""
    edges = {"edge_attr": "edges"}
    few = {"aggregators": ["mean", "min", "max", "std"], "scalers": ["identity", "amplification", "attenuation"]}
    return {
        "GCNConv": (pyg.GCNConv(FEATURES, OUT), {}),
        "GCNConv weights": (pyg.GCNConv(FEATURES, OUT), {"edge_weight": "weights"}),
        "GCNConv no loops": (pyg.GCNConv(FEATURES, OUT, add_self_loops=False), {}),
        "SAGEConv": (pyg.SAGEConv(FEATURES, OUT), {}),
        "SAGEConv max": (pyg.SAGEConv(FEATURES, OUT, aggr="max", normalize=True), {}),
        "GINConv": (pyg.GINConv(mlp(FEATURES), eps=0.3, train_eps=True), {}),
        "GINEConv": (pyg.GINEConv(mlp(FEATURES), eps=0.3, edge_dim=EDGE_FEATURES), edges),
        "GATConv": (pyg.GATConv(FEATURES, OUT // 2, heads=2), {}),
        "GATConv mean, edges": (pyg.GATConv(FEATURES, OUT, heads=2, concat=False, edge_dim=EDGE_FEATURES), edges),
        "GATConv no loops": (pyg.GATConv(FEATURES, OUT // 2, heads=2, add_self_loops=False), {}),
        "GATv2Conv": (pyg.GATv2Conv(FEATURES, OUT // 2, heads=2, edge_dim=EDGE_FEATURES), edges),
        "GATv2Conv shared": (pyg.GATv2Conv(FEATURES, OUT, heads=3, concat=False, share_weights=True), {}),
        "EdgeConv": (pyg.EdgeConv(mlp(2 * FEATURES)), {}),
        "PNAConv": (pyg.PNAConv(FEATURES, OUT, deg=histogram, **few), {}),
        "PNAConv towers": (
            pyg.PNAConv(
                FEATURES, OUT, ALL_AGGREGATORS, ALL_SCALERS, histogram, EDGE_FEATURES, towers=2, pre_layers=2,
                post_layers=2, divide_input=True,
            ),
            edges,
        ),  # fmt: skip
        "ResGatedGraphConv": (pyg.ResGatedGraphConv(FEATURES, OUT), {}),
        "TransformerConv": (pyg.TransformerConv(FEATURES, OUT // 2, heads=2), {}),
        "TransformerConv mean, edges": (
            pyg.TransformerConv(FEATURES, OUT, heads=2, concat=False, edge_dim=EDGE_FEATURES),
            edges,
        ),
        "GraphNorm": (pyg.GraphNorm(FEATURES), {"batch": "node_graph"}),
        "PairNorm": (pyg.PairNorm(scale=2.0), {"batch": "node_graph"}),
    }  # fmt: skip


def random_graph(nodes, edges, dtype):
    """Two graphs in one: parallel edges, no edge from a node to itself; the first and the last node have none."""
    owner = torch.arange(nodes) % 2
    senders = torch.randint(1, nodes - 1, (edges,))
    steps = 2 * torch.randint(1, max(2, (nodes - 2) // 2), (edges,))
    receivers = 1 + (senders - 1 + steps) % (2 * ((nodes - 2) // 2))
    keep = (senders != receivers) & (owner[senders] == owner[receivers])
    senders, receivers = senders[keep], receivers[keep]
    return {
        "nodes": torch.randn(nodes, FEATURES, dtype=dtype),
        "senders": senders,
        "receivers": receivers,
        "edges": torch.randn(len(senders), EDGE_FEATURES, dtype=dtype),
        "weights": torch.rand(len(senders), dtype=dtype) + 0.1,
        "node_graph": owner,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--nodes", type=int, default=12)
    parser.add_argument("--edges", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", default="float64")
    given = parser.parse_args()
    dtype = getattr(torch, given.dtype)
    torch.manual_seed(given.seed)
    torch.set_num_threads(1)
    graph = random_graph(given.nodes, given.edges, dtype)
    edge_index = torch.stack([graph["senders"], graph["receivers"]])
    degrees = degree(graph["receivers"], given.nodes, dtype=torch.long)
    record = {f"graph/{name}": value.numpy() for name, value in graph.items()}
    record["degree_histogram"] = torch.bincount(degrees).numpy()
    for name, (layer, more) in layers(torch.bincount(degrees)).items():
        layer = layer.to(dtype).eval()
        with torch.no_grad():
            for weight in layer.parameters():
                weight.copy_(0.5 * torch.randn_like(weight))
        if hasattr(layer, "aggr_module") and hasattr(layer.aggr_module, "reset_parameters"):
            layer.aggr_module.reset_parameters()
        x = graph["nodes"].clone().requires_grad_()
        options = {key: graph[value] for key, value in more.items()}
        y = layer(x, **options) if "batch" in more else layer(x, edge_index, **options)
        (y.square().sum() / 2).backward()
        record |= {f"{name}/weights/{key}": value.detach().numpy() for key, value in layer.state_dict().items()}
        record |= {f"{name}/out": y.detach().numpy(), f"{name}/gradient": x.grad.numpy()}
    versions = {"torch": torch.__version__, "torch_geometric": torch_geometric.__version__}
    record |= {f"about/{key}": np.array(str(value)) for key, value in (versions | vars(given)).items() if key != "out"}
    np.savez_compressed(given.out, **record)


if __name__ == "__main__":
    main()
