"""Point groups by name."""

import numpy as np

from equijax._arguments import boolean
from equijax._arrays import FrozenArray
from equijax._numbers import positive_int
from equijax.groups._point import MatrixSource, PointGroup, _snap

_LARGEST_ORDER = 2**14
_LARGEST_NDIM = 2**10


class _Named(PointGroup):
    """A point group that remembers the arguments by which it was called."""

    __slots__ = ("_arguments",)

    def _define(self, matrices: list[np.ndarray], generators: tuple[int, ...], *arguments: object) -> None:
        PointGroup.__init__(self, MatrixSource(FrozenArray(matrices, np.float64), generators))
        object.__setattr__(self, "_arguments", arguments)

    def __reduce__(self) -> tuple:
        return (type(self), self._arguments)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._arguments))})"


class Trivial(_Named):
    """The group of one element in ``ndim`` dimensions.

    Example:
      >>> import equijax as ej
      >>> ej.Trivial(2).order
      1
    """

    __slots__ = ()

    def __init__(self, ndim: int):
        ndim = positive_int(ndim, "ndim", 1, None, _LARGEST_NDIM)
        self._define([np.eye(ndim)], (), ndim)


class Cyclic(_Named):
    """The rotations of the plane by multiples of 2π/n; element k is rᵏ, where r turns axis 0 towards axis 1.

    Args:
      n: number of rotations. n = 1, 2, 4 map the square grid to itself; n = 3, 6 do ``.in_basis(HEXAGONAL)``.

    Example:
      >>> import equijax as ej
      >>> ej.Cyclic(4).matrices[1].astype(int).tolist()
      [[0, -1], [1, 0]]
    """

    __slots__ = ()

    def __init__(self, n: int):
        n = positive_int(n, "n", 1, None, _LARGEST_ORDER)
        self._define(_rotations(n), (1,) if n > 1 else (), n)


class Dihedral(_Named):
    """The rotations and reflections of a regular n-gon, order 2n.

    Element k is rᵏ and element n + k is rᵏm, with r as in :class:`Cyclic` and m = diag(1, −1).

    Example:
      >>> import equijax as ej
      >>> group = ej.Dihedral(4)
      >>> group.order, int(group.compose(1, 4)), group.matrices[4].astype(int).tolist()
      (8, 5, [[1, 0], [0, -1]])
    """

    __slots__ = ()

    def __init__(self, n: int):
        n = positive_int(n, "n", 1, None, _LARGEST_ORDER // 2)
        rotations = _rotations(n)
        mirror = np.diag([1.0, -1.0])
        self._define(rotations + [_snap(r @ mirror) for r in rotations], (1, n) if n > 1 else (1,), n)


class Reflection(_Named):
    """The mirror that reverses one axis, order 2.

    Args:
      ndim: dimension of the space.
      axis: the axis that is reversed.

    Example: the reversal of a sequence.
      >>> import equijax as ej
      >>> ej.Reflection(1).matrices.astype(int).tolist()
      [[[1]], [[-1]]]
    """

    __slots__ = ()

    def __init__(self, ndim: int, axis: int = 0):
        d = positive_int(ndim, "ndim", 1, None, _LARGEST_NDIM)
        axis = positive_int(axis, "axis", -(2**31))
        if not -d <= axis < d:
            raise ValueError(f"`axis` is {axis}; a space of {d} dimensions has axes 0 … {d - 1}.")
        mirror = np.eye(d)
        mirror[axis, axis] = -1.0
        self._define([np.eye(d), mirror], (1,), d, axis % d)


class Octahedral(_Named):
    """The 24 rotations of the cube; with ``inversion`` all its 48 symmetries.

    Elements are numbered breadth first from the quarter turns about axes 0 and 1 (and the inversion).

    Example:
      >>> import equijax as ej
      >>> ej.Octahedral().order, ej.Octahedral(inversion=True).order
      (24, 48)
    """

    __slots__ = ()

    def __init__(self, inversion: bool = False):
        inversion = boolean(inversion, "inversion")
        about_0 = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
        about_1 = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
        generators = [about_0, about_1, *([(-np.eye(3)).tolist()] if inversion else [])]
        group = PointGroup.from_matrices(generators)
        self._define(list(group.matrices), group.generators, inversion)


def _rotations(n: int) -> list[np.ndarray]:
    angles = 2 * np.pi * np.arange(n) / n
    return [_snap(np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])) for a in angles]
