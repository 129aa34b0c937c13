"""How the linear maps between tensors on nodes are put together from few contractions of the input."""

import dataclasses
import itertools

import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.sharing._partitions import Partition, block_count, equality_pattern, set_partitions


@dataclasses.dataclass(frozen=True)
class Contraction:
    """A diagonal of the input, summed over some of its axes.

    Attributes:
      pattern: which input slots are set equal; the diagonal has one axis for each block.
      kept: the blocks that stay, ascending; the others are summed.
    """

    pattern: Partition
    kept: tuple[int, ...]

    @property
    def summed(self) -> int:
        """Number of axes that are summed."""
        return block_count(self.pattern) - len(self.kept)


@dataclasses.dataclass(frozen=True)
class Target:
    """A diagonal of the output, and the axes of it along which a value varies; it is repeated along the others.

    Attributes:
      pattern: which output slots are set equal; the diagonal has one axis for each block.
      places: the block on which each axis of the value is put.
    """

    pattern: Partition
    places: tuple[int, ...]

    @property
    def everywhere(self) -> bool:
        """True where the diagonal is the whole output."""
        return block_count(self.pattern) == len(self.pattern)


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """All maps that pass through values with the same number of axes: every contraction feeds every target.

    Attributes:
      contractions: the values that are made from the input.
      targets: where they go.
      numbers: the partition that each pair belongs to, int32 ``(contractions, targets)``. Read-only.
    """

    contractions: tuple[Contraction, ...]
    targets: tuple[Target, ...]
    numbers: np.ndarray


@bounded
def families(in_order: int, out_order: int) -> tuple[Family, ...]:
    """Sorts the set partitions of output and input slots by the number of blocks that meet both.

    A partition is a contraction of the input (blocks of input slots alone are summed), a diagonal of the output (blocks of
    output slots alone are repeated along), and the blocks of both in between. So for r = 0, 1, … such blocks, the partitions
    are all the pairs of a contraction that keeps r axes and a target that takes r.
    """
    number = {partition: k for k, partition in enumerate(set_partitions(out_order + in_order))}
    found = []
    for rank in range(min(in_order, out_order) + 1):
        contractions = tuple(
            Contraction(pattern, kept)
            for pattern in set_partitions(in_order)
            for kept in itertools.combinations(range(block_count(pattern)), rank)
        )
        targets = tuple(
            Target(pattern, places)
            for pattern in set_partitions(out_order)
            for places in itertools.permutations(range(block_count(pattern)), rank)
        )
        table = [[number[_joined(contraction, target)] for target in targets] for contraction in contractions]
        found.append(Family(contractions, targets, read_only(np.array(table, np.int32))))
    return tuple(found)


def _joined(contraction: Contraction, target: Target) -> Partition:
    """The partition of output slots, then input slots, that a contraction and a target make together."""
    place = dict(zip(contraction.kept, target.places, strict=True))
    inputs = [("output", place[block]) if block in place else ("summed", block) for block in contraction.pattern]
    return equality_pattern([*(("output", block) for block in target.pattern), *inputs])


@bounded
def summed_blocks(in_order: int, out_order: int) -> np.ndarray:
    """Number of summed axes of each partition, int ``(Bell(in_order + out_order),)``. Read-only."""
    partitions = set_partitions(out_order + in_order)
    return read_only(np.array([len(set(p[out_order:]) - set(p[:out_order])) for p in partitions], np.int64))


@bounded
def fan(in_order: int, out_order: int) -> int:
    """Number of maps that reach an output entry of different indices with as little summing as there can be.

    These carry the variance of the layer on many nodes: a mean over nodes of independent values vanishes.
    """
    summed = summed_blocks(in_order, out_order)
    partitions = set_partitions(out_order + in_order)
    general = [s for p, s in zip(partitions, summed, strict=True) if block_count(p[:out_order]) == out_order]
    return general.count(min(general))


def split(pattern: Partition) -> tuple[Partition, int, int]:
    """Returns a partition that is finer by one cut, and its two blocks, ascending, of which ``pattern`` makes one.

    The diagonal of ``pattern`` is that of the finer one at equal indices on these two axes: the second axis falls away.
    """
    slot = max(s for s, block in enumerate(pattern) if pattern.index(block) < s)
    finer = equality_pattern([*pattern[:slot], -1, *pattern[slot + 1 :]])
    return finer, finer[pattern.index(pattern[slot])], finer[slot]
