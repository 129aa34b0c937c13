"""Orbits of a finite group on pairs of points: which weights must be equal."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from equijax._arguments import listed
from equijax._numbers import positive_int
from equijax.groups._elements import known_integers


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
    size = positive_int(size, "size", 0)
    permutations = [_images(p, "permutations", size) for p in listed(permutations, "permutations", "images of the points")]
    points = np.arange(size)
    rows = np.tile(points, len(permutations))
    columns = np.concatenate([points[:0], *permutations])
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    return by_first_appearance(labels)


def _images(value: Any, name: str, size: int) -> np.ndarray:
    images = known_integers(value, name, (), "images of the points, integers")
    if images.shape != (size,) or (size and (images.min() < 0 or images.max() >= size)):
        raise ValueError(
            f"`{name}` holds an array of shape {images.shape}; each must be images of 0 … {size - 1}, ({size},)."
        )
    return images


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
    out_size, in_size = positive_int(out_size, "out_size", 0), positive_int(in_size, "in_size", 0)
    out_permutations = [
        _images(p, "out_permutations", out_size) for p in listed(out_permutations, "out_permutations", "images")
    ]
    in_permutations = [_images(p, "in_permutations", in_size) for p in listed(in_permutations, "in_permutations", "images")]
    if len(out_permutations) != len(in_permutations):
        raise ValueError(
            f"`out_permutations` holds {len(out_permutations)} and `in_permutations` {len(in_permutations)} generators; "
            "give the images of both under the same ones."
        )
    moved = [
        (out[:, None].astype(np.int64) * in_size + into[None, :]).reshape(-1)
        for out, into in zip(out_permutations, in_permutations, strict=True)
    ]
    return orbits(moved, out_size * in_size).reshape(out_size, in_size)
