"""Depthwise convolution, one channel in each feature group, as sums over the window: what a CPU computes fastest.

XLA computes it on a CPU channel by channel. Here the channels stay next to each other in memory, so that all products are
products of whole vectors: an output is a sum of shifted inputs, each times the weights of its offset.
"""

import functools
import itertools
import math
import operator
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

from equijax._dtypes import accumulation_dtype
from equijax.nn._dense import by_mirrored_window, pad
from equijax.nn._sampling import Sampling

Array = jax.Array
#: Offsets of the largest window for which sums are written out: beyond, programs get long.
LARGEST = 64
#: The fewest channels with which the loop over rows is worth its while.
_CHANNELS = 16
#: Rows up to this length are added up in one expression, longer ones in terms so many.
_SHORT, _TERMS = 32, 16


def is_depthwise(wanted: str, kernel: tuple[int, ...], groups: int) -> bool:
    """Whether each feature group has one channel in and one out, and sums over the window are the faster way.

    Args:
      wanted: the role of the result, ``"y"``, ``"x"`` or ``"w"``.
      kernel: shape of the kernel, ``(*window, channels of a group, channels)``.
      groups: number of feature groups.
    """
    least = _CHANNELS if wanted == "w" else 2
    return kernel[-2] == 1 and kernel[-1] == groups >= least and math.prod(kernel[:-2]) <= LARGEST


def output(x: Array, w: Array, sampling: Sampling) -> Array:
    """The convolution at stride 1 of ``x (batch, *sizes, channels)`` with ``w (*window, 1, channels)``."""
    wide = accumulation_dtype(x.dtype)
    return _sum_of_shifts(pad(x, sampling), w.astype(wide), sampling).astype(x.dtype)


def input_gradient(w: Array, y: Array, sampling: Sampling, shape: tuple[int, ...]) -> Array:
    """What the gradient ``y`` of the output makes of the input ``(batch, *sizes, channels)``, of the given shape."""
    wide = accumulation_dtype(y.dtype)
    turned = jnp.flip(w, range(len(sampling.window))).astype(wide)
    made = by_mirrored_window(lambda y, _: _sum_of_shifts(y, turned, sampling), y.astype(wide), sampling, shape)
    return made.astype(y.dtype)


def kernel_gradient(x: Array, y: Array, sampling: Sampling) -> Array:
    """What the gradient ``y`` of the output makes of the kernel, ``(*window, 1, channels)``.

    For every offset a sum over all samples. Row after row is read once for all offsets, while it is in the cache: the sums
    are as many as the offsets, not as the samples.
    """
    wide, channels = accumulation_dtype(x.dtype), y.shape[-1]
    batch, *leading, length = y.shape[:-1]
    terms = length if length <= _SHORT else _TERMS
    blocks = -(-length // terms)
    spare = [(0, 0)] * (y.ndim - 2) + [(0, blocks * terms - length), (0, 0)]
    x, y = (jnp.pad(a, spare) for a in (pad(x, sampling), y))
    *across, step = sampling.dilation
    *rows, columns = sampling.window

    def read(a: Array, at: list[Array]) -> Array:
        row = lax.dynamic_slice(a, (*at, 0, 0), (*(1,) * len(at), *a.shape[-2:]))
        return row.reshape(a.shape[-2:]).astype(wide)

    def add(t: int, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        at = list(jnp.unravel_index(t, (batch, *leading)))
        dy = read(y, at)
        made: list[Array] = []
        for offset in itertools.product(*map(range, rows)):
            row = read(x, [at[0], *(i + k * d for i, k, d in zip(at[1:], offset, across, strict=True))])
            made += [_inner(row[k * step : k * step + blocks * terms], dy, blocks) for k in range(columns)]
        return tuple(a + b for a, b in zip(sums, made, strict=True))

    zeros = (jnp.zeros((blocks, channels), wide),) * math.prod(sampling.window)
    sums = lax.fori_loop(0, batch * math.prod(leading), add, zeros)
    return jnp.stack([s.sum(0) for s in sums]).reshape(*sampling.window, 1, channels).astype(y.dtype)


def _inner(a: Array, b: Array, blocks: int) -> Array:
    """The sum of products over a row, ``(blocks, channels)``: sample k is in block k modulo their number."""
    total = a[:blocks] * b[:blocks]
    for start in range(blocks, len(a), blocks):
        total += a[start : start + blocks] * b[start : start + blocks]
    return total


def _sum_of_shifts(x: Array, w: Array, sampling: Sampling) -> Array:
    """The sum over the offsets of the window of an array with its border, shifted, times the weights; of the weights' dtype.

    The border is written once: as part of the sum it would be made anew for every offset.
    """
    x = lax.optimization_barrier(x).astype(w.dtype)
    weights = w.reshape(-1, *(1,) * (x.ndim - 1), w.shape[-1])
    return functools.reduce(operator.add, (a * b for a, b in zip(_shifts(x, sampling), weights, strict=True)))


def _shifts(x: Array, sampling: Sampling) -> Iterator[Array]:
    """The parts of an array with its border that the offsets of the window read."""
    sizes = [n - k + 1 for n, k in zip(x.shape[1:-1], sampling.extents, strict=True)]
    for offset in itertools.product(*map(range, sampling.window)):
        starts = [k * d for k, d in zip(offset, sampling.dilation, strict=True)]
        ends = [a + n for a, n in zip(starts, sizes, strict=True)]
        yield lax.slice(x, (0, *starts, 0), (x.shape[0], *ends, x.shape[-1]))
