r"""The maps between two permutation fibres in the coordinates of irreps, where most of their entries are zero.

By Schur's lemma an equivariant map takes copies of an irrep to copies of the same irrep: one number for each pair of copies
(where the type is real), whatever the dimension d of the irrep. Between regular fibres of a group of order n these are
Σ d³ products instead of n².

A window of several samples is a sum of such maps where the input fibre is regular: reading the entry a of the fibre at the
offset aε, for each offset ε, turns the window back, and what is read is moved by the group as one fibre is,

.. math:: y[x, b] = \sum_{ε, a} κ[aε, a, b]\; f[x + aε, a], \qquad κ[haε, ha, hb] = κ[aε, a, b].
"""

import dataclasses

import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.reps import Regular, decompose
from equijax.sharing import KernelSharing
from equijax.sharing._window import window

#: The largest number of entries of all maps of a basis between two fibres.
LARGEST = 1 << 22


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """The part of one irrep: a matrix from copies to copies, the same for every coordinate.

    Attributes:
      size: number of coordinates d; 1 where copies mix their coordinates, which then count as copies.
      weights: the matrix for each weight of one offset, float64 ``(copies of the input, copies of the output, weights)``.
    """

    size: int
    weights: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Isotypic:
    """A map in coordinates of irreps: ``write · (parts · (read · x))``.

    Attributes:
      read: from the input fibre to its coordinates, part by part, (copy, coordinate) in each; float64 ``(n, |in|)``.
      parts: the parts that input and output have in common.
      write: from the coordinates to the output fibre, float64 ``(|out|, m)``.
      slots: the free weight that each weight of each offset is, int ``(offsets, weights)``.
    """

    read: np.ndarray
    parts: tuple[Part, ...]
    write: np.ndarray
    slots: np.ndarray

    @property
    def products(self) -> int:
        """Number of products for each pixel, offset and pair of features."""
        return sum(part.size * part.weights.shape[0] * part.weights.shape[1] for part in self.parts)

    @property
    def transform(self) -> int:
        """Number of entries of both transforms."""
        return self.read.size + self.write.size


def has_blocks(sharing: KernelSharing) -> bool:
    """Whether the maps are known as tables, few enough to be taken apart, and the group is more than the identity.

    A window of several samples needs regular fibres, which the group moves without fixed points.
    """
    into, out, group = sharing.in_fibre, sharing.out_fibre, sharing.point_group
    if not sharing.permutes or group.order == 1 or not group.irrep_family.is_enumerated:
        return False
    if sharing.offsets == 1:
        return into.dim * out.dim * sharing.count <= LARGEST
    return into == out == Regular(group) and group.order**3 <= LARGEST


@bounded
def isotypic(sharing: KernelSharing) -> Isotypic:
    """Takes the maps between two permutation fibres apart."""
    if sharing.offsets > 1:
        _, images = window(sharing.point_group, sharing.kernel_size)
        fibre = np.arange(len(images))
        return _at_every_offset(sharing, sharing.table[0, images, fibre[:, None]])
    into, out = decompose(sharing.in_fibre), decompose(sharing.out_fibre)
    maps = np.eye(sharing.count)[sharing.table[:, 0, :]]  # (output, input, weight)
    maps = np.einsum("qb,bac,ap->pqc", out.inverse, maps, into.basis, optimize=True)
    parts, reads, writes = [], [], []
    ends = _columns(out.irreps)
    for irrep, columns in _columns(into.irreps).items():
        if irrep not in ends:
            continue
        rows, d = ends[irrep], irrep.dim
        block = maps[columns, rows].reshape(-1, d, (rows.stop - rows.start) // d, d, sharing.count)
        same = np.einsum("jsksc->jkc", block) / d
        is_one_number = np.abs(block - np.einsum("jkc,st->jsktc", same, np.eye(d))).max() < 1e-9
        whole = block.reshape(block.shape[0] * d, block.shape[2] * d, -1)
        parts.append(Part(d, read_only(same)) if is_one_number else Part(1, read_only(whole)))
        reads.append(into.inverse[columns])
        writes.append(out.basis[:, rows])
    read, write = np.concatenate(reads), np.concatenate(writes, axis=1)
    return Isotypic(read_only(read), tuple(parts), read_only(write), read_only(np.arange(sharing.count)[None]))


@bounded
def transposed(sharing: KernelSharing) -> Isotypic:
    """Takes the transposed maps apart; with a window those that read its offsets mirrored."""
    if sharing.offsets > 1:
        _, images = window(sharing.point_group, sharing.kernel_size)
        fibre, mirrored = np.arange(len(images)), sharing.offsets - 1 - images
        return _at_every_offset(sharing, sharing.table[fibre[:, None], mirrored, 0])
    found = isotypic(sharing)
    parts = tuple(Part(part.size, read_only(np.swapaxes(part.weights, 0, 1))) for part in found.parts)
    return Isotypic(read_only(found.write.T), parts, read_only(found.read.T), found.slots)


def _at_every_offset(sharing: KernelSharing, weights: np.ndarray) -> Isotypic:
    """The maps of one offset between regular fibres, with free weights ``(|in|, offsets)`` for output 0."""
    group, ones = sharing.point_group, (1,) * len(sharing.kernel_size)
    alone = KernelSharing(group, ones, sharing.in_fibre, sharing.out_fibre)
    order = np.argsort(alone.table[0, 0])
    return dataclasses.replace(isotypic(alone), slots=read_only(weights[order].T))


def _columns(irreps: tuple) -> dict:
    """The coordinates of all copies of each irrep."""
    found, begin = {}, 0
    for irrep, copies in irreps:
        found[irrep] = slice(begin, begin + irrep.dim * copies)
        begin += irrep.dim * copies
    return found
