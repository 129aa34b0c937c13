"""ViT (Dosovitskiy et al., 2021) and MLP-Mixer (Tolstikhin et al., 2021)."""

import jax.numpy as jnp
from flax import nnx

from tests.audit.gallery.parts import (
    INVARIANT,
    MLP,
    PLANE,
    Encoder,
    Entry,
    Positions,
    conv,
    each,
    layer_norm,
    linear,
    mean,
)
from tests.helpers import randn


class ViT(nnx.Module):
    """Patches, a class token or none, learned positions, transformer blocks; the class token or the mean is read."""

    def __init__(self, token, width=8, heads=2, depth=2, places=16, classes=3):
        rngs = nnx.Rngs(0)
        self.patch = conv(3, width, 4, 4, padding=0, rngs=rngs)
        self.token = nnx.Param(randn((1, 1, width), 3)) if token else None
        self.positions = Positions(places + token, width)
        self.blocks = nnx.List([Encoder(width, heads, rngs=rngs) for _ in range(depth)])
        self.norm, self.head = layer_norm(width, rngs=rngs), linear(width, classes, rngs=rngs)

    def __call__(self, x):
        x = self.patch(x)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        if self.token is not None:
            token = jnp.broadcast_to(self.token[...], (x.shape[0], 1, x.shape[-1]))
            x = jnp.concatenate([token, x], 1)
        x = self.positions(x)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(mean(x) if self.token is None else x[:, 0])


class Mixing(nnx.Module):
    """An MLP over the places, then one over the features."""

    def __init__(self, places, features, *, rngs):
        self.norm1, self.norm2 = layer_norm(features, rngs=rngs), layer_norm(features, rngs=rngs)
        self.tokens = MLP(places, 2 * places, places, rngs=rngs)
        self.channels = MLP(features, 2 * features, features, rngs=rngs)

    def __call__(self, x):
        x = x + self.tokens(self.norm1(x).swapaxes(1, 2)).swapaxes(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nnx.Module):
    """Patches, mixing blocks, the mean, a dense layer."""

    def __init__(self, width=8, depth=2, places=16, classes=3):
        rngs = nnx.Rngs(0)
        self.patch = conv(3, width, 4, 4, padding=0, rngs=rngs)
        self.blocks = nnx.List([Mixing(places, width, rngs=rngs) for _ in range(depth)])
        self.norm, self.head = layer_norm(width, rngs=rngs), linear(width, classes, rngs=rngs)

    def __call__(self, x):
        x = self.patch(x)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        for block in self.blocks:
            x = block(x)
        return self.head(mean(self.norm(x)))


def positions(model, x):
    """The positions, on the 4×4 tokens behind a class token."""
    tokens = x.reshape(x.shape[0], 16, -1)
    token = jnp.zeros_like(tokens[:, :1])
    return model.positions(jnp.concatenate([token, tokens], 1))[:, 1:].reshape(x.shape)


def plain_positions(model, x):
    """The positions, on 4×4 tokens."""
    return model.positions(x.reshape(x.shape[0], 16, -1)).reshape(x.shape)


def mixing(number):
    """The MLP over 4×4 places of a block."""

    def tokens(model, x):
        flat = x.reshape(x.shape[0], 16, -1).swapaxes(1, 2)
        return model.blocks[number].tokens(flat).swapaxes(1, 2).reshape(x.shape)

    return tokens


#: 16×16 → 4×4 tokens. Attention sees a set of tokens. The class token stays where it is, and so does what is read from it.
VIT = {**each("patch", "phase"), **each("positions", "position")}
#: The two dense layers of a token MLP are one fault: between them nothing is left of the places.
MIXER = {**each("patch", "phase"), **each("blocks.0.tokens blocks.1.tokens", "dense")}

IMAGE = randn((4, 16, 16, 3))
ENTRIES = [
    Entry("ViT", lambda: ViT(1), IMAGE, PLANE, VIT, also={"positions": (positions, (4, 4, 4, 8), "position")}),
    Entry("ViT without class token", lambda: ViT(0), IMAGE, PLANE, VIT,
          also={"positions": (plain_positions, (4, 4, 4, 8), "position")}),
    Entry("ViT, told that classes stay", lambda: ViT(1), IMAGE, PLANE, VIT, INVARIANT,
          also={"positions": (positions, (4, 4, 4, 8), "position")}),
    Entry("MLP-Mixer", Mixer, IMAGE, PLANE, MIXER,
          also={f"blocks.{i}.tokens": (mixing(i), (4, 4, 4, 8), "dense") for i in range(2)}),
]  # fmt: skip
