"""Actions on finitely many points."""

import pickle

import numpy as np
import pytest

import equijax as ej
from equijax.reps import Regular
from tests.catalogue import WALLPAPER


@pytest.mark.parametrize(
    ("finite", "elements"),
    [
        (ej.GridAction(ej.wallpaper("p4m"), Regular(ej.Dihedral(4))).on((3, 3)), [([1, 2], 5), ([0, 1], 3)]),
        (ej.GridAction(WALLPAPER["p6"]).on((4, 4)), [([1, 2], 5), ([3, 0], 1)]),
        (ej.GridAction(ej.Translation(2)).on((2, 3)), [[1, 2], [0, 1]]),
        (ej.FibreAction(Regular(ej.Octahedral())).on(), [7, 20]),
        (ej.TensorAction(3, 2).on(), [[1, 2, 0], [1, 0, 2]]),
    ],
    ids=["p4m", "p6", "translations", "cube", "pairs"],
)
def test_permutations_compose_and_agree_with_the_action(finite, elements):
    g, h = elements
    g, h = ((np.array(e[0], np.int32), e[1]) if isinstance(e, tuple) else np.array(e, np.int32) for e in (g, h))
    p, q = finite.permutation(g), finite.permutation(h)
    product = finite.group.compose(g, h)
    assert np.array_equal(finite.permutation(product), p[q])
    assert np.array_equal(finite.permutation(finite.group.inverse(g)), np.argsort(p))
    assert np.array_equal(finite.permutation(finite.group.identity), np.arange(finite.size))
    x = np.arange(finite.size * 2.0).reshape(*finite.shape, 2)
    moved = np.asarray(finite(g, x)).reshape(-1, 2)
    assert np.array_equal(moved[p], x.reshape(-1, 2)), "(g·x)[p[i]] = x[i]"


def test_on_makes_the_group_that_of_the_torus():
    finite = ej.GridAction(ej.wallpaper("p4"), Regular(ej.Cyclic(4))).on((5, 5))
    assert finite.group == ej.wallpaper("p4", 5) and finite.shape == (5, 5, 4) and finite.size == 100
    assert ej.GridAction(ej.Translation(2), spacing=2).on((3, 4)).group == ej.Translation(2, (6, 8))
    assert ej.GridAction(ej.wallpaper("p4"), boundary="zero").on((5, 5)).group == ej.wallpaper("p4")
    assert ej.GridAction(ej.wallpaper("p4")).on(5) == ej.GridAction(ej.wallpaper("p4")).on((5, 5))


def test_on_an_unequal_torus_some_elements_still_act():
    finite = ej.GridAction(ej.wallpaper("p4m")).on((2, 3))
    zero = np.zeros(2, np.int32)
    assert [finite.acts((zero, h)) for h in range(8)] == [True, False, True, False] * 2
    assert finite.permutation((zero, 2)).tolist() == [5, 4, 3, 2, 1, 0]


def test_batch_axes_and_shape():
    finite = ej.GridAction(ej.Translation(1)).on((3,))
    x = np.arange(12.0).reshape(2, 3, 2)
    assert np.array_equal(finite([1], x), np.roll(x, 1, 1))
    assert finite.axes(3) == finite.action.axes(3)
    assert finite.acts([1]) and finite.acts([1], (3, 1))


def test_values():
    make = lambda: ej.GridAction(ej.wallpaper("p4")).on((3, 3))  # noqa: E731
    assert make() == make() and hash(make()) == hash(make())
    assert pickle.loads(pickle.dumps(make())) == make()
    assert make() != ej.GridAction(ej.wallpaper("p4")).on((4, 4))
    assert make().on((3, 3)) == make() == make().on()
