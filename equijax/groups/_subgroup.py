"""Subgroups of finite groups and their cosets."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from equijax._arguments import listed, shown
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._numbers import positive_int

if TYPE_CHECKING:
    from equijax.groups._finite import FiniteGroup


@dataclasses.dataclass(frozen=True)
class Subgroup:
    """A subgroup K of a finite group, as a set of that group's element numbers.

    Made by ``group.subgroup(elements)``. Element number k of :meth:`as_group` is ``elements[k]`` of the parent.

    Attributes:
      group: the parent group.
      elements: sorted element numbers of the parent; the first is 0.

    Example:
      >>> import equijax as ej
      >>> rotations = ej.Dihedral(4).subgroup([1])
      >>> rotations.elements, rotations.as_group() == ej.Cyclic(4), rotations.cosets.tolist()
      ((0, 1, 2, 3), True, [[0, 1, 2, 3], [4, 5, 6, 7]])
    """

    group: "FiniteGroup"
    elements: tuple[int, ...]

    def __post_init__(self) -> None:
        from equijax.groups._finite import FiniteGroup

        if not isinstance(self.group, FiniteGroup):
            raise TypeError(f"`group` is {shown(self.group)}; subgroups are those of a FiniteGroup.")
        given = listed(self.elements, "elements", "numbers of elements")
        numbers = tuple(positive_int(g, "elements", 0, given, len(self.group.table) - 1) for g in given)
        object.__setattr__(self, "elements", numbers)
        if closure_of(self.group.table, self.elements) != self.elements:
            raise ValueError(
                f"`elements` {shown(self.elements)} of {self.group!r} are not a sorted subgroup. "
                "Use group.subgroup(elements), which closes them."
            )

    @property
    def order(self) -> int:
        """Number of elements of the subgroup."""
        return len(self.elements)

    @property
    def index(self) -> int:
        """Number of cosets, ``|G| / |K|``."""
        return self.group.order // self.order

    @property
    def cosets(self) -> np.ndarray:
        """Left cosets gK, int32 ``(index, order)``: rows ascend, numbered by their smallest elements. Read-only."""
        return _cosets(self)[0]

    @property
    def coset_of(self) -> np.ndarray:
        """Number of the left coset of each element of the parent, int32 ``(|G|,)``. Read-only."""
        return _cosets(self)[1]

    def as_group(self) -> "FiniteGroup":
        """Returns the subgroup as a group of its own: a ``PointGroup`` where the parent is one."""
        return _as_group(self)

    def __repr__(self) -> str:
        return f"{self.group!r}.subgroup({list(self.elements)})"


def require_is_subgroup(value: Any, name: str = "subgroup") -> None:
    """Raises ``TypeError`` where an argument is no ``Subgroup``."""
    if not isinstance(value, Subgroup):
        raise TypeError(f"`{name}` is {shown(value)}; make it by group.point_group.subgroup(elements).")


def closure_of(table: np.ndarray, elements: Iterable[int]) -> tuple[int, ...]:
    """Returns the sorted numbers of the subgroup that ``elements`` generate."""
    members = np.unique(np.array([0, *elements], np.int64))
    while True:
        grown = np.unique(table[np.ix_(members, members)])
        if len(grown) == len(members):
            return tuple(grown.tolist())
        members = grown


def all_subgroups(table: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Returns every subgroup as a sorted tuple: cyclic ones first found, then joined until nothing new appears."""
    cyclic = {closure_of(table, (g,)) for g in range(len(table))}
    found, frontier = set(cyclic), set(cyclic)
    while frontier:
        joins = {closure_of(table, a + b) for a in frontier for b in cyclic if not set(b) <= set(a)}
        frontier = joins - found
        found |= frontier
    return tuple(sorted(found, key=lambda s: (len(s), s)))


@bounded
def _cosets(subgroup: Subgroup) -> tuple[np.ndarray, np.ndarray]:
    rows = np.sort(subgroup.group.table[:, list(subgroup.elements)], axis=1)
    firsts, coset_of = np.unique(rows[:, 0], return_inverse=True)
    return read_only(rows[firsts]), read_only(coset_of.reshape(-1).astype(np.int32))


@bounded
def _as_group(subgroup: Subgroup) -> "FiniteGroup":
    return subgroup.group._subgroup_as_group(subgroup.elements)
