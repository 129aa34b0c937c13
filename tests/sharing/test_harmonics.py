"""Windows that turn as harmonics, and the kernels that are made of them."""

import dataclasses
import pickle

import jax
import numpy as np
import pytest

import equijax as ej
from equijax.actions._lattice_fibre import lattice_fibre
from equijax.groups import HEXAGONAL, Motions
from equijax.groups._harmonics import harmonics_in_numpy, matrices_in_numpy
from equijax.reps import Irrep, Regular, Scalar, band_limited
from equijax.sharing import Harmonics, HarmonicSharing, KernelSharing
from equijax.sharing._harmonics import lattice_window

FIBRES = [
    (ej.Cyclic(3), Regular(ej.Cyclic(3)), (5, 5)),
    (ej.Cyclic(8), Regular(ej.Cyclic(8)), (5, 5)),
    (ej.Cyclic(32), Regular(ej.Cyclic(32)), (3, 3)),
    (ej.Dihedral(8), Regular(ej.Dihedral(8)), (4, 4)),
    (ej.Dihedral(16), Irrep(ej.Dihedral(16), 5) + Scalar(ej.Dihedral(16)), (5, 5)),
    (ej.SO(2), band_limited(ej.SO(2), 3), (5, 5)),
    (ej.O(2), band_limited(ej.O(2), 2), (7, 7)),
    (ej.Octahedral(), Irrep(ej.Octahedral(), 3) + Scalar(ej.Octahedral()), (3, 3, 3)),
    (ej.SO(3), band_limited(ej.SO(3), 1), (3, 3, 3)),
    (ej.O(3), band_limited(ej.O(3), 1), (3, 3, 3)),
]


@pytest.fixture
def sharing(request):
    group, fibre, kernel_size = request.param
    return HarmonicSharing(Motions(group), kernel_size, fibre, fibre)


every = pytest.mark.parametrize("sharing", FIBRES, indirect=True, ids=lambda case: repr(case[0]))


@pytest.mark.parametrize(
    ("tol", "sizes", "counts"),
    [
        (2e-3, (3, 3), [2, 1]),
        (2e-3, (5, 5), [3, 2, 2, 1]),
        (2e-3, (7, 7), [3, 3, 3, 2, 2, 1, 1]),
        (1e-2, (4, 4), [2, 2, 1, 1]),
        (2e-3, (5, 5, 5), [3, 2, 2, 1, 1]),
    ],
)
def test_how_many_functions_a_window_resolves(tol, sizes, counts):
    assert [len(found.scale) for found in Harmonics(tol).all_functions(sizes)] == counts


@pytest.mark.parametrize(
    ("sizes", "basis"), [((5, 5), None), ((4, 4), None), ((3, 5), None), ((3, 3, 3), None), ((5, 5), HEXAGONAL)]
)
def test_functions_turn_exactly_with_the_lattice(sizes, basis):
    from equijax._arrays import FrozenArray

    group, offsets = lattice_window(None if basis is None else FrozenArray(basis, np.float64), sizes)
    columns = np.eye(len(sizes)) if basis is None else basis
    turns = columns @ group.matrices @ np.linalg.inv(columns)
    for l, found in enumerate(Harmonics().all_functions(sizes, basis)):
        for turn, D in zip(turns, matrices_in_numpy(l, turns), strict=True):
            image = np.argmin(np.linalg.norm((offsets @ turn.T)[:, None] - offsets, axis=-1), axis=1)
            np.testing.assert_allclose(found.values[:, :, image], D @ found.values, atol=1e-13)


def test_impurity_is_what_the_spectrum_says():
    """By brute force: the spectrum on a circle of directions, against its best multiple of the harmonic."""
    _, offsets = lattice_window(None, (5, 5))
    angles = 2 * np.pi * np.arange(400) / 400
    directions = np.stack([np.cos(angles), np.sin(angles)], -1)
    for l, found in enumerate(Harmonics().all_functions((5, 5))):
        whole, pure = np.zeros(len(found.scale)), np.zeros(len(found.scale))
        nodes, weights = np.polynomial.legendre.leggauss(60)
        low, high = np.pi / 32, 0.75 * np.pi
        for node, weight in zip(nodes, weights, strict=True):
            radius = low + (high - low) * (node + 1) / 2
            wave = np.exp(1j * radius * offsets @ directions.T)
            spectrum = found.values @ wave  # (count, components, directions)
            harmonic = harmonics_in_numpy(l, directions).T
            factor = (spectrum * harmonic).sum(1).mean(-1) / len(harmonic)
            whole += weight / radius * (np.abs(spectrum) ** 2).sum(1).mean(-1)
            pure += weight / radius * np.abs(factor) ** 2 * len(harmonic)
        np.testing.assert_allclose(1 - pure / whole, found.impurity, atol=1e-7)
        assert (found.impurity <= 2e-3).all()


@every
def test_the_law_before_sampling(sharing):
    group = sharing.group.point_group
    with jax.enable_x64(True):
        elements = group.sample(jax.random.key(0), (4,))
        matrices, rho = np.asarray(group.matrix(elements), np.float64), np.asarray(sharing.in_fibre(elements), np.float64)
    points = np.random.default_rng(0).normal(size=(5, sharing.group.ndim))
    for degree in sharing.rule.degrees:
        for matrix, r in zip(matrices, rho, strict=True):
            here, there = (harmonics_in_numpy(degree.l, x) for x in (points, points @ matrix.T))
            moved = np.einsum("xc,koci->xkoi", there, degree.maps.basis)
            turned = np.einsum("op,xc,kpci,ji->xkoj", r, here, degree.maps.basis, r, optimize=True)
            assert np.abs(moved - turned).max() <= 1e-12 * np.abs(moved).max()


@every
def test_kernels_are_exact_for_the_lattice_part(sharing):
    fibre = lattice_fibre(sharing.group, sharing.in_fibre)
    exact = KernelSharing(sharing.lattice_group, sharing.kernel_size, fibre, fibre)
    basis = sharing.rule.basis
    for kernel in basis[:: max(len(basis) // 12, 1)]:
        assert exact.defect(kernel) <= 1e-13
    assert exact.count >= sharing.count or sharing.lattice_group.order == 1


@every
def test_initialisation_has_variance_one(sharing):
    basis = sharing.rule.basis
    variance = np.einsum("koxi,koxi->o", basis, basis) / sharing.count
    np.testing.assert_allclose(variance, 1.0, atol=0.05)
    assert np.linalg.matrix_rank(basis.reshape(sharing.count, -1)) == sharing.count


@every
def test_the_error_is_small_and_grows_with_the_band(sharing):
    errors = [sharing.kernel_error(band) for band in (0.3, 0.5, 0.75)]
    assert 0 < errors[0] < errors[1] < errors[2] < 0.05


def test_radial_functions_of_different_degrees_are_no_kernel():
    """Negative control: with two functions of different degrees exchanged the lattice law fails."""
    sharing = HarmonicSharing(Motions(ej.Cyclic(8)), (5, 5), Regular(ej.Cyclic(8)), Regular(ej.Cyclic(8)))
    fibre = lattice_fibre(sharing.group, sharing.in_fibre)
    exact = KernelSharing(sharing.lattice_group, (5, 5), fibre, fibre)
    first, second = sharing.rule.degrees[1:3]
    wrong = dataclasses.replace(first, values=second.values)
    kernel = np.einsum("koci,ncx->oxi", wrong.maps.basis[:1], wrong.values[:1])
    assert exact.defect(kernel) > 0.1


def test_an_integer_group_may_ask_for_harmonics():
    group = Motions(ej.Cyclic(4))
    regular = Regular(ej.Cyclic(4))
    found, whole = HarmonicSharing(group, (3, 3), regular, regular), KernelSharing(ej.Cyclic(4), (3, 3), regular, regular)
    assert found.count < whole.count
    assert max(whole.defect(kernel) for kernel in found.rule.basis) <= 1e-13


def test_the_kernel_is_written_out_in_every_dtype():
    sharing = HarmonicSharing(Motions(ej.SO(2)), (5, 5), band_limited(ej.SO(2), 1), Scalar(ej.SO(2)))
    theta = jax.random.normal(jax.random.key(0), (sharing.count, 2, 4))
    kernel = sharing.expand(theta)
    assert kernel.shape == (5, 5, 6, 4)
    np.testing.assert_allclose(sharing.expand(theta.astype("bfloat16")).astype("float32"), kernel, atol=0.1)
    gradient = jax.grad(lambda theta: (sharing.expand(theta) ** 2).sum())(theta)
    jitted = jax.jit(jax.grad(lambda theta: (sharing.expand(theta) ** 2).sum()))(theta)
    np.testing.assert_allclose(gradient, jitted, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="free weights"):
        sharing.expand(theta[:-1])


def test_values():
    sharing = HarmonicSharing(Motions(ej.SO(2)), (3, 3), Scalar(ej.SO(2)), Irrep(ej.SO(2), 1))
    assert pickle.loads(pickle.dumps(sharing)) == sharing
    assert sharing != dataclasses.replace(sharing, window=Harmonics(1e-2))
    assert HarmonicSharing(Motions(ej.SO(2)), (3, 3), Scalar(ej.SO(2)), Irrep(ej.SO(2), 4)).unreached == (
        Irrep(ej.SO(2), 4),
    )


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"group": ej.wallpaper("p4")}, TypeError, "Motions"),
        ({"window": 3}, TypeError, "Harmonics"),
        ({"in_fibre": Scalar(ej.SO(3))}, ValueError, "SO"),
        ({"kernel_size": (3, 5)}, ValueError, "exchanges axes"),
        ({"kernel_size": (3,)}, ValueError, "axes"),
    ],
    ids=str,
)
def test_what_does_not_fit(change, error, said):
    arguments = {
        "group": Motions(ej.SO(2)),
        "kernel_size": (3, 3),
        "in_fibre": Scalar(ej.SO(2)),
        "out_fibre": Scalar(ej.SO(2)),
    }
    with pytest.raises(error, match=said):
        HarmonicSharing(**(arguments | change))


@pytest.mark.parametrize("name", ["tol", "band", "smooth"])
def test_numbers_out_of_range(name):
    with pytest.raises(ValueError, match=name):
        Harmonics(**{name: 1.5})
