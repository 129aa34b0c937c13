"""Coordinates of a representation that the group does not mix: each set moves by a representation of its own."""

import dataclasses
from typing import Any

import numpy as np
import scipy.sparse

from equijax.reps._representation import Representation

_ZERO = 1e-12


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Block:
    """The part of a representation on some of its coordinates.

    Attributes:
      rep: the whole representation.
      generators: matrices of ``group.discrete_generators`` on these coordinates, float64 ``(dim, dim)``.
      algebra: derivatives along ``group.algebra`` on these coordinates.
      dim: number of coordinates.
    """

    rep: Representation
    generators: tuple[np.ndarray, ...]
    algebra: tuple[np.ndarray, ...]
    dim: int

    @property
    def group(self) -> Any:
        """The group."""
        return self.rep.group

    @property
    def key(self) -> bytes:
        """Equal for blocks of one representation that move in the same way."""
        return b"".join(matrix.tobytes() for matrix in (*self.generators, *self.algebra)) + self.dim.to_bytes(8, "little")

    def __repr__(self) -> str:
        return repr(self.rep)


def unmixed_blocks(rep: Representation) -> list[tuple[np.ndarray, Block]]:
    """Splits the coordinates as far as the zeros of the matrices allow: into orbits, where it permutes.

    Returns:
      Pairs (numbers of the coordinates, block), ordered by the smallest number.
    """
    linked = np.zeros((rep.dim, rep.dim), bool)
    for matrix in (*rep.generators, *rep.algebra):
        linked |= np.abs(matrix) > _ZERO * np.abs(matrix).max()
    count, labels = scipy.sparse.csgraph.connected_components(scipy.sparse.csr_array(linked), directed=False)
    sets = sorted((np.flatnonzero(labels == k) for k in range(count)), key=lambda numbers: numbers[0])
    return [(numbers, _block(rep, numbers)) for numbers in sets]


def _block(rep: Representation, numbers: np.ndarray) -> Block:
    generators, algebra = (
        tuple(matrix[np.ix_(numbers, numbers)] for matrix in matrices) for matrices in (rep.generators, rep.algebra)
    )
    return Block(rep, generators, algebra, len(numbers))
