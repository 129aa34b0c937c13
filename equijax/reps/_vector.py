"""The vectors on which the matrices of a group act."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from equijax._cache import bounded
from equijax.groups._group import Element, require_is_group
from equijax.reps._representation import Representation


@dataclasses.dataclass(frozen=True)
class Vector(Representation):
    """The vectors that the matrices of a group move: ``rho(g)`` is the matrix of g.

    Of a :class:`~equijax.groups.PointGroup` these are Cartesian vectors, also where it is written in the coordinates of a
    lattice; of a Lie group the real vectors on which its matrices act.

    Args:
      group: a group whose elements are matrices.

    Raises:
      ValueError: the group has no matrices.

    Example: a quarter turn takes the first axis to the second.
      >>> import equijax as ej
      >>> ej.reps.Vector(ej.Cyclic(4)).act(1, [1.0, 0.0], axis=0).tolist()
      [0.0, 1.0]
    """

    group: Any

    def __post_init__(self) -> None:
        require_is_group(self.group, "group", "it must be a group whose elements are matrices, for example SO(3)")
        _size(self.group)

    @property
    def dim(self) -> int:
        """Size of the matrices."""
        return _size(self.group)

    def __call__(self, g: Element) -> jax.Array:
        """Returns the matrix of ``g``, float ``(…, dim, dim)``."""
        self.group.require_element(g)
        return jnp.asarray(self.group.matrix(g), float)


@bounded
def _size(group: Any) -> int:
    return jax.eval_shape(lambda: group.matrix(group.identity)).shape[-1]
