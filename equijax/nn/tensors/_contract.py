"""Contractions of tensors on nodes, and writing on their diagonals.

Arrays are ``(*batch, n, …, n, features)``. No map is built that is larger than the input and the output.
"""

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from equijax._dtypes import accumulation_dtype
from equijax.nn.tensors._families import Contraction, Target, split
from equijax.sharing._partitions import Partition, block_count


class Contractions:
    """Makes contractions of one tensor, each from a larger one by a single step; steps that occur twice are done once.

    Args:
      x: ``(*batch, n, …, n, features)``, zero where there is no node.
      order: number of axes that run over nodes.
      divisor: what a sum over nodes is divided by, float ``(*batch,)`` or ``()``; None leaves sums as they are.
    """

    def __init__(self, x: jax.Array, order: int, divisor: jax.Array | None):
        self.batch = x.ndim - 1 - order
        self.divisor = divisor
        self.known = {Contraction(tuple(range(order)), tuple(range(order))): x}

    def __call__(self, wanted: Contraction) -> jax.Array:
        """Returns ``(*batch, n, …, n, features)`` with one axis for each block that is kept."""
        if wanted not in self.known:
            self.known[wanted] = self._sum(wanted) if wanted.summed else self._diagonal(wanted.pattern)
        return self.known[wanted]

    def _sum(self, wanted: Contraction) -> jax.Array:
        block = next(b for b in range(block_count(wanted.pattern)) if b not in wanted.kept)
        kept = tuple(sorted((block, *wanted.kept)))
        x = self(Contraction(wanted.pattern, kept))
        total = x.sum(axis=self.batch + kept.index(block), dtype=accumulation_dtype(x.dtype))
        if self.divisor is not None:
            total = total / self.divisor.reshape(self.divisor.shape + (1,) * (total.ndim - self.divisor.ndim))
        return total.astype(x.dtype)

    def _diagonal(self, pattern: Partition) -> jax.Array:
        finer, first, second = split(pattern)
        x = self(Contraction(finer, tuple(range(block_count(finer)))))
        index, front = _diagonal_index(x.shape, self.batch + first, self.batch + second)
        values = x.at[index].get(mode="promise_in_bounds", unique_indices=True, indices_are_sorted=True)
        return jnp.moveaxis(values, 0, self.batch + first) if front else values


def assemble(pieces: Sequence[tuple[Target, jax.Array]], nodes: int, batch: int, order: int) -> jax.Array:
    """Adds up values on the diagonals of an output.

    Values are repeated along an axis after all that vary along the same axes are summed, and a diagonal is written into the
    one that is finer by one cut.

    Args:
      pieces: the targets, one at least on each diagonal, and their values ``(*batch, n, …, n, features)``.
      nodes: number of nodes n.
      batch: number of batch axes.
      order: number of axes of the output that run over nodes.

    Returns:
      ``(*batch, n, …, n, features)``.
    """
    sums: dict[Partition, dict[tuple[int, ...], jax.Array]] = {}
    for target, value in pieces:
        axes = sorted(range(len(target.places)), key=target.places.__getitem__)
        value = value.transpose(*range(batch), *(batch + a for a in axes), value.ndim - 1)
        alike = sums.setdefault(target.pattern, {})
        places = tuple(sorted(target.places))
        alike[places] = alike[places] + value if places in alike else value
    diagonals = {pattern: _repeated(alike, block_count(pattern), nodes, batch) for pattern, alike in sums.items()}
    for pattern in sorted(diagonals, key=block_count):
        if block_count(pattern) < order:
            finer, first, second = split(pattern)
            diagonals[finer] = _add_on_diagonal(diagonals[finer], diagonals[pattern], batch + first, batch + second)
    return diagonals[tuple(range(order))]


def node_count(nodes: int, mask: jax.Array | None, dtype: Any) -> jax.Array:
    """Returns the number of nodes that are there, ``(*batch,)`` or ``()``; 1 where there is none, so that it divides."""
    count = jnp.asarray(nodes) if mask is None else mask.sum(axis=-1)
    return jnp.maximum(count, 1).astype(dtype)


def _repeated(sums: dict[tuple[int, ...], jax.Array], blocks: int, nodes: int, batch: int) -> jax.Array:
    def opened(places: tuple[int, ...], value: jax.Array) -> jax.Array:
        axes = (nodes if block in places else 1 for block in range(blocks))
        return value.reshape(*value.shape[:batch], *axes, value.shape[-1])

    total = functools.reduce(operator.add, itertools.starmap(opened, sums.items()))
    return jnp.broadcast_to(total, (*total.shape[:batch], *(nodes,) * blocks, total.shape[-1]))


def _add_on_diagonal(y: jax.Array, values: jax.Array, first: int, second: int) -> jax.Array:
    index, front = _diagonal_index(y.shape, first, second)
    values = jnp.moveaxis(values, first, 0) if front else values
    return y.at[index].add(values, mode="promise_in_bounds", unique_indices=True, indices_are_sorted=True)


def _diagonal_index(shape: tuple[int, ...], first: int, second: int) -> tuple[tuple, bool]:
    """The index of equal entries on two axes, and whether the diagonal that it takes comes first, as numpy has it."""
    along = jnp.arange(shape[first])
    index = tuple(along if axis in (first, second) else slice(None) for axis in range(len(shape)))
    return index, second != first + 1
