"""Space groups, against affine matrices."""

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

import equijax as ej
from equijax.groups._space import grid_ndim, point_group_of
from tests.catalogue import WALLPAPER, parametrize

GROUPS = {**{k: WALLPAPER[k] for k in ("p1", "pm", "cm", "p4m", "p6m", "p31m")}, "cubic": ej.SpaceGroup(ej.Octahedral(True))}


def _affine(group, t, h):
    matrix = np.eye(group.ndim + 1, dtype=int)
    matrix[:-1, :-1], matrix[:-1, -1] = group.point_group.integer_matrices[h], t
    return matrix


@pytest.mark.parametrize("group", **parametrize(GROUPS))
@hypothesis.settings(max_examples=8)
@hypothesis.given(data=st.data())
def test_composition_is_that_of_affine_maps(group, data):
    def element():
        t = data.draw(st.lists(st.integers(-50, 50), min_size=group.ndim, max_size=group.ndim))
        return np.array(t, np.int32), np.int32(data.draw(st.integers(0, group.point_group.order - 1)))

    a, b = element(), element()
    assert np.array_equal(_affine(group, *map(np.asarray, group.compose(a, b))), _affine(group, *a) @ _affine(group, *b))
    inverse = _affine(group, *map(np.asarray, group.inverse(a)))
    assert np.array_equal(inverse @ _affine(group, *a), np.eye(group.ndim + 1))


def test_on_a_torus_translations_are_reduced():
    group = ej.wallpaper("p4", period=4)
    t, h = group.compose(([3, 3], 1), ([2, 1], 3))
    assert (np.asarray(t).tolist(), int(h)) == ([(3 - 1) % 4, (3 + 2) % 4], 0)
    assert group.order == 64 and group.period == (4, 4)
    assert bool(group.isclose(([5, -1], 2), ([1, 3], 2)))


@pytest.mark.parametrize("name", ["p4m", "p6"])
def test_the_torus_is_a_quotient_of_the_plane(name):
    plane, torus = ej.wallpaper(name), ej.wallpaper(name, 5)
    a, b = (plane.sample(k, (6,)) for k in jax.random.split(jax.random.key(0)))
    assert bool(torus.isclose(plane.compose(a, b), torus.compose(a, b)).all())
    assert bool(torus.isclose(plane.inverse(a), torus.inverse(a)).all())


def test_parts():
    group = ej.SpaceGroup(ej.Dihedral(4), period=(6, 6))
    assert group.point_group == group.quotient == ej.Dihedral(4)
    assert group.normal == ej.Translation(2, 6) and group.ndim == 2
    assert repr(group) == "SpaceGroup(Dihedral(4), period=(6, 6))" and eval(repr(group), vars(ej)) == group
    assert repr(ej.SpaceGroup(ej.Cyclic(4))) == "SpaceGroup(Cyclic(4))"
    assert [(np.asarray(t).tolist(), int(h)) for t, h in group.generators] == [
        ([1, 0], 0),
        ([0, 1], 0),
        ([0, 0], 1),
        ([0, 0], 4),
    ]


@pytest.mark.parametrize(
    ("group", "ndim", "point_group"),
    [
        (ej.Translation(3), 3, ej.Trivial(3)),
        (ej.wallpaper("p6"), 2, ej.Cyclic(6).in_basis(ej.HEXAGONAL)),
        (ej.Dihedral(4), 0, ej.Dihedral(4)),
    ],
    ids=repr,
)
def test_the_parts_of_a_group_that_moves_fields(group, ndim, point_group):
    assert grid_ndim(group) == ndim and point_group_of(group) == point_group
    t, h = group.split(group.identity)
    assert (t is None) == (ndim == 0) and int(h) == 0
    joined = group.join(t, h)
    assert bool(group.isclose(joined, group.identity))
    period = (4,) * ndim
    assert group.on_torus(period) == (group if not ndim else type(group)(group.quotient if ndim == 2 else ndim, period))
