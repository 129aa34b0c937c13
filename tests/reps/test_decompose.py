"""Decompositions: blocks, multiplicities against characters, the same basis on every machine."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import equijax as ej
from equijax.reps import _decompose, _solver
from equijax.reps._decompose import all_matrices
from tests.helpers import check_message
from tests.reps.finite_groups import SMALL, group_named
from tests.reps.test_irreps import Adversary


@dataclasses.dataclass(frozen=True, eq=False)
class Given(ej.reps.Representation):
    """A representation of a finite group by any matrices, which nothing checks."""

    group: Any
    matrices: np.ndarray

    @property
    def dim(self):
        return self.matrices.shape[1]

    def __call__(self, g):
        return jnp.asarray(self.matrices)[g]

    @property
    def generators(self):
        return tuple(self.matrices[g] for g in self.group.generators)

    @property
    def algebra(self):
        return ()


def square(irrep):
    rho = irrep.matrices
    n, d, _ = rho.shape
    return Given(irrep.group, np.einsum("gab,gcd->gacbd", rho, rho).reshape(n, d * d, d * d))


def permutation_fibres(group):
    """On cosets of up to three subgroups, and on pairs of cosets where that is small."""
    subgroups = [group.subgroup([]), group.subgroup([group.order - 1]), group.subgroup(group.generators[:1])]
    fibres = [ej.reps.Scalar(group), *map(ej.reps.Quotient, subgroups)]
    return [*fibres, *(fibre * fibre for fibre in fibres if fibre.dim <= 6)]


def fibres_of(group):
    squares = [square(irrep) for irrep in ej.reps.irreps(group) if 1 < irrep.dim <= 6]
    return [*permutation_fibres(group), *squares, ej.reps.Regular(group)]


def trace_of(rep, group):
    if rep.is_permutation:
        return (rep.table == np.arange(rep.dim)).sum(1)
    return np.trace(rep.matrices, axis1=1, axis2=2)


def block_error(rep, found):
    """Distance of Q⁻¹ρQ from the blocks of the irreps, over all elements up to 24 and the generators of larger groups."""
    group = rep.group
    inverse = np.linalg.inv(found.basis)
    matrices = all_matrices(rep)
    worst = 0.0
    for g in range(group.order) if group.order <= 24 else group.generators:
        blocks = [irrep.matrices[g] for irrep, count in found.irreps for _ in range(count)]
        worst = max(worst, np.abs(inverse @ matrices[g] @ found.basis - scipy.linalg.block_diag(*blocks)).max())
    return worst


@pytest.mark.parametrize("name", SMALL)
def test_blocks_and_multiplicities_of_tensor_squares_and_permutations(name):
    group = group_named(name)
    irreps = ej.reps.irreps(group)
    for rep in fibres_of(group):
        found = ej.reps.decompose(rep)
        expected = [float(irrep.character @ trace_of(rep, group)) / group.order / irrep.commutant_dim for irrep in irreps]
        counts = dict(found.irreps)
        assert np.abs([counts.get(irrep, 0) - m for irrep, m in zip(irreps, expected, strict=True)]).max() < 1e-9
        assert [irrep.index for irrep, _ in found.irreps] == sorted(irrep.index for irrep, _ in found.irreps)
        assert np.abs(found.basis.T @ found.basis - np.eye(rep.dim)).max() < 1e-12
        assert block_error(rep, found) < 1e-12


@pytest.mark.parametrize("name", SMALL)
def test_hom_dimensions_are_character_inner_products(name):
    """The solver's ranks for every pair of irreps, and into tensor squares and permutations, against traces alone."""
    group = group_named(name)
    irreps = ej.reps.irreps(group)
    for irrep in irreps:
        d = irrep.dim
        for other in irreps:
            maps = _solver.solve(irrep.generators, other.generators, [], [], in_dim=d, out_dim=other.dim)
            assert abs(len(maps) - irrep.character @ other.character / group.order) < 1e-9
        for rep in fibres_of(group):
            if rep.dim * d <= 64:
                maps = ej.reps.intertwiners(irrep, rep)
                assert abs(len(maps) - irrep.character @ trace_of(rep, group) / group.order) < 1e-9


@pytest.mark.parametrize("name", ["C5", "Q8", "S4", "SL(2,3)"])
def test_conjugated_representations(name):
    """Not orthogonal any more: the irreps are the same ones, and their matrices too."""
    group = group_named(name)
    rng = np.random.default_rng(0)
    for irrep in [irrep for irrep in ej.reps.irreps(group) if irrep.dim > 1][-2:]:
        doubled = np.kron(np.eye(2), irrep.matrices)
        skew = rng.normal(size=doubled.shape[1:]) + 2 * np.eye(len(doubled[0]))
        rep = Given(group, skew @ doubled @ np.linalg.inv(skew))
        found = ej.reps.decompose(rep)
        assert found.irreps == ((irrep, 2),)
        assert not rep.is_orthogonal
        assert block_error(rep, found) < 1e-11
        assert np.abs(found.inverse @ found.basis - np.eye(rep.dim)).max() < 1e-11


def test_parts_of_an_irrep_are_itself():
    irrep = ej.reps.Irrep(ej.Cyclic(7), 2)
    assert irrep.irreps == ((irrep, 1),) and np.array_equal(irrep.basis, np.eye(2))


def test_copies_name_their_first_column():
    regular = ej.reps.Regular(group_named("Q8"))
    found = ej.reps.decompose(regular)
    assert [(irrep.index, start) for irrep, start in found.copies] == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]
    assert regular.irreps == found.irreps and regular.basis is found.basis
    assert "1 × Irrep(" in repr(found)


@pytest.mark.parametrize("name", ["D6", "Q8", "SL(2,3)", "Frobenius 21", "A4"])
def test_an_adversarial_eigensolver_moves_no_basis(name, monkeypatch):
    group = group_named(name)
    reps = [square(irrep) for irrep in ej.reps.irreps(group)[-2:]] + [
        ej.reps.Regular(group),
        *permutation_fibres(group)[1:3],
    ]

    def bases():
        for cached in (_decompose._decompose, _decompose.peter_weyl, _solver._intertwiners, _solver._part_intertwiners):
            cached.cache_clear()
        return [ej.reps.decompose(rep).basis for rep in reps]

    before = bases()
    adversary = Adversary(scipy.linalg.eigh, 1)
    monkeypatch.setattr(np.linalg, "eigh", adversary)
    monkeypatch.setattr(_solver, "_eigh", adversary)
    after = bases()
    monkeypatch.undo()
    bases()
    assert max(np.abs(a - b).max() for a, b in zip(before, after, strict=True)) <= 1e-10


def test_clebsch_gordan_products_commute():
    group = group_named("O")
    vector = next(irrep for irrep in ej.reps.irreps(group) if np.array_equal(irrep.matrices, group.matrices))
    for irrep in ej.reps.irreps(group):
        tensor = ej.reps.clebsch_gordan(vector, vector, irrep)
        assert len(tensor) == round(vector.character**2 @ irrep.character / group.order)
        for rho, psi in zip(vector.generators, irrep.generators, strict=True):
            moved = np.einsum("rijk,jb,kc->ribc", tensor, rho, rho)
            assert np.abs(moved - np.einsum("ai,ribc->rabc", psi, tensor)).max(initial=0) < 1e-13
    cross = ej.reps.clebsch_gordan(vector, vector, vector)
    assert np.abs(cross + cross.transpose(0, 1, 3, 2)).max() < 1e-14  # the cross product
    with pytest.raises(ValueError, match="read-only"):
        cross[0] = 0


def test_clebsch_gordan_of_representations_that_are_no_irreps():
    group = ej.Dihedral(4)
    regular, plane = ej.reps.Regular(group), ej.reps.Irrep(group, 4)
    assert ej.reps.clebsch_gordan(regular, plane, plane).shape == (4, 2, 8, 2)
    check_message(
        lambda: ej.reps.clebsch_gordan(plane, ej.reps.Irrep(ej.Cyclic(4), 1), plane),
        ValueError,
        ["different groups", "Cyclic(4)"],
    )
    check_message(lambda: ej.reps.clebsch_gordan(plane, 2, plane), TypeError, ["`b`"])


def test_wrong_matrices_are_refused():
    group = ej.Cyclic(4)
    wrong = np.stack([np.linalg.matrix_power(np.array([[0.0, -1.1], [1.0, 0.0]]), k) for k in range(4)])
    check_message(lambda: ej.reps.decompose(Given(group, wrong)), ValueError, ["no representation", "Cyclic(4)"])
    third = np.stack([np.diag([1.0, np.cos(k), np.cos(k)]) for k in range(4)])
    check_message(lambda: ej.reps.decompose(Given(group, third)), ValueError, ["no representation"])
    check_message(lambda: ej.reps.decompose("vector"), TypeError, ["rep", "Regular"])


def test_too_large_or_unknown_is_explained(monkeypatch):
    monkeypatch.setattr(_decompose, "MAX_ENTRIES", 100)
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))
    mixed = turned @ np.kron(np.eye(4), ej.reps.Irrep(ej.Cyclic(3), 1).matrices) @ turned.T
    check_message(lambda: ej.reps.decompose(Given(ej.Cyclic(3), mixed)), ValueError, ["192", "100", "part by part"])


def test_sums_are_taken_apart_part_by_part():
    """Copies of one irrep from different parts stand side by side, and the blocks are those of the irreps."""
    group = group_named("D4 breadth first")
    plane, regular = ej.reps.Vector(group), ej.reps.Regular(group)
    rep = 2 * plane + regular + ej.reps.Irrep(group, 1)
    found = ej.reps.decompose(rep)
    counts = {irrep: float(irrep.character @ np.trace(all_matrices(rep), axis1=1, axis2=2)) / 8 for irrep, _ in found.irreps}
    assert [count for _, count in found.irreps] == pytest.approx(list(counts.values()))
    assert sum(irrep.dim * count for irrep, count in found.irreps) == rep.dim == 13
    assert block_error(rep, found) < 1e-12
    assert np.abs(found.basis.T @ found.basis - np.eye(13)).max() < 1e-12


def test_powers_duals_and_products_of_irreps():
    group = group_named("S4")
    standard = ej.reps.Irrep(group, 3)
    for rep in (
        standard * standard,
        ej.reps.symmetric_power(standard, 2),
        ej.reps.exterior_power(standard, 2),
        standard.dual,
    ):
        found = ej.reps.decompose(rep)
        assert sum(irrep.dim * count for irrep, count in found.irreps) == rep.dim
        assert block_error(rep, found) < 1e-12
    assert [irrep.index for irrep, _ in (standard * standard).irreps] == [0, 2, 3, 4]


def test_large_permutations_are_taken_apart_orbit_by_orbit():
    """1024 coordinates in 32 orbits: each irrep occurs 32 times as often as in the regular representation."""
    regular = ej.reps.Regular(ej.Dihedral(16))
    rep = regular * regular
    found = ej.reps.decompose(rep)
    assert found.irreps == tuple((irrep, 32 * count) for irrep, count in regular.irreps)
    assert np.abs(found.basis.T @ found.basis - np.eye(1024)).max() < 1e-12
    for g, matrix in zip(rep.group.generators, rep.generators, strict=True):
        moved = matrix @ found.basis
        for irrep, start in found.copies[::50]:
            columns = slice(start, start + irrep.dim)
            assert np.abs(moved[:, columns] - found.basis[:, columns] @ irrep.matrices[g]).max() < 1e-12


def test_the_trivial_group_splits_every_coordinate():
    found = ej.reps.decompose(3 * ej.reps.Scalar(ej.Trivial(2)))
    assert found.irreps == ((ej.reps.Irrep(ej.Trivial(2), 0), 3),) and np.array_equal(found.basis, np.eye(3))
