"""Set partitions: the patterns of equality among several indices."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from equijax._arguments import listed, shown
from equijax._cache import bounded
from equijax._numbers import positive_int

Partition = tuple[int, ...]


def set_partitions(size: int) -> tuple[Partition, ...]:
    r"""Lists the set partitions of ``0 … size - 1`` as restricted growth strings, in lexicographic order.

    A restricted growth string names the block of each member; blocks are numbered by first appearance, so entry 0 is 0 and
    no entry exceeds the largest before it by more than 1. The string 0…0 (all equal) is first, 0 1 2 … (all different) last.

    Args:
      size: number of members, at least 0. The count grows fast: Bell(10) is 115 975.

    Returns:
      :func:`bell_number` of ``size`` tuples of ``size`` ints.

    Raises:
      TypeError: ``size`` is no integer.
      ValueError: it is negative.

    Example:
      >>> set_partitions(3)
      ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2))
    """
    return _set_partitions(positive_int(size, "size", 0, None, 12))


@bounded
def _set_partitions(size: int) -> tuple[Partition, ...]:
    if not size:
        return ((),)
    return tuple((*start, block) for start in _set_partitions(size - 1) for block in range(block_count(start) + 1))


def block_count(partition: Partition) -> int:
    """Returns the number of blocks."""
    return max(partition, default=-1) + 1


def equality_pattern(values: Sequence[Hashable]) -> Partition:
    """Tells which entries of a sequence are equal, as a restricted growth string.

    Args:
      values: hashable entries, for example a multi-index.

    Returns:
      A tuple of ints as long as ``values``: equal numbers at equal entries, counted by first appearance.

    Example:
      >>> equality_pattern((7, 4, 7, 9))
      (0, 1, 0, 2)
    """
    numbers: dict[Hashable, int] = {}
    values = listed(values, "values", "hashable entries")
    if not all(isinstance(value, Hashable) for value in values):
        raise TypeError(f"`values` is {shown(values)}; its entries must be hashable.")
    return tuple(numbers.setdefault(value, len(numbers)) for value in values)


def stirling_number(size: int, blocks: int) -> int:
    r"""Counts the set partitions of ``size`` members into ``blocks`` blocks (the second kind).

    .. math:: S(m, j) = \frac{1}{j!} \sum_{i=0}^{j} (-1)^{j-i} \binom{j}{i} i^m

    Args:
      size: number of members, at least 0.
      blocks: number of blocks, at least 0.

    Raises:
      TypeError: an argument is no integer.
      ValueError: one is negative.

    Example: the equality patterns of four indices that take up to two values.
      >>> stirling_number(4, 1) + stirling_number(4, 2)
      8
    """
    size, blocks = positive_int(size, "size", 0, None, 1000), positive_int(blocks, "blocks", 0, None, 1000)
    total = sum((-1) ** (blocks - i) * math.comb(blocks, i) * i**size for i in range(blocks + 1))
    return total // math.factorial(blocks)


def bell_number(size: int) -> int:
    """Counts all set partitions of ``size`` members.

    From size 0 on that is 1, 1, 2, 5, 15, 52, 203, 877, 4140.

    Args:
      size: number of members, at least 0.

    Raises:
      TypeError: ``size`` is no integer.
      ValueError: it is negative.

    Example: the linear maps from relations to relations that commute with every relabelling of the nodes.
      >>> bell_number(2 + 2)
      15
    """
    size = positive_int(size, "size", 0, None, 1000)
    return sum(stirling_number(size, blocks) for blocks in range(size + 1))


def _partition(value: Any, name: str) -> Partition:
    return tuple(positive_int(block, name, 0, value) for block in listed(value, name, "numbers of blocks"))


def refines(fine: Partition, coarse: Partition) -> bool:
    """Tells whether every block of ``fine`` lies within a block of ``coarse``.

    Args:
      fine: a restricted growth string.
      coarse: one of the same length.

    Raises:
      ValueError: the lengths differ.

    Example:
      >>> refines((0, 1, 0, 2), (0, 1, 0, 0)), refines((0, 1, 0, 0), (0, 1, 0, 2))
      (True, False)
    """
    fine, coarse = _partition(fine, "fine"), _partition(coarse, "coarse")
    if len(fine) != len(coarse):
        raise ValueError(f"`fine` has {len(fine)} members and `coarse` {len(coarse)}; compare partitions of one set.")
    return len(set(zip(fine, coarse, strict=True))) == block_count(fine)


@bounded
def refinement(size: int) -> np.ndarray:
    """The order of the partition lattice, bool ``(Bell(size), Bell(size))``: ``[a, b]`` where a refines b. Read-only."""
    partitions = set_partitions(size)
    table = np.array([[refines(a, b) for b in partitions] for a in partitions])
    table.setflags(write=False)
    return table
