"""Sets and tensors over a set."""

import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.actions import Axis
from tests.catalogue import all_permutations, permutation_matrix


@pytest.mark.parametrize("action", [ej.SetAction(4), ej.TensorAction(3, 2)], ids=repr)
def test_public_check_accepts(action):
    x = np.random.default_rng(0).normal(size=(*(action.n,) * action.order, 2))
    ej.testing.check_action(action, jnp.asarray(x), samples=3)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_every_entry_moves_where_its_indices_move(order):
    x = np.arange(2 * 3**order * 2).reshape(2, *(3,) * order, 2)
    action = ej.TensorAction(3, order)
    for p in all_permutations(3):
        moved = np.asarray(action(p, x))
        for index in itertools.product(range(3), repeat=order):
            assert np.array_equal(moved[(slice(None), *p[list(index)])], x[(slice(None), *index)])


def test_a_matrix_is_conjugated():
    p, x = np.array([2, 0, 1]), np.arange(9.0).reshape(3, 3, 1)
    matrix = permutation_matrix(p)
    assert np.array_equal(np.asarray(ej.TensorAction(3, 2)(p, x))[..., 0], matrix @ x[..., 0] @ matrix.T)


@hypothesis.given(st.permutations(range(4)), st.permutations(range(4)))
def test_the_law_of_actions(p, q):
    x, action = np.arange(16).reshape(4, 4, 1), ej.TensorAction(4, 2)
    once = action(action.group.compose(p, q), x)
    assert np.array_equal(action(p, action(q, x)), once)


def test_set_action_is_the_tensor_action_of_order_one():
    x = np.arange(10).reshape(5, 2)
    p = np.array([3, 1, 0, 4, 2])
    assert np.array_equal(ej.SetAction(5)(p, x), ej.TensorAction(5, 1)(p, x))
    expected = np.empty_like(x)
    expected[p] = x
    assert np.array_equal(ej.SetAction(5)(p, x), expected)
    assert ej.SetAction(5).group == ej.Permutation(5) and ej.SetAction(5).order == 1
    assert ej.SetAction(5) == ej.SetAction(5) != ej.SetAction(4)


def test_axes():
    assert ej.TensorAction(3, 2).axes(4) == (Axis("batch"), Axis("base", 0), Axis("base", 1), Axis("feature"))
    assert ej.TensorAction(3, 0).axes(2) == (Axis("batch"), Axis("feature"))


def test_as_permutations():
    finite = ej.TensorAction(3, 2).on()
    p = np.array([1, 2, 0])
    assert finite.shape == (3, 3)
    assert np.array_equal(finite.permutation(p), (3 * p[:, None] + p[None]).reshape(-1))
    assert ej.TensorAction(3, 2).on((3, 3)) == finite
    assert ej.TensorAction(3, 0).on().permutation(p).tolist() == [0]


def test_vmap_and_gradient():
    action, x = ej.SetAction(3), jnp.arange(6.0).reshape(3, 2)
    many = jax.jit(jax.vmap(action, (0, None)))(all_permutations(3), x)
    for p, moved in zip(all_permutations(3), many, strict=True):
        assert np.array_equal(moved[p], x)
    p = np.array([1, 2, 0])
    weights = jnp.arange(6.0).reshape(3, 2)
    assert np.array_equal(jax.grad(lambda x: (weights * action(p, x)).sum())(x), weights[p])
