"""The contract of a group's list of irreps."""

import abc
import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from equijax._arguments import shown
from equijax._numbers import positive_int

if TYPE_CHECKING:
    import numpy as np

    from equijax.groups._group import Element


@dataclasses.dataclass(frozen=True, repr=False)
class Label:
    """Name of one irrep within its group.

    Attributes:
      index: number in the list of a finite group; frequency or degree l for rotations.
      parity: 1 or -1 where reflections ask for it, else None.
    """

    index: int
    parity: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", positive_int(self.index, "index", 0))
        if self.parity is not None:
            object.__setattr__(self, "parity", positive_int(self.parity, "parity", -1))

    def __repr__(self) -> str:
        return str(self.index) if self.parity is None else f"{self.index}, parity={self.parity}"


def require_label(label: Any) -> None:
    """Raises ``TypeError`` where an argument is no ``Label``."""
    if not isinstance(label, Label):
        raise TypeError(f"`label` is {shown(label)}; it must be a Label, which the method `label` makes.")


class IrrepFamily(abc.ABC):
    """The real irreducible representations of one group: which there are, and their matrices.

    ``group.irrep_family`` returns it; ``ej.reps.Irrep(group, index, parity=…)`` asks it and nothing else. A group with
    irreps of its own gives such a family. Matrices are orthogonal, real, and the same on every machine.
    """

    @abc.abstractmethod
    def label(self, index: Any, parity: Any = None) -> Label:
        """Returns the checked label; None for the parity picks the usual one where the group has parities.

        Raises:
          TypeError: ``index`` is no integer.
          ValueError: there is no such irrep; the message says which there are.
        """

    @property
    @abc.abstractmethod
    def labels(self) -> tuple[Label, ...]:
        """All labels in order.

        Raises:
          ValueError: there are infinitely many.
        """

    @property
    def is_enumerated(self) -> bool:
        """True where the elements are numbered and :meth:`matrices` gives the matrices of all of them."""
        return False

    @abc.abstractmethod
    def dim(self, label: Label) -> int:
        """Returns the real dimension."""

    @abc.abstractmethod
    def type(self, label: Label) -> str:
        """Returns ``"real"``, ``"complex"`` or ``"quaternionic"``: the commutant has dimension 1, 2 or 4."""

    @abc.abstractmethod
    def matrix(self, label: Label, g: "Element") -> jax.Array:
        """Returns the matrix of ``g``, float ``(…, dim, dim)``; jits and vmaps, and is differentiable for a Lie group."""

    def matrices(self, label: Label) -> "np.ndarray":
        """Returns the matrices of all elements of a finite group, float64 ``(order, dim, dim)``. Read-only.

        Raises:
          ValueError: the elements can't be listed.
        """
        raise ValueError(f"irrep {label!r} has infinitely many matrices; call it on an element.")

    def up_to(self, degree: Any) -> tuple[Label, ...]:
        """Returns the labels of the irreps up to a degree, of groups whose irreps have one.

        Raises:
          ValueError: the irreps of this group have no degree.
        """
        raise ValueError(
            f"`degree` is {degree!r}, but the irreps of this group have no degree: only those of rotations have."
        )

    def quadrature(self, degree: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns elements and weights that give the mean over the group of products of entries up to a degree.

        Returns:
          Matrices, float64 ``(n, d, d)``, and weights, float64 ``(n,)``, of sum 1. Read-only.

        Raises:
          ValueError: the irreps of this group have no degree.
        """
        raise ValueError(
            f"`degree` is {degree!r}, but the irreps of this group have no degree: only those of rotations have."
        )

    def candidates(self, rep: Any) -> tuple[Label, ...]:
        """Returns, in order, labels among which are all irreps that occur in a representation.

        All of them by default. A Lie group overrides this: the spectrum of ``rep.algebra`` bounds the degrees.
        """
        del rep
        return self.labels
