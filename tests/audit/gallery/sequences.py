"""TCN (Bai et al., 2018), classifiers with GRU (Cho et al., 2014) and LSTM, GPT (Radford et al., 2018).

Causal layers read the sequence in order: a place sees earlier ones only, and there is none before the first. So a convolution
that is padded in front, and attention with a triangular mask, have the cause "order", as a recurrence has, and no "border" or
"position": no padding and no position that moves along would leave them causal.
"""

import jax.numpy as jnp
from flax import nnx

from tests.audit.gallery.parts import (
    DOUBLE,
    INVARIANT_LINE,
    LINE,
    MLP,
    Attention,
    Entry,
    Last,
    Positions,
    conv,
    each,
    layer_norm,
    linear,
    mean,
)
from tests.helpers import BIAS, KERNEL, randn


class Temporal(nnx.Module):
    """Two causal dilated convolutions and a shortcut."""

    def __init__(self, inputs, outputs, dilation, *, rngs):
        more = {"kernel_dilation": (dilation,), "d": 1, "rngs": rngs}
        self.conv1 = conv(inputs, outputs, 3, padding="CAUSAL", **more)
        self.conv2 = conv(outputs, outputs, 3, padding="CAUSAL", **more)
        self.short = conv(inputs, outputs, 1, d=1, rngs=rngs) if inputs != outputs else None

    def __call__(self, x):
        y = nnx.relu(self.conv2(nnx.relu(self.conv1(x))))
        return nnx.relu(y + (x if self.short is None else self.short(x)))


class TCN(nnx.Module):
    """Causal blocks with growing dilation; the last place is read."""

    def __init__(self, last, width=6, classes=3):
        rngs = nnx.Rngs(0)
        self.blocks = nnx.List([Temporal(3 if i == 0 else width, width, 2**i, rngs=rngs) for i in range(3)])
        self.last, self.head = Last() if last else None, linear(width, classes, rngs=rngs)

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(mean(x) if self.last is None else self.last(x))


class Recurrent(nnx.Module):
    """A recurrent layer over a sequence; its last state is read."""

    def __init__(self, cell, width=6, classes=3):
        rngs = nnx.Rngs(0)
        more = {"kernel_init": KERNEL, "recurrent_kernel_init": KERNEL, "bias_init": BIAS, **DOUBLE}
        self.rnn = nnx.RNN(cell(3, width, rngs=rngs, **more))
        self.head = linear(width, classes, rngs=rngs)

    def __call__(self, x):
        return self.head(self.rnn(x)[:, -1])


class Pooled(Recurrent):
    """The mean over all states is read."""

    def __call__(self, x):
        return self.head(mean(self.rnn(x)))


class GPT(nnx.Module):
    """Learned positions, attention to earlier places only, an MLP (Radford et al., 2018)."""

    def __init__(self, width=8, heads=2, places=16, outputs=3):
        rngs = nnx.Rngs(0)
        self.lift, self.positions = linear(3, width, rngs=rngs), Positions(places, width)
        self.norm1, self.attention = layer_norm(width, rngs=rngs), Attention(width, heads, rngs=rngs)
        self.norm2, self.mlp = layer_norm(width, rngs=rngs), MLP(width, 2 * width, width, rngs=rngs)
        self.head = linear(width, outputs, rngs=rngs)

    def __call__(self, x):
        x = self.positions(self.lift(x))
        earlier = jnp.where(jnp.tril(jnp.ones((x.shape[1], x.shape[1]))) > 0, 0.0, -1e9)
        x = x + self.attention(self.norm1(x), earlier[None, None])
        return self.head(x + self.mlp(self.norm2(x)))


def attend(model, x):
    """Attention to earlier places."""
    earlier = jnp.where(jnp.tril(jnp.ones((x.shape[1], x.shape[1]))) > 0, 0.0, -1e9)
    return model.attention(x, earlier[None, None])


def last(model, x):
    """The last state."""
    return model.rnn(x)[:, -1]


def states(model, x):
    """All states."""
    return model.rnn(x)


#: Causal convolutions see earlier places only. The place that is last is another one when the sequence is moved.
CONVS = "blocks.0.conv1 blocks.0.conv2 blocks.1.conv1 blocks.1.conv2 blocks.2.conv1 blocks.2.conv2"
CAUSAL = each(CONVS, "order")
TO_LAST = {**CAUSAL, **each("last", "position")}
#: The recurrence sees its places one after the other, from a state of zeros. That the last of them is read is the same fault.
ORDER = each("rnn", "order")

#: The mask says which places are earlier: attention is causal. Positions don't move along.
MASKED = {**each("positions", "position"), **each("attention", "order")}

SEQUENCE = randn((4, 16, 3))
ENTRIES = [
    Entry("TCN", lambda: TCN(True), SEQUENCE, LINE, TO_LAST),
    Entry("TCN, longer shifts", lambda: TCN(True), SEQUENCE, LINE, TO_LAST, {"elements": jnp.asarray([[1], [2], [9]])}),
    Entry("TCN, pooled", lambda: TCN(False), SEQUENCE, LINE, CAUSAL),
    Entry("GRU", lambda: Recurrent(nnx.GRUCell), SEQUENCE, LINE, ORDER, INVARIANT_LINE,
          also={"rnn": (last, (4, 16, 3), "order")}),
    Entry("GRU, pooled", lambda: Pooled(nnx.GRUCell), SEQUENCE, LINE, ORDER, also={"rnn": (states, (4, 16, 3), "order")}),
    Entry("GPT", GPT, SEQUENCE, LINE, MASKED, also={"attention": (attend, (4, 16, 8), "position")}),
    Entry("LSTM", lambda: Recurrent(nnx.OptimizedLSTMCell), SEQUENCE, LINE, ORDER, INVARIANT_LINE,
          also={"rnn": (last, (4, 16, 3), "order")}),
]  # fmt: skip
