"""The maps between two permutation fibres in the coordinates of irreps, where most of their entries are zero.

By Schur's lemma an equivariant map takes copies of an irrep to copies of the same irrep: one number for each pair of copies
(where the type is real), whatever the dimension d of the irrep. Between regular fibres of a group of order n these are
Σ d³ products instead of n².
"""

import dataclasses

import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.reps import decompose
from equijax.sharing import KernelSharing

#: The largest number of entries of all maps of a basis between two fibres.
LARGEST = 1 << 22


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """The part of one irrep: a matrix from copies to copies, the same for every coordinate.

    Attributes:
      size: number of coordinates d; 1 where copies mix their coordinates, which then count as copies.
      weights: the matrix for each free weight, float64 ``(copies of the input, copies of the output, count)``.
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
    """

    read: np.ndarray
    parts: tuple[Part, ...]
    write: np.ndarray

    @property
    def products(self) -> int:
        """Number of products for each pixel and pair of features."""
        return sum(part.size * part.weights.shape[0] * part.weights.shape[1] for part in self.parts)


def has_blocks(sharing: KernelSharing) -> bool:
    """Whether the maps are known as tables, few enough to be taken apart, and the group is more than the identity."""
    into, out = sharing.in_fibre, sharing.out_fibre
    if not sharing.permutes or sharing.point_group.order == 1 or sharing.offsets != 1:
        return False
    return into.dim * out.dim * sharing.count <= LARGEST and sharing.point_group.irrep_family.is_enumerated


@bounded
def isotypic(sharing: KernelSharing) -> Isotypic:
    """Takes the maps between two permutation fibres apart."""
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
    return Isotypic(read_only(np.concatenate(reads)), tuple(parts), read_only(np.concatenate(writes, axis=1)))


def _columns(irreps: tuple) -> dict:
    """The coordinates of all copies of each irrep."""
    found, begin = {}, 0
    for irrep, copies in irreps:
        found[irrep] = slice(begin, begin + irrep.dim * copies)
        begin += irrep.dim * copies
    return found
