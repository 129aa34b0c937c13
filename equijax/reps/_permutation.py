"""Representations that permute the coordinates of the fibre."""

import abc
import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import FrozenArray, read_only
from equijax.groups import FiniteGroup, Subgroup
from equijax.groups._elements import batch_shape, require_numbers
from equijax.groups._group import require_is_group
from equijax.reps._representation import Representation, require_finite_group, require_same_group

if TYPE_CHECKING:
    from equijax.reps._decompose import Decomposition

_ONE = read_only(np.ones((1, 1)))
_ZERO = read_only(np.zeros((1, 1)))
_NUMBER = read_only(np.zeros(1, np.int32))


class PermutationRepresentation(Representation):
    """A representation by permutation matrices: g moves coordinate i to coordinate ``table[g, i]``.

    Everything follows from ``table``. ``+`` is the direct sum, ``*`` the tensor product (first index slowest);
    a permutation representation is its own dual.
    """

    @property
    @abc.abstractmethod
    def table(self) -> np.ndarray:
        """Images, int32 ``(order, dim)``: ``rho(g) e_i = e_{table[g, i]}``. Read-only."""

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.table.shape[1]

    @property
    def is_permutation(self) -> bool:
        """True."""
        return True

    @property
    def is_orthogonal(self) -> bool:
        """True."""
        return True

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """Permutation matrices of the group's generators, float64 ``(dim, dim)``."""
        return _matrices_of_generators(self)

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Empty: a finite group has no directions."""
        return ()

    @property
    def invariants(self) -> np.ndarray:
        """One indicator for each orbit of coordinates, float64 ``(orbits, dim)``."""
        return _indicators(self)

    @property
    def dual(self) -> "PermutationRepresentation":
        """The dual representation, which is the same one."""
        return self

    @property
    def orbits(self) -> np.ndarray:
        """Number of the orbit of each coordinate, int32 ``(dim,)``, numbered by first appearance. Read-only."""
        return _orbits(self)

    def __call__(self, g: Any) -> jax.Array:
        """Returns the permutation matrix of ``g``, float32 ``(…, dim, dim)``."""
        image = jnp.asarray(self.table)[jnp.asarray(g, jnp.int32)]
        return jnp.swapaxes(jax.nn.one_hot(image, self.dim, dtype=jnp.float32), -1, -2)

    def act(self, g: Any, x: Any, axis: int) -> jax.Array:
        """Moves coordinate i of ``axis`` to ``table[g, i]``; g is one element."""
        require_numbers(g, self.group.order, "g")
        if not self.shape:
            return jnp.asarray(x)
        source = jnp.asarray(_sources(self))[jnp.asarray(g, jnp.int32)]
        return jnp.take(jnp.asarray(x), source, axis=axis, mode="clip")

    def restrict(self, subgroup: Any) -> Representation:
        """Returns the permutations that a smaller group gives, on the same coordinates."""
        if not isinstance(subgroup, Subgroup):
            return super().restrict(subgroup)
        if subgroup.group != self.group:
            raise ValueError(f"`subgroup` belongs to {subgroup.group!r}, but the fibre is one of {self.group!r}.")
        return self._restricted(subgroup)

    def _restricted(self, subgroup: Subgroup) -> "PermutationRepresentation":
        return PermutationRep(subgroup.as_group(), self.table[list(subgroup.elements)])

    def sources(self, g: Any) -> np.ndarray:
        """Returns which coordinate moves to each coordinate, int32 ``(dim,)``, for a concrete ``g``."""
        return _sources(self)[g]

    def __add__(self, other: Representation) -> Representation:
        if not (isinstance(other, PermutationRepresentation) and isinstance(self.group, FiniteGroup)):
            return super().__add__(other)
        require_same_group(self, other)
        return PermutationRep(self.group, np.concatenate([self.table, other.table + self.dim], axis=1))

    def __mul__(self, other: Representation | int) -> Representation:
        if not (isinstance(other, PermutationRepresentation) and isinstance(self.group, FiniteGroup)):
            return super().__mul__(other)
        require_same_group(self, other)
        pairs = self.table[:, :, None] * other.dim + other.table[:, None, :]
        return PermutationRep(self.group, pairs.reshape(self.group.order, -1))


@dataclasses.dataclass(frozen=True)
class Scalar(PermutationRepresentation):
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
        return super().restrict(subgroup) if isinstance(subgroup, Subgroup) else Scalar(subgroup)

    def _restricted(self, subgroup: Subgroup) -> PermutationRepresentation:
        return Scalar(subgroup.as_group())

    def __call__(self, g: Any) -> jax.Array:
        """Returns ones, float32 ``(…, 1, 1)``."""
        return jnp.ones((*batch_shape(self.group, g), 1, 1), jnp.float32)

    def sources(self, g: Any) -> np.ndarray:
        """Returns 0, int32 ``(1,)``: where the one coordinate comes from."""
        del g
        return _NUMBER

    def act(self, g: Any, x: Any, axis: int) -> jax.Array:
        """Returns ``x``."""
        if isinstance(self.group, FiniteGroup):
            require_numbers(g, self.group.order, "g")
        return jnp.asarray(x)


@dataclasses.dataclass(frozen=True)
class Regular(PermutationRepresentation):
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
class Quotient(PermutationRepresentation):
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
                f"`subgroup` is {self.subgroup!r}; Quotient needs a Subgroup, which group.subgroup(elements) makes."
            )

    @property
    def group(self) -> FiniteGroup:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The whole group."""
        return self.subgroup.group

    @property
    def table(self) -> np.ndarray:
        """Images of the cosets, int32 ``(order, index)``."""
        return _quotient_table(self.subgroup)


class PermutationRep(PermutationRepresentation):
    """A representation by any permutations of the user's.

    Args:
      group: the finite group.
      table: int ``(order, dim)``: element g moves coordinate i to ``table[g, i]``.

    Raises:
      ValueError: the table has the wrong shape, a row is no permutation, or rows don't compose as the group does.

    Example: the letters A, C, G, T of DNA under the reverse complement.
      >>> import equijax as ej
      >>> ej.reps.PermutationRep(ej.Reflection(1), [[0, 1, 2, 3], [3, 2, 1, 0]]).dim
      4
    """

    __slots__ = ("_images", "group")

    group: FiniteGroup

    def __init__(self, group: FiniteGroup, table: Any):
        require_finite_group(group)
        images = np.asarray(table)
        if images.ndim != 2 or images.shape[0] != group.order or not images.shape[1]:
            raise ValueError(
                f"`table` has shape {images.shape}; it needs one row of images for each of the {group.order} elements of "
                f"{group!r}. PermutationRep.from_generators(group, images) fills in the rest from the generators."
            )
        if images.dtype.kind not in "iu" or not (np.sort(images, 1) == np.arange(images.shape[1])[None]).all():
            raise ValueError(
                f"`table` has a row that is not a permutation of 0 … {images.shape[1] - 1}; every element of the group "
                "must permute the coordinates."
            )
        composes = all(np.array_equal(images[group.table[g]], images[g][images]) for g in group.generators)
        if not composes or not np.array_equal(images[0], np.arange(images.shape[1])):
            raise ValueError(
                "`table` does not compose as the group does: row g after row h must be row g ∘ h, and row 0 the "
                "identity. Check the order of the rows against the elements of the group."
            )
        object.__setattr__(self, "group", group)
        object.__setattr__(self, "_images", FrozenArray(images, np.int32))

    @staticmethod
    def from_generators(group: FiniteGroup, images: Iterable[Sequence[int]]) -> "PermutationRep":
        """Extends permutations of the generators to the whole group.

        Args:
          group: the finite group.
          images: one permutation for each entry of ``group.generators``, in that order.

        Raises:
          ValueError: the number of permutations is wrong, or they satisfy other relations than the generators.

        Example:
          >>> import equijax as ej
          >>> triangle = [[1, 2, 0], [1, 0, 2]]
          >>> group = ej.FiniteGroup.from_permutations(triangle)
          >>> ej.reps.PermutationRep.from_generators(group, triangle).dim
          3
        """
        require_finite_group(group)
        given = [np.asarray(p) for p in images]
        if len(given) != len(group.generators):
            raise ValueError(
                f"`images` holds {len(given)} permutations; {group!r} has {len(group.generators)} generators "
                f"{group.generators}, and each needs one."
            )
        for p in given:
            if p.shape != given[0].shape or p.ndim != 1 or not np.array_equal(np.sort(p), np.arange(p.size)):
                raise ValueError(
                    f"`images` holds {p.tolist()}, which is not a permutation of 0 … {given[0].size - 1}. Each entry is a "
                    "list of images in which every coordinate appears exactly once, and all have one length."
                )
        dim = len(given[0]) if given else 1
        table = np.full((group.order, dim), -1, np.int64)
        table[0] = np.arange(dim)
        frontier = [0]
        for g in frontier:
            for s, p in zip(group.generators, given, strict=True):
                k = int(group.table[g, s])
                if table[k, 0] < 0:
                    table[k] = table[g][p]
                    frontier.append(k)
        return PermutationRep(group, table)

    @property
    def table(self) -> np.ndarray:
        """Images, int32 ``(order, dim)``."""
        return self._images.array

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"PermutationRep is immutable; make a new one instead of changing `{name}`.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PermutationRep):
            return NotImplemented
        return self.group == other.group and self._images == other._images

    def __hash__(self) -> int:
        return hash(("PermutationRep", self.group, self._images))

    def __reduce__(self) -> tuple:
        return (PermutationRep, (self.group, self.table))

    def __repr__(self) -> str:
        rows = self.table.tolist() if self.table.size <= 32 else f"<{self.table.shape[0]}×{self.table.shape[1]} images>"
        return f"PermutationRep({self.group!r}, {rows})"


@functools.cache
def _scalar_table(group: FiniteGroup) -> np.ndarray:
    return read_only(np.zeros((group.order, 1), np.int32))


@functools.cache
def _quotient_table(subgroup: Subgroup) -> np.ndarray:
    return read_only(subgroup.coset_of[subgroup.group.table[:, subgroup.cosets[:, 0]]])


@functools.cache
def _sources(fibre: PermutationRepresentation) -> np.ndarray:
    return read_only(fibre.table[fibre.group.inverses])


@functools.cache
def _matrices_of_generators(fibre: PermutationRepresentation) -> tuple[np.ndarray, ...]:
    rows = np.eye(fibre.dim)
    return tuple(read_only(np.ascontiguousarray(rows[fibre.table[g]].T)) for g in fibre.group.generators)


@functools.cache
def _indicators(fibre: PermutationRepresentation) -> np.ndarray:
    orbit = fibre.orbits
    return read_only((orbit[None] == np.arange(int(orbit.max()) + 1)[:, None]).astype(np.float64))


@functools.cache
def _orbits(fibre: PermutationRepresentation) -> np.ndarray:
    smallest = fibre.table.min(axis=0)
    firsts = sorted(set(smallest.tolist()))
    return read_only(np.searchsorted(firsts, smallest).astype(np.int32))
