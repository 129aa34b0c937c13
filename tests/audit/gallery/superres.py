"""EDSR (Lim et al., 2017), the U-Net of DDPM (Ho et al., 2020), FPN (Lin et al., 2017): three ways up."""

import jax
import jax.numpy as jnp
from flax import nnx

from tests.audit.gallery.parts import DOUBLE, PLANE, Attention, Entry, conv, each, positive
from tests.helpers import BIAS, randn


class Block(nnx.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width, *, rngs):
        self.conv1, self.conv2 = (conv(width, width, 3, padding=1, rngs=rngs) for _ in range(2))

    def __call__(self, x):
        return x + self.conv2(nnx.relu(self.conv1(x)))


def pixel_shuffle(x, r):
    """Depth to space."""
    batch, height, width, features = x.shape
    x = x.reshape(batch, height, width, r, r, features // r**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * r, width * r, -1)


class EDSR(nnx.Module):
    """Residual blocks, pixel shuffle, a convolution behind it."""

    def __init__(self, last, width=4):
        rngs = nnx.Rngs(0)
        self.first = conv(3, width, 3, padding=1, rngs=rngs)
        self.blocks = nnx.List([Block(width, rngs=rngs) for _ in range(2)])
        self.up = conv(width, 4 * width, 3, padding=1, rngs=rngs)
        self.last = conv(width, 3, 3, padding=1, rngs=rngs) if last else None

    def __call__(self, x):
        x = y = self.first(x)
        for block in self.blocks:
            y = block(y)
        y = pixel_shuffle(self.up(x + y), 2)
        return y if self.last is None else self.last(y)


class ResBlock(nnx.Module):
    """Group norm, swish and a convolution, twice, with a 1×1 shortcut."""

    def __init__(self, inputs, outputs, *, rngs):
        more = {"num_groups": 2, "scale_init": positive, "bias_init": BIAS, "rngs": rngs, **DOUBLE}
        self.norm1, self.norm2 = nnx.GroupNorm(inputs, **more), nnx.GroupNorm(outputs, **more)
        self.conv1, self.conv2 = (
            conv(inputs, outputs, 3, padding=1, rngs=rngs),
            conv(outputs, outputs, 3, padding=1, rngs=rngs),
        )
        self.short = conv(inputs, outputs, 1, rngs=rngs)

    def __call__(self, x):
        y = self.conv1(nnx.swish(self.norm1(x)))
        return self.short(x) + self.conv2(nnx.swish(self.norm2(y)))


class DDPM(nnx.Module):
    """One level: residual blocks, a strided convolution, attention, nearest upsampling and a convolution, a skip connection."""

    def __init__(self, width=4):
        rngs = nnx.Rngs(0)
        self.first, self.block1 = conv(3, width, 3, padding=1, rngs=rngs), ResBlock(width, width, rngs=rngs)
        self.down, self.block2 = conv(width, width, 3, 2, padding=1, rngs=rngs), ResBlock(width, 2 * width, rngs=rngs)
        self.attention = Attention(2 * width, 1, rngs=rngs)
        self.up, self.block3 = conv(2 * width, width, 3, padding=1, rngs=rngs), ResBlock(2 * width, width, rngs=rngs)
        self.last = conv(width, 3, 3, padding=1, rngs=rngs)

    def __call__(self, x):
        x = self.block1(self.first(x))
        y = self.block2(self.down(x))
        batch, height, width, features = y.shape
        y = y + self.attention(y.reshape(batch, height * width, features)).reshape(y.shape)
        y = self.up(jax.image.resize(y, (batch, 2 * height, 2 * width, features), "nearest"))
        return self.last(nnx.swish(self.block3(jnp.concatenate([x, y], -1))))


class FPN(nnx.Module):
    """Three levels by strided convolutions; from the top down each is added to the next, made larger by repetition."""

    def __init__(self, width=4):
        rngs = nnx.Rngs(0)
        self.down = nnx.List([conv(3 if i == 0 else width, width, 3, 2, padding=1, rngs=rngs) for i in range(3)])
        self.side = nnx.List([conv(width, width, 1, rngs=rngs) for _ in range(3)])
        self.out = nnx.List([conv(width, width, 3, padding=1, rngs=rngs) for _ in range(3)])

    def __call__(self, x):
        levels = []
        for down in self.down:
            x = nnx.relu(down(x))
            levels.append(x)
        y, results = 0, []
        for level, side, out in zip(levels[::-1], self.side, self.out, strict=True):
            y = side(level) if not results else side(level) + jnp.repeat(jnp.repeat(y, 2, 1), 2, 2)
            results.append(out(y))
        return tuple(results)


#: Depth to space moves as its input does, two pixels for each.
PLAIN = each("first blocks.0.conv1 blocks.0.conv2 blocks.1.conv1 blocks.1.conv2 up", "border")
EDSR_LAST = {**PLAIN, **each("last", "border")}
#: 16×16 → 8×8 → 16×16. Group norm and attention see a set of places; repetition moves as its input does.
DIFFUSION = {
    **each("first block1.conv1 block1.conv2 block2.conv1 block2.conv2 up block3.conv1 block3.conv2 last", "border"),
    **each("down", "phase", "border"),
}
#: 16×16 → 8, 4, 2 → 4, 8.
PYRAMID = {**each("down.0 down.1 down.2", "phase", "border"), **each("out.0 out.1 out.2", "border")}

IMAGE = randn((4, 16, 16, 3))
ENTRIES = [
    Entry("EDSR", lambda: EDSR(True), randn((4, 8, 8, 3)), PLANE, EDSR_LAST),
    Entry("EDSR without last convolution", lambda: EDSR(False), randn((4, 8, 8, 3)), PLANE, PLAIN),
    Entry("DDPM", DDPM, IMAGE, PLANE, DIFFUSION),
    Entry("FPN", FPN, IMAGE, PLANE, PYRAMID),
]  # fmt: skip
