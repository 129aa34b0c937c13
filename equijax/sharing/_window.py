"""The window of a kernel: its offsets, and how a point group moves them."""

import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.groups import FiniteGroup
from equijax.groups._point import has_matrices


def require_window(point_group: FiniteGroup, kernel_size: tuple[int, ...], name: str = "kernel_size") -> None:
    """Raises ``ValueError`` where the point group does not map a window of this size to itself."""
    if not kernel_size:
        return
    if not has_matrices(point_group):
        raise ValueError(
            f"`{name}` is {kernel_size}, but {point_group!r} has no matrices that would move a window. Use "
            f"{name}=(), or a PointGroup."
        )
    if len(kernel_size) != point_group.ndim:
        raise ValueError(
            f"`{name}` is {kernel_size}, but {point_group!r} acts on {point_group.ndim} axes: give one size for each, "
            "or () for no grid."
        )
    if point_group.order == 1:
        return
    sizes = np.array(kernel_size)
    for i, j in np.argwhere((np.abs(point_group.integer_matrices) > 0).any(0)):
        if sizes[i] != sizes[j]:
            raise ValueError(
                f"`{name}` is {kernel_size}, but {point_group!r} exchanges axes {min(i, j)} and {max(i, j)}. "
                f"Make the kernel equally long along both, for example {(int(sizes.max()),) * len(sizes)}, or use a group "
                "of reflections of single axes."
            )
    if point_group.is_lattice_centred and (sizes % 2 == 0).any():
        raise ValueError(
            f"`{name}` is {kernel_size}, but a hexagonal lattice has no windows of even size: no lattice point lies "
            "at their centre. Use 1, 3, 5, …"
        )


@bounded
def window(point_group: FiniteGroup, kernel_size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Finds the offsets of a kernel and how the point group permutes them.

    The window is the largest part of the box ``kernel_size`` that the group maps to itself: the whole box for signed
    permutation matrices, the hexagonal neighbourhoods of 7, 19, 37 … offsets for hexagonal groups.

    Returns:
      The places of the offsets in the box, flat C order, int ``(offsets,)``; and the images of the offsets under each
      element, int32 ``(order, offsets)``. Both read-only.
    """
    dim = len(kernel_size)
    if not dim or not has_matrices(point_group):
        size = int(np.prod(kernel_size))
        table = np.broadcast_to(np.arange(size, dtype=np.int32), (point_group.order, size)).copy()
        return read_only(np.arange(size)), read_only(table)
    doubled = 2 * np.indices(kernel_size).reshape(dim, -1).T - (np.array(kernel_size) - 1)
    moved = np.einsum("hij,kj->hki", point_group.integer_matrices, doubled)
    index = (moved + np.array(kernel_size) - 1) // 2
    inside = ((index >= 0) & (index < np.array(kernel_size))).all(2)
    places = np.flatnonzero(inside.all(0))
    flat = np.ravel_multi_index(tuple(np.moveaxis(index[:, places], 2, 0)), kernel_size)
    return read_only(places), read_only(np.asarray(np.searchsorted(places, flat), np.int32))
