"""MobileNetV3 (Howard et al., 2019), EfficientNet (Tan and Le, 2019), ShuffleNet (Zhang et al., 2018)."""

import jax.numpy as jnp
from flax import nnx

from tests.audit.gallery.parts import PLANE, Entry, Pool, conv, each, linear, mean, norm
from tests.helpers import randn


class Squeeze(nnx.Module):
    """Scales each feature by a function of the means over the image (Hu et al., 2018)."""

    def __init__(self, features, act, gate, *, rngs):
        self.reduce, self.expand = (conv(i, o, 1, rngs=rngs) for i, o in ((features, 4), (4, features)))
        self.act, self.gate = act, gate

    def __call__(self, x):
        pooled = x.mean((1, 2), keepdims=True)
        return x * self.gate(self.expand(self.act(self.reduce(pooled))))


class Inverted(nnx.Module):
    """1×1 to more features, depthwise k×k, squeeze and excite, 1×1 to fewer features (Sandler et al., 2018)."""

    def __init__(self, inputs, hidden, outputs, k, strides, act, gate=None, *, rngs):
        self.expand, self.norm1 = conv(inputs, hidden, 1, use_bias=False, rngs=rngs), norm(hidden, rngs=rngs)
        more = {"padding": k // 2, "feature_group_count": hidden, "use_bias": False}
        self.depthwise, self.norm2 = conv(hidden, hidden, k, strides, rngs=rngs, **more), norm(hidden, rngs=rngs)
        self.squeeze = None if gate is None else Squeeze(hidden, nnx.relu if act is nnx.hard_swish else act, gate, rngs=rngs)
        self.project, self.norm3 = conv(hidden, outputs, 1, use_bias=False, rngs=rngs), norm(outputs, rngs=rngs)
        self.act, self.residual = act, strides == 1 and inputs == outputs

    def __call__(self, x):
        y = self.act(self.norm1(self.expand(x)))
        y = self.act(self.norm2(self.depthwise(y)))
        y = y if self.squeeze is None else self.squeeze(y)
        y = self.norm3(self.project(y))
        return x + y if self.residual else y


class Mobile(nnx.Module):
    """A 3×3 stem with stride 2, inverted residuals, a 1×1 convolution, the mean, dense layers."""

    def __init__(self, blocks, act, classes=3):
        rngs = nnx.Rngs(0)
        self.stem, self.norm1 = conv(3, 4, 3, 2, padding=1, use_bias=False, rngs=rngs), norm(4, rngs=rngs)
        self.blocks = nnx.List([Inverted(*block, rngs=rngs) for block in blocks])
        last = blocks[-1][2]
        self.last, self.norm2 = conv(last, 4 * last, 1, use_bias=False, rngs=rngs), norm(4 * last, rngs=rngs)
        self.dense, self.head, self.act = linear(4 * last, 16, rngs=rngs), linear(16, classes, rngs=rngs), act

    def __call__(self, x):
        x = self.act(self.norm1(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        x = mean(self.act(self.norm2(self.last(x))))
        return self.head(self.act(self.dense(x)))


def mobilenet():
    """The kinds of blocks of MobileNetV3-Small."""
    relu, hard = nnx.relu, nnx.hard_swish
    blocks = [(4, 8, 4, 3, 2, relu, nnx.hard_sigmoid), (4, 12, 8, 3, 2, relu), (8, 12, 8, 3, 1, relu)]
    return Mobile([*blocks, (8, 16, 8, 5, 1, hard, nnx.hard_sigmoid)], hard)


def efficientnet():
    """The kinds of blocks of EfficientNet-B0."""
    silu, gate = nnx.silu, nnx.sigmoid
    blocks = [(4, 4, 4, 3, 1, silu, gate), (4, 16, 8, 3, 2, silu, gate), (8, 32, 8, 3, 1, silu, gate)]
    return Mobile([*blocks, (8, 32, 8, 5, 2, silu, gate), (8, 32, 8, 5, 1, silu, gate)], silu)


def shuffle(x, groups):
    """Takes the features of all groups in turn."""
    return x.reshape(*x.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(x.shape)


class Unit(nnx.Module):
    """Grouped 1×1, shuffle, depthwise 3×3, grouped 1×1; with a stride beside a mean pooling."""

    def __init__(self, inputs, outputs, strides, groups=2, *, rngs):
        hidden, own = outputs // 2, outputs - inputs if strides == 2 else outputs
        self.first = conv(inputs, hidden, 1, feature_group_count=groups, use_bias=False, rngs=rngs)
        more = {"padding": 1, "feature_group_count": hidden, "use_bias": False}
        self.depthwise = conv(hidden, hidden, 3, strides, rngs=rngs, **more)
        self.second = conv(hidden, own, 1, feature_group_count=groups, use_bias=False, rngs=rngs)
        self.norm1, self.norm2, self.norm3 = (norm(n, rngs=rngs) for n in (hidden, hidden, own))
        self.pool, self.groups = Pool("mean", 3, 2, padding=1) if strides == 2 else None, groups

    def __call__(self, x):
        y = shuffle(nnx.relu(self.norm1(self.first(x))), self.groups)
        y = self.norm3(self.second(self.norm2(self.depthwise(y))))
        return nnx.relu(x + y if self.pool is None else jnp.concatenate([self.pool(x), y], -1))


class ShuffleNet(nnx.Module):
    """A 3×3 stem with stride 2, max pooling, two stages, the mean, a dense layer."""

    def __init__(self, width=8, classes=3):
        rngs = nnx.Rngs(0)
        self.stem, self.norm = conv(3, width, 3, 2, padding=1, use_bias=False, rngs=rngs), norm(width, rngs=rngs)
        self.pool = Pool("max", 3, 2, padding=1)
        sizes = [(width, 2 * width, 2), (2 * width, 2 * width, 1), (2 * width, 4 * width, 2), (4 * width, 4 * width, 1)]
        self.units = nnx.List([Unit(*size, rngs=rngs) for size in sizes])
        self.head = linear(4 * width, classes, rngs=rngs)

    def __call__(self, x):
        x = self.pool(nnx.relu(self.norm(self.stem(x))))
        for unit in self.units:
            x = unit(x)
        return self.head(mean(x))


#: 32×32 → 16 → 8 → 4 → 4 → 4.
MOBILENET = {
    **each("stem blocks.0.depthwise blocks.1.depthwise", "phase", "border"),
    **each("blocks.2.depthwise blocks.3.depthwise", "border"),
}
#: 32×32 → 16 → 16 → 8 → 8 → 4 → 4.
EFFICIENTNET = {
    **each("stem blocks.1.depthwise blocks.3.depthwise", "phase", "border"),
    **each("blocks.0.depthwise blocks.2.depthwise blocks.4.depthwise", "border"),
}
#: 32×32 → 16 → 8 → 4 → 4 → 2 → 2.
SHUFFLENET = {
    **each("stem pool units.0.depthwise units.0.pool units.2.depthwise units.2.pool", "phase", "border"),
    **each("units.1.depthwise units.3.depthwise", "border"),
}

IMAGE = randn((4, 32, 32, 3))
ENTRIES = [
    Entry("MobileNetV3", mobilenet, IMAGE, PLANE, MOBILENET),
    Entry("EfficientNet", efficientnet, IMAGE, PLANE, EFFICIENTNET),
    Entry("ShuffleNet", ShuffleNet, IMAGE, PLANE, SHUFFLENET),
]
