"""ConvNeXt (Liu et al., 2022)."""

import jax.numpy as jnp
from flax import nnx

from tests.audit.gallery.parts import PLANE, Entry, conv, each, layer_norm, linear, mean
from tests.helpers import randn


class Block(nnx.Module):
    """A depthwise 7×7 convolution, layer norm, two dense layers, a scale for each feature."""

    def __init__(self, width, *, rngs):
        self.conv = conv(width, width, 7, padding=3, feature_group_count=width, rngs=rngs)
        self.norm = layer_norm(width, rngs=rngs)
        self.expand, self.reduce = linear(width, 4 * width, rngs=rngs), linear(4 * width, width, rngs=rngs)
        self.scale = nnx.Param(0.5 * jnp.ones((1, 1, 1, width)))

    def __call__(self, x):
        y = self.reduce(nnx.gelu(self.expand(self.norm(self.conv(x)))))
        return x + self.scale[...] * y


class Down(nnx.Module):
    """Layer norm, then patches of 2×2."""

    def __init__(self, inputs, outputs, *, rngs):
        self.norm, self.conv = layer_norm(inputs, rngs=rngs), conv(inputs, outputs, 2, 2, padding=0, rngs=rngs)

    def __call__(self, x):
        return self.conv(self.norm(x))


class ConvNeXt(nnx.Module):
    """Patches of 4×4, three stages, the mean, layer norm, a dense layer."""

    def __init__(self, widths=(4, 8, 16), depths=(2, 1, 1), classes=3):
        rngs = nnx.Rngs(0)
        self.stem, self.norm = conv(3, widths[0], 4, 4, padding=0, rngs=rngs), layer_norm(widths[0], rngs=rngs)
        self.stages = nnx.List(
            [nnx.List([Block(w, rngs=rngs) for _ in range(depth)]) for w, depth in zip(widths, depths, strict=True)]
        )
        self.downs = nnx.List([Down(i, o, rngs=rngs) for i, o in zip(widths, widths[1:], strict=False)])
        self.last, self.head = layer_norm(widths[-1], rngs=rngs), linear(widths[-1], classes, rngs=rngs)

    def __call__(self, x):
        x = self.norm(self.stem(x))
        for stage, down in zip(self.stages, (None, *self.downs), strict=True):
            x = x if down is None else down(x)
            for block in stage:
                x = block(x)
        return self.head(self.last(mean(x)))


#: 32×32 → 8×8 → 4×4 → 2×2. Patches need no padding.
CONVNEXT = {
    **each("stem downs.0.conv downs.1.conv", "phase"),
    **each("stages.0.0.conv stages.0.1.conv stages.1.0.conv stages.2.0.conv", "border"),
}

ENTRIES = [Entry("ConvNeXt", ConvNeXt, randn((4, 32, 32, 3)), PLANE, CONVNEXT)]
