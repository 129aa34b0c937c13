"""Largest values whose gradient does not depend on how the compiler rounds.

The rule of ``jnp.max`` looks for the members that equal the maximum. XLA computes the members a second time for that where
it seems cheap, and may round them in another way. Then none is equal, and the gradient is lost. A loop reads its operands
from memory, so here the maximum is found and compared with the members in the two rounds of one loop. Forward, all functions
are those of JAX.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from equijax._masked import keep
from equijax._rows import take


def largest(x: Array, axis: int | Sequence[int], where: Array | None = None, keepdims: bool = False) -> Array:
    """Returns the largest value along axes, as ``jnp.max`` does; equal members share the gradient equally.

    Args:
      x: array of at least one axis.
      axis: one axis or several.
      where: bool, of the first axes of ``x``, which holds floats then; what is False counts as minus infinity. None is all.
      keepdims: whether the axes stay, with length 1.
    """
    axes = tuple(a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis))
    x = keep(x, where, -np.inf)
    y = _largest(x, _Axes(axes)) if _is_float(x) else jnp.max(x, axis=axes, keepdims=True)
    return y if keepdims else jnp.squeeze(y, axes)


def segment_largest(x: Array, ids: Array, num_segments: int) -> Array:
    """Returns ``jax.ops.segment_max(x, ids, num_segments)``; equal rows share the gradient equally.

    Args:
      x: ``(rows, *rest)``.
      ids: integers ``(rows,)`` in any order; rows of the number ``num_segments`` are dropped.
      num_segments: number of segments; an empty one gets the smallest value of the dtype.
    """
    over = _Segments(ids, num_segments)
    return _largest(x, over) if _is_float(x) else over.max(x)


def segment_largest_weighed(x: Array, ids: Array, num_segments: int) -> tuple[Array, Array]:
    """Returns :func:`segment_largest`, and the weight that it has in the derivative of the maximum of several such parts.

    The weight is int32, and 0 for an empty segment alone. Where a derivative is taken it is the number of the rows that are
    that large; elsewhere, where it weighs nothing, the number of all rows.
    """
    over = _Segments(ids, num_segments)
    return _largest_weighed(x, over) if _is_float(x) else _with_rows(x, over)


def _is_float(x: Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


@functools.partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=("axes",))
@dataclasses.dataclass(frozen=True)
class _Axes:
    """Reduces along axes, which keep length 1."""

    axes: tuple[int, ...]

    def max(self, x: Array) -> Array:
        return jnp.max(x, axis=self.axes, keepdims=True)

    def sum(self, x: Array) -> Array:
        return jnp.sum(x, axis=self.axes, keepdims=True)

    def spread(self, total: Array, x: Array) -> Array:
        return jnp.broadcast_to(total, x.shape)


@functools.partial(jax.tree_util.register_dataclass, data_fields=("ids",), meta_fields=("num_segments",))
@dataclasses.dataclass(frozen=True)
class _Segments:
    """Reduces the rows of each segment."""

    ids: Array
    num_segments: int

    def max(self, x: Array) -> Array:
        return jax.ops.segment_max(x, self.ids, self.num_segments)

    def sum(self, x: Array) -> Array:
        return jax.ops.segment_sum(x, self.ids, self.num_segments)

    def spread(self, total: Array, x: Array) -> Array:
        return take(total, self.ids)


class _Winners(NamedTuple):
    """The largest values, which members equal them (a NaN does), and how many."""

    value: Array
    members: Array
    number: Array


def _winners(x: Array, over: _Axes | _Segments) -> _Winners:
    """Finds them in two rounds of a loop, which both read the same ``x`` from memory."""

    def find(winners: _Winners) -> _Winners:
        return winners._replace(value=over.max(x))

    def compare(winners: _Winners) -> _Winners:
        members = (x == over.spread(winners.value, x)) | (x != x)
        return winners._replace(members=members, number=over.sum(members.astype(jnp.int32)).astype(jnp.int32))

    value = jax.eval_shape(over.max, x)
    nothing = _Winners(jnp.zeros_like(value), jnp.zeros_like(x, bool), jnp.zeros_like(value, jnp.int32))
    return lax.fori_loop(0, 2, lambda k, winners: lax.cond(k == 0, find, compare, winners), nothing)


@jax.custom_jvp
def _largest(x: Array, over: _Axes | _Segments) -> Array:
    return over.max(x)


@_largest.defjvp
def _largest_rule(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    x, over = primals
    return _largest(x, over), _tangent(_winners(lax.stop_gradient(x), over), tangents[0], over)


def _with_rows(x: Array, over: _Segments) -> tuple[Array, Array]:
    value, one = over.max(x), jnp.ones((x.shape[0], *(1,) * (x.ndim - 1)), jnp.int32)
    return value, jnp.broadcast_to(over.sum(one), value.shape)


@jax.custom_jvp
def _largest_weighed(x: Array, over: _Segments) -> tuple[Array, Array]:
    return _with_rows(x, over)


@_largest_weighed.defjvp
def _largest_weighed_rule(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    x, over = primals
    winners = _winners(lax.stop_gradient(x), over)
    none = np.zeros(winners.number.shape, jax.dtypes.float0)
    return (_largest(x, over), winners.number), (_tangent(winners, tangents[0], over), none)


def _tangent(winners: _Winners, tangent: Array, over: _Axes | _Segments) -> Array:
    """The mean tangent of the winners."""
    total = over.sum(keep(tangent, winners.members))
    return total / jnp.maximum(winners.number, 1).astype(total.dtype)
