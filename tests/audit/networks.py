"""Small parts of which the networks of the bench are built; float64, the same few shapes everywhere."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import equijax as ej
from tests.helpers import KERNEL, drawn, randn

DOUBLE = {"param_dtype": jnp.float64}
LINE, IMAGE, VOLUME, POINTS = (randn(shape) for shape in ((4, 12, 3), (4, 8, 8, 3), (2, 4, 4, 4, 3), (4, 6, 3)))
WIDE = randn((4, 12, 12, 3))

SHIFT1, SHIFT2, SHIFT3 = (ej.GridAction(ej.Translation(d)) for d in (1, 2, 3))
P4M, P4, P6 = (ej.GridAction(ej.wallpaper(name)) for name in ("p4m", "p4", "p6"))
MIRROR = ej.GridAction(ej.SpaceGroup(ej.Reflection(1)))
CUBE = ej.GridAction(ej.SpaceGroup(ej.Octahedral()))
SET = ej.SetAction(6)
TURNS = (jnp.zeros((2, 2), jnp.int32), jnp.asarray([1, 4]))


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, its input, and what the audit has to say.

    Attributes:
      name: a name.
      make: builds the model.
      x: the input.
      action: how the group moves it.
      expected: path of a module, or name of an operation → the kinds of its causes; empty for exact networks.
      options: further arguments of the audit.
      single: whether the one fault carries the whole error of elements that every layer knows.
    """

    name: str
    make: Callable[[], nnx.Module]
    x: Any
    action: Any
    expected: Mapping[str, set[str]] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    single: bool = False

    def audit(self, **more):
        """Returns the report on the model."""
        with jax.numpy_dtype_promotion("standard"):  # the norms of Flax need it in float64
            return ej.audit.explain(self.make(), self.x, in_action=self.action, **{**self.options, **more})


def rngs(seed=0):
    """Returns a source of keys."""
    return nnx.Rngs(seed)


def conv(inputs, outputs, *, k=3, d=2, padding="CIRCULAR", seed=0, **more):
    """A convolution of Flax with a bias."""
    given = {"kernel_init": KERNEL, "bias_init": functools.partial(drawn, scale=0.3), "rngs": rngs(seed), **DOUBLE, **more}
    return nnx.Conv(inputs, outputs, (k,) * d, padding=padding, **given)


def linear(inputs, outputs, seed=0):
    """A dense layer of Flax."""
    return nnx.Linear(inputs, outputs, kernel_init=KERNEL, rngs=rngs(seed), **DOUBLE)


class Chain(nnx.Module):
    """Modules and functions one after the other; a module is called by its name."""

    def __init__(self, *steps, **modules):
        self.order = tuple(step if isinstance(step, str) else ("", step)[1] for step in steps)
        for name, module in modules.items():
            setattr(self, name, module)

    def __call__(self, x):
        for step in self.order:
            x = getattr(self, step)(x) if isinstance(step, str) else step(x)
        return x


def mean(x):
    """Mean over everything between the batch and the features."""
    return x.mean(tuple(range(1, x.ndim - 1)))


class Embedding(nnx.Module):
    """Adds a learned map."""

    def __init__(self, shape, scale=1.0):
        self.map = nnx.Param(scale * randn(shape, 5))

    def __call__(self, x):
        return x + jnp.broadcast_to(self.map[...][None], x.shape)


class Residual(nnx.Module):
    """x + tanh(inner(x))."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, x):
        return x + jnp.tanh(self.inner(x))


class Remat(nnx.Module):
    """Rematerialises its submodule."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, x):
        return nnx.remat(lambda inner, x: inner(x))(self.inner, x)


class Twice(nnx.Module):
    """Calls one submodule twice, with a function in between."""

    def __init__(self, inner, between=jnp.tanh):
        self.inner, self.between = inner, between

    def __call__(self, x):
        return self.inner(self.between(self.inner(x)))


class Scanned(nnx.Module):
    """Three residual convolutions with stacked parameters, in a scan."""

    def __init__(self, padding="CIRCULAR"):
        @nnx.split_rngs(splits=3)
        @nnx.vmap(in_axes=0, out_axes=0)
        def make(keys):
            return Residual(nnx.Conv(4, 4, (3, 3), padding=padding, rngs=keys, **DOUBLE))

        self.layers = make(rngs())

    def __call__(self, x):
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def forward(x, layer):
            return layer(x)

        return forward(x, self.layers)


class UNet(nnx.Module):
    """One level down and up, with a skip connection."""

    def __init__(self, down="CIRCULAR"):
        self.stem, self.out = conv(3, 4), conv(8, 2, seed=3)
        self.down = conv(4, 4, k=2, strides=2, padding=down, seed=1)
        self.up = nnx.ConvTranspose(4, 4, (2, 2), strides=(2, 2), padding="CIRCULAR", rngs=rngs(2), **DOUBLE)

    def __call__(self, x):
        skip = jnp.tanh(self.stem(x))
        deep = self.up(jnp.tanh(self.down(skip)))
        return self.out(jnp.concatenate([skip, deep], -1))


class Attention(nnx.Module):
    """Self-attention over all places, with float64 throughout."""

    def __init__(self, features):
        self.query, self.key, self.value = (linear(features, features, seed) for seed in range(3))

    def __call__(self, x):
        flat = x.reshape(x.shape[0], -1, x.shape[-1])
        scores = jnp.einsum("bic,bjc->bij", self.query(flat), self.key(flat))
        return jnp.einsum("bij,bjc->bic", nnx.softmax(scores), self.value(flat)).reshape(x.shape)


class Mixer(nnx.Module):
    """A dense layer over the places."""

    def __init__(self, places):
        self.tokens = linear(places, places)

    def __call__(self, x):
        flat = x.reshape(x.shape[0], -1, x.shape[-1])
        return x + self.tokens(flat.transpose(0, 2, 1)).transpose(0, 2, 1).reshape(x.shape)


class Recurrent(nnx.Module):
    """A recurrent network along axis 1; returns the last state."""

    def __init__(self, features):
        self.cell = linear(features + 4, 4)

    def __call__(self, x):
        state = jnp.zeros((x.shape[0], 4), x.dtype)
        for t in range(x.shape[1]):
            state = jnp.tanh(self.cell(jnp.concatenate([x[:, t], state], -1)))
        return state


class Counting(nnx.Module):
    """Counts its calls."""

    def __init__(self):
        self.calls = nnx.Variable(jnp.zeros((), jnp.float64))

    def __call__(self, x):
        self.calls[...] = self.calls[...] + 1
        return x * 2


class MaskedMean(nnx.Module):
    """Mean over a set with a mask; divides by all points where it is broken."""

    def __init__(self, broken):
        self.first, self.broken = linear(3, 4), broken

    def __call__(self, x):
        values, mask = jnp.tanh(self.first(x["x"])), x["mask"][..., None].astype(x["x"].dtype)
        return values.mean(1) if self.broken else (values * mask).sum(1) / mask.sum(1)


@dataclasses.dataclass(frozen=True)
class MaskedSet(ej.Action):
    """Points and their mask, moved together."""

    @property
    def group(self):
        return SET.group

    def axes(self, ndim):
        raise NotImplementedError

    def __call__(self, g, x):
        return {"x": SET(g, x["x"]), "mask": SET(g, x["mask"][..., None])[..., 0]}


MASKED = {"x": POINTS, "mask": jnp.arange(6)[None] < jnp.asarray([4, 5, 2, 6])[:, None]}


def coordinates(x):
    """Appends two coordinate channels."""
    line = jnp.linspace(-1.0, 1.0, x.shape[1], dtype=x.dtype)
    pair = jnp.stack(jnp.meshgrid(line, line), -1)
    return jnp.concatenate([x, jnp.broadcast_to(pair[None], (*x.shape[:-1], 2))], -1)


def masked_border(x):
    """Multiplies by a mask that is 0 in one corner."""
    mask = jnp.ones(x.shape[1:3]).at[:3, :3].set(0.0)
    return x * jnp.broadcast_to(mask[None, :, :, None], x.shape)


def pool(kind, size=2, stride=2):
    """Functional pooling over squares."""
    window = (size,) * 2
    if kind == "avg":
        return lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, *window, 1), (1, stride, stride, 1), "VALID") / 4
    return lambda x: nnx.max_pool(x, window, strides=(stride,) * 2)
