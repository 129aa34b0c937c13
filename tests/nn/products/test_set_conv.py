"""Convolution on sets of fields, and other layers on each field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import Regular
from equijax.sharing import LinearSharing
from equijax.sharing._orbit_sharing import defect
from equijax.testing import check_equivariance
from tests.helpers import QUATERNIONS, WithMask, check_message, dense_matrix, options, randn, train

P4 = ej.wallpaper("p4")
FOUR, EIGHT = Regular(P4.point_group), Regular(QUATERNIONS)
MASK = jnp.array([[True, False, True], [False, True, False]])
CASES = {
    "images": (ej.Translation(2), 3, {}, (4, 5)),
    "lifting": (P4, 3, {"out_fibre": FOUR}, (5, 5)),
    "group": (P4, 3, {"in_fibre": FOUR, "out_fibre": FOUR}, (3, 3)),
    "functions on a group": (QUATERNIONS, (), {"in_fibre": EIGHT, "out_fibre": EIGHT}, ()),
}


def build(name, features=(2, 3), **more):
    group, window, fibres, sizes = CASES[name]
    more.setdefault("padding", "CIRCULAR")
    layer = ej.nn.SetConv(*features, window, **options(group, **fibres, **more))
    return layer, (*sizes, *layer.element.in_fibre.shape, features[0])


def padded(x, mask):
    return jnp.where(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x, jnp.nan)


def check_masked_law(layer, x, mask):
    of_mask = ej.ProductAction(ej.SetAction(), ej.TrivialAction(layer.element.group))
    out = lambda pair: jax.jit(layer)(*pair)  # noqa: E731
    check_equivariance(out, WithMask(layer.in_action, of_mask), layer.out_action, (padded(x, mask), mask))


@pytest.mark.parametrize("name", ["lifting", "functions on a group"])
def test_law_with_padding_after_training(name):
    layer, shape = build(name)
    x = randn((2, 3, *shape))
    train(layer, padded(x, MASK), MASK)
    check_masked_law(layer, x, MASK)


def reference_of(layer, shape, n):
    """The most general layer between the same actions, with the weights read off the fast layer's matrix."""
    sizes = shape[: len(layer.element.kernel_size)]
    into, out = (action.on((n, *sizes)) for action in (layer.in_action, layer.out_action))
    linear = ej.nn.EquivariantLinear(into, out, 2, 3, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
    matrix = dense_matrix(jax.jit(layer), (n, *shape)).reshape(out.size, 3, into.size, 2)
    orbits = linear.sharing.orbits
    assert defect(np.moveaxis(matrix, 2, 1), orbits) <= 1e-12
    rows, columns = np.unravel_index(np.unique(orbits, return_index=True)[1], orbits.shape)
    linear.kernel[...] = jnp.asarray(np.swapaxes(matrix[rows, :, columns, :], 1, 2))
    linear.bias[...] = layer.element.bias[...]
    return linear


@pytest.mark.parametrize(("name", "aggregation"), [("group", "mean"), ("functions on a group", "sum")])
def test_with_a_window_as_large_as_the_torus_it_equals_the_reference_layer(name, aggregation):
    """As many weights, and with these weights the same function."""
    layer, shape = build(name, aggregation=aggregation)
    linear = reference_of(layer, shape, 2)
    assert linear.kernel.shape[0] == layer.element.kernel.shape[0] + layer.pooled.kernel.shape[0]
    x = randn((2, 2, *shape))
    y, expected = (np.asarray(jax.jit(call)(x)) for call in (layer, linear))
    assert np.abs(y - expected).max() <= 1e-12 * np.abs(expected).max()


def test_defect_of_smaller_windows_and_strides():
    layer = ej.nn.SetConv(1, 1, 2, 2, **options(P4, out_fibre=FOUR, padding="CIRCULAR"))
    into, out = layer.in_action.on((2, 4, 4)), layer.out_action
    coarse = ej.GridAction(P4, FOUR, spacing=2, origin=out.factors[1].origin, torus=(4, 4))
    sharing = LinearSharing(into, ej.ProductAction(ej.SetAction(), coarse).on((2, 2, 2)))
    matrix = dense_matrix(jax.jit(layer), (2, 4, 4, 1))
    assert sharing.defect(matrix) <= 1e-12
    assert sharing.defect(np.random.default_rng(0).normal(size=matrix.shape)) > 0.5


def test_it_equals_the_equation():
    layer, shape = build("lifting", aggregation=("mean", "max"))
    x = randn((2, 3, *shape))
    y, element, pooled = jax.jit(layer)(padded(x, MASK), MASK), jax.jit(layer.element), jax.jit(layer.pooled)
    for b, mask in enumerate(np.asarray(MASK)):
        members = np.asarray(x)[b][mask]
        together = np.asarray(pooled(np.concatenate([members.mean(0), members.max(0)], axis=-1)))
        for i in range(3):
            expected = np.asarray(element(x[b, i])) + together if mask[i] else np.zeros_like(together)
            assert np.abs(np.asarray(y)[b, i] - expected).max() <= 1e-12


def test_padding_and_batches_do_not_matter():
    layer, shape = build("group")
    x = randn((2, *shape))
    more = jnp.full((4, *shape), jnp.nan).at[1:3].set(x)
    y = np.asarray(jax.jit(layer)(more, jnp.array([False, True, True, False])))
    expected = np.asarray(jax.jit(layer)(x))
    assert np.abs(y[1:3] - expected).max() <= 1e-13 and not y[0].any() and not y[3].any()
    assert np.abs(np.asarray(jax.jit(layer)(jnp.stack([x, 2 * x])))[0] - expected).max() <= 1e-13


def test_nothing_is_there():
    layer, shape = build("lifting")
    x, mask = jnp.full((3, *shape), jnp.nan), jnp.zeros((3,), bool)
    value, gradient = jax.jit(jax.value_and_grad(lambda x: layer(x, mask).sum()))(x)
    assert value == 0 and not np.asarray(gradient).any()
    assert jax.jit(layer)(jnp.zeros((2, 0, *shape))).shape == (2, 0, 5, 5, 4, 3)


def test_broken_layers_are_found():
    layer, shape = build("functions on a group")
    x, act, alone = randn((3, *shape)), layer.in_action, ej.WreathAction(inner=layer.element.in_action)
    assert ej.equivariance_error(jax.jit(layer), act, act, x).max() <= 1e-12
    assert ej.equivariance_error(jax.jit(layer), alone, alone, x).max() > 1e-2, "one element moves all functions"
    by_place = jax.jit(lambda x: layer(x) * jnp.arange(1.0, 4.0).reshape(3, 1, 1))
    assert ej.equivariance_error(by_place, act, act, x).max() > 1e-2
    reversed_ = jax.jit(lambda x: layer(x) + layer.pooled(x.mean(axis=0))[None, ::-1])
    assert ej.equivariance_error(reversed_, act, act, x).max() > 1e-2


def test_dtypes():
    layer, shape = build("lifting", param_dtype=jnp.float32, dtype=jnp.bfloat16)
    x = randn((3, *shape), dtype=jnp.float32)
    y = jax.jit(layer)(padded(x, MASK[0]), MASK[0])
    assert y.dtype == jnp.bfloat16 and layer.pooled.kernel.dtype == jnp.float32
    expected = jax.jit(build("lifting", param_dtype=jnp.float32)[0])(x, MASK[0])
    assert np.abs(np.asarray(y, np.float32) - np.asarray(expected)).max() < 0.1


def test_exactness_names_orders_and_what_one_layer_keeps():
    layer, _ = build("images", padding="SAME")
    exactness = layer.exactness((2, 3, 4, 5, 2))
    assert "Every order of the 3 elements" in str(exactness) and "Shifts are lost" in str(exactness)
    orders, shifts = exactness.elements()
    assert orders.shape == (2, 3) and not shifts.any()
    layer, shape = build("lifting")
    exactness = layer.exactness((3, *shape))
    assert exactness.keeps_point_group and len(exactness.generators()) == 2 + 2 + 3
    orders, (shifts, turns) = exactness.elements()
    assert orders.shape == (4, 3) and sorted(turns.tolist()) == [0, 1, 2, 3]
    assert exactness.sample(jax.random.key(0), (3,))[0].shape == (3, 3)
    alone = layer.exactness((1, *shape))
    assert alone.elements()[0].shape == (4, 1)


def chain(padding="CIRCULAR", second=None, **more):
    o = options(P4, **more)
    lift = ej.nn.SetConv(2, 2, 3, out_fibre=FOUR, padding=padding, **o)
    norm = ej.nn.MapElements(ej.nn.GroupNorm(2, 1, group=P4, param_dtype=jnp.float64, rngs=nnx.Rngs(0)))
    conv = ej.nn.SetConv(2, 2, 4, in_fibre=FOUR, out_fibre=FOUR, padding=second or padding, **o)
    return ej.nn.Sequential(lift, norm, jax.nn.relu, conv, ej.nn.MapElements(ej.nn.GlobalPool(group=P4)))


def test_chains():
    model, x = chain(), randn((2, 3, 5, 5, 2))
    exactness = model.exactness(x.shape)
    check_equivariance(jax.jit(model), exactness.in_action, exactness.out_action, x, exactness.elements(), gradient=False)
    y = np.asarray(jax.jit(lambda x: model(x, mask=MASK))(padded(x, MASK)))
    assert y.shape == (2, 3, 4, 2) and not y[0, 1].any()
    assert np.abs(y[0, ::2] - np.asarray(jax.jit(model)(x[0, ::2]))).max() <= 1e-12
    mixed = chain("CIRCULAR", ((2, 1), (2, 1)), allow_inexact=False)
    check_message(lambda: mixed(x), ValueError, ["keeps only"])
    lift, plain = model.layers[0], ej.nn.GroupConv(2, 2, 3, **options(P4))
    check_message(lambda: ej.nn.Sequential(lift, plain), ValueError, ["layer 1 (GroupConv) does not fit", "belongs to"])
    check_message(lambda: ej.nn.Sequential(lift, lift), ValueError, ["layer 1 (SetConv) does not fit"])


def test_the_mask_of_mapped_elements_names_every_element():
    norm = ej.nn.MapElements(ej.nn.GroupNorm(2, 1, group=P4, param_dtype=jnp.float64, rngs=nnx.Rngs(0)))
    pool, x = ej.nn.MapElements(ej.nn.FibrePool(group=P4)), randn((2, 3, 5, 5, 4, 2))
    for layer in (norm, pool):
        for wrong in (jnp.ones(2, bool), jnp.ones((2, 3, 5), bool)):
            check_message(
                lambda layer=layer, m=wrong: layer(x, m), ValueError, [f"`mask` has shape {wrong.shape}", "(2, 3)"]
            )
    check_message(lambda: norm(x, jnp.ones((2, 3, 5, 5), bool)), ValueError, ["`mask`"])
    assert not pool(x, MASK)[0, 1].any() and not pool(x[:, :, 0, 0], MASK)[0, 1].any(), (
        "fields, and vectors of the same fibre"
    )


def test_bad_input():
    layer, shape = build("lifting")
    x = randn((2, 3, *shape))
    check_message(lambda: layer(x[0, 0]), ValueError, ["has shape (5, 5, 2)", "*batch", "at least 4 axes"])
    check_message(lambda: layer(x[..., :1]), ValueError, ["`inputs`", "in_features = 2"])
    check_message(lambda: layer(x, MASK[0]), ValueError, ["`mask` has shape (3,)", "(2, 3)"])
    check_message(lambda: layer(x[..., :4, :]), ValueError, ["`inputs` has grid sizes (5, 4)", "keeps only", "Remedies"])
    check_message(lambda: build("lifting", aggregation=3), TypeError, ["`aggregation`", "3"])
    check_message(lambda: build("lifting", (0, 3)), ValueError, ["`in_features`", "0"])
    check_message(lambda: ej.nn.SetConv(2, 3, 3, **options(ej.Cyclic(4))), ValueError, ["`group`", "SpaceGroup"])
    check_message(lambda: ej.nn.MapElements(jax.nn.relu), TypeError, ["`element`", "no wrapper"])
    check_message(lambda: layer.out_action_for(ej.SetAction()), ValueError, ["`in_action`"])
    check_message(lambda: layer.out_action_for(3), TypeError, ["`in_action`", "Action"])
