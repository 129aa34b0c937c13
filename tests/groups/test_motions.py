"""Motions of space: the group laws, and what of them maps a lattice to itself."""

import pickle

import jax
import numpy as np
import pytest

import equijax as ej
from equijax.groups import HEXAGONAL, LieGroup, Motions

GROUPS = [
    ej.Cyclic(3),
    ej.Cyclic(8),
    ej.Dihedral(16),
    ej.Octahedral(),
    ej.SO(2),
    ej.O(2),
    ej.SO(3),
    ej.O(3),
]


@pytest.mark.parametrize("point_group", GROUPS, ids=repr)
def test_the_laws_of_a_group(point_group):
    group = Motions(point_group)
    ej.testing.check_group(group)
    a, b = group.sample(jax.random.key(0)), group.sample(jax.random.key(1))
    np.testing.assert_allclose(group.matrix(group.compose(a, b)), group.matrix(a) @ group.matrix(b), atol=1e-5)
    assert bool(group.isclose(group.element(group.matrix(a)), a))


@pytest.mark.parametrize(
    ("point_group", "basis", "order"),
    [
        (ej.Cyclic(3), None, 1),
        (ej.Cyclic(8), None, 4),
        (ej.Dihedral(16), None, 8),
        (ej.SO(2), None, 4),
        (ej.O(2), None, 8),
        (ej.SO(2), HEXAGONAL, 6),
        (ej.O(2), HEXAGONAL, 12),
        (ej.Cyclic(12), HEXAGONAL, 6),
        (ej.SO(2), np.diag([1.0, 2.0]), 2),
        (ej.SO(3), None, 24),
        (ej.O(3), None, 48),
        (ej.O(3), np.diag([1.0, 1.0, 2.0]), 16),
    ],
    ids=str,
)
def test_the_part_that_maps_the_lattice_to_itself(point_group, basis, order):
    group = Motions(point_group, basis)
    part = group.lattice_part.point_group
    assert part.order == order
    t, h = np.zeros((order, group.ndim), np.int32), np.arange(order, dtype=np.int32)
    members = group.from_lattice(t, h)[1]
    inverse = np.linalg.inv(group.basis)
    np.testing.assert_allclose(
        inverse @ np.asarray(point_group.matrix(members)) @ group.basis, part.integer_matrices, atol=1e-6
    )


def test_names_of_the_usual_parts():
    parts = [Motions(h).lattice_part for h in (ej.SO(2), ej.O(2), ej.SO(3), ej.O(3), ej.Cyclic(4))]
    points = (ej.Cyclic(4), ej.Dihedral(4), ej.Octahedral(), ej.Octahedral(inversion=True), ej.Cyclic(4))
    assert parts == [ej.SpaceGroup(h) for h in points]


def test_there_and_back():
    group = Motions(ej.SO(2), HEXAGONAL)
    g = group.from_lattice(np.array([2, -1], np.int32), np.int32(5))
    t, h = group.to_lattice(g)
    assert t.tolist() == [2, -1] and h == 5
    assert group.to_lattice((g[0] + 0.5, g[1])) is None
    assert group.to_lattice((g[0], np.asarray(ej.SO(2).exp(0.3 * ej.SO(2).algebra[0])))) is None


def test_groups_of_points_become_groups_of_a_grid():
    assert ej.SE(2).on_grid == Motions(ej.SO(2)) and ej.E(3).on_grid == Motions(ej.O(3))
    assert ej.wallpaper("p4").on_grid == ej.wallpaper("p4") and ej.SE(2).grid_ndim == 0


def test_values():
    group = Motions(ej.Cyclic(8), HEXAGONAL)
    assert pickle.loads(pickle.dumps(group)) == group and hash(group) == hash(Motions(ej.Cyclic(8), HEXAGONAL))
    assert group != Motions(ej.Cyclic(8)) and group != Motions(ej.Cyclic(4), HEXAGONAL)
    with pytest.raises(AttributeError, match="immutable"):
        group.quotient = ej.Cyclic(4)


@pytest.mark.parametrize(
    ("point_group", "error", "said"),
    [
        (3, TypeError, "orthogonal matrices"),
        (ej.wallpaper("p4"), TypeError, "Use its `point_group`"),
        (ej.Permutation(3), TypeError, "orthogonal matrices"),
        (ej.Cyclic(6).in_basis(HEXAGONAL), ValueError, "Cartesian"),
        (ej.PointGroup.from_matrices([[[0, -1], [1, -1]]]), ValueError, "not orthogonal"),
        (LieGroup.from_algebra([[[0.0, 1.0], [0.0, 0.0]]]), ValueError, "compact"),
    ],
    ids=str,
)
def test_what_is_no_group_of_rotations(point_group, error, said):
    with pytest.raises(error, match=said):
        Motions(point_group)


def test_a_basis_that_is_none():
    with pytest.raises(ValueError, match="independent"):
        Motions(ej.SO(2), [[1.0, 2.0], [2.0, 4.0]])
