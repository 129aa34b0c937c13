"""The members of each set, as rows of an axis or as rows that carry the number of their set."""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from equijax._extrema import below_largest, largest, segment_below_largest, segment_largest
from equijax.nn._mask import keep


class Members(Protocol):
    """What an aggregation may ask of the members: every answer is the same for every order of them.

    A *value* has the shape of the members, a *total* the shape of the result.
    """

    @property
    def count(self) -> jax.Array:
        """Number of members of each set, int32, of the rank of a total."""
        ...

    def known(self, x: jax.Array, fill: float = 0.0) -> jax.Array:
        """Values with ``fill`` where there is no member."""
        ...

    def sum(self, x: jax.Array) -> jax.Array:
        """Total of values."""
        ...

    def max(self, x: jax.Array) -> jax.Array:
        """Largest value; 0 for an empty set. Equal values share the gradient."""
        ...

    def below_max(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Values minus the largest of their set, for exponentials; and the largest, 0 where it is not finite."""
        ...

    def spread(self, total: jax.Array) -> jax.Array:
        """Gives every member the total of its set."""
        ...

    def sorted(self, x: jax.Array) -> jax.Array:
        """Values in ascending order within each set."""
        ...

    def at(self, ranked: jax.Array, rank: jax.Array) -> jax.Array:
        """The value at a rank of a sorted set; 0 where the set has no such rank."""
        ...


@dataclasses.dataclass(frozen=True)
class AxisMembers:
    """Sets along one axis; totals keep it with length 1.

    Args:
      mask: bool ``(*batch, n)``, the axes up to ``axis``; None where all are members.
      shape: shape of the values.
      axis: the axis of the set, not negative.
    """

    mask: jax.Array | None
    shape: tuple[int, ...]
    axis: int

    @property
    def count(self) -> jax.Array:
        """Number of members, ``(*batch, 1, …, 1)``."""
        trailing = (1,) * (len(self.shape) - self.axis)
        if self.mask is None:
            return jnp.full((1,) * self.axis + trailing, self.shape[self.axis], jnp.int32)
        return self.mask.sum(axis=-1, dtype=jnp.int32).reshape(*self.shape[: self.axis], *trailing)

    def known(self, x: jax.Array, fill: float = 0.0) -> jax.Array:
        """Fills where the mask is False."""
        return keep(x, self.mask, fill)

    def sum(self, x: jax.Array) -> jax.Array:
        """Total along the axis."""
        return self.known(x).sum(axis=self.axis, keepdims=True)

    def max(self, x: jax.Array) -> jax.Array:
        """Largest value along the axis; 0 where there is none."""
        return _if_any(largest(x, self.axis, self.mask, keepdims=True), self.count)

    def below_max(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Subtracts the largest along the axis."""
        return below_largest(x, self.axis, self.mask)

    def spread(self, total: jax.Array) -> jax.Array:
        """Repeats along the axis."""
        return jnp.broadcast_to(total, self.shape)

    def sorted(self, x: jax.Array) -> jax.Array:
        """Sorts along the axis, what is missing last."""
        return jnp.sort(self.known(x, jnp.inf), axis=self.axis)

    def at(self, ranked: jax.Array, rank: jax.Array) -> jax.Array:
        """Takes the value at ``rank``; 0 where there is none."""
        one = (*self.shape[: self.axis], 1, *self.shape[self.axis + 1 :])
        index = jnp.clip(rank, 0, self.shape[self.axis] - 1)
        value = jnp.take_along_axis(ranked, jnp.broadcast_to(index, one), axis=self.axis)
        return jnp.where((rank >= 0) & (rank < self.count), value, jnp.zeros((), value.dtype))


@dataclasses.dataclass(frozen=True)
class SegmentMembers:
    """Rows that say which set they belong to, in any order; totals are ``(num_segments, *rest)``.

    Args:
      ids: int32 ``(rows,)``; ``num_segments`` where a row belongs to no set.
      num_segments: number of sets.
      rank: number of axes of the values.
    """

    ids: jax.Array
    num_segments: int
    rank: int

    @property
    def count(self) -> jax.Array:
        """Number of members, ``(num_segments, 1, …, 1)``."""
        number = jax.ops.segment_sum(jnp.ones_like(self.ids), self.ids, self.num_segments)
        return number.reshape(self.num_segments, *(1,) * (self.rank - 1))

    def known(self, x: jax.Array, fill: float = 0.0) -> jax.Array:
        """Fills the rows of no set."""
        return keep(x, self.ids < self.num_segments, fill)

    def sum(self, x: jax.Array) -> jax.Array:
        """Total of each set."""
        return jax.ops.segment_sum(self.known(x), self.ids, self.num_segments)

    def max(self, x: jax.Array) -> jax.Array:
        """Largest value of each set; 0 where there is none."""
        return _if_any(segment_largest(self.known(x), self.ids, self.num_segments), self.count)

    def below_max(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Subtracts the largest of the set."""
        return segment_below_largest(self.known(x), self.ids, self.num_segments)

    def spread(self, total: jax.Array) -> jax.Array:
        """Gathers the total of each row's set; 0 for rows of no set."""
        return jnp.take(total, self.ids, axis=0, mode="fill", fill_value=0)

    def sorted(self, x: jax.Array) -> jax.Array:
        """Sorts by set, then by value."""
        ids = jnp.broadcast_to(self.ids.reshape(-1, *(1,) * (self.rank - 1)), x.shape)
        return jax.lax.sort((ids, self.known(x)), dimension=0, num_keys=2)[1]

    def at(self, ranked: jax.Array, rank: jax.Array) -> jax.Array:
        """Takes the value at ``rank`` of each set; 0 where there is none."""
        count = self.count
        start = jnp.cumsum(count, axis=0, dtype=jnp.int32) - count
        index = jnp.clip(start + rank, 0, ranked.shape[0] - 1).reshape(-1)
        there = (rank >= 0) & (rank < count)
        return jnp.where(there, jnp.take(ranked, index, axis=0, mode="clip"), jnp.zeros((), ranked.dtype))


def _if_any(total: jax.Array, count: jax.Array) -> jax.Array:
    return jnp.where(count > 0, total, jnp.zeros((), total.dtype))
