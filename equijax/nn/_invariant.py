"""Aggregations that do not depend on the order: one vector for a set of vectors."""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._dtypes import accumulation_dtype, require_floats
from equijax._indices import bounded_int, narrowed
from equijax.groups._elements import concrete
from equijax.nn._mask import keep, require_mask
from equijax.nn._members import AxisMembers, Members, SegmentMembers


@dataclasses.dataclass(frozen=True)
class Aggregation(abc.ABC):
    """A function of a set of vectors that does not depend on their order.

    It is applied along an axis of an array (:meth:`over_axis`) or to rows that say which set they belong to
    (:meth:`over_segments`). What is not a member is never looked at: NaN there changes neither value nor gradient. An
    empty set gives 0 with gradient 0. bfloat16 and float16 are computed in float32 and cast back.

    Law: the result is the same for every order of the members, up to rounding. Functions of ordered sequences are
    another type, :class:`OrderedAggregation`.
    """

    @abc.abstractmethod
    def reduce(self, members: Members, x: jax.Array) -> jax.Array:
        """Returns the total of the values ``x``, at least float32, of each set; 0 where a set is empty."""

    def out_features(self, features: int) -> int:
        """Returns the number of features of the result."""
        return features

    def over_axis(self, x: jax.Array, mask: jax.Array | None = None, axis: int = -2) -> jax.Array:
        """Aggregates along one axis.

        Args:
          x: floats ``(*batch, n, *rest, features)`` with the set on ``axis``.
          mask: bool ``(*batch, n)``, True where an element is there; None for all.
          axis: the axis of the set; it is not the last one.

        Returns:
          ``(*batch, *rest, out_features)`` of the dtype of ``x``.

        Raises:
          TypeError: ``x`` holds no floats, or the mask is not boolean.
          ValueError: the axis does not exist or is that of the features, or the mask has another shape.
        """
        require_floats(x, "x", "an aggregation")
        place = axis + x.ndim if axis < 0 else axis
        if not 0 <= place < x.ndim - 1:
            raise ValueError(
                f"`axis` is {axis}, but `x` has shape {x.shape}; it must be an axis in front of the features, "
                "(*batch, n, …, features)."
            )
        if mask is not None:
            mask = require_mask(mask, x.shape[: place + 1], "x")
        if x.shape[place] == 0:
            x = jnp.zeros((*x.shape[:place], 1, *x.shape[place + 1 :]), x.dtype)
            mask = jnp.zeros(x.shape[: place + 1], bool)
        members = AxisMembers(mask, x.shape, place)
        total = self.reduce(members, keep(x, mask).astype(accumulation_dtype(x.dtype)))
        return jnp.squeeze(total, place).astype(x.dtype)

    def over_segments(
        self, values: jax.Array, segment_ids: Any, num_segments: int, mask: jax.Array | None = None
    ) -> jax.Array:
        """Aggregates rows that carry the number of their set, in any order.

        Args:
          values: floats ``(rows, *rest, features)``.
          segment_ids: integers ``(rows,)`` in ``0 … num_segments - 1``. Others are an error where they are known; inside
            ``jit`` their rows are dropped.
          num_segments: number of sets, static.
          mask: bool ``(rows,)``, True where a row is there; None for all.

        Returns:
          ``(num_segments, *rest, out_features)`` of the dtype of ``values``.

        Raises:
          TypeError: ``values`` are no floats, the ids no integers, or the mask is not boolean.
          ValueError: a shape does not fit, or a known id is out of range.
        """
        require_floats(values, "values", "an aggregation")
        num_segments = bounded_int(num_segments, "num_segments", 0)
        segment_ids = segment_ids if hasattr(segment_ids, "dtype") else np.asarray(segment_ids)
        if not jnp.issubdtype(segment_ids.dtype, jnp.integer):
            raise TypeError(f"`segment_ids` has dtype {segment_ids.dtype}; the numbers of the sets must be integers.")
        if values.ndim < 2 or segment_ids.shape != values.shape[:1]:
            raise ValueError(
                f"`values` has shape {values.shape} and `segment_ids` {segment_ids.shape}; they must be "
                "(rows, *rest, features) and (rows,)."
            )
        ids = jnp.asarray(narrowed(segment_ids))
        member = (ids >= 0) & (ids < num_segments)
        if mask is not None:
            mask = require_mask(mask, values.shape[:1], "values")
        _require_ids(segment_ids, num_segments, mask)
        member = member if mask is None else member & mask
        if values.shape[0] == 0:
            values = jnp.zeros((1, *values.shape[1:]), values.dtype)
            ids, member = jnp.zeros((1,), jnp.int32), jnp.zeros((1,), bool)
        segments = max(num_segments, 1)  # nothing can be gathered from no segment
        members = SegmentMembers(jnp.where(member, ids, segments), segments, values.ndim)
        wide = keep(values, member).astype(accumulation_dtype(values.dtype))
        return self.reduce(members, wide)[:num_segments].astype(values.dtype)


def _require_ids(segment_ids: Any, num_segments: int, mask: jax.Array | None) -> None:
    known = concrete((segment_ids, mask))
    if known is None:
        return
    ids = known[0] if mask is None else known[0][known[1]]
    bad = ids[(ids < 0) | (ids >= num_segments)]
    if bad.size:
        raise ValueError(
            f"`segment_ids` holds {bad[0]}, but num_segments = {num_segments} sets are numbered from 0. Mask it."
        )
