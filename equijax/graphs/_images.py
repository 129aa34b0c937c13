"""Images of points in a periodic space, on the host: which are near, and which shifts are opposite."""

from typing import Any

import numpy as np
from scipy.spatial import KDTree

from equijax.groups._elements import known_reals


def lattice(cell: Any, dimension: int) -> np.ndarray:
    """Returns the vectors by which a structure repeats, float64 ``(k, d)``, after checking them.

    Raises:
      ValueError: another shape, vectors that are not finite, or that depend on each other.
    """
    vectors = known_reals(cell, "cell", "vectors of real numbers")
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise ValueError(
            f"`cell` has shape {vectors.shape}; it must be (k, {dimension}), a vector of length {dimension} for each "
            "direction in which the structure repeats."
        )
    if not np.isfinite(vectors).all() or np.linalg.matrix_rank(vectors) < len(vectors):
        raise ValueError(
            f"`cell` holds {len(vectors)} vectors that are not finite or depend on each other. Leave out the directions in "
            "which the structure does not repeat."
        )
    return vectors


def near_images(points: np.ndarray, radius: float, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the points that are near each other or an image of each other.

    Args:
      points: float64 ``(N, d + 1)``, of which the last coordinate does not repeat.
      radius: the largest distance.
      cell: the vectors by which the points repeat, ``(k, d)``.

    Returns:
      Pairs i, j ``(pairs, 2)`` and the numbers n of cells ``(pairs, k)`` such that ``points[i]`` is near
      ``points[j] + n @ cell``; of (i, j, n) and the same seen from the other end, (j, i, -n), only one.
    """
    if not len(cell) or not len(points):
        pairs = KDTree(points).query_pairs(radius, output_type="ndarray")
        return pairs, np.zeros((len(pairs), len(cell)), int)
    along = np.linalg.pinv(cell)
    coordinates = points[:, :-1] @ along
    home = np.floor(coordinates)  # where points lie far apart, cells are counted from each point's own
    inside = np.column_stack([points[:, :-1] - home @ cell, points[:, -1]])
    reach = np.floor(radius * np.linalg.norm(along, axis=0) + 1).astype(int)
    numbers = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1).reshape(-1, len(cell))
    numbers = numbers[len(numbers) // 2 :]  # one of each n and -n; the first is 0
    moved = (numbers @ cell)[:, None] + inside[None, :, :-1]
    lower, upper = inside[:, :-1].min(0) - radius, inside[:, :-1].max(0) + radius
    number, node = np.nonzero(((lower <= moved) & (moved <= upper)).all(-1))
    images = np.column_stack([moved[number, node], inside[node, -1]])
    found = KDTree(inside).sparse_distance_matrix(KDTree(images), radius, output_type="ndarray")
    i, j, n = found["i"], node[found["j"]], number[found["j"]]
    once = (n > 0) | (i < j)
    i, j, n = i[once], j[once], n[once]
    return np.stack([i, j], 1), numbers[n] + (home[i] - home[j]).astype(int)


def numbered(vectors: np.ndarray) -> np.ndarray:
    """Returns whole numbers ``(n, d)`` that are equal, or opposite, where vectors are so up to rounding."""
    sizes = np.abs(vectors)
    order = np.argsort(sizes, axis=0, stable=True)
    ascending = np.take_along_axis(sizes, order, 0)
    apart = np.diff(ascending, axis=0, prepend=0) > 64 * np.finfo(vectors.dtype).eps * sizes.max(initial=0)
    ranks = np.zeros(vectors.shape, np.int64)
    np.put_along_axis(ranks, order, np.cumsum(apart, 0), 0)
    return np.where(vectors < 0, -ranks, ranks)


def numbers_of_rows(*tables: np.ndarray) -> list[np.ndarray]:
    """Returns for each row of some tables of integers a number, equal where rows are equal."""
    ids = np.unique(np.concatenate(tables), axis=0, return_inverse=True)[1].reshape(-1)
    return np.split(ids, np.cumsum([len(table) for table in tables])[:-1])
