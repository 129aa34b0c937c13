"""Which motions of one grid are motions of another: the arithmetic behind ``exactness``."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions._grid import GridAction, turned
from equijax.groups._group import Element

Grid = tuple[GridAction, tuple[int, ...]]
Grids = tuple[Grid, ...]


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

    def generators(self, group: Any) -> list[Element]:
        """Returns group elements that generate all the kept motions."""
        units = np.eye(len(self.steps), dtype=np.int32)
        shifts = [step * unit for step, unit in zip(self.steps, units, strict=True) if step is not None]
        turns = [(np.array(t, np.int32), np.int32(h)) for h, t in self.elements.items() if h or any(t)]
        return [group.from_lattice(t, np.int32(0)) for t in shifts] + [group.from_lattice(t, h) for t, h in turns]

    def each(self, group: Any, key: jax.Array) -> Element:
        """Returns every kept point element, with random shifts of up to 8 steps; stacked along a leading axis."""
        h = jnp.asarray(list(self.elements), jnp.int32)
        t = jnp.asarray(list(self.elements.values()), jnp.int32).reshape(len(self.elements), len(self.steps))
        shifts = jax.random.randint(key, t.shape, -8, 9, jnp.int32)
        steps = jnp.asarray([step or 0 for step in self.steps], jnp.int32)
        return group.from_lattice(t + shifts * jnp.broadcast_to(steps, t.shape), h)

    def sample(self, group: Any, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws kept elements: a uniform point element, and shifts of up to 8 steps; leading axes ``shape``."""
        for_point, for_shift = jax.random.split(key)
        pick = jax.random.randint(for_point, shape, 0, len(self.elements))
        moved = jax.vmap(lambda key: self.each(group, key))(jax.random.split(for_shift, math.prod(shape)))
        rows = jnp.arange(math.prod(shape)), pick.reshape(-1)
        return jax.tree.map(lambda leaf: leaf[rows].reshape(*shape, *leaf.shape[2:]), moved)


def common_motions(*grids: Grid) -> Motions:
    """Finds the elements that map all grids to themselves, by index arithmetic in doubled integers.

    On a torus the element (t, h) keeps the samples ``P + S·y`` if ``t ≡ (1 − h)(P − c)`` modulo S, and a grid that does
    not cover the torus evenly only if it turns it about the grid's own centre. Where a grid has zeros outside, only
    elements ``(0, h)`` count, and h must turn that array about the centre of the first.

    Args:
      *grids: pairs of an action and the sizes of its grid; all actions of one group.
    """
    first = grids[0][0]
    wraps = all(action.boundary == "wrap" for action, _ in grids)
    steps = _steps(grids) if wraps else (None,) * first.ndim
    elements: dict[int, tuple[int, ...]] = {0: (0,) * first.ndim}
    lost: dict[int, str] = {}
    for h, matrix in enumerate(first.lattice_group.integer_matrices):
        if h == 0:
            continue
        found = _unequal(matrix, grids) or (_turn_of_torus if wraps else _turn_of_arrays)(matrix, grids)
        if isinstance(found, str):
            lost[h] = found
        else:
            elements[h] = found
    return Motions(steps, elements, lost)


def _covers(action: GridAction, sizes: tuple[int, ...], period: tuple[int, ...]) -> np.ndarray:
    return np.array([s * n == total for s, n, total in zip(action.spacing, sizes, period, strict=True)])


def _steps(grids: Grids) -> tuple[int | None, ...]:
    period = grids[0][0].period(grids[0][1])
    even = np.all([_covers(action, sizes, period) for action, sizes in grids], axis=0)
    return tuple(math.lcm(*(action.spacing[k] for action, _ in grids)) if even[k] else None for k in range(len(period)))


def _unequal(matrix: np.ndarray, grids: Grids) -> str:
    for action, sizes in grids:
        for i, j in np.argwhere(matrix):
            if (sizes[i], action.spacing[i]) != (sizes[j], action.spacing[j]):
                return f"it exchanges axes {min(i, j)} and {max(i, j)}, whose sizes differ ({sizes[i]} and {sizes[j]})"
    return ""


def _turn_of_torus(matrix: np.ndarray, grids: Grids) -> tuple[int, ...] | str:
    t, modulus = [0] * len(matrix), [1] * len(matrix)
    for residue in _residues(matrix, grids):
        if isinstance(residue, str):
            return residue
        for k, (a, m) in enumerate(zip(*residue, strict=True)):
            common = _solve(t[k], modulus[k], a, m)
            if common is None:
                return "the samples of two grids turn about different points"
            t[k], modulus[k] = common, math.lcm(modulus[k], m)
    return tuple(t)


def _residues(matrix: np.ndarray, grids: Grids) -> Iterator[tuple[list[int], list[int]] | str]:
    """For each grid of a torus, the translations with which the matrix maps it to itself: residues and moduli."""
    action, sizes = grids[0]
    period = np.array(action.period(sizes))
    centre = np.array(action.doubled_centre(sizes))
    signed = bool((np.abs(matrix).sum(0) == 1).all())
    for action, sizes in grids:
        if action.boundary == "zero":
            continue
        even = _covers(action, sizes, tuple(period))
        if not signed and not even.all():
            yield "a stride that does not divide the size keeps no rotation of a hexagonal lattice"
            return
        origin = np.rint(2 * np.array(action.origin)).astype(int)
        spacing = np.array(action.spacing)
        about = np.where(even, origin, origin + spacing * (np.array(sizes) - 1))
        doubled = about - turned(matrix, centre, about)
        if (doubled % 2).any():
            yield "the samples lie half a pixel off every point about which it could turn them"
            return
        modulus = np.where(even, spacing, period)
        yield (doubled // 2 % modulus).tolist(), modulus.tolist()


def _solve(a: int, m: int, b: int, n: int) -> int | None:
    """Returns the smallest t ≥ 0 with t ≡ a (mod m) and t ≡ b (mod n), or None."""
    return next((t for t in range(a % m, math.lcm(m, n), m) if (t - b) % n == 0), None)


def _turn_of_arrays(matrix: np.ndarray, grids: Grids) -> tuple[int, ...] | str:
    if not (np.abs(matrix).sum(0) == 1).all():
        return "an array with a border (a rhombus of the hexagonal lattice) is not mapped to itself"
    for residue in _residues(matrix, grids):
        if isinstance(residue, str) or any(residue[0]):
            return "on the torus it needs a shift, which the border forbids"
    centre = np.array(grids[0][0].doubled_centre(grids[0][1]))
    for action, sizes in grids:
        if action.boundary == "zero":
            own = np.array(action.doubled_centre(sizes))
            off = np.flatnonzero(own - turned(matrix, centre, own))
            if len(off):
                gap = (own - centre)[off[0]]
                side = "after" if gap > 0 else "before"
                return f"the output is centred {abs(gap) / 2:g} pixels {side} the input along axis {off[0]}"
    return (0,) * len(matrix)
