"""A representation in other coordinates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import FrozenArray, read_only, require_real
from equijax._cache import bounded
from equijax.groups._elements import known_reals
from equijax.groups._group import Element
from equijax.reps._representation import Representation, require_representation

_CONDITION = 1e6


class Conjugated(Representation):
    r"""A representation in other coordinates, :math:`S ρ(g) S^{-1}`. Made by :func:`conjugated`.

    Attributes:
      base: the representation in its own coordinates.
    """

    __slots__ = ("_matrix", "base")

    base: Representation

    def __init__(self, base: Representation, matrix: Any):
        require_representation(base, "base")
        require_real(matrix, "matrix")
        change = known_reals(matrix, "matrix")
        if change.shape != (base.dim, base.dim):
            raise ValueError(
                f"`matrix` has shape {change.shape}; a change of the coordinates of {base!r} is ({base.dim}, {base.dim})."
            )
        condition = np.linalg.cond(change) if np.isfinite(change).all() else np.inf
        if not condition <= _CONDITION:
            raise ValueError(
                f"`matrix` has condition number {condition:.1e}; it must be invertible, below {_CONDITION:.0e}, or digits "
                "are lost. Give a better conditioned change of coordinates, best an orthogonal one."
            )
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "_matrix", FrozenArray(change, np.float64))

    @property
    def matrix(self) -> np.ndarray:
        """The change of coordinates S, float64 ``(dim, dim)``: new coordinates are S times old ones. Read-only."""
        return self._matrix.array

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
        """Matrices of the generators, float64 ``(dim, dim)``. Read-only."""
        return _generators(self)

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Derivatives, float64 ``(dim, dim)``. Read-only."""
        return _algebra(self)

    def restrict(self, subgroup: Any) -> Representation:
        """Returns the restricted base in the same coordinates."""
        return Conjugated(self.base.restrict(subgroup), self.matrix)

    def __call__(self, g: Element) -> jax.Array:
        """Returns the matrix of ``g``, float ``(…, dim, dim)``."""
        there, back = jnp.asarray(self.matrix, float), jnp.asarray(_inverse(self), float)
        return jnp.einsum("ij,...jk,kl->...il", there, jnp.asarray(self.base(g), float), back, precision="highest")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Conjugated is immutable; make a new one instead of changing `{name}`.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Conjugated):
            return NotImplemented
        return self.base == other.base and self._matrix == other._matrix

    def __hash__(self) -> int:
        return hash(("Conjugated", self.base, self._matrix))

    def __reduce__(self) -> tuple:
        return (Conjugated, (self.base, self.matrix))

    def __repr__(self) -> str:
        return f"conjugated({self.base!r}, <{self.dim}×{self.dim}>)"


def conjugated(rep: Representation, matrix: Any) -> Representation:
    r"""Returns the representation in new coordinates y = S x: :math:`S ρ(g) S^{-1}`.

    Args:
      rep: a representation.
      matrix: S, float64 ``(dim, dim)``, invertible.

    Raises:
      TypeError: ``rep`` is no representation.
      ValueError: the shape is wrong, the matrix is complex, or it is singular or nearly so.

    Example: stretched coordinates, in which a quarter turn is no longer orthogonal.
      >>> import equijax as ej
      >>> stretched = ej.reps.conjugated(ej.reps.Vector(ej.Cyclic(4)), [[2.0, 0.0], [0.0, 1.0]])
      >>> stretched(1).tolist(), stretched.is_orthogonal
      ([[0.0, -2.0], [0.5, 0.0]], False)
    """
    require_representation(rep, "rep")
    return Conjugated(rep, matrix)


@bounded
def _inverse(rep: Conjugated) -> np.ndarray:
    return read_only(np.linalg.inv(rep.matrix))


@bounded
def _generators(rep: Conjugated) -> tuple[np.ndarray, ...]:
    return tuple(read_only(rep.matrix @ a @ _inverse(rep)) for a in rep.base.generators)


@bounded
def _algebra(rep: Conjugated) -> tuple[np.ndarray, ...]:
    return tuple(read_only(rep.matrix @ a @ _inverse(rep)) for a in rep.base.algebra)
