"""Restriction to a smaller group that is given by its matrices."""

import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.testing import check_equivariance
from tests.helpers import check_message, randn

SO3, CUBE = ej.SO(3), ej.Octahedral()


def test_rotations_of_space_become_those_of_the_cube():
    fibre = ej.reps.Vector(SO3)
    layer = ej.nn.Restrict(CUBE, group=SO3, in_fibre=fibre)
    x = randn((2, 3, 5))
    assert layer.small_group == CUBE and np.array_equal(layer(x), x)
    out = layer.out_action_for(ej.FibreAction(fibre))
    assert out == layer.out_action and out.group == CUBE
    for g in (1, 7, 23):
        assert np.allclose(out(g, x), jnp.einsum("ij,bjc->bic", CUBE.matrices[g], x), atol=1e-12)
    check_equivariance(layer, layer.in_action, layer.out_action, x, gradient=False)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ej.nn.Restrict(CUBE, group=SO3), ValueError, ["`in_fibre`", "representation"]),
        (lambda: ej.nn.Restrict(3, group=SO3, in_fibre=ej.reps.Vector(SO3)), TypeError, ["`subgroup`", "smaller group"]),
        (lambda: ej.nn.Restrict(ej.O(3), group=SO3, in_fibre=ej.reps.Vector(SO3)), ValueError, ["O(3)", "SO(3)"]),
    ],
)
def test_wrong_use(call, error, words):
    check_message(call, error, words)
