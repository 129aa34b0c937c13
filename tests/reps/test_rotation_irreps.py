"""Irreps of SO(2), O(2), SO(3), O(3): harmonics, laws, finite subgroups, decomposition, Fourier transform."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from tests.helpers import check_message, randn

Irrep = ej.reps.Irrep
GROUPS = [ej.SO(2), ej.O(2), ej.SO(3), ej.O(3)]
SOME = [Irrep(g, l) for g in GROUPS for l in (0, 1, 2, 3)]
SOME += [Irrep(ej.O(2), 0, parity=-1), Irrep(ej.O(3), 0, parity=-1), Irrep(ej.O(3), 2, parity=-1), Irrep(ej.SO(2), 10)]


@functools.cache
def elements(group):
    return tuple(np.asarray(group.sample(key, (6,))) for key in jax.random.split(jax.random.key(0)))


def check_irrep(irrep):
    a, b = elements(irrep.group)
    A, B, AB = (np.asarray(irrep(g)) for g in (a, b, a @ b))
    assert A.shape == (6, irrep.dim, irrep.dim)
    np.testing.assert_allclose(A @ B, AB, atol=1e-13)
    np.testing.assert_allclose(np.swapaxes(A, 1, 2) @ A, np.broadcast_to(np.eye(irrep.dim), A.shape), atol=1e-13)
    X = np.stack(irrep.algebra)
    brackets = np.einsum("iab,jbc->ijac", X, X) - np.einsum("jab,ibc->ijac", X, X)
    expected = np.einsum("ijk,kab->ijab", irrep.group.structure_constants, X)
    np.testing.assert_allclose(brackets, expected, atol=1e-12)
    np.testing.assert_allclose(X, -np.swapaxes(X, 1, 2), atol=1e-12)
    assert irrep.is_orthogonal and irrep.is_irrep


@pytest.mark.parametrize("irrep", SOME, ids=repr)
def test_irreps_keep_their_laws(irrep):
    check_irrep(irrep)
    trivial = irrep == Irrep(irrep.group, 0)
    assert len(irrep.invariants) == trivial
    assert len(ej.reps.intertwiners(irrep, irrep)) == irrep.commutant_dim
    assert irrep.commutant_dim == (2 if irrep.group == ej.SO(2) and irrep.index else 1)


@pytest.mark.parametrize("l", [5, 10])
def test_irreps_of_high_degree_keep_their_laws(l):
    check_irrep(Irrep(ej.O(3), l))


def test_degree_one_is_the_matrix_itself():
    for group in GROUPS:
        g = elements(group)[0]
        np.testing.assert_array_equal(Irrep(group, 1)(g), g)
        np.testing.assert_array_equal(Irrep(group, 1).algebra, group.algebra)
    mirrored = elements(ej.O(3))[0]
    np.testing.assert_allclose(Irrep(ej.O(3), 1, parity=1)(mirrored), np.linalg.det(mirrored)[:, None, None] * mirrored)
    inversion = -np.eye(3)
    signs = {(l, p): Irrep(ej.O(3), l, parity=p)(inversion) for l in (0, 1, 2) for p in (1, -1)}
    assert all(np.allclose(m, p * np.eye(2 * l + 1), atol=1e-14) for (l, p), m in signs.items())


def test_degree_two_is_the_traceless_symmetric_tensors():
    """An independent form of l = 2: the harmonics are quadratic forms, which move by conjugation."""
    g = elements(ej.SO(3))[0]
    points = randn((6, 3))
    values = np.asarray(ej.reps.spherical_harmonics(2, points))
    x, y, z = points.T
    by_hand = np.sqrt(15) * np.stack([z * x, x * y, (2 * y**2 - x**2 - z**2) / 2 / np.sqrt(3), y * z, (z**2 - x**2) / 2], 1)
    np.testing.assert_allclose(values, by_hand, atol=1e-13)
    forms = np.stack(
        [np.asarray(jax.hessian(lambda x, k=k: ej.reps.spherical_harmonics(2, x)[k])(jnp.zeros(3))) for k in range(5)]
    )
    forms /= np.linalg.norm(forms, axis=(1, 2), keepdims=True)
    moved = np.einsum("nab,kbc,ndc->nkad", g, forms, g)
    np.testing.assert_allclose(Irrep(ej.SO(3), 2)(g), np.einsum("jad,nkad->njk", forms, moved), atol=1e-13)


@pytest.mark.parametrize("dimension", [2, 3])
def test_harmonics_turn_with_the_irreps_and_are_orthonormal(dimension):
    harmonics = ej.reps.circular_harmonics if dimension == 2 else ej.reps.spherical_harmonics
    group = ej.O(dimension)
    g, x = elements(group)[0], randn((6, dimension))
    for l in (0, 1, 3, 4):
        moved = harmonics(l, np.einsum("nij,nj->ni", g, x))
        np.testing.assert_allclose(moved, np.einsum("nij,nj->ni", Irrep(group, l)(g), harmonics(l, x)), atol=1e-12)
        np.testing.assert_allclose(harmonics(l, 2.0 * x), 2.0**l * harmonics(l, x), rtol=1e-12)
        gradient = jax.jacfwd(lambda x, l=l: harmonics(l, x))(jnp.zeros(dimension))
        assert np.isfinite(gradient).all()
    rotations, weights = ej.reps.fourier_samples(ej.SO(dimension), 4)
    table = np.concatenate([harmonics(l, rotations[:, :, 1]) for l in range(5)], axis=1)
    np.testing.assert_allclose(np.einsum("n,ni,nj->ij", weights, table, table), np.eye(table.shape[1]), atol=1e-13)
    swapped = np.asarray(harmonics(3, np.einsum("nij,nj->ni", g, x)))[:, ::-1]
    assert np.abs(swapped - np.einsum("nij,nj->ni", Irrep(group, 3)(g), harmonics(3, x))).max() > 0.1


def test_restricted_to_finite_groups_they_have_the_printed_characters():
    """SO(2) to C8, where l turns as Irrep(C8, l); SO(3) to the cube's rotations: l = 3 is A2 + T1 + T2."""
    turns = np.stack([np.asarray(g) for g in ej.Cyclic(8).matrices])
    for l in (1, 2, 3):
        np.testing.assert_allclose(Irrep(ej.SO(2), l)(turns), Irrep(ej.Cyclic(8), l).matrices, atol=1e-14)
    cube = np.stack([m for m in ej.Octahedral().matrices if np.linalg.det(m) > 0])
    assert len(cube) == 24
    angle = np.arccos(np.clip((np.trace(cube, axis1=1, axis2=2) - 1) / 2, -1, 1))
    counts = []
    for l in range(7):
        character = np.trace(Irrep(ej.SO(3), l)(cube), axis1=1, axis2=2)
        np.testing.assert_allclose(character, 1 + 2 * sum(np.cos(m * angle) for m in range(1, l + 1)), atol=1e-12)
        counts.append((round(character.mean(), 9), round((character**2).mean(), 9)))
    assert counts == [(1, 1), (0, 1), (0, 2), (0, 3), (1, 4), (0, 6), (1, 8)]


def test_they_jit_vmap_and_differentiate():
    irrep = Irrep(ej.SO(3), 2)
    g = elements(ej.SO(3))[0]
    np.testing.assert_allclose(jax.jit(jax.vmap(irrep))(g), irrep(g), atol=1e-14)
    X = 0.3 * ej.SO(3).algebra[1]
    _, change = jax.jvp(lambda t: irrep(ej.SO(3).exp(t * X)), (0.0,), (1.0,))
    np.testing.assert_allclose(change, 0.3 * irrep.algebra[1], atol=1e-13)
    moved = irrep.act(g[0], randn((4, 5, 2)), 1)
    assert moved.shape == (4, 5, 2)
    with jax.enable_x64(False):
        assert irrep(jnp.asarray(g, jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_weights_find_the_irreps_of_a_mixture(group):
    parities = [1, -1] if group == ej.O(3) else [None]
    parts = [Irrep(group, l, parity=p) for l in (0, 1, 3) for p in parities[: 1 if l == 3 else 2]]
    sums = functools.reduce(operator.add, [*parts, parts[1]])
    mixed = ej.reps.conjugated(sums, np.linalg.qr(randn((sums.dim, sums.dim)))[0])
    labels = set(group.irrep_family.candidates(mixed))
    assert {part.label for part in parts} <= labels and all(label.index in (0, 1, 3) for label in labels)
    found = ej.reps.decompose(mixed)
    g = elements(group)[0][0]
    blocks = functools.reduce(operator.add, [count * irrep for irrep, count in found.irreps])(g)
    np.testing.assert_allclose(found.inverse @ np.asarray(mixed(g)) @ found.basis, blocks, atol=1e-12)
    assert {irrep: count for irrep, count in found.irreps} == {p: 1 + (p == parts[1]) for p in parts}


@pytest.mark.parametrize(("group", "degree"), [(ej.SO(2), 4), (ej.O(2), 3), (ej.SO(3), 3), (ej.O(3), 1)], ids=repr)
def test_fourier_transform_inverts_keeps_lengths_and_turns(group, degree):
    points, weights = ej.reps.fourier_samples(group, degree)
    fibre = ej.reps.band_limited(group, degree, on="group")
    c = randn((2, fibre.dim, 3))
    f = ej.reps.inverse_fourier(group, c, 1, degree=degree)
    assert f.shape == (2, len(points), 3)
    np.testing.assert_allclose(ej.reps.fourier(group, f, 1, degree=degree), c, atol=1e-12)
    np.testing.assert_allclose(np.einsum("n,bnf->bf", weights, f**2), (c**2).sum(1), rtol=1e-12)  # Parseval
    h = elements(group)[0][0]
    back = np.einsum("ij,njk->nik", h.T, points)
    moved = ej.reps.inverse_fourier(group, c, 1, degree=degree, elements=back)
    np.testing.assert_allclose(ej.reps.fourier(group, moved, 1, degree=degree), fibre.act(h, c, 1), atol=1e-12)
    wrong = ej.reps.inverse_fourier(group, c, 1, degree=degree, elements=np.einsum("ij,njk->nik", h, points))
    assert np.abs(ej.reps.fourier(group, wrong, 1, degree=degree) - fibre.act(h, c, 1)).max() > 0.1
    table = np.asarray(ej.reps.fourier_basis(group, degree, points))
    np.testing.assert_allclose(np.einsum("n,ni,nj->ij", weights, table, table), np.eye(fibre.dim), atol=1e-13)


def test_band_limited_functions_of_circle_and_sphere():
    assert [ej.reps.band_limited(g, 3).dim for g in GROUPS] == [7, 7, 16, 16]
    assert [ej.reps.band_limited(g, 2, on="group").dim for g in GROUPS] == [5, 10, 35, 70]
    fibre, g, x = ej.reps.band_limited(ej.O(3), 2), elements(ej.O(3))[0][0], randn((3,))
    harmonics = lambda x: np.concatenate([ej.reps.spherical_harmonics(l, x) for l in range(3)])  # noqa: E731
    np.testing.assert_allclose(harmonics(g @ x), fibre(g) @ harmonics(x), atol=1e-13)


BAD = {
    "negative": (lambda: Irrep(ej.SO(3), -1), ["`index`", "-1"]),
    "float": (lambda: Irrep(ej.SO(3), 1.5), ["`index`", "1.5"]),
    "parity of rotations": (lambda: Irrep(ej.SO(3), 1, parity=-1), ["`parity`", "None"]),
    "parity of the plane": (lambda: Irrep(ej.O(2), 1, parity=1), ["`parity`", "l = 1", "None"]),
    "parity 2": (lambda: Irrep(ej.O(3), 1, parity=2), ["`parity`", "2", "1 or -1"]),
    "n = 4": (lambda: Irrep(ej.SO(4), 1), ["SO(4)", "not known"]),
    "list": (lambda: ej.reps.irreps(ej.SO(3)), ["infinitely many", "band_limited"]),
    "band": (lambda: ej.reps.band_limited(ej.Cyclic(4), 2), ["degree", "rotations"]),
    "on": (lambda: ej.reps.band_limited(ej.SO(2), 2, on="circle"), ["`on`", "circle", "group"]),
    "degree": (lambda: ej.reps.fourier(ej.SO(3), jnp.ones(3), 0), ["`degree`", "SO(3)", "degree=…"]),
    "length": (lambda: ej.reps.fourier(ej.SO(2), jnp.ones(3), 0, degree=2), ["(3,)", "length 5", "SO(2)"]),
    "points": (lambda: ej.reps.spherical_harmonics(2, jnp.ones(2)), ["`x`", "(2,)", "3 coordinates"]),
    "l": (lambda: ej.reps.circular_harmonics(-2, jnp.ones(2)), ["`l`", "-2"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    make, words = BAD[case]
    check_message(make, (ValueError, TypeError), words)
