"""Mean and variance of a field that a group may move."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from equijax.nn.fields._blocks import block_indicators, block_numbers, coefficients_of_invariants
from equijax.nn.fields._taken import taken
from equijax.reps import Representation


class Statistics(NamedTuple):
    """What a norm subtracts and divides by.

    Attributes:
      mean: coefficients of the invariants of the fibre, ``(…, k, groups)``.
      var: mean square of a coordinate of each block, ``(…, blocks, groups)``.
    """

    mean: jax.Array
    var: jax.Array


def statistics(
    v: jax.Array,
    fibre: Representation,
    axes: tuple[int, ...],
    groups: int,
    centre: bool,
    mask: jax.Array | None = None,
    axis_name: str | None = None,
) -> Statistics:
    """Returns mean and variance over some axes of positions and over the features of a group of features.

    The mean is that of the coefficients of the invariants, the only vectors that a group can't move; the variance is over
    the coordinates of a block too.

    Args:
      v: ``(…, dim, features)``.
      fibre: an orthogonal representation.
      axes: the axes to reduce over beside the features of a group, counted from the front; they stay with length 1.
      groups: number of groups of features.
      centre: whether to subtract a mean; without it the mean is zero.
      mask: bool, one for each vector, broadcasts to ``(…)``: which of them count; None is all.
      axis_name: name of an axis mapped by ``vmap`` or ``shard_map`` to reduce over too.
    """
    read = jnp.asarray(coefficients_of_invariants(fibre), v.dtype)
    over = functools.partial(_over, axes=axes, groups=groups, mask=mask, axis_name=axis_name)
    mean = over(jnp.einsum("kd,...df->...kf", read, v, precision="highest"))
    mean = mean if centre else jnp.zeros_like(mean)
    centred = subtract_mean(v, mean, fibre)
    indicators = block_indicators(fibre)
    weights = jnp.asarray(indicators / indicators.sum(1, keepdims=True), v.dtype)
    return Statistics(mean, over(jnp.einsum("kd,...df->...kf", weights, jnp.square(centred), precision="highest")))


def subtract_mean(v: jax.Array, mean: jax.Array, fibre: Representation) -> jax.Array:
    """Returns the field ``(…, dim, features)`` without the vectors that the coefficients ``(…, k, groups)`` name."""
    if not mean.shape[-2]:
        return v
    vectors = jnp.einsum("kd,...kg->...dg", jnp.asarray(fibre.invariants, v.dtype), mean, precision="highest")
    return v - _per_feature(vectors, v)


def divide(v: jax.Array, var: jax.Array, fibre: Representation, epsilon: float) -> jax.Array:
    """Returns the field with each block divided by the root of its variance ``(…, blocks, groups)``."""
    factor = jax.lax.rsqrt(var + jnp.asarray(epsilon, var.dtype))
    return v * _per_feature(taken(factor, block_numbers(fibre)), v)


def _over(rows: jax.Array, axes: tuple[int, ...], groups: int, mask: jax.Array | None, axis_name: str | None) -> jax.Array:
    """Means of ``(…, rows, features)`` over axes and the features of each group."""
    split = rows.reshape(*rows.shape[:-1], groups, rows.shape[-1] // groups).mean(-1)
    if mask is None:
        mean = split.mean(axes, keepdims=True) if axes else split
        return mean if axis_name is None else jax.lax.pmean(mean, axis_name)
    counts = jnp.broadcast_to(mask, split.shape[:-2])[..., None, None]
    total = jnp.where(counts, split, jnp.zeros_like(split)).sum(axes, keepdims=True)
    count = counts.sum(axes, keepdims=True, dtype=split.dtype)
    if axis_name is not None:
        total, count = jax.lax.psum((total, count), axis_name)
    return total / jnp.maximum(count, jnp.ones_like(count))


def _per_feature(values: jax.Array, v: jax.Array) -> jax.Array:
    """Writes ``(…, dim, groups)`` out over the features and all positions of ``v``."""
    return jnp.broadcast_to(jnp.repeat(values, v.shape[-1] // values.shape[-1], axis=-1), v.shape)
