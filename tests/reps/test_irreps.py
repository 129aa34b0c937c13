"""Irreps of finite groups: matrices, relations between them, and what may not move them."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import equijax as ej
from equijax.groups import _characters, _finite_irreps
from equijax.groups._finite_irreps import irrep_matrices
from tests.helpers import check_message
from tests.reps.finite_groups import MAKERS, group_named, product

COMMUTANT = {"real": 1, "complex": 2, "quaternionic": 4}
EXACT = 1e-13

every_group = pytest.mark.parametrize("name", list(MAKERS))


def matrices_of(group):
    return [irrep_matrices(group, k) for k in range(len(ej.reps.irreps(group)))]


@every_group
def test_matrices_are_orthogonal_and_multiply_as_the_group_does(name):
    group = group_named(name)
    for rho in matrices_of(group):
        assert np.abs(rho[0] - np.eye(rho.shape[1])).max() <= EXACT
        assert np.abs(rho @ rho.transpose(0, 2, 1) - np.eye(rho.shape[1])).max() <= EXACT
        for g in range(group.order):
            assert np.abs(rho[g] @ rho - rho[group.table[g]]).max() <= EXACT


@every_group
def test_matrix_entries_are_orthogonal_functions_on_the_group(name):
    """Schur: the entries of different irreps are orthogonal, those of one irrep as its commutant says."""
    group = group_named(name)
    irreps = ej.reps.irreps(group)
    entries = np.concatenate([rho.reshape(group.order, -1) for rho in matrices_of(group)], axis=1)
    gram = entries.T @ entries / group.order
    start = 0
    for irrep in irreps:
        d, size = irrep.dim, irrep.dim**2
        own = gram[start : start + size, start : start + size].copy()
        gram[start : start + size, start : start + size] = 0
        rank, e = size // irrep.commutant_dim, irrep.commutant_dim
        assert np.abs(own * d / e @ own * d / e - own * d / e).max() <= EXACT
        assert abs(np.trace(own) * d / e - rank) <= 1e-12
        start += size
    assert np.abs(gram).max() <= EXACT


@every_group
def test_squares_of_dimensions_sum_to_the_order(name):
    group = group_named(name)
    assert sum(irrep.dim**2 // irrep.commutant_dim for irrep in ej.reps.irreps(group)) == group.order
    assert sum(d * d for d in group.characters.dims) == group.order


@every_group
def test_real_characters_are_orthogonal(name):
    group = group_named(name)
    irreps = ej.reps.irreps(group)
    traces = np.stack([np.trace(rho, axis1=1, axis2=2) for rho in matrices_of(group)])
    expected = np.diag([COMMUTANT[irrep.type] for irrep in irreps])
    assert np.abs(traces @ traces.T / group.order - expected).max() <= EXACT
    assert np.abs(np.stack([irrep.character for irrep in irreps]) - traces).max() == 0


@pytest.mark.parametrize("name", ["C5", "D5", "Q8", "A4", "Q8 × S3"])
def test_the_type_is_the_dimension_of_what_commutes(name):
    group = group_named(name)
    for irrep, rho in zip(ej.reps.irreps(group), matrices_of(group), strict=True):
        d = irrep.dim
        equations = [np.kron(rho[g], np.eye(d)) - np.kron(np.eye(d), rho[g].T) for g in group.generators]
        rank = np.linalg.matrix_rank(np.concatenate(equations), tol=1e-9)
        assert d * d - rank == irrep.commutant_dim


class Adversary:
    """An eigensolver with noise, random signs, and a random rotation of every degenerate eigenspace."""

    def __init__(self, exact, seed):
        self.exact, self.rng = exact, np.random.default_rng(seed)

    def normal(self, shape, like):
        noise = self.rng.normal(size=shape)
        return noise + 1j * self.rng.normal(size=shape) if np.iscomplexobj(like) else noise

    def __call__(self, a, **options):
        noise = self.normal(a.shape, a)
        levels, vectors = self.exact(a + 1e-14 * np.abs(a).max(initial=0) * (noise + noise.conj().T), **options)
        starts = [i for i in range(len(levels)) if i == 0 or levels[i] - levels[i - 1] > 1e-9 * (1 + np.abs(levels).max())]
        for start, end in zip(starts, [*starts[1:], len(levels)], strict=True):
            turned, _ = np.linalg.qr(self.normal((end - start, end - start), a))
            vectors[:, start:end] = vectors[:, start:end] @ turned
        return levels, vectors


@pytest.fixture
def forget():
    """Empties the caches around a test that computes irreps anew."""

    def clear():
        _characters._table.cache_clear()
        _finite_irreps.irrep_matrices.cache_clear()

    yield clear
    clear()


@pytest.mark.parametrize("name", ["C12", "D7", "Q8", "Dic5", "SL(2,3)", "Frobenius 21", "S4", "A5", "S5", "I_h", "C4 × D3"])
def test_an_adversarial_eigensolver_moves_no_entry(name, forget, monkeypatch):
    group = group_named(name)
    forget()
    before = (group.characters.values, *matrices_of(group))
    for seed in range(2):
        monkeypatch.setattr(np.linalg, "eigh", Adversary(scipy.linalg.eigh, seed))
        forget()
        after = (group.characters.values, *matrices_of(group))
        monkeypatch.undo()
        assert np.array_equal(after[0], before[0])
        assert max(np.abs(a - b).max() for a, b in zip(after, before, strict=True)) <= 1e-10


def test_the_adversary_does_turn_eigenvectors():
    adversary = Adversary(scipy.linalg.eigh, 0)
    levels, vectors = adversary(np.diag([1.0, 1.0, 2.0]))
    assert np.allclose(levels, [1, 1, 2]) and np.abs(vectors[0, 0]) < 0.999
    assert np.allclose(vectors.T @ vectors, np.eye(3))


def test_cyclic_groups_turn_by_their_frequency():
    for k in range(1, 6):
        angles = 2 * np.pi * k * np.arange(11) / 11
        expected = np.stack(
            [np.stack([np.cos(angles), -np.sin(angles)], -1), np.stack([np.sin(angles), np.cos(angles)], -1)], -2
        )
        assert np.abs(irrep_matrices(ej.Cyclic(11), k) - expected).max() < 1e-14


@pytest.mark.parametrize("k", range(8))
def test_restriction_from_16_to_8_turns_is_bit_for_bit(k):
    """Every second element of C16 has the matrices of C8, and so has the rotation part of D16."""
    large, small = irrep_matrices(ej.Cyclic(16), k), ej.Cyclic(8)
    frequency = min(k, 8 - k)
    if 0 < k < 4:
        assert np.array_equal(large[::2], irrep_matrices(small, frequency))
    if k:
        assert np.array_equal(large, irrep_matrices(ej.Dihedral(16), k + 3)[:16])


def test_a_group_of_matrices_is_one_of_its_irreps():
    cube, icosahedron = group_named("O_h"), group_named("I")
    for group in (cube, icosahedron, group_named("T")):
        assert any(np.array_equal(rho, group.matrices) for rho in matrices_of(group) if rho.shape[1] == 3)


def test_equal_groups_have_equal_irreps():
    generated = ej.PointGroup.from_matrices([[[0, -1], [1, 0]]])
    assert ej.reps.Irrep(generated, 1) == ej.reps.Irrep(ej.Cyclic(4), 1)
    assert hash(ej.reps.Irrep(generated, 1)) == hash(ej.reps.Irrep(ej.Cyclic(4), 1))
    assert ej.reps.Irrep(ej.Cyclic(4), 1) != ej.reps.Irrep(ej.Cyclic(4), 2)
    assert repr(ej.reps.Irrep(ej.Dihedral(4), 4)) == "Irrep(Dihedral(4), 4)"


def test_values_survive_copies():
    for value in (ej.reps.Irrep(ej.Dihedral(3), 2), group_named("Q8").characters, ej.reps.Irrep(group_named("S4"), 4)):
        assert pickle.loads(pickle.dumps(value)) == value == copy.deepcopy(value)
        assert hash(copy.deepcopy(value)) == hash(value)


def test_it_jits_maps_and_moves_vectors():
    irrep = ej.reps.Irrep(group_named("S4"), 3)
    elements = irrep.group.elements()
    matrices = jax.jit(irrep)(elements)
    assert matrices.shape == (24, 3, 3) and np.array_equal(matrices, irrep_matrices(irrep.group, 3))
    assert np.array_equal(jax.vmap(irrep)(elements), matrices)
    x = jnp.arange(6.0).reshape(2, 3)
    assert np.allclose(jax.jit(lambda g: irrep.act(g, x, 1))(5), x @ np.asarray(matrices[5]).T)


def test_tables_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        irrep_matrices(ej.Dihedral(5), 2)[0, 0, 0] = 2
    with pytest.raises(ValueError, match="read-only"):
        ej.Cyclic(3).characters.values[0, 0] = 2


def test_unknown_irreps_are_explained():
    check_message(lambda: ej.reps.Irrep(ej.Dihedral(4), 5), ValueError, ["5 real irreps", "[1, 1, 1, 1, 2]", "0 … 4"])
    check_message(lambda: ej.reps.Irrep(ej.Dihedral(4), -1), ValueError, ["index", "-1"])
    check_message(lambda: ej.reps.Irrep(ej.Dihedral(4), 1.5), TypeError, ["index", "integer"])
    check_message(lambda: ej.reps.Irrep(ej.Dihedral(4), 1, parity=1), ValueError, ["parity", "Dihedral(4)"])
    check_message(lambda: ej.reps.Irrep(ej.Permutation(3), 0), ValueError, ["Permutation(3)", "not known"])
    check_message(lambda: ej.reps.irreps(ej.Translation(2)), ValueError, ["Translation(2)", "FiniteGroup"])


def test_a_table_of_no_group_is_refused(monkeypatch):
    """A loop that is not associative: refused by the constructor, and by the characters when it is forced through."""
    loop = np.array([[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]])
    check_message(lambda: ej.FiniteGroup.from_table(loop), ValueError, ["associative"])
    from equijax._arrays import FrozenArray
    from equijax.groups._finite import TableSource

    forced = ej.FiniteGroup(TableSource(FrozenArray(loop, np.int32)))
    check_message(lambda: forced.characters.values, ArithmeticError, ["no group's"])


def test_large_groups_are_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(_finite_irreps, "MAX_IRREP_ORDER", 20)
    large = product(group_named("S3"), group_named("S3"))
    check_message(lambda: ej.reps.Irrep(large, 8)(0), ValueError, ["36 elements", "20"])
    monkeypatch.setattr(_characters, "_MAX_ENTRIES", 100)
    check_message(lambda: ej.Cyclic(17).characters.values, ValueError, ["17 conjugacy classes", "100"])
