"""The Fourier transform over finite groups: Parseval, the law, the classical transform of cyclic groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from tests.helpers import check_message, randn
from tests.reps.finite_groups import SMALL, group_named


@pytest.mark.parametrize("name", [name for name in SMALL if group_named(name).order > 1])
def test_the_basis_is_orthonormal_and_blocks_are_irreps(name):
    group = group_named(name)
    regular = ej.reps.Regular(group)
    found = ej.reps.decompose(regular)
    assert np.abs(found.basis.T @ found.basis - np.eye(group.order)).max() < 1e-13
    assert all(count * irrep.commutant_dim == irrep.dim for irrep, count in found.irreps)
    for g in group.generators:
        moved = found.basis[group.table[group.inverses[g]]]  # (g·f)(h) = f(g⁻¹h), on every column
        expected = np.concatenate(
            [found.basis[:, start : start + irrep.dim] @ irrep.matrices[g] for irrep, start in found.copies], axis=1
        )
        assert np.abs(moved - expected).max() < 1e-13


@pytest.mark.parametrize("name", ["C7", "D6", "Q8", "A4"])
def test_parseval_inverse_and_law(name):
    group = group_named(name)
    f = randn((2, group.order, 3))
    transform = jax.jit(lambda f: ej.reps.fourier(group, f, axis=1))
    there = transform(f)
    assert there.shape == f.shape
    assert np.abs((there**2).sum(1) - (f**2).sum(1)).max() < 1e-12
    assert np.abs(ej.reps.inverse_fourier(group, there, axis=-2) - f).max() < 1e-12
    g = group.generators[0]
    moved = transform(ej.reps.Regular(group).act(g, f, 1))
    start = 0
    for irrep, count in ej.reps.Regular(group).irreps:
        stop = start + count * irrep.dim
        block = there[:, start:stop].reshape(2, count, irrep.dim, 3)
        expected = np.einsum("ab,ncbf->ncaf", irrep.matrices[g], block).reshape(2, -1, 3)
        assert np.abs(moved[:, start:stop] - expected).max() < 1e-12
        start = stop


def test_on_cyclic_groups_it_is_the_classical_transform():
    n = 9
    f = np.asarray(randn((n,)))
    there = np.asarray(ej.reps.fourier(ej.Cyclic(n), f, axis=0))
    spectrum = np.fft.rfft(f) / np.sqrt(n)
    assert abs(there[0] - spectrum[0].real) < 1e-13
    assert np.abs(np.hypot(there[1::2], there[2::2]) - np.sqrt(2) * np.abs(spectrum[1:])).max() < 1e-13


def test_convolution_becomes_multiplication_of_blocks():
    """A map that commutes with the group acts inside the copies of each irrep, and mixes no two irreps."""
    group = group_named("S4")
    kernel = np.asarray(randn((group.order,)))
    matrix = kernel[group.table[group.inverses].T]  # W[b, a] = k(a⁻¹ b)
    basis = ej.reps.Regular(group).basis
    blocks = basis.T @ matrix @ basis
    start = 0
    for irrep, count in ej.reps.Regular(group).irreps:
        stop = start + count * irrep.dim
        own = blocks[start:stop, start:stop].reshape(count, irrep.dim, count, irrep.dim)
        assert (
            np.abs(own - np.einsum("iaja->ij", own)[:, None, :, None] * np.eye(irrep.dim)[:, None] / irrep.dim).max() < 1e-12
        )
        blocks[start:stop, start:stop] = 0
        start = stop
    assert np.abs(blocks).max() < 1e-12


def test_float32_stays_and_integers_are_taken():
    group = ej.Dihedral(3)
    assert ej.reps.fourier(group, jnp.ones(6, jnp.float32), axis=0).dtype == jnp.float32
    assert ej.reps.fourier(group, np.arange(6), axis=0).shape == (6,)


def test_wrong_lengths_are_explained():
    check_message(
        lambda: ej.reps.fourier(ej.Dihedral(4), jnp.ones((3, 7)), axis=1), ValueError, ["(3, 7)", "length 8", "Dihedral(4)"]
    )
    check_message(lambda: ej.reps.inverse_fourier(ej.Dihedral(4), jnp.ones(8), axis=1), ValueError, ["axis"])


def test_half_precision_is_summed_and_squared_in_single():
    group = ej.Cyclic(64)
    values = np.linspace(0.1, 9.0, 64)
    for dtype in (jnp.bfloat16, jnp.float16):
        rounded = jnp.asarray(values, dtype)
        found = ej.reps.fourier(group, rounded, 0)
        right = ej.reps.fourier(group, rounded.astype(jnp.float32), 0).astype(dtype)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.astype(jnp.float32), right.astype(jnp.float32))
    point = jnp.array([300.0, 0.0, 1.0], jnp.float16)
    wide = ej.reps.spherical_harmonics(2, point.astype(jnp.float32)).astype(jnp.float16)
    np.testing.assert_array_equal(ej.reps.spherical_harmonics(2, point), wide)
    assert not jnp.isnan(wide).any()
    for harmonics, length in ((ej.reps.spherical_harmonics, 3), (ej.reps.circular_harmonics, 2)):
        with pytest.raises(TypeError, match="real numbers"):
            harmonics(1, np.ones(length) * 1j)


def test_half_precision_is_turned_in_single():
    rep = ej.reps.Regular(ej.Cyclic(4)) * ej.reps.Irrep(ej.Cyclic(4), 1)
    turns = ej.reps.Vector(ej.SO(3))
    g = ej.SO(3).sample(jax.random.key(0))
    for fibre, element in ((turns, g), (rep, 1)):
        x = jnp.asarray(np.linspace(-1, 3, fibre.dim), jnp.bfloat16)
        right = fibre.act(element, x.astype(jnp.float32), 0).astype(jnp.bfloat16)
        np.testing.assert_array_equal(fibre.act(element, x, 0).astype(jnp.float32), right.astype(jnp.float32))
