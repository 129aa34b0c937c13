"""Layers of message passing of PyTorch Geometric."""

# pyright: reportMissingImports=false
# These packages are in the peer's environment only.

import torch
from torch import nn
from torch_geometric.nn import EdgeConv, GCNConv


class Layer(nn.Module):
    """A layer on an edge index."""

    def __init__(self, case: dict):
        super().__init__()
        width = case["features"]
        if case["layer"] == "GCN":
            self.layer = GCNConv(width, width)
            self.parts = {"matrix": "layer.lin.weight", "bias": "layer.bias"}
        else:
            mlp = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width))
            self.layer = EdgeConv(mlp, aggr="sum")
            self.parts = {
                "first": "layer.nn.0.weight", "first_bias": "layer.nn.0.bias",
                "second": "layer.nn.2.weight", "bias": "layer.nn.2.bias",
            }  # fmt: skip

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        """Maps nodes to nodes."""
        return self.layer(x, edge_index)


def inputs(data: dict) -> list[torch.Tensor]:
    """Nodes and edge index."""
    return [data["x"], torch.stack([data["senders"], data["receivers"]]).long()]
