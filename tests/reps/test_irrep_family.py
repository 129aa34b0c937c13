"""A user's own group with its own list of irreps, written outside the library."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.groups import IrrepFamily, Label
from tests.helpers import check_message


@dataclasses.dataclass(frozen=True)
class SignIrreps(IrrepFamily):
    """The trivial irrep and the sign itself."""

    labels = (Label(0), Label(1))

    def label(self, index, parity=None):
        if index not in (0, 1) or parity is not None:
            raise ValueError(f"`index` is {index}; Signs() has the irreps 0 and 1.")
        return Label(index)

    def dim(self, label):
        return 1

    def type(self, label):
        return "real"

    def matrix(self, label, g):
        return jnp.asarray(g, float)[..., None, None] ** label.index


@dataclasses.dataclass(frozen=True)
class Signs(ej.Group):
    """The numbers 1 and -1 under multiplication, without a table."""

    identity = 1.0
    irrep_family = SignIrreps()
    generators = (-1.0,)

    def compose(self, a, b):
        return jnp.asarray(a) * jnp.asarray(b)

    def inverse(self, a):
        return a

    def sample(self, key, shape=()):
        return jax.random.rademacher(key, shape, float)


@dataclasses.dataclass(frozen=True)
class Swap(ej.reps.Representation):
    """A sign exchanges two coordinates that are scaled by r to each other, and keeps the third."""

    r: float = 1.0
    square_is_one: bool = True
    group: Any = Signs()
    dim = 3

    def __call__(self, g):
        kept = (1 + jnp.asarray(g, float)[..., None, None]) / 2
        corner = 1.0 if self.square_is_one else 2.0
        swap = jnp.asarray([[0, self.r, 0], [1 / self.r, 0, 0], [0, 0, corner]])
        return kept * jnp.eye(3) + (1 - kept) * swap


@pytest.mark.parametrize("r", [1.0, 2.0])
def test_its_representations_are_taken_apart(r):
    rep = Swap(r)
    assert [(irrep.index, count) for irrep, count in rep.irreps] == [(0, 2), (1, 1)]
    moved = np.linalg.inv(rep.basis) @ rep.generators[0] @ rep.basis
    assert np.abs(moved - np.diag([1, 1, -1])).max() < 1e-12
    assert (np.abs(rep.basis.T @ rep.basis - np.eye(3)).max() < 1e-12) == (r == 1.0)


def test_its_irreps_have_names():
    assert repr(ej.reps.Irrep(Signs(), 1)) == "Irrep(Signs(), 1)"
    assert len(ej.reps.irreps(Signs())) == 2
    assert len(ej.reps.clebsch_gordan(*[ej.reps.Irrep(Signs(), 1)] * 2, ej.reps.Irrep(Signs(), 0))) == 1
    check_message(lambda: ej.reps.Irrep(Signs(), 2), ValueError, ["irreps 0 and 1"])
    check_message(lambda: ej.reps.Irrep(Signs(), 1).matrices, ValueError, ["call it on an element"])


def test_what_is_no_sum_of_its_irreps_is_refused():
    rep = Swap(1.0, square_is_one=False)
    check_message(lambda: rep.irreps, ValueError, ["no sum", "Signs()", "span 0"])


def test_finite_groups_that_list_their_elements_have_irreps():
    group = ej.DirectProduct(ej.Cyclic(3), ej.Dihedral(3))
    irreps = ej.reps.irreps(group)
    assert sum(irrep.dim**2 // irrep.commutant_dim for irrep in irreps) == group.order
    last = irreps[-1]

    @jax.jit
    def law(a, b):
        return last(a) @ last(b) - last(group.compose(a, b)), last(a)

    error, matrices = law(group.sample(jax.random.key(0), (20,)), group.sample(jax.random.key(1), (20,)))
    matrices = np.asarray(matrices)
    assert np.abs(error).max() < 1e-13
    assert np.abs(np.swapaxes(matrices, 1, 2) @ matrices - np.eye(last.dim)).max() < 1e-13
    assert np.abs(matrices - np.eye(last.dim)).max() > 0.5
    assert last.irreps == ((last, 1),) and last == ej.reps.Irrep(group, len(irreps) - 1)


def test_groups_that_do_not_list_them_are_explained():
    check_message(lambda: ej.reps.irreps(ej.Permutation(4)), ValueError, ["Permutation(4)", "from_permutations"])
    check_message(lambda: ej.reps.irreps(ej.wallpaper("p4", 20)), ValueError, ["1600 elements", "512"])
    check_message(lambda: ej.reps.irreps(ej.SO(4)), ValueError, ["SO(4)", "irrep_family"])
