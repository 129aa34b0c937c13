"""The thirteen symmorphic wallpaper groups."""

from typing import Any

from equijax._arguments import shown
from equijax.groups._catalogue import Cyclic, Dihedral, Reflection, Trivial
from equijax.groups._point import HEXAGONAL, PointGroup
from equijax.groups._space import SpaceGroup

_SWAP = [[0, 1], [1, 0]]
_HALF_TURN = [[-1, 0], [0, -1]]
_THIRD_TURN = [[-1, -1], [1, 0]]

_POINT_GROUPS = {
    "p1": lambda: Trivial(2),
    "p2": lambda: Cyclic(2),
    "pm": lambda: Reflection(2),
    "pmm": lambda: PointGroup.from_matrices([[[-1, 0], [0, 1]], [[1, 0], [0, -1]]]),
    "cm": lambda: PointGroup.from_matrices([_SWAP]),
    "cmm": lambda: PointGroup.from_matrices([_SWAP, _HALF_TURN]),
    "p4": lambda: Cyclic(4),
    "p4m": lambda: Dihedral(4),
    "p3": lambda: Cyclic(3).in_basis(HEXAGONAL),
    "p3m1": lambda: PointGroup.from_matrices([_THIRD_TURN, _SWAP], basis=HEXAGONAL),
    "p31m": lambda: Dihedral(3).in_basis(HEXAGONAL),
    "p6": lambda: Cyclic(6).in_basis(HEXAGONAL),
    "p6m": lambda: Dihedral(6).in_basis(HEXAGONAL),
}

#: The names that :func:`wallpaper` knows.
WALLPAPER_NAMES = tuple(_POINT_GROUPS)


def wallpaper(name: str, period: Any = None) -> SpaceGroup:
    """Returns a wallpaper group by its name.

    The thirteen symmorphic ones are there: ``p1 p2 pm pmm cm cmm p4 p4m p3 p3m1 p31m p6 p6m``. ``cm`` and ``cmm`` are
    written in the primitive rhombic basis (so they exchange the axes of a square array); the last five live on the
    hexagonal lattice in 60° axial coordinates and need ``padding="CIRCULAR"``, or ``"VALID"`` with fewer elements kept.

    Args:
      name: the name.
      period: size of the torus along each axis, or None for the infinite grid.

    Raises:
      ValueError: the name is not one of the thirteen (pg, pmg, pgg and p4g have glide reflections).

    Example:
      >>> import equijax as ej
      >>> ej.wallpaper("p4m") == ej.SpaceGroup(ej.Dihedral(4)), ej.wallpaper("p6m").point_group.order
      (True, 12)

    References:
      International Tables for Crystallography, volume A, plane groups.
    """
    if not isinstance(name, str) or name not in _POINT_GROUPS:
        glide = " It has glide reflections, which are not of the form translation ⋊ point group." * (
            isinstance(name, str) and name in ("pg", "pmg", "pgg", "p4g")
        )
        raise ValueError(f"`name` is {shown(name)}.{glide} Use one of {', '.join(WALLPAPER_NAMES)}.")
    return SpaceGroup(_POINT_GROUPS[name](), period)
