"""Wrong use is an error that names the argument, what it got, and what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.actions import Action
from equijax.reps import Regular, Scalar
from tests.helpers import check_message

P4, C4, D4 = ej.wallpaper("p4"), ej.Cyclic(4), ej.Dihedral(4)
IMAGE, FIELD = jnp.ones((3, 3, 1)), jnp.ones((3, 3, 4, 1))
ZERO = np.zeros(2, np.int32)


class Bare(Action):
    group = C4

    def __call__(self, g, x):
        return x

    def axes(self, ndim):
        return ()


CASES = {
    "a point group on a grid": (
        lambda: ej.GridAction(D4),
        TypeError,
        ["`group`", "Dihedral(4)", "Translation, SpaceGroup or Motions", "Use SpaceGroup(Dihedral(4))"],
    ),
    "a number as group": (lambda: ej.GridAction(3), TypeError, ["`group`", "3", "Translation, SpaceGroup or Motions"]),
    "fibre class": (
        lambda: ej.GridAction(P4, Regular),
        TypeError,
        ["`fibre`", "Regular", "permutation representation", "Write Regular(Cyclic(4))"],
    ),
    "fibre of another group": (
        lambda: ej.GridAction(P4, Regular(D4)),
        ValueError,
        ["`fibre`", "Dihedral(4)", "Cyclic(4)", "point group"],
    ),
    "fibre that is none": (lambda: ej.FibreAction(4), TypeError, ["`fibre`", "4", "permutation representation"]),
    "FibreAction of another group": (
        lambda: ej.FibreAction(Regular(C4), D4),
        ValueError,
        ["`fibre`", "Cyclic(4)", "Dihedral(4)"],
    ),
    "FibreAction of S_n": (
        lambda: ej.FibreAction(Regular(C4), ej.Permutation(3)),
        TypeError,
        ["`group`", "Permutation(3)", "SpaceGroup"],
    ),
    "boundary": (
        lambda: ej.GridAction(P4, boundary="circular"),
        ValueError,
        ["`boundary`", "'circular'", "'wrap' or 'zero'"],
    ),
    "spacing 0": (lambda: ej.GridAction(P4, spacing=0), ValueError, ["`spacing`", "is 0", "positive integer"]),
    "spacing 1.5": (lambda: ej.GridAction(P4, spacing=(1, 1.5)), TypeError, ["`spacing`", "1.5", "positive integer"]),
    "spacing length": (lambda: ej.GridAction(P4, spacing=(1, 1, 1)), ValueError, ["`spacing`", "(1, 1, 1)", "2 grid axes"]),
    "origin": (lambda: ej.GridAction(P4, origin=0.25), ValueError, ["`origin`", "0.25", "multiples of ½"]),
    "origin length": (lambda: ej.GridAction(P4, origin=(0.5,)), ValueError, ["`origin`", "(0.5,)", "2 grid axes"]),
    "strides": (lambda: ej.GridAction(P4).coarsen(0), ValueError, ["`strides`", "0", "positive integer"]),
    "strides length": (lambda: ej.GridAction(P4).coarsen((2,)), ValueError, ["`strides`", "(2,)", "2 grid axes"]),
    "too few axes": (
        lambda: ej.GridAction(P4)(P4.identity, jnp.ones((3, 3))),
        ValueError,
        ["`x`", "(3, 3)", "(*batch, size_0, size_1, features)", "at least 3 axes"],
    ),
    "no fibre axis": (
        lambda: ej.GridAction(P4, Regular(C4))(P4.identity, jnp.ones((2, 3, 3, 1))),
        ValueError,
        ["`x`", "(2, 3, 3, 1)", "axis 2", "Regular", "4", "(*batch, size_0, size_1, 4, features)"],
    ),
    "many elements at once": (
        lambda: ej.GridAction(P4)(P4.sample(jax.random.key(0), (5,)), IMAGE),
        ValueError,
        ["`g`", "(5, 2)", "(5,)", "jax.vmap(action, (0, None))(g, x)"],
    ),
    "a quarter turn of a rectangle": (
        lambda: ej.GridAction(P4)((ZERO, 1), jnp.ones((3, 4, 1))),
        ValueError,
        ["`g`", "h = 1", "(3, 4, 1)", "sizes that are equal"],
    ),
    "a shift off the spacing": (
        lambda: ej.GridAction(P4, spacing=2)((np.array([1, 0], np.int32), 0), IMAGE),
        ValueError,
        ["`g`", "[1, 0]", "spacing (2, 2)", "multiples of the spacing"],
    ),
    "axes of too few": (lambda: ej.GridAction(P4).axes(2), ValueError, ["`x`", "at least 3 axes"]),
    "shape of on": (lambda: ej.GridAction(P4).on((3,)), ValueError, ["`shape`", "(3,)", "2 grid axes"]),
    "no shape of on": (lambda: ej.GridAction(P4).on(), ValueError, ["`shape`", "()", "2 grid axes"]),
    "shape of a fixed action": (
        lambda: ej.GridAction(P4).on((3, 3)).on((4, 4)),
        ValueError,
        ["`shape`", "(4, 4)", "(3, 3)"],
    ),
    "array of a fixed action": (
        lambda: ej.GridAction(P4).on((3, 3))(P4.identity, jnp.ones((4, 4, 1))),
        ValueError,
        ["`x`", "(4, 4, 1)", "(*batch, *(3, 3), features)"],
    ),
    "no permutation": (
        lambda: ej.GridAction(P4, boundary="zero").on((3, 4)).permutation((ZERO, 1)),
        ValueError,
        ["`g`", "[0, 0]", "1", "does not permute"],
    ),
    "set of another size": (
        lambda: ej.SetAction(3)([1, 2, 0], jnp.ones((4, 1))),
        ValueError,
        ["`x`", "(4, 1)", "axis 0", "needs 3", "(*batch, 3, features)"],
    ),
    "set without features": (
        lambda: ej.SetAction(3)([1, 2, 0], jnp.ones(3)),
        ValueError,
        ["`x`", "(3,)", "at least 2 axes"],
    ),
    "a short permutation": (
        lambda: ej.SetAction(3)([1, 0], jnp.ones((3, 1))),
        ValueError,
        ["`g`", "(2,)", "3 points", "(3,)"],
    ),
    "n of a set": (lambda: ej.SetAction(-1), ValueError, ["`n`", "is -1", "at least 0"]),
    "order of a tensor": (lambda: ej.TensorAction(3, -1), ValueError, ["`order`", "-1", "at least 0"]),
    "shape of a tensor": (lambda: ej.TensorAction(3, 2).on((4, 4)), ValueError, ["`shape`", "(4, 4)", "(3, 3)", "on()"]),
    "shape of a fibre": (lambda: ej.FibreAction(Regular(C4)).on((4,)), ValueError, ["`shape`", "(4,)", "on()"]),
    "length of a fibre": (
        lambda: ej.FibreAction(Regular(C4))(1, jnp.ones((3, 1))),
        ValueError,
        ["`x`", "(3, 1)", "axis 0", "4", "(*batch, 4, features)"],
    ),
    "fibre without features": (
        lambda: ej.FibreAction(Regular(C4))(1, jnp.ones(4)),
        ValueError,
        ["`x`", "(4,)", "at least 2 axes"],
    ),
    "coarsen a set": (lambda: ej.SetAction(3).coarsen(2), ValueError, ["SetAction", "no grid", "2"]),
    "coarsen nothing": (lambda: ej.TrivialAction(C4).coarsen(2), ValueError, ["TrivialAction", "no grid", "2"]),
    "on of a bare action": (lambda: Bare().on((3,)), ValueError, ["Bare", "on((3,))", "not a permutation"]),
    "restrict by a foreign subgroup": (
        lambda: ej.GridAction(P4, Scalar(C4)).restrict(D4.subgroup([1])),
        ValueError,
        ["`subgroup`", "Dihedral(4)", "Cyclic(4)"],
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), list(CASES.values()), ids=list(CASES))
def test_message(call, error, words):
    check_message(call, error, words)


def test_the_contract_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Action()


def test_defaults_of_the_contract():
    assert Bare().acts(1, (3,)) and Bare().group == C4
