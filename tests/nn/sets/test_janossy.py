"""Janossy pooling is the mean over all orders, written out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej
from equijax.testing import check_equivariance
from tests.helpers import check_message, randn


def fold(sequence, mask=None):
    """A function of the order: ``s ← 0.5 s + sin(s + x)`` over the elements that are there."""
    state = jnp.zeros(sequence.shape[:-2] + sequence.shape[-1:], sequence.dtype)
    for k in range(sequence.shape[-2]):
        after = 0.5 * state + jnp.sin(state + sequence[..., k, :])
        state = after if mask is None else jnp.where(mask[..., k, None], after, state)
    return state


def enumerated(x, arity):
    found = [fold(jnp.asarray(x[list(order)])) for order in itertools.permutations(range(len(x)), arity)]
    return np.mean(found, axis=0) if found else np.zeros(x.shape[1])


def test_equals_the_enumeration_with_and_without_padding():
    x = np.asarray(randn((4, 2)))
    mask = np.array([True, False, True, True])
    padded = jnp.asarray(np.where(mask[:, None], x, np.nan))
    for arity in (None, 1, 2, 3):
        pool = jax.jit(ej.nn.JanossyPool(fold, arity))
        np.testing.assert_allclose(pool(jnp.asarray(x)), enumerated(x, arity or 4), rtol=1e-12)
        np.testing.assert_allclose(pool(padded, jnp.asarray(mask)), enumerated(x[mask], arity or 3), rtol=1e-12)


def test_sets_smaller_than_a_tuple_give_zero():
    pool = ej.nn.JanossyPool(fold, 3)
    x = randn((4, 2))
    run = jax.jit(jax.value_and_grad(lambda x, mask: (pool(x, mask) ** 2).sum()))
    value, gradient = run(jnp.full((4, 2), jnp.nan), jnp.zeros(4, bool))
    assert value == 0 and (gradient == 0).all()
    assert (pool(x[:2]) == jnp.zeros(2)).all()
    assert (pool(x[:2], rngs=jax.random.key(0)) == jnp.zeros(2)).all()
    assert ej.nn.JanossyPool(fold)(x[:0]).shape == (2,)


def test_law_of_the_full_mean():
    pool = ej.nn.JanossyPool(fold)
    check_equivariance(jax.jit(pool), pool.in_action, pool.out_action, randn((2, 4, 2)))
    exactly_one_order = lambda x: fold(x)  # noqa: E731
    assert ej.equivariance_error(exactly_one_order, pool.in_action, pool.out_action, randn((2, 4, 2))).max() > 1e-3


def test_drawn_orders_are_orders_of_what_is_there_and_right_on_average():
    mask = jnp.array([[True, False, True, True, True], [True] * 5])
    x = jnp.where(mask[..., None], randn((2, 5, 2)), jnp.nan)
    for arity in (None, 2):
        pool = ej.nn.JanossyPool(fold, arity, num_samples=2000)
        drawn = jax.jit(lambda x, key, pool=pool: pool(x, mask, rngs=key))(x, jax.random.key(1))
        np.testing.assert_allclose(drawn, jax.jit(pool)(x, mask), atol=0.05)
    total = ej.nn.JanossyPool(lambda x, mask: x.sum(-2))
    np.testing.assert_allclose(total(x, mask, rngs=nnx.Rngs(0)), ej.nn.Sum().over_axis(x, mask), rtol=1e-12)


def test_bad_input():
    check_message(lambda: ej.nn.JanossyPool(3), TypeError, ["`fn`"])
    pool = ej.nn.JanossyPool(fold)
    check_message(lambda: pool(jnp.ones((12, 2))), ValueError, ["479001600", "rngs=", "`arity`"])
    blind = ej.nn.JanossyPool(lambda x: x.sum(-2))
    check_message(lambda: blind(jnp.ones((3, 2)), jnp.ones(3, bool)), TypeError, ["`mask`", "`arity`"])
    wrong = ej.nn.JanossyPool(lambda x: x)
    check_message(lambda: wrong(jnp.ones((3, 2))), ValueError, ["`fn` makes (6, 3, 2)", "(6, 'out_features')"])
    check_message(lambda: pool(jnp.ones(3)), ValueError, ["(*batch, n, features)"])
