"""The thirteen symmorphic wallpaper groups."""

import numpy as np
import pytest

import equijax as ej
from equijax.groups import WALLPAPER_NAMES
from tests.catalogue import R

GENERATORS = {
    "p1": [],
    "p2": [[[-1, 0], [0, -1]]],
    "pm": [[[-1, 0], [0, 1]]],
    "pmm": [[[-1, 0], [0, 1]], [[1, 0], [0, -1]]],
    "cm": [[[0, 1], [1, 0]]],
    "cmm": [[[0, 1], [1, 0]], [[-1, 0], [0, -1]]],
    "p4": [R],
    "p4m": [R, [[1, 0], [0, -1]]],
    "p3": [[[-1, -1], [1, 0]]],
    "p3m1": [[[-1, -1], [1, 0]], [[0, 1], [1, 0]]],
    "p31m": [[[-1, -1], [1, 0]], [[1, 1], [0, -1]]],
    "p6": [[[0, -1], [1, 1]]],
    "p6m": [[[0, -1], [1, 1]], [[0, 1], [1, 0]]],
}
ORDERS = dict(zip(GENERATORS, [1, 2, 2, 4, 2, 4, 4, 8, 3, 6, 6, 6, 12], strict=True))
HEXAGONAL_NAMES = ("p3", "p3m1", "p31m", "p6", "p6m")
every_name = pytest.mark.parametrize("name", WALLPAPER_NAMES)


def test_all_thirteen_are_there():
    assert WALLPAPER_NAMES == tuple(GENERATORS)


@every_name
def test_the_point_group_has_the_matrices_of_the_international_tables(name):
    group = ej.wallpaper(name).point_group
    closed = {tuple(np.eye(2, dtype=int).reshape(-1).tolist())}
    while True:
        grown = closed | {tuple((np.reshape(m, (2, 2)) @ g).reshape(-1).tolist()) for m in closed for g in GENERATORS[name]}
        if grown == closed:
            break
        closed = grown
    assert {tuple(m.reshape(-1).tolist()) for m in group.integer_matrices} == closed
    assert group.order == len(closed) == ORDERS[name]


@every_name
def test_the_lattice(name):
    basis = ej.wallpaper(name).point_group.basis
    assert (basis is not None) == (name in HEXAGONAL_NAMES)
    assert basis is None or np.array_equal(basis, ej.HEXAGONAL)


@every_name
def test_period(name):
    group = ej.wallpaper(name, period=6)
    assert group.period == (6, 6) and group == ej.SpaceGroup(ej.wallpaper(name).point_group, 6)
    assert group.order == 36 * ORDERS[name] and group != ej.wallpaper(name)


@pytest.mark.parametrize(
    ("name", "point_group"),
    [
        ("p1", ej.Trivial(2)),
        ("p2", ej.Cyclic(2)),
        ("pm", ej.Reflection(2)),
        ("p4", ej.Cyclic(4)),
        ("p4m", ej.Dihedral(4)),
        ("p3", ej.Cyclic(3).in_basis(ej.HEXAGONAL)),
        ("p6m", ej.Dihedral(6).in_basis(ej.HEXAGONAL)),
        ("p31m", ej.Dihedral(3).in_basis(ej.HEXAGONAL)),
    ],
)
def test_names_do_not_count(name, point_group):
    assert ej.wallpaper(name) == ej.SpaceGroup(point_group)
    assert hash(ej.wallpaper(name)) == hash(ej.SpaceGroup(point_group))


def test_the_thirteen_are_different():
    groups = [ej.wallpaper(name) for name in WALLPAPER_NAMES]
    assert len(set(groups)) == 13


@pytest.mark.parametrize(("name", "weights"), [("p3", 3), ("p3m1", 2), ("p31m", 3), ("p6", 2), ("p6m", 2)])
def test_isotropic_weights_on_the_seven_point_neighbourhood(name, weights):
    """Counts orbits of the matrices on the neighbours by hand; it tells p3m1 from p31m."""
    points = [(0, 0), (1, 0), (0, 1), (-1, 1), (-1, 0), (0, -1), (1, -1)]
    matrices = ej.wallpaper(name).point_group.integer_matrices
    orbits = {frozenset(tuple((m @ p).tolist()) for m in matrices) for p in points}
    assert len(orbits) == weights
    scalar = ej.reps.Scalar(ej.wallpaper(name).point_group)
    assert ej.sharing.KernelSharing(scalar.group, (3, 3), scalar, scalar).count == weights
