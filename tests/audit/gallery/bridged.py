"""Networks of Linen in the wrapper of Flax, as the whole network and as a part of one of NNX."""

import flax.linen
import jax.numpy as jnp
from flax import nnx

from tests.audit.gallery.parts import PLANE, Entry, each
from tests.helpers import BIAS, KERNEL, randn

DOUBLE = {"param_dtype": jnp.float64, "kernel_init": KERNEL, "bias_init": BIAS}
IMAGE = randn((4, 16, 16, 3))


def conv(features, k, strides=1, **more):
    """A convolution that pads with zeros."""
    return flax.linen.Conv(features, (k, k), strides, padding=k // 2, **DOUBLE, **more)


class Plain(flax.linen.Module):
    """VGG (Simonyan and Zisserman, 2015): convolutions and pooling, a global mean."""

    @flax.linen.compact
    def __call__(self, x):
        x = flax.linen.relu(conv(4, 3, name="conv1")(x))
        x = flax.linen.max_pool(x, (2, 2), strides=(2, 2))
        x = flax.linen.relu(conv(8, 3, name="conv2")(x))
        return flax.linen.Dense(3, **DOUBLE, name="head")(x.mean((1, 2)))


class Block(flax.linen.Module):
    """Two 3×3 convolutions beside a short cut."""

    features: int
    strides: int

    @flax.linen.compact
    def __call__(self, x):
        y = flax.linen.relu(conv(self.features, 3, self.strides, name="conv1")(x))
        y = conv(self.features, 3, name="conv2")(y)
        short = x if self.strides == 1 else conv(self.features, 1, self.strides, name="short")(x)
        return flax.linen.relu(y + short)


class Residual(flax.linen.Module):
    """ResNet (He et al., 2016)."""

    @flax.linen.compact
    def __call__(self, x):
        x = flax.linen.relu(conv(4, 3, name="stem")(x))
        x = Block(8, 2, name="block2")(Block(4, 1, name="block1")(x))
        return flax.linen.Dense(3, **DOUBLE, name="head")(x.mean((1, 2)))


class Patches(flax.linen.Module):
    """ViT (Dosovitskiy et al., 2021) with one block, whose mean is read."""

    @flax.linen.compact
    def __call__(self, x):
        x = flax.linen.Conv(8, (4, 4), 4, padding="VALID", **DOUBLE, name="patch")(x)
        x = x.reshape(x.shape[0], -1, 8)
        x = x + self.param("positions", lambda key: 0.5 * randn((1, 16, 8), 5))
        x = x + flax.linen.MultiHeadDotProductAttention(2, **DOUBLE, name="attention")(x, x)
        return flax.linen.Dense(3, **DOUBLE, name="head")(x.mean(1))


class Holder(nnx.Module):
    """A network of Linen inside one of NNX."""

    def __init__(self, network):
        self.inner = bridged(network)
        self.out = nnx.Linear(3, 2, param_dtype=jnp.float64, rngs=nnx.Rngs(1))

    def __call__(self, x):
        return self.out(jnp.tanh(self.inner(x)))


def bridged(network):
    """Returns a network of Linen in the wrapper, with parameters."""
    return nnx.bridge.ToNNX(network(), rngs=nnx.Rngs(0)).lazy_init(IMAGE)


def of(path, strides=1, padding=None):
    """Returns a convolution of the network, run by itself with the network's parameters."""

    def alone(model, x):
        own = getattr(model, "inner", model)
        for name in path.split("."):
            own = own[name] if isinstance(own, dict) else getattr(own, name)
        kernel, bias = (own[name] if isinstance(own, dict) else getattr(own, name) for name in ("kernel", "bias"))
        size = kernel[...].shape[:2]
        layer = flax.linen.Conv(bias[...].shape[0], size, strides, padding=size[0] // 2 if padding is None else padding)
        return layer.apply({"params": {"kernel": kernel[...], "bias": bias[...]}}, x)

    return alone


def pool(model, x):
    """The pooling."""
    return flax.linen.max_pool(x, (2, 2), strides=(2, 2))


def add_positions(model, x):
    """The positions, on 4×4 tokens."""
    own = getattr(model, "inner", model)
    return (x.reshape(x.shape[0], 16, 8) + own.positions[...]).reshape(x.shape)


#: 16×16 → 8×8, and to 4×4 patches. Every 3×3 window is padded; attention sees a set of tokens.
PLAIN = {**each("conv1 conv2", "border"), **each("reduce_window_max", "phase")}
RESIDUAL = {
    **each("stem block1.conv1 block1.conv2 block2.conv2", "border"),
    **each("block2.conv1", "border", "phase"),
    **each("block2.short", "phase"),
}
PATCHES = {**each("patch", "phase"), **each("add", "position")}
FOUR = (4, 16, 16, 4)
NETWORKS = {
    "VGG": (Plain, PLAIN, {"conv1": (of("conv1"), IMAGE.shape, "border"), "conv2": (of("conv2"), (4, 8, 8, 4), "border"),
                           "reduce_window_max": (pool, FOUR, "border")}),
    "ResNet": (Residual, RESIDUAL, {
        "stem": (of("stem"), IMAGE.shape, "border"), "block1.conv1": (of("block1.conv1"), FOUR, "border"),
        "block1.conv2": (of("block1.conv2"), FOUR, "border"), "block2.conv1": (of("block2.conv1", 2), FOUR, "border"),
        "block2.conv2": (of("block2.conv2"), (4, 8, 8, 8), "border"), "block2.short": (of("block2.short", 2), FOUR, "border"),
    }),
    "ViT": (Patches, PATCHES, {"patch": (of("patch", 4, "VALID"), IMAGE.shape, "border"),
                               "add": (add_positions, (4, 4, 4, 8), "position")}),
}  # fmt: skip


def nested(found):
    """Puts the name of the wrapper before the names of modules."""
    return {name if name in ("reduce_window_max", "add") else f"inner.{name}": what for name, what in found.items()}


ENTRIES = [
    Entry(f"{name} of Linen, {where}", (lambda n=network: bridged(n)) if where == "the root" else (lambda n=network: Holder(n)),
          IMAGE, PLANE, expected if where == "the root" else nested(expected), also=also if where == "the root" else nested(also))
    for name, (network, expected, also) in NETWORKS.items()
    for where in ("the root", "nested")
]  # fmt: skip
