"""Largest values whose gradient does not depend on how the compiler rounds.

The rule of ``jnp.max`` looks for the members that equal the maximum. XLA computes the members a second time for that where
it seems cheap, and may round them in another way. Then none is equal, and the gradient is lost. A loop reads its operands
from memory, so here the maximum is found and compared with the members in the two rounds of one loop. Forward, all functions
are those of JAX.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from equijax._masked import keep
from equijax._rows import take

T = TypeVar("T")
U = TypeVar("U")


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


def below_largest(x: Array, axis: int, where: Array | None = None) -> tuple[Array, Array]:
    """Returns ``x`` minus its largest value along an axis, for exponentials that are divided by their sum; and that value.

    Subtracted from members that are computed a second time, and rounded otherwise, the largest of large numbers leaves
    exponentials that all are 0, or infinite ones. Here the largest member is 0 exactly. Where the largest is not finite,
    0 is subtracted. The derivative is that of ``x``: what is subtracted drops out of the quotient, and has none.

    Args:
      x: floats.
      axis: the axis.
      where: bool, of the first axes of ``x``; what is False becomes minus infinity. None is all.
    """
    if x.shape[axis] == 0:
        return x, x.sum(axis, keepdims=True)
    return _below_largest(keep(x, where, -np.inf), _Axes((axis % x.ndim,)))


def segment_below_largest(x: Array, ids: Array, num_segments: int) -> tuple[Array, Array]:
    """Returns the rows of ``x`` minus the largest of their segment, and the largest, as :func:`below_largest` does.

    Args:
      x: floats ``(rows, *rest)``.
      ids: integers ``(rows,)`` in any order; rows of the number ``num_segments`` return anything.
      num_segments: number of segments.
    """
    return _below_largest(x, _Segments(ids, num_segments))


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
    def compare(value: Array) -> tuple[Array, Array]:
        members = (x == over.spread(value, x)) | (x != x)
        return members, over.sum(members.astype(jnp.int32)).astype(jnp.int32)

    value, (members, number) = _in_two_rounds(lambda: over.max(x), compare)
    return _Winners(value, members, number)


def _in_two_rounds(find: Callable[[], T], use: Callable[[T], U]) -> tuple[T, U]:
    """Returns ``find()`` and ``use`` of it, in two rounds of a loop, in which both read the same numbers from memory."""
    first = jax.eval_shape(find)
    nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), (first, jax.eval_shape(use, first)))
    rounds = (lambda kept: (find(), kept[1])), (lambda kept: (kept[0], use(kept[0])))
    return lax.fori_loop(0, 2, lambda k, kept: lax.switch(k, rounds, kept), nothing)


@jax.custom_jvp
def _below_largest(x: Array, over: _Axes | _Segments) -> tuple[Array, Array]:
    def finite(value: Array) -> Array:
        return jnp.where(jnp.isfinite(value), value, jnp.zeros((), x.dtype))

    value, shifted = _in_two_rounds(lambda: finite(over.max(x)), lambda value: x - over.spread(value, x))
    return shifted, value


@_below_largest.defjvp
def _below_largest_rule(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    shifted, value = _below_largest(*primals)
    return (shifted, value), (tangents[0], jnp.zeros_like(value))


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
