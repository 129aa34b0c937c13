"""Which motions of one grid are motions of another: the arithmetic behind ``exactness``."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions._grid import GridAction
from equijax.groups import PointGroup
from equijax.groups._group import Element
from equijax.groups._space import join_element


@dataclasses.dataclass(frozen=True)
class Motions:
    """The elements of a group that map two grids to themselves.

    Attributes:
      steps: for each axis, the step of the shifts that both grids allow, in pixels; None where no shift is allowed.
      elements: number of each point element that is kept → its translation, int ``(d,)``.
      lost: number of each point element that is lost → the reason.
    """

    steps: tuple[int | None, ...]
    elements: dict[int, tuple[int, ...]]
    lost: dict[int, str]

    def generators(self, group: object) -> list[Element]:
        """Returns group elements that generate all the kept motions."""
        units = np.eye(len(self.steps), dtype=np.int32)
        shifts = [step * unit for step, unit in zip(self.steps, units, strict=True) if step is not None]
        turns = [(np.array(t, np.int32), np.int32(h)) for h, t in self.elements.items() if h or any(t)]
        return [join_element(group, t, np.int32(0)) for t in shifts] + [join_element(group, t, h) for t, h in turns]  # pyright: ignore[reportArgumentType]

    def each(self, group: object, key: jax.Array) -> Element:
        """Returns every kept point element, with random shifts of up to 8 steps; stacked along a leading axis."""
        h = jnp.asarray(list(self.elements), jnp.int32)
        t = jnp.asarray(list(self.elements.values()), jnp.int32).reshape(len(self.elements), len(self.steps))
        shifts = jax.random.randint(key, t.shape, -8, 9, jnp.int32)
        steps = jnp.asarray([step or 0 for step in self.steps], jnp.int32)
        return join_element(group, t + shifts * jnp.broadcast_to(steps, t.shape), h)  # pyright: ignore

    def sample(self, group: object, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws kept elements: a uniform point element, and shifts of up to 8 steps; leading axes ``shape``."""
        for_point, for_shift = jax.random.split(key)
        pick = jax.random.randint(for_point, shape, 0, len(self.elements))
        moved = jax.vmap(lambda key: self.each(group, key))(jax.random.split(for_shift, math.prod(shape)))
        rows = jnp.arange(math.prod(shape)), pick.reshape(-1)
        return jax.tree.map(lambda leaf: leaf[rows].reshape(*shape, *leaf.shape[2:]), moved)


def common_motions(
    first: GridAction, first_sizes: tuple[int, ...], second: GridAction, second_sizes: tuple[int, ...]
) -> Motions:
    """Finds the elements that map both grids to themselves, by index arithmetic in doubled integers.

    On a torus the element (t, h) keeps the samples ``P + S·y`` if ``t ≡ (1 − h)(P − c)`` modulo S, and a grid that does
    not cover the torus evenly only if it turns it about the grid's own centre. With zeros outside, only elements
    ``(0, h)`` count, and h must turn both arrays about one point.

    Args:
      first: the action on the finer grid, or on the coarser one: the order does not matter.
      first_sizes: its sizes.
      second: the other action, of the same group.
      second_sizes: its sizes.
    """
    point_group = first.point_group
    matrices = (
        point_group.integer_matrices if isinstance(point_group, PointGroup) else np.eye(first.ndim, dtype=np.int32)[None]
    )
    grids = ((first, first_sizes), (second, second_sizes))
    wraps = first.boundary == second.boundary == "wrap"
    steps = _steps(grids) if wraps else (None,) * first.ndim
    elements: dict[int, tuple[int, ...]] = {}
    lost: dict[int, str] = {}
    for h, matrix in enumerate(matrices):
        if h == 0:
            elements[h] = (0,) * first.ndim
            continue
        reason = _unequal(matrix, grids)
        if not reason:
            found = _turn_of_torus(matrix, grids) if wraps else _turn_of_arrays(matrix, grids)
            if isinstance(found, str):
                reason = found
            else:
                elements[h] = found
        if reason:
            lost[h] = reason
    return Motions(steps, elements, lost)


_Grids = tuple[tuple[GridAction, tuple[int, ...]], ...]


def _covers(action: GridAction, sizes: tuple[int, ...], period: tuple[int, ...]) -> np.ndarray:
    return np.array([s * n == total for s, n, total in zip(action.spacing, sizes, period, strict=True)])


def _steps(grids: _Grids) -> tuple[int | None, ...]:
    period = grids[0][0].period(grids[0][1])
    even = np.all([_covers(action, sizes, period) for action, sizes in grids], axis=0)
    return tuple(math.lcm(*(action.spacing[k] for action, _ in grids)) if even[k] else None for k in range(len(period)))


def _unequal(matrix: np.ndarray, grids: _Grids) -> str:
    for action, sizes in grids:
        for i, j in np.argwhere(matrix):
            if (sizes[i], action.spacing[i]) != (sizes[j], action.spacing[j]):
                return f"it exchanges axes {min(i, j)} and {max(i, j)}, whose sizes differ ({sizes[i]} and {sizes[j]})"
    return ""


def _turn_of_torus(matrix: np.ndarray, grids: _Grids) -> tuple[int, ...] | str:
    action, sizes = grids[0]
    period = np.array(action.period(sizes))
    centre = np.array(action.doubled_centre(sizes))
    signed = np.array_equal(np.abs(matrix).sum(0), np.ones(len(period))) and np.abs(matrix).max() == 1
    moved = np.eye(len(period), dtype=int) - matrix
    residues, moduli = [], []
    for action, sizes in grids:
        even = _covers(action, sizes, tuple(period))
        if not signed and not even.all():
            return "a stride that does not divide the size keeps no rotation of a hexagonal lattice"
        origin = np.rint(2 * np.array(action.origin)).astype(int)
        spacing = np.array(action.spacing)
        about = np.where(even, origin, origin + spacing * (np.array(sizes) - 1))
        doubled = moved @ (about - centre)
        if (doubled % 2).any():
            return "the samples lie half a pixel off every point about which it could turn them"
        residues.append(doubled // 2)
        moduli.append(np.where(even, spacing, period))
    (a, b), (m, n) = residues, moduli
    if ((a - b) % np.gcd(m, n)).any():
        return "the samples of the two grids turn about different points"
    return tuple(_solve(*axis) for axis in zip(a.tolist(), m.tolist(), b.tolist(), n.tolist(), strict=True))


def _solve(a: int, m: int, b: int, n: int) -> int:
    """Returns the smallest t ≥ 0 with t ≡ a (mod m) and t ≡ b (mod n)."""
    return next(t for t in range(a % m, math.lcm(m, n), m) if (t - b) % n == 0)


def _turn_of_arrays(matrix: np.ndarray, grids: _Grids) -> tuple[int, ...] | str:
    if not (np.abs(matrix).sum(0) == 1).all():
        return "an array with a border (a rhombus of the hexagonal lattice) is not mapped to itself"
    first, second = (np.array(action.doubled_centre(sizes)) for action, sizes in grids)
    moved = (np.eye(len(matrix), dtype=int) - matrix) @ (first - second)
    if moved.any():
        axis = int(np.flatnonzero(moved)[0])
        gap = (second - first)[axis] / 2
        return f"the output is centred {abs(gap):g} pixels {'after' if gap > 0 else 'before'} the input along axis {axis}"
    return (0,) * len(matrix)
