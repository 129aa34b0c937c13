"""Actions on one vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.actions import Axis
from equijax.actions._fibre import field_action
from equijax.reps import PermutationRepresentation, Quotient, Regular, Scalar
from tests.catalogue import FINITE, permutation_matrix

D4, Q8 = ej.Dihedral(4), FINITE["Q8"]
ACTIONS = {
    "regular": ej.FibreAction(Regular(Q8)),
    "quotient": ej.FibreAction(Quotient(D4.subgroup([4]))),
    "permutation": ej.FibreAction(PermutationRepresentation(ej.Reflection(1), [[0, 1, 2, 3], [3, 2, 1, 0]])),
    "space group": ej.FibreAction(Regular(D4), ej.wallpaper("p4m")),
    "scalar": ej.FibreAction(Scalar(D4)),
    "scalar of translations": ej.FibreAction(Scalar(ej.Trivial(2)), ej.Translation(2)),
}
every_action = pytest.mark.parametrize("action", list(ACTIONS.values()), ids=list(ACTIONS))


def _array(action, batch=()):
    return jnp.asarray(np.random.default_rng(0).normal(size=(*batch, *action.fibre.shape, 3)))


@every_action
def test_public_check_accepts(action):
    ej.testing.check_action(action, _array(action), samples=3)


@every_action
def test_agrees_with_the_matrix(action):
    x = _array(action, (2,))
    as_matrix = np.asarray(x).reshape(2, action.fibre.dim, 3)
    group = action.fibre.group
    for h in range(min(group.order, 8)):
        g = (
            h
            if action.group == group
            else (np.array([5, -1], np.int32), h)
            if action.group.order and group.order > 1
            else [1, 2]
        )
        expected = np.einsum("ij,bjc->bic", permutation_matrix(action.fibre.table[h]), as_matrix)
        assert np.array_equal(action(g, x), expected.reshape(x.shape))


@every_action
def test_axes(action):
    moved = (Axis("fibre"),) * len(action.fibre.shape)
    assert action.axes(len(moved) + 1) == (*moved, Axis("feature"))
    assert action.axes(len(moved) + 3) == (Axis("batch"), Axis("batch"), *moved, Axis("feature"))


def test_functions_on_the_group():
    values = jnp.arange(8)[:, None]
    for u in range(8):
        moved = np.asarray(ACTIONS["regular"](u, values))[:, 0]
        assert [moved[Q8.table[u, g]] for g in range(8)] == list(range(8))


@every_action
def test_as_permutations(action):
    finite = action.on()
    assert finite.shape == action.fibre.shape and finite.size == action.fibre.dim
    g = jax.tree.map(np.asarray, action.group.sample(jax.random.key(0)))
    h = g[1] if isinstance(g, tuple) else g if g.ndim == 0 else 0
    assert np.array_equal(finite.permutation(g), action.fibre.table[h])
    assert finite.on() is finite and finite.group == action.group


def test_restrict():
    small = ACTIONS["space group"].restrict(D4.subgroup([1]))
    assert small.group == ej.wallpaper("p4") and small.fibre.dim == 8
    plain = ej.FibreAction(Regular(D4)).restrict(D4.subgroup([2]))
    assert plain.group == ej.Cyclic(2) and np.array_equal(plain.fibre.table, D4.table[[0, 2]])


def test_the_group_defaults_to_that_of_the_fibre():
    assert ej.FibreAction(Regular(D4)) == ej.FibreAction(Regular(D4), D4)
    assert hash(ej.FibreAction(Regular(D4))) == hash(ej.FibreAction(Regular(D4), D4))
    assert ej.FibreAction(Regular(D4)) != ej.FibreAction(Regular(D4), ej.wallpaper("p4m"))


def test_field_action_is_that_of_the_group():
    assert field_action(D4, Regular(D4)) == ej.FibreAction(Regular(D4))
    assert field_action(ej.wallpaper("p4m"), Regular(D4), "zero") == ej.GridAction(ej.wallpaper("p4m"), Regular(D4), "zero")
    assert field_action(ej.Translation(2), Scalar(ej.Trivial(2))) == ej.GridAction(ej.Translation(2))
