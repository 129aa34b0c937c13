"""Claims in composition: what a chain says that it keeps is what it keeps, or it says that nothing is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.actions import Everything, GridMotions, Kept, KeptProduct, Listed, Nothing, kept_by
from equijax.actions._kept_parts import meet
from equijax.nn._following import UNIFORM, Blocks, ends_as_field, follow
from tests.helpers import check_message, moved, options, randn
from tests.nn.claims_fuzzer import draw, measure

P4, P6 = ej.wallpaper("p4"), ej.wallpaper("p6")
SCALAR, REGULAR = ej.reps.Scalar(P4.point_group), ej.reps.Regular(P4.point_group)
S = ej.nn.Sequential


def conv(kernel=3, strides=1, padding="CIRCULAR", kind="Conv", features=(1, 1), **more):
    return getattr(ej.nn, kind)(*features, kernel, strides, padding=padding, **options(P4, **more))


def strided(kind, *arguments, **more):
    return getattr(ej.nn, kind)(1, 1, *arguments, **options(P4, **more))


def errors(model, shape, exactness=None):
    """The exactness, and the errors at everything that it lists, one by one."""
    exactness = model.exactness(shape) if exactness is None else exactness
    x, run = randn(shape), jax.jit(model)
    y = run(x)
    listed = exactness.elements()
    each = [jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], listed) for i in range(len(jax.tree.leaves(listed)[0]))]
    found = []
    for g in [*each, *exactness.generators()]:
        gap = np.asarray(run(moved(exactness.in_action, g, x))) - np.asarray(moved(exactness.out_action, g, y))
        found.append(float(np.abs(gap).max() / np.abs(y).max()))
    return exactness, max(found)


def holds(model, shape, points, steps=None, **more):
    exactness, worst = errors(model, shape, **more)
    assert worst <= 1e-12, str(exactness)
    assert len(exactness.point_elements) == points, str(exactness)
    if steps is not None:
        assert exactness.shift_step == steps, str(exactness)
    return exactness


# The list of inputs whose claims were wrong.


def test_a_phase_that_the_data_choose_keeps_no_point_element_in_a_chain():
    alone = strided("PolyphaseConv", 3, 2)
    for model in (S(alone, conv()), S(alone), alone):
        holds(model, (8, 8, 1), 1, (2, 2))


def test_a_centred_layer_behind_a_torus_keeps_no_shift():
    holds(S(conv(), strided("CentredConv", 3, 2)), (8, 8, 1), 4, (None, None))


def test_a_centred_layer_on_a_rectangle():
    check_message(
        lambda: strided("CentredConv", 3, 2)(randn((12, 11, 1))), ValueError, ["(12, 11, 1)", "2 of the 4", "allow_inexact"]
    )
    exactness = holds(strided("CentredConv", 3, 2, allow_inexact=True), (12, 11, 1), 2)
    assert exactness.centre == (5.5, 5.0)
    one = holds(strided("CentredConv", 1, 1), (8, 8, 1), 4, (None, None))
    assert one.in_action.boundary == one.out_action.boundary == "zero"
    check_message(
        lambda: ej.nn.CentredConv(1, 1, 3, (2, 1), **options(P4))(randn((8, 8, 1))), ValueError, ["CentredConv", "4"]
    )
    ej.nn.CentredPool(3, 2, group=P4, in_fibre=SCALAR)(randn((12, 11, 1)))  # the shape had lost the quarter turns before


@pytest.mark.parametrize(
    "wild",
    [
        lambda x: nnx.max_pool(x, (2, 2), (2, 2)),
        lambda x: jax.image.resize(x, (*x.shape[:-3], 2 * x.shape[-3], 2 * x.shape[-2], x.shape[-1]), "bilinear"),
        lambda x: jnp.roll(x, 1, -2),
        lambda x: x + jnp.arange(x.shape[-2], dtype=x.dtype).reshape(1, 1, -1, 1),
        lambda x: x - x.mean(-2, keepdims=True),
        lambda x: jnp.swapaxes(x, -2, -3),
        lambda x: jnp.cumsum(x, -2),
        lambda x: (x, x)[0] if x.sum() is None else x[..., ::-1, :],
    ],
)
def test_nothing_is_claimed_behind_a_function_that_cannot_be_followed(wild):
    model = S(conv(), wild, conv())
    x = randn((1, 8, 8, 1))
    assert model(x).shape[0] == 1
    exactness = model.exactness(x.shape)
    assert not exactness.kept.is_known and exactness.kept == Nothing(exactness.in_action.group)
    assert not exactness.keeps_point_group and "Nothing is claimed" in str(exactness)
    for use in (lambda: model.out_action, lambda: exactness.out_action(exactness.in_action.group.identity, x)):
        check_message(use, ValueError, ["behind layer 1 (<lambda>)", "Declared(fn, in_action, out_action)"])


def test_a_resize_that_is_declared_and_the_layer_that_does_it():
    double = lambda x: jax.image.resize(x, (*x.shape[:-3], 2 * x.shape[-3], 2 * x.shape[-2], x.shape[-1]), "linear")  # noqa: E731
    coarse, fine = ej.GridAction(P4, boundary="zero", spacing=2), ej.GridAction(P4, boundary="zero", origin=-0.5)
    first, last = conv(padding="SAME"), conv(padding="SAME")
    declared = S(first, ej.nn.Declared(double, coarse, fine), last)
    layer = S(first, ej.nn.Upsample(2, group=P4, in_fibre=SCALAR), last)
    x = randn((7, 7, 1))
    for model in (declared, layer):
        assert holds(model, x.shape, 4, (None, None)).in_action.spacing == (2, 2)
    assert np.abs(declared(x) - layer(x)).max() <= 1e-6


def test_a_mean_over_the_grid_is_followed():
    vector = S(conv(kind="LiftingConv"), lambda x: x.mean((-4, -3)))
    assert vector.out_action == ej.FibreAction(REGULAR, P4)
    holds(vector, (2, 6, 6, 1), 4, (1, 1))
    for reduce in (lambda x: x.mean((-3, -2)), lambda x: jnp.tanh(x).max((-3, -2))):
        model = S(conv(), reduce)
        assert model.out_action == ej.TrivialAction(P4)
        holds(model, (2, 6, 6, 1), 4, (1, 1))
    scalars = S(conv(kind="LiftingConv"), lambda x: x.max(-2), conv())
    holds(scalars, (2, 6, 6, 1), 4, (1, 1))


def test_flax_modules_that_mix_points_are_refused_or_nothing_is_claimed():
    r = nnx.Rngs(0)
    for inside in (nnx.Conv(1, 1, (3, 3), rngs=r), nnx.ConvTranspose(1, 1, (3, 3), rngs=r)):
        for wrong in (inside, nnx.Sequential(inside), nnx.Sequential(nnx.Sequential(jax.nn.relu, inside))):
            check_message(lambda wrong=wrong: S(conv(), wrong), ValueError, ["Use equijax.nn.Conv"])
    mixing = S(conv(kind="LiftingConv"), nnx.LinearGeneral((4, 1), (4, 1), axis=(-2, -1), rngs=r))
    assert not mixing.exactness((8, 8, 1)).kept.is_known


def test_layers_that_are_changed_later_are_checked_at_the_next_call():
    x = randn((1, 6, 6, 1))
    model = S(conv(), jax.nn.relu)
    model.layers.append(nnx.Conv(1, 1, (3, 3), rngs=nnx.Rngs(0)))
    check_message(lambda: model(x), ValueError, ["Use equijax.nn.Conv"])
    model = S(conv(), jax.nn.relu)
    model.layers[1] = lambda x: jnp.roll(x, 1, -2)
    model(x)
    assert not model.exactness(x.shape).kept.is_known
    model = S(conv(), conv())
    model.layers[0] = ej.nn.Conv(1, 1, 3, padding="CIRCULAR", **options(P6))
    check_message(lambda: model(x), ValueError, ["layer 1 (Conv) does not fit layer 0 (Conv)"])


@pytest.mark.parametrize(("kernel", "strides"), [(2, 2), (3, 1)])
def test_a_torus_in_front_of_borders_turns_about_their_centre(kernel, strides):
    model = S(conv(3, 2), conv(kernel, strides, "SAME"))
    exactness = holds(model, (8, 8, 1), 4, (None, None))
    assert exactness.centre == (3.0, 3.0) and exactness.in_action.origin == model.in_action.origin == (0.5, 0.5)
    elements = exactness.elements()
    worst = ej.equivariance_error(model, model.in_action, model.out_action, randn((8, 8, 1)), elements).max()
    assert worst <= 1e-12


def test_layers_that_lose_point_elements_raise_and_take_allow_inexact():
    x = randn((8, 8, 1))
    for kind in ("FourierDownsample", "PolyphaseDownsample", "Upsample"):
        build = lambda kind=kind, **more: getattr(ej.nn, kind)((2, 1), group=P4, in_fibre=SCALAR, **more)  # noqa: E731
        check_message(lambda build=build: build()(x), ValueError, ["`inputs`", "(2, 1)", "allow_inexact=True"])
        layer = build(allow_inexact=True)
        exactness, worst = errors(layer, x.shape)
        assert worst <= 1e-12 and not exactness.keeps_point_group
    layer = ej.nn.PolyphaseConv(1, 1, 3, (2, 1), **options(P4))
    check_message(lambda: layer(x), ValueError, ["PolyphaseConv", "(2, 1)"])
    hexagonal = ej.nn.FourierDownsample(2, group=P6)
    check_message(lambda: hexagonal(x), ValueError, ["2 of the 6", "box of frequencies"])


@pytest.mark.parametrize("up", ["transposed", "linear", "nearest"])
def test_upsampling_stands_behind_layers_of_stride_one(up):
    layer = conv(4, 2, kind="ConvTranspose") if up == "transposed" else None
    layer = layer or ej.nn.Upsample(2, up, "CIRCULAR", group=P4, in_fibre=SCALAR)
    model = S(conv(), jnp.tanh, layer, conv())
    exactness = holds(model, (5, 5, 1), 4, (2, 2))
    assert model.in_action.spacing == exactness.in_action.spacing == (2, 2)
    assert model.out_action.spacing == (1, 1)
    assert S(conv(3, 2), layer).in_action.spacing == (1, 1)
    assert S(layer, conv(3, 2)).in_action.spacing == (2, 2)
    assert S(conv(), S(layer, conv(3, 2)), S(layer)).in_action.spacing == (2, 2)


# Functions.


def test_pointwise_functions_and_modules_are_followed():
    r = nnx.Rngs(0)
    given = {"rngs": r, "param_dtype": jnp.float64}
    model = S(
        conv(kind="LiftingConv", features=(1, 4)),
        nnx.Linear(4, 6, **given), nnx.BatchNorm(6, use_running_average=True, **given), nnx.LayerNorm(6, **given),
        nnx.GroupNorm(6, 2, **given), nnx.Dropout(0.5, deterministic=True, rngs=r), jax.nn.gelu, jax.nn.softmax, jax.nn.glu,
        lambda x: jnp.concatenate([x[..., :1], x.sum(-1, keepdims=True)], -1),
        nnx.Sequential(nnx.Linear(2, 2, **given), jax.nn.silu),
    )  # fmt: skip
    with jax.numpy_dtype_promotion("standard"):
        holds(model, (2, 5, 5, 1), 4, (1, 1))
    assert model.out_action.fibre == REGULAR
    alone = S(conv(kind="LiftingConv", features=(1, 4)), nnx.GroupNorm(4, 2, **given))
    assert not alone.exactness((5, 5, 1)).kept.is_known, "without a batch axis it reads the first grid axis as one"


def test_labels_of_a_program():
    blocks = Blocks(3, (frozenset((0, 1)), frozenset((2,))), frozenset((2,)))
    array, shape = follow(lambda x: x.mean((-4, -3), keepdims=True) * x, (2, 6, 6, 4, 3), (1, 2, 3), blocks)
    assert array is not None and array.labels[1:4] == (0, 1, 2) and shape == (2, 6, 6, 4, 3) and not array.is_linear
    pooled, _ = follow(lambda x: x.mean((-4, -3), keepdims=True), (2, 6, 6, 4, 3), (1, 2, 3), blocks)
    assert pooled is not None and pooled.is_linear and pooled.labels[1] == pooled.labels[2] == UNIFORM
    linear, _ = follow(
        lambda x: jnp.einsum("...i,ij->...j", x, jnp.ones((3, 5))) - 2 * x[..., :1], (2, 6, 6, 4, 3), (1, 2, 3), blocks
    )
    assert linear is not None and linear.is_linear and ends_as_field(linear)
    for wrong in (lambda x: x.mean(-3), lambda x: x.reshape(2, 36, 4, 3), lambda x: x[:, 1:], lambda x: jnp.sort(x, 1)):
        assert follow(wrong, (2, 6, 6, 4, 3), (1, 2, 3), blocks)[0] is None


@dataclasses.dataclass(frozen=True)
class Plane(ej.actions.Action):
    """A user's action: quarter turns of vectors in the plane, ``(*batch, 2, features)``."""

    permutes: bool | None = None
    group: ej.Group = ej.Cyclic(4)

    def axes(self, ndim):
        return (*(ej.actions.Axis("batch"),) * (ndim - 2), ej.actions.Axis("base", 0), ej.actions.Axis("feature"))

    def __call__(self, g, x):
        return jnp.einsum("ij,...jf->...if", jnp.asarray(self.group.matrices, x.dtype)[g], x)


def norm_scaled(x):
    return x * jax.nn.sigmoid(jnp.sum(x * x, -2, keepdims=True))


@pytest.mark.parametrize("permutes", [False, None])
def test_what_may_follow_a_fibre_that_does_not_permute(permutes):
    act = Plane(permutes)
    start = ej.nn.Declared(norm_scaled, act)
    linear = nnx.Linear(3, 2, use_bias=False, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    holds(S(start, linear, lambda x: 2 * x), (5, 2, 3), 4)
    assert not S(start, norm_scaled).exactness((5, 2, 3)).kept.is_known
    bad = [jax.nn.relu, nnx.Linear(3, 3, rngs=nnx.Rngs(0)), nnx.BatchNorm(3, rngs=nnx.Rngs(0)), lambda x: x + 1]
    for wrong in (*bad, nnx.LayerNorm(3, rngs=nnx.Rngs(0)), nnx.Sequential(linear, jnp.tanh)):
        if permutes is False:
            check_message(lambda wrong=wrong: S(start, wrong), ValueError, ["layer 1", "does not permute", "use_bias=False"])
        else:
            model = S(start, wrong, start)
            assert not model.exactness((5, 2, 3)).kept.is_known
            check_message(lambda model=model: model.out_action, ValueError, ["layer 1", "Declared"])
    # Negative control: the claim that is not made would be wrong.
    broken = S(start, jax.nn.relu) if permutes is None else None
    if broken is not None:
        x = randn((5, 2, 3))
        assert np.abs(broken(act(1, x)) - act(1, broken(x))).max() > 1e-2


@pytest.mark.parametrize("fibre", [REGULAR, SCALAR, ej.reps.Quotient(P4.point_group.subgroup([2]))])
def test_a_restriction_to_the_whole_group_stands_in_a_chain(fibre):
    """Found by the fuzzer: the fibre that is restricted to the whole group was not the fibre that comes."""
    restrict = ej.nn.Restrict(P4.point_group.subgroup([1]), group=P4, in_fibre=fibre)
    norm = ej.nn.GroupNorm(1, 1, group=P4, in_fibre=fibre, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    holds(S(norm, restrict), (5, 5, *fibre.shape, 1), 4, (1, 1))


@pytest.mark.parametrize("seed", [4, 19, 380])
def test_chains_that_were_found_wrong(seed):
    """A declared function with borders behind a torus; tori that stay where a stride does not divide the size."""
    faults, _ = measure(draw(seed))
    assert not faults


# Values.


def test_kept_values():
    group = P4
    torus = ej.GridAction(group).on((6, 6)).action
    whole = kept_by(torus, (6, 6, 1))
    coarse = kept_by(torus.coarsen(2), (3, 3, 1))
    assert isinstance(whole, GridMotions) and whole.is_everything and not coarse.is_everything
    assert whole == kept_by(torus, (1, 6, 6, 3)) and hash(whole) == hash(kept_by(torus, (1, 6, 6, 3)))
    both = meet(whole, coarse)
    assert both.shift_step == (2, 2) and both.point_elements == coarse.point_elements
    assert meet(Everything(group), both) is both and meet(both, Nothing(group)) == Nothing(both.group)
    half = Listed(ej.Cyclic(4), (0, 2))
    assert half.elements().tolist() == [0, 2] and [int(g) for g in half.generators()] == [2] and not half.is_everything
    assert set(half.sample(jax.random.key(0), (20,)).tolist()) == {0, 2}
    assert meet(half, Listed(ej.Cyclic(4), (0, 1, 2, 3))) == half
    assert meet(whole, Listed(torus.group, (0, 2))).point_elements == (0, 2)
    identity = Listed(ej.Cyclic(4), (0,))
    assert str(identity) == "1 of 4 point elements" and identity.generators() == []
    product = KeptProduct(ej.DirectProduct(ej.Permutation(3), group), (Everything(ej.Permutation(3)), both))
    orders, (shifts, turns) = product.sample(jax.random.key(0), (7,))
    assert orders.shape == (7, 3) and shifts.shape == (7, 2) and turns.shape == (7,)
    assert str(product).startswith("Every order of the 3 elements; of each, 4 of 4 point elements")
    nothing = Nothing(group)
    assert [leaf.tolist() for leaf in nothing.elements()] == [[[0, 0]], [0]] and nothing.generators() == []
    assert all(isinstance(value, Kept) for value in (whole, half, product, nothing))


def test_two_tori_that_turn_about_different_points():
    torus = ej.GridAction(P4).on((6, 6)).action
    odd = dataclasses.replace(torus.coarsen(2), origin=(1.0, 0.0))
    even = torus.coarsen(2)
    both = meet(kept_by(even, (3, 3, 1)), kept_by(odd, (3, 3, 1)))
    assert both.point_elements == (0, 2) and both.shift_step == (2, 2)
    for t, h in zip(both.translations, both.point_elements, strict=True):
        assert even.acts((np.array(t), h), (3, 3, 1)) and odd.acts((np.array(t), h), (3, 3, 1))


def test_pointwise_layers_and_pools_say_nothing_about_what_the_shape_had_lost():
    x = randn((6, 4, 4, 1))
    pool = ej.nn.MaxPool(2, 2, group=P4)
    for layer in (
        pool,
        ej.nn.FibrePool(group=P4),
        ej.nn.GroupNorm(1, 1, group=P4, rngs=nnx.Rngs(0)),
        conv(1, kind="GroupConv"),
    ):
        with jax.numpy_dtype_promotion("standard"):
            layer(x)
    assert ej.nn.FibrePool(group=P4).exactness(x.shape).reason == ""
    assert "whose sizes differ (6 and 4)" in S(ej.nn.FibrePool(group=P4)).exactness(x.shape).reason
    check_message(lambda: pool(randn((5, 5, 4, 1))), ValueError, ["MaxPool", "keeps only"])  # this one the layer loses


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["EDGE", "CIRCULAR"])
def test_upsampling_against_the_formula(stride, padding):
    x = np.asarray(randn((5,)))
    layer = ej.nn.Upsample((stride,), padding=padding)
    places = (np.arange(5 * stride) + 0.5) / stride - 0.5
    low = np.floor(places).astype(int)
    index = (lambda i: i % 5) if padding == "CIRCULAR" else (lambda i: np.clip(i, 0, 4))
    expected = x[index(low)] * (1 - (places - low)) + x[index(low + 1)] * (places - low)
    np.testing.assert_allclose(np.asarray(layer(x[:, None]))[:, 0], expected, atol=1e-14)
    nearest = ej.nn.Upsample((stride,), "nearest", padding)
    np.testing.assert_array_equal(np.asarray(nearest(x[:, None]))[:, 0], np.repeat(x, stride))


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda: ej.nn.Upsample((2,), "cubic"), ValueError, ["`method`", "cubic", "linear, nearest"]),
        (lambda: ej.nn.Upsample((2,), padding="SAME"), ValueError, ["`padding`", "SAME", "EDGE"]),
        (lambda: ej.nn.Upsample((2,)).out_action_for(ej.GridAction(ej.Translation(1))), ValueError, ["spacing (1,)", "divide"]),
        (lambda: ej.nn.Declared(3, ej.GridAction(P4)), TypeError, ["`fn`", "3"]),
        (lambda: ej.nn.Declared(jnp.sin, 3), TypeError, ["`in_action`", "3"]),
        (lambda: ej.nn.Declared(jnp.sin, ej.GridAction(P4), ej.GridAction(P6)), ValueError, ["`out_action`", "same element"]),
        (lambda: ej.nn.Declared(jnp.sin, ej.GridAction(P4, spacing=2), ej.GridAction(P4)).out_action_for(ej.GridAction(P4)),
         ValueError, ["spacing (1, 1)", "(2, 2)"]),
    ],
)  # fmt: skip
def test_bad_input(use, error, words):
    check_message(use, error, words)
