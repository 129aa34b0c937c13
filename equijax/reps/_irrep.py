"""Irreducible representations, of any group that lists them."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from equijax._arrays import read_only
from equijax.groups import Label
from equijax.groups._group import Element, require_is_group
from equijax.reps._representation import Representation

if TYPE_CHECKING:
    from equijax.reps._decompose import Decomposition


@dataclasses.dataclass(frozen=True, init=False, repr=False)
class Irrep(Representation):
    r"""A real irreducible representation: a vector space of which the group keeps no part but 0 and the whole.

    The matrices are orthogonal, and the same on every machine. The group lists its irreps (``group.irrep_family``):

    * a finite group numbers them, the trivial one first; :func:`irreps` returns them all and ``group.characters`` shows the
      table behind them. ``Irrep(Cyclic(n), k)`` turns by k times the angle;
    * a group of rotations names them by frequency or degree l, and by a parity where there are reflections.

    Args:
      group: the group.
      index: which irrep.
      parity: 1 or -1, for groups whose irreps come in two parities.

    Raises:
      TypeError: the index is no integer.
      ValueError: the group has no such irrep, or its irreps are not known.

    Example: of the five irreps of the square's symmetries the last is the plane itself.
      >>> import equijax as ej
      >>> plane = ej.reps.Irrep(ej.Dihedral(4), 4)
      >>> plane, plane.dim, plane.type, plane(1).astype(int).tolist()
      (Irrep(Dihedral(4), 4), 2, 'real', [[0, -1], [1, 0]])
    """

    group: Any
    label: Label

    def __init__(self, group: Any, index: int, *, parity: int | None = None):
        require_is_group(group, "group")
        object.__setattr__(self, "group", group)
        object.__setattr__(self, "label", group.irrep_family.label(index, parity))

    @property
    def index(self) -> int:
        """Number in the list of a finite group; frequency or degree of rotations."""
        return self.label.index

    @property
    def parity(self) -> int | None:
        """1 or -1 where the group's irreps come in two parities, else None."""
        return self.label.parity

    @property
    def dim(self) -> int:
        """Real dimension."""
        return self.group.irrep_family.dim(self.label)

    @property
    def type(self) -> str:
        """What commutes with it, by Frobenius and Schur: ``"real"``, ``"complex"`` or ``"quaternionic"`` numbers."""
        return self.group.irrep_family.type(self.label)

    @property
    def commutant_dim(self) -> int:
        """Dimension of the linear maps that commute with it: 1, 2 or 4."""
        return {"real": 1, "complex": 2, "quaternionic": 4}[self.type]

    @property
    def is_irrep(self) -> bool:
        """True."""
        return True

    @property
    def is_orthogonal(self) -> bool:
        """True."""
        return True

    @property
    def known_decomposition(self) -> "Decomposition":
        """Itself, once."""
        from equijax.reps._decompose import Decomposition

        return Decomposition(((self, 1),), read_only(np.eye(self.dim)))

    @property
    def character(self) -> np.ndarray:
        """Trace of each element of a finite group, float64 ``(order,)``.

        Raises:
          ValueError: the group can't be enumerated.
        """
        return np.trace(self.matrices, axis1=1, axis2=2)

    @property
    def matrices(self) -> np.ndarray:
        """Matrices of all elements of a finite group, float64 ``(order, dim, dim)``. Read-only.

        Raises:
          ValueError: the group can't be enumerated.
        """
        return self.group.irrep_family.matrices(self.label)

    def __call__(self, g: Element) -> jax.Array:
        """Returns the matrix of ``g``, float ``(…, dim, dim)``."""
        self.group.require_element(g)
        return self.group.irrep_family.matrix(self.label, g)

    def __repr__(self) -> str:
        return f"Irrep({self.group!r}, {self.label!r})"


def irreps(group: Any) -> tuple[Irrep, ...]:
    """Returns all real irreps of a finite group, in their order: the trivial one first.

    Raises:
      ValueError: the irreps are infinitely many, or not known.

    Example:
      >>> import equijax as ej
      >>> [(irrep.dim, irrep.type) for irrep in ej.reps.irreps(ej.Cyclic(4))]
      [(1, 'real'), (2, 'complex'), (1, 'real')]
    """
    require_is_group(group, "group")
    return tuple(Irrep(group, label.index, parity=label.parity) for label in group.irrep_family.labels)
