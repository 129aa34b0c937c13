"""Encoders of sound: wav2vec 2.0 (Baevski et al., 2020), Whisper (Radford et al., 2023), AST on a line (Gong et al., 2021)."""

import jax.numpy as jnp
from flax import nnx

from tests.audit.gallery.parts import (
    CROPPED,
    DOUBLE,
    LINE,
    Encoder,
    Entry,
    Positions,
    Sinusoids,
    conv,
    each,
    layer_norm,
    linear,
    mean,
    positive,
)
from tests.helpers import BIAS, randn


class Features(nnx.Module):
    """Unpadded convolutions with strides; the first is normalised over time, for each feature."""

    def __init__(self, widths, strides, width, *, rngs):
        self.convs = nnx.List(
            [
                conv(1 if i == 0 else width, width, k, s, "VALID", d=1, rngs=rngs)
                for i, (k, s) in enumerate(zip(widths, strides, strict=True))
            ]
        )
        self.norm = nnx.GroupNorm(width, width, scale_init=positive, bias_init=BIAS, rngs=rngs, **DOUBLE)

    def __call__(self, x):
        for i, layer in enumerate(self.convs):
            x = layer(x)
            x = nnx.gelu(self.norm(x) if i == 0 else x)
        return x


class Wav2Vec(nnx.Module):
    """Features of the wave, a convolution as relative position, transformer blocks."""

    def __init__(self, pooled, width=8, heads=2, depth=1):
        rngs = nnx.Rngs(0)
        self.features = Features((10, 3, 2), (5, 2, 2), width, rngs=rngs)
        self.norm1, self.project = layer_norm(width, rngs=rngs), linear(width, width, rngs=rngs)
        self.positions = conv(width, width, 5, padding=2, d=1, feature_group_count=2, rngs=rngs)
        self.norm2 = layer_norm(width, rngs=rngs)
        self.blocks = nnx.List([Encoder(width, heads, rngs=rngs) for _ in range(depth)])
        self.pooled = pooled

    def __call__(self, x):
        x = self.project(self.norm1(self.features(x)))
        if self.pooled:
            return mean(x)
        x = self.norm2(x + nnx.gelu(self.positions(x)))
        for block in self.blocks:
            x = block(x)
        return x


class Whisper(nnx.Module):
    """Two convolutions of a spectrogram, the second with stride 2, sinusoids, transformer blocks."""

    def __init__(self, bins=4, width=8, heads=2, depth=2):
        rngs = nnx.Rngs(0)
        self.conv1 = conv(bins, width, 3, padding=1, d=1, rngs=rngs)
        self.conv2 = conv(width, width, 3, 2, padding=1, d=1, rngs=rngs)
        self.positions = Sinusoids()
        self.blocks = nnx.List([Encoder(width, heads, rngs=rngs) for _ in range(depth)])
        self.norm = layer_norm(width, rngs=rngs)

    def __call__(self, x):
        x = nnx.gelu(self.conv2(nnx.gelu(self.conv1(x))))
        x = self.positions(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Keyword(nnx.Module):
    """Patches of a spectrogram along time, a class token, learned positions, transformer blocks."""

    def __init__(self, bins=4, width=8, heads=2, places=8, classes=3):
        rngs = nnx.Rngs(0)
        self.patch = conv(bins, width, 2, 2, padding=0, d=1, rngs=rngs)
        self.token = nnx.Param(randn((1, 1, width), 3))
        self.positions = Positions(places + 1, width)
        self.block = Encoder(width, heads, rngs=rngs)
        self.norm, self.head = layer_norm(width, rngs=rngs), linear(width, classes, rngs=rngs)

    def __call__(self, x):
        x = self.patch(x)
        token = jnp.broadcast_to(self.token[...], (x.shape[0], 1, x.shape[-1]))
        x = self.block(self.positions(jnp.concatenate([token, x], 1)))
        return self.head(self.norm(x)[:, 0])


def normed(model, x):
    """The norm over time."""
    return model.features.norm(x)


def pooled(model, x):
    """The mean over time."""
    return mean(x)


def attention(model, x):
    """Attention over all of the time that is known."""
    return model.blocks[0].attention(x)


def places(model, x):
    """The positions behind a class token."""
    return model.positions(jnp.concatenate([jnp.zeros_like(x[:, :1]), x], 1))[:, 1:]


#: 200 → 39 → 19 → 9. Unpadded windows are exact where they are known, which is less than the wave: whatever sums over time
#: behind them sees where it ends. With the phases that is the norm, and the mean at the end.
FEATURES = each("features.convs.0 features.convs.1 features.convs.2", "phase")
POOLED = {**FEATURES, **each("features.norm reduce_sum", "border")}
#: Attention too sums over what is known; the convolution before it is zero-padded besides.
WAV2VEC = {**FEATURES, **each("features.norm positions blocks.0.attention", "border")}
#: 16 → 8.
WHISPER = {**each("conv1", "border"), **each("conv2", "phase", "border"), **each("positions", "position")}
#: 16 → 8. The class token stays where it is.
KEYWORD = {**each("patch", "phase"), **each("positions", "position")}

ENTRIES = [
    Entry("wav2vec features", lambda: Wav2Vec(True), randn((4, 200, 1)), LINE, POOLED,
          also={"features.norm": (normed, (4, 39, 8), CROPPED), "reduce_sum": (pooled, (4, 9, 8), CROPPED)}),
    Entry("wav2vec", lambda: Wav2Vec(False), randn((4, 200, 1)), LINE, WAV2VEC,
          also={"features.norm": (normed, (4, 39, 8), CROPPED), "blocks.0.attention": (attention, (4, 9, 8), CROPPED)}),
    Entry("Whisper", Whisper, randn((4, 16, 4)), LINE, WHISPER),
    Entry("AST", Keyword, randn((4, 16, 4)), LINE, KEYWORD, also={"positions": (places, (4, 8, 8), "position")}),
]  # fmt: skip
