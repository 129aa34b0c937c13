"""An action that the library has never heard of takes part: in sharing, layers, chains, measurements and checks."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.actions import Action, Axis, FiniteAction
from equijax.testing import check_action, check_equivariance
from tests.helpers import randn

C4 = ej.Cyclic(4)
TURNS = np.array(
    [[[1.0, 0.0], [0.0, 1.0]], [[0.0, -1.0], [1.0, 0.0]], [[-1.0, 0.0], [0.0, -1.0]], [[0.0, 1.0], [-1.0, 0.0]]]
)


@dataclasses.dataclass(frozen=True)
class Rows(Action):
    """Quarter turns move the four rows of a matrix round, ``(*batch, 4, columns, features)``; columns stay."""

    permutes: Any = None
    group = C4

    def __call__(self, g, x):
        x = jnp.asarray(x)
        return jnp.take(x, (jnp.arange(4, dtype=jnp.int32) - jnp.asarray(g, jnp.int32)) % 4, axis=x.ndim - 3)

    def axes(self, ndim):
        return (*(Axis("batch"),) * (ndim - 3), Axis("base", 0), Axis("base", 1), Axis("feature"))

    def on(self, shape=()):
        return FiniteAction(self, tuple(shape))


@dataclasses.dataclass(frozen=True)
class Turned(Action):
    """Quarter turns mix the two rows of a matrix, ``(*batch, 2, columns, features)``, as the coordinates of a vector."""

    permutes: Any = None
    group = C4

    def __call__(self, g, x):
        x = jnp.asarray(x)
        return jnp.moveaxis(jnp.tensordot(jnp.asarray(TURNS, x.dtype)[g], x, axes=((1,), (x.ndim - 3,))), 0, x.ndim - 3)

    def axes(self, ndim):
        return Rows().axes(ndim)

    def on(self, shape=()):
        return FiniteAction(self, tuple(shape))


@dataclasses.dataclass(frozen=True)
class Pairs(Action):
    """Permutations of n rows, of which only those that keep the order of the two halves act: the rest are not for it."""

    n: int | None = None

    @property
    def group(self):
        return ej.Permutation(self.n)

    @property
    def open(self):
        return Pairs()

    def for_input(self, x):
        return Pairs(np.shape(x)[-2])

    def acts(self, g, shape):
        half = shape[-2] // 2
        return bool((np.asarray(g)[:half] < half).all())

    def __call__(self, g, x):
        return ej.SetAction()(g, x)

    def axes(self, ndim):
        return ej.SetAction().axes(ndim)


class Plus(ej.nn.Layer):
    """A user's layer for any action with two base axes: the rows, and their mean times a weight."""

    def __init__(self, action, weight):
        self.action, self.weight = action, nnx.Param(jnp.asarray(weight))

    @property
    def in_action(self):
        return self.action

    def out_action_for(self, in_action):
        return in_action

    def __call__(self, x):
        return x + self.weight[...] * x.mean(-3, keepdims=True)


@functools.cache
def linear(action, seed=0):
    points = action.on((4, 3))
    return ej.nn.EquivariantLinear(points, points, 2, 2, use_bias=False, param_dtype=jnp.float64, rngs=nnx.Rngs(seed))


def projected(action, rows):
    """A random linear map of matrices, made equivariant by the projection."""
    points = action.on((rows, 3))
    sharing = ej.sharing.LinearSharing(points, points)
    weight = sharing.project(np.random.default_rng(0).normal(size=(3 * rows, 3 * rows)))
    return sharing, lambda x: (jnp.asarray(weight) @ x.reshape(3 * rows, -1)).reshape(x.shape)


ACTIONS = [(Rows(permutes), 4) for permutes in (None, True)] + [(Turned(permutes), 2) for permutes in (None, False)]


@pytest.mark.parametrize(("action", "rows"), ACTIONS, ids=lambda value: repr(value))
def test_sharing_and_measurements(action, rows):
    x = randn((rows, 3, 2))
    check_action(action, x, samples=2)
    sharing, layer = projected(action, rows)
    pairs = rows * 3 * rows * 3
    assert sharing.count == pairs // (4 if rows == 4 else 2)  # the turns of a vector commute with two maps of four
    check_equivariance(layer, action, action, x)
    errors = ej.equivariance_error(lambda x: x * jnp.arange(1.0, rows + 1)[:, None, None], action, action, x)
    assert errors.shape == (4,) and errors[0] == 0 and (errors[1::2] > 0.1).all()


@pytest.mark.parametrize("g", range(4))
def test_matrices(g):
    assert np.array_equal(Turned().on((2,)).on().action(g, np.eye(2)[:, None]).shape, (2, 1, 2))
    turned = Turned().on((2, 1)).matrix(g)
    assert turned.dtype == np.float64 and np.array_equal(turned, TURNS[g])
    assert np.array_equal(Rows().on((4, 1)).matrix(g), np.roll(np.eye(4), g, axis=0))
    with pytest.raises(ValueError, match="matrix"):
        Turned(False).on((2, 1)).permutation(g)


def test_neighbours_fit_by_value():
    assert Rows().fits(Rows().on((4, 3))) and Rows().on((4, 3)).fits(Rows())
    assert not Rows().fits(Turned()) and not Rows().fits(ej.TrivialAction(C4))
    assert Pairs().fits(Pairs(6)) and Pairs(4).fits(Pairs(6)) and not Pairs().fits(ej.SetAction())


def test_only_elements_that_act_are_drawn():
    x = randn((4, 2))
    check_action(Pairs(), x, samples=2)
    halves = lambda x: jnp.concatenate([x[:2] + x[:2].sum(0, keepdims=True), 2 * x[2:]])  # noqa: E731
    check_equivariance(halves, Pairs(), Pairs(), x, gradient=False)
    with pytest.raises(AssertionError, match="fails"):  # the other elements are not kept
        check_equivariance(halves, ej.SetAction(), ej.SetAction(), x, gradient=False)


def test_a_chain_of_linear_layers():
    action = Rows()
    chain = ej.nn.Sequential(linear(action), linear(action, 1))
    x = randn((2, 4, 3, 2))
    assert chain.out_action.fits(action)
    elements = chain.exactness(x.shape).elements()
    assert len(jax.tree.leaves(elements)[0]) == 4
    check_equivariance(nnx.jit(chain), action, action, x, elements, gradient=False)


def test_a_users_layer_in_a_chain():
    action = Rows(True)
    chain = ej.nn.Sequential(Plus(action, 0.5), jax.nn.relu, linear(action))
    x = randn((4, 3, 2))
    check_equivariance(nnx.jit(chain), action, action, x, gradient=False)
    assert chain.exactness(x.shape).in_action.fits(action)
    with pytest.raises(ValueError, match="in_action"):
        ej.nn.Sequential(Plus(Turned(), 0.5), linear(action))


def test_the_audit():
    """A layer that the rows allow is exact; where rows are coordinates of a vector their mean means nothing."""
    exact = ej.audit.explain(Plus(Rows(True), 0.5), randn((1, 4, 3, 2)), in_action=Rows(True), out_action=Rows(True))
    assert exact.exact and "exact" in str(exact)
    broken = ej.audit.explain(Plus(Turned(), 0.5), randn((1, 2, 3, 2)), in_action=Turned(), out_action=Turned())
    assert not broken.exact
