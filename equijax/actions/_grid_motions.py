"""Motions of a grid, as a value: what is kept of translations and a point group."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions._kept import Kept, point_order
from equijax.actions._motions import Motions
from equijax.groups._group import Element, Group

if TYPE_CHECKING:
    from equijax.actions._motions import Grid


@dataclasses.dataclass(frozen=True)
class GridMotions(Kept):
    """Motions of a grid: some elements of the point group, each with a translation, and shifts by multiples of a step.

    Attributes:
      group: a ``Translation``, ``SpaceGroup`` or ``Motions``.
      moves: pairs of the number of a point element and its translation.
      steps: for each axis the step of the shifts, in pixels; None where no shift is kept.
      period: size of the torus in pixels; None for an array with borders.
      pivot: twice the point about which the group's own turns go, in pixels.
      about: a point about which the moves turn the grid, up to kept shifts, in pixels; None where there is none.
      frame: origin and spacing of the samples of the input, in pixels.
      lost: for the point elements that are lost, the number and the reason.
    """

    group: Group
    moves: tuple[tuple[int, tuple[int, ...]], ...]
    steps: tuple[int | None, ...]
    period: tuple[int, ...] | None
    pivot: tuple[int, ...]
    about: tuple[float, ...] | None
    frame: tuple[tuple[float, ...], tuple[int, ...]]
    lost: tuple[tuple[int, str], ...] = dataclasses.field(default=(), compare=False)

    @property
    def is_everything(self) -> bool:
        """True where all point elements are kept, and every shift; never of a group that has more than the lattice part."""
        return self.group.lattice_part == self.group and self.keeps_point_group and all(step == 1 for step in self.steps)

    @property
    def keeps_point_group(self) -> bool:
        """True where every element of the point group is kept (perhaps together with a shift)."""
        return len(self.moves) == point_order(self.group)

    @property
    def point_elements(self) -> tuple[int, ...]:
        """Numbers of the kept point elements."""
        return tuple(h for h, _ in self.moves)

    @property
    def translations(self) -> tuple[tuple[int, ...], ...]:
        """The translation of each."""
        return tuple(t for _, t in self.moves)

    @property
    def shift_step(self) -> tuple[int | None, ...]:
        """The steps."""
        return self.steps

    @property
    def centre(self) -> tuple[float, ...] | None:
        """The point ``about``, in samples of the input."""
        if self.about is None:
            return None
        return tuple((p - o) / s for p, o, s in zip(self.about, *self.frame, strict=True))

    @property
    def reason(self) -> str:
        """Why the first lost point element is lost; empty where none is."""
        return f"Point element {self.lost[0][0]} is lost: {self.lost[0][1]}." if self.lost else ""

    def generators(self) -> list[Element]:
        """Returns the shifts by one step, and the moves."""
        return self._motions().generators(self.group)

    def elements(self) -> Element:
        """Returns every kept point element with its translation, stacked along a leading axis."""
        t = jnp.asarray(self.translations, jnp.int32).reshape(len(self.moves), len(self.steps))
        return self.group.from_lattice(t, jnp.asarray(self.point_elements, jnp.int32))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws kept elements uniformly over point elements, and shifts of up to 8 steps; leading axes ``shape``."""
        return self._motions().sample(self.group, key, shape)

    def _motions(self) -> Motions:
        return Motions(self.steps, dict(self.moves), {})

    def __str__(self) -> str:
        about = "" if self.centre is None else f" about {self.centre} of the input"
        return f"{len(self.moves)} of {point_order(self.group)} point elements{about}{_shift_sentence(self.steps)}"


def motions_kept(before: "Grid", motions: Motions, *others: "Grid") -> GridMotions:
    """Puts motions of an input grid together with a point about which they turn it.

    Args:
      before: the grid of the input.
      motions: what is kept.
      *others: grids whose first samples and centres are tried, the coarsest one first.
    """
    action, sizes = before
    pivot = action.doubled_centre(sizes)
    kept = GridMotions(
        group=action.group,
        moves=tuple(motions.elements.items()),
        steps=motions.steps,
        period=action.period(sizes) if action.boundary == "wrap" else None,
        pivot=pivot,
        about=None,
        frame=(action.origin, action.spacing),
        lost=tuple(motions.lost.items()),
    )
    points: list[Sequence[float]] = [tuple(c / 2 for c in pivot)]
    for grid, lengths in (*others, before):
        points.append(grid.origin)
        points.append(tuple(p + s * (n - 1) / 2 for p, s, n in zip(grid.origin, grid.spacing, lengths, strict=True)))
    return _turning(kept, points)


def mapping_boxes(kept: GridMotions, why: str) -> GridMotions:
    """Returns the motions that map boxes of pixels to boxes: those of signed permutation matrices.

    Args:
      kept: motions of a grid.
      why: the reason that is given for the others.
    """
    matrices = kept.group.lattice_part.point_group.integer_matrices  # type: ignore[attr-defined]
    bent = {h for h in kept.point_elements if (np.abs(matrices[h]).sum(0) != 1).any()}
    moves = tuple((h, t) for h, t in kept.moves if h not in bent)
    return dataclasses.replace(kept, moves=moves, lost=(*kept.lost, *((h, why) for h in sorted(bent))))


def common(a: GridMotions, b: GridMotions) -> GridMotions:
    """The motions that both hold: congruences, solved along every axis."""
    theirs = dict(b.moves)
    moves = []
    for h, t in a.moves:
        if h in theirs:
            along = [_solve(x, m, y, n) for x, m, y, n in zip(t, _moduli(a), theirs[h], _moduli(b), strict=True)]
            if None not in along:
                moves.append((h, tuple(along)))
    lost = {**dict(b.lost), **dict(a.lost)}
    for h in {*dict(a.moves), *theirs} - {h for h, _ in moves}:
        lost.setdefault(h, "the samples of two grids turn about different points")
    kept = dataclasses.replace(
        a,
        moves=tuple(moves),
        steps=tuple(None if m is None or n is None else math.lcm(m, n) for m, n in zip(a.steps, b.steps, strict=True)),
        period=None if b.period is None else a.period,
        lost=tuple(sorted(lost.items())),
    )
    return _turning(kept, [point for point in (a.about, b.about) if point is not None])


def _moduli(kept: GridMotions) -> tuple[int, ...]:
    """Modulo what a translation counts along each axis: the step, else the period; 0 where it counts as it is."""
    period = kept.period or (0,) * len(kept.steps)
    return tuple(step or length for step, length in zip(kept.steps, period, strict=True))


def _solve(a: int, m: int, b: int, n: int) -> int | None:
    """Returns the smallest t ≥ 0 that is a modulo m and b modulo n, or None; a modulus of 0 means equal."""
    if not m or not n:
        t, rest, modulus = (a, b, n) if not m else (b, a, m)
        return t if (t - rest if not modulus else (t - rest) % modulus) == 0 else None
    return next((t for t in range(a % m, math.lcm(m, n), m) if (t - b) % n == 0), None)


def _turning(kept: GridMotions, points: Sequence[Sequence[float]]) -> GridMotions:
    """Returns the same motions with the first of the points about which they all turn the grid."""
    found = next((tuple(map(float, point)) for point in points if _turns_about(kept, point)), None)
    return dataclasses.replace(kept, about=found)


def _turns_about(kept: GridMotions, point: Sequence[float]) -> bool:
    matrices = kept.group.lattice_part.point_group.integer_matrices  # type: ignore[attr-defined]
    doubled = np.rint(2 * np.array(point)) - np.array(kept.pivot)
    for h, t in kept.moves:
        gap = (np.eye(len(t), dtype=int) - matrices[h]) @ doubled - 2 * np.array(t)
        if any(gap[k] % (2 * m) if m else gap[k] for k, m in enumerate(_moduli(kept))):
            return False
    return True


def _shift_sentence(steps: tuple[int | None, ...]) -> str:
    if not steps:
        return ""
    if all(step is None for step in steps):
        return ", no shifts"
    return f", shifts by multiples of {tuple('none' if step is None else step for step in steps)}"
