"""The layer of deep sets in plain PyTorch, written from its equation."""

# pyright: reportMissingImports=false
# These packages are in the peer's environment only.

import torch
from torch import nn


class Layer(nn.Module):
    """y_i = x_i A + mean_j(x_j) B + c."""

    def __init__(self, case: dict):
        super().__init__()
        width = case["features"]
        self.own = nn.Linear(width, width)
        self.pooled = nn.Linear(width, width, bias=False)

    parts = {"own": "own.weight", "pooled": "pooled.weight", "bias": "own.bias"}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``(batch, n, features)`` to the same shape."""
        return self.own(x) + self.pooled(x.mean(-2, keepdim=True))


def inputs(data: dict) -> list[torch.Tensor]:
    """What the layer takes."""
    return [data["x"]]
