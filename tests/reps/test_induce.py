"""Induced representations: the law, Frobenius reciprocity, permutations stay permutations."""

import jax
import numpy as np
import pytest

import equijax as ej
from equijax.reps._decompose import all_matrices
from tests.helpers import check_message
from tests.reps.finite_groups import group_named

CASES = {
    "C4 in D4": ("D4", [1]),
    "mirror in D5": ("D5", [5]),
    "C4 in Q8": ("Q8", [1]),
    "V4 in A4": ("A4", [2]),
    "S3 in S4": ("S4", [1]),
    "trivial in C6": ("C6", []),
    "all of D3": ("D3", [1, 3]),
    "C7 in Frobenius 21": ("Frobenius 21", [1]),
}


def case(name):
    group_name, elements = CASES[name]
    group = group_named(group_name)
    return group, group.subgroup(elements)


@pytest.mark.parametrize("name", list(CASES))
def test_it_is_a_representation(name):
    group, subgroup = case(name)
    for irrep in ej.reps.irreps(subgroup.as_group())[-1:]:
        induced = irrep.induce(subgroup)
        assert induced.dim == irrep.dim * subgroup.index
        matrices = np.asarray(jax.jit(induced)(group.elements()))
        for g in range(group.order):
            assert np.abs(matrices[g] @ matrices - matrices[group.table[g]]).max() < 1e-13
        assert induced.is_orthogonal
        for g, matrix in zip(group.generators, induced.generators, strict=True):
            assert np.abs(matrices[g] - matrix).max() < 1e-14


@pytest.mark.parametrize("name", list(CASES))
def test_frobenius_reciprocity(name):
    """⟨Ind σ, ψ⟩ over G equals ⟨σ, Res ψ⟩ over K, by traces and by the decomposition."""
    group, subgroup = case(name)
    for sigma in ej.reps.irreps(subgroup.as_group()):
        induced = sigma.induce(subgroup)
        counts = dict(ej.reps.decompose(induced).irreps)
        for psi in ej.reps.irreps(group):
            below = sigma.character @ psi.character[list(subgroup.elements)] / subgroup.order
            assert abs(counts.get(psi, 0) * psi.commutant_dim - below) < 1e-9


def test_permutations_induce_permutations():
    group = ej.Dihedral(4)
    subgroup = group.subgroup([1])
    assert ej.reps.Scalar(subgroup.as_group()).induce(subgroup) == ej.reps.Quotient(subgroup)
    induced = ej.reps.Regular(subgroup.as_group()).induce(subgroup)
    assert induced.is_permutation and induced.dim == 8
    assert dict(induced.irreps) == dict(ej.reps.Regular(group).irreps)
    direct = ej.reps.Induced(ej.reps.Regular(subgroup.as_group()), subgroup)
    assert np.array_equal(all_matrices(direct), all_matrices(induced))


def test_wrong_arguments_are_explained():
    group = ej.Dihedral(4)
    irrep = ej.reps.Irrep(group, 4)
    check_message(lambda: irrep.induce(group.subgroup([1])), ValueError, ["Cyclic(4)", "as_group()"])
    check_message(lambda: irrep.induce(group), TypeError, ["Subgroup", "group.subgroup"])
