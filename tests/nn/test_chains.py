"""Sequential, restriction, pooling and normalisation in whole networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.actions import FibreAction, GridAction, TrivialAction
from equijax.reps import Quotient, Regular, Scalar
from equijax.testing import check_equivariance
from tests.helpers import compiled, options, randn, stack

P4, P4M = ej.wallpaper("p4"), ej.wallpaper("p4m")


def check_exact(model, x, **more):
    exactness = model.exactness(x.shape)
    assert exactness.keeps_point_group, str(exactness)
    elements = stack(exactness.elements(), exactness.sample(jax.random.key(2), (3,)))
    check_equivariance(compiled(model), exactness.in_action, exactness.out_action, x, elements, **more)
    return exactness


def classifier(group, padding="SAME"):
    o = options(group, padding=padding)
    return ej.nn.Sequential(
        ej.nn.LiftingConv(1, 4, 3, **o),
        jax.nn.relu,
        ej.nn.AvgPool(2, 2, group=group),
        ej.nn.GroupConv(4, 4, 3, **o),
        jnp.tanh,
        ej.nn.FibrePool(group=group),
        ej.nn.GlobalPool(group=group, in_fibre=Scalar(group.point_group)),
        nnx.Linear(4, 3, param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
    )


def test_classifier_is_invariant():
    model = classifier(P4M)
    exactness = check_exact(model, randn((2, 8, 8, 1)))
    assert isinstance(exactness.out_action, TrivialAction)
    assert exactness.shift_step == (None, None)


def test_classifier_on_a_torus_is_invariant_under_shifts_too():
    o = options(P4M, padding="CIRCULAR")
    model = ej.nn.Sequential(
        ej.nn.LiftingConv(1, 4, 2, **o),
        jax.nn.relu,
        ej.nn.GroupConv(4, 4, 3, 2, **o),
        ej.nn.MaxPool(2, 2, "CIRCULAR", group=P4M),
        ej.nn.GroupConv(4, 4, 2, **o),
    )
    exactness = check_exact(model, randn((2, 8, 8, 1)))
    assert exactness.shift_step == (4, 4)
    assert model.out_action == ej.GridAction(P4M, Regular(P4M.point_group), spacing=4, origin=0.5 + 0.0 + 1.0 + 2.0)


def test_mixed_borders_keep_only_what_every_layer_keeps():
    o = options(P4M, allow_inexact=True)
    model = ej.nn.Sequential(ej.nn.LiftingConv(1, 2, 3, **o), ej.nn.GroupConv(2, 2, 3, 2, **o))
    exactness = model.exactness((8, 8, 1))
    assert len(exactness.point_elements) == 2
    assert "Layer 1 (GroupConv)" in exactness.reason
    check_equivariance(model, exactness.in_action, exactness.out_action, randn((8, 8, 1)), exactness.elements())


def test_a_chain_with_a_broken_function_fails():
    """Declared, it is taken at its word, and the measurement finds it; undeclared, nothing is claimed behind it."""
    broken = lambda x: x.at[..., 0, :].multiply(2.0)  # noqa: E731
    layers, act = classifier(P4M).layers, GridAction(P4M, Regular(P4M.point_group), "zero")
    with pytest.raises(AssertionError, match="fails for"):
        check_exact(ej.nn.Sequential(*layers[:3], ej.nn.Declared(broken, act), *layers[3:]), randn((2, 8, 8, 1)))
    assert not ej.nn.Sequential(*layers[:3], broken, *layers[3:]).exactness((2, 8, 8, 1)).kept.is_known


@pytest.mark.parametrize("generators", [[1], [2], [4], [2, 4], []])
def test_restriction_then_convolution_of_the_smaller_group(generators):
    subgroup = P4M.point_group.subgroup(generators)
    restrict = ej.nn.Restrict(subgroup, group=P4M)
    small = restrict.small_group
    model = ej.nn.Sequential(
        ej.nn.LiftingConv(1, 2, 3, **options(P4M, padding="CIRCULAR")),
        restrict,
        ej.nn.GroupConv(2 * restrict.index, 3, 3, **options(small, padding="CIRCULAR")),
    )
    x = randn((2, 5, 5, 1))
    exactness = check_exact(model, x)
    assert exactness.in_action.group.point_group == small.point_group
    assert model.in_action.group == model.out_action.group == small
    assert np.sort(restrict(randn((8, 2))).reshape(-1)).tolist() == np.sort(randn((8, 2)).reshape(-1)).tolist()


def test_restriction_from_a_hexagonal_group_turns_about_the_same_point():
    group = ej.wallpaper("p6m")
    for size in (4, 5):
        model = ej.nn.Sequential(
            ej.nn.LiftingConv(1, 2, 3, **options(group, padding="CIRCULAR")),
            ej.nn.Restrict(group.point_group.subgroup([3]), group=group),
        )
        check_exact(model, randn((size, size, 1)))


def test_restriction_of_finite_groups_and_other_fibres():
    group = ej.Dihedral(6)
    fibre = Quotient(group.subgroup([6]))
    layer = ej.nn.Restrict(group.subgroup([2]), group=group, in_fibre=fibre)
    x = randn((6, 2))
    assert (layer(x) == x).all()
    check_equivariance(layer, layer.in_action, layer.out_action, x)


def test_coset_pooling_mixes_with_quotient_fibres():
    subgroup = P4M.point_group.subgroup([4])
    fibre = Quotient(subgroup)
    model = ej.nn.Sequential(
        ej.nn.LiftingConv(1, 2, 3, **options(P4M)),
        ej.nn.CosetPool(subgroup, group=P4M),
        ej.nn.Conv(2, 3, 3, in_fibre=fibre, out_fibre=Regular(P4M.point_group), **options(P4M)),
        ej.nn.GlobalPool(group=P4M),
        ej.nn.GroupConv(3, 2, (), **options(P4M)),
        ej.nn.FibrePool("mean", group=P4M),
    )
    exactness = check_exact(model, randn((2, 6, 6, 1)))
    assert isinstance(exactness.out_action, TrivialAction)
    assert isinstance(model.layers[3].out_action, FibreAction)


@pytest.mark.parametrize(
    "norm",
    [
        lambda: nnx.BatchNorm(4, use_running_average=True, param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
        lambda: nnx.LayerNorm(4, param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
        lambda: nnx.LayerNorm(4, reduction_axes=(-2, -1), param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
        lambda: nnx.GroupNorm(4, 2, param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
        lambda: ej.nn.GroupNorm(4, 2, group=P4, param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
        lambda: nnx.Linear(4, 4, param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
    ],
)
def test_norms_that_serve_on_permutation_fibres(norm):
    layer = norm()
    act = GridAction(P4, Regular(P4.point_group))
    with jax.numpy_dtype_promotion("standard"):
        check_equivariance(layer, act, act, randn((2, 4, 4, 4, 4)), stack_elements(), gradient=False)


def stack_elements():
    return (jnp.array([[0, 0], [1, 0], [2, 3]], jnp.int32), jnp.array([1, 0, 3], jnp.int32))


def test_group_norm_without_a_batch_axis():
    ours = ej.nn.GroupNorm(4, 2, group=P4, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    flax = nnx.GroupNorm(4, 2, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    act, x = GridAction(P4, Regular(P4.point_group)), randn((4, 4, 4, 4))
    with jax.numpy_dtype_promotion("standard"):
        assert np.abs(ours(x[None]) - flax(x[None])).max() <= 1e-12
        assert ej.equivariance_error(flax, act, act, x, stack_elements()).max() > 1e-3
    assert np.abs(ours(x[None])[0] - ours(x)).max() <= 1e-12
    check_equivariance(ours, act, act, x, stack_elements())
    constant = jax.grad(lambda x: (ours(x) ** 2).sum())(jnp.ones((4, 4, 4, 4)))
    assert np.isfinite(constant).all()


def test_keyword_arguments_reach_the_layers_that_take_them():
    lift = ej.nn.LiftingConv(1, 2, 3, **options(P4, param_dtype=jnp.float32))
    model = ej.nn.Sequential(lift, nnx.BatchNorm(2, rngs=nnx.Rngs(0)), jax.nn.relu)
    x = randn((2, 5, 5, 1), dtype=jnp.float32)
    with jax.numpy_dtype_promotion("standard"):
        assert np.abs(model(x, use_running_average=True) - nnx.clone(model)(x)).max() > 1e-3
    assert model.exactness(x.shape).keeps_point_group
    assert model.layers[1].mean[...].shape == (2,)


def test_dna_network_agrees_on_both_strands():
    group = ej.SpaceGroup(ej.Reflection(1))
    letters = ej.reps.PermutationRepresentation(group.point_group, [[0, 1, 2, 3], [3, 2, 1, 0]])
    model = ej.nn.Sequential(
        ej.nn.LiftingConv(1, 4, (5,), in_fibre=letters, **options(group)),
        jax.nn.relu,
        ej.nn.GroupConv(4, 4, (5,), **options(group)),
        ej.nn.FibrePool(group=group),
        ej.nn.GlobalPool(group=group, in_fibre=Scalar(group.point_group)),
    )
    codes = np.random.default_rng(0).integers(0, 4, 31)
    strand = np.eye(4)[codes][..., None]
    complement = np.eye(4)[3 - codes[::-1]][..., None]
    assert np.abs(model(strand) - model(complement)).max() <= 1e-12
    assert np.abs(model(strand) - model(strand[::-1])).max() > 1e-3


def errors_of(model, x, samples=6):
    exactness = model.exactness(x.shape)
    elements = stack(exactness.elements(), exactness.sample(jax.random.key(2), (samples,)))
    return exactness, ej.equivariance_error(compiled(model), exactness.in_action, exactness.out_action, x, elements)


@pytest.mark.parametrize(
    ("name", "size", "specs"),
    [
        ("p4m", 4, [("Conv", 2, 2, "CIRCULAR"), ("ConvTranspose", 2, 2, "CIRCULAR")]),
        ("p4m", 4, [("Conv", 2, 1, "CIRCULAR"), ("Conv", 3, 1, "SAME")]),
        ("p4m", 4, [("Conv", 3, 1, "SAME"), ("Conv", 2, 1, "CIRCULAR")]),
        ("p4m", 8, [("Conv", 3, 2, "CIRCULAR"), ("Conv", 3, 1, "SAME")]),
        ("p4m", 7, [("Conv", 3, 2, "SAME"), ("ConvTranspose", 3, 2, "SAME")]),
        ("p4m", 8, [("Conv", 3, 2, "CIRCULAR"), ("Conv", 2, 2, "CIRCULAR"), ("ConvTranspose", 4, 2, "CIRCULAR")]),
        ("p6", 4, [("Conv", 1, 1, "SAME"), ("Conv", 3, 1, "SAME")]),
        ("p6", 6, [("Conv", 3, 2, "CIRCULAR"), ("ConvTranspose", 3, 2, "CIRCULAR")]),
    ],
)
def test_a_chain_claims_no_element_that_it_loses(name, size, specs):
    """Encoder–decoders, and torus layers mixed with zero borders: what is named holds, what is known to hold is named."""
    group = ej.wallpaper(name)
    layers = [
        getattr(ej.nn, kind)(1, 1, k, s, padding=pad, allow_inexact=True, **options(group)) for kind, k, s, pad in specs
    ]
    x = randn((size, size, 1))
    exactness, errors = errors_of(ej.nn.Sequential(*layers), x)
    assert errors.max() <= 1e-12, str(exactness)
    if all(pad == "CIRCULAR" for *_, pad in specs):
        coarsest = np.max(np.cumprod([s if kind == "Conv" else 1 / s for kind, _, s, _ in specs]))
        assert exactness.keeps_point_group
        assert exactness.shift_step == (coarsest, coarsest)


def test_layers_that_turn_about_different_points_are_refused():
    """Each keeps the whole group, the one with borders about the centre, the torus layer half a pixel from it."""
    torus = ej.nn.Conv(1, 1, 2, padding="CIRCULAR", **options(P4))
    border = ej.nn.Conv(1, 1, 3, **options(P4))
    model = ej.nn.Sequential(border, torus)
    with pytest.raises(ValueError, match=r"keeps only 1 elements .* Use one kind of padding"):
        model(randn((8, 8, 1)))
    lax_border = ej.nn.Conv(1, 1, 3, allow_inexact=True, **options(P4))
    assert ej.nn.Sequential(lax_border, torus)(randn((8, 8, 1))).shape == (8, 8, 1)
    check_exact(ej.nn.Sequential(torus, border), randn((8, 8, 1)))  # a torus turns about any point
    assert ej.nn.Sequential(border, ej.nn.Conv(1, 1, 1, **options(P4)))(randn((8, 8, 1))).shape == (8, 8, 1)


def test_restriction_in_front_and_inside_of_a_nested_chain():
    restrict = ej.nn.Restrict(P4M.point_group.subgroup([1]), group=P4M)
    lift = ej.nn.LiftingConv(1, 1, 3, **options(P4M, padding="CIRCULAR"))
    conv = ej.nn.GroupConv(2, 1, 3, **options(P4, padding="CIRCULAR"))
    for model, shape in [
        (ej.nn.Sequential(restrict, conv), (5, 5, 8, 1)),
        (ej.nn.Sequential(ej.nn.Sequential(lift, restrict), conv), (5, 5, 1)),
        (ej.nn.Sequential(lift, ej.nn.Sequential(restrict, conv)), (5, 5, 1)),
    ]:
        check_exact(model, randn(shape))
        assert model.out_action == model.out_action_for(model.in_action)
        assert model.in_action.group == P4


def test_restriction_that_moves_the_centre_is_refused():
    group = ej.SpaceGroup(ej.PointGroup.from_matrices([[[0, -1], [1, 1]]]))
    with pytest.raises(ValueError, match="basis=HEXAGONAL"):
        _ = ej.nn.Restrict(group.point_group.subgroup([3]), group=group).in_action


def test_reference_layers_are_compared_with_their_neighbours():
    group = ej.Cyclic(4)
    other = ej.reps.PermutationRepresentation(group, [[0, 1, 2, 3], [1, 0, 3, 2], [0, 1, 2, 3], [1, 0, 3, 2]])
    regular = ej.FibreAction(Regular(group))
    given = {key: value for key, value in options(None).items() if key != "group"}
    linear = ej.nn.EquivariantLinear(regular, regular, 1, 1, **given)
    with pytest.raises(ValueError, match="does not fit"):
        ej.nn.Sequential(ej.nn.Conv(1, 1, (), in_fibre=Regular(group), out_fibre=other, **options(group)), linear)
    model = ej.nn.Sequential(linear, ej.nn.GroupConv(1, 2, (), **options(group)), linear_to_scalar(group))
    exactness, errors = errors_of(model, randn((3, 4, 1)))
    assert errors.max() <= 1e-12 and len(exactness.point_elements) == 4


def linear_to_scalar(group):
    return ej.nn.ProjectionConv(2, 1, (), **options(group))


def test_exactness_without_a_grid_gives_elements_of_the_group():
    layer = ej.nn.GroupConv(1, 1, (), **options(P4))
    assert errors_of(layer, randn((4, 1)))[1].max() <= 1e-12
    given = {key: value for key, value in options(None).items() if key != "group"}
    sets = ej.nn.EquivariantLinear(ej.SetAction(3), ej.SetAction(3), 1, 1, **given)
    assert errors_of(sets, randn((3, 1)))[1].max() <= 1e-12
    torus = ej.GridAction(P4).on((2, 3))
    linear = ej.nn.EquivariantLinear(torus, torus, 1, 1, **given)
    exactness, errors = errors_of(linear, randn((2, 3, 1)))
    assert len(exactness.point_elements) == 2 and errors.max() <= 1e-12


def test_arrays_with_borders_turn_each_about_its_own_centre_in_the_reference_layer():
    act = ej.GridAction(P4, boundary="zero")
    given = {key: value for key, value in options(None).items() if key != "group"}
    layer = ej.nn.EquivariantLinear(act.on((4, 4)), act.on((3, 3)), 1, 1, **given)
    elements = (jnp.zeros((4, 2), jnp.int32), jnp.arange(4))
    check_equivariance(layer, layer.in_action, layer.out_action, randn((2, 4, 4, 1)), elements)
    assert layer.kernel.shape[0] < 4 * 4 * 3 * 3


@pytest.mark.parametrize("shape", [(0, 5, 5, 4, 2), (2, 0, 5, 5, 4, 2)])
def test_empty_batches(shape):
    for layer in (
        ej.nn.GroupConv(2, 4, 3, **options(P4)),
        ej.nn.GroupConv(2, 4, 3, feature_group_count=2, **options(P4)),
        ej.nn.GroupNorm(2, 1, group=P4, param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
        ej.nn.MaxPool(3, 2, group=P4),
        ej.nn.Restrict(P4.point_group.subgroup([2]), group=P4),
    ):
        assert layer(jnp.zeros(shape)).size == 0


def test_a_misspelt_option_is_refused():
    model = ej.nn.Sequential(ej.nn.LiftingConv(1, 2, 3, **options(P4)), nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    model(randn((5, 5, 1)), deterministic=True)
    with pytest.raises(TypeError, match="`determnistic` is accepted by no layer"):
        model(randn((5, 5, 1)), determnistic=True)


def test_a_flax_convolution_in_a_chain_is_refused():
    with pytest.raises(ValueError, match=r"Use equijax.nn.Conv"):
        ej.nn.Sequential(ej.nn.Conv(1, 2, 3, **options(P4)), nnx.Conv(2, 2, (3, 3), rngs=nnx.Rngs(0)))


def test_default_elements_of_a_strided_layer_act_on_both_sides():
    layer = ej.nn.Conv(1, 1, 3, 2, padding="CIRCULAR", **options(P4M))
    assert ej.equivariance_error(layer, layer.in_action, layer.out_action, randn((8, 8, 1))).max() <= 1e-12
    with pytest.raises(ValueError, match="holds 9"):
        ej.equivariance_error(
            layer, layer.in_action, layer.out_action, randn((8, 8, 1)), (jnp.zeros((1, 2), int), jnp.array([9]))
        )


def test_a_function_of_arrays_after_a_graph_is_refused():
    layer = ej.nn.MapNodes(nnx.Linear(2, 2, rngs=nnx.Rngs(0)))
    for wrong in (jax.nn.relu, nnx.Linear(2, 2, rngs=nnx.Rngs(0))):
        with pytest.raises(ValueError, match=r"layer 1 .* takes arrays, but layer 0 \(MapNodes\) is a graph.*MapNodes"):
            ej.nn.Sequential(layer, wrong)
    assert len(ej.nn.Sequential(layer, ej.nn.GraphPool("sum"), jax.nn.relu)) == 3


def test_options_reach_what_a_map_applies_and_nothing_else():
    norm = nnx.BatchNorm(2, rngs=nnx.Rngs(0), param_dtype=jnp.float32)
    model = ej.nn.Sequential(ej.nn.MapNodes(norm), ej.nn.MapNodes(jax.nn.relu))
    graph = ej.Graph(jnp.ones((3, 2), jnp.float32), senders=[0], receivers=[1])
    assert np.allclose(model(graph, use_running_average=True).nodes, 1.0, atol=1e-4)
    with pytest.raises(TypeError, match="`use_runing_average` is accepted by no layer"):
        model(graph, use_runing_average=True)


VECTORS = ej.reps.Vector(ej.SO(2))


@pytest.mark.parametrize(
    "cast",
    [
        lambda x: x.astype(bool).astype(x.dtype),
        lambda x: x.astype(jnp.int32).astype(x.dtype),
        lambda x: x.astype(jnp.uint8).astype(x.dtype),
        lambda x: x.astype(jnp.float8_e4m3fn).astype(x.dtype),
        lambda x: jax.lax.reduce_precision(x, 5, 2),
    ],
    ids=["bool", "int32", "uint8", "float8", "reduce_precision"],
)
def test_casts_that_round_coordinates_are_pointwise(cast):
    act = FibreAction(VECTORS)
    layer = ej.nn.EquivariantLinear(act, act, 2, 2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="treats each coordinate of the fibre by itself"):
        ej.nn.Sequential(layer, cast)
    mixed = ej.nn.Sequential(layer, lambda x: x.astype(jnp.bfloat16).astype(jnp.float32))
    assert mixed.exactness((3, 2, 2)).kept.is_everything  # up to the rounding of its numbers


def test_a_function_that_changes_its_mind_is_read_anew():
    conv, flips = ej.nn.Conv(1, 1, 3, padding="CIRCULAR", **options(P4)), [False]

    def perhaps(x):
        return x[:, ::-1] if flips[0] else x

    model = ej.nn.Sequential(conv, perhaps, conv)
    assert model.exactness((2, 8, 8, 1)).keeps_point_group
    flips[0] = True
    assert not model.exactness((2, 8, 8, 1)).kept.is_known
    assert not ej.nn.Sequential(conv, perhaps, conv).exactness((2, 8, 8, 1)).kept.is_known


class Corners(ej.Action):
    """Quarter turns of squares whose axes stand apart, or behind the features."""

    permutes = True

    def __init__(self, order):
        self.group, self.order = ej.Cyclic(4), order

    def axes(self, ndim):
        return tuple(ej.actions.Axis(*role) for role in self.order)

    def __call__(self, g, x):
        places = tuple(k for k, role in enumerate(self.order) if role[0] == "base")
        turns = [jnp.rot90(x, k, axes=places) for k in range(4)]
        return jnp.stack(turns)[g]


APART = Corners((("batch",), ("base", 0), ("batch",), ("base", 1), ("feature",)))
BEHIND = Corners((("batch",), ("feature",), ("base", 0), ("base", 1)))


@pytest.mark.parametrize(
    ("action", "fn", "kept"),
    [
        (APART, lambda x: x.mean((1, 2)), False),
        (APART, lambda x: jnp.swapaxes(x, 1, 2), False),
        (APART, jnp.tanh, True),
        (APART, lambda x: x - x.mean((1, 3), keepdims=True), True),
        (BEHIND, lambda x: jnp.swapaxes(x, 1, 2), False),
        (BEHIND, jax.nn.relu, True),
        (BEHIND, lambda x: x.cumsum(1), True),
    ],
)
def test_axes_in_any_order_are_followed_to_where_they_belong(action, fn, kept):
    model = ej.nn.Sequential(ej.nn.Declared(jnp.sin, action, action), fn)
    x = randn((2, 4, 4, 4, 3) if action is APART else (2, 4, 4, 4))
    found = model.exactness(x.shape)
    assert found.kept.is_known == kept
    if kept:
        elements = jnp.arange(4)
        assert ej.equivariance_error(model, found.in_action, found.out_action, x, elements).max() <= 1e-12


@pytest.mark.parametrize(
    "spread",
    [lambda x: jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape), jnp.zeros_like],
    ids=["mean", "zeros"],
)
def test_what_is_constant_over_the_grid_is_a_field(spread):
    conv = ej.nn.Conv(1, 1, 3, padding="CIRCULAR", **options(P4))
    check_exact(ej.nn.Sequential(conv, spread, conv), randn((2, 6, 6, 1)), gradient=False)
