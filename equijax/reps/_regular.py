"""Representations of a finite group on functions on itself and on its cosets."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from equijax._arguments import shown
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.groups import FiniteGroup, Subgroup
from equijax.reps._permuting import Permuting
from equijax.reps._representation import require_finite_group

if TYPE_CHECKING:
    from equijax.reps._decompose import Decomposition


@dataclasses.dataclass(frozen=True)
class Regular(Permuting):
    """The regular representation: one number for each element of the group, ``(u·f)(g) = f(u⁻¹ g)``.

    Example:
      >>> import equijax as ej
      >>> fibre = ej.reps.Regular(ej.Cyclic(4))
      >>> fibre.act(1, [10, 11, 12, 13], axis=0).tolist()
      [13, 10, 11, 12]
    """

    group: FiniteGroup

    def __post_init__(self) -> None:
        require_finite_group(self.group)

    @property
    def table(self) -> np.ndarray:
        """The multiplication table of the group, int32 ``(order, order)``."""
        return self.group.table

    @property
    def known_decomposition(self) -> "Decomposition":
        """By Peter and Weyl: matrix entries of the irreps."""
        from equijax.reps._decompose import peter_weyl

        return peter_weyl(self.group)


@dataclasses.dataclass(frozen=True)
class Quotient(Permuting):
    """One number for each left coset gK: u moves gK to ugK. Cosets are numbered by their smallest elements.

    Args:
      subgroup: K, made by ``group.subgroup(elements)``.

    Example: the four reflections' cosets of D4 behave like the four quarter turns.
      >>> import equijax as ej
      >>> ej.reps.Quotient(ej.Dihedral(4).subgroup([4])).dim
      4
    """

    subgroup: Subgroup

    def __post_init__(self) -> None:
        if not isinstance(self.subgroup, Subgroup):
            raise TypeError(
                f"`subgroup` is {shown(self.subgroup)}; Quotient needs a Subgroup, which group.subgroup(elements) makes."
            )

    @property
    def group(self) -> FiniteGroup:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The whole group."""
        return self.subgroup.group

    @property
    def table(self) -> np.ndarray:
        """Images of the cosets, int32 ``(order, index)``."""
        return _quotient_table(self.subgroup)


@bounded
def _quotient_table(subgroup: Subgroup) -> np.ndarray:
    return read_only(subgroup.coset_of[subgroup.group.table[:, subgroup.cosets[:, 0]]])
