"""Layers with random parameters in float64 of which the networks of the gallery are built, and the entries of its table."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import equijax as ej
from tests.helpers import BIAS, KERNEL, randn

DOUBLE = {"param_dtype": jnp.float64}
LINE, PLANE, SPACE = (ej.GridAction(ej.Translation(d)) for d in (1, 2, 3))
#: What a layer behind an unpadded window is called when it sees where the window ends; the cause is "border".
CROPPED = "cropped"
#: What attention within windows of 2×2 is called when it does not commute with shifts by whole windows ("position").
WINDOWS = "windows"
INVARIANT = {"out_action": ej.TrivialAction(PLANE.group)}
INVARIANT_LINE = {"out_action": ej.TrivialAction(LINE.group)}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network, its input, and what theory says of it.

    Attributes:
      name: a name.
      make: builds the model.
      x: the input.
      action: how the group moves it.
      expected: path of a module, or name of an operation → the kinds of its causes.
      options: further arguments of the audit.
      also: for the measurement by hand, what is no module of a watched class: name → what it computes (of the model and an
        input), the shape of its input, and what it is called when it does not commute with shifts; see ``test_by_hand.py``.
      slow: whether the audit takes more than a few seconds.
    """

    name: str
    make: Callable[[], nnx.Module]
    x: Any
    action: Any
    expected: Mapping[str, set[str]]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    also: Mapping[str, tuple[Callable[[Any, Any], Any], tuple[int, ...], str]] = dataclasses.field(default_factory=dict)
    slow: bool = False

    def audit(self, **more):
        """Returns the report on the model."""
        with jax.numpy_dtype_promotion("standard"):  # the norms of Flax need it in float64
            return ej.audit.explain(self.make(), self.x, in_action=self.action, **{**self.options, **more})


def each(paths, *kinds):
    """Expects the same causes of several modules; ``paths`` are separated by blanks."""
    return {path: set(kinds) for path in paths.split()}


def conv(inputs, outputs, k, strides=1, padding="SAME", *, d=2, rngs, **more):
    """A convolution; an integer pads as much on every side, with zeros."""
    padding = [(padding, padding)] * d if isinstance(padding, int) else padding
    given = {"kernel_init": KERNEL, "bias_init": BIAS, **DOUBLE, **more}
    return nnx.Conv(inputs, outputs, (k,) * d, strides=(strides,) * d, padding=padding, rngs=rngs, **given)


def transposed(inputs, outputs, k, strides, *, d=2, rngs):
    """A transposed convolution whose output is ``strides`` times as large as its input."""
    given = {"kernel_init": KERNEL, "bias_init": BIAS, **DOUBLE}
    return nnx.ConvTranspose(inputs, outputs, (k,) * d, strides=(strides,) * d, padding="SAME", rngs=rngs, **given)


def linear(inputs, outputs, *, rngs):
    """A dense layer."""
    return nnx.Linear(inputs, outputs, kernel_init=KERNEL, bias_init=BIAS, rngs=rngs, **DOUBLE)


def norm(features, *, rngs):
    """Batch norm that uses random running statistics."""
    layer = nnx.BatchNorm(features, use_running_average=True, scale_init=positive, bias_init=BIAS, rngs=rngs, **DOUBLE)
    layer.mean = nnx.BatchStat(0.3 * BIAS(rngs(), (features,), jnp.float64))
    layer.var = nnx.BatchStat(positive(rngs(), (features,), jnp.float64))
    return layer


def positive(key, shape, dtype):
    """Random numbers around 1."""
    return jnp.exp(0.2 * BIAS(key, shape, dtype))


def layer_norm(features, *, rngs):
    """Layer norm over the features."""
    return nnx.LayerNorm(features, scale_init=positive, bias_init=BIAS, rngs=rngs, **DOUBLE)


class Pool(nnx.Module):
    """Largest or mean value of a window; ``padding`` as for a convolution."""

    def __init__(self, kind, k, strides, padding="VALID", d=2):
        self.kind, self.window, self.strides = kind, (k,) * d, (strides,) * d
        self.padding = ((padding, padding),) * d if isinstance(padding, int) else padding

    def __call__(self, x):
        pool = {"max": nnx.max_pool, "mean": nnx.avg_pool}[self.kind]
        return pool(x, self.window, strides=self.strides, padding=self.padding)


class Positions(nnx.Module):
    """Adds a learned embedding of each place."""

    def __init__(self, *shape, seed=5):
        self.table = nnx.Param(0.5 * randn((1, *shape), seed))

    def __call__(self, x):
        return x + self.table[...]


class Sinusoids(nnx.Module):
    """Adds sines and cosines of the place (Vaswani et al., 2017)."""

    def __call__(self, x):
        places, features = x.shape[1:]
        rates = 10000.0 ** -(jnp.arange(features // 2) / (features // 2))
        angles = jnp.outer(jnp.arange(places), rates)
        return x + jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)[None]


class Last(nnx.Module):
    """The last place of a sequence."""

    def __call__(self, x):
        return x[:, -1]


class MLP(nnx.Module):
    """Two dense layers."""

    def __init__(self, inputs, hidden, outputs, *, rngs):
        self.first, self.second = linear(inputs, hidden, rngs=rngs), linear(hidden, outputs, rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.gelu(self.first(x)))


class Attention(nnx.Module):
    """Multi-head attention over the last axis but one (Vaswani et al., 2017)."""

    def __init__(self, features, heads, *, rngs):
        self.heads = heads
        self.query, self.key, self.value, self.out = (linear(features, features, rngs=rngs) for _ in range(4))

    def split(self, x):
        """Splits the features into heads."""
        return x.reshape(*x.shape[:-1], self.heads, -1)

    def __call__(self, x, bias=None):
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = jnp.einsum("...ihc,...jhc->...hij", q, k) / q.shape[-1] ** 0.5
        weights = nnx.softmax(scores if bias is None else scores + jnp.broadcast_to(bias, scores.shape))
        mixed = jnp.einsum("...hij,...jhc->...ihc", weights, v)
        return self.out(mixed.reshape(x.shape))


class Encoder(nnx.Module):
    """A transformer block with the norms in front (Xiong et al., 2020)."""

    def __init__(self, features, heads, *, rngs):
        self.norm1, self.attention = layer_norm(features, rngs=rngs), Attention(features, heads, rngs=rngs)
        self.norm2, self.mlp = layer_norm(features, rngs=rngs), MLP(features, 2 * features, features, rngs=rngs)

    def __call__(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def mean(x):
    """Mean over everything between the batch and the features."""
    return x.mean(tuple(range(1, x.ndim - 1)))


def flat(x):
    """Keeps the batch, and joins all other axes."""
    return x.reshape(x.shape[0], -1)
