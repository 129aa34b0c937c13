"""Mamba (Gu and Dao, 2023): a causal convolution and a selective scan, whose steps depend on the input."""

import jax
import jax.numpy as jnp
from flax import nnx

from tests.audit.gallery.parts import LINE, Entry, conv, each, layer_norm, linear, mean
from tests.helpers import randn


class SelectiveScan(nnx.Module):
    """h ← exp(Δ A) h + Δ B x, y = C h + D x, where Δ, B and C are made of x; place by place, from a state of zeros."""

    def __init__(self, width, states=3, *, rngs):
        self.decay, self.skip = nnx.Param(randn((width, states), 1)), nnx.Param(randn((width,), 2))
        self.step, self.enter, self.leave = (linear(width, n, rngs=rngs) for n in (width, states, states))

    def __call__(self, x):
        delta, b, c = nnx.softplus(self.step(x)), self.enter(x), self.leave(x)
        a = -jnp.exp(self.decay[...])

        def place(h, now):
            x, delta, b, c = now
            h = jnp.exp(delta[..., None] * a[None]) * h + (delta * x)[..., None] * b[:, None]
            return h, (h * c[:, None]).sum(-1)

        start = jnp.zeros((x.shape[0], *a.shape), x.dtype)
        _, y = jax.lax.scan(place, start, tuple(part.swapaxes(0, 1) for part in (x, delta, b, c)))
        return y.swapaxes(0, 1) + self.skip[...][None, None] * x


class Block(nnx.Module):
    """Dense, causal convolution of each feature, scan, gate, dense, beside a short cut."""

    def __init__(self, width, *, rngs):
        self.norm, self.enter = layer_norm(width, rngs=rngs), linear(width, 2 * width, rngs=rngs)
        self.conv = conv(width, width, 4, padding="CAUSAL", d=1, feature_group_count=width, rngs=rngs)
        self.scan, self.leave = SelectiveScan(width, rngs=rngs), linear(width, width, rngs=rngs)

    def __call__(self, x):
        y, gate = jnp.split(self.enter(self.norm(x)), 2, -1)
        return x + self.leave(self.scan(nnx.silu(self.conv(y))) * nnx.silu(gate))


class Mamba(nnx.Module):
    """Two blocks; the mean is read."""

    def __init__(self, width=6, classes=3):
        rngs = nnx.Rngs(0)
        self.lift = linear(3, width, rngs=rngs)
        self.blocks = nnx.List([Block(width, rngs=rngs) for _ in range(2)])
        self.norm, self.head = layer_norm(width, rngs=rngs), linear(width, classes, rngs=rngs)

    def __call__(self, x):
        x = self.lift(x)
        for block in self.blocks:
            x = block(x)
        return self.head(mean(self.norm(x)))


def scan(number):
    """The scan of a block."""
    return lambda model, x: model.blocks[number].scan(x)


#: A place sees earlier ones only, and there is none before the first: padding in front, and a state of zeros.
ORDER = each("blocks.0.conv blocks.0.scan blocks.1.conv blocks.1.scan", "order")
ENTRIES = [
    Entry("Mamba", Mamba, randn((4, 12, 3)), LINE, ORDER,
          also={f"blocks.{i}.scan": (scan(i), (4, 12, 6), "order") for i in range(2)}),
]  # fmt: skip
