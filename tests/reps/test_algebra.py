"""Sums, products, duals, powers, conjugates, restrictions: each against numpy, for finite and Lie groups."""

import copy
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.reps import (
    Dual,
    MatrixRepresentation,
    Power,
    Regular,
    Scalar,
    Vector,
    conjugated,
    copies,
    direct_sum,
    exterior_power,
    intertwiner_blocks,
    intertwiners,
    matrices,
    symmetric_power,
    tensor_product,
    tensors,
)
from tests.reps.matrix_groups import MatrixGroup

D3, SO3, LORENTZ = ej.Dihedral(3), MatrixGroup("SO(3)"), MatrixGroup("Lorentz")
PLANE = Vector(D3)
STRETCH = np.array([[2.0, 1.0], [0.0, 0.5]])
TILTED = conjugated(PLANE, STRETCH)


def elements(group):
    """A pair of elements and their product; fixed, float64."""
    if group == D3:
        return np.int32(1), np.int32(4), D3.table[1, 4]
    with jax.enable_x64(True):
        a, b = (np.asarray(group.sample(jax.random.key(i))) for i in (0, 3))
    return a, b, a @ b


def kinds():
    yield "D3: sum", 2 * PLANE + Scalar(D3) + PLANE * PLANE
    yield "SO(3): product", tensors(Vector(SO3), 1, 1)
    for name, base in (("tilted D3", TILTED), ("Lorentz", Vector(LORENTZ))):
        yield f"{name}: sum", 2 * base + Scalar(base.group) + base * base
        yield f"{name}: product", tensors(base, 1, 1)
        yield f"{name}: dual", Dual(base)
        yield f"{name}: symmetric", symmetric_power(base, 2)
        yield f"{name}: exterior", exterior_power(base, 2)
        yield f"{name}: conjugated", conjugated(base, np.eye(base.dim) + 0.3 * np.eye(base.dim, k=1))
    yield "D3: matrices", MatrixRepresentation(D3, matrices(TILTED))
    yield "restricted", Vector(MatrixGroup("O(3)")).restrict(SO3)


KINDS = dict(kinds())


@pytest.mark.parametrize("rep", list(KINDS.values()), ids=list(KINDS))
def test_law(rep):
    a, b, ab = elements(rep.group)
    with jax.enable_x64(True):
        x = np.arange(3.0 * rep.dim).reshape(3, rep.dim)
        compute = jax.jit(lambda g, x: (rep(g), rep.act(g[0], x, axis=-1)))
        (at_a, at_b, at_ab), moved = jax.tree.map(np.asarray, compute(np.stack([a, b, ab]), x))
    scale = (1 + np.abs(at_ab).max()) ** 2
    assert at_a.dtype == np.float64 and at_a.shape == (rep.dim, rep.dim)
    assert np.abs(at_a @ at_b - at_ab).max() < 1e-13 * scale
    assert np.abs(moved - x @ at_a.T).max() < 1e-12 * scale
    assert rep.is_orthogonal == (np.abs(at_a.T @ at_a - np.eye(rep.dim)).max() < 1e-9)


@pytest.mark.parametrize("rep", list(KINDS.values()), ids=list(KINDS))
def test_generators_are_values_and_the_algebra_is_the_derivative(rep):
    group = rep.group
    step = 1e-5
    found = list(group.discrete_generators)
    for x in group.algebra:
        found += [np.eye(group.n) + t * x + t**2 / 2 * x @ x for t in (step, -step)]
    with jax.enable_x64(True):
        values = np.asarray(jax.jit(rep.__call__)(np.stack(found)))
    count = len(rep.generators)
    assert np.abs(values[:count] - np.stack(rep.generators)).max() < 1e-13
    derivatives = (values[count::2] - values[count + 1 :: 2]) / (2 * step)
    assert np.abs(derivatives - np.reshape(rep.algebra, derivatives.shape)).max(initial=0) < 1e-8
    for matrix in (*rep.generators, *rep.algebra):
        assert matrix.dtype == np.float64 and not matrix.flags.writeable


@pytest.mark.parametrize("rep", list(KINDS.values()), ids=list(KINDS))
def test_values(rep):
    again = pickle.loads(pickle.dumps(rep))
    assert again == rep and hash(again) == hash(rep) and copy.deepcopy(rep) == rep
    assert rep != Scalar(rep.group) and rep != "rep"
    assert len(repr(rep)) < 300 and "\n" not in repr(rep)


@pytest.mark.parametrize("rep", list(KINDS.values()), ids=list(KINDS))
def test_invariants_and_dual(rep):
    a, _, _ = elements(rep.group)
    with jax.enable_x64(True):
        at_a, dual_at_a = jax.tree.map(np.asarray, jax.jit(lambda g: (rep(g), rep.dual(g)))(a))
    scale = (1 + np.abs(at_a).max()) ** 2
    assert np.abs(rep.invariants @ at_a.T - rep.invariants).max(initial=0) < 1e-12 * scale
    assert np.abs(dual_at_a.T @ at_a - np.eye(rep.dim)).max() < 1e-12 * scale
    assert rep.dual.dual.dim == rep.dim
    count = (rep * rep.dual).invariants.shape[0] if rep.dim <= 6 else len(intertwiners(rep, rep))
    assert count >= 1


def test_characters_of_sums_products_and_powers():
    character = lambda rep: np.trace(matrices(rep), axis1=1, axis2=2)  # noqa: E731
    regular, plane = character(Regular(D3)), character(PLANE)
    squares = plane[D3.table[np.arange(6), np.arange(6)]]
    assert np.abs(character(2 * TILTED + Regular(D3)) - 2 * plane - regular).max() < 1e-14
    assert np.abs(character(PLANE * TILTED) - plane**2).max() < 1e-14
    assert np.abs(character(symmetric_power(TILTED, 2)) - (plane**2 + squares) / 2).max() < 1e-14
    assert np.abs(character(exterior_power(TILTED, 2)) - (plane**2 - squares) / 2).max() < 1e-14
    assert np.abs(character(PLANE.restrict(D3.subgroup([3]))) - plane[[0, 3]]).max() < 1e-14


def test_dimensions_of_maps_are_inner_products_of_characters():
    reps = [Scalar(D3), Regular(D3), PLANE, TILTED, PLANE * TILTED, symmetric_power(PLANE, 3), 2 * PLANE + Regular(D3)]
    table = np.stack([np.trace(matrices(rep), axis1=1, axis2=2) for rep in reps])
    expected = np.rint(table @ table[:, D3.inverses].T / D3.order).astype(int)
    assert [[len(intertwiners(a, b)) for b in reps] for a in reps] == expected.tolist()


def test_blocks_are_the_basis_without_its_zeros():
    source, target = 2 * PLANE + Regular(D3), Scalar(D3) + PLANE + 2 * TILTED
    whole = intertwiners(source, target)
    blocks = intertwiner_blocks(source, target)
    first = 0
    for out_start, in_start, basis in blocks:
        count, rows, columns = basis.shape
        inside = whole[first : first + count, out_start : out_start + rows, in_start : in_start + columns]
        assert np.array_equal(inside, basis) and abs((inside**2).sum() - count) < 1e-12
        first += count
    assert first == len(whole)
    assert np.abs(np.einsum("kab,lab->kl", whole, whole) - np.eye(first)).max() < 1e-12
    for a, b in zip(target.generators, source.generators, strict=True):
        assert np.abs(a @ whole - whole @ b).max() < 1e-12


def test_sums_of_permutations_stay_permutations():
    fibre = Regular(D3)
    assert copies(fibre, 3) == fibre + fibre + fibre == 3 * fibre == fibre * 3
    assert (3 * fibre).is_permutation and direct_sum(fibre) == fibre == 1 * fibre
    assert fibre * Scalar(D3) == ej.reps.PermutationRepresentation(D3, fibre.table)
    mixed = 3 * fibre + PLANE
    assert not mixed.is_permutation and mixed.parts == (3 * fibre, PLANE)
    assert (PLANE + fibre).act(1, np.arange(8), 0).shape == (8,)


def test_structure_is_flat():
    assert (PLANE + PLANE) + TILTED == PLANE + (PLANE + TILTED)
    assert (PLANE * PLANE) * TILTED == PLANE * (PLANE * TILTED)
    assert PLANE * Scalar(D3) == PLANE == Scalar(D3) * PLANE == tensor_product(PLANE)
    assert ((PLANE + TILTED) * PLANE).parts == (PLANE * PLANE, TILTED * PLANE)
    assert repr(16 * PLANE + TILTED * PLANE) == (
        "16 * Vector(group=Dihedral(3)) + conjugated(Vector(group=Dihedral(3)), <2×2>) * Vector(group=Dihedral(3))"
    )


def test_tensors_count_their_indices():
    vector = Vector(LORENTZ)
    assert tensors(vector, 0) == Scalar(LORENTZ) and tensors(vector, 1) == vector
    assert tensors(vector, 0, 1) == Dual(vector) and tensors(vector, 2, 1).factors == (vector, vector, Dual(vector))
    assert tensors(Vector(SO3), 1, 1) == tensors(Vector(SO3), 2)
    assert len(intertwiners(vector, tensors(vector, 2, 1))) == 3
    assert len(tensors(vector, 2).invariants) == 1


def test_scalars_of_lie_groups():
    scalar = Scalar(SO3)
    a, _, _ = elements(SO3)
    assert scalar(a).tolist() == [[1.0]] and scalar(np.stack([a, a])).shape == (2, 1, 1)
    assert scalar.invariants.tolist() == [[1.0]] and scalar.algebra[0].tolist() == [[0.0]] and len(scalar.generators) == 1
    assert scalar.act(a, [2.0], 0).tolist() == [2.0]
    three = 3 * scalar
    assert three.is_permutation and three.dim == 3 and len(three.invariants) == 3
    assert len(intertwiners(three, 2 * scalar + Vector(SO3))) == 6


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("make", [symmetric_power, exterior_power])
def test_powers_are_tensors_in_orthonormal_coordinates(make, order):
    base = Vector(LORENTZ)
    power = make(base, order)
    assert isinstance(power, Power)
    a, _, _ = elements(LORENTZ)
    full = a
    for _ in range(order - 1):
        full = np.kron(full, a)
    basis = power.tensors
    with jax.enable_x64(True):
        found = np.asarray(power(a))
    assert np.abs(basis.T @ basis - np.eye(power.dim)).max() < 1e-15
    assert np.abs(found - basis.T @ full @ basis).max() < 1e-13 * np.abs(full).max()
    assert np.abs(full @ basis - basis @ found).max() < 1e-13 * np.abs(full).max()
    sign = -1 if make is exterior_power else 1
    swapped = np.swapaxes(basis.reshape(4, 4, -1), 0, 1).reshape(basis.shape)
    assert np.array_equal(swapped, sign * basis)


def test_the_highest_exterior_power_is_the_determinant():
    top = exterior_power(Vector(MatrixGroup("O(3)")), 3)
    assert top.dim == 1 and [round(float(m[0, 0]), 12) for m in top.generators] == [1.0, -1.0]
    assert exterior_power(PLANE, 0) == Scalar(D3) == symmetric_power(PLANE, 0)
    assert exterior_power(PLANE, 1) == PLANE == symmetric_power(PLANE, 1)
    assert symmetric_power(Vector(SO3), 4).dim == math.comb(6, 4)


def test_conjugation_moves_invariants_and_keeps_what_follows_from_them():
    base = PLANE + Scalar(D3)
    change = np.eye(3) + np.arange(9.0).reshape(3, 3) / 10
    moved = conjugated(base, change)
    (line,) = moved.invariants
    assert np.abs(np.cross(line, change @ base.invariants[0])).max() < 1e-12
    assert not moved.is_orthogonal and len(intertwiners(moved, moved)) == len(intertwiners(base, base)) == 2
    assert conjugated(PLANE, [[0.0, 1.0], [1.0, 0.0]]).is_orthogonal


def test_the_table_of_matrices_is_extended_from_the_generators():
    made = MatrixRepresentation.from_generators(D3, TILTED.generators)
    assert np.abs(made.matrices - np.asarray(matrices(TILTED))).max() < 1e-14
    assert matrices(made) is matrices(MatrixRepresentation.from_generators(D3, TILTED.generators))
    assert np.array_equal(matrices(Regular(D3))[4], np.asarray(Regular(D3)(4)))


@pytest.mark.parametrize("group", [ej.Octahedral(), ej.Cyclic(6).in_basis(ej.groups.HEXAGONAL), ej.Permutation(4)])
def test_matrices_of_a_group_and_back(group):
    g = group.sample(jax.random.key(0), (5,))
    assert np.array_equal(group.element(group.matrix(g)), g)
    vector = Vector(group)
    assert vector.is_orthogonal and vector.dim in (2, 3, 4)
    assert np.allclose(vector(group.compose(g[0], g[1])), vector(g[0]) @ vector(g[1]), atol=1e-6)
    assert np.array_equal(jax.jit(group.element)(group.matrix(g)), g)


def test_restriction_to_a_group_of_matrices():
    vector = Vector(MatrixGroup("O(3)"))
    cube = ej.Octahedral()
    rep = (vector * vector + vector).restrict(cube)
    small = Vector(cube)
    assert rep.group == cube and np.allclose(matrices(rep), matrices(small * small + small), atol=1e-12)
    assert PLANE.restrict(D3.subgroup([1])).group == ej.Cyclic(3) and PLANE.restrict(D3) is PLANE
    assert np.allclose(matrices(PLANE.restrict(ej.Cyclic(3))), matrices(Vector(ej.Cyclic(3))), atol=1e-12)
    assert Regular(D3).restrict(ej.Cyclic(3)).is_permutation
    assert len(intertwiners(Vector(SO3), vector.restrict(SO3))) == 1
    axial = exterior_power(vector, 2)
    assert len(intertwiners(axial, vector)) == 0 and len(intertwiners(axial.restrict(SO3), Vector(SO3))) == 1


def test_functions_represent_any_group():
    def double(g):
        return jnp.asarray(g) @ jnp.asarray(g)

    plane = MatrixGroup("SO(2)")
    rep = ej.reps.FunctionRepresentation(plane, double)
    assert np.abs(rep.algebra[0] - 2 * plane.algebra[0]).max() < 1e-12
    assert rep(np.stack([np.eye(2)] * 3)).shape == (3, 2, 2)
    assert len(intertwiners(rep, Vector(plane))) == 0 and len(intertwiners(rep, symmetric_power(Vector(plane), 2))) == 2
    assert rep == ej.reps.FunctionRepresentation(plane, double) and repr(rep).endswith("double)")
