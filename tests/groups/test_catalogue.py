"""Point groups by name: element order is part of the checkpoint format, so it is pinned here."""

import numpy as np
import pytest

import equijax as ej
from tests.catalogue import R


@pytest.mark.parametrize("n", range(1, 9))
def test_cyclic_element_k_is_the_kth_power_of_the_rotation(n):
    group, angle = ej.Cyclic(n), 2 * np.pi / n
    r = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for k in range(n):
        np.testing.assert_allclose(group.matrices[k], np.linalg.matrix_power(r, k), atol=1e-12)
    assert np.array_equal(group.table, np.add.outer(np.arange(n), np.arange(n)) % n)
    assert group.generators == ((1,) if n > 1 else ())


@pytest.mark.parametrize("n", range(1, 9))
def test_dihedral_element_n_plus_k_is_a_rotation_after_the_mirror(n):
    group, angle = ej.Dihedral(n), 2 * np.pi / n
    r = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for k in range(n):
        np.testing.assert_allclose(group.matrices[k], np.linalg.matrix_power(r, k), atol=1e-12)
        np.testing.assert_allclose(group.matrices[n + k], np.linalg.matrix_power(r, k) @ np.diag([1, -1]), atol=1e-12)
        assert int(group.compose(k, n)) == n + k
    assert group.generators == ((1, n) if n > 1 else (1,))


@pytest.mark.parametrize("group", [ej.Cyclic(4), ej.Dihedral(4), ej.Octahedral(True), ej.Reflection(3)], ids=repr)
def test_matrices_of_the_square_and_the_cube_are_exact_integers(group):
    assert np.array_equal(group.matrices, np.rint(group.matrices))
    assert not np.signbit(group.matrices[group.matrices == 0]).any()
    assert group.integer_matrices.dtype == np.int32


def test_the_quarter_turn_is_that_of_numpy():
    assert ej.Cyclic(4).integer_matrices[1].tolist() == ej.Dihedral(4).integer_matrices[1].tolist() == R


@pytest.mark.parametrize("ndim", range(1, 5))
def test_trivial(ndim):
    group = ej.Trivial(ndim)
    assert (group.order, group.ndim, group.generators) == (1, ndim, ())
    assert np.array_equal(group.matrices, np.eye(ndim)[None])


@pytest.mark.parametrize(("ndim", "axis"), [(1, 0), (2, 0), (2, 1), (3, 2), (3, -1), (2, -2)])
def test_reflection_reverses_one_axis(ndim, axis):
    signs = np.ones(ndim)
    signs[axis] = -1
    assert np.array_equal(ej.Reflection(ndim, axis).matrices, [np.eye(ndim), np.diag(signs)])
    assert ej.Reflection(ndim, axis) == ej.Reflection(ndim, axis % ndim)


@pytest.mark.parametrize(("inversion", "determinants"), [(False, {1}), (True, {1, -1})])
def test_octahedral_is_all_signed_permutation_matrices_of_the_right_determinant(inversion, determinants):
    group = ej.Octahedral(inversion)
    assert group.signed_permutations.all()
    assert set(np.rint(np.linalg.det(group.matrices)).astype(int).tolist()) == determinants
    assert len(np.unique(group.matrices.reshape(group.order, -1), axis=0)) == group.order == 24 * len(determinants)


def test_octahedral_elements_start_breadth_first_from_the_quarter_turns():
    about_0 = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    about_1 = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    group = ej.Octahedral()
    expected = [np.eye(3), about_0, about_1, about_0 @ about_0, about_0 @ about_1, about_1 @ about_0]
    assert np.array_equal(group.matrices[:6], expected)
    assert ej.Octahedral(True).integer_matrices[3].tolist() == (-np.eye(3)).astype(int).tolist()
    assert group.generators == (1, 2) and ej.Octahedral(True).generators == (1, 2, 3)


@pytest.mark.parametrize(
    ("group", "text"),
    [
        (ej.Trivial(3), "Trivial(3)"),
        (ej.Cyclic(4), "Cyclic(4)"),
        (ej.Dihedral(6), "Dihedral(6)"),
        (ej.Reflection(2, -1), "Reflection(2, 1)"),
        (ej.Octahedral(True), "Octahedral(True)"),
    ],
)
def test_repr_evaluates_to_an_equal_group(group, text):
    assert repr(group) == text
    assert eval(text, vars(ej)) == group
