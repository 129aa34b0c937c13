"""The dual of a representation."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.groups._group import Element
from equijax.reps._representation import Representation, require_representation


@dataclasses.dataclass(frozen=True, repr=False)
class Dual(Representation):
    r"""The dual: linear forms on the vectors of ``base``, moved by :math:`ρ(g^{-1})^T`.

    Law: the pairing ``a · x`` of a form and a vector does not change when g moves both.

    Made by ``rep.dual``, which returns ``rep`` itself where it is orthogonal.

    Attributes:
      base: the representation whose dual it is.
    """

    base: Representation

    def __post_init__(self) -> None:
        require_representation(self.base, "base")

    @property
    def group(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The group of the base."""
        return self.base.group

    @property
    def dim(self) -> int:
        """The dimension of the base."""
        return self.base.dim

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """Inverse transposes of the matrices of the generators, float64 ``(dim, dim)``. Read-only."""
        return _generators(self)

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """The negative transposes of the derivatives, float64 ``(dim, dim)``. Read-only."""
        return _algebra(self)

    @property
    def is_permutation(self) -> bool:
        """True where the base permutes."""
        return self.base.is_permutation

    @property
    def is_orthogonal(self) -> bool:
        """True where the base is orthogonal."""
        return self.base.is_orthogonal

    @property
    def dual(self) -> Representation:
        """The base."""
        return self.base

    def restrict(self, subgroup: Any) -> Representation:
        """Returns the dual of the restricted base."""
        return self.base.restrict(subgroup).dual

    def __call__(self, g: Element) -> jax.Array:
        """Returns the transposed matrix of the inverse of ``g``, float ``(…, dim, dim)``."""
        self.group.require_element(g)
        return jnp.swapaxes(jnp.asarray(self.base(self.group.inverse(g)), float), -1, -2)

    def __repr__(self) -> str:
        return f"({self.base!r}).dual" if " " in repr(self.base) else f"{self.base!r}.dual"


def dual(rep: Representation) -> Representation:
    """Returns the dual: ``rep`` itself where it is orthogonal, else ``Dual(rep)``."""
    return rep if rep.is_orthogonal else Dual(rep)


@bounded
def _generators(rep: Dual) -> tuple[np.ndarray, ...]:
    return tuple(read_only(np.ascontiguousarray(np.linalg.inv(a).T)) for a in rep.base.generators)


@bounded
def _algebra(rep: Dual) -> tuple[np.ndarray, ...]:
    return tuple(read_only(np.ascontiguousarray(-a.T)) for a in rep.base.algebra)
