"""What the axes of an array are to the group: the layout of an activation, and what operations make of it."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable
from typing import Any

from equijax.actions import Action
from equijax.audit._atoms import (
    Atom,
    Axes,
    Base,
    Fibre,
    Joined,
    Numbers,
    Still,
    bases,
    filled,
    leaves_alone,
    length,
    refined,
    relabelled,
    split,
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The atoms of every axis of an array.

    Attributes:
      axes: for each array axis its atoms, whose sizes multiply to the axis' length.
      custom: an action given by the user that is applied to the whole array as it is; None for the action of the atoms.
      numbers: what the values number; None where they are features, which stay as they are.
      chosen: True for a choice that is made by the data, such as the phase of a subsampling: an element does to it what the
        data say, so that it is taken as it comes, and compared with nothing.
    """

    axes: Axes
    custom: Action | None = None
    numbers: Numbers | None = None
    chosen: bool = False

    @functools.cached_property
    def memo(self) -> dict[Any, Any]:
        """What was found out about the layout, by who asked and what."""
        return {}

    @functools.cached_property
    def copies(self) -> list[tuple[tuple[Base, ...], ...]]:
        """For each copy of the base its axes, each as its pieces, the outermost first."""
        if any(isinstance(a, Joined) for a in self.atoms):
            return list(dict.fromkeys(pieces for _, block in self.blocks for pieces in block.copies))
        result = []
        for copy in sorted({a.copy for a in self.base}):
            own = [a for a in self.base if a.copy == copy]
            axes = sorted({a.axis for a in own})
            result.append(tuple(tuple(sorted((a for a in own if a.axis == k), key=lambda a: -abs(a.spacing))) for k in axes))
        return result

    @functools.cached_property
    def atoms(self) -> tuple[Atom, ...]:
        """All atoms, in C order."""
        return tuple(atom for axis in self.axes for atom in axis)

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(map(length, self.axes))

    @functools.cached_property
    def base(self) -> tuple[Base, ...]:
        """The atoms of the base."""
        return tuple(bases(self.atoms))

    @property
    def blocks(self) -> "list[tuple[tuple[slice, ...], Layout]]":
        """Where the parts in which nothing is joined lie in an array that has one axis for each atom, and their layouts."""
        choices: list[list[tuple[slice, tuple[Atom, ...]]]] = []
        for atom in self.atoms:
            parts = atom.parts if isinstance(atom, Joined) else ((atom,),)
            ends = list(itertools.accumulate(map(length, parts)))
            choices.append([(slice(end - length(part), end), part) for end, part in zip(ends, parts, strict=True)])
        picked = itertools.product(*choices)
        return [(tuple(place for place, _ in own), Layout(tuple(axis for _, axis in own))) for own in picked]

    @property
    def is_still(self) -> bool:
        """True where the group does nothing."""
        plain = self.custom is None and self.numbers is None and not self.chosen
        return plain and all(isinstance(atom, Still) for atom in self.atoms)

    def __str__(self) -> str:
        if self.custom is not None:
            return type(self.custom).__name__
        if self.chosen:
            return "choice"
        words = []
        for copy in sorted({atom.copy for atom in self.base}):
            own = sorted((a for a in self.base if a.copy == copy), key=lambda a: (a.axis, -abs(a.spacing)))
            spacing = {abs(a.spacing) for a in own}
            size = "×".join(str(math.prod(a.size for a in own if a.axis == k)) for k in sorted({a.axis for a in own}))
            names = "".join(f" {name}" for name in dict.fromkeys(a.name for a in own) if name)
            words.append(size + names + (f" every {max(spacing)}" if spacing != {1} else ""))
        words += [f"fibre {atom.size}" for atom in self.atoms if isinstance(atom, Fibre)]
        text = ", ".join(words) if words else "invariant"
        return text if self.numbers is None else f"numbers of {self.numbers.base.name} on {text}"


def normalised(axes: Axes, custom: Action | None = None) -> Layout:
    """Returns a layout whose copies of the base are numbered by first appearance, without atoms of size 1 beside others."""
    order: dict[int, int] = {}
    result = []
    for axis in axes:
        kept = [a for a in axis if a.size != 1 or isinstance(a, Fibre)] or list(axis[:1])
        result.append(relabelled(tuple(kept), lambda copy: order.setdefault(copy, len(order))))
    return Layout(tuple(result), custom)


def merged(a: Layout, b: Layout) -> Layout | None:
    """Returns the layout of an elementwise combination, or None where the two don't fit.

    An axis that is constant takes the layout of the other one; where features meet a base or a fibre of the same length,
    the latter wins (that a layer's output features are left alone is an assumption, the other was propagated).
    """
    if a.custom is not None or b.custom is not None:
        custom = a.custom or b.custom
        return a if a == b else Layout((a if a.custom else b).axes, custom) if a.is_still or b.is_still else None
    axes: list[tuple[Atom, ...]] = []
    for one, two in zip(a.axes, b.axes, strict=True):
        axis = _merged_axis(one, two)
        if axis is None:
            return None
        axes.append(axis)
    return normalised(tuple(_apart(axes)))


def _merged_axis(one: tuple[Atom, ...], two: tuple[Atom, ...]) -> tuple[Atom, ...] | None:
    if one == two or _constant(two):
        return one
    if _constant(one):
        return two
    both = (*one, *two)
    if len(both) == 2 and isinstance(both[0], Joined) and isinstance(both[1], Joined):
        sides = both[0].parts, both[1].parts
        if [*map(length, sides[0])] == [*map(length, sides[1])]:
            parts = [_merged_axis(*pair) for pair in zip(*sides, strict=True)]
            return None if None in parts else (Joined(tuple(parts)),)  # pyright: ignore[reportArgumentType]
    return _winner(one, two)


def _apart(axes: list[tuple[Atom, ...]]) -> list[tuple[Atom, ...]]:
    """Returns axes of which none is the same as another: in ``x[:, None] - x[None]`` they are two copies of the base."""
    seen: set[tuple[Atom, ...]] = set()
    result = []
    for axis in axes:
        while axis in seen and bases(axis):
            axis = relabelled(axis, lambda copy: copy + 1000)
        seen.add(axis)
        result.append(axis)
    return result


def _constant(axis: tuple[Atom, ...]) -> bool:
    return all(isinstance(a, Still) and (a.role == "any" or a.size == 1) for a in axis)


def _winner(one: tuple[Atom, ...], two: tuple[Atom, ...]) -> tuple[Atom, ...] | None:
    for axis, other in ((one, two), (two, one)):
        if leaves_alone(other) and not leaves_alone(axis):
            return axis
    if leaves_alone((*one, *two)):
        return max(one, two, key=length)
    # the same places in another order: taken for the simpler one, and measured
    return min(one, two, key=len) if length(one) == length(two) else None


def reshaped(layout: Layout, shape: tuple[int, ...]) -> Layout | None:
    """Returns the layout after a reshape, splitting atoms where the new axes cut through them."""
    atoms = [a for a in layout.atoms if a.size != 1 or isinstance(a, Fibre)]
    axes: list[tuple[Atom, ...]] = []
    for rest in shape:
        row: list[Atom] = []
        while rest > 1:
            if not atoms:
                return None
            atom = atoms.pop(0)
            if rest % atom.size == 0:
                row.append(atom)
                rest //= atom.size
            elif atom.size % rest == 0 and (parts := split(atom, rest)) is not None:
                row.append(parts[0])
                atoms.insert(0, parts[1])
                rest = 1
            else:
                return None
        axes.append(filled(tuple(row)) or (Still(1, "any"),))
    return None if any(a.size > 1 for a in atoms) else normalised(tuple(axes), layout.custom)


def windowed_apart(layout: Layout, outer: set[int]) -> Layout | None:
    """Returns a layout in which the places in a window no longer move with the windows, which lie on the given array axes.

    Behind a product over windows one by one, an element acts only if it moves windows onto windows. None where it is the
    windows that are compared, for each place in them.
    """
    kept = {(a.copy, a.axis): a for k in outer for a in bases(layout.axes[k])}
    rest = [k for k in range(len(layout.axes)) if k not in outer]
    inner = {(a.copy, a.axis): a for k in rest for a in bases(layout.axes[k]) if (a.copy, a.axis) in kept}
    if any(abs(inner[key].spacing) >= abs(kept[key].spacing) for key in inner):
        return None

    def changed(k: int, atom: Atom) -> Atom:
        if not isinstance(atom, Base) or (atom.copy, atom.axis) not in inner:
            return atom
        middle = inner[atom.copy, atom.axis].middle
        if k in outer:
            return dataclasses.replace(atom, origin=atom.origin + middle)
        return dataclasses.replace(atom, origin=atom.origin - middle, copy=atom.copy + 50, local=True)

    return Layout(tuple(tuple(changed(k, a) for a in axis) for k, axis in enumerate(layout.axes)))


def shuffled(layout: Layout, axes: Iterable[int]) -> Layout:
    """Returns a layout with finer samples along some array axes, where features lie behind every sample."""
    own = set(axes)
    return dataclasses.replace(layout, axes=tuple(refined(a) if k in own else a for k, a in enumerate(layout.axes)))


def dropped(layout: Layout, removed: set[int]) -> Layout | None:
    """Returns the layout after the given array axes are reduced away.

    Where the inner part of a split axis goes, the outer part stays, and sits at the middle of what was reduced; where
    the outer part goes alone, windows are put on top of each other: that is known where their side is the torus.
    """
    gone = [a for k in removed for a in bases(layout.axes[k])]
    axes = [axis for k, axis in enumerate(layout.axes) if k not in removed]
    result: list[tuple[Atom, ...]] = []
    for axis in axes:
        row: list[Atom] = []
        for atom in axis:
            if isinstance(atom, Joined) and any((a.copy, a.axis) == (b.copy, b.axis) for a in bases((atom,)) for b in gone):
                return None
            if isinstance(atom, Base):
                for other in gone:
                    if (other.copy, other.axis) == (atom.copy, atom.axis):
                        if abs(other.spacing) > abs(atom.spacing):
                            folded = atom.fold is None and other.spacing == atom.spacing * atom.size
                            if not folded:
                                return None
                            origin = atom.origin + other.origin
                            atom = dataclasses.replace(atom, origin=origin, fold=abs(other.spacing))
                            continue
                        atom = dataclasses.replace(atom, origin=atom.origin + other.middle)
            row.append(atom)
        result.append(tuple(row))
    return Layout(tuple(result))


def folded_around(layout: Layout, period: tuple[int, ...] | None) -> Layout | None:
    """Returns a layout in which windows were put on top of each other, where each of them goes around the torus."""
    if all(a.fold is None for a in layout.base):
        return layout
    if period is None or any(a.fold not in (None, period[a.axis]) for a in layout.base):
        return None
    axes = tuple(
        tuple(dataclasses.replace(a, fold=None) if isinstance(a, Base) else a for a in axis) for axis in layout.axes
    )
    return dataclasses.replace(layout, axes=axes)


def batch_size(layout: Layout | None, length: int) -> bool:
    """Tells whether the first array axis runs over ``length`` samples of the batch."""
    return bool(layout and layout.axes and layout.axes[0] == (Still(length, "batch"),))


def describe(layout: Layout | None) -> str:
    """Returns a layout in words."""
    return "unknown" if layout is None else str(layout)
