"""Subgroups and cosets, against sets of Python integers."""

import numpy as np
import pytest

import equijax as ej
from tests.catalogue import FINITE, SMALL, parametrize

MODERATE = {name: group for name, group in FINITE.items() if group.order <= 24}
every_group = pytest.mark.parametrize("group", **parametrize(MODERATE))


@every_group
def test_cosets_partition_the_group(group):
    for k in group.subgroups():
        cosets = k.cosets
        assert cosets.shape == (k.index, k.order) and cosets.dtype == np.int32
        assert sorted(cosets.reshape(-1).tolist()) == list(range(group.order))
        assert (np.diff(cosets, axis=1) > 0).all() and (np.diff(cosets[:, 0]) > 0).all()
        assert tuple(cosets[0].tolist()) == k.elements
        for row in cosets:
            assert {int(group.table[row[0], e]) for e in k.elements} == set(row.tolist())
        assert all(g in cosets[k.coset_of[g]] for g in range(group.order))
        assert np.array_equal(group.cosets(k), cosets)


@every_group
def test_normal_subgroups_are_those_whose_left_and_right_cosets_agree(group):
    for k in group.subgroups():
        left = {frozenset(row.tolist()) for row in k.cosets}
        right = {frozenset(group.table[list(k.elements), g].tolist()) for g in range(group.order)}
        assert group.is_normal(k) == (left == right)
        assert group.is_normal(k.elements) == (left == right)


@pytest.mark.parametrize("group", **parametrize(SMALL))
def test_subgroups_are_all_closed_subsets(group):
    """Brute force over all subsets that contain the identity (orders up to 12)."""
    rest = range(1, group.order)
    closed = set()
    for bits in range(1 << (group.order - 1)):
        members = [0, *(g for g in rest if bits >> (g - 1) & 1)]
        if group.order % len(members) == 0 and np.isin(group.table[np.ix_(members, members)], members).all():
            closed.add(tuple(members))
    found = [k.elements for k in group.subgroups()]
    assert set(found) == closed and len(found) == len(closed)
    assert found == sorted(found, key=lambda k: (len(k), k))


@every_group
def test_a_subgroup_as_a_group_of_its_own(group):
    for k in group.subgroups():
        small = k.as_group()
        assert np.array_equal(np.array(k.elements)[small.table], group.table[np.ix_(k.elements, k.elements)])
        assert small.subgroup(small.generators).order == k.order
        assert isinstance(small, ej.PointGroup if isinstance(group, ej.PointGroup) else ej.FiniteGroup)
        if isinstance(group, ej.PointGroup):
            assert np.allclose(small.matrices, group.matrices[list(k.elements)], rtol=0, atol=1e-14)
            assert (small.basis is None) == (group.basis is None)
        assert k.as_group() is small


def test_known_subgroups_of_d4():
    d4 = ej.Dihedral(4)
    assert d4.subgroup([1]).as_group() == ej.Cyclic(4)
    assert d4.subgroup([2]).as_group() == ej.Cyclic(2)
    assert d4.subgroup([4]).as_group() == ej.Dihedral(1)
    assert d4.subgroup([2, 4]).elements == (0, 2, 4, 6)
    assert d4.subgroup([]).elements == d4.subgroup([0]).elements == (0,)
    assert d4.subgroup([1, 5]).elements == tuple(range(8))
    assert [d4.is_normal(d4.subgroup(g)) for g in ([1], [2], [4], [2, 4], [2, 5])] == [True, True, False, True, True]


def test_is_subgroup():
    d4 = ej.Dihedral(4)
    assert d4.is_subgroup([0, 2]) and d4.is_subgroup([3, 2, 1, 0]) and d4.is_subgroup([0, 0, 4])
    assert not d4.is_subgroup([0, 1]) and not d4.is_subgroup([2]) and not d4.is_subgroup([])
    assert not d4.is_normal([0, 1])


def test_subgroups_are_values():
    a, b = ej.Dihedral(4).subgroup([2]), ej.wallpaper("p4m").point_group.subgroup([0, 2])
    assert a == b and hash(a) == hash(b) and a.cosets is b.cosets and a.as_group() is b.as_group()
    assert a != ej.Cyclic(4).subgroup([2])
    assert repr(a) == "Dihedral(4).subgroup([0, 2])" and eval(repr(a), vars(ej)) == a
    assert (a.order, a.index) == (2, 4)
    for array in (a.cosets, a.coset_of):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
