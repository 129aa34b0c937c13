"""Swin transformer (Liu et al., 2021)."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests.audit.gallery.parts import INVARIANT, MLP, PLANE, WINDOWS, Attention, Entry, conv, each, layer_norm, linear, mean
from tests.helpers import randn


def windows(x, side):
    """Cuts an image into windows: (batch, windows, places, features)."""
    batch, height, width, features = x.shape
    x = x.reshape(batch, height // side, side, width // side, side, features).swapaxes(2, 3)
    return x.reshape(batch, -1, side * side, features)


def joined(x, shape, side):
    """Puts windows together again."""
    batch, height, width, features = shape
    x = x.reshape(batch, height // side, width // side, side, side, features)
    return x.swapaxes(2, 3).reshape(shape)


def relative(side):
    """Number of the offset between each two places of a window."""
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)
    offsets = places[:, None] - places[None] + side - 1
    return offsets[..., 0] * (2 * side - 1) + offsets[..., 1]


def apart(size, side, shift):
    """Mask of a shifted image: −100 for two places of a window that are not neighbours without the shift."""
    line = np.zeros(size, int)
    line[size - side : size - shift], line[size - shift :] = 1, 2
    regions = windows((3 * line[:, None] + line[None]).reshape(1, size, size, 1), side)[0, ..., 0]
    return jnp.asarray(np.where(regions[:, :, None] == regions[:, None, :], 0.0, -100.0))


class WindowAttention(nnx.Module):
    """Attention within windows with a bias for each offset; shifted ones wrap, and a mask takes away what has wrapped."""

    def __init__(self, width, heads, size, side, shift, *, rngs):
        self.inner = Attention(width, heads, rngs=rngs)
        self.table = nnx.Param(randn((heads, (2 * side - 1) ** 2), 4))
        self.size, self.side, self.shift = size, side, shift

    def __call__(self, x):
        shifted = jnp.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        bias = self.table[...][:, relative(self.side)][None, None]
        if self.shift:
            bias = bias + apart(self.size, self.side, self.shift)[None, :, None]
        y = joined(self.inner(windows(shifted, self.side), bias), x.shape, self.side)
        return jnp.roll(y, (self.shift, self.shift), (1, 2)) if self.shift else y


class Block(nnx.Module):
    """Attention within windows and an MLP, with the norms in front."""

    def __init__(self, width, heads, size, side, shift, *, rngs):
        self.norm1, self.norm2 = layer_norm(width, rngs=rngs), layer_norm(width, rngs=rngs)
        self.attention = WindowAttention(width, heads, size, side, shift, rngs=rngs)
        self.mlp = MLP(width, 4 * width, width, rngs=rngs)

    def __call__(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Merging(nnx.Module):
    """Joins the features of 2×2 places."""

    def __init__(self, width, *, rngs):
        self.norm, self.reduce = layer_norm(4 * width, rngs=rngs), linear(4 * width, 2 * width, rngs=rngs)

    def __call__(self, x):
        x = jnp.concatenate([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.reduce(self.norm(x))


class Swin(nnx.Module):
    """Patches, a plain and a shifted block, in two stages merging and another two, the mean, a dense layer."""

    def __init__(self, two=True, width=4, heads=2, size=8, side=2, classes=3):
        rngs = nnx.Rngs(0)
        self.patch, self.norm1 = conv(3, width, 2, 2, padding=0, rngs=rngs), layer_norm(width, rngs=rngs)
        self.stage1 = nnx.List([Block(width, heads, size, side, shift, rngs=rngs) for shift in (0, side // 2)])
        self.stage2 = nnx.List([])
        if two:
            self.merge, width = Merging(width, rngs=rngs), 2 * width
            self.stage2.extend(Block(width, heads, size // 2, side, shift, rngs=rngs) for shift in (0, side // 2))
        self.norm2, self.head = layer_norm(width, rngs=rngs), linear(width, classes, rngs=rngs)

    def __call__(self, x):
        x = self.norm1(self.patch(x))
        for block in self.stage1:
            x = block(x)
        x = self.merge(x) if self.stage2 else x
        for block in self.stage2:
            x = block(x)
        return self.head(mean(self.norm2(x)))


#: 16×16 → 8×8 tokens. Windows lie on a coarser grid than tokens: attention within them depends on the phase. The mask is there
#: in the last windows only. Relative offsets are the same in all windows, and a cyclic shift moves along.
ONE = {**each("patch stage1.0.attention", "phase"), **each("stage1.1.attention", "phase", "position")}
#: … → 4×4 tokens.
TWO = {**ONE, **each("merge stage2.0.attention", "phase"), **each("stage2.1.attention", "phase", "position")}


def attention(stage, number):
    """Attention within windows of a block."""

    def within(model, x):
        return getattr(model, stage)[number].attention(x)

    return within


def merge(model, x):
    """Joining 2×2 places."""
    return model.merge(x)


IMAGE = randn((4, 16, 16, 3))
FIRST = {f"stage1.{i}.attention": (attention("stage1", i), (4, 8, 8, 4), WINDOWS) for i in range(2)}
SECOND = {f"stage2.{i}.attention": (attention("stage2", i), (4, 4, 4, 8), WINDOWS) for i in range(2)}
ALSO = {**FIRST, **SECOND, "merge": (merge, (4, 8, 8, 4), "border")}
ENTRIES = [
    Entry("Swin, one stage", lambda: Swin(two=False), IMAGE, PLANE, ONE, also=FIRST),
    Entry("Swin", Swin, IMAGE, PLANE, TWO, also=ALSO),
    Entry("Swin, told that classes stay", Swin, IMAGE, PLANE, TWO, INVARIANT, also=ALSO),
]  # fmt: skip
