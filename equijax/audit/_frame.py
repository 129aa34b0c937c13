"""What the elements of an audit do to arrays with a given layout: tables of indices, computed once in numpy."""

import copy as copying
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions import Action
from equijax.actions._grid import turned
from equijax.audit._actions import permutations_of
from equijax.audit._atoms import Base, Fibre, Joined, Numbers
from equijax.audit._elements import label_of
from equijax.audit._graph_places import GraphPlaces
from equijax.audit._layout import Layout
from equijax.groups import Group
from equijax.groups._group import Element
from equijax.reps import Representation

#: The smallest part of an array that has to have a known image for an element to count as acting on it.
LEAST_COVER = 0.25


#: Distances of samples along every axis, and the place of the first one.
Lattice = tuple[tuple[Fraction, ...], tuple[Fraction, ...]]


class Moves(NamedTuple):
    """What one element does to the samples of one copy of the base.

    Attributes:
      source: flat number of the sample that moves to each place, int ``(samples,)``.
      inside: whether that sample lies in the array, bool ``(samples,)``.
      acts: whether the element maps the lattice of the samples to itself.
    """

    source: np.ndarray
    inside: np.ndarray
    acts: bool


class Frame:
    """The elements of an audit, and the space on which they act.

    Args:
      action: the action on the input.
      elements: group elements stacked along a leading axis.
      grid: the grid of the input, an action and the sizes of its axes; None where there is none.
      places: the nodes, edges and graphs of the input, where it is a graph.
    """

    def __init__(self, action: Action, elements: Element, grid: Any = None, places: GraphPlaces | None = None):
        self.action, self.grid = action, grid
        self.group: Group = action.group
        self.elements = jax.tree.map(np.asarray, elements)
        self.count = len(jax.tree.leaves(self.elements)[0])
        self.period: tuple[int, ...] | None = None
        self.is_grid = self.group.grid_ndim > 0
        self.places = places
        self.permutations = permutations_of(action, self.elements, places)
        self.wraps = grid is not None and grid[0].boundary == "wrap"
        self._moves = functools.cache(self._base_moves)
        self._fibres = functools.cache(self._elements_on)
        if self.is_grid:
            self.shift, self.point = (np.asarray(part) for part in self.group.split(self.elements))
            group: Any = self.group.point_group
            self.matrices = np.asarray(group.integer_matrices)
            self.inverse = self.matrices[np.asarray(group.inverses)]
            doubled = (0,) * group.ndim if grid is None else grid[0].doubled_centre(grid[1])
            self.centre = tuple(Fraction(c, 2) for c in doubled)
            if grid is not None and self.wraps:
                self.period = grid[0].period(grid[1])

    def with_elements(self, elements: Element) -> "Frame":
        """Returns other elements on the same space."""
        return Frame(self.action, elements, self.grid, self.places)

    def element(self, e: int) -> Element:
        """Returns one element."""
        return jax.tree.map(lambda leaf: leaf[e], self.elements)

    def is_shift(self, e: int) -> bool:
        """Tells whether the element turns nothing."""
        return self.is_grid and not self.point[e]

    def label(self, e: int) -> str:
        """Returns a name of the element."""
        if not self.is_grid:
            return label_of(self.action, self.element(e))
        shift = f"shift {tuple(self.shift[e].tolist())}"
        if self.is_shift(e):
            return shift
        matrix = self.matrices[self.point[e]]
        order = next(n for n in range(1, 49) if (np.linalg.matrix_power(matrix, n) == np.eye(len(matrix), dtype=int)).all())
        turn = {2: "half turn", 3: "turn of order 3", 4: "quarter turn"}.get(order, f"turn of order {order}")
        kind = turn if np.linalg.det(matrix) > 0 else ("reflection" if order == 2 else f"rotoreflection of order {order}")
        name = f"{kind} {int(self.point[e])}"
        return f"{name}, {shift}" if self.shift[e].any() else name

    def acts(self, e: int, layout: Layout | None) -> bool:
        """Tells whether the element has an action on arrays of this layout."""
        return layout is not None and _remembered(layout, (self, "acts", e), lambda: self._acts(e, layout))

    def _acts(self, e: int, layout: Layout) -> bool:
        if layout.chosen:
            return True
        if layout.custom is not None:
            return layout.custom.acts(self.element(e), layout.shape)
        fibres = all(self._fibres(a.fibre)[e] is not None for a in layout.atoms if isinstance(a, Fibre))
        return fibres and all(self._moves(pieces, e).acts for pieces in layout.copies)

    def bordered(self) -> "Frame":
        """Returns the same elements on arrays with borders, about the same centre."""
        other = copying.copy(self)
        other.period = None
        other._moves = functools.cache(other._base_moves)
        return other

    def maps(self, e: int, layout: Layout) -> bool:
        """Tells whether the element acts on such arrays, and no sample leaves them."""
        return self.acts(e, layout) and self.covers(e, layout)

    def fits(self, layout: Layout) -> bool:
        """Tells whether no place of the torus is held twice (as in an array that was padded)."""
        if self.period is None:
            return True
        for pieces in layout.copies:
            for axis in () if _is_local(pieces) else pieces:
                unit = math.lcm(*(x.denominator for p in axis for x in (p.spacing, p.origin)))
                places = _positions(axis, unit) % (self.period[axis[0].axis] * unit)
                if len(np.unique(places)) < len(places):
                    return False
        return True

    def covers(self, e: int, layout: Layout) -> bool:
        """Tells whether every sample of such an array has its image in it."""
        return layout.custom is not None or all(bool(self._moves(p, e).inside.all()) for p in layout.copies)

    def move(
        self, e: int, value: Any, layout: Layout, further: tuple[int, ...] = ()
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Moves an array, and by a further shift behind that, where one is given.

        Returns:
          ``g · value``, and bool of the same shape: where it is known; None stands for everywhere.
        """
        if layout.chosen:
            return np.asarray(value), np.zeros(np.shape(value), bool)
        if layout.custom is not None:
            return np.asarray(layout.custom(self.element(e), value)), None
        moved, known = self._through(np.asarray(value), layout, e, lambda pieces: self._moves(pieces, e, further))
        return (moved if layout.numbers is None else self._renumbered(e, moved, layout.numbers)), known

    def _renumbered(self, e: int, value: np.ndarray, numbers: Numbers) -> np.ndarray:
        """Returns the new numbers of samples; what numbers none (an index out of range) stays."""
        images = self.permutations[numbers.base.axis][e]
        own = value - numbers.offset
        inside = (own >= 0) & (own < len(images))
        return np.where(inside, images[np.where(inside, own, 0)] + numbers.offset, value).astype(value.dtype)

    def _through(self, value: np.ndarray, layout: Layout, e: int | None, moves: Any) -> tuple[np.ndarray, np.ndarray | None]:
        if any(isinstance(a, Joined) for a in layout.atoms):
            return self._in_blocks(value, layout, e, moves)
        atoms = layout.atoms
        shape = tuple(a.size for a in atoms)
        result = value.reshape(shape)
        known: np.ndarray | None = None
        for pieces in layout.copies:
            places = [atoms.index(piece) for axis in pieces for piece in axis]
            source, inside, _ = moves(pieces)
            front = np.moveaxis(result, places, range(len(places)))
            moved = front.reshape(len(source), -1)[source].reshape(front.shape)
            result = np.moveaxis(moved, range(len(places)), places)
            if not inside.all():
                mask = inside.reshape([shape[k] for k in places] + [1] * (len(shape) - len(places)))
                mask = np.broadcast_to(np.moveaxis(mask, range(len(places)), places), shape)
                known = mask if known is None else known & mask
        for k, atom in enumerate(atoms):
            if isinstance(atom, Fibre) and e is not None:
                result = _on_fibre(atom.fibre, self._fibres(atom.fibre)[e], result, k)
        return result.reshape(value.shape), None if known is None else known.reshape(value.shape)

    def _in_blocks(
        self, value: np.ndarray, layout: Layout, e: int | None, moves: Any
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Moves every part of an array with joined axes in its own way."""
        parts = value.reshape([a.size for a in layout.atoms])
        result, known = np.empty_like(parts), np.ones(parts.shape, bool)
        for place, block in layout.blocks:
            part = parts[place].reshape(block.shape)
            moved, mask = self._through(part, block, e, moves)
            result[place] = moved.reshape(parts[place].shape)
            known[place] = True if mask is None else mask.reshape(parts[place].shape)
        return result.reshape(value.shape), None if known.all() else known.reshape(value.shape)

    def rolled(self, shift: Mapping[int, Any], value: Any, layout: Layout) -> np.ndarray:
        """Moves an array by ``shift`` pixels along each axis, and lets what leaves at one side come in at the other."""

        def cyclic(pieces: tuple[tuple[Base, ...], ...]) -> Moves:
            sizes = [math.prod(p.size for p in axis) for axis in pieces]
            index = np.stack(np.unravel_index(np.arange(math.prod(sizes)), sizes))
            step = [int(shift[axis[0].axis] / min(abs(p.spacing) for p in axis)) for axis in pieces]
            index = (index - np.array(step)[:, None]) % np.array(sizes)[:, None]
            source = np.asarray(np.ravel_multi_index(tuple(index), sizes))
            return Moves(source, np.ones(math.prod(sizes), bool), True)

        return self._through(np.asarray(value), layout, None, cyclic)[0]

    def _elements_on(self, fibre: Representation) -> list[Element | None]:
        """Returns the elements by which a fibre is moved; None for those that do not act on it."""
        if fibre.group == self.group:
            return [self.element(e) for e in range(self.count)]
        points = [self.group.split(self.element(e))[1] for e in range(self.count)]
        if fibre.group == self.group.point_group:
            return points
        return [embedded(self.group.point_group, h, fibre.group) for h in points]

    def lattice(self, layout: Layout) -> Lattice:
        """Returns how far the samples of an array are apart along each axis of the grid, and where the first one lies."""
        return _remembered(layout, (self, "lattice"), lambda: self._lattice(layout))

    def _lattice(self, layout: Layout) -> Lattice:
        d = len(self.centre)
        spacing, origin = [Fraction(1)] * d, [Fraction(0)] * d
        for pieces in [copy for copy in layout.copies if not _is_local(copy)][:1]:
            for axis in pieces:
                spacing[axis[0].axis] = min(abs(a.spacing) for a in axis)
                origin[axis[0].axis] = sum((a.origin for a in axis), Fraction(0))
        return tuple(spacing), tuple(origin)

    def beyond(self, e: int, layout: Layout) -> tuple[tuple[int, ...], ...]:
        """Returns the further shifts, each shorter than the samples are apart, with which an element acts on an array.

        An element that moves the samples of a coarse lattice between each other has no action on it. Behind it every one of
        these shifts brings them back to the lattice: to the next samples in one or the other direction along every axis.
        """
        return _remembered(layout, (self, "beyond", e), lambda: self._shifts_beyond(e, layout))

    def _shifts_beyond(self, e: int, layout: Layout) -> tuple[tuple[int, ...], ...]:
        if not self.is_grid or layout.custom is not None or not layout.base:
            return ()
        matrix, d = self.matrices[self.point[e]], len(self.centre)
        spacing, origin = self.lattice(layout)
        from_centre = [o - c for o, c in zip(origin, self.centre, strict=True)]
        image = [sum(int(m) * x for m, x in zip(row, from_centre, strict=True)) for row in matrix]
        choices = []
        for k in range(d):
            rest = image[k] + self.centre[k] + int(self.shift[e][k]) - origin[k]
            short = -rest % spacing[k]
            if short.denominator != 1 or spacing[k].denominator != 1:
                return ()
            choices.append((int(short), int(short - spacing[k])) if short else (0,))
        found = sorted(itertools.product(*choices), key=lambda t: sum(map(abs, t)))
        copies = layout.copies
        return tuple(t for t in found if all(self._moves(pieces, e, t).acts for pieces in copies))

    def _base_moves(self, pieces: tuple[tuple[Base, ...], ...], e: int, further: tuple[int, ...] = ()) -> Moves:
        sizes = [math.prod(p.size for p in axis) for axis in pieces]
        nothing = Moves(np.arange(math.prod(sizes)), np.ones(math.prod(sizes), bool), False)
        if self.permutations:
            images = [self.permutations[axis[0].axis][e] for axis in pieces]
            if any(len(axis) != 1 or axis[0].spacing != 1 for axis in pieces) or sizes != [len(p) for p in images]:
                return nothing
            sources = np.meshgrid(*(np.argsort(p) for p in images), indexing="ij")
            return Moves(np.ravel_multi_index(sources, sizes).reshape(-1), nothing.inside, True)
        if not self.is_grid:
            return nothing
        shift = self.shift[e] + np.array(further, int) if further else self.shift[e]
        return self._grid_moves(pieces, sizes, e, shift) or nothing

    def _grid_moves(self, pieces: tuple[tuple[Base, ...], ...], sizes: list[int], e: int, shift: np.ndarray) -> Moves | None:
        """Finds the source of every sample, in integers: positions are multiplied by their common denominator."""
        axes = [axis[0].axis for axis in pieces]
        back, missing = self.inverse[self.point[e]], [k for k in range(len(self.centre)) if k not in axes]
        if back[np.ix_(axes, missing)].any() or back[np.ix_(missing, axes)].any():
            return None
        unit = math.lcm(2, *(x.denominator for axis in pieces for p in axis for x in (p.spacing, p.origin)))
        positions = [_positions(axis, unit) for axis in pieces]
        local = _is_local(pieces)
        centre = np.array([0 if local else int(self.centre[k] * unit) for k in axes])
        places = np.stack([p.reshape(-1) for p in np.meshgrid(*positions, indexing="ij")], axis=1)
        source = turned(back[np.ix_(axes, axes)], centre, places if local else places - unit * shift[axes])
        index: Any = np.zeros(len(places), np.int64)
        inside = np.ones(len(places), bool)
        for row, own, size, axis in zip(source.T, positions, sizes, axes, strict=True):
            period = self.period[axis] * unit if self.period is not None and not local else None
            found = _lookup(row, own, period)
            if found is None:
                return None
            index, inside = index * size + np.maximum(found, 0), inside & (found >= 0)
        return Moves(np.asarray(index), inside, bool(inside.mean() >= LEAST_COVER)) if len(inside) else None


def _on_fibre(fibre: Representation, g: Element, value: np.ndarray, axis: int) -> np.ndarray:
    """Moves one axis of an array, as actions on fields do."""
    if fibre.is_permutation:
        return np.take(value, fibre.sources(g), axis=axis)
    return np.asarray(_acted(fibre, axis, g, value))


_acted = jax.jit(lambda fibre, axis, g, value: fibre.act(g, value, axis), static_argnums=(0, 1))


def embedded(own: Group, h: Element, theirs: Group) -> Element | None:
    """Returns the element of another group that has the matrix of ``h``; None where there is none."""
    if bool(own.isclose(h, own.identity)):
        return theirs.identity
    try:
        matrix = own.matrix(h)
        g = theirs.element(matrix)
        theirs.require_element(g)
        found = theirs.matrix(g)
    except (TypeError, ValueError):
        return None
    return g if found.shape == matrix.shape and bool(jnp.allclose(found, matrix, atol=1e-5)) else None


def _positions(axis: Sequence[Base], unit: int) -> np.ndarray:
    result = np.zeros(1, np.int64)
    for piece in axis:
        own = np.array([int(p * unit) for p in piece.positions], np.int64)
        result = (result[:, None] + own[None, :]).reshape(-1)
    return result


def _lookup(wanted: np.ndarray, own: np.ndarray, period: int | None) -> np.ndarray | None:
    """Returns the number of each wanted position, -1 where it lies outside, or None where it lies between the samples."""
    step = int(np.gcd.reduce(np.abs(np.diff(own)))) if len(own) > 1 else 0
    numbers = {int(p): i for i, p in reversed(list(enumerate(own)))}
    if period is not None:
        for i, p in enumerate(own):
            numbers.setdefault(int(p) % period, i)
        if step and period % step:
            found = np.array([numbers.get(int(w), numbers.get(int(w) % period, -1)) for w in wanted])
            return None if (found < 0).any() else found
    if step and ((wanted - own[0]) % step).any():
        return None
    if not step and period is None and (wanted != own[0]).any():
        return None
    if not step and period is not None:  # one sample stands for the whole axis
        return np.zeros(len(wanted), np.int64)
    if period is None:
        return np.array([numbers.get(int(w), -1) for w in wanted])
    return np.array([numbers.get(int(w), numbers.get(int(w) % period, -1)) for w in wanted])


def _remembered(layout: Layout, key: tuple[Any, ...], find: Callable[[], Any]) -> Any:
    """Returns what was found out about a layout before, or finds it."""
    if key not in layout.memo:
        layout.memo[key] = find()
    return layout.memo[key]


def _is_local(pieces: tuple[tuple[Base, ...], ...]) -> bool:
    """Tells whether a copy of the base is the places in a window."""
    return pieces[0][0].local
