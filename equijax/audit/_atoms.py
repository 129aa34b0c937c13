"""What the entries along an axis of an array are to the group: the atoms, of which axes are made.

An axis is a product of atoms, in C order: flattening an image and splitting it again loses nothing.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from fractions import Fraction

from equijax.reps import Representation


@dataclasses.dataclass(frozen=True)
class Base:
    """Samples along one axis of the space that the group moves.

    Attributes:
      size: number of samples.
      axis: number of the axis of the base.
      spacing: distance of the samples, in pixels of the group; negative where the axis is reversed.
      origin: position of sample 0.
      copy: which copy of the base, where an array has several (queries and keys, rows and columns of a relation).
      name: what the samples are, where they have a name (the nodes or edges of a graph).
      local: True for the places in a window, as seen from its middle: shifts leave them alone, only turns move them.
      fold: distance of the samples that were summed up, where windows were put on top of each other; None where none were.
    """

    size: int
    axis: int = 0
    spacing: Fraction = Fraction(1)
    origin: Fraction = Fraction(0)
    copy: int = 0
    name: str = ""
    local: bool = False
    fold: Fraction | None = None

    @property
    def positions(self) -> list[Fraction]:
        """Positions of all samples."""
        return [self.origin + self.spacing * i for i in range(self.size)]

    @property
    def middle(self) -> Fraction:
        """Mean of the positions."""
        return self.origin + self.spacing * Fraction(self.size - 1, 2)


@dataclasses.dataclass(frozen=True)
class Fibre:
    """The coordinates of a fibre."""

    fibre: Representation

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.fibre.dim


@dataclasses.dataclass(frozen=True)
class Still:
    """An axis that the group leaves alone: ``"batch"``, ``"feature"``, or ``"any"`` where the array is constant along it."""

    size: int
    role: str = "feature"


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What integers are that number the samples of a base, such as the senders of edges: they move with these samples.

    Attributes:
      base: the axis of the base whose samples they number.
      offset: what was added to the numbers.
    """

    base: Base
    offset: int = 0


@dataclasses.dataclass(frozen=True)
class Joined:
    """Axes one behind the other, each of which is moved in its own way: a class token, and the patches of an image.

    Attributes:
      parts: the axes, each as its atoms.
    """

    parts: tuple[tuple["Atom", ...], ...]

    @property
    def size(self) -> int:
        """Number of entries of all parts."""
        return sum(map(length, self.parts))


Atom = Base | Fibre | Still | Joined
Axes = tuple[tuple[Atom, ...], ...]


def length(axis: tuple[Atom, ...]) -> int:
    """Returns the number of entries of an axis."""
    return math.prod(atom.size for atom in axis)


def bases(axis: tuple[Atom, ...]) -> list[Base]:
    """Returns the atoms of the base of an axis, and of what is joined in it."""
    result: list[Base] = []
    for atom in axis:
        result += [atom] if isinstance(atom, Base) else []
        result += [a for part in atom.parts for a in bases(part)] if isinstance(atom, Joined) else []
    return result


def relabelled(axis: tuple[Atom, ...], name: Callable[[int], int]) -> tuple[Atom, ...]:
    """Returns an axis with other numbers of the copies of the base."""

    def changed(atom: Atom) -> Atom:
        if isinstance(atom, Joined):
            return Joined(tuple(relabelled(part, name) for part in atom.parts))
        return dataclasses.replace(atom, copy=name(atom.copy)) if isinstance(atom, Base) else atom

    return tuple(map(changed, axis))


def in_a_row(parts: list[tuple[Atom, ...]]) -> tuple[Atom, ...]:
    """Returns the axis that holds some axes one behind the other."""
    flat: list[tuple[Atom, ...]] = []
    for part in parts:
        for axis in part[0].parts if len(part) == 1 and isinstance(part[0], Joined) else (part,):
            if flat and leaves_alone(axis) and leaves_alone(flat[-1]):
                axis = (Still(length(flat.pop()) + length(axis)),)
            flat.append(axis)
    return flat[0] if len(flat) == 1 else (Joined(tuple(flat)),)


def leaves_alone(axis: tuple[Atom, ...]) -> bool:
    """Tells whether the group leaves an axis alone."""
    return all(isinstance(a, Still) for a in axis)


def filled(axis: tuple[Atom, ...]) -> tuple[Atom, ...]:
    """Returns an axis in which samples that are repeated one by one are finer samples, and windows one axis."""
    whole = _together(axis)
    if whole is not None:
        return (whole,)
    return refined(axis) if len(axis) == 2 and isinstance(axis[1], Still) and axis[1].role == "any" else axis


def refined(axis: tuple[Atom, ...]) -> tuple[Atom, ...]:
    """Returns an axis in which features behind every sample are finer samples, as pixel shuffle makes them.

    Samples of one torus, joined so that they continue each other around it again and again, are one axis too.
    """
    if len(axis) == 1 and isinstance(axis[0], Joined):
        return _around(axis[0]) or axis
    base, features = axis if len(axis) == 2 else (None, None)
    if not isinstance(base, Base) or not isinstance(features, Still):
        return axis
    spacing = base.spacing / features.size
    origin = base.origin - spacing * Fraction(features.size - 1, 2)
    return (dataclasses.replace(base, size=base.size * features.size, spacing=spacing, origin=origin),)


def _together(axis: tuple[Atom, ...]) -> Base | None:
    """Returns the samples of which an axis holds the windows, and the places in a window; None for any other axis."""
    outer, inner = axis if len(axis) == 2 else (None, None)
    if not isinstance(outer, Base) or not isinstance(inner, Base):
        return None
    if (outer.axis, outer.spacing) != (inner.axis, inner.spacing * inner.size) or outer.local:
        return None
    if outer.copy != inner.copy and not inner.local:
        return None
    size, origin = outer.size * inner.size, outer.origin + inner.origin
    return dataclasses.replace(outer, size=size, spacing=inner.spacing, origin=origin)


def _around(joined: Joined) -> tuple[Atom, ...] | None:
    """Returns the axis of parts that continue each other around a torus; None where they don't."""
    parts = [part[0] for part in joined.parts if len(part) == 1 and isinstance(part[0], Base)]
    if len(parts) < len(joined.parts) or len({(a.axis, a.spacing) for a in parts}) > 1:
        return None
    turn = max(a.size for a in parts) * parts[0].spacing
    ends = [(b.origin - a.origin - a.size * a.spacing) % turn for a, b in itertools.pairwise(parts)]
    return None if any(ends) else (dataclasses.replace(parts[0], size=joined.size),)


def split(atom: Atom, outer: int) -> tuple[Atom, Atom] | None:
    """Returns the outer and the inner part of an atom, which is cut into ``outer`` pieces; None where it can't be."""
    inner = atom.size // outer
    if isinstance(atom, Still):
        return Still(outer, atom.role), Still(inner, atom.role)
    if isinstance(atom, Base):
        first = dataclasses.replace(atom, size=outer, spacing=atom.spacing * inner)
        return first, dataclasses.replace(atom, size=inner, origin=Fraction(0))
    return None
