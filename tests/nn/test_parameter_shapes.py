"""Parameters of another layer, and initialisers that return what they were not asked for, are errors."""

import jax.numpy as jnp
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import Irrep
from tests.helpers import KERNEL, check_message

P4, P4M = ej.wallpaper("p4"), ej.wallpaper("p4m")
PLANE = {name: Irrep(group.point_group, k) for name, group, k in (("p4", P4, 1), ("p4m", P4M, 4))}


def _conv(kind, group, *more, features=(2, 3), **fixed):
    return getattr(ej.nn, kind)(*features, 3, *more, group=group, kernel_init=KERNEL, rngs=nnx.Rngs(0), **fixed)


def _linear(into, out=None, features=(2, 3)):
    return ej.nn.EquivariantLinear(into, out or into, *features, kernel_init=KERNEL, rngs=nnx.Rngs(0))


PAIRS = {
    "GroupConv": lambda: (_conv("GroupConv", P4), _conv("GroupConv", P4M), (4, 4, 4, 2), (4, 4, 8, 2)),
    "LiftingConv": lambda: (_conv("LiftingConv", P4), _conv("LiftingConv", P4, features=(2, 4)), (4, 4, 2), (4, 4, 2)),
    "ProjectionConv": lambda: (
        _conv("ProjectionConv", P4),
        _conv("ProjectionConv", P4, features=(1, 3)),
        (4, 4, 4, 2),
        (4, 4, 4, 1),
    ),
    "Conv": lambda: (_conv("Conv", P4M), _conv("Conv", ej.wallpaper("pmm")), (4, 4, 2), (4, 4, 2)),
    "Conv of Flax's shape": lambda: (_conv("Conv", ej.Translation(2)), _conv("Conv", P4), (4, 4, 2), (4, 4, 2)),
    "vectors": lambda: (
        _conv("Conv", P4, in_fibre=PLANE["p4"], out_fibre=PLANE["p4"]),
        _conv("Conv", P4M, in_fibre=PLANE["p4m"], out_fibre=PLANE["p4m"]),
        (4, 4, 2, 2),
        (4, 4, 2, 2),
    ),
    "ConvTranspose": lambda: (_conv("ConvTranspose", P4), _conv("ConvTranspose", ej.wallpaper("p2")), (3, 3, 2), (3, 3, 2)),
    "EquivariantLinear": lambda: (_linear(ej.SetAction(4)), _linear(ej.TensorAction(2, 2)), (4, 2), (2, 2, 2)),
    "PermutationEquivariantLinear": lambda: (
        ej.nn.PermutationEquivariantLinear(1, 1, 2, 3, kernel_init=KERNEL, rngs=nnx.Rngs(0)),
        ej.nn.PermutationEquivariantLinear(2, 1, 2, 3, kernel_init=KERNEL, rngs=nnx.Rngs(0)),
        (4, 2),
        (4, 4, 2),
    ),
    "SetLinear": lambda: (
        ej.nn.SetLinear(2, 3, kernel_init=KERNEL, rngs=nnx.Rngs(0)),
        ej.nn.SetLinear(2, 4, kernel_init=KERNEL, rngs=nnx.Rngs(0)),
        (4, 2),
        (4, 2),
    ),
    "ExchangeableLinear": lambda: (
        ej.nn.ExchangeableLinear(2, 3, kernel_init=KERNEL, rngs=nnx.Rngs(0)),
        ej.nn.ExchangeableLinear(2, 4, kernel_init=KERNEL, rngs=nnx.Rngs(0)),
        (4, 4, 2),
        (4, 4, 2),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_state_of_another_layer(name):
    """In both directions; the message names both shapes."""
    first, second, *shapes = PAIRS[name]()
    states = [nnx.state(layer) for layer in (first, second)]
    for layer, other, shape in zip((first, second), states[::-1], shapes, strict=True):
        layer = nnx.clone(layer)
        mine = layer.kernel.shape
        nnx.update(layer, other)
        check_message(
            lambda layer=layer, shape=shape: layer(jnp.zeros(shape)), ValueError, [f"{mine}", f"{layer.kernel.shape}"]
        )


@pytest.mark.parametrize("name", PAIRS)
def test_a_bias_of_another_shape(name):
    layer, _, shape, _ = PAIRS[name]()
    if layer.bias is None:
        return
    mine = layer.bias.shape
    layer.bias = nnx.Param(jnp.zeros((7,)))
    check_message(lambda: layer(jnp.zeros(shape)), ValueError, ["`bias`", "(7,)", f"{mine}"])


MAKERS = {
    "Conv": lambda **o: ej.nn.Conv(2, 3, 3, group=P4, rngs=nnx.Rngs(0), **o),
    "Conv of Flax's shape": lambda **o: ej.nn.Conv(2, 3, 3, rngs=nnx.Rngs(0), **o),
    "EquivariantLinear": lambda **o: ej.nn.EquivariantLinear(ej.SetAction(4), ej.SetAction(4), 2, 3, rngs=nnx.Rngs(0), **o),
    "PermutationEquivariantLinear": lambda **o: ej.nn.PermutationEquivariantLinear(1, 1, 2, 3, rngs=nnx.Rngs(0), **o),
    "SetLinear": lambda **o: ej.nn.SetLinear(2, 3, rngs=nnx.Rngs(0), **o),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("init", ["kernel_init", "bias_init"])
@pytest.mark.parametrize("shape", [(), (1, 1, 1), (5,)], ids=str)
def test_an_initialiser_that_returns_another_shape(name, init, shape):
    wrong = lambda key, asked, dtype: jnp.ones(shape, dtype)  # noqa: E731
    check_message(lambda: MAKERS[name](**{init: wrong}), ValueError, [f"`{init}`", f"{shape}", "asked for"])
