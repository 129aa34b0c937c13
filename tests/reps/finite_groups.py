"""Finite groups whose irreps are tested, made here by permutations, matrices and tables; none of it uses irreps."""

import functools
import itertools

import numpy as np

import equijax as ej
from tests.catalogue import ABSTRACT, POINT, R


def product(a, b):
    """The direct product of two finite groups; element (i, j) is number i · |b| + j."""
    table = a.table[:, None, :, None] * b.order + b.table[None, :, None, :]
    n = a.order * b.order
    return ej.FiniteGroup.from_table(table.reshape(n, n))


def matrices_modulo(p, generators):
    """The group of 2×2 or 3×3 matrices modulo p that some matrices generate, as permutations of the vectors."""
    d = len(generators[0])
    vectors = [v for v in itertools.product(range(p), repeat=d)]
    number = {v: i for i, v in enumerate(vectors)}
    images = [[number[tuple((np.array(m) @ v % p).tolist())] for v in vectors] for m in generators]
    return ej.FiniteGroup.from_permutations(images)


def dicyclic(n):
    """Order 4n: a of order 2n and b with b² = aⁿ, b a b⁻¹ = a⁻¹; element (i, k) is aⁱ bᵏ, number 2n·k + i."""
    table = np.zeros((4 * n, 4 * n), int)
    for (k, i), (m, j) in itertools.product(itertools.product(range(2), range(2 * n)), repeat=2):
        exponent = i + (j if k == 0 else -j) + (n if k == m == 1 else 0)
        table[2 * n * k + i, 2 * n * m + j] = 2 * n * ((k + m) % 2) + exponent % (2 * n)
    return ej.FiniteGroup.from_table(table)


def symmetric(n):
    return ej.FiniteGroup.from_permutations([[*range(1, n), 0], [1, 0, *range(2, n)]])


INVERSION = (-np.eye(3)).tolist()


def icosahedral(inversion):
    generators = [POINT["icosahedral"].matrices[g].tolist() for g in POINT["icosahedral"].generators]
    return ej.PointGroup.from_matrices([*generators, *([INVERSION] if inversion else [])])


MAKERS = {
    **{f"C{n}": functools.partial(ej.Cyclic, n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 31)},
    **{f"D{n}": functools.partial(ej.Dihedral, n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 12, 16)},
    "C6 hexagonal": lambda: POINT["hexagonal C6"],
    "D6 hexagonal": lambda: POINT["hexagonal D6"],
    "D4 breadth first": lambda: ej.PointGroup.from_matrices([R, np.diag([-1, 1])]),
    "Q8": lambda: ABSTRACT["Q8"],
    "Dic3": lambda: dicyclic(3),
    "Dic5": lambda: dicyclic(5),
    "SL(2,3)": lambda: matrices_modulo(3, [[[1, 1], [0, 1]], [[1, 0], [1, 1]]]),
    "Heisenberg 3": lambda: matrices_modulo(3, [[[1, 1, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1], [0, 0, 1]]]),
    "Frobenius 21": lambda: ej.FiniteGroup.from_permutations([[1, 2, 3, 4, 5, 6, 0], [2 * i % 7 for i in range(7)]]),
    "Frobenius 20": lambda: ej.FiniteGroup.from_permutations([[1, 2, 3, 4, 0], [2 * i % 5 for i in range(5)]]),
    "S3": lambda: ABSTRACT["S3"],
    "A4": lambda: ABSTRACT["A4"],
    "S4": lambda: ABSTRACT["S4"],
    "A5": lambda: ABSTRACT["A5"],
    "S5": lambda: symmetric(5),
    "T": lambda: ej.PointGroup.from_matrices([np.diag([-1, -1, 1]), [[0, 0, 1], [1, 0, 0], [0, 1, 0]]]),
    "O": ej.Octahedral,
    "O_h": lambda: ej.Octahedral(inversion=True),
    "I": lambda: icosahedral(False),
    "I_h": lambda: icosahedral(True),
    "Q8 × C3": lambda: product(ABSTRACT["Q8"], ej.Cyclic(3)),
    "C4 × D3": lambda: product(ej.Cyclic(4), ej.Dihedral(3)),
    "Q8 × S3": lambda: product(ABSTRACT["Q8"], ABSTRACT["S3"]),
    "S4 × C5": lambda: product(ABSTRACT["S4"], ej.Cyclic(5)),
    "S5 × C2": lambda: product(symmetric(5), ej.Cyclic(2)),
    "D15 × D4": lambda: product(ej.Dihedral(15), ej.Dihedral(4)),
}
SMALL = [name for name in MAKERS if name not in ("C31", "S5", "I", "I_h", "A5", "S4 × C5", "S5 × C2", "D15 × D4")]


@functools.cache
def group_named(name):
    """Makes a group once for each test process."""
    return MAKERS[name]()
