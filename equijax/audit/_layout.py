"""What the axes of an array are to the group: the layout of an activation.

Every array axis is a product of *atoms*, in C order: flattening an image and splitting it again loses nothing.
"""

import dataclasses
import math
from fractions import Fraction

from equijax.actions import Action
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
    """

    size: int
    axis: int = 0
    spacing: Fraction = Fraction(1)
    origin: Fraction = Fraction(0)
    copy: int = 0
    name: str = ""

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


Atom = Base | Fibre | Still
Axes = tuple[tuple[Atom, ...], ...]


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

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """All atoms, in C order."""
        return tuple(atom for axis in self.axes for atom in axis)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(math.prod(atom.size for atom in axis) for axis in self.axes)

    @property
    def base(self) -> tuple[Base, ...]:
        """The atoms of the base."""
        return tuple(atom for atom in self.atoms if isinstance(atom, Base))

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
        row: list[Atom] = []
        for atom in kept:
            if isinstance(atom, Base):
                atom = dataclasses.replace(atom, copy=order.setdefault(atom.copy, len(order)))
            row.append(atom)
        result.append(tuple(row))
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
        if one == two or _constant(two):
            axes.append(one)
        elif _constant(one):
            axes.append(two)
        elif (winner := _winner(one, two)) is not None:
            axes.append(winner)
        else:
            return None
    return normalised(tuple(_apart(axes)))


def _apart(axes: list[tuple[Atom, ...]]) -> list[tuple[Atom, ...]]:
    """Returns axes of which none is the same as another: in ``x[:, None] - x[None]`` they are two copies of the base."""
    seen: set[tuple[Atom, ...]] = set()
    result = []
    for axis in axes:
        while axis in seen and len(axis) == 1 and isinstance(axis[0], Base):
            axis = (dataclasses.replace(axis[0], copy=axis[0].copy + 1000),)
        seen.add(axis)
        result.append(axis)
    return result


def _constant(axis: tuple[Atom, ...]) -> bool:
    return all(isinstance(a, Still) and (a.role == "any" or a.size == 1) for a in axis)


def _winner(one: tuple[Atom, ...], two: tuple[Atom, ...]) -> tuple[Atom, ...] | None:
    for axis, other in ((one, two), (two, one)):
        if all(isinstance(a, Still) for a in other) and not all(isinstance(a, Still) for a in axis):
            return axis
    if all(isinstance(a, Still) for a in (*one, *two)):
        return one if math.prod(a.size for a in one) >= math.prod(a.size for a in two) else two
    sizes = [math.prod(a.size for a in axis) for axis in (one, two)]
    return one if sizes[0] == sizes[1] else None  # the same places in another order: taken for the first, and measured


def reshaped(layout: Layout, shape: tuple[int, ...]) -> Layout | None:
    """Returns the layout after a reshape, splitting atoms where the new axes cut through them."""
    atoms = [a for a in layout.atoms if a.size != 1 or isinstance(a, Fibre)]
    axes: list[tuple[Atom, ...]] = []
    for length in shape:
        row: list[Atom] = []
        while length > 1:
            if not atoms:
                return None
            atom = atoms.pop(0)
            if length % atom.size == 0:
                row.append(atom)
                length //= atom.size
            elif atom.size % length == 0 and (parts := _split(atom, length)) is not None:
                row.append(parts[0])
                atoms.insert(0, parts[1])
                length = 1
            else:
                return None
        axes.append(filled(tuple(row)) or (Still(1, "any"),))
    return None if any(a.size > 1 for a in atoms) else normalised(tuple(axes), layout.custom)


def filled(axis: tuple[Atom, ...]) -> tuple[Atom, ...]:
    """Returns an axis in which samples that are repeated one by one are finer samples."""
    base, repeats = axis if len(axis) == 2 else (None, None)
    if isinstance(base, Base) and isinstance(repeats, Still) and repeats.role == "any":
        spacing = base.spacing / repeats.size
        origin = base.origin - spacing * Fraction(repeats.size - 1, 2)
        return (dataclasses.replace(base, size=base.size * repeats.size, spacing=spacing, origin=origin),)
    return axis


def _split(atom: Atom, outer: int) -> tuple[Atom, Atom] | None:
    inner = atom.size // outer
    if isinstance(atom, Still):
        return Still(outer, atom.role), Still(inner, atom.role)
    if isinstance(atom, Base):
        first = dataclasses.replace(atom, size=outer, spacing=atom.spacing * inner)
        return first, dataclasses.replace(atom, size=inner, origin=Fraction(0))
    return None


def dropped(layout: Layout, removed: set[int]) -> Layout | None:
    """Returns the layout after the given array axes are reduced away.

    Where the inner part of a split axis goes, the outer part stays, and sits at the middle of what was reduced; where
    the outer part goes alone, nothing is known.
    """
    gone = [a for k in removed for a in layout.axes[k] if isinstance(a, Base)]
    axes = [axis for k, axis in enumerate(layout.axes) if k not in removed]
    result: list[tuple[Atom, ...]] = []
    for axis in axes:
        row: list[Atom] = []
        for atom in axis:
            if isinstance(atom, Base):
                for other in gone:
                    if (other.copy, other.axis) == (atom.copy, atom.axis):
                        if abs(other.spacing) > abs(atom.spacing):
                            return None
                        atom = dataclasses.replace(atom, origin=atom.origin + other.middle)
            row.append(atom)
        result.append(tuple(row))
    return Layout(tuple(result))


def batch_size(layout: Layout | None, length: int) -> bool:
    """Tells whether the first array axis runs over ``length`` samples of the batch."""
    return bool(layout and layout.axes and layout.axes[0] == (Still(length, "batch"),))


def describe(layout: Layout | None) -> str:
    """Returns a layout in words."""
    return "unknown" if layout is None else str(layout)
