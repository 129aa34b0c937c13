"""Wrong uses of layers: each is a ValueError or TypeError that names the argument, the value and the remedy."""

import jax.numpy as jnp
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import Irrep, PermutationRepresentation, Quotient, Regular, Scalar
from tests.helpers import options

P4, P4M, P6 = ej.wallpaper("p4"), ej.wallpaper("p4m"), ej.wallpaper("p6")
D4, C4 = ej.Dihedral(4), ej.Cyclic(4)
LINE = ej.SpaceGroup(ej.Reflection(1))


def conv(kind="GroupConv", features=(2, 3), kernel=3, strides=1, group=P4, **more):
    return getattr(ej.nn, kind)(*features, kernel, strides, **options(group, **more))


def call(layer, *shape):
    return layer(jnp.zeros(shape))


WRONG = {
    # the group
    "point group with a window": (
        lambda: conv(group=D4, kernel=(3, 3)),
        ValueError,
        ["`group`", "Dihedral(4)", "SpaceGroup("],
    ),
    "finite group with a window": (
        lambda: conv(group=ej.FiniteGroup.from_permutations([[1, 0]]), kernel=(3,)),
        ValueError,
        ["`group`", "kernel_size=()"],
    ),
    "group is a string": (lambda: conv(group="p4m"), TypeError, ["`group`", "'p4m'", "wallpaper"]),
    "group is a permutation group": (lambda: conv(group=ej.Permutation(3)), TypeError, ["`group`", "Permutation(3)"]),
    "no group and no window": (lambda: conv(group=None, kernel=()), ValueError, ["`group`", "Give a group"]),
    "fifths of a turn on a grid": (
        lambda: ej.SpaceGroup(ej.Cyclic(5)),
        ValueError,
        ["Cyclic(5)", "not integer", "Cyclic(4)"],
    ),
    "sixths of a turn on a square grid": (
        lambda: ej.SpaceGroup(ej.Cyclic(6)),
        ValueError,
        ["Cyclic(6)", "in_basis(HEXAGONAL)"],
    ),
    "space group of a space group": (lambda: ej.SpaceGroup(P4), TypeError, ["`point_group`"]),
    "unequal torus": (lambda: ej.SpaceGroup(C4, period=(4, 6)), ValueError, ["`period`", "(4, 6)", "equally long"]),
    "unknown wallpaper group": (lambda: ej.wallpaper("p5"), ValueError, ["`name`", "'p5'", "p4m"]),
    "glide reflections": (lambda: ej.wallpaper("p4g"), ValueError, ["'p4g'", "glide"]),
    "generators that don't close": (
        lambda: ej.PointGroup.from_matrices([[[jnp.cos(1.0), -jnp.sin(1.0)], [jnp.sin(1.0), jnp.cos(1.0)]]]),
        ValueError,
        ["`generators`", "1024", "max_order"],
    ),
    "stretching generator": (
        lambda: ej.PointGroup.from_matrices([[[2, 0], [0, 1]]]),
        ValueError,
        ["`generators`", "determinant"],
    ),
    # the window
    "non-square kernel under a quarter turn": (
        lambda: conv(kernel=(3, 5)),
        ValueError,
        ["`kernel_size`", "(3, 5)", "(5, 5)"],
    ),
    "even kernel on a hexagonal lattice": (
        lambda: conv(kernel=(2, 2), group=P6),
        ValueError,
        ["`kernel_size`", "(2, 2)", "1, 3, 5"],
    ),
    "wrong number of kernel sizes": (
        lambda: conv(kernel=(3, 3, 3)),
        ValueError,
        ["`kernel_size`", "3 entries", "2 grid axes"],
    ),
    "no kernel size": (lambda: conv(kernel=None), TypeError, ["`kernel_size` is None"]),
    "no window shape": (lambda: ej.nn.MaxPool(None, group=P4), TypeError, ["`window_shape` is None"]),  # pyright: ignore
    "window of words": (lambda: ej.nn.MaxPool("ab", group=P4), TypeError, ["`window_shape`", "'ab'"]),  # pyright: ignore
    "uneven window": (lambda: ej.nn.AvgPool((3, 5), group=P4), ValueError, ["`window_shape`", "(3, 5)", "(5, 5)"]),
    "strides of a blur": (lambda: ej.nn.BlurPool(3, (0, 2), group=P4), ValueError, ["`strides`", "(0, 2)"]),
    "a list as mode": (
        lambda: ej.nn.coset_pool(jnp.ones((4, 1)), C4.subgroup([2]), ["max"]),
        ValueError,
        ["`mode`", "['max']"],
    ),  # pyright: ignore
    "kernel of size zero": (lambda: conv(kernel=0), ValueError, ["`kernel_size`", "positive"]),
    "negative kernel": (lambda: conv(kernel=(3, -3)), ValueError, ["`kernel_size`", "(3, -3)"]),
    "strides of the wrong length": (lambda: conv(strides=(2, 2, 2)), ValueError, ["`strides`", "(2, 2, 2)", "2 grid axes"]),
    "stride zero": (lambda: conv(strides=0), ValueError, ["`strides`", "positive"]),
    "unequal dilation": (lambda: conv(kernel_dilation=(1, 2)), ValueError, ["`kernel_dilation`", "(1, 2)", "mixes axes"]),
    "unknown padding": (lambda: conv(padding="WRAP"), ValueError, ["`padding`", "'WRAP'", "CIRCULAR"]),
    "negative padding": (lambda: conv(padding=-1), ValueError, ["`padding`", "-1"]),
    "causal padding in two dimensions": (lambda: conv(padding="CAUSAL"), ValueError, ["`padding`", "one grid axis"]),
    "reflect padding of a transposed layer": (
        lambda: conv("ConvTranspose", padding="REFLECT"),
        ValueError,
        ["`padding`", "'REFLECT'", "CIRCULAR"],
    ),
    # features and fibres
    "zero features": (lambda: conv(features=(0, 3)), ValueError, ["`in_features`", "0"]),
    "float features": (lambda: conv(features=(2, 3.0)), TypeError, ["`out_features`", "3.0"]),
    "groups of features don't divide": (
        lambda: conv(feature_group_count=2),
        ValueError,
        ["`feature_group_count`", "out_features = 3"],
    ),
    "fibre is a class": (lambda: conv(in_fibre=Regular), TypeError, ["`in_fibre`", "Regular(Cyclic(4))"]),
    "fibre of another group": (lambda: conv(in_fibre=Regular(D4)), ValueError, ["`in_fibre`", "Dihedral(4)", "Cyclic(4)"]),
    "fibre is a number": (lambda: conv(out_fibre=4), TypeError, ["`out_fibre`", "4"]),
    "fibre of a space group": (lambda: Regular(P4), TypeError, ["`group`", "point_group"]),
    "quotient by a list": (lambda: Quotient([0, 2]), TypeError, ["`subgroup`", "group.subgroup"]),
    "table with too few rows": (
        lambda: PermutationRepresentation(C4, [[0, 1]]),
        ValueError,
        ["`table`", "(1, 2)", "from_generators"],
    ),
    "table that does not compose": (
        lambda: PermutationRepresentation(C4, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]),
        ValueError,
        ["`table`", "compose"],
    ),
    "lifting on a finite group without a fibre": (
        lambda: conv("LiftingConv", kernel=(), group=ej.Dihedral(5)),
        ValueError,
        ["`in_fibre`", "Quotient"],
    ),
    # inputs
    "wrong number of features": (
        lambda: call(conv(), 5, 5, 4, 7),
        ValueError,
        ["`inputs`", "(5, 5, 4, 7)", "in_features = 2"],
    ),
    "missing fibre axis": (lambda: call(conv(), 8, 5, 5, 2), ValueError, ["`inputs`", "(8, 5, 5, 2)", "LiftingConv"]),
    "too few axes": (lambda: call(conv(), 4, 2), ValueError, ["`inputs`", "(4, 2)", "too few axes"]),
    "input smaller than the window": (
        lambda: call(conv(kernel=5, padding="VALID"), 3, 3, 4, 2),
        ValueError,
        ["`inputs`", "(3, 3)", "smaller than the window"],
    ),
    "odd kernel, stride 2, even size": (
        lambda: call(conv(strides=2), 6, 6, 4, 2),
        ValueError,
        ["(6, 6)", "keeps only", "(7, 7)", "(4, 4)", "CIRCULAR", "allow_inexact=True"],
    ),
    "even kernel, stride 2, odd size": (
        lambda: call(conv(kernel=2, strides=2), 7, 7, 4, 2),
        ValueError,
        ["(7, 7)", "keeps only", "(8, 8)", "(3, 3)"],
    ),
    "even kernel with SAME": (
        lambda: call(conv(kernel=2), 6, 6, 4, 2),
        ValueError,
        ["'SAME'", "(3, 3)", "padding='CIRCULAR'"],
    ),
    "rectangle under a quarter turn": (lambda: call(conv(), 5, 6, 4, 2), ValueError, ["(5, 6)", "exchanges axes", "(6, 6)"]),
    "hexagonal group with zero borders": (
        lambda: call(conv(group=P6), 5, 5, 6, 2),
        ValueError,
        ["rhombus", "padding='CIRCULAR'"],
    ),
    "transposed 3×3, stride 2, zero borders": (
        lambda: call(conv("ConvTranspose", strides=2, in_fibre=Regular(C4)), 5, 5, 4, 2),
        ValueError,
        ["keeps only", "(4, 4)"],
    ),
    "unequal padding": (lambda: call(conv(padding=[(1, 1), (2, 2)]), 5, 5, 4, 2), ValueError, ["keeps only", "'CIRCULAR'"]),
    "unequal strides": (lambda: call(conv(strides=(1, 2)), 5, 5, 4, 2), ValueError, ["keeps only", "strides (1, 2)"]),
    "pooling 2×2 on odd sizes": (
        lambda: call(ej.nn.MaxPool(2, 2, group=P4), 5, 5, 4, 2),
        ValueError,
        ["MaxPool", "(5, 5)", "(6, 6)", "(3, 3)"],
    ),
    "pooling on a finite group": (lambda: ej.nn.MaxPool((), group=C4), ValueError, ["`window_shape`", "FibrePool"]),
    "pooling a scalar fibre": (lambda: ej.nn.FibrePool(group=P4, in_fibre=Scalar(C4)), ValueError, ["`in_fibre`", "Scalar"]),
    "global pooling without a grid": (lambda: ej.nn.GlobalPool(group=C4), ValueError, ["`group`", "FibrePool"]),
    "unknown pooling mode": (lambda: ej.nn.FibrePool("median", group=P4), ValueError, ["`mode`", "'median'", "max"]),
    "coset pooling by another group": (
        lambda: ej.nn.CosetPool(D4.subgroup([4]), group=P4),
        ValueError,
        ["`subgroup`", "Dihedral(4)", "Cyclic(4)"],
    ),
    "coset pooling of other functions": (
        lambda: ej.nn.coset_pool(jnp.zeros((5, 2)), D4.subgroup([4])),
        ValueError,
        ["`x`", "(5, 2)", "8"],
    ),
    "restriction to a list": (lambda: ej.nn.Restrict([0, 1], group=P4), TypeError, ["`subgroup`", "subgroup(elements)"]),
    "norm groups don't divide": (
        lambda: ej.nn.GroupNorm(6, 4, group=P4, rngs=nnx.Rngs(0)),
        ValueError,
        ["`num_groups`", "4", "num_features = 6"],
    ),
    # chains and reference layer
    "mismatched groups in Sequential": (
        lambda: ej.nn.Sequential(conv("LiftingConv"), conv(group=P4M, features=(3, 3))),
        ValueError,
        ["layer 1 (GroupConv)", "Cyclic(4)", "Dihedral(4)", "Restrict"],
    ),
    "mismatched fibres in Sequential": (
        lambda: ej.nn.Sequential(conv("Conv"), conv(features=(3, 3))),
        ValueError,
        ["layer 1 (GroupConv)", "Scalar", "Regular", "LiftingConv"],
    ),
    "empty Sequential": (lambda: ej.nn.Sequential(), ValueError, ["`layers`", "empty"]),
    "Sequential of functions": (lambda: ej.nn.Sequential(jnp.tanh), ValueError, ["`layers`", "nnx.Sequential"]),
    "Sequential of numbers": (lambda: ej.nn.Sequential(conv(), 3), TypeError, ["`layers`", "3"]),
    "grid of unknown size": (
        lambda: ej.nn.EquivariantLinear(ej.GridAction(P4), ej.GridAction(P4), 1, 1, rngs=nnx.Rngs(0)),
        ValueError,
        ["`in_action`", ".on("],
    ),
    "two groups in one linear layer": (
        lambda: ej.nn.EquivariantLinear(ej.SetAction(3), ej.SetAction(4), 1, 1, rngs=nnx.Rngs(0)),
        ValueError,
        ["`in_action`", "Permutation(3)", "`out_action`", "Permutation(4)"],
    ),
    "two tori in one linear layer": (
        lambda: ej.nn.EquivariantLinear(ej.GridAction(P4).on((4, 4)), ej.GridAction(P4).on((5, 5)), 1, 1, rngs=nnx.Rngs(0)),
        ValueError,
        ["`in_action`", "period"],
    ),
    "linear layer on a class": (
        lambda: ej.nn.EquivariantLinear(P4, P4, 1, 1, rngs=nnx.Rngs(0)),
        TypeError,
        ["`in_action`", "Action"],
    ),
    "points of another number": (
        lambda: call(ej.nn.EquivariantLinear(ej.SetAction(3), ej.SetAction(3), 2, 1, rngs=nnx.Rngs(0)), 4, 2),
        ValueError,
        ["`inputs`", "(4, 2)", "(3,)"],
    ),
    # actions and measurement
    "grid action of a point group": (lambda: ej.GridAction(D4), TypeError, ["`group`", "SpaceGroup(Dihedral(4))"]),
    "unknown boundary": (lambda: ej.GridAction(P4, boundary="reflect"), ValueError, ["`boundary`", "'reflect'", "'wrap'"]),
    "origin at a third": (lambda: ej.GridAction(P4, origin=1 / 3), ValueError, ["`origin`", "½"]),
    "spacing zero": (lambda: ej.GridAction(P4, spacing=0), ValueError, ["`spacing`", "positive"]),
    "quarter turn of a rectangle": (
        lambda: ej.GridAction(P4)(([0, 0], 1), jnp.zeros((4, 5, 1))),
        ValueError,
        ["`g`", "(4, 5, 1)", "equal along the axes"],
    ),
    "shift off the samples": (
        lambda: ej.GridAction(P4, spacing=2)(([1, 0], 0), jnp.zeros((4, 4, 1))),
        ValueError,
        ["`g`", "[1, 0]", "multiples of the spacing"],
    ),
    "many elements at once": (
        lambda: ej.GridAction(P4)((jnp.zeros((3, 2), int), jnp.zeros(3, int)), jnp.zeros((4, 4, 1))),
        ValueError,
        ["`g`", "jax.vmap"],
    ),
    "set of another size": (lambda: ej.SetAction(3)([0, 1, 2], jnp.zeros((4, 1))), ValueError, ["`x`", "(4, 1)", "3"]),
    "error between two groups": (
        lambda: ej.equivariance_error(jnp.tanh, ej.SetAction(3), ej.SetAction(4), jnp.zeros((3, 1))),
        ValueError,
        ["`in_action`", "`out_action`"],
    ),
    "transposed layer on a fine grid": (
        lambda: conv("ConvTranspose", strides=2).out_action_for(ej.GridAction(P4)),
        ValueError,
        ["`in_action`", "spacing", "strides"],
    ),
}

VECTORS = Irrep(C4, 1)
#: Layers that treat each coordinate of the fibre on its own, or are made of functions on the group.
COORDINATES = {
    "FibrePool": lambda: ej.nn.FibrePool("mean", group=P4, in_fibre=VECTORS),
    "FibrePool of a sum": lambda: ej.nn.FibrePool(group=P4, in_fibre=Scalar(C4) + VECTORS),
    "GlobalPool": lambda: ej.nn.GlobalPool("max", group=P4, in_fibre=VECTORS),
    "MaxPool": lambda: ej.nn.MaxPool(2, 2, group=P4, in_fibre=VECTORS),
    "CentredPool": lambda: ej.nn.CentredPool(3, 2, group=P4, in_fibre=VECTORS, mode="max"),
    "PolyphaseMaxPool": lambda: ej.nn.PolyphaseMaxPool((2, 2), group=P4, in_fibre=VECTORS),
    "PolyphaseDownsample": lambda: ej.nn.PolyphaseDownsample(2, order=1, group=P4, in_fibre=VECTORS),
    "BatchNorm": lambda: ej.nn.BatchNorm(2, group=P4, in_fibre=VECTORS, rngs=nnx.Rngs(0)),
    "GroupNorm": lambda: ej.nn.GroupNorm(
        2, 1, **{k: v for k, v in options(P4).items() if not k.endswith("_init")}, in_fibre=VECTORS
    ),
}


@pytest.mark.parametrize("name", COORDINATES)
def test_layers_that_treat_each_coordinate_on_its_own_refuse_vectors(name):
    with pytest.raises(ValueError, match="`in_fibre` is .*mixes its coordinates.*map to one by a linear layer first"):
        COORDINATES[name]()


def test_averages_take_vectors_and_functions_on_the_group_do_not():
    assert ej.nn.GlobalPool("mean", group=P4, in_fibre=VECTORS)(jnp.ones((4, 4, 2, 3))).shape == (2, 3)
    assert ej.nn.AvgPool(2, 2, group=P4, in_fibre=VECTORS)(jnp.ones((4, 4, 2, 3))).shape == (2, 2, 2, 3)
    pool = ej.nn.CosetPool(C4.subgroup([2]), group=P4)
    with pytest.raises(ValueError, match="fibre"):
        pool.out_action_for(ej.GridAction(P4, VECTORS))
    for kind in ("GroupConv", "LiftingConv", "ProjectionConv"):
        layer = conv(kind)
        fibre = layer.out_fibre if kind == "LiftingConv" else layer.in_fibre
        assert fibre == Regular(C4)
        with pytest.raises(ValueError, match="fibre"):
            layer.out_action_for(ej.GridAction(P4, VECTORS))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_answered(name):
    use, kind, words = WRONG[name]
    with pytest.raises((ValueError, TypeError)) as caught:
        use()
    assert caught.type is kind
    message = str(caught.value)
    for word in words:
        assert word in message, message


def test_there_are_at_least_forty():
    assert len(WRONG) >= 40


def test_lost_shifts_never_raise_and_translations_never_raise():
    for strides, padding, size in [(1, "SAME", 6), (2, "SAME", 6), (3, "VALID", 7), (2, "CIRCULAR", 7)]:
        call(conv("Conv", group=None, kernel=(3, 3), strides=strides, padding=padding), 1, size, size, 2)
    call(conv(), 1, 5, 5, 4, 2)


def test_allow_inexact():
    layer = conv(strides=2, allow_inexact=True)
    assert call(layer, 6, 6, 4, 2).shape == (3, 3, 4, 3)
    assert len(layer.exactness((6, 6, 4, 2)).point_elements) == 1


def test_every_remedy_helps():
    """The sizes and paddings that the message proposes keep the whole point group."""
    layer = conv(strides=2)
    with pytest.raises(ValueError, match="crop or pad the input to \\(7, 7\\)"):
        call(layer, 6, 6, 4, 2)
    assert layer.exactness((7, 7, 4, 2)).keeps_point_group
    assert conv(kernel=4, strides=2).exactness((6, 6, 4, 2)).keeps_point_group
    assert conv(strides=2, padding="CIRCULAR").exactness((6, 6, 4, 2)).keeps_point_group
