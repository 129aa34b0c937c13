"""Layers are built inside ``jit`` and ``eval_shape``, whether or not their tables are there already."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import equijax as ej
from equijax.sharing import _linear

QUARTER = ej.reps.Regular(ej.Cyclic(4))
ACTIONS = {
    "set": ej.SetAction(5),
    "relation": ej.TensorAction(3, order=2),
    "fibre": ej.FibreAction(QUARTER),
    "grid": ej.GridAction(ej.wallpaper("p4")).on((3, 3)),
    "set of vectors": ej.ProductAction(ej.SetAction(3), ej.FibreAction(QUARTER)),
    "vector": ej.FibreAction(ej.reps.Vector(ej.Dihedral(3))),
    "rotations": ej.FibreAction(ej.reps.Vector(ej.SO(3))),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_linear_layers_are_built_while_tracing(name):
    action = ACTIONS[name]
    build = lambda: ej.nn.EquivariantLinear(action, action, 1, 2, rngs=nnx.Rngs(0))  # noqa: E731
    _linear._rule.cache_clear()
    traced = nnx.eval_shape(build)
    assert traced.kernel.shape == build().kernel.shape


@pytest.mark.parametrize("group", [ej.Permutation(3), ej.DirectProduct(ej.Cyclic(2), ej.Dihedral(3)), ej.Dihedral(3)])
def test_averages_are_built_while_tracing(group):
    action = ej.TrivialAction(group)
    build = lambda x: ej.nn.Symmetrize(jnp.sin, group, action, action)(x)  # noqa: E731
    x = jnp.arange(3.0)
    assert jnp.allclose(jax.jit(build)(x), jnp.sin(x))
