"""Permutation representations, against matrices."""

import copy
import pickle

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

import equijax as ej
from equijax.reps import PermutationRepresentation, Quotient, Regular, Scalar, restrict
from tests.catalogue import FINITE, all_permutations, brute_orbits, parametrize, permutation_matrix

TRIANGLE = [[1, 2, 0], [1, 0, 2]]
D4, C4, S3, A4, Q8 = ej.Dihedral(4), ej.Cyclic(4), FINITE["S3"], FINITE["A4"], FINITE["Q8"]

FIBRES = {
    **{f"Scalar({n})": Scalar(g) for n, g in (("D4", D4), ("Q8", Q8), ("Trivial", ej.Trivial(2)))},
    **{f"Regular({n})": Regular(g) for n, g in (("D4", D4), ("Q8", Q8), ("A4", A4), ("Trivial", ej.Trivial(2)))},
    **{f"Quotient(D4, {k.elements})": Quotient(k) for k in D4.subgroups()[1::3]},
    **{f"Quotient(A4, {k.elements})": Quotient(k) for k in A4.subgroups() if k.order in (2, 3, 4)},
    "corners of a triangle": PermutationRepresentation.from_generators(S3, TRIANGLE),
    "DNA": PermutationRepresentation(ej.Reflection(1), [[0, 1, 2, 3], [3, 2, 1, 0]]),
    "sum": Scalar(D4) + Regular(D4) + Quotient(D4.subgroup([4])),
    "product": Regular(S3) * PermutationRepresentation.from_generators(S3, TRIANGLE),
    "restricted": restrict(Regular(D4), D4.subgroup([1])),
    "faces of the cube": Quotient(ej.Octahedral().subgroup([1])),
}
every_fibre = pytest.mark.parametrize("fibre", **parametrize(FIBRES))


@every_fibre
def test_homomorphism(fibre):
    table, group = fibre.table, fibre.group
    assert table.shape == (group.order, fibre.dim) and table.dtype == np.int32
    assert (np.sort(table, 1) == np.arange(fibre.dim)).all()
    for g in range(group.order):
        assert np.array_equal(table[group.table[g]], table[g][table])
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 0


@every_fibre
def test_matrices(fibre):
    matrices = np.asarray(fibre(fibre.group.elements()))
    assert matrices.shape == (fibre.group.order, fibre.dim, fibre.dim) and matrices.dtype == np.float32
    expected = np.stack([permutation_matrix(row) for row in fibre.table])
    assert np.array_equal(matrices, expected)
    products = np.einsum("aij,bjk->abik", matrices, matrices)
    assert np.array_equal(products, matrices[fibre.group.table])


@every_fibre
def test_act_agrees_with_the_matrix(fibre):
    if not fibre.shape:
        assert np.array_equal(fibre.act(0, np.arange(3.0), axis=0), np.arange(3.0))
        return
    x = np.arange(2.0 * fibre.dim * 3).reshape(2, fibre.dim, 3)
    for g in range(min(fibre.group.order, 9)):
        expected = np.einsum("ij,bjc->bic", permutation_matrix(fibre.table[g]), x)
        assert np.array_equal(fibre.act(g, x, axis=1), expected)
    jitted = jax.jit(lambda g, x: fibre.act(g, x, axis=1))
    last = fibre.group.order - 1
    assert np.array_equal(jitted(np.int32(last), x), fibre.act(last, x, axis=1))


@every_fibre
def test_orbits(fibre):
    assert np.array_equal(fibre.orbits, brute_orbits(fibre.table))
    assert fibre.orbits.dtype == np.int32
    with pytest.raises(ValueError, match="read-only"):
        fibre.orbits[0] = 3


@every_fibre
def test_contract(fibre):
    assert fibre.is_permutation and fibre.dual is fibre
    assert fibre.shape == (() if isinstance(fibre, Scalar) else (fibre.dim,))


@every_fibre
def test_values(fibre):
    for other in (copy.deepcopy(fibre), pickle.loads(pickle.dumps(fibre))):
        assert other == fibre and hash(other) == hash(fibre) and repr(other) == repr(fibre)
        assert np.array_equal(other.table, fibre.table)
    assert fibre != "a fibre"
    with pytest.raises(AttributeError):
        fibre.group = None
    with pytest.raises(AttributeError):
        fibre.table = None
    assert len(repr(fibre)) < 400 and "array" not in repr(fibre)


def test_different_fibres_are_unequal():
    assert len(set(FIBRES.values())) == len(FIBRES)
    assert Regular(C4) != Regular(D4) and Scalar(C4) != Regular(C4)
    assert PermutationRepresentation(C4, Regular(C4).table) != Regular(C4), "another class is another representation"


def test_fibres_of_equal_groups_are_equal():
    assert Regular(ej.wallpaper("p4m").point_group) == Regular(D4)
    assert Quotient(ej.wallpaper("p4m").point_group.subgroup([4])) == Quotient(D4.subgroup([4]))


def test_regular_is_multiplication_from_the_left():
    assert Regular(D4).table is D4.table
    values = np.arange(8.0)
    for u in range(8):
        moved = np.asarray(Regular(D4).act(u, values, axis=0))
        assert [moved[g] for g in range(8)] == [values[D4.table[D4.inverses[u], g]] for g in range(8)]


def test_the_rotation_rolls_a_regular_fibre():
    """grids.md, section 1."""
    assert np.array_equal(Regular(C4).act(1, np.arange(4), axis=0), np.roll(np.arange(4), 1))
    halves = np.arange(8).reshape(2, 4)
    assert np.array_equal(Regular(D4).act(1, np.arange(8), axis=0), np.roll(halves, 1, axis=1).reshape(-1))


@pytest.mark.parametrize("k", D4.subgroups() + A4.subgroups(), ids=repr)
def test_quotient_moves_cosets(k):
    group, fibre = k.group, Quotient(k)
    cosets = [frozenset(row.tolist()) for row in k.cosets]
    assert fibre.dim == k.index and [min(c) for c in cosets] == sorted(min(c) for c in cosets)
    for u in range(group.order):
        for i, coset in enumerate(cosets):
            assert cosets[fibre.table[u, i]] == frozenset(int(group.table[u, g]) for g in coset)
    assert fibre.orbits.max() == 0, "cosets are one orbit"


def test_quotients_by_the_ends_of_the_lattice_of_subgroups():
    assert np.array_equal(Quotient(D4.subgroup([])).table, Regular(D4).table)
    assert np.array_equal(Quotient(D4.subgroup([1, 4])).table, Scalar(D4).table)
    assert Quotient(D4.subgroup([1, 4])).shape == (1,), "only Scalar has no axis"


def test_regular_of_the_trivial_group_has_an_axis_of_length_1():
    assert Regular(ej.Trivial(2)).shape == (1,)


@pytest.mark.parametrize(("a", "b"), [("Regular(D4)", "Quotient(D4, (0, 2))"), ("Scalar(D4)", "sum")])
def test_sum_and_product_are_those_of_matrices(a, b):
    a, b = FIBRES[a], FIBRES[b]
    for g in (0, 1, 4, 7):
        x, y = permutation_matrix(a.table[g]), permutation_matrix(b.table[g])
        direct = np.block([[x, np.zeros((a.dim, b.dim))], [np.zeros((b.dim, a.dim)), y]])
        assert np.array_equal(permutation_matrix((a + b).table[g]), direct)
        assert np.array_equal(permutation_matrix((a * b).table[g]), np.kron(x, y))
    assert (a + b).orbits.max() + 1 == a.orbits.max() + b.orbits.max() + 2


def test_the_square_of_a_transitive_set_has_burnsides_number_of_orbits():
    corners = PermutationRepresentation.from_generators(S3, TRIANGLE)
    fixed = [(row == np.arange(3)).sum() for row in corners.table]
    assert (corners * corners).orbits.max() + 1 == np.mean(np.square(fixed)) == 2


@pytest.mark.parametrize("k", D4.subgroups(), ids=lambda k: str(k.elements))
def test_restriction_keeps_the_rows_of_the_subgroup(k):
    for fibre in (Regular(D4), Quotient(D4.subgroup([5])), FIBRES["sum"]):
        small = restrict(fibre, k)
        assert small.group == k.as_group() and np.array_equal(small.table, fibre.table[list(k.elements)])
    assert restrict(Scalar(D4), k) == Scalar(k.as_group())


@hypothesis.given(st.data())
def test_from_generators_extends_any_homomorphism(data):
    """S_n acts on pairs; the images of its generators determine the rest."""
    n = data.draw(st.integers(2, 4))
    generators = data.draw(st.lists(st.permutations(range(n)), min_size=1, max_size=2))
    group = ej.FiniteGroup.from_permutations(generators)
    kept = [p for i, p in enumerate(generators) if list(p) != list(range(n)) and p not in generators[:i]]
    on_pairs = [[p[i] * n + p[j] for i in range(n) for j in range(n)] for p in kept]
    fibre = PermutationRepresentation.from_generators(group, on_pairs)
    for s, images in zip(group.generators, on_pairs, strict=True):
        assert fibre.table[s].tolist() == images
    for g in range(group.order):
        assert np.array_equal(fibre.table[group.table[g]], fibre.table[g][fibre.table])


def test_from_generators_of_the_trivial_group():
    assert PermutationRepresentation.from_generators(ej.Trivial(2), []).table.tolist() == [[0]]


def test_a_permutation_rep_copies_its_table():
    table = np.array([[0, 1], [1, 0]])
    fibre = PermutationRepresentation(ej.Reflection(1), table)
    table[:] = 0
    assert fibre.table.tolist() == [[0, 1], [1, 0]]


def test_all_of_s4_by_its_natural_representation():
    s4 = FINITE["S4"]
    natural = PermutationRepresentation.from_generators(s4, [[1, 2, 3, 0], [1, 0, 2, 3]])
    assert sorted(map(tuple, natural.table.tolist())) == sorted(map(tuple, all_permutations(4).tolist()))
