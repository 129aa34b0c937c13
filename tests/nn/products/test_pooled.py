"""Exchangeable matrices and sets of sets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.sharing import LinearSharing
from equijax.testing import check_equivariance
from tests.helpers import WithMask, check_message, options, randn, train

LAYERS = ["ExchangeableLinear", "HierarchicalSetLinear"]
both = pytest.mark.parametrize("name", LAYERS)
MASK = jnp.array([[True, True, False, True], [True, False, False, False], [False] * 4])


def build(name, in_features=2, out_features=3, **more):
    given = options(None, **more)
    given.pop("group")
    return getattr(ej.nn, name)(in_features, out_features, **given)


def padded(x, mask, fill=jnp.nan):
    return jnp.where(mask[..., None], x, fill)


def check_masked_law(layer, x, mask):
    act = layer.in_action
    out = lambda pair: jax.jit(layer)(*pair)  # noqa: E731
    check_equivariance(out, WithMask(act, act), act, (padded(x, mask), mask))


@both
def test_law_with_missing_entries_after_training(name):
    layer, x = build(name), randn((3, 4, 2))
    train(layer, padded(x, MASK), MASK)
    check_masked_law(layer, x, MASK)


def test_law_of_other_aggregations():
    layer, x = build("HierarchicalSetLinear", aggregation=("max", "std")), randn((2, 3, 4, 2))
    check_equivariance(jax.jit(layer), layer.in_action, layer.out_action, x)


@both
@pytest.mark.parametrize(("aggregation", "n", "m"), [("mean", 3, 4), ("sum", 1, 4)])
def test_it_equals_the_reference_layer(name, aggregation, n, m):
    layer = build(name, aggregation=aggregation)
    act = layer.in_action.on((n, m))
    linear = ej.nn.EquivariantLinear(act, act, 2, 3, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
    weights = layer.to_orbit_weights(n, m)
    assert {k: v.shape for k, v in weights.items()} == {"kernel": linear.kernel.shape, "bias": linear.bias.shape}
    linear.kernel[...], linear.bias[...] = weights["kernel"], weights["bias"]
    x = randn((2, n, m, 2))
    y, expected = (np.asarray(jax.jit(call)(x)) for call in (layer, linear))
    assert np.abs(y - expected).max() <= 1e-12 * np.abs(expected).max()


def test_there_are_as_many_weights_as_orbits():
    for name, weights in zip(LAYERS, (4, 3), strict=True):
        layer = build(name)
        act = layer.in_action.on((3, 4))
        assert LinearSharing(act, act).count == 1 + layer.pool_kernel.shape[0] == weights


@pytest.mark.parametrize(("word", "reduce"), [("mean", np.mean), ("max", np.max)])
def test_it_equals_the_equation(word, reduce):
    layer, x, mask = build("ExchangeableLinear", aggregation=word), np.asarray(randn((3, 4, 2))), np.asarray(MASK)
    A, (row, column, everything), c = (np.asarray(p[...]) for p in (layer.kernel, layer.pool_kernel, layer.bias))
    expected = np.zeros((3, 4, 3))
    for i, j in np.argwhere(mask):
        pools = reduce(x[i, mask[i]], axis=0), reduce(x[mask[:, j], j], axis=0), reduce(x[mask], axis=0)
        expected[i, j] = x[i, j] @ A + pools[0] @ row + pools[1] @ column + pools[2] @ everything + c
    assert np.abs(np.asarray(jax.jit(layer)(padded(x, MASK), MASK)) - expected).max() <= 1e-12


@both
def test_padding_does_not_matter(name):
    layer, x = build(name), randn((2, 3, 2))
    more = jnp.full((4, 5, 2), jnp.nan).at[:2, :3].set(x)
    mask = jnp.zeros((4, 5), bool).at[:2, :3].set(True)
    y = np.asarray(jax.jit(layer)(more, mask))
    assert np.abs(y[:2, :3] - np.asarray(jax.jit(layer)(x))).max() <= 1e-13
    assert not y[2:].any() and not y[:, 3:].any()


@both
def test_nothing_is_there(name):
    layer = build(name)
    x, mask = jnp.full((2, 3, 2), jnp.nan), jnp.zeros((2, 3), bool)
    value, gradient = jax.jit(jax.value_and_grad(lambda x: layer(x, mask).sum()))(x)
    assert value == 0 and not np.asarray(gradient).any()
    for shape in ((0, 3), (2, 0), (0, 0)):
        assert jax.jit(layer)(jnp.zeros((5, *shape, 2))).shape == (5, *shape, 3)


def test_broken_layers_are_found():
    x = randn((3, 4, 2))
    matrix, sets = (build(name) for name in LAYERS)
    wreath, product = sets.in_action, matrix.in_action
    assert ej.equivariance_error(jax.jit(matrix), wreath, wreath, x).max() > 1e-2, "columns mean something to it"
    assert ej.equivariance_error(jax.jit(sets), product, product, x).max() <= 1e-12, "the smaller group is respected too"
    by_column = jax.jit(lambda x: matrix(x) * jnp.arange(1.0, 5.0).reshape(1, 4, 1))
    assert ej.equivariance_error(by_column, product, product, x).max() > 1e-2


@both
def test_dtypes(name):
    x = randn((3, 4, 2), dtype=jnp.float32)
    layer = build(name, param_dtype=jnp.float32, dtype=jnp.bfloat16)
    y = jax.jit(layer)(padded(x, MASK), MASK)
    assert y.dtype == jnp.bfloat16 and layer.pool_kernel.dtype == jnp.float32
    expected = jax.jit(build(name, param_dtype=jnp.float32))(x, MASK)
    assert np.abs(np.asarray(y, np.float32) - np.asarray(expected)).max() < 0.1


@both
def test_chains(name):
    model = ej.nn.Sequential(build(name), jax.nn.relu, build(name, 3, 1))
    x = padded(randn((3, 4, 2)), MASK)
    y = np.asarray(jax.jit(lambda x: model(x, mask=MASK))(x))
    assert y.shape == (3, 4, 1) and np.isfinite(y).all() and not y[2].any()
    other = build(LAYERS[1 - LAYERS.index(name)], 3, 1)
    check_message(
        lambda: ej.nn.Sequential(build(name), other), ValueError, ["layer 1", "does not fit layer 0", "belongs to"]
    )


def test_bad_input():
    layer, x = build("ExchangeableLinear"), randn((3, 4, 2))
    check_message(lambda: layer(x[0]), ValueError, ["`inputs` has shape (4, 2)", "(*batch, n, m, 2)"])
    check_message(lambda: layer(x[..., :1]), ValueError, ["(3, 4, 1)", "(*batch, n, m, 2)"])
    check_message(lambda: layer(x, MASK[0]), ValueError, ["`mask` has shape (4,)", "(3, 4)"])
    check_message(lambda: layer(x, MASK.astype(jnp.int32)), TypeError, ["`mask`", "int32", "bool"])
    check_message(lambda: build("ExchangeableLinear", 0), ValueError, ["`in_features`", "0"])
    check_message(
        lambda: build("HierarchicalSetLinear", aggregation="average"), ValueError, ["`aggregation`", "average", "mean"]
    )
    ordered = ej.nn.RecurrentAggregation(2, 2, rngs=nnx.Rngs(0))
    check_message(lambda: build("ExchangeableLinear", aggregation=ordered), TypeError, ["`aggregation`", "order"])
    maximum = build("HierarchicalSetLinear", aggregation="max")
    check_message(lambda: maximum.to_orbit_weights(2, 3), ValueError, ["Max()", "not linear", "'mean'"])
