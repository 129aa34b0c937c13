"""Largest values whose gradient does not depend on how the compiler rounds.

The rule of ``jnp.max`` looks for the members that equal the maximum. XLA may compute the members a second time for that, and
round them in another way; then none is equal, and the gradient is lost. Here two members are compared with each other. One
of them wins or they tie, so their weights add up to 1 however they are rounded. Forward, all functions are those of JAX.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from equijax._masked import keep


def largest(x: Array, axis: int | Sequence[int], where: Array | None = None, keepdims: bool = False) -> Array:
    """Returns the largest value along axes, as ``jnp.max`` does; equal members share the gradient equally.

    NaN is larger than every number. An axis whose size is not known while tracing (``jax.export`` with symbolic
    dimensions) can't be worked through in steps: there the gradient is that of ``jnp.max``.

    Args:
      x: array of at least one axis.
      axis: one axis or several.
      where: bool, broadcasts against ``x`` from the left; what is False counts as minus infinity and gets no gradient.
        ``x`` holds floats then. None is everything.
      keepdims: whether the axes stay, with length 1.
    """
    axes = tuple(a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis))
    x = keep(x, where, -np.inf)
    sizes = [x.shape[a] for a in axes]
    if not _is_float(x) or not all(isinstance(n, int) and n > 0 for n in sizes):
        return jnp.max(x, axis=axes, keepdims=keepdims)
    y = _largest_along(x, where, axes)
    return y if keepdims else jnp.squeeze(y, axes)


def largest_of(arrays: Sequence[Array]) -> Array:
    """Returns the largest of several arrays of one shape, entry by entry; equal entries share the gradient equally."""
    return _largest_of(tuple(arrays))


def segment_largest(x: Array, ids: Array, num_segments: int) -> Array:
    """Returns ``jax.ops.segment_max(x, ids, num_segments)``; equal rows share the gradient equally.

    Args:
      x: ``(rows, *rest)``.
      ids: integers ``(rows,)`` in any order; rows of other ids than ``0 … num_segments - 1`` are dropped.
      num_segments: number of segments; an empty one gets the smallest value of the dtype.
    """
    return _segment_largest(x, ids, num_segments) if _is_float(x) else jax.ops.segment_max(x, ids, num_segments)


def segment_largest_counted(x: Array, ids: Array, num_segments: int) -> tuple[Array, Array]:
    """Returns :func:`segment_largest`, and how many rows of each segment are that large, int32."""
    winners = _winners(lax.stop_gradient(x), ids, num_segments)
    return _held(x, ids, winners) if _is_float(x) else winners.value, winners.count


def _is_float(x: Array) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


# --- along axes: a tournament -----------------------------------------------------------------------------------------

@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _largest_along(x: Array, where: Array | None, axes: tuple[int, ...]) -> Array:
    return jnp.max(x, axis=axes, keepdims=True)


@_largest_along.defjvp
def _largest_along_rule(axes: tuple[int, ...], primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    x, where = primals
    leader = _start(x, tangents[0], where)
    for axis in axes:
        leader = _along(leader, axis)
    return _largest_along(x, where, axes), leader.tangent


@jax.custom_jvp
def _largest_of(arrays: tuple[Array, ...]) -> Array:
    return functools.reduce(jnp.maximum, arrays)


@_largest_of.defjvp
def _largest_of_rule(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (arrays,), (dots,) = primals, tangents
    return _largest_of(arrays), _best([_start(x, dot) for x, dot in zip(arrays, dots, strict=True)]).tangent


class _Leader(NamedTuple):
    """The largest value so far, its tangent, and how many members have it."""

    value: Array
    tangent: Array
    count: Array


def _start(x: Array, tangent: Array, where: Array | None = None) -> _Leader:
    if where is None:
        return _Leader(x, tangent, jnp.ones((), jnp.int32))
    members = where.reshape(where.shape + (1,) * (x.ndim - where.ndim))
    return _Leader(x, tangent, jnp.broadcast_to(members, x.shape).astype(jnp.int32))


def _along(leader: _Leader, axis: int) -> _Leader:
    """Halves an axis until it has length 1; odd ones out meet the winner at the end."""
    spare = []
    while (n := leader.value.shape[axis]) > 1:
        cut = lambda start, stop, leader=leader: _Leader(  # noqa: E731
            *(x if not x.ndim else lax.slice_in_dim(x, start, stop, axis=axis) for x in leader)
        )
        if n % 2:
            spare.append(cut(n - 1, n))
        leader = _better(cut(0, n // 2), cut(n // 2, n // 2 * 2))
    return _best([leader, *spare])


def _best(leaders: Sequence[_Leader]) -> _Leader:
    while len(leaders) > 1:
        pairs = zip(leaders[::2], leaders[1::2], strict=False)
        leaders = [_better(a, b) for a, b in pairs] + list(leaders[len(leaders) // 2 * 2 :])
    return leaders[0]


def _better(a: _Leader, b: _Leader) -> _Leader:
    """The larger of two leaders; where they tie, each has its members' part of the tangent."""
    first, tie = (a.value > b.value) | jnp.isnan(a.value), a.value == b.value
    both = a.count + b.count
    share = a.count.astype(a.tangent.dtype) / jnp.maximum(both, 1).astype(a.tangent.dtype)
    shared = share * a.tangent + (1 - share) * b.tangent
    return _Leader(
        jnp.where(first, a.value, b.value),
        jnp.where(tie, shared, jnp.where(first, a.tangent, b.tangent)),
        jnp.where(tie, both, jnp.where(first, a.count, b.count)),
    )


# --- in segments: two passes over what stands in memory ---------------------------------------------------------------


class _Winners(NamedTuple):
    """The largest row of each segment, which rows equal it, and how many."""

    value: Array
    rows: Array
    count: Array


def _winners(x: Array, ids: Array, num_segments: int) -> _Winners:
    """Finds the winners in a loop of two rounds: a loop reads ``x`` from memory, so both rounds see the same numbers."""

    def largest(winners: _Winners) -> _Winners:
        return winners._replace(value=jax.ops.segment_max(x, ids, num_segments))

    def equal(winners: _Winners) -> _Winners:
        rows = (x == winners.value.at[ids].get(mode="fill", fill_value=0)) | (x != x)
        return _Winners(winners.value, rows, jax.ops.segment_sum(rows.astype(jnp.int32), ids, num_segments))

    shape = (num_segments, *x.shape[1:])
    nothing = _Winners(jnp.zeros(shape, x.dtype), jnp.zeros(x.shape, bool), jnp.zeros(shape, jnp.int32))
    return lax.fori_loop(0, 2, lambda k, winners: lax.cond(k == 0, largest, equal, winners), nothing)


@jax.custom_jvp
def _held(x: Array, ids: Array, winners: _Winners) -> Array:
    """The value of the winners, as a function of the rows ``x``."""
    return winners.value


@_held.defjvp
def _held_rule(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    x, ids, winners = primals
    total = jax.ops.segment_sum(keep(tangents[0], winners.rows), ids, winners.count.shape[0])
    return _held(x, ids, winners), total / jnp.maximum(winners.count, 1).astype(total.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _segment_largest(x: Array, ids: Array, num_segments: int) -> Array:
    return jax.ops.segment_max(x, ids, num_segments)


@_segment_largest.defjvp
def _segment_largest_rule(num_segments: int, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    x, ids = primals
    winners = _winners(lax.stop_gradient(x), ids, num_segments)
    return jax.jvp(lambda x: _held(x, ids, winners), (x,), tangents[:1])
