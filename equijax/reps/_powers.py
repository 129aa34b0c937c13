"""Symmetric and exterior powers of a representation."""

import dataclasses
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import boolean
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.groups._group import Element
from equijax.reps._representation import Representation, require_representation
from equijax.reps._scalar import Scalar

_MAX_ENTRIES = 2**24
_MOST_INDICES = 64


@dataclasses.dataclass(frozen=True)
class Power(Representation):
    r"""Symmetric or alternating tensors of one order, in orthonormal coordinates.

    With the orthonormal basis S of the tensors, columns of a ``(dimᵏ, D)`` matrix, it is :math:`S^T ρ(g)^{⊗k} S`. Made by
    :func:`symmetric_power` and :func:`exterior_power`.

    Attributes:
      base: the representation of one index.
      order: the number k of indices, at least 2.
      alternating: True for the exterior power.
    """

    base: Representation
    order: int
    alternating: bool

    def __post_init__(self) -> None:
        require_representation(self.base, "base")
        object.__setattr__(self, "order", positive_int(self.order, "order", 2, None, _MOST_INDICES))
        object.__setattr__(self, "alternating", boolean(self.alternating, "alternating"))

    @property
    def group(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The group of the base."""
        return self.base.group

    @property
    def dim(self) -> int:
        """Number of increasing lists of k coordinates, strictly increasing where alternating."""
        n, k = self.base.dim, self.order
        return math.comb(n, k) if self.alternating else math.comb(n + k - 1, k)

    @property
    def tensors(self) -> np.ndarray:
        """The orthonormal basis S, float64 ``(base.dim ** order, dim)``, of tensors flattened in C order. Read-only."""
        return _basis(self.base.dim, self.order, self.alternating)

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """Matrices of the generators, float64 ``(dim, dim)``. Read-only."""
        return _generators(self)

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Derivatives, float64 ``(dim, dim)``: k times the derivative in the first index. Read-only."""
        return _algebra(self)

    @property
    def is_orthogonal(self) -> bool:
        """True where every matrix is orthogonal."""
        return self.base.is_orthogonal or super().is_orthogonal

    @property
    def dual(self) -> Representation:
        """The power of the dual."""
        return dataclasses.replace(self, base=self.base.dual)

    def restrict(self, subgroup: Any) -> Representation:
        """Returns the power of the restricted base."""
        return dataclasses.replace(self, base=self.base.restrict(subgroup))

    def __call__(self, g: Element) -> jax.Array:
        """Returns the matrix of ``g``, float ``(…, dim, dim)``."""
        matrix = jnp.asarray(self.base(g), float)
        n, count = self.base.dim, self.dim
        rest = n ** (self.order - 1)
        batch = matrix.shape[:-2]
        moved = jnp.broadcast_to(jnp.asarray(self.tensors.T, float), (*batch, count, n * rest))
        for _ in range(self.order):
            first_last = jnp.swapaxes(moved.reshape(*batch, count, n, rest), -1, -2)
            moved = jnp.einsum("...cri,...ji->...crj", first_last, matrix, precision="highest").reshape(moved.shape)
        return jnp.einsum("tc,...dt->...cd", jnp.asarray(self.tensors, float), moved, precision="highest")

    def __repr__(self) -> str:
        return f"{'exterior' if self.alternating else 'symmetric'}_power({self.base!r}, {self.order})"


def symmetric_power(rep: Representation, order: int) -> Representation:
    """Returns the representation on symmetric tensors of an order: homogeneous polynomials.

    Coordinates are orthonormal: one for each list ``i₁ ≤ … ≤ i_k`` in lexicographic order, the tensor that is equal on all
    its rearrangements. Order 0 is the scalar, order 1 ``rep`` itself.

    Raises:
      TypeError: ``rep`` is no representation, or ``order`` no integer.
      ValueError: ``order`` is negative, or the tensors are too many.

    Example: symmetric 3×3 matrices.
      >>> import equijax as ej
      >>> ej.reps.symmetric_power(ej.reps.Vector(ej.Octahedral()), 2).dim
      6
    """
    return _power(rep, order, False)


def exterior_power(rep: Representation, order: int) -> Representation:
    """Returns the representation on alternating tensors of an order: areas, volumes, the determinant.

    Coordinates are orthonormal: one for each list ``i₁ < … < i_k`` in lexicographic order. Order 0 is the scalar, order 1
    ``rep`` itself, order ``rep.dim`` the determinant.

    Raises:
      TypeError: ``rep`` is no representation, or ``order`` no integer.
      ValueError: ``order`` is negative or above ``rep.dim``, or the tensors are too many.

    Example: a mirror turns an oriented area round.
      >>> import equijax as ej
      >>> ej.reps.exterior_power(ej.reps.Vector(ej.Dihedral(4)), 2)(4).round(3).tolist()
      [[-1.0]]
    """
    return _power(rep, order, True)


def _power(rep: Representation, order: int, alternating: bool) -> Representation:
    require_representation(rep, "rep")
    k = positive_int(order, "order", 0, None, _MOST_INDICES)
    if alternating and k > rep.dim:
        above = f" and at most {rep.dim}, the dimension: beyond it every alternating tensor is zero" if alternating else ""
        raise ValueError(f"`order` is {order}; it must be 0 or more{above}.")
    if k < 2:
        return rep if k else Scalar(rep.group)
    power = Power(rep, k, alternating)
    if rep.dim**k * power.dim > _MAX_ENTRIES:
        raise ValueError(
            f"`order` is {order}: {power.dim} tensors of {rep.dim}^{k} entries are too many. Take a lower order, or powers "
            "of the parts of the representation."
        )
    return power


@bounded
def _basis(dim: int, order: int, alternating: bool) -> np.ndarray:
    choose = itertools.combinations if alternating else itertools.combinations_with_replacement
    lists = list(choose(range(dim), order))
    found = np.zeros((*[dim] * order, len(lists)))
    for column, indices in enumerate(lists):
        for places in itertools.permutations(range(order)):
            found[(*(indices[p] for p in places), column)] = _sign(places) if alternating else 1.0
    found = found.reshape(dim**order, len(lists))
    return read_only(found / np.linalg.norm(found, axis=0))


def _sign(places: tuple[int, ...]) -> float:
    inversions = sum(a > b for a, b in itertools.combinations(places, 2))
    return 1.0 - 2.0 * (inversions % 2)


def _moved(power: Power, matrices: tuple[np.ndarray, ...]) -> np.ndarray:
    """Sᵀ (A₁ ⊗ A₂ ⊗ …) S."""
    n, count = power.base.dim, power.dim
    moved = power.tensors.T
    for matrix in matrices:
        moved = np.swapaxes(moved.reshape(count, n, -1), -1, -2) @ matrix.T
        moved = moved.reshape(count, -1)
    return read_only(power.tensors.T @ moved.T)


@bounded
def _generators(power: Power) -> tuple[np.ndarray, ...]:
    return tuple(_moved(power, (a,) * power.order) for a in power.base.generators)


@bounded
def _algebra(power: Power) -> tuple[np.ndarray, ...]:
    others = (np.eye(power.base.dim),) * (power.order - 1)
    return tuple(read_only(power.order * _moved(power, (a, *others))) for a in power.base.algebra)
