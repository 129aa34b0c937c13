"""Finite groups of matrices."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import equijax as ej
from tests.catalogue import POINT, R, is_group_table, parametrize

every_group = pytest.mark.parametrize("group", **parametrize(POINT))


@every_group
def test_the_table_is_that_of_the_matrices(group):
    m = group.matrices
    products = np.einsum("aij,bjk->abik", m, m)
    np.testing.assert_allclose(products, m[group.table], atol=1e-9)
    np.testing.assert_allclose(np.linalg.inv(m), m[group.inverses], atol=1e-9)
    assert m.dtype == np.float64 and m.shape == (group.order, group.ndim, group.ndim)
    with pytest.raises(ValueError, match="read-only"):
        m[0] = 0


@every_group
def test_matrices_are_isometries_of_their_lattice(group):
    metric = np.eye(group.ndim) if group.basis is None else group.basis.T @ group.basis
    moved = np.einsum("gji,jk,gkl->gil", group.matrices, metric, group.matrices)
    np.testing.assert_allclose(moved, np.broadcast_to(metric, moved.shape), atol=1e-9)


@pytest.mark.parametrize(("n", "preserves"), [(1, 1), (2, 1), (3, 0), (4, 1), (5, 0), (6, 0), (8, 0)])
def test_which_rotations_preserve_the_square_grid(n, preserves):
    assert ej.Cyclic(n).preserves_lattice == ej.Dihedral(n).preserves_lattice == bool(preserves)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize("family", [ej.Cyclic, ej.Dihedral])
def test_in_basis_of_the_hexagonal_lattice(family, n):
    plain = family(n)
    group = plain.in_basis(ej.HEXAGONAL)
    assert group.preserves_lattice and np.array_equal(group.table, plain.table)
    assert group.generators == plain.generators
    for m, lattice in zip(plain.matrices, group.integer_matrices, strict=True):
        np.testing.assert_allclose(ej.HEXAGONAL @ lattice, m @ ej.HEXAGONAL, atol=1e-12)
    assert group != plain and plain != group
    assert group.is_lattice_centred


def test_the_hexagonal_neighbours_are_turned_among_themselves():
    neighbours = {(1, 0), (0, 1), (-1, 1), (-1, 0), (0, -1), (1, -1)}
    lengths = [np.linalg.norm(ej.HEXAGONAL @ v) for v in neighbours]
    np.testing.assert_allclose(lengths, 1.0)
    turn = ej.Cyclic(6).in_basis(ej.HEXAGONAL).integer_matrices[1]
    assert turn.tolist() == [[0, -1], [1, 1]]
    seen, v = [], np.array([1, 0])
    for _ in range(6):
        seen.append(tuple(v.tolist()))
        v = turn @ v
    assert set(seen) == neighbours and len(seen) == 6


def test_hexagonal_basis_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        ej.HEXAGONAL[0, 0] = 2


def test_in_basis_none_is_the_group_itself():
    group = ej.Cyclic(4)
    assert group.in_basis(None) is group


def test_in_a_skew_basis_the_quarter_turn_is_still_integer():
    group = ej.Cyclic(4).in_basis([[1, 1], [0, 1]])
    assert group.integer_matrices[1].tolist() == [[-1, -2], [1, 1]] and group != ej.Cyclic(4)


@pytest.mark.parametrize(
    ("group", "blocks", "signed", "centred"),
    [
        (ej.Trivial(3), ((0,), (1,), (2,)), True, False),
        (ej.Cyclic(2), ((0,), (1,)), True, False),
        (ej.Cyclic(4), ((0, 1),), True, False),
        (ej.Reflection(3, 1), ((0,), (1,), (2,)), True, False),
        (ej.Octahedral(), ((0, 1, 2),), True, False),
        (
            ej.PointGroup.from_matrices([np.kron([[1, 0], [0, 0]], R) + np.diag([0, 0, 1, 1])]),
            ((0, 1), (2,), (3,)),
            True,
            False,
        ),
        (ej.PointGroup.from_matrices([np.eye(3)[[1, 2, 0]]]), ((0, 1, 2),), True, False),
        (ej.Cyclic(3).in_basis(ej.HEXAGONAL), ((0, 1),), False, True),
        (ej.Cyclic(2).in_basis(ej.HEXAGONAL), ((0,), (1,)), True, True),
        (ej.PointGroup.from_matrices([[[-1, -1], [1, 0]]]), ((0, 1),), False, True),
    ],
    ids=repr,
)
def test_axes_that_are_mixed(group, blocks, signed, centred):
    assert group.mixed_axes == blocks
    assert bool(group.signed_permutations.all()) == signed
    assert group.is_lattice_centred == centred


def test_signed_permutations_are_told_element_by_element():
    six = ej.Cyclic(6).in_basis(ej.HEXAGONAL)
    assert six.signed_permutations.tolist() == [True, False, False, True, False, False]
    assert ej.Cyclic(8).signed_permutations.tolist() == [True, False] * 4


def test_breadth_first_order_multiplies_on_the_right():
    r, m = np.array(R), np.diag([1, -1])
    group = ej.PointGroup.from_matrices([r, m])
    expected = [np.eye(2), r, m, r @ r, r @ m, m @ r, r @ r @ r, r @ r @ m]
    assert np.array_equal(group.matrices, expected)
    assert group != ej.Dihedral(4), "same elements in another order"


def test_rounding_in_the_generators_does_not_change_the_group():
    noisy = np.array(R) + 1e-12
    assert ej.PointGroup.from_matrices([noisy]) == ej.Cyclic(4)
    # A chain of 100 products of a rotation by 3.6° must still close.
    assert ej.PointGroup.from_matrices([ej.Cyclic(100).matrices[1]]).order == 100


@hypothesis.given(st.integers(2, 3), st.data())
def test_signed_permutation_matrices_generate_point_groups(d, data):
    generators = []
    for _ in range(data.draw(st.integers(1, 2))):
        signs = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=d, max_size=d))
        generators.append(np.eye(d)[list(data.draw(st.permutations(range(d))))] * np.array(signs)[:, None])
    group = ej.PointGroup.from_matrices(generators)
    assert is_group_table(group.table) and 48 % group.order == 0
    np.testing.assert_array_equal(np.einsum("aij,bjk->abik", group.matrices, group.matrices), group.matrices[group.table])
    # The same group as permutations of the 2d signed axes has the same table: both are breadth first.
    points = np.concatenate([np.eye(d), -np.eye(d)])
    images = [[int(np.flatnonzero((points == g @ p).all(1))[0]) for p in points] for g in generators]
    assert np.array_equal(ej.FiniteGroup.from_permutations(images).table, group.table)


@pytest.mark.parametrize(
    ("group", "text"),
    [
        (ej.PointGroup.from_matrices([R]), "PointGroup.from_matrices([[[0, -1], [1, 0]]])"),
        (ej.Cyclic(3).in_basis(ej.HEXAGONAL), "PointGroup.from_matrices([[[-1, -1], [1, 0]]], basis=HEXAGONAL)"),
        (ej.Trivial(2).in_basis(ej.HEXAGONAL), "PointGroup.from_matrices([[[1, 0], [0, 1]]], basis=HEXAGONAL)"),
    ],
)
def test_repr_evaluates_to_an_equal_group(group, text):
    assert repr(group) == text
    assert eval(text, vars(ej)) == group
