"""Tensor products of representations, and the tensors T(p, q)."""

import dataclasses
import functools
import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import listed
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.groups._group import Element
from equijax.reps._representation import Representation, fibre_axis, require_representation, require_same_group
from equijax.reps._scalar import Scalar

_MOST_INDICES = 32


@dataclasses.dataclass(frozen=True, repr=False)
class TensorProduct(Representation):
    r"""The tensor product: :math:`ρ(g) = ρ_1(g) ⊗ ρ_2(g) ⊗ …`, the index of the first factor slowest.

    Made by ``a * b`` or :func:`tensor_product`. Products of permutations stay permutations
    (:class:`PermutationRepresentation`).

    Attributes:
      terms: the factors, none of which is a product itself.

    Example: matrices that turn with the plane, ``R M Rᵀ``.
      >>> import equijax as ej
      >>> plane = ej.reps.Vector(ej.Cyclic(4))
      >>> (plane * plane).act(1, [1.0, 0.0, 0.0, 0.0], axis=0).tolist()
      [0.0, 0.0, 0.0, 1.0]
    """

    terms: tuple[Representation, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(listed(self.terms, "terms", "representations")))
        if not self.terms:
            raise ValueError("`terms` is empty; a product needs at least one representation.")
        flat = []
        for factor in self.terms:
            require_representation(factor, "terms")
            require_same_group(self.terms[0], factor)
            flat += factor.factors
        object.__setattr__(self, "terms", tuple(flat))

    @property
    def group(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The group of the factors."""
        return self.terms[0].group

    @property
    def factors(self) -> tuple[Representation, ...]:
        """The factors, in order."""
        return self.terms

    @property
    def dim(self) -> int:
        """The product of the dimensions."""
        return math.prod(factor.dim for factor in self.factors)

    @property
    def parts(self) -> tuple[Representation, ...]:
        """Where the first factor is a sum, its parts times the other factors, whose coordinates follow each other."""
        first, *others = self.factors
        if len(first.parts) == 1:
            return (self,)
        return tuple(tensor_product(part, *others) for part in first.parts)

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """Kronecker products of the matrices of the generators, float64 ``(dim, dim)``. Read-only."""
        return _generators(self)

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Sums of the derivatives in one factor after the other, float64 ``(dim, dim)``. Read-only."""
        return _algebra(self)

    @property
    def is_permutation(self) -> bool:
        """True where all factors are permutations."""
        return all(factor.is_permutation for factor in self.factors)

    @property
    def is_orthogonal(self) -> bool:
        """True where every matrix is orthogonal."""
        return all(factor.is_orthogonal for factor in set(self.factors)) or super().is_orthogonal

    @property
    def dual(self) -> Representation:
        """The product of the duals."""
        return tensor_product(*(factor.dual for factor in self.factors))

    def restrict(self, subgroup: Any) -> Representation:
        """Returns the product of the restricted factors."""
        return tensor_product(*(factor.restrict(subgroup) for factor in self.factors))

    def __call__(self, g: Element) -> jax.Array:
        """Returns the Kronecker product, float ``(…, dim, dim)``."""
        matrices = {factor: jnp.asarray(factor(g), float) for factor in dict.fromkeys(self.factors)}
        return functools.reduce(_kron, [matrices[factor] for factor in self.factors])

    def act(self, g: Element, x: Any, axis: int) -> jax.Array:
        """Multiplies one axis factor by factor, without the large matrix; ``g`` is one element."""
        x, axis = fibre_axis(self, g, x, axis)
        x = x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)
        moved = x.reshape(*x.shape[:axis], *(factor.dim for factor in self.factors), *x.shape[axis + 1 :])
        for i, factor in enumerate(self.factors):
            moved = factor.act(g, moved, axis + i)
        return moved.reshape(x.shape)

    def __repr__(self) -> str:
        return " * ".join(f"({factor!r})" if " + " in repr(factor) else repr(factor) for factor in self.factors)


def tensor_product(*reps: Representation) -> Representation:
    """Returns the tensor product, the index of the first slowest; ``a * b`` of two. Scalars are left out.

    Raises:
      TypeError: an entry is no representation.
      ValueError: there is none, or their groups differ.

    Example:
      >>> import equijax as ej
      >>> plane = ej.reps.Vector(ej.Cyclic(4))
      >>> ej.reps.tensor_product(plane, plane, plane).dim
      8
    """
    if not reps:
        raise ValueError("`reps` is empty; a product needs at least one representation.")
    for rep in reps:
        require_representation(rep, "reps")
    return functools.reduce(operator.mul, reps)


def tensors(base: Representation, p: int, q: int = 0) -> Representation:
    """Returns T(p, q): tensors with p indices that ``base`` moves and q that its dual moves; T(0, 0) is the scalar.

    Raises:
      TypeError: ``base`` is no representation, or p or q no integer.
      ValueError: p or q is negative.

    Example: the electromagnetic field has two indices.
      >>> import equijax as ej
      >>> plane = ej.reps.Vector(ej.Cyclic(4))
      >>> ej.reps.tensors(plane, 2).dim, ej.reps.tensors(plane, 0)
      (4, Scalar(group=Cyclic(4)))
    """
    require_representation(base, "base")
    p, q = positive_int(p, "p", 0, None, _MOST_INDICES), positive_int(q, "q", 0, None, _MOST_INDICES)
    if not p + q:
        return Scalar(base.group)
    return tensor_product(*[base] * p, *[base.dual] * q)


def multiplied(first: Representation, second: Representation) -> Representation:
    """The product of two representations that are no permutations both."""
    require_same_group(first, second)
    kept = [rep for rep in (first, second) if rep.shape]
    return TensorProduct((first, second)) if len(kept) == 2 else kept[0] if kept else first


def _kron(a: jax.Array, b: jax.Array) -> jax.Array:
    product = jnp.einsum("...ij,...kl->...ikjl", a, b, precision="highest")
    rows, columns = a.shape[-2] * b.shape[-2], a.shape[-1] * b.shape[-1]
    return product.reshape(*product.shape[:-4], rows, columns)


@bounded
def _generators(rep: TensorProduct) -> tuple[np.ndarray, ...]:
    columns = zip(*(factor.generators for factor in rep.factors), strict=True)
    return tuple(read_only(functools.reduce(np.kron, matrices)) for matrices in columns)


@bounded
def _algebra(rep: TensorProduct) -> tuple[np.ndarray, ...]:
    columns = zip(*(factor.algebra for factor in rep.factors), strict=True)
    return tuple(read_only(functools.reduce(_kronecker_sum, matrices)) for matrices in columns)


def _kronecker_sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The derivative of the Kronecker product, from the derivatives of its factors."""
    return np.kron(a, np.eye(len(b))) + np.kron(np.eye(len(a)), b)
