"""What all representations by permutations share."""

import abc
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.groups import FiniteGroup, Subgroup
from equijax.groups._elements import concrete, known_numbers, looked_up, poison
from equijax.reps._representation import Representation, fibre_axis, require_one, require_same_group

if TYPE_CHECKING:
    from equijax.reps._permutation import PermutationRepresentation


class Permuting(Representation):
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
    def dual(self) -> "Permuting":
        """The dual representation, which is the same one."""
        return self

    @property
    def orbits(self) -> np.ndarray:
        """Number of the orbit of each coordinate, int32 ``(dim,)``, numbered by first appearance. Read-only."""
        return _orbits(self)

    def __call__(self, g: Any) -> jax.Array:
        """Returns the permutation matrix of ``g``, float32 ``(…, dim, dim)``."""
        image = looked_up(self.table, g)
        matrix = jnp.swapaxes(jax.nn.one_hot(image, self.dim, dtype=jnp.float32), -1, -2)
        return matrix if concrete(g) is not None else jnp.where((image >= 0)[..., None, :], matrix, jnp.float32(jnp.nan))

    def act(self, g: Any, x: Any, axis: int) -> jax.Array:
        """Moves coordinate i of ``axis`` to ``table[g, i]``; g is one element. A traced one that is none poisons ``x``."""
        x, axis = fibre_axis(self, g, x, axis)
        if not self.shape:
            return x
        source = looked_up(_sources(self), g)
        require_one(g, source.ndim - 1)
        if concrete(g) is not None:
            return jnp.take(x, source, axis=axis, mode="clip")
        source = jnp.where(source < 0, self.dim, source)
        return jnp.take(x, source, axis=axis, mode="fill", fill_value=poison(x.dtype))

    def restrict(self, subgroup: Any) -> Representation:
        """Returns the permutations that a smaller group gives, on the same coordinates."""
        if not isinstance(subgroup, Subgroup):
            return super().restrict(subgroup)
        if subgroup.group != self.group:
            raise ValueError(f"`subgroup` belongs to {subgroup.group!r}, but the fibre is one of {self.group!r}.")
        return self._restricted(subgroup)

    def _restricted(self, subgroup: Subgroup) -> "Permuting":
        return _listed(subgroup.as_group(), self.table[list(subgroup.elements)])

    def sources(self, g: Any) -> np.ndarray:
        """Returns which coordinate moves to each coordinate, int32 ``(dim,)``, for a concrete ``g``."""
        return _sources(self)[known_numbers(g, self.group.order, "g")]

    def __add__(self, other: Representation) -> Representation:
        if not (isinstance(other, Permuting) and isinstance(self.group, FiniteGroup)):
            return super().__add__(other)
        require_same_group(self, other)
        return _listed(self.group, np.concatenate([self.table, other.table + self.dim], axis=1))

    def __mul__(self, other: Representation | int) -> Representation:
        if not (isinstance(other, Permuting) and isinstance(self.group, FiniteGroup)):
            return super().__mul__(other)
        require_same_group(self, other)
        pairs = self.table[:, :, None] * other.dim + other.table[:, None, :]
        return _listed(self.group, pairs.reshape(self.group.order, -1))


def _listed(group: FiniteGroup, table: np.ndarray) -> "PermutationRepresentation":
    from equijax.reps._permutation import PermutationRepresentation

    return PermutationRepresentation(group, table)


@bounded
def _sources(fibre: Permuting) -> np.ndarray:
    return read_only(fibre.table[fibre.group.inverses])


@bounded
def _matrices_of_generators(fibre: Permuting) -> tuple[np.ndarray, ...]:
    rows = np.eye(fibre.dim)
    return tuple(read_only(np.ascontiguousarray(rows[fibre.table[g]].T)) for g in fibre.group.generators)


@bounded
def _indicators(fibre: Permuting) -> np.ndarray:
    orbit = fibre.orbits
    return read_only((orbit[None] == np.arange(int(orbit.max()) + 1)[:, None]).astype(np.float64))


@bounded
def _orbits(fibre: Permuting) -> np.ndarray:
    smallest = fibre.table.min(axis=0)
    firsts = sorted(set(smallest.tolist()))
    return read_only(np.searchsorted(firsts, smallest).astype(np.int32))
