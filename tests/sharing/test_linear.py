"""Weight sharing of linear maps between finite actions."""

import itertools

import numpy as np
import pytest

import equijax as ej
from equijax.reps import Quotient, Regular, Scalar
from equijax.sharing import LinearSharing
from equijax.sharing._orbit_sharing import defect, project
from tests.catalogue import FINITE, WALLPAPER, all_permutations, brute_orbits

D4, C4, A4 = ej.Dihedral(4), ej.Cyclic(4), FINITE["A4"]


def _grid(name, sizes, fibre=None, **options):
    group = WALLPAPER[name]
    return ej.GridAction(group, fibre and fibre(group.point_group), **options).on(sizes)


def _pooled(name, fibre):
    return ej.FibreAction(fibre(WALLPAPER[name].point_group), WALLPAPER[name])


def _line(n):
    return ej.GridAction(ej.Translation(1)).on((n,))


PAIRS = {
    "circulant matrices": (_line(5), _line(5), 5),
    "translations of a rectangle": (
        ej.GridAction(ej.Translation(2)).on((2, 3)),
        ej.GridAction(ej.Translation(2)).on((2, 3)),
        6,
    ),
    "DeepSets": (ej.SetAction(4), ej.SetAction(4), 2),
    "set to invariants": (ej.SetAction(4), ej.TensorAction(4, 0), 1),
    "set to pairs": (ej.SetAction(4), ej.TensorAction(4, 2), 5),
    "pairs to pairs": (ej.TensorAction(4, 2), ej.TensorAction(4, 2), 15),
    "pairs of three points": (ej.TensorAction(3, 2), ej.TensorAction(3, 2), 14),
    "lifting": (_grid("p4", (3, 3)), _grid("p4", (3, 3), Regular), 9),
    "group convolution, C4": (_grid("p4", (3, 3), Regular), _grid("p4", (3, 3), Regular), 36),
    "group convolution, D4": (_grid("p4m", (3, 3), Regular), _grid("p4m", (3, 3), Regular), 72),
    "isotropic": (_grid("p4m", (3, 3)), _grid("p4m", (3, 3)), 3),
    "a plain group": (ej.FibreAction(Regular(A4)), ej.FibreAction(Regular(A4)), 12),
    "quotients": (ej.FibreAction(Quotient(D4.subgroup([1]))), ej.FibreAction(Quotient(D4.subgroup([4]))), 1),
    "to the trivial action": (ej.FibreAction(Regular(A4)), ej.TrivialAction(A4), 1),
}


def _brute(sharing):
    """All elements of a small group that permute both sides."""
    group = sharing.in_action.group
    if isinstance(group, ej.Permutation):
        elements = list(all_permutations(group.n))
    elif isinstance(group, ej.SpaceGroup):
        every = zip(*(np.asarray(part) for part in group.elements()), strict=True)
        elements = [g for g in every if sharing.in_action.acts(g) and sharing.out_action.acts(g)]
    else:
        elements = list(np.asarray(group.elements()))
    into = np.stack([sharing.in_action.permutation(g) for g in elements])
    out = np.stack([sharing.out_action.permutation(g) for g in elements])
    return out, into


@pytest.mark.parametrize(("into", "out", "count"), list(PAIRS.values()), ids=list(PAIRS))
def test_orbits_are_those_of_all_elements_and_count_as_burnside_says(into, out, count):
    sharing = LinearSharing(into, out)
    out_images, in_images = _brute(sharing)
    pairs = (out_images[:, :, None] * in_images.shape[1] + in_images[:, None, :]).reshape(len(out_images), -1)
    assert np.array_equal(sharing.orbits.reshape(-1), brute_orbits(pairs))
    fixed = (out_images == np.arange(out_images.shape[1])).sum(1) * (in_images == np.arange(in_images.shape[1])).sum(1)
    assert sharing.count == count == fixed.sum() / len(fixed)
    assert np.array_equal(sharing.out_orbits, brute_orbits(out_images))
    for array in (sharing.orbits, sharing.out_orbits):
        assert array.dtype == np.int32 and not array.flags.writeable


@pytest.mark.parametrize(("into", "out", "count"), list(PAIRS.values()), ids=list(PAIRS))
def test_shared_weights_commute_with_the_group_and_there_are_no_others(into, out, count):
    """W ρ_in = ρ_out W for W constant on orbits, and the commutant has that dimension."""
    sharing = LinearSharing(into, out)
    weight = np.random.default_rng(0).normal(size=sharing.count)[sharing.orbits]
    out_images, in_images = _brute(sharing)
    for p, q in itertools.islice(zip(out_images, in_images, strict=True), 24):
        assert np.array_equal(weight[np.ix_(p, q)], weight)
    if weight.size <= 100:
        average = np.mean(
            [np.kron(np.eye(len(p))[p], np.eye(len(q))[q]) for p, q in zip(out_images, in_images, strict=True)], 0
        )
        assert np.linalg.matrix_rank(average) == count


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize(
    "fibre", [Scalar, Regular, lambda g: Quotient(g.subgroup([2]))], ids=["scalar", "regular", "quotient"]
)
@pytest.mark.parametrize("side", ["array to vector", "vector to array"])
def test_arrays_with_borders_and_vectors(n, fibre, side):
    """A border on one side only: the weights are those of all point elements that keep the array."""
    for sizes in ((n, n), (3, n)):
        array, vector = _grid("p4m", sizes, boundary="zero"), _pooled("p4m", fibre).on()
        kept = [h for h in range(8) if array.acts((np.zeros(2, np.int32), h))]
        assert len(kept) == (8 if sizes == (n, n) else 4)
        into, out = (array, vector) if side == "array to vector" else (vector, array)
        elements = [(np.zeros(2, np.int32), np.int32(h)) for h in kept]
        p, q = (np.stack([action.permutation(g) for g in elements]) for action in (out, into))
        pairs = (p[:, :, None] * into.size + q[:, None, :]).reshape(len(kept), -1)
        assert np.array_equal(LinearSharing(into, out).orbits.reshape(-1), brute_orbits(pairs))


def test_unequal_tori_share_the_elements_that_act():
    action = ej.GridAction(WALLPAPER["p4m"]).on((2, 3))
    sharing = LinearSharing(action, action)
    elements = [
        (np.array([a, b], np.int32), np.int32(h))
        for a, b in np.ndindex(2, 3)
        for h in range(8)
        if action.acts((np.zeros(2, np.int32), h))
    ]
    images = np.stack([action.permutation(g) for g in elements])
    pairs = (images[:, :, None] * 6 + images[:, None, :]).reshape(len(images), -1)
    assert np.array_equal(sharing.orbits.reshape(-1), brute_orbits(pairs))


def test_strided_maps_of_a_torus():
    """4×4 samples to every second one: the shifts by two pixels and the point elements that keep both."""
    group = ej.wallpaper("p4m", 4)
    fine, coarse = ej.GridAction(group), ej.GridAction(group, spacing=2)
    sharing = LinearSharing(fine.on((4, 4)), coarse.on((2, 2)))
    out_images, in_images = _brute(sharing)
    assert len(out_images) == 4 * 8
    pairs = (out_images[:, :, None] * 16 + in_images[:, None, :]).reshape(len(out_images), -1)
    assert np.array_equal(sharing.orbits.reshape(-1), brute_orbits(pairs))


def test_projection():
    sharing = LinearSharing(*PAIRS["group convolution, C4"][:2])
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(36, 36, 2))
    once = sharing.project(weight)
    by_loop = np.empty_like(weight)
    for k in range(sharing.count):
        by_loop[sharing.orbits == k] = weight[sharing.orbits == k].mean(0)
    np.testing.assert_allclose(once, by_loop, rtol=0, atol=1e-14)
    np.testing.assert_allclose(sharing.project(once), once, rtol=0, atol=1e-14)
    equivariant = rng.normal(size=(sharing.count, 2))[sharing.orbits]
    np.testing.assert_allclose(sharing.project(equivariant), equivariant, rtol=0, atol=1e-14)
    # An orthogonal projection: the rest is orthogonal to everything equivariant.
    assert abs(np.sum((weight - once) * equivariant)) < 1e-10
    assert once.dtype == np.float64 and sharing.project(weight.astype(np.float32)).dtype == np.float64


def test_projection_is_the_average_over_the_group():
    sharing = LinearSharing(*PAIRS["quotients"][:2])
    weight = np.random.default_rng(0).normal(size=sharing.orbits.shape)
    out, into = _brute(sharing)
    average = np.mean([weight[np.ix_(p, q)] for p, q in zip(out, into, strict=True)], axis=0)
    np.testing.assert_allclose(sharing.project(weight), average, rtol=0, atol=1e-14)


def test_defect():
    sharing = LinearSharing(*PAIRS["group convolution, D4"][:2])
    rng = np.random.default_rng(0)
    random = rng.normal(size=sharing.orbits.shape)
    equivariant = rng.normal(size=sharing.count)[sharing.orbits]
    assert sharing.defect(equivariant) < 1e-14
    assert 0.98 < sharing.defect(random) <= 1
    assert sharing.defect(np.zeros_like(random)) == 0
    expected = np.sqrt(1 - sharing.count / random.size)
    assert abs(sharing.defect(random) - expected) < 0.01
    assert sharing.defect(equivariant + 1e-6 * random) == pytest.approx(
        1e-6 * np.linalg.norm(random) / np.linalg.norm(equivariant), rel=0.02
    )
    assert sharing.defect(3 * random) == pytest.approx(sharing.defect(random))


def test_a_corrupted_table_is_noticed():
    sharing = LinearSharing(*PAIRS["DeepSets"][:2])
    corrupted = sharing.orbits.copy()
    corrupted[0, 0], corrupted[0, 1] = corrupted[0, 1], corrupted[0, 0]
    weight = np.array([2.0, -1.0])
    assert sharing.defect(weight[sharing.orbits]) == 0 and sharing.defect(weight[corrupted]) > 0.1


def test_functions_take_any_table():
    orbit = np.array([0, 1, 0])
    assert project(np.array([1.0, 5.0, 3.0]), orbit).tolist() == [2.0, 5.0, 2.0]
    assert defect(np.array([3.0, 0.0, -3.0]), orbit) == 1.0


def test_actions_without_a_grid_are_made_finite():
    assert LinearSharing(ej.SetAction(3), ej.SetAction(3)).in_action == ej.SetAction(3).on()


def test_values():
    make = lambda: LinearSharing(ej.GridAction(ej.Translation(1)).on((4,)), ej.GridAction(ej.Translation(1)).on((4,)))  # noqa: E731
    assert make() == make() and hash(make()) == hash(make()) and make().orbits is make().orbits
