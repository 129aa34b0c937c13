"""U-Net (Ronneberger et al., 2015) with zero padding, and 3-D U-Net (Çiçek et al., 2016)."""

import jax.numpy as jnp
from flax import nnx

from tests.audit.gallery.parts import PLANE, SPACE, Entry, Pool, conv, each, norm, transposed
from tests.helpers import randn


class Double(nnx.Module):
    """Twice a zero-padded convolution of width 3, norm and ReLU."""

    def __init__(self, inputs, outputs, d, *, rngs):
        self.conv1, self.norm1 = conv(inputs, outputs, 3, padding=1, d=d, rngs=rngs), norm(outputs, rngs=rngs)
        self.conv2, self.norm2 = conv(outputs, outputs, 3, padding=1, d=d, rngs=rngs), norm(outputs, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm1(self.conv1(x)))
        return nnx.relu(self.norm2(self.conv2(x)))


class UNet(nnx.Module):
    """Down by max pooling, up by transposed convolutions of width 2, skip connections."""

    def __init__(self, widths, d=2, classes=2):
        rngs = nnx.Rngs(0)
        inputs = (3, *widths)
        self.down = nnx.List([Double(i, o, d, rngs=rngs) for i, o in zip(inputs, widths, strict=False)])
        self.pool = nnx.List([Pool("max", 2, 2, d=d) for _ in widths[1:]])
        self.up = nnx.List([transposed(o, i, 2, 2, d=d, rngs=rngs) for i, o in zip(widths, widths[1:], strict=False)])
        self.merge = nnx.List([Double(2 * width, width, d, rngs=rngs) for width in widths[:-1]])
        self.head = conv(widths[0], classes, 1, d=d, rngs=rngs)

    def __call__(self, x):
        skips = []
        for block, pool in zip(self.down, (None, *self.pool), strict=True):
            x = block(x if pool is None else pool(x))
            skips.append(x)
        for up, merge, skip in zip(self.up[::-1], self.merge[::-1], skips[-2::-1], strict=True):
            x = merge(jnp.concatenate([skip, up(x)], -1))
        return self.head(x)


#: 16×16 → 8×8 → 4×4 and back. A transposed convolution of width 2 and stride 2 reads one place for each of its outputs: it
#: is never padded, and moves as its input does.
PLANAR = {
    **each("down.0.conv1 down.0.conv2 down.1.conv1 down.1.conv2 down.2.conv1 down.2.conv2", "border"),
    **each("merge.0.conv1 merge.0.conv2 merge.1.conv1 merge.1.conv2", "border"),
    **each("pool.0 pool.1", "phase"),
}
#: 8×8×8 → 4×4×4 and back.
SPATIAL = {
    **each("down.0.conv1 down.0.conv2 down.1.conv1 down.1.conv2 merge.0.conv1 merge.0.conv2", "border"),
    **each("pool.0", "phase"),
}

ENTRIES = [
    Entry("U-Net", lambda: UNet((4, 8, 16)), randn((4, 16, 16, 3)), PLANE, PLANAR),
    Entry("3-D U-Net", lambda: UNet((4, 8), d=3), randn((2, 8, 8, 8, 3)), SPACE, SPATIAL),
]
