"""Networks of Linen in the wrapper of Flax: rows carry the names of their modules, at the root and below."""

import flax.linen
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej

SHIFTS = ej.GridAction(ej.Translation(2))
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16, 16, 3)))


class Stage(flax.linen.Module):
    """A convolution and a norm, nested."""

    padding: str

    @flax.linen.compact
    def __call__(self, x):
        x = flax.linen.Conv(4, (3, 3), padding=self.padding, param_dtype=jnp.float64, name="conv")(x)
        return flax.linen.LayerNorm(dtype=jnp.float64, param_dtype=jnp.float64, force_float32_reductions=False)(x)


class Network(flax.linen.Module):
    """Two stages, a stride, the mean, a dense layer."""

    @flax.linen.compact
    def __call__(self, x):
        x = flax.linen.relu(Stage("SAME", name="first")(x))
        x = flax.linen.relu(Stage("CIRCULAR", name="second")(x))
        x = flax.linen.Conv(4, (3, 3), 2, padding="CIRCULAR", param_dtype=jnp.float64, name="down")(x)
        return flax.linen.Dense(3, param_dtype=jnp.float64, name="head")(flax.linen.relu(x).mean((1, 2)))


class Holder(nnx.Module):
    """A Linen network inside a network of NNX."""

    def __init__(self):
        self.inner = nnx.bridge.ToNNX(Network(), rngs=nnx.Rngs(0)).lazy_init(IMAGE)
        self.out = nnx.Linear(3, 2, param_dtype=jnp.float64, rngs=nnx.Rngs(1))

    def __call__(self, x):
        return self.out(jnp.tanh(self.inner(x)))


@pytest.mark.parametrize("nested", [False, True])
def test_rows_have_the_names_of_modules(nested):
    model = Holder() if nested else nnx.bridge.ToNNX(Network(), rngs=nnx.Rngs(0)).lazy_init(IMAGE)
    found = ej.audit.explain(model, IMAGE, in_action=SHIFTS)
    prefix = "inner." if nested else ""
    accused = {row.name: {cause.kind for cause in row.causes} for row in found.accused}
    assert accused == {f"{prefix}first.conv": {"border"}, f"{prefix}down": {"phase"}}
    assert {f"{prefix}second.conv", f"{prefix}head"} <= {row.name for row in found.rows}
    assert not found.notes and found.plan.complete
