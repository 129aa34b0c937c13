"""LeNet-5 (LeCun et al., 1998), GoogLeNet (Szegedy et al., 2015), blur pooling (Zhang, 2019), Focus (YOLOv5, 2020)."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests.audit.gallery.parts import CROPPED, INVARIANT, PLANE, Entry, Pool, conv, each, flat, linear, mean
from tests.helpers import randn


class LeNet(nnx.Module):
    """Unpadded 5×5 convolutions, mean pooling, flatten, three dense layers."""

    def __init__(self, classes=3):
        rngs = nnx.Rngs(0)
        self.conv1, self.conv2 = conv(1, 4, 5, padding="VALID", rngs=rngs), conv(4, 6, 5, padding="VALID", rngs=rngs)
        self.pool1, self.pool2 = Pool("mean", 2, 2), Pool("mean", 2, 2)
        self.dense1, self.dense2 = linear(6 * 25, 16, rngs=rngs), linear(16, 8, rngs=rngs)
        self.head = linear(8, classes, rngs=rngs)

    def __call__(self, x):
        x = self.pool1(jnp.tanh(self.conv1(x)))
        x = self.pool2(jnp.tanh(self.conv2(x)))
        return self.head(jnp.tanh(self.dense2(jnp.tanh(self.dense1(flat(x))))))


class Inception(nnx.Module):
    """1×1, 3×3, 5×5 and pooling side by side."""

    def __init__(self, inputs, width, *, rngs):
        self.one = conv(inputs, width, 1, rngs=rngs)
        self.reduce3, self.three = conv(inputs, width, 1, rngs=rngs), conv(width, width, 3, padding=1, rngs=rngs)
        self.reduce5, self.five = conv(inputs, width, 1, rngs=rngs), conv(width, width, 5, padding=2, rngs=rngs)
        self.pool, self.project = Pool("max", 3, 1, padding=1), conv(inputs, width, 1, rngs=rngs)

    def __call__(self, x):
        three, five = self.three(nnx.relu(self.reduce3(x))), self.five(nnx.relu(self.reduce5(x)))
        return nnx.relu(jnp.concatenate([self.one(x), three, five, self.project(self.pool(x))], -1))


class GoogLeNet(nnx.Module):
    """A stem, two inception blocks with pooling between them, the mean, a dense layer."""

    def __init__(self, width=2, classes=3):
        rngs = nnx.Rngs(0)
        self.stem, self.pool1 = conv(3, 4, 7, 2, padding=3, rngs=rngs), Pool("max", 3, 2, padding="SAME")
        self.block1, self.pool2 = Inception(4, width, rngs=rngs), Pool("max", 3, 2, padding="SAME")
        self.block2, self.head = Inception(4 * width, width, rngs=rngs), linear(4 * width, classes, rngs=rngs)

    def __call__(self, x):
        x = self.block1(self.pool1(nnx.relu(self.stem(x))))
        return self.head(mean(self.block2(self.pool2(x))))


class BlurPool(nnx.Module):
    """Reflects the border, convolves with a fixed 3×3 kernel with stride 2."""

    def __init__(self, features):
        line = np.array([1.0, 2.0, 1.0]) / 4
        kernel = jnp.asarray(np.tile((line[:, None] * line)[..., None, None], (1, 1, 1, features)))
        self.kernel = nnx.Variable(kernel)

    def __call__(self, x):
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, self.kernel[...], (2, 2), "VALID", dimension_numbers=numbers, feature_group_count=x.shape[-1]
        )


class AntiAliased(nnx.Module):
    """Convolution, max pooling without stride, blur pooling; twice; the mean, a dense layer."""

    def __init__(self, width=4, classes=3):
        rngs = nnx.Rngs(0)
        self.convs = nnx.List([conv(3 if i == 0 else width, width, 3, padding=1, rngs=rngs) for i in range(2)])
        self.pools = nnx.List([Pool("max", 2, 1, padding="SAME") for _ in range(2)])
        self.blurs = nnx.List([BlurPool(width) for _ in range(2)])
        self.head = linear(width, classes, rngs=rngs)

    def __call__(self, x):
        for layer, pool, blur in zip(self.convs, self.pools, self.blurs, strict=True):
            x = blur(pool(nnx.relu(layer(x))))
        return self.head(mean(x))


class Focus(nnx.Module):
    """Takes the four phases of the image as features; a convolution behind it."""

    def __init__(self, outputs, *, rngs):
        self.conv = conv(12, outputs, 3, padding=1, rngs=rngs)

    def gather(self, x):
        """The four phases."""
        return jnp.concatenate([x[:, ::2, ::2], x[:, 1::2, ::2], x[:, ::2, 1::2], x[:, 1::2, 1::2]], -1)

    def __call__(self, x):
        return self.conv(self.gather(x))


class YOLO(nnx.Module):
    """Focus, a strided convolution, the mean, a dense layer."""

    def __init__(self, width=4, classes=3):
        rngs = nnx.Rngs(0)
        self.focus, self.down = Focus(width, rngs=rngs), conv(width, width, 3, 2, padding=1, rngs=rngs)
        self.head = linear(width, classes, rngs=rngs)

    def __call__(self, x):
        return self.head(mean(nnx.silu(self.down(nnx.silu(self.focus(x))))))


#: 16×16 → 8×8 → 4×4; the pooling windows of the stem and between the blocks are padded at one side. Within a block the
#: pooling has no stride.
GOOGLENET = {
    **each("stem pool1 pool2", "phase", "border"),
    **each("block1.three block1.five block1.pool block2.three block2.five block2.pool", "border"),
}
#: Max pooling without stride is padded at one side. Reflection is no shift of a torus.
ANTIALIASED = {**each("convs.0 convs.1 pools.0 pools.1", "border"), **each("blurs.0 blurs.1", "phase", "border")}
#: The four phases change places when the image moves by a pixel.
FOCUS = {**each("slice", "phase"), **each("focus.conv", "border"), **each("down", "phase", "border")}


#: 32×32 → 28 → 14 → 10 → 5: unpadded windows leave less than the torus. A mean in place of the dense layer would still see
#: where that ends.
LENET = {**each("pool1 pool2", "phase"), **each("dense1", "dense", "border")}


def dense(model, x):
    """The first dense layer, on what is flattened for it."""
    return model.dense1(flat(x))


def pooled(model, x):
    """What would stand there instead."""
    return mean(x)


def phases(model, x):
    """The four phases of the image."""
    return model.focus.gather(x)


def blur(number):
    """A blur pooling."""
    return lambda model, x: model.blurs[number](x)


ENTRIES = [
    Entry("GoogLeNet", GoogLeNet, randn((4, 32, 32, 3)), PLANE, GOOGLENET),
    Entry("Blur pooling", AntiAliased, randn((4, 16, 16, 3)), PLANE, ANTIALIASED,
          also={f"blurs.{i}": (blur(i), (4, 16 // 2**i, 16 // 2**i, 4), "border") for i in range(2)}),
    Entry("Focus", YOLO, randn((4, 16, 16, 3)), PLANE, FOCUS, also={"slice": (phases, (4, 16, 16, 3), "border")}),
    Entry("LeNet", LeNet, randn((4, 32, 32, 1)), PLANE, LENET, INVARIANT,
          also={"dense1": (dense, (4, 5, 5, 6), "dense"), "dense1 (mended)": (pooled, (4, 5, 5, 6), CROPPED)}),
]  # fmt: skip
