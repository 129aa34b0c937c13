"""The groups that the tests run over, by name, and small helpers that know nothing of equijax."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import equijax as ej
from equijax.groups import WALLPAPER_NAMES

R = [[0, -1], [1, 0]]
GOLDEN = (1 + 5**0.5) / 2


def _quaternions() -> np.ndarray:
    """Table of Q8 in the order 1, i, j, k, −1, −i, −j, −k, multiplied by Hamilton's rules."""
    units = np.eye(4)
    elements = np.concatenate([units, -units])

    def product(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        scalar = p[0] * q[0] - p[1:] @ q[1:]
        return np.array([scalar, *(p[0] * q[1:] + q[0] * p[1:] + np.cross(p[1:], q[1:]))])

    return np.array([[int(np.argmin(np.abs(elements - product(p, q)).max(1))) for q in elements] for p in elements])


def _icosahedral() -> ej.PointGroup:
    five = 0.5 * np.array([[1, -GOLDEN, GOLDEN - 1], [GOLDEN, GOLDEN - 1, -1], [GOLDEN - 1, 1, GOLDEN]])
    return ej.PointGroup.from_matrices([np.diag([-1.0, -1.0, 1.0]), [[0, 0, 1], [1, 0, 0], [0, 1, 0]], five])


@dataclasses.dataclass(frozen=True)
class Flips(ej.SemidirectProduct):
    """A user's semidirect product: a cycle of n points and its reversal, which is Dihedral(n)."""

    n: int = 5
    quotient = ej.Cyclic(2)

    @property
    def normal(self) -> ej.Translation:  # type: ignore[override]
        return ej.Translation(1, period=self.n)

    def automorphism(self, h: Any, n: Any) -> jax.Array:
        sign = jnp.asarray(1, jnp.int32) - 2 * jnp.asarray(h, jnp.int32)[..., None]
        sign, n = jnp.broadcast_arrays(sign, jnp.asarray(n, jnp.int32))
        return self.normal.reduce(sign * n)


@dataclasses.dataclass(frozen=True)
class Wreath(ej.SemidirectProduct):
    """S_m wr S_k with a tuple-free normal subgroup: k permutations of m points, exchanged by S_k."""

    quotient = ej.Permutation(3)

    @property
    def normal(self) -> ej.DirectProduct:  # type: ignore[override]
        return ej.DirectProduct(*(ej.Cyclic(2),) * 3)

    def automorphism(self, h: Any, n: Any) -> tuple:
        back = self.quotient.inverse(h)
        stacked = jnp.stack(jnp.broadcast_arrays(*map(jnp.asarray, n)), -1)
        shape = jnp.broadcast_shapes(stacked.shape, back.shape)
        moved = jnp.take_along_axis(jnp.broadcast_to(stacked, shape), jnp.broadcast_to(back, shape), -1)
        return tuple(moved[..., i] for i in range(3))


POINT = {
    **{f"Trivial({d})": ej.Trivial(d) for d in (1, 2, 3)},
    **{f"Cyclic({n})": ej.Cyclic(n) for n in (1, 2, 3, 4, 6, 7)},
    **{f"Dihedral({n})": ej.Dihedral(n) for n in (1, 2, 3, 4, 5, 6)},
    "Reflection(1)": ej.Reflection(1),
    "Reflection(2, 1)": ej.Reflection(2, 1),
    "Reflection(3, -1)": ej.Reflection(3, -1),
    "Octahedral()": ej.Octahedral(),
    "Octahedral(True)": ej.Octahedral(True),
    "hexagonal C6": ej.Cyclic(6).in_basis(ej.HEXAGONAL),
    "hexagonal D6": ej.Dihedral(6).in_basis(ej.HEXAGONAL),
    "icosahedral": _icosahedral(),
}
ABSTRACT = {
    "S3": ej.FiniteGroup.from_permutations([[1, 2, 0], [1, 0, 2]]),
    "S4": ej.FiniteGroup.from_permutations([[1, 2, 3, 0], [1, 0, 2, 3]]),
    "A4": ej.FiniteGroup.from_permutations([[1, 2, 0, 3], [1, 0, 3, 2]]),
    "A5": ej.FiniteGroup.from_permutations([[1, 2, 3, 4, 0], [1, 2, 0, 3, 4]]),
    "Q8": ej.FiniteGroup.from_table(_quaternions()),
    "one": ej.FiniteGroup.from_permutations([[0]]),
    "Z6 table": ej.FiniteGroup.from_table(np.add.outer(np.arange(6), np.arange(6)) % 6),
}
FINITE = {**POINT, **ABSTRACT}
SMALL = {name: group for name, group in FINITE.items() if group.order <= 12}
WALLPAPER = {name: ej.wallpaper(name) for name in WALLPAPER_NAMES}
INFINITE = {
    "Translation(1)": ej.Translation(1),
    "Translation(3)": ej.Translation(3),
    **WALLPAPER,
    "SpaceGroup(Octahedral(True))": ej.SpaceGroup(ej.Octahedral(True)),
    "Translation × D4": ej.DirectProduct(ej.Translation(2), ej.Dihedral(4)),
}
STRUCTURED = {
    "Translation(2, (3, 5))": ej.Translation(2, (3, 5)),
    "Translation(1, 1)": ej.Translation(1, 1),
    "Permutation(1)": ej.Permutation(1),
    "Permutation(2)": ej.Permutation(2),
    "Permutation(5)": ej.Permutation(5),
    "p4m on a torus": ej.wallpaper("p4m", 4),
    "p6 on a torus": ej.wallpaper("p6", (6, 6)),
    "pm on a rectangle": ej.wallpaper("pm", (3, 4)),
    "C4 × S3": ej.DirectProduct(ej.Cyclic(4), ej.Permutation(3)),
    "C2 × (p4 × T)": ej.DirectProduct(ej.Cyclic(2), ej.DirectProduct(ej.wallpaper("p4", 3), ej.Translation(1, 2))),
    "Flips(5)": Flips(5),
    "Wreath()": Wreath(),
}
ALL = {**FINITE, **INFINITE, **STRUCTURED}


def parametrize(groups: dict[str, ej.Group]) -> dict[str, Any]:
    """Arguments of ``pytest.mark.parametrize`` for a table of groups."""
    return {"argvalues": list(groups.values()), "ids": list(groups)}


def leaves(element: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(element)]


def same(a: Any, b: Any) -> bool:
    """Equality of elements, leaf by leaf, without the group's own ``isclose``."""
    return all(np.array_equal(x, y) for x, y in zip(leaves(a), leaves(b), strict=True))


def pick(elements: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], elements)


def is_group_table(table: np.ndarray) -> bool:
    """Checks the axioms on a multiplication table, exhaustively."""
    n = len(table)
    associative = np.array_equal(table[table], table[:, table])
    latin = (np.sort(table, 0).T == np.arange(n)).all() and (np.sort(table, 1) == np.arange(n)).all()
    unit = np.array_equal(table[0], np.arange(n)) and np.array_equal(table[:, 0], np.arange(n))
    return bool(associative and latin and unit)


def brute_orbits(permutations: np.ndarray) -> np.ndarray:
    """Orbits of points under *all* elements ``(order, points)``, numbered by first appearance, by plain loops."""
    number: dict[int, int] = {}
    labels = []
    for point in range(permutations.shape[1]):
        smallest = int(permutations[:, point].min())
        labels.append(number.setdefault(smallest, len(number)))
    return np.array(labels)


def permutation_matrix(images: np.ndarray) -> np.ndarray:
    matrix = np.zeros((len(images), len(images)))
    matrix[images, np.arange(len(images))] = 1
    return matrix


def all_permutations(n: int) -> np.ndarray:
    return np.array(list(itertools.permutations(range(n))), np.int32)
