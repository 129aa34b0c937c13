"""The parts of a fibre that nothing mixes: what norms, gates and dropout treat as one."""

import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.reps import Representation


def block_numbers(fibre: Representation) -> np.ndarray:
    """Returns which block each coordinate of the fibre belongs to, int32 ``(dim,)``, counted from 0. Read-only.

    The blocks are the summands of a direct sum, one for each copy, and the orbits of the coordinates that a permutation
    moves. Anything else is one block.
    """
    return _numbers(fibre)


def block_count(fibre: Representation) -> int:
    """Returns the number of blocks."""
    return int(_numbers(fibre).max()) + 1


def block_indicators(fibre: Representation) -> np.ndarray:
    """Returns 1 where a coordinate belongs to a block, float64 ``(blocks, dim)``. Read-only."""
    return _indicators(fibre)


def pointwise_coordinates(fibre: Representation) -> np.ndarray:
    """Returns which coordinates a pointwise function may be applied to, bool ``(dim,)``. Read-only.

    They are those of the summands that permute their coordinates, or leave them alone.
    """
    return _pointwise(fibre)


def coefficients_of_invariants(fibre: Representation) -> np.ndarray:
    """Returns the matrix that reads the coefficients of ``fibre.invariants`` off a vector, float64 ``(k, dim)``. Read-only.

    It projects orthogonally, which commutes with the group where the fibre is orthogonal.
    """
    return _coefficients(fibre)


@bounded
def _numbers(fibre: Representation) -> np.ndarray:
    if fibre.is_permutation:
        return read_only(fibre.invariants.argmax(0).astype(np.int32))
    if len(fibre.parts) == 1:
        return read_only(np.zeros(fibre.dim, np.int32))
    numbers, start = [], 0
    for part in fibre.parts:
        numbers.append(_numbers(part) + start)
        start = int(numbers[-1].max()) + 1
    return read_only(np.concatenate(numbers).astype(np.int32))


@bounded
def _indicators(fibre: Representation) -> np.ndarray:
    numbers = _numbers(fibre)
    return read_only((numbers[None] == np.arange(block_count(fibre))[:, None]).astype(np.float64))


@bounded
def _pointwise(fibre: Representation) -> np.ndarray:
    if fibre.is_permutation or len(fibre.invariants) == fibre.dim:
        return read_only(np.ones(fibre.dim, bool))
    if len(fibre.parts) == 1:
        return read_only(np.zeros(fibre.dim, bool))
    return read_only(np.concatenate([_pointwise(part) for part in fibre.parts]))


@bounded
def _coefficients(fibre: Representation) -> np.ndarray:
    invariants = fibre.invariants
    return read_only(np.linalg.solve(invariants @ invariants.T, invariants) if len(invariants) else np.zeros((0, fibre.dim)))
