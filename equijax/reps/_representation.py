"""The contract of representations."""

import abc
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import shown
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._dtypes import accumulation_dtype
from equijax._numbers import positive_int
from equijax.groups import FiniteGroup, Group
from equijax.groups._elements import numeric
from equijax.groups._group import Element
from equijax.groups._lie_algebra import is_orthogonal

if TYPE_CHECKING:
    from equijax.reps._decompose import Decomposition
    from equijax.reps._irrep import Irrep


class Representation(abc.ABC):
    r"""How a group element acts on one vector, the *fibre* over a point of the base.

    Law: ``rho(gh) = rho(g) rho(h)`` for matrices that act on column vectors.

    A subclass gives ``group``, ``dim`` and ``__call__``; everything else follows from them, in float64. It is an
    immutable value, hashable and equal by value, so that it can be a static attribute of a module.

    ``a + b`` is the direct sum, ``a * b`` the tensor product (first index slowest), ``3 * a`` the sum of three copies.

    Attributes:
      group: the group.
    """

    group: Any

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Dimension of the fibre."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes that the fibre takes in an array: ``(dim,)``, or ``()`` for the scalar fibre."""
        return (self.dim,)

    @abc.abstractmethod
    def __call__(self, g: Element) -> jax.Array:
        """Returns the matrix of ``g``, float ``(…, dim, dim)``; jits, vmaps, and is differentiable for a Lie group."""

    def act(self, g: Element, x: Any, axis: int) -> jax.Array:
        """Returns ``x`` with one axis, of length ``dim``, multiplied by the matrix of one element ``g``."""
        x, axis = fibre_axis(self, g, x, axis)
        if not self.shape:
            return x
        matrix = self(g)
        require_one(g, jnp.ndim(matrix) - 2)
        _require_square(self, jnp.shape(matrix))
        dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else matrix.dtype
        wide = accumulation_dtype(dtype)
        moved = jnp.tensordot(matrix.astype(wide), x.astype(wide), axes=((1,), (axis,)), precision="highest")
        return jnp.moveaxis(moved, 0, axis).astype(dtype)

    def sources(self, g: Element) -> np.ndarray:
        """Returns which coordinate moves to each coordinate, int ``(dim,)``, for a concrete ``g``; where it permutes.

        Raises:
          ValueError: the representation does not permute its coordinates.
        """
        self.group.require_element(g)
        if not self.is_permutation:
            raise ValueError(f"{self!r} does not permute its coordinates, so there is no list of sources. Use its matrices.")
        with jax.ensure_compile_time_eval():
            return np.argmax(np.asarray(self(g)), axis=1)

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """Matrices of ``group.discrete_generators``, in that order, float64 ``(dim, dim)``. Read-only."""
        return _generators(self)

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Derivatives along ``group.algebra``, in that order, float64 ``(dim, dim)``; empty for a discrete group."""
        return _algebra(self)

    @property
    def invariants(self) -> np.ndarray:
        """Basis of the vectors that nothing moves, float64 ``(k, dim)``: where a bias may live. Read-only."""
        return _invariants(self)

    @property
    def is_permutation(self) -> bool:
        """True where every element permutes the coordinates: only then may a pointwise nonlinearity follow."""
        return False

    @property
    def table(self) -> np.ndarray:
        """Images where the coordinates are permuted, int32 ``(order, dim)``: ``rho(g) e_i = e_{table[g, i]}``. Read-only.

        Raises:
          ValueError: the group does not permute the coordinates, or its elements can't be listed.
        """
        if not self.is_permutation:
            raise ValueError(f"{self!r} does not permute its coordinates, so it has no table of images. Use its matrices.")
        return _table(self)

    @property
    def is_orthogonal(self) -> bool:
        """True where every matrix is orthogonal, so that Euclidean lengths of fibres are invariant."""
        return _is_orthogonal(self)

    @property
    def parts(self) -> "tuple[Representation, ...]":
        """The summands along the coordinates, in order; itself where it is no sum."""
        return (self,)

    @property
    def factors(self) -> "tuple[Representation, ...]":
        """The factors of a tensor product, in order; itself where it is none."""
        return (self,)

    @property
    def is_irrep(self) -> bool:
        """True of the members of the group's list of irreps: two of them are equal or have no map between them."""
        return False

    @property
    def known_decomposition(self) -> "Decomposition | None":
        """The decomposition where it can be written down; None where :func:`decompose` has to compute it."""
        return None

    @property
    def irreps(self) -> "tuple[tuple[Irrep, int], ...]":
        """The irreducible parts and how often each occurs, in the order of ``basis``.

        Raises:
          ValueError: the irreps of the group are not known.
        """
        from equijax.reps._decompose import decompose

        return decompose(self).irreps

    @property
    def basis(self) -> np.ndarray:
        """Change of basis Q, float64 ``(dim, dim)``: ``Q⁻¹ rho(g) Q`` is block diagonal, copies of ``irreps`` in order.

        Raises:
          ValueError: the irreps of the group are not known.
        """
        from equijax.reps._decompose import decompose

        return decompose(self).basis

    @property
    def dual(self) -> "Representation":
        """The representation on linear forms, ``rho(g⁻¹)ᵀ``; where ``rho`` is orthogonal that is ``rho`` itself."""
        from equijax.reps._dual import dual

        return dual(self)

    def restrict(self, subgroup: Any) -> "Representation":
        """Returns the same vectors, moved by a smaller group.

        Args:
          subgroup: a ``Subgroup`` of a finite group, or any group whose elements embed by their matrices.
        """
        from equijax.reps._restrict import restricted

        return restricted(self, subgroup)

    def induce(self, subgroup: Any) -> "Representation":
        """Returns the representation of ``subgroup.group`` that this representation of ``subgroup.as_group()`` induces."""
        from equijax.reps._induce import induce

        return induce(self, subgroup)

    def __add__(self, other: "Representation") -> "Representation":
        from equijax.reps._sum import DirectSum

        return DirectSum((self, other))

    def __mul__(self, other: "Representation | int") -> "Representation":
        from equijax.reps._sum import copies
        from equijax.reps._tensor_product import multiplied

        return multiplied(self, other) if isinstance(other, Representation) else copies(self, other)

    def __rmul__(self, count: int) -> "Representation":
        from equijax.reps._sum import copies

        return copies(self, count)


def fibre_axis(rep: Representation, g: Element, x: Any, axis: int) -> tuple[jax.Array, int]:
    """Returns what ``rep.act`` moves as an array, and the number of the axis counted from the first one.

    Raises:
      TypeError: ``g`` is no element, ``x`` no array of numbers, or ``axis`` no integer.
      ValueError: ``g`` is no element, or the axis is not there or not as long as the fibre.
    """
    rep.group.require_element(g)
    x = numeric(x, "x")
    axis = positive_int(axis, "axis", -(2**31))
    if not -x.ndim <= axis < x.ndim and rep.shape:
        raise ValueError(f"`axis` is {axis}; `x` has shape {x.shape}, so the axis of the fibre is one of 0 … {x.ndim - 1}.")
    if rep.shape and x.shape[axis] != rep.dim:
        raise ValueError(f"`x` has shape {x.shape}; its axis {axis} must have the length {rep.dim} of the fibre {rep!r}.")
    return x, axis % max(x.ndim, 1)


def require_one(g: Element, batch_ndim: int) -> None:
    """Raises ``ValueError`` where ``g`` are several elements."""
    if batch_ndim:
        raise ValueError(
            f"`g` is {shown(g)}, which are several elements; `act` moves by one. Map over them: "
            "jax.vmap(lambda g: rep.act(g, x, axis))(g)."
        )


def require_representation(rep: Any, name: str) -> None:
    """Raises ``TypeError`` where ``rep`` is no representation."""
    if not isinstance(rep, Representation):
        raise TypeError(
            f"`{name}` is {shown(rep)} of type {type(rep).__name__}; it must be a representation, for example "
            "ej.reps.Regular(group) or ej.reps.Scalar(group)."
        )


def require_finite_group(group: Any) -> None:
    """Raises ``TypeError`` where ``group`` is no group whose elements are numbers."""
    if not isinstance(group, FiniteGroup):
        remedy = "Use its `point_group`." if isinstance(group, Group) else "For example Dihedral(4)."
        raise TypeError(f"`group` is {shown(group)}; a fibre belongs to a FiniteGroup. {remedy}")


def require_same_group(first: Representation, second: Representation) -> None:
    """Raises ``ValueError`` where two representations belong to different groups."""
    if first.group != second.group:
        raise ValueError(
            f"the representations belong to different groups, {first.group!r} and {second.group!r}. Restrict one of them "
            "to the group of the other: rep.restrict(smaller)."
        )


@bounded
def _generators(rep: Representation) -> tuple[np.ndarray, ...]:
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return tuple(_square(rep, rep(g)) for g in rep.group.discrete_generators)


@bounded
def _table(rep: Representation) -> np.ndarray:
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return read_only(np.argmax(np.asarray(rep(rep.group.elements())), axis=-2).astype(np.int32))


@bounded
def _algebra(rep: Representation) -> tuple[np.ndarray, ...]:
    group: Group = rep.group
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return tuple(_square(rep, _derivative(rep, x)) for x in group.algebra)


def _square(rep: Representation, matrix: Any) -> np.ndarray:
    found = np.array(matrix, np.float64)
    _require_square(rep, found.shape)
    return read_only(found)


def _require_square(rep: Representation, shape: tuple[int, ...]) -> None:
    """Raises ``ValueError`` where a matrix of one element has another size than the representation says."""
    if shape != (rep.dim, rep.dim):
        raise ValueError(
            f"`dim` of {rep!r} is {rep.dim}, but its matrix of one element has shape {shape}; it must be square, "
            f"({rep.dim}, {rep.dim})."
        )


def _derivative(rep: Representation, direction: np.ndarray) -> jax.Array:
    """d/dt rho(exp(tX)) at t = 0, float64 ``(dim, dim)``: any curve with the tangent X at the identity gives it."""
    group: Group = rep.group
    return jax.jvp(rep, (group.identity,), (group.tangent(direction),))[1]


@bounded
def _invariants(rep: Representation) -> np.ndarray:
    from equijax.reps._solver import invariant_vectors

    return read_only(invariant_vectors(rep.generators, rep.algebra, rep.dim))


@bounded
def _is_orthogonal(rep: Representation) -> bool:
    return is_orthogonal(rep.generators, rep.algebra, [np.asarray(x) for x in rep.group.algebra])
