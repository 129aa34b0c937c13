"""What every layer of sets owes: the law with a mask, padding that may hold anything, empty sets, equal elements."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.testing import check_equivariance
from tests.helpers import BIAS, KERNEL, WithMask, check_message, randn

F, N = 4, 5
MASK = jnp.array([[True, False, True, True, False], [False] * N, [True] * N])
COMMON = {"param_dtype": jnp.float64, "kernel_init": KERNEL, "bias_init": BIAS}


def first_minus_square_of_second(pairs):
    return pairs[..., 0, :] - pairs[..., 1, :] ** 2


def relu_mlp(rngs):
    return nnx.Sequential(nnx.Linear(F, 3, rngs=rngs, **COMMON), jax.nn.relu)


def set_transformer(rngs, **common):
    encoder = ej.nn.Sequential(ej.nn.InducedSetAttentionBlock(F, 3, 2, hidden_features=3, rngs=rngs, **common), jax.nn.relu)
    decoder = nnx.Linear(F, 2, rngs=rngs, **common)
    return ej.nn.DeepSet(encoder, decoder, aggregation=ej.nn.AttentionPool(F, 2, 2, rngs=rngs, **common))


LAYERS = {
    "SetLinear": lambda r: ej.nn.SetLinear(F, 3, rngs=r, **COMMON),
    "SetLinear several": lambda r: ej.nn.SetLinear(F, 3, aggregation=("max", "sum"), rngs=r, **COMMON),
    "SetLinear tied": lambda r: ej.nn.SetLinear(F, 3, aggregation="max", tied=True, rngs=r, **COMMON),
    "SetPool": lambda r: ej.nn.SetPool(("std", "logsumexp", ej.nn.Quantiles((0.2, 0.5)))),
    "DeepSet": lambda r: ej.nn.DeepSet(relu_mlp(r), nnx.Linear(3, 2, rngs=r, **COMMON)),
    "set transformer": lambda r: set_transformer(r, **COMMON),
    "JanossyPool": lambda r: ej.nn.JanossyPool(ej.nn.RecurrentAggregation(F, 3, param_dtype=jnp.float64, rngs=r), arity=2),
    "Sequential": lambda r: ej.nn.Sequential(
        nnx.Linear(F, F, rngs=r, **COMMON),
        ej.nn.SetLinear(F, F, rngs=r, **COMMON),
        nnx.LayerNorm(F, param_dtype=jnp.float64, rngs=r),
        nnx.Sequential(nnx.Linear(F, F, rngs=r, **COMMON), jax.nn.relu),
        ej.nn.SetPool("mean"),
    ),
}


@pytest.fixture(autouse=True)
def _flax_norms_in_float64():
    """Flax joins float64 with float32 in its norms."""
    with jax.numpy_dtype_promotion("standard"):
        yield


every = pytest.mark.parametrize("name", LAYERS)


@every
def test_law_with_a_mask_forward_and_gradient(name):
    layer = LAYERS[name](nnx.Rngs(0))
    x = jnp.where(MASK[..., None], randn((3, N, F)), jnp.nan)
    run = jax.jit(lambda pair: layer(pair[0], mask=pair[1]))
    out_action = layer.out_action
    check_equivariance(run, WithMask(layer.in_action), out_action, (x, MASK))


@every
def test_padding_empty_sets_and_equal_elements(name):
    """A set is the same set alone and with padding of NaN; an empty one gives numbers; parameters get finite gradients."""
    graph, state = nnx.split(LAYERS[name](nnx.Rngs(0)))
    x = np.array(randn((3, N, F)))
    x[2, [1, 3]] = randn((F,), 5)
    x = jnp.asarray(x)
    padded = jnp.where(MASK[..., None], x, jnp.nan)

    @jax.jit
    def run(state, x):
        def loss(state, x):
            y = nnx.merge(graph, state)(x, mask=MASK)
            return (y**2).sum(), y

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(state, x)

    (_, y), gradients = run(state, padded)
    (_, other), others = run(state, jnp.where(MASK[..., None], x, 1e6))
    assert np.array_equal(y, other)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((y, gradients)))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(others), strict=True))
    assert (gradients[1][~MASK] == 0).all()
    if isinstance(nnx.merge(graph, state).out_action, ej.SetAction):
        assert (y[~MASK] == 0).all() and np.allclose(y[2, 1], y[2, 3], rtol=1e-13)
    apply = jax.jit(nnx.merge(graph, state))
    alone = apply(jnp.asarray(np.asarray(x)[:1][:, np.asarray(MASK[0])]))
    y = np.asarray(y)
    kept = y[:1] if y.ndim < 3 or y.shape[1] != N else y[:1][:, np.asarray(MASK[0])]
    np.testing.assert_allclose(kept, alone, rtol=1e-12, atol=1e-13)
    none = apply(jnp.zeros((1, 0, F)))
    np.testing.assert_allclose(y[1:2, : none.shape[1]] if none.ndim == 3 else y[1:2], none, rtol=1e-12, atol=1e-13)


@every
def test_bad_masks_and_shapes(name):
    layer, x = LAYERS[name](nnx.Rngs(0)), randn((3, N, F))
    check_message(lambda: layer(x, mask=MASK[0]), ValueError, ["mask` has shape (5,)", "(3, 5)"])
    check_message(lambda: layer(x, mask=MASK.astype(jnp.float32)), TypeError, ["mask` has dtype float32", "bool"])
    check_message(lambda: layer(x[0, 0], mask=MASK[0]), (ValueError, TypeError), [])


def test_float32_and_bfloat16_with_a_norm():
    single = ej.nn.SetAttentionBlock(F, 2, rngs=nnx.Rngs(0))
    narrow = ej.nn.SetAttentionBlock(F, 2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    x = jnp.where(MASK[..., None], randn((3, N, F), dtype=jnp.float32), jnp.nan)
    with jax.numpy_dtype_promotion("strict"):
        single, narrow = single(x, MASK), narrow(x, MASK)
    assert single.dtype == jnp.float32 and narrow.dtype == jnp.bfloat16
    np.testing.assert_allclose(narrow.astype(jnp.float32), single, atol=0.1)


def test_batch_norm_in_a_chain_leaves_padding_out_of_its_statistics():
    rngs = nnx.Rngs(0)
    norm = nnx.BatchNorm(F, rngs=rngs)
    last = nnx.BatchNorm(3, use_running_average=True, rngs=rngs)  # behind the pool there is no mask any more
    model = ej.nn.Sequential(nnx.Linear(F, F, rngs=rngs), norm, ej.nn.SetLinear(F, 3, rngs=rngs), ej.nn.SetPool(), last)
    x = randn((3, N, F), dtype=jnp.float32)
    y = model(jnp.where(MASK[..., None], x, jnp.nan), mask=MASK)
    valid = model[0](x)[MASK]
    np.testing.assert_allclose(norm.mean[...], 0.01 * valid.mean(0), rtol=1e-4)
    assert np.isfinite(y).all() and y.shape == (3, 3)


def test_a_broken_layer_fails_the_law():
    layer = ej.nn.SetLinear(F, 3, rngs=nnx.Rngs(0), **COMMON)
    broken = lambda x: layer(x).at[..., 0, :].multiply(1.01)  # noqa: E731
    assert ej.equivariance_error(broken, layer.in_action, layer.out_action, randn((N, F))).max() > 1e-3


def test_options_that_nobody_takes():
    layer = LAYERS["Sequential"](nnx.Rngs(0))
    check_message(lambda: layer(randn((3, N, F)), masks=MASK), TypeError, ["`masks`", "spelling"])
    assert layer(randn((3, N, F)), mask=None).shape == (3, F)


def test_a_mask_that_flax_would_drop():
    rngs = nnx.Rngs(0)
    inner = nnx.Sequential(nnx.Linear(F, F, rngs=rngs), nnx.Sequential(jax.nn.relu, nnx.BatchNorm(F, rngs=rngs)))
    deep, x = ej.nn.DeepSet(inner, jnp.tanh), randn((3, N, F), dtype=jnp.float32)
    chain = ej.nn.Sequential(inner, ej.nn.SetPool())
    orders = ej.nn.JanossyPool(nnx.Sequential(jnp.sin, ej.nn.RecurrentAggregation(F, 2, rngs=rngs)))
    for layer, name in ((deep, "BatchNorm"), (chain, "BatchNorm"), (orders, "RecurrentAggregation")):
        needs = [f"`mask` would not reach {name}", "equijax.nn.Sequential"]
        check_message(lambda layer=layer: layer(x, mask=MASK), ValueError, needs)
    assert deep(x).shape == (3, F) and ej.nn.SetPool(("mean", "std")).pooled_features(F) == 2 * F


def test_what_does_not_fit_in_a_chain():
    pool, block = ej.nn.SetPool(), ej.nn.SetLinear(2, 2, rngs=nnx.Rngs(0))
    check_message(lambda: ej.nn.Sequential(pool, block), ValueError, ["layer 1 (SetLinear) does not fit", "SetPool"])
