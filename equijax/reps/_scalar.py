"""The trivial representation."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.groups import FiniteGroup, Subgroup
from equijax.groups._elements import batch_shape
from equijax.groups._group import require_is_group
from equijax.reps._permuting import Permuting
from equijax.reps._representation import Representation, fibre_axis, require_finite_group

_ONE = read_only(np.ones((1, 1)))
_ZERO = read_only(np.zeros((1, 1)))
_NUMBER = read_only(np.zeros(1, np.int32))


@dataclasses.dataclass(frozen=True)
class Scalar(Permuting):
    """The trivial representation: one number that the group leaves alone. It has no axis in an array.

    Args:
      group: a group that acts on fibres: a finite group, a Lie group, a product; of a space group its ``point_group``.

    Example:
      >>> import equijax as ej
      >>> ej.reps.Scalar(ej.Cyclic(4)).shape, ej.reps.Scalar(ej.SO(3)).dim
      ((), 1)
    """

    group: Any

    def __post_init__(self) -> None:
        require_is_group(self.group, "group", "a fibre belongs to a FiniteGroup or another group, for example Dihedral(4)")
        if self.group.grid_ndim:
            require_finite_group(self.group)

    @property
    def shape(self) -> tuple[int, ...]:
        """``()``: the scalar fibre has no axis."""
        return ()

    @property
    def dim(self) -> int:
        """1."""
        return 1

    @property
    def table(self) -> np.ndarray:
        """Zeros, int32 ``(order, 1)``.

        Raises:
          TypeError: the group is no FiniteGroup, so its elements have no numbers.
        """
        require_finite_group(self.group)
        return _scalar_table(self.group)

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """Ones, float64 ``(1, 1)``. Read-only."""
        return (_ONE,) * len(self.group.discrete_generators)

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Zeros, float64 ``(1, 1)``: nothing changes along a Lie algebra. Read-only."""
        return (_ZERO,) * len(self.group.algebra)

    @property
    def invariants(self) -> np.ndarray:
        """The one vector, float64 ``(1, 1)``. Read-only."""
        return _ONE

    @property
    def orbits(self) -> np.ndarray:
        """The one orbit, int32 ``(1,)``. Read-only."""
        return _NUMBER

    def restrict(self, subgroup: Any) -> Representation:
        """Returns the scalar of the smaller group."""
        if isinstance(subgroup, Subgroup):
            return super().restrict(subgroup)
        require_is_group(subgroup, "subgroup")
        return Scalar(subgroup)

    def _restricted(self, subgroup: Subgroup) -> Permuting:
        return Scalar(subgroup.as_group())

    def __call__(self, g: Any) -> jax.Array:
        """Returns ones, float32 ``(…, 1, 1)``."""
        self.group.require_element(g)
        return jnp.ones((*batch_shape(self.group, g), 1, 1), jnp.float32)

    def sources(self, g: Any) -> np.ndarray:
        """Returns 0, int32 ``(1,)``: where the one coordinate comes from."""
        self.group.require_element(g)
        return _NUMBER

    def act(self, g: Any, x: Any, axis: int) -> jax.Array:
        """Returns ``x``."""
        return fibre_axis(self, g, x, axis)[0]


@bounded
def _scalar_table(group: FiniteGroup) -> np.ndarray:
    return read_only(np.zeros((group.order, 1), np.int32))
