"""The contract of representations."""

import abc
from typing import Any

import jax

from equijax.groups import FiniteGroup


class Representation(abc.ABC):
    r"""How a group element acts on one vector, the *fibre* over a point of the base.

    Law: ``rho(gh) = rho(g) rho(h)`` for matrices that act on column vectors.

    Attributes:
      group: the group.
    """

    group: FiniteGroup

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Dimension of the fibre."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes that the fibre takes in an array: ``(dim,)``, or ``()`` for the scalar fibre."""
        return (self.dim,)

    @abc.abstractmethod
    def __call__(self, g: Any) -> jax.Array:
        """Returns the matrix of ``g``, float ``(…, dim, dim)``."""

    @property
    def is_permutation(self) -> bool:
        """True where every element permutes the coordinates: only then may a pointwise nonlinearity follow."""
        return False
