"""Rotations and rigid motions: axioms, Haar measure, and how they move points."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from tests.helpers import check_message, randn

GROUPS = [ej.O(1), ej.O(3), ej.SO(1), ej.SO(2), ej.E(1), ej.E(3), ej.SE(2)]


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_axioms_and_value_semantics(group):
    ej.testing.check_group(group)
    assert group == type(group)(group.n) and hash(group) == hash(pickle.loads(pickle.dumps(group)))
    assert group != type(group)(group.n + 1)
    with pytest.raises(ValueError, match="sample"):
        _ = group.generators
    with pytest.raises(ValueError, match="sample"):
        group.elements()


def test_different_groups_are_unequal_and_their_orders():
    assert len({ej.O(3), ej.SO(3), ej.E(3), ej.SE(3)}) == 4
    assert [ej.O(1).order, ej.SO(1).order] == [2, 1]
    assert {ej.O(2).order, ej.SO(2).order, ej.E(1).order, ej.SE(3).order} == {float("inf")}
    assert repr(ej.SE(3)) == "SE(3)"


@pytest.mark.parametrize("n", [1, 4])
def test_samples_are_orthogonal_and_both_components_are_drawn(n):
    matrices = ej.O(n).sample(jax.random.key(1), (4, 500))
    assert matrices.shape == (4, 500, n, n)
    np.testing.assert_allclose(
        np.swapaxes(matrices, -1, -2) @ matrices, np.broadcast_to(np.eye(n), matrices.shape), atol=1e-13
    )
    assert abs(float((jnp.linalg.det(matrices) < 0).mean()) - 0.5) < 0.05
    np.testing.assert_allclose(jnp.linalg.det(ej.SO(n).sample(jax.random.key(1), (500,))), 1.0, atol=1e-13)


@pytest.mark.parametrize("kind", [ej.O, ej.SO])
def test_samples_follow_the_haar_measure(kind):
    """The trace of a Haar matrix has mean 0 and mean square 1, and so has R0 times it (n = 3)."""
    matrices = np.asarray(kind(3).sample(jax.random.key(2), (20000,)))
    for fixed in (np.eye(3), np.asarray(kind(3).sample(jax.random.key(3)))):
        trace = np.trace(fixed @ matrices, axis1=-2, axis2=-1)
        assert abs(trace.mean()) < 0.03 and abs((trace**2).mean() - 1) < 0.05
    np.testing.assert_allclose(matrices.mean(0), np.zeros((3, 3)), atol=0.02)


def test_composition_is_that_of_motions():
    group = ej.E(3)
    a, b = (group.sample(key, (6,)) for key in jax.random.split(jax.random.key(0)))
    x = randn((3,))
    move = lambda g, x: np.einsum("...ij,...j->...i", g[1], x) + np.asarray(g[0])  # noqa: E731
    np.testing.assert_allclose(move(group.compose(a, b), x), move(a, move(b, x)), atol=1e-13)
    np.testing.assert_allclose(move(group.inverse(a), move(a, x)), np.broadcast_to(x, (6, 3)), atol=1e-13)
    one = group.compose(jax.tree.map(lambda leaf: leaf[0], a), b)  # leading axes broadcast
    np.testing.assert_allclose(one[1][3], np.asarray(a[1][0]) @ np.asarray(b[1][3]), atol=1e-13)


def test_products_with_relabellings_draw_and_compose():
    group = ej.DirectProduct(ej.Permutation(4), ej.E(3))
    ej.testing.check_group(group)
    assert group.order == ej.DirectProduct(ej.Permutation(800), ej.E(3)).order == float("inf")


@pytest.mark.parametrize("kind", [ej.O, ej.SO, ej.E, ej.SE])
def test_bad_dimensions(kind):
    check_message(lambda: kind(0), ValueError, ["`n`", "0", "at least 1"])
    check_message(lambda: kind(2.0), TypeError, ["`n`", "2.0"])
