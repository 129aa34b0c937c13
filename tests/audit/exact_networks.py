"""Exactly equivariant networks, none of which may be accused."""

import jax
import jax.numpy as jnp
from flax import nnx

import equijax as ej
from tests.audit.networks import (
    CUBE,
    DOUBLE,
    IMAGE,
    LINE,
    MASKED,
    P4,
    P4M,
    P6,
    POINTS,
    SET,
    SHIFT1,
    SHIFT2,
    SHIFT3,
    VOLUME,
    Attention,
    Case,
    Chain,
    MaskedMean,
    MaskedSet,
    Remat,
    Residual,
    Scanned,
    Twice,
    UNet,
    conv,
    linear,
    mean,
    rngs,
)
from tests.helpers import dna, randn

DNA, LETTERS = dna()


class DeepSet(nnx.Module):
    """Mean and maximum over a set, by hand."""

    def __init__(self):
        self.own, self.mean, self.max, self.head = (
            linear(i, o, s) for s, (i, o) in enumerate([(3, 4), (3, 4), (3, 4), (4, 2)])
        )

    def __call__(self, x):
        pooled = self.mean(x.mean(1, keepdims=True)) - self.max(x.max(1, keepdims=True))
        return self.head(jnp.tanh(self.own(x) + jnp.broadcast_to(pooled, (*x.shape[:-1], 4))).sum(1))


class HandLifting(nnx.Module):
    """Four turned copies of one kernel, stacked; the maximum over them."""

    def __init__(self):
        self.kernel = nnx.Param(randn((3, 3, 3, 4)))

    def __call__(self, x):
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")
        numbers = ("NHWC", "HWIO", "NHWC")
        turned = [jnp.rot90(self.kernel[...], r) for r in range(4)]
        fields = [jax.lax.conv_general_dilated(padded, k, (1, 1), "VALID", dimension_numbers=numbers) for k in turned]
        return mean(jnp.tanh(jnp.stack(fields, -2)).max(-2))


class NormGate(nnx.Module):
    """A field of gradients, scaled by a function of their length; squared lengths at the end."""

    def __call__(self, x):
        pair = jnp.stack([jnp.roll(x, -1, k) - jnp.roll(x, 1, k) for k in (1, 2)], -1)
        length = jnp.sqrt((pair**2).sum(-1, keepdims=True) + 0.1)
        gated = pair * jnp.broadcast_to(nnx.sigmoid(length), pair.shape)
        return mean((gated**2).sum(-1))


class Turned(nnx.Module):
    """The sum of all turned and mirrored copies of a lopsided function."""

    def __call__(self, x):
        copies = [jnp.rot90(y, r, (1, 2)) for y in (x, x[:, ::-1]) for r in range(4)]
        return jnp.tanh(jnp.stack(copies).mean((2, 3))).sum(0)[:, None]


class Squeeze(nnx.Module):
    """Squeeze and excite."""

    def __init__(self):
        self.gate = linear(4, 4)

    def __call__(self, x):
        gate = nnx.sigmoid(self.gate(mean(x)))
        return x * jnp.broadcast_to(gate[:, None, None, :], x.shape)


def group_cnn(action, seed=0):
    """Lifting, normalisation, a group convolution, a 1×1 dense layer, pooling over the fibre and over the grid."""
    options = {"group": action.group, "padding": "CIRCULAR", **DOUBLE}
    return Chain(
        "lift", "norm", jnp.tanh, "group", jnp.tanh, "mix", "pool", mean, "head",
        lift=ej.nn.LiftingConv(3, 4, (3, 3), rngs=rngs(seed), **options), norm=nnx.LayerNorm(4, rngs=rngs(), **DOUBLE),
        group=ej.nn.GroupConv(4, 4, (3, 3), rngs=rngs(1), **options), mix=linear(4, 4),
        pool=ej.nn.FibrePool(group=action.group), head=linear(4, 2),
    )  # fmt: skip


def sequential():
    """Our own chain of layers."""
    options = {"group": P4M.group, "padding": "CIRCULAR", **DOUBLE}
    return ej.nn.Sequential(
        ej.nn.LiftingConv(3, 4, (3, 3), rngs=rngs(), **options), nnx.relu,
        ej.nn.GroupConv(4, 2, (2, 2), strides=2, rngs=rngs(1), **options), ej.nn.GlobalPool(group=P4M.group),
    )  # fmt: skip


def circular(*steps, **modules):
    """A circular stem, steps, the mean."""
    return lambda: Chain("stem", jnp.tanh, *steps, mean, stem=conv(3, 4), **{k: v() for k, v in modules.items()})


def fourier(x):
    """A circular filter by the Fourier transform."""
    spectrum = jnp.fft.fft2(x, axes=(1, 2)) * jnp.exp(-jnp.arange(8.0))[None, :, None, None].astype(complex)
    return jnp.tanh(jnp.fft.ifft2(spectrum, axes=(1, 2)).real)


def there_and_back(x):
    """Space to depth, a function, depth to space."""
    parts = x.reshape(4, 4, 2, 4, 2, 4).transpose(0, 1, 3, 2, 4, 5).reshape(4, 4, 4, 16)
    return jnp.tanh(parts).reshape(4, 4, 4, 2, 2, 4).transpose(0, 1, 3, 2, 4, 5).reshape(4, 8, 8, 4)


EVEN = {"elements": jnp.asarray([[2, 0], [0, 4]])}

EXACT = [
    Case("circular CNN", circular("more", jnp.tanh, more=lambda: conv(4, 4, seed=1)), IMAGE, SHIFT2),
    Case("ResNet", circular("one", "two", one=lambda: Residual(conv(4, 4)), two=lambda: Residual(conv(4, 4, seed=2))), IMAGE, SHIFT2),
    Case("U-Net with shifts that the stride divides", UNet, IMAGE, SHIFT2, {}, EVEN),
    Case("dense output", lambda: Chain("stem", jnp.tanh, stem=conv(3, 2)), IMAGE, SHIFT2, {}, {"out_action": SHIFT2}),
    Case("p4", lambda: group_cnn(P4), IMAGE, P4),
    Case("p4m", lambda: group_cnn(P4M), IMAGE, P4M),
    Case("p6", lambda: group_cnn(P6), IMAGE, P6),
    Case("p4m audited for p4", lambda: group_cnn(P4M), IMAGE, P4),
    Case("p4m audited for shifts", lambda: group_cnn(P4M), IMAGE, SHIFT2),
    Case("p4m in a chain, stride 2", sequential, IMAGE, P4M,
         {}, {"elements": (jnp.asarray([[2, 0], [0, 0]]), jnp.asarray([0, 1]))}),
    Case("isotropic", lambda: Chain("stem", jnp.tanh, mean, stem=ej.nn.Conv(3, 4, (3, 3), group=P4M.group, padding="CIRCULAR",
         rngs=rngs(), **DOUBLE)), IMAGE, P4M),
    Case("zero padding under turns", lambda: Chain("stem", jnp.tanh, mean, stem=ej.nn.Conv(3, 4, (3, 3), group=P4M.group,
         rngs=rngs(), **DOUBLE)), IMAGE, ej.GridAction(P4M.group, boundary="zero")),
    Case("hand-written lifting", HandLifting, IMAGE, P4),
    Case("norm gate", NormGate, IMAGE, P4M),
    Case("DeepSets", DeepSet, POINTS, SET),
    Case("masked mean", lambda: MaskedMean(False), MASKED, MaskedSet()),
    Case("attention on a set", lambda: Chain("stem", "attention", mean, stem=linear(3, 4), attention=Attention(4)), POINTS, SET),
    Case("sorted points", lambda: Chain("stem", lambda x: jnp.sort(x, 1).reshape(4, -1), "head", stem=linear(3, 4),
         head=linear(24, 2)), POINTS, SET),
    Case("attention on an image", circular("attention", attention=lambda: Attention(4)), IMAGE, SHIFT2),
    Case("squeeze and excite", circular("squeeze", squeeze=Squeeze), IMAGE, SHIFT2),
    Case("depthwise", circular("deep", jnp.tanh, deep=lambda: conv(4, 4, feature_group_count=4)), IMAGE, SHIFT2),
    Case("remat", circular("remat", remat=lambda: Remat(conv(4, 4))), IMAGE, SHIFT2),
    Case("scan", circular("scan", scan=Scanned), IMAGE, SHIFT2),
    Case("one module twice", circular("twice", twice=lambda: Twice(conv(4, 4))), IMAGE, SHIFT2),
    Case("layer and group norms", circular("layer", "group", jnp.tanh, layer=lambda: nnx.LayerNorm(4, rngs=rngs(), **DOUBLE),
         group=lambda: nnx.GroupNorm(4, 2, rngs=rngs(), **DOUBLE)), IMAGE, SHIFT2),
    Case("space to depth and back", circular(there_and_back), IMAGE, SHIFT2),
    Case("Fourier filter", lambda: Chain("stem", fourier, mean, stem=conv(3, 4)), IMAGE, SHIFT2, {},
         {"out_action": ej.TrivialAction(SHIFT2.group)}),
    Case("global maximum", lambda: Chain("stem", lambda x: x.max((1, 2)), stem=conv(3, 4)), IMAGE, SHIFT2),
    Case("unpadded, interior", lambda: Chain("one", jnp.tanh, "two", one=conv(3, 4, padding="VALID"),
         two=conv(4, 2, padding="VALID", seed=1)), IMAGE, SHIFT2),
    Case("turned copies", lambda: Chain("all", mean, all=Turned()), IMAGE, P4M),
    Case("embedded classes", lambda: Chain("stem", lambda x: jnp.argmax(x, -1), "table", mean, stem=conv(3, 4),
         table=nnx.Embed(4, 3, rngs=rngs(), **DOUBLE)), IMAGE, SHIFT2),
    Case("nearest upsampling", lambda: Chain("stem", lambda x: jax.image.resize(x, (4, 16, 16, 4), "nearest"), "more",
         mean, stem=conv(3, 4), more=conv(4, 4)), IMAGE, SHIFT2),
    Case("on a line", lambda: Chain("stem", jnp.tanh, "more", mean, stem=conv(3, 4, d=1), more=conv(4, 4, k=2, d=1)), LINE, SHIFT1),
    Case("strands of DNA", lambda: Chain("stem", jnp.tanh, "pool", mean, stem=ej.nn.Conv(1, 4, (3,), group=DNA, in_fibre=LETTERS,
         out_fibre=ej.reps.Regular(DNA.point_group), padding="CIRCULAR", rngs=rngs(), **DOUBLE),
         pool=ej.nn.FibrePool(group=DNA)), randn((4, 12, 4, 1)), ej.GridAction(DNA, LETTERS)),
    Case("in a volume", lambda: Chain("stem", jnp.tanh, mean, stem=conv(3, 4, d=3)), VOLUME, SHIFT3),
    Case("the cube", lambda: Chain("stem", jnp.tanh, mean, stem=ej.nn.Conv(3, 4, (3, 3, 3), group=CUBE.group,
         padding="CIRCULAR", rngs=rngs(), **DOUBLE)), VOLUME, CUBE),
]  # fmt: skip
