"""Weight sharing of convolution kernels, against Burnside's count and plain loops."""

import dataclasses
import itertools
import math

import jax
import numpy as np
import pytest

import equijax as ej
from equijax.reps import PermutationRepresentation, Quotient, Regular, Scalar
from equijax.sharing import KernelSharing, _kernel
from equijax.sharing._orbit_sharing import defect, project
from equijax.sharing._window import window
from tests.catalogue import FINITE, WALLPAPER, brute_orbits

C4, D4, D2, CUBE, A4, Q8 = ej.Cyclic(4), ej.Dihedral(4), ej.Dihedral(2), ej.Octahedral(), FINITE["A4"], FINITE["Q8"]


def _fibres(group):
    yield Scalar(group)
    yield Regular(group)
    subgroups = group.subgroups()
    yield Quotient(subgroups[len(subgroups) // 2])
    yield Scalar(group) + Quotient(subgroups[1])


GRIDS = [
    *((C4, (k, k)) for k in (1, 2, 3, 4, 5)),
    *((D4, (k, k)) for k in (1, 2, 3)),
    (D2, (2, 3)),
    (ej.Reflection(1), (5,)),
    (WALLPAPER["p6"].point_group, (3, 3)),
    (WALLPAPER["p3m1"].point_group, (5, 5)),
    (WALLPAPER["cm"].point_group, (3, 3)),
    (A4, ()),
    (Q8, ()),
]
CASES = [
    KernelSharing(group, size, into, out)
    for group, size in GRIDS
    for into, out in itertools.product(list(_fibres(group)), repeat=2)
]
every_case = pytest.mark.parametrize(
    "sharing", CASES, ids=lambda s: f"{s.point_group!r:.30}-{s.kernel_size}-{s.in_fibre.dim}-{s.out_fibre.dim}"
)


def _images(sharing):
    """Images of all triples (out fibre, offset, in fibre) under every element, from matrices and tables."""
    group, size = sharing.point_group, sharing.kernel_size
    order = group.order
    if size:
        box = np.stack(np.unravel_index(np.arange(math.prod(size)), size), -1) * 2 - (np.array(size) - 1)
        moved = np.einsum("hij,kj->hki", group.integer_matrices, box)
        inside = (np.abs(moved) <= np.array(size) - 1).all((0, 2))
        number = {tuple(v): i for i, v in enumerate(box[inside].tolist())}
        offsets = np.array([[number[tuple(v)] for v in row] for row in moved[:, inside].tolist()])
    else:
        offsets = np.zeros((order, 1), int)
    into, out = sharing.in_fibre.table, sharing.out_fibre.table
    k, a = offsets.shape[1], into.shape[1]
    triples = (out[:, :, None, None] * k + offsets[:, None, :, None]) * a + into[:, None, None, :]
    return triples.reshape(order, -1), (out.shape[1], k, a)


@every_case
def test_orbits_and_their_numbers(sharing):
    images, shape = _images(sharing)
    table = sharing.table
    assert table.shape == shape == (sharing.out_fibre.dim, sharing.offsets, sharing.in_fibre.dim)
    assert np.array_equal(table.reshape(-1), brute_orbits(images)), "numbered by first appearance in C order"
    burnside = (images == np.arange(images.shape[1])).sum() / sharing.point_group.order
    assert sharing.count == table.max() + 1 == burnside
    assert table.dtype == np.int32 and not table.flags.writeable


@every_case
def test_representatives_are_first_appearances(sharing):
    table = sharing.table.reshape(sharing.out_fibre.dim, -1)
    orbit = sharing.out_fibre.orbits
    assert len(sharing.representatives) == orbit.max() + 1
    start = 0
    for k, places in enumerate(sharing.representatives):
        row = table[int(np.flatnonzero(orbit == k)[0])]
        assert row[places].tolist() == list(range(start, start + len(places)))
        assert all(
            int(np.flatnonzero(row == n)[0]) == p for n, p in zip(range(start, start + len(places)), places, strict=True)
        )
        start += len(places)
    assert start == sharing.count


def _expected(sharing, kernel):
    """The planar kernel by plain loops over the table."""
    places, _ = window(sharing.point_group, sharing.kernel_size)
    a, b, into, out = sharing.in_fibre.dim, sharing.out_fibre.dim, *kernel.shape[1:]
    full = np.zeros((math.prod(sharing.kernel_size), a * into, b * out))
    for j, i, k in np.ndindex(b, a, len(places)):
        full[places[k], i * into : (i + 1) * into, j * out : (j + 1) * out] = kernel[sharing.table[j, k, i]]
    return full.reshape(*sharing.kernel_size, a * into, b * out)


EXPANDED = [
    KernelSharing(C4, (3, 3), Scalar(C4), Regular(C4)),
    KernelSharing(D4, (2, 2), Regular(D4), Quotient(D4.subgroup([4]))),
    KernelSharing(
        WALLPAPER["p6"].point_group, (3, 3), Regular(WALLPAPER["p6"].point_group), Scalar(WALLPAPER["p6"].point_group)
    ),
    KernelSharing(A4, (), Regular(A4), Regular(A4)),
    KernelSharing(ej.Reflection(1), (3,), Scalar(ej.Reflection(1)) + Regular(ej.Reflection(1)), Regular(ej.Reflection(1))),
]


@pytest.mark.parametrize("sharing", EXPANDED, ids=repr)
def test_expand_writes_the_table_out(sharing):
    kernel = np.random.default_rng(0).normal(size=(sharing.count, 2, 3))
    expected = _expected(sharing, kernel)
    assert np.array_equal(sharing.expand(jax.numpy.asarray(kernel)), expected)


@pytest.mark.parametrize("sharing", EXPANDED, ids=repr)
def test_the_factored_table_agrees_with_the_direct_one(sharing, monkeypatch):
    kernel = jax.numpy.asarray(np.random.default_rng(0).normal(size=(sharing.count, 2, 1)))
    direct, index = sharing.expand(kernel), sharing._index()
    monkeypatch.setattr(_kernel, "_LARGEST_TABLE", 0)
    assert np.array_equal(sharing._index(), index) and np.array_equal(sharing.expand(kernel), direct)


def test_a_table_above_one_megabyte_is_factored(monkeypatch):
    group = ej.Octahedral(True)
    sharing = KernelSharing(group, (5, 5, 5), Regular(group), Regular(group))
    assert sharing.count == 125 * 48 and sharing.offsets * 48 * 48 * 4 > _kernel._LARGEST_TABLE
    factored = np.asarray(sharing._index())
    monkeypatch.setattr(_kernel, "_LARGEST_TABLE", 1 << 40)
    assert np.array_equal(factored, sharing._index())
    # Regular fibres share freely: κ[δ, a, b] = ψ[b⁻¹δ, b⁻¹a].
    _, offsets = window(group, (5, 5, 5))
    for b in (0, 1, 47):
        back = group.inverses[b]
        expected = offsets[back][:, None] * 48 + group.table[back][None, :]
        assert np.array_equal(factored[:, :, b], expected)


@pytest.mark.parametrize(
    ("group", "size", "into", "out", "count"),
    [
        (C4, (3, 3), Scalar, Regular, 9),
        (C4, (3, 3), Regular, Regular, 36),
        (D4, (3, 3), Regular, Regular, 72),
        (C4, (3, 3), Scalar, Scalar, 3),
        (D4, (3, 3), Scalar, Scalar, 3),
        (D4, (3, 3), Regular, Scalar, 9),
        (D4, (3, 3), Scalar, Regular, 9),
        (ej.Trivial(2), (3, 5), Scalar, Scalar, 15),
        (CUBE, (3, 3, 3), Scalar, Scalar, 4),
        (CUBE, (3, 3, 3), Regular, Regular, 27 * 24),
        (A4, (), Regular, Regular, 12),
        (WALLPAPER["p6m"].point_group, (3, 3), Regular, Regular, 7 * 12),
    ],
    ids=str,
)
def test_known_counts(group, size, into, out, count):
    sharing = KernelSharing(group, size, into(group), out(group))
    assert sharing.count == count
    assert sharing.kernel_shape == (size if group.order == 1 else (count,))


def test_only_an_ordinary_convolution_is_free():
    trivial = ej.Trivial(2)
    assert KernelSharing(trivial, (3, 3), Scalar(trivial), Scalar(trivial)).is_free
    assert not KernelSharing(trivial, (3, 3), Regular(trivial), Scalar(trivial)).is_free
    assert not KernelSharing(C4, (3, 3), Scalar(C4), Scalar(C4)).is_free
    regular = KernelSharing(trivial, (3, 3), Regular(trivial), Regular(trivial))
    assert regular.kernel_shape == (9,) and regular.expand(jax.numpy.ones((9, 2, 3))).shape == (3, 3, 2, 3)


@pytest.mark.parametrize("sharing", EXPANDED, ids=repr)
def test_kernels_that_are_expanded_commute_with_the_group(sharing):
    """κ[hδ, ha, hb] = κ[δ, a, b], directly on the values."""
    kernel = np.random.default_rng(0).normal(size=sharing.count)[sharing.table]
    _, offsets = window(sharing.point_group, sharing.kernel_size)
    for h in range(sharing.point_group.order):
        moved = kernel[sharing.out_fibre.table[h]][:, offsets[h]][:, :, sharing.in_fibre.table[h]]
        assert np.array_equal(moved, kernel)


def test_a_corrupted_table_is_noticed():
    """Negative control: exchange two orbits in one place, and equivariant weights no longer look equivariant."""
    sharing = KernelSharing(D4, (3, 3), Regular(D4), Regular(D4))
    weights = np.random.default_rng(0).normal(size=sharing.count)
    corrupted = sharing.table.copy()
    first, second = np.flatnonzero(corrupted.reshape(-1) == 0)[1], np.flatnonzero(corrupted.reshape(-1) == 1)[1]
    corrupted.reshape(-1)[[first, second]] = [1, 0]
    assert defect(weights[sharing.table], sharing.table) < 1e-12
    assert defect(weights[corrupted], sharing.table) > 1e-3
    assert np.array_equal(project(weights[sharing.table], sharing.table).round(12), weights[sharing.table].round(12))


def test_values():
    make = lambda: KernelSharing(ej.Dihedral(4), (3, 3), Scalar(ej.Dihedral(4)), Regular(ej.Dihedral(4)))  # noqa: E731
    assert make() == make() and hash(make()) == hash(make()) and make().table is make().table
    assert make() != KernelSharing(D4, (5, 5), Scalar(D4), Regular(D4))
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().kernel_size = (5, 5)


def test_a_users_fibre_is_enough():
    """Letters of DNA: a filter and its reverse complement."""
    group = ej.Reflection(1)
    letters = PermutationRepresentation(group, [[0, 1, 2, 3], [3, 2, 1, 0]])
    sharing = KernelSharing(group, (5,), letters, Regular(group))
    assert sharing.count == 20
    assert np.array_equal(sharing.table[1], sharing.table[0][::-1, ::-1])
