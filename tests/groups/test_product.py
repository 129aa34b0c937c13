"""Direct and semidirect products."""

import numpy as np
import pytest

import equijax as ej
from tests.catalogue import Flips, Wreath, leaves, same


def test_a_direct_product_works_entry_by_entry():
    group = ej.DirectProduct(ej.Dihedral(3), ej.Translation(1, 4))
    a, b = (4, np.array([3], np.int32)), (2, np.array([2], np.int32))
    h, t = group.compose(a, b)
    assert int(h) == ej.Dihedral(3).table[4, 2] and np.asarray(t).tolist() == [1]
    assert [x.tolist() for x in leaves(group.inverse(a))] == [4, [1]]
    assert group.order == 24
    assert len(group.generators) == 3
    assert bool(group.isclose(a, (4, [7]))) and not bool(group.isclose(a, (5, [3])))


def test_elements_of_a_direct_product_vary_fastest_in_the_last_factor():
    h, t = ej.DirectProduct(ej.Cyclic(2), ej.Translation(1, 3)).elements()
    assert np.asarray(h).tolist() == [0, 0, 0, 1, 1, 1]
    assert np.asarray(t)[:, 0].tolist() == [0, 1, 2, 0, 1, 2]


def test_products_are_values_in_which_the_order_of_the_factors_counts():
    a, b = ej.Cyclic(2), ej.Permutation(3)
    assert ej.DirectProduct(a, b) == ej.DirectProduct(a, b) and hash(ej.DirectProduct(a, b)) == hash(ej.DirectProduct(a, b))
    assert ej.DirectProduct(a, b) != ej.DirectProduct(b, a) != ej.DirectProduct(a)
    assert repr(ej.DirectProduct(a, b)) == "DirectProduct(Cyclic(2), Permutation(3))"


@pytest.mark.parametrize("n", [3, 4, 5])
def test_a_users_semidirect_product_is_the_dihedral_group(n):
    """(t, s) ↦ rᵗ mˢ is an isomorphism onto Dihedral(n), where element n·s + t is rᵗ mˢ."""
    group, dihedral = Flips(n), ej.Dihedral(n)
    t, s = (np.asarray(part) for part in group.elements())
    number = n * s + t[:, 0]
    assert sorted(number.tolist()) == list(range(2 * n))
    for i in range(2 * n):
        u, r = group.compose((t[i], s[i]), (t, s))
        assert np.array_equal(n * np.asarray(r) + np.asarray(u)[:, 0], dihedral.table[number[i], number])
    u, r = group.inverse((t, s))
    assert np.array_equal(n * np.asarray(r) + np.asarray(u)[:, 0], dihedral.inverses[number])


def test_a_wreath_product():
    group = Wreath()
    assert group.order == 48
    flip_0, cycle = ((1, 0, 0), np.arange(3)), ((0, 0, 0), np.array([1, 2, 0]))
    moved = group.compose(group.compose(cycle, flip_0), group.inverse(cycle))
    assert [int(x) for x in moved[0]] == [0, 1, 0], "conjugation carries the flip of point 0 to point 1"
    assert np.asarray(moved[1]).tolist() == [0, 1, 2]


def test_automorphisms_are_homomorphisms():
    group = ej.wallpaper("p6m")
    h, k = (np.arange(12)[:, None, None], np.arange(12)[None, :, None])
    n = np.arange(-4, 4, dtype=np.int32).reshape(4, 2)
    once = group.automorphism(group.quotient.compose(h, k), n)
    assert np.array_equal(once, group.automorphism(h, group.automorphism(k, n)))
    hk = np.arange(12)[:, None]
    assert np.array_equal(group.automorphism(hk, n + n[::-1]), group.automorphism(hk, n) + group.automorphism(hk, n[::-1]))


def test_same_helper_tells_elements_apart():
    assert same((1, np.array([2])), (1, np.array([2]))) and not same((1, np.array([2])), (1, np.array([3])))
