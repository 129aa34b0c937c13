"""Parameters of another layer, and initialisers that return what they were not asked for, are errors."""

import jax.numpy as jnp
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import Irrep, Regular
from tests.helpers import KERNEL, check_message
from tests.nn.graphs.cases import CASES

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


C4 = Regular(ej.Cyclic(4))
TWO = C4 + ej.reps.Irrep(ej.Cyclic(4), 1)  # two blocks
# how each layer is made, the shape of its input, and the arguments that are initialisers
OTHERS = {
    "Bilinear": (lambda **o: ej.nn.Bilinear(2, 3, C4, **o), (4, 2), ("kernel_init",)),
    "Bilinear of two blocks": (lambda **o: ej.nn.Bilinear(2, 3, TWO, **o), (6, 2), ("kernel_init",)),
    "NormNonlinearity": (lambda **o: ej.nn.NormNonlinearity(2, C4, **o), (4, 2), ("bias_init",)),
    "FieldLayerNorm": (lambda **o: ej.nn.FieldLayerNorm(2, TWO, **o), (6, 2), ("bias_init", "scale_init")),
    "FieldRMSNorm": (lambda **o: ej.nn.FieldRMSNorm(2, TWO, **o), (6, 2), ("scale_init",)),
    "FieldGroupNorm": (lambda **o: ej.nn.FieldGroupNorm(2, 1, C4, **o), (4, 2), ("bias_init", "scale_init")),
    "FieldBatchNorm": (lambda **o: ej.nn.FieldBatchNorm(2, TWO, **o), (3, 6, 2), ("bias_init", "scale_init")),
    "FieldBatchNorm stored": (
        lambda **o: ej.nn.FieldBatchNorm(2, C4, use_running_average=True, **o),
        (3, 4, 2),
        ("bias_init", "scale_init"),
    ),
    "EMLPBlock": (lambda **o: ej.nn.EMLPBlock(2, 3, C4, C4, **o), (4, 2), ("kernel_init", "bias_init")),
    "GroupNorm": (lambda **o: ej.nn.GroupNorm(2, 1, group=P4, **o), (5, 5, 4, 2), ()),
    "BatchNorm": (lambda **o: ej.nn.BatchNorm(2, group=P4, **o), (5, 5, 4, 2), ("bias_init", "scale_init")),
    "FilteredActivation": (lambda rngs: ej.nn.FilteredActivation(2, 2), (4, 4, 2), ()),
    "PhaseScore": (lambda rngs: ej.nn.PhaseScore(2, 3, (3,), rngs=rngs), (4, 2), ()),
    "MatrixProductBlock": (lambda **o: ej.nn.MatrixProductBlock(2, 3, **o), (4, 4, 2), ("kernel_init", "bias_init")),
    "SetAttentionBlock": (lambda **o: ej.nn.SetAttentionBlock(4, 2, **o), (3, 4), ("kernel_init", "bias_init")),
    "InducedSetAttentionBlock": (
        lambda **o: ej.nn.InducedSetAttentionBlock(4, 2, 2, **o),
        (3, 4),
        ("kernel_init", "bias_init", "seed_init"),
    ),
    "AttentionPool": (lambda **o: ej.nn.AttentionPool(4, 2, 2, **o), (3, 4), ("kernel_init", "bias_init", "seed_init")),
    "ConvTranspose": (
        lambda **o: ej.nn.ConvTranspose(2, 3, 3, group=P4, **o),
        (3, 3, 2),
        ("kernel_init", "bias_init"),
    ),
    "DepthwiseConv": (lambda **o: ej.nn.DepthwiseConv(2, 3, group=P4, **o), (3, 3, 4, 2), ("kernel_init", "bias_init")),
    "SeparableConv": (lambda **o: ej.nn.SeparableConv(2, 3, 3, group=P4, **o), (3, 3, 4, 2), ("kernel_init", "bias_init")),
    "SetConv": (lambda **o: ej.nn.SetConv(2, 3, 3, group=P4, **o), (4, 3, 3, 2), ("kernel_init", "bias_init")),
}
WITHOUT_OWN = ("MessagePassing", "EdgeConv", "MapNodes", "PairNorm", "GraphPool", "SignNet", "Sequential")
GRAPHS = {case.name: case for case in CASES if not case.name.startswith(WITHOUT_OWN)}


def _inputs(name):
    return GRAPHS[name].graph() if name in GRAPHS else jnp.zeros(OTHERS[name][1], jnp.float32)


def _build(name, **more):
    build = GRAPHS[name].build if name in GRAPHS else OTHERS[name][0]
    return build(rngs=nnx.Rngs(0), **({"param_dtype": jnp.float64} if name in GRAPHS else {}), **more)


def _own(layer):
    """The parameters and averages of a layer, without those of the networks of Flax that users hand it."""
    state = nnx.to_flat_state(nnx.state(layer, nnx.Any(nnx.Param, nnx.BatchStat)))
    found = []
    for path, variable in state:
        owner = layer
        for key in path[:-1]:
            owner = owner[key] if isinstance(key, int) else getattr(owner, key)
        if type(owner) is not nnx.Linear:
            found.append((path, variable))
    return found


@pytest.mark.parametrize("name", [*OTHERS, *GRAPHS])
def test_every_parameter_of_another_shape(name):
    """Also shapes that would be spread over what is asked for: the message names the parameter and both shapes."""
    x = _inputs(name)
    found = _own(_build(name))
    assert found
    for path, variable in found:
        mine = variable.shape
        for wrong in {(1, *mine), mine[:-1] + (1,) * bool(mine), (*mine[:-1], 7)} - {mine}:
            layer = _build(name)
            nnx.update(layer, nnx.from_flat_state({path: type(variable)(jnp.zeros(wrong, variable.dtype))}))
            call = lambda layer=layer: nnx.eval_shape(lambda layer, x: layer(x), layer, x)  # noqa: E731
            check_message(call, ValueError, [f"`{path[-1]}`", f"{mine}", f"{wrong}", "build the layer"])


INITS = [(name, init) for name in OTHERS for init in OTHERS[name][2]]
INITS += [
    (name, init)
    for name in GRAPHS
    if not name.startswith(("GIN", "GraphNorm", "GraphLayerNorm"))
    for init in ("kernel_init", "bias_init", *(("attention_init",) if name.startswith("GAT") else ()))
]


@pytest.mark.parametrize(("name", "init"), INITS)
def test_an_initialiser_of_any_layer_that_returns_another_shape(name, init):
    for shape in ((), (1, 1, 1), (5,)):
        wrong = lambda key, asked, dtype, shape=shape: jnp.ones(shape, dtype)  # noqa: E731
        check_message(lambda wrong=wrong: _build(name, **{init: wrong}), ValueError, [f"`{init}`", f"{shape}", "asked for"])


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
