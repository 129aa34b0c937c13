"""Vectors of integers never wrap: what is known is right or refused, what is traced is right or marked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej

LARGE, MARK = 2**31 - 1, -(2**31)


@pytest.mark.parametrize("period", [5, 6, 2**30 + 1, LARGE])
def test_sums_on_a_torus_do_not_wrap(period):
    group = ej.Translation(1, period)
    a, b = np.array([[LARGE], [2**30 + 5], [-LARGE], [3]], np.int32), np.array([[1], [2**30 + 5], [-7], [4]], np.int32)
    right = (a.astype(object) + b.astype(object)) % period
    np.testing.assert_array_equal(group.compose(a, b), right.astype(int))
    np.testing.assert_array_equal(jax.jit(group.compose)(a, b), right.astype(int))


def test_sums_on_the_infinite_grid_that_do_not_fit():
    group, space = ej.Translation(1), ej.wallpaper("p6")
    with pytest.raises(ValueError, match="beyond the integers of 32 bits"):
        group.compose([LARGE], [1])
    with pytest.raises(ValueError, match="beyond the integers of 32 bits"):
        space.automorphism(1, [LARGE, LARGE])
    with pytest.raises(ValueError, match="mark of what is unknown"):
        group.inverse([MARK])
    a, one = jnp.array([[LARGE], [5], [MARK], [-LARGE]], jnp.int32), jnp.ones((4, 1), jnp.int32)
    assert jax.jit(group.compose)(a, one)[:, 0].tolist() == [MARK, 6, MARK, -LARGE + 1]
    assert jax.jit(group.compose)(-one, -a)[:, 0].tolist() == [MARK, -6, MARK, LARGE - 1]


def test_matrices_of_a_space_group_do_not_wrap():
    space = ej.wallpaper("p6")
    n = np.array([[LARGE, LARGE], [2**30, 2**30 - 1], [-3, 7], [MARK, 1]], np.int32)
    for h, matrix in enumerate(space.point_group.integer_matrices):
        right = n.astype(object) @ matrix.T.astype(object)
        fits = np.abs(right.astype(float)) <= LARGE
        found = jax.jit(space.automorphism)(h, n)
        assert (found[3] == MARK).all()
        np.testing.assert_array_equal(found[:3], np.where(fits, right, MARK)[:3].astype(int))


@pytest.mark.parametrize("boundary", ["wrap", "zero"])
def test_a_grid_moves_by_the_whole_shift(boundary):
    action = ej.GridAction(ej.Translation(1), boundary=boundary)
    x = np.arange(5, dtype=np.float32)[:, None]
    for shift in (2**30 + 1, LARGE, -(2**30) - 3):
        right = np.roll(x, shift % 5, 0) if boundary == "wrap" else np.zeros_like(x)
        t = np.array([shift], np.int32)
        np.testing.assert_array_equal(action(t, x), right)
        np.testing.assert_array_equal(jax.jit(action)(t, x), right)
    assert jnp.isnan(jax.jit(action)(jnp.array([3_000_000_000], jnp.uint32), x)).all()


def test_nothing_traced_is_close_to_what_is_no_element():
    n = ej.Cyclic(4)
    assert jax.jit(n.isclose)(jnp.array([7, -1, 3]), jnp.array([7, -1, 3])).tolist() == [False, False, True]
    p = ej.Permutation(3)
    wrong, right = jnp.array([0, 0, 1]), jnp.array([1, 0, 2])
    assert not jax.jit(p.isclose)(wrong, wrong) and jax.jit(p.isclose)(right, right)
    assert jax.jit(p.compose)(wrong, right).tolist() == [MARK] * 3
    assert jnp.isnan(jax.jit(p.matrix)(wrong)).all()
    t = ej.Translation(1)
    assert not jax.jit(t.isclose)(jnp.array([MARK]), jnp.array([MARK]))
