"""DenseNet (Huang et al., 2017)."""

import jax.numpy as jnp
from flax import nnx

from tests.audit.gallery.parts import PLANE, Entry, Pool, conv, each, linear, mean, norm
from tests.helpers import randn


class Dense(nnx.Module):
    """Norm, 1×1, norm, 3×3; the result is appended to the input."""

    def __init__(self, inputs, growth, *, rngs):
        self.norm1, self.conv1 = norm(inputs, rngs=rngs), conv(inputs, 4 * growth, 1, use_bias=False, rngs=rngs)
        self.norm2, self.conv2 = (
            norm(4 * growth, rngs=rngs),
            conv(4 * growth, growth, 3, padding=1, use_bias=False, rngs=rngs),
        )

    def __call__(self, x):
        y = self.conv1(nnx.relu(self.norm1(x)))
        y = self.conv2(nnx.relu(self.norm2(y)))
        return jnp.concatenate([x, y], -1)


class Transition(nnx.Module):
    """Norm, 1×1 to half the features, 2×2 mean pooling."""

    def __init__(self, inputs, *, rngs):
        self.norm, self.conv = norm(inputs, rngs=rngs), conv(inputs, inputs // 2, 1, use_bias=False, rngs=rngs)
        self.pool = Pool("mean", 2, 2)

    def __call__(self, x):
        return self.pool(self.conv(nnx.relu(self.norm(x))))


class DenseNet(nnx.Module):
    """A 7×7 stem, max pooling, two dense blocks with a transition between them."""

    def __init__(self, growth=4, depth=3, classes=3):
        rngs, inputs = nnx.Rngs(0), 2 * growth
        self.stem, self.norm1 = conv(3, inputs, 7, 2, padding=3, use_bias=False, rngs=rngs), norm(inputs, rngs=rngs)
        self.pool = Pool("max", 3, 2, padding=1)
        self.block1 = nnx.List([Dense(inputs + i * growth, growth, rngs=rngs) for i in range(depth)])
        inputs += depth * growth
        self.transition = Transition(inputs, rngs=rngs)
        inputs //= 2
        self.block2 = nnx.List([Dense(inputs + i * growth, growth, rngs=rngs) for i in range(depth)])
        inputs += depth * growth
        self.norm2, self.head = norm(inputs, rngs=rngs), linear(inputs, classes, rngs=rngs)

    def __call__(self, x):
        x = self.pool(nnx.relu(self.norm1(self.stem(x))))
        for layer in self.block1:
            x = layer(x)
        x = self.transition(x)
        for layer in self.block2:
            x = layer(x)
        return self.head(mean(nnx.relu(self.norm2(x))))


#: 32×32 → stem 16×16 → pool 8×8 → block → transition 4×4 → block.
DENSENET = {
    **each("stem pool", "phase", "border"),
    **each("block1.0.conv2 block1.1.conv2 block1.2.conv2 block2.0.conv2 block2.1.conv2 block2.2.conv2", "border"),
    **each("transition.pool", "phase"),
}

ENTRIES = [Entry("DenseNet", DenseNet, randn((4, 32, 32, 3)), PLANE, DENSENET)]
