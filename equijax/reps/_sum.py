"""Direct sums of representations."""

import dataclasses
import functools
import itertools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from equijax._arguments import listed, shown
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.groups._group import Element
from equijax.reps._representation import Representation, fibre_axis, require_representation, require_same_group

_MOST_COPIES = 2**20


@dataclasses.dataclass(frozen=True, repr=False)
class DirectSum(Representation):
    """The direct sum: the coordinates of the parts one after another, each moved by its own representation.

    Made by ``a + b``, ``3 * a`` or :func:`direct_sum`. Sums of permutations stay permutations
    (:class:`PermutationRepresentation`).

    Attributes:
      summands: the parts, none of which is a sum itself.

    Example:
      >>> import equijax as ej
      >>> plane = ej.reps.Vector(ej.Cyclic(4))
      >>> fibre = 2 * plane + ej.reps.Regular(ej.Cyclic(4))
      >>> fibre, fibre.dim
      (2 * Vector(group=Cyclic(4)) + Regular(group=Cyclic(4)), 8)
    """

    summands: tuple[Representation, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "summands", tuple(listed(self.summands, "summands", "representations")))
        if not self.summands:
            raise ValueError("`summands` is empty; a sum needs at least one representation.")
        flat = []
        for part in self.summands:
            require_representation(part, "summands")
            require_same_group(self.summands[0], part)
            flat += part.parts
        object.__setattr__(self, "summands", tuple(flat))

    @property
    def group(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The group of the parts."""
        return self.summands[0].group

    @property
    def dim(self) -> int:
        """The sum of the dimensions."""
        return sum(part.dim for part in self.summands)

    @property
    def parts(self) -> tuple[Representation, ...]:
        """The summands, in order."""
        return self.summands

    @property
    def runs(self) -> tuple[tuple[Representation, int], ...]:
        """Equal neighbours together: pairs of a part and how often it follows itself."""
        return tuple((part, len(list(group))) for part, group in itertools.groupby(self.summands))

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """Block-diagonal matrices of the generators, float64 ``(dim, dim)``. Read-only."""
        return _generators(self)

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Block-diagonal derivatives, float64 ``(dim, dim)``. Read-only."""
        return _algebra(self)

    @property
    def invariants(self) -> np.ndarray:
        """The invariants of the parts, float64 ``(k, dim)``. Read-only."""
        return _invariants(self)

    @property
    def is_permutation(self) -> bool:
        """True where all parts are permutations."""
        return all(part.is_permutation for part in self.summands)

    @property
    def is_orthogonal(self) -> bool:
        """True where all parts are orthogonal."""
        return all(part.is_orthogonal for part in set(self.summands))

    @property
    def dual(self) -> Representation:
        """The sum of the duals."""
        return direct_sum(*(part.dual for part in self.summands))

    def restrict(self, subgroup: Any) -> Representation:
        """Returns the sum of the restricted parts."""
        return direct_sum(*(part.restrict(subgroup) for part in self.summands))

    def __call__(self, g: Element) -> jax.Array:
        """Returns the block-diagonal matrix of ``g``, float ``(…, dim, dim)``."""
        matrices = {part: jnp.asarray(part(g), float) for part in dict.fromkeys(self.summands)}
        batch = matrices[self.summands[0]].shape[:-2]
        found = jnp.zeros((*batch, self.dim, self.dim))
        start = 0
        for part, count in self.runs:
            end = start + part.dim * count
            copied = jnp.einsum("ij,...ab->...iajb", jnp.eye(count), matrices[part], precision="highest")
            found = found.at[..., start:end, start:end].set(copied.reshape(*batch, end - start, end - start))
            start = end
        return found

    def act(self, g: Element, x: Any, axis: int) -> jax.Array:
        """Moves the coordinates of each part by themselves, on one axis; ``g`` is one element."""
        x, axis = fibre_axis(self, g, x, axis)
        x = x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)
        moved = []
        start = 0
        for part, count in self.runs:
            end = start + part.dim * count
            piece = jax.lax.slice_in_dim(x, start, end, axis=axis)
            copies_of_part = piece.reshape(*x.shape[:axis], count, part.dim, *x.shape[axis + 1 :])
            moved.append(part.act(g, copies_of_part, axis + 1).reshape(piece.shape))
            start = end
        return jnp.concatenate(moved, axis=axis)

    def __repr__(self) -> str:
        return " + ".join(f"{count} * {_bracketed(part)}" if count > 1 else repr(part) for part, count in self.runs)


def direct_sum(*reps: Representation) -> Representation:
    """Returns the direct sum, coordinates one after another; ``a + b`` of two.

    Raises:
      TypeError: an entry is no representation.
      ValueError: there is none, or their groups differ.

    Example:
      >>> import equijax as ej
      >>> ej.reps.direct_sum(*[ej.reps.Scalar(ej.Cyclic(2))] * 3)
      PermutationRepresentation(Cyclic(2), [[0, 1, 2], [0, 1, 2]])
    """
    if not reps:
        raise ValueError("`reps` is empty; a sum needs at least one representation.")
    for rep in reps:
        require_representation(rep, "reps")
    return functools.reduce(operator.add, reps)


def copies(rep: Representation, count: int) -> Representation:
    """Returns the sum of ``count`` copies, ``count * rep``.

    Raises:
      TypeError: ``count`` is no integer.
      ValueError: ``count`` is below 1.

    Example:
      >>> import equijax as ej
      >>> (3 * ej.reps.Regular(ej.Cyclic(2))).dim
      6
    """
    require_representation(rep, "rep")
    try:
        number = operator.index(count)
    except TypeError:
        raise TypeError(
            f"`count` is {shown(count)} of type {type(count).__name__}; a representation is multiplied by an integer, the "
            "number of copies, or by another representation."
        ) from None
    if number < 1 or isinstance(count, bool):
        raise ValueError(f"`count` is {count!r}; there must be at least one copy, as in 3 * rep.")
    number = positive_int(number, "count", 1, None, _MOST_COPIES)
    if number == 1:
        return rep
    half = copies(rep, number // 2)
    return half + half + rep if number % 2 else half + half


def _bracketed(part: Representation) -> str:
    return f"({part!r})" if " * " in repr(part) or " + " in repr(part) else repr(part)


def _blocks(blocks: tuple[np.ndarray, ...]) -> np.ndarray:
    return read_only(np.asarray(scipy.linalg.block_diag(*blocks)))


@bounded
def _generators(rep: DirectSum) -> tuple[np.ndarray, ...]:
    return tuple(_blocks(blocks) for blocks in zip(*(part.generators for part in rep.summands), strict=True))


@bounded
def _algebra(rep: DirectSum) -> tuple[np.ndarray, ...]:
    return tuple(_blocks(blocks) for blocks in zip(*(part.algebra for part in rep.summands), strict=True))


@bounded
def _invariants(rep: DirectSum) -> np.ndarray:
    return _blocks(tuple(part.invariants for part in rep.summands))
