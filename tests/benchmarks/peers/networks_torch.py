"""The same networks and layers in escnn, from the fields of ``networks.Network`` and ``layers.Layer``."""

# pyright: reportMissingImports=false
# These packages are in the peer's environment only.

import torch
from escnn import gspaces
from escnn import nn as enn

POOL_AFTER = (1, 3)
CLASSES = 10


def space(group: str) -> gspaces.GSpace:
    """The group of a wallpaper group's name."""
    if group == "p1":
        return gspaces.trivialOnR2()
    return gspaces.flipRot2dOnR2(4) if group == "p4m" else gspaces.rot2dOnR2(int(group[1:]))


class Network(torch.nn.Module):
    """A small group CNN; convolutions have no bias, since a batch norm follows."""

    def __init__(self, group: str, widths: list[int], kernel: int):
        super().__init__()
        acts = space(group)
        self.in_type = old = enn.FieldType(acts, [acts.trivial_repr])
        layers = []
        for k, width in enumerate(widths):
            new = enn.FieldType(acts, width * [acts.regular_repr])
            layers.append(enn.R2Conv(old, new, kernel_size=kernel, padding=kernel // 2, bias=False))
            layers += [enn.InnerBatchNorm(new), enn.ReLU(new, inplace=True)]
            layers += [enn.PointwiseAvgPool(new, kernel_size=2, stride=2)] if k in POOL_AFTER else []
            old = new
        self.body = enn.SequentialModule(*layers, enn.GroupPooling(old))
        self.head = torch.nn.Linear(widths[-1], CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of images ``(batch, 1, height, width)``."""
        return self.head(self.body(enn.GeometricTensor(x, self.in_type)).tensor.mean((2, 3)))


class Layer(torch.nn.Module):
    """One group convolution."""

    def __init__(self, case: dict):
        super().__init__()
        acts, kernel = space(case["group"]), case["kernel"]
        self.type = enn.FieldType(acts, case["features"] * [acts.regular_repr])
        self.conv = enn.R2Conv(self.type, self.type, kernel_size=kernel, padding=kernel // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``(batch, channels, height, width)`` to the same shape."""
        return self.conv(enn.GeometricTensor(x, self.type)).tensor
