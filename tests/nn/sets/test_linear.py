"""SetLinear is the reference layer on sets, and the two-weight layer written out."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.helpers import BIAS, KERNEL, check_message, randn

COMMON = {"param_dtype": jnp.float64, "kernel_init": KERNEL, "bias_init": BIAS}


@pytest.mark.parametrize(
    ("aggregation", "n", "more"),
    [("mean", 1, {}), ("mean", 4, {}), ("sum", 4, {}), ("mean", 4, {"tied": True}), ("sum", 4, {"use_bias": False})],
)
def test_equals_the_reference_layer(aggregation, n, more):
    layer = ej.nn.SetLinear(3, 2, aggregation=aggregation, rngs=nnx.Rngs(0), **COMMON, **more)
    act = ej.SetAction(n)
    reference = ej.nn.EquivariantLinear(act, act, 3, 2, use_bias=more.get("use_bias", True), rngs=nnx.Rngs(1), **COMMON)
    weights = layer.to_orbit_weights(n)
    assert {k: v.shape for k, v in weights.items()} == {
        k: v.shape for k, v in nnx.to_pure_dict(nnx.state(reference)).items()
    }
    nnx.update(reference, nnx.State({name: nnx.Param(value) for name, value in weights.items()}))
    x = randn((5, n, 3))
    np.testing.assert_allclose(layer(x), reference(x), rtol=1e-12, atol=1e-13)


def test_maximum_and_one_parameter_against_numpy():
    x = np.asarray(randn((4, 3)))
    layer = ej.nn.SetLinear(3, 2, aggregation="max", rngs=nnx.Rngs(0), **COMMON)
    a, b, c = (np.asarray(p[...]) for p in (layer.kernel, layer.pool_kernel, layer.bias))
    np.testing.assert_allclose(layer(jnp.asarray(x)), x @ a + x.max(0) @ b + c, rtol=1e-12)
    tied = ej.nn.SetLinear(3, 2, aggregation="max", tied=True, rngs=nnx.Rngs(0), **COMMON)
    assert tied.pool_kernel is None
    a, c = np.asarray(tied.kernel[...]), np.asarray(tied.bias[...])
    np.testing.assert_allclose(tied(jnp.asarray(x)), (x - x.max(0)) @ a + c, rtol=1e-12)


def test_bad_input():
    rngs = nnx.Rngs(0)
    maximum = ej.nn.SetLinear(3, 2, aggregation="max", rngs=rngs)
    check_message(lambda: maximum.to_orbit_weights(4), ValueError, ["not linear", "'mean'"])
    check_message(
        lambda: ej.nn.SetLinear(3, 2, aggregation=("mean", "max"), tied=True, rngs=rngs), ValueError, ["tied=False"]
    )
    ordered = ej.nn.RecurrentAggregation(3, 3, rngs=rngs)
    for build in (
        lambda: ej.nn.SetLinear(3, 2, aggregation=ordered, rngs=rngs),
        lambda: ej.nn.SetPool(ordered),
        lambda: ej.nn.DeepSet(abs, abs, aggregation=ordered),
    ):
        check_message(build, TypeError, ["depends on the order", "JanossyPool"])
    check_message(lambda: maximum(jnp.ones((4, 5))), ValueError, ["(4, 5)", "(*batch, n, 3)"])
    check_message(lambda: ej.nn.DeepSet(3, abs), TypeError, ["`phi`"])
    lossy = ej.nn.DeepSet(lambda x: x.sum(-2), abs)
    check_message(lambda: lossy(jnp.ones((4, 5))), ValueError, ["`phi`", "aggregation"])
