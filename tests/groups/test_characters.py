"""Character tables against printed ones, typed in here."""

import itertools

import numpy as np
import pytest

import equijax as ej
from tests.reps.finite_groups import MAKERS, group_named

W = np.exp(2j * np.pi / 3)
PHI, PSI = (1 + 5**0.5) / 2, (1 - 5**0.5) / 2


def from_cycles(n, *cycles):
    images = list(range(n))
    for cycle in cycles:
        for a, b in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
            images[a] = b
    return images


def assert_table(group, representatives, printed):
    """The printed rows are the computed ones, in some order; columns are matched by an element of each class."""
    columns = [next(c for c, members in enumerate(group.characters.classes) if g in members) for g in representatives]
    assert sorted(columns) == list(range(len(group.characters.classes)))
    computed = group.characters.values[:, columns]
    printed = np.array(printed)
    agreement = np.abs(computed[:, None] - printed[None]).max(-1) < 1e-14
    assert (agreement.sum(0) == 1).all() and (agreement.sum(1) == 1).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 12, 31])
def test_cyclic(n):
    j, k = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    table = np.exp(2j * np.pi * (j * k % n) / n)
    assert_table(ej.Cyclic(n), range(n), table)
    assert np.abs(ej.Cyclic(n).characters.values - table).max() < 1e-14  # in this order


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 12, 16])
def test_dihedral(n):
    turns = list(range(n // 2 + 1))
    mirrors = [n] if n % 2 else [n, n + 1]
    ones = [[1] * len(turns) + [s] * len(mirrors) for s in (1, -1)]
    if n % 2 == 0:
        ones += [[(-1) ** k for k in turns] + [s, -s] for s in (1, -1)]
    twos = [[2 * np.cos(2 * np.pi * j * k / n) for k in turns] + [0] * len(mirrors) for j in range(1, (n + 1) // 2)]
    assert_table(ej.Dihedral(n), turns + mirrors, ones + twos)


def test_quaternions():
    table = [[1, 1, 1, 1, 1], [1, 1, 1, -1, -1], [1, 1, -1, 1, -1], [1, 1, -1, -1, 1], [2, -2, 0, 0, 0]]
    assert_table(group_named("Q8"), [0, 4, 1, 2, 3], table)
    assert group_named("Q8").characters.types == ("real",) * 4 + ("quaternionic",)


PERMUTATION_TABLES = {
    "A4": (
        4,
        [[], [(0, 1), (2, 3)], [(0, 1, 2)], [(0, 2, 1)]],
        [[1, 1, 1, 1], [1, 1, W, W**2], [1, 1, W**2, W], [3, -1, 0, 0]],
    ),
    "S4": (
        4,
        [[], [(0, 1)], [(0, 1), (2, 3)], [(0, 1, 2)], [(0, 1, 2, 3)]],
        [[1, 1, 1, 1, 1], [1, -1, 1, 1, -1], [2, 0, 2, -1, 0], [3, 1, -1, 0, -1], [3, -1, -1, 0, 1]],
    ),
    "A5": (
        5,
        [[], [(0, 1), (2, 3)], [(0, 1, 2)], [(0, 1, 2, 3, 4)], [(0, 2, 4, 1, 3)]],
        [[1, 1, 1, 1, 1], [3, -1, 0, PHI, PSI], [3, -1, 0, PSI, PHI], [4, 0, 1, -1, -1], [5, 1, -1, 0, 0]],
    ),
    "S5": (
        5,
        [
            [],
            [(0, 1)],
            [(0, 1), (2, 3)],
            [(0, 1, 2)],
            [(0, 1, 2), (3, 4)],
            [(0, 1, 2, 3)],
            [(0, 1, 2, 3, 4)],
        ],
        [
            [1, 1, 1, 1, 1, 1, 1],
            [1, -1, 1, 1, -1, -1, 1],
            [4, 2, 0, 1, -1, 0, -1],
            [4, -2, 0, 1, 1, 0, -1],
            [5, 1, 1, -1, 1, -1, 0],
            [5, -1, 1, -1, -1, 1, 0],
            [6, 0, -2, 0, 0, 0, 1],
        ],
    ),
}


@pytest.mark.parametrize("name", list(PERMUTATION_TABLES))
def test_permutation_groups(name):
    n, representatives, table = PERMUTATION_TABLES[name]
    group = group_named(name)
    assert_table(group, [group.element_of(from_cycles(n, *cycles)) for cycles in representatives], table)


def number_of(group, matrix):
    return int(np.argmin(np.abs(group.matrices - np.array(matrix)).max((1, 2))))


def with_inversion(table):
    """The table of G × {1, i} from that of G: g and u, first the classes of G and then those times i."""
    table = np.array(table)
    return np.block([[table, table], [table, -table]])


def test_the_cube_with_inversion():
    """Columns E, 8 C3, 6 C2', 6 C4, 3 C4² and the same times i; rows A1g, A2g, Eg, T1g, T2g and u."""
    group = group_named("O_h")
    proper = [
        np.eye(3),
        [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
        [[0, 1, 0], [1, 0, 0], [0, 0, -1]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
        np.diag([-1, -1, 1]),
    ]
    numbers = [number_of(group, s * np.array(m)) for s in (1, -1) for m in proper]
    table = [[1, 1, 1, 1, 1], [1, 1, -1, -1, 1], [2, -1, 0, 0, 2], [3, 0, -1, 1, -1], [3, 0, 1, -1, -1]]
    assert_table(group, numbers, with_inversion(table))
    assert set(group.characters.types) == {"real"}


def test_the_icosahedron_with_inversion():
    """Columns E, 12 C5, 12 C5², 20 C3, 15 C2 and the same times i; rows Ag, T1g, T2g, Gg, Hg and u.

    A turn by 72° has trace φ, so the matrices themselves are T1u.
    """
    group = group_named("I_h")
    rotations = group.matrices[np.linalg.det(group.matrices) > 0]
    by_trace = [rotations[np.argmin(np.abs(np.trace(rotations, axis1=1, axis2=2) - t))] for t in (3, PHI, PSI, 0, -1)]
    numbers = [number_of(group, s * m) for s in (1, -1) for m in by_trace]
    table = [[1, 1, 1, 1, 1], [3, PHI, PSI, 0, -1], [3, PSI, PHI, 0, -1], [4, -1, -1, 1, 0], [5, 0, 0, -1, 1]]
    assert_table(group, numbers, with_inversion(table))


def test_the_comparison_notices_a_wrong_table():
    wrong = [[1, 1, 1], [1, 1, -1], [2, 1, 0]]
    with pytest.raises(AssertionError):
        assert_table(group_named("S3"), [0, 1, 2], wrong)


@pytest.mark.parametrize("name", list(MAKERS))
def test_rows_and_columns_are_orthogonal(name):
    characters = group_named(name).characters
    order = group_named(name).order
    rows = (characters.values * characters.sizes) @ characters.values.conj().T / order
    columns = characters.values.conj().T @ characters.values * characters.sizes / order
    assert np.abs(rows - np.eye(len(rows))).max() < 1e-13
    assert np.abs(columns - np.eye(len(rows))).max() < 1e-13


@pytest.mark.parametrize("name", list(MAKERS))
def test_types_are_what_the_squares_say(name):
    """The mean of χ(g²) over all elements, summed one by one."""
    group = group_named(name)
    column = np.empty(group.order, int)
    for c, members in enumerate(group.characters.classes):
        column[list(members)] = c
    squares = column[np.diag(group.table)]
    means = group.characters.values[:, squares].mean(1)
    expected = {"real": 1, "complex": 0, "quaternionic": -1}
    assert np.abs(means - [expected[kind] for kind in group.characters.types]).max() < 1e-12
    assert set(itertools.chain(*group.characters.real_rows)) == set(range(len(means)))


def test_it_prints_as_a_table():
    assert str(group_named("A5").characters).splitlines()[4] == "χ1    real  3  (1+√5)/2   0  (1-√5)/2  -1"
    assert "ζ3^2" in str(group_named("A4").characters)
    assert str(ej.Cyclic(4).characters).splitlines()[4] == "χ1    complex  1   i  -1  -i"
    assert "-1/2+√7/2·i" in str(group_named("Frobenius 21").characters)
    assert "ζ7+ζ7^6" in str(ej.Dihedral(7).characters)


def test_entries_are_sums_of_roots_of_unity():
    characters = group_named("A5").characters
    roots = characters.roots(1, 1)
    assert roots.sum() == 3
    assert abs(roots @ np.exp(2j * np.pi * np.arange(5) / 5) - characters.values[1, 1]) < 1e-15
