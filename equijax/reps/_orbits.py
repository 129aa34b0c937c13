"""Orbits of a finite group on pairs of points: which weights must be equal."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def orbits(permutations: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Numbers the orbits of a group on ``0 … size - 1``.

    Args:
      permutations: images of the points under generators of the group, int ``(size,)`` each.
      size: number of points.

    Returns:
      int32 ``(size,)``: the orbit of each point, numbered by first appearance.

    Example:
      >>> import numpy as np
      >>> orbits([np.array([1, 0, 2, 3]), np.array([0, 1, 3, 2])], 4).tolist()
      [0, 0, 1, 1]
    """
    points = np.arange(size)
    rows = np.tile(points, len(permutations))
    columns = np.concatenate([points[:0], *permutations])
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    return by_first_appearance(labels)


def by_first_appearance(labels: np.ndarray) -> np.ndarray:
    """Renumbers labels so that new numbers appear in ascending order; int32, same shape."""
    flat = labels.reshape(-1)
    _, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse].reshape(labels.shape)


def pair_orbits(
    out_permutations: Sequence[np.ndarray], in_permutations: Sequence[np.ndarray], out_size: int, in_size: int
) -> np.ndarray:
    r"""Numbers the orbits of a group on pairs (output point, input point).

    A linear map W is equivariant, ``W ρ_in(g) = ρ_out(g) W``, if and only if it is constant on these orbits:
    ``W[g o, g i] = W[o, i]``.

    Args:
      out_permutations: images of the output points under generators, int ``(out_size,)`` each.
      in_permutations: images of the input points under the same generators, int ``(in_size,)`` each.
      out_size: number of output points.
      in_size: number of input points.

    Returns:
      int32 ``(out_size, in_size)``: the orbit of each pair, numbered by first appearance in C order.

    Example: a set has two kinds of pairs, "itself" and "another one": DeepSets.
      >>> import numpy as np
      >>> swap, cycle = np.array([1, 0, 2]), np.array([1, 2, 0])
      >>> pair_orbits([swap, cycle], [swap, cycle], 3, 3).tolist()
      [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    """
    moved = [
        (out[:, None].astype(np.int64) * in_size + into[None, :]).reshape(-1)
        for out, into in zip(out_permutations, in_permutations, strict=True)
    ]
    return orbits(moved, out_size * in_size).reshape(out_size, in_size)
