"""Windows of kernels."""

import itertools

import numpy as np
import pytest

import equijax as ej
from equijax.sharing._window import window
from tests.catalogue import FINITE, WALLPAPER


@pytest.mark.parametrize("name", ["p3", "p3m1", "p31m", "p6", "p6m"])
@pytest.mark.parametrize(("size", "count"), [(1, 1), (3, 7), (5, 19), (7, 37)])
def test_hexagonal_neighbourhoods(name, size, count):
    places, images = window(WALLPAPER[name].point_group, (size, size))
    assert len(places) == images.shape[1] == count
    offsets = np.stack(np.unravel_index(places, (size, size)), -1) - size // 2
    # Steps on the hexagonal lattice: max(|a|, |b|, |a + b|) in 60° axial coordinates.
    steps = np.abs(np.concatenate([offsets, offsets.sum(1, keepdims=True)], axis=1)).max(1)
    assert steps.max(initial=0) == size // 2
    box = itertools.product(range(-(size // 2), size // 2 + 1), repeat=2)
    assert count == sum(max(abs(a), abs(b), abs(a + b)) <= size // 2 for a, b in box)


@pytest.mark.parametrize(
    ("group", "size"),
    [
        (ej.Dihedral(4), (3, 3)),
        (ej.Cyclic(4), (4, 4)),
        (ej.Dihedral(2), (2, 3)),
        (ej.Octahedral(True), (3, 3, 3)),
        (ej.Reflection(1), (4,)),
        (WALLPAPER["cm"].point_group, (2, 2)),
        (WALLPAPER["p6m"].point_group, (5, 5)),
    ],
    ids=repr,
)
def test_images_are_those_of_the_matrices_about_the_centre_of_the_box(group, size):
    places, images = window(group, size)
    centre = (np.array(size) - 1) / 2
    offsets = np.stack(np.unravel_index(places, size), -1) - centre
    assert images.shape == (group.order, len(places)) and images.dtype == np.int32
    for h in range(group.order):
        assert np.array_equal(offsets[images[h]], offsets @ group.integer_matrices[h].T)
        assert np.array_equal(np.sort(images[h]), np.arange(len(places)))
    if group.basis is None:
        assert np.array_equal(places, np.arange(np.prod(size))), "signed permutations keep the whole box"
    for array in (places, images):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_no_grid_has_one_offset():
    for group in (FINITE["A4"], ej.Dihedral(4)):
        places, images = window(group, ())
        assert places.tolist() == [0] and images.tolist() == [[0]] * group.order
