"""The maps that commute with a group: ranks known from theory, residuals, reproducibility."""

import itertools

import numpy as np
import pytest
import scipy.linalg

import equijax as ej
from equijax._canonical import canonical_basis
from equijax.reps import Vector, _solver
from equijax.reps._solver import invariant_vectors, solve
from tests.reps.matrix_groups import MatrixGroup


def power(matrices, p):
    """Tensor powers of matrices, by numpy."""
    found = [np.ones((1, 1)) for _ in matrices]
    for _ in range(p):
        found = [np.kron(a, m) for a, m in zip(found, matrices, strict=True)]
    return found


def derivative(matrices, p):
    """Derivatives of tensor powers: the sum over the factors."""
    n = len(matrices[0])
    return [sum(np.kron(np.kron(np.eye(n**k), a), np.eye(n ** (p - 1 - k))) for k in range(p)) for a in matrices]


def check(basis, pairs):
    gram = np.einsum("kij,lij->kl", basis, basis)
    assert np.abs(gram - np.eye(len(basis))).max() < 1e-12
    assert max(np.abs(a @ basis - basis @ b).max() for a, b in pairs) < 1e-12


@pytest.mark.parametrize(("p", "rank"), [(1, 1), (2, 3), (3, 15)])
def test_ranks_of_tensors_under_rotations(p, rank):
    moved = derivative(MatrixGroup("SO(3)").algebra, p)
    basis = solve([], [], moved, moved, in_dim=3**p, out_dim=3**p)
    assert len(basis) == rank
    check(basis, list(zip(moved, moved, strict=True)))


def test_matrices_over_five_points_have_the_fifteen_maps_of_the_bell_number():
    one = np.eye(5)
    moved = power([one[[1, 0, 2, 3, 4]], one[[1, 2, 3, 4, 0]]], 2)
    basis = solve(moved, moved, [], [], in_dim=25, out_dim=25)
    assert len(basis) == 15
    check(basis, list(zip(moved, moved, strict=True)))


@pytest.mark.parametrize(("name", "rank"), [("Lorentz", 3), ("proper Lorentz", 4)])
def test_lorentz_vector_to_mixed_tensor(name, rank):
    group = MatrixGroup(name)
    one = np.eye(4)
    out = [np.kron(np.kron(m, m), np.linalg.inv(m).T) for m in group.components]
    moved = [np.kron(derivative([a], 2)[0], one) - np.kron(np.eye(16), a.T) for a in group.algebra]
    basis = solve(list(group.components), out, group.algebra, moved, in_dim=4, out_dim=64)
    assert len(basis) == rank
    check(basis, list(zip(moved, group.algebra, strict=True)) + list(zip(out, group.components, strict=True)))


def test_the_solver_and_the_orbits_find_one_space():
    group = ej.Dihedral(4)
    a, b = ej.reps.Regular(group), ej.reps.Quotient(group.subgroup([4])) + ej.reps.Scalar(group)
    by_orbits = ej.reps.intertwiners(b, a).reshape(-1, a.dim * b.dim)
    solved = solve(b.generators, a.generators, [], [], in_dim=b.dim, out_dim=a.dim).reshape(-1, a.dim * b.dim)
    assert len(by_orbits) == len(solved) == 5
    assert np.abs(by_orbits.T @ by_orbits - solved.T @ solved).max() < 1e-13


def test_a_trivial_group_allows_every_map():
    scalar = ej.reps.Scalar(ej.Trivial(1))
    three = ej.reps.PermutationRepresentation(ej.Trivial(1), [[0, 1, 2]])
    assert np.array_equal(ej.reps.intertwiners(scalar, three)[:, :, 0], np.eye(3))


def test_a_wrong_equation_has_no_solution():
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    assert len(solve([turn], [-np.eye(2)], [], [], in_dim=2, out_dim=2)) == 0
    assert invariant_vectors([turn], [], 2).shape == (0, 2)


def test_an_adversarial_eigensolver_moves_no_entry(monkeypatch):
    generator = np.random.default_rng(0)
    hidden, _ = np.linalg.qr(generator.normal(size=(9, 9)))
    moved = [hidden @ np.kron(np.eye(3), a) @ hidden.T for a in MatrixGroup("SO(3)").algebra]
    calm = solve([], [], moved, moved, in_dim=9, out_dim=9)

    def adversary(matrix):
        noise = generator.normal(size=matrix.shape) * 1e-14
        values, vectors = scipy.linalg.eigh(matrix + noise + noise.T)
        starts = [0, *(np.flatnonzero(np.diff(values) > 1e-9) + 1), len(values)]
        for first, last in itertools.pairwise(starts):
            turn, _ = np.linalg.qr(generator.normal(size=(last - first, last - first)))
            vectors[:, first:last] = vectors[:, first:last] @ turn
        return values, vectors

    monkeypatch.setattr(_solver, "_eigh", adversary)
    for small in (0, 0, 0, 10**9, 10**9):
        monkeypatch.setattr(_solver, "_SMALL", small)
        assert np.abs(solve([], [], moved, moved, in_dim=9, out_dim=9) - calm).max() < 1e-10


def test_the_canonical_basis_depends_on_the_space_alone():
    generator = np.random.default_rng(1)
    vectors, _ = np.linalg.qr(generator.normal(size=(12, 5)))
    turn, _ = np.linalg.qr(generator.normal(size=(5, 5)))
    found = canonical_basis(vectors)
    assert np.abs(found.T @ found - np.eye(5)).max() < 1e-14
    assert np.abs(found @ found.T - vectors @ vectors.T).max() < 1e-14
    assert np.abs(canonical_basis(vectors @ turn) - found).max() < 1e-13
    assert np.abs(canonical_basis(vectors @ vectors.T, rank=5) - found).max() < 1e-13
    assert found[np.argmax((vectors**2).sum(1)), 0] > 0


def systems():
    spin = derivative(MatrixGroup("SO(3)").algebra, 3)
    yield "rotations", [], [], spin, spin
    lorentz = MatrixGroup("Lorentz")
    for name, p, q in (("Lorentz", 3, 1), ("Lorentz without solutions", 3, 2)):
        yield (
            name,
            power(lorentz.components, q),
            power(lorentz.components, p),
            derivative(lorentz.algebra, q),
            derivative(lorentz.algebra, p),
        )
    five = power([np.eye(5)[[1, 0, 2, 3, 4]], np.eye(5)[[1, 2, 3, 4, 0]]], 2)
    yield "permutations", five, five, [], []
    stretch = np.eye(27) + 0.2 * np.eye(27, k=1)
    yield "no transposes", [], [], spin, [stretch @ a @ np.linalg.inv(stretch) for a in spin]


@pytest.mark.parametrize(
    ("name", "ins", "outs", "in_algebra", "out_algebra"), list(systems()), ids=[s[0] for s in systems()]
)
def test_few_unknowns_in_the_right_coordinates_give_the_same_basis(monkeypatch, name, ins, outs, in_algebra, out_algebra):
    sizes = []
    null_space = _solver._null_space
    monkeypatch.setattr(_solver, "_null_space", lambda m, scale: (sizes.append(len(m)), null_space(m, scale))[1])
    dims = {"in_dim": len([*ins, *in_algebra][0]), "out_dim": len([*outs, *out_algebra][0])}
    few = solve(ins, outs, in_algebra, out_algebra, **dims)
    monkeypatch.setattr(_solver, "_SMALL", 10**9)
    every = solve(ins, outs, in_algebra, out_algebra, **dims)
    assert few.shape == every.shape and np.abs(few - every).max(initial=0) < 1e-12
    assert sizes[1] == dims["in_dim"] * dims["out_dim"]
    assert sizes[0] == sizes[1] if name == "no transposes" or sizes[1] <= 64 else sizes[0] < sizes[1] / 5


def test_a_null_space_that_is_not_separated_is_refused():
    with pytest.raises(ArithmeticError, match="neither zero nor clearly not"):
        invariant_vectors([], [np.diag([1.0, 3e-5])], 2)
    with pytest.raises(ArithmeticError, match="break the law of equivariance"):
        invariant_vectors([], [np.diag([1.0, 1e-7])], 2)


def test_a_problem_that_is_too_large_names_the_remedy():
    with pytest.raises(ValueError, match=r"have 4900 unknowns.* up to 4096.*decompose first"):
        solve([-np.eye(70)], [-np.eye(70)], [], [], in_dim=70, out_dim=70)


def test_maps_that_would_fill_the_memory_are_refused():
    many = ej.reps.PermutationRepresentation(ej.Trivial(1), [list(range(120))])
    with pytest.raises(ValueError, match=r"14400 maps from dimension 120 to 120 take 1.5 GB"):
        ej.reps.intertwiners(many, many)


def test_irreps_are_not_solved_but_compared():
    class Plane(Vector):
        is_irrep = True

    class Line(Plane):
        dim = 1

        def __call__(self, g=None):
            raise AssertionError("nothing to solve between different irreps")

        algebra = generators = property(__call__)

    group = MatrixGroup("SO(2)")
    assert ej.reps.intertwiners(Plane(group), Line(group)).shape == (0, 1, 2)
    assert ej.reps.intertwiners(Plane(group), Plane(group)).shape == (2, 2, 2)


def test_results_are_shared_and_read_only():
    rep = ej.reps.Regular(ej.Cyclic(4))
    basis = ej.reps.intertwiners(rep, rep)
    assert basis is ej.reps.intertwiners(ej.reps.Regular(ej.Cyclic(4)), rep)
    with pytest.raises(ValueError, match="read-only"):
        basis[0] = 0.0


def test_two_groups_and_foreign_objects_are_refused():
    one, two = ej.reps.Regular(ej.Cyclic(4)), ej.reps.Regular(ej.Cyclic(3))
    with pytest.raises(ValueError, match=r"different groups, Cyclic\(4\) and Cyclic\(3\)"):
        ej.reps.intertwiners(one, two)
    with pytest.raises(TypeError, match=r"`out_rep` is 3 of type int"):
        ej.reps.intertwiners(one, 3)
