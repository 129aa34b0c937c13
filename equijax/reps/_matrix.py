"""Representations of a finite group by matrices of the user's."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from equijax._arguments import listed
from equijax._arrays import FrozenArray, read_only, require_real
from equijax._cache import bounded
from equijax.groups._elements import known_reals, looked_up
from equijax.reps._representation import Representation, require_finite_group, require_representation

_TOLERANCE = 1e-9


class MatrixRepresentation(Representation):
    """A representation of a finite group by any real matrices.

    Args:
      group: the finite group.
      matrices: float64 ``(order, dim, dim)``, one matrix for each element, which act on column vectors.

    Raises:
      TypeError: ``group`` is no finite group.
      ValueError: the shape is wrong, or the matrices do not compose as the group does (to 1e-9).

    Example: the sign of a reflection.
      >>> import equijax as ej
      >>> sign = ej.reps.MatrixRepresentation(ej.Reflection(1), [[[1.0]], [[-1.0]]])
      >>> sign.dim, sign.invariants.tolist()
      (1, [])
    """

    __slots__ = ("_table", "group")

    group: Any

    def __init__(self, group: Any, matrices: Any):
        require_finite_group(group)
        table = _as_float64(matrices, "matrices")
        if table.ndim != 3 or len(table) != group.order or table.shape[1] != table.shape[2] or not table.shape[1]:
            raise ValueError(
                f"`matrices` has shape {table.shape}; it needs one square matrix for each of the {group.order} elements of "
                f"{group!r}, ({group.order}, dim, dim). MatrixRepresentation.from_generators(group, matrices) fills in the "
                "rest from the generators."
            )
        error = _error_of_composition(group, table)
        if not error <= _TOLERANCE:
            raise ValueError(
                f"`matrices` do not compose as the group does: matrix g times matrix h must be matrix g ∘ h, and it differs "
                f"by {error:.1e}. Check the order of the matrices against the elements of {group!r}, that they act on "
                "column vectors, and that they are float64."
            )
        object.__setattr__(self, "group", group)
        object.__setattr__(self, "_table", FrozenArray(table, np.float64))

    @staticmethod
    def from_generators(group: Any, matrices: Iterable[Any]) -> "MatrixRepresentation":
        """Extends matrices of the generators to the whole group.

        Args:
          group: the finite group.
          matrices: one matrix ``(dim, dim)`` for each entry of ``group.generators``, in that order.

        Raises:
          TypeError: ``group`` is no finite group.
          ValueError: the number or a shape is wrong, or they satisfy other relations than the generators (to 1e-9).

        Example: the triangle's symmetries on the plane.
          >>> import equijax as ej
          >>> c, s = -0.5, 0.75**0.5
          >>> plane = ej.reps.MatrixRepresentation.from_generators(ej.Dihedral(3), [[[c, -s], [s, c]], [[1, 0], [0, -1]]])
          >>> plane.is_orthogonal
          True
        """
        require_finite_group(group)
        given = [_as_float64(m, "matrices") for m in listed(matrices, "matrices", "square matrices")]
        if len(given) != len(group.generators) or not given:
            raise ValueError(
                f"`matrices` holds {len(given)} matrices; {group!r} has {len(group.generators)} generators "
                f"{group.generators}, and each needs one. Of the trivial group give the table, MatrixRepresentation(group, "
                "[np.eye(dim)])."
            )
        for m in given:
            if m.ndim != 2 or m.shape != (len(given[0]), len(given[0])):
                raise ValueError(
                    f"`matrices` holds an array of shape {m.shape}; all must be square matrices of one size, here "
                    f"({len(given[0])}, {len(given[0])})."
                )
        return MatrixRepresentation(group, extended(group, given, len(given[0])))

    @property
    def dim(self) -> int:
        """Size of the matrices."""
        return self._table.array.shape[1]

    @property
    def matrices(self) -> np.ndarray:
        """The matrix of each element, float64 ``(order, dim, dim)``. Read-only."""
        return self._table.array

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """Matrices of the group's generators, float64 ``(dim, dim)``. Read-only."""
        return tuple(self.matrices[g] for g in self.group.generators)

    def __call__(self, g: Any) -> jax.Array:
        """Returns the matrix of ``g``, float ``(…, dim, dim)``."""
        return looked_up(self.matrices, g)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"MatrixRepresentation is immutable; make a new one instead of changing `{name}`.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MatrixRepresentation):
            return NotImplemented
        return self.group == other.group and self._table == other._table

    def __hash__(self) -> int:
        return hash(("MatrixRepresentation", self.group, self._table))

    def __reduce__(self) -> tuple:
        return (MatrixRepresentation, (self.group, self.matrices))

    def __repr__(self) -> str:
        return f"MatrixRepresentation({self.group!r}, <{self.group.order} matrices {self.dim}×{self.dim}>)"


def matrices(rep: Representation) -> np.ndarray:
    """Returns the matrix of every element of a finite group, float64 ``(order, dim, dim)``. Read-only, computed once.

    Raises:
      TypeError: the group is not a FiniteGroup, so it has no table.

    Example: traces are the character.
      >>> import equijax as ej
      >>> plane = ej.reps.Vector(ej.Dihedral(3))
      >>> ej.reps.matrices(plane).trace(axis1=1, axis2=2).round(6).tolist()
      [2.0, -1.0, -1.0, 0.0, 0.0, 0.0]
    """
    require_representation(rep, "rep")
    require_finite_group(rep.group)
    return _matrices(rep)


@bounded
def _matrices(rep: Representation) -> np.ndarray:
    return read_only(extended(rep.group, rep.generators, rep.dim))


def extended(group: Any, generators: Iterable[np.ndarray], dim: int) -> np.ndarray:
    """Returns the matrices of all elements, breadth first, multiplying on the right by the generators."""
    pairs = list(zip(group.generators, generators, strict=True))
    table = np.zeros((group.order, dim, dim))
    table[0] = np.eye(dim)
    known = {0}
    frontier = [0]
    for g in frontier:
        for s, matrix in pairs:
            k = int(group.table[g, s])
            if k not in known:
                table[k] = table[g] @ matrix
                known.add(k)
                frontier.append(k)
    return table


def _error_of_composition(group: Any, table: np.ndarray) -> float:
    """How far generators times elements are from the elements that the group names, relative to both; 1 included."""
    error = np.abs(table[0] - np.eye(table.shape[1])).max()
    sizes = 1 + np.abs(table).max((1, 2))
    for g in group.generators:
        apart = np.abs(table[g] @ table - table[group.table[g]]).max((1, 2))
        error = max(error, (apart / (sizes[g] * sizes)).max())
    return float(error)


def _as_float64(value: Any, name: str) -> np.ndarray:
    require_real(value, name)
    array = known_reals(value, name, "real matrices of one size, float64")
    if not np.isfinite(array).all():
        raise ValueError(f"`{name}` holds numbers that are not finite.")
    return array
