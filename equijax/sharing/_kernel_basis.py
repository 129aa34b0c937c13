"""Kernels between any two fibres, one orbit of offsets after another."""

import jax
import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.groups import FiniteGroup
from equijax.reps import Representation
from equijax.reps._solver import solve
from equijax.sharing._window import window


@bounded
def kernel_basis(
    point_group: FiniteGroup, kernel_size: tuple[int, ...], in_part: Representation, out_part: Representation
) -> np.ndarray:
    r"""Returns a basis of the kernels with :math:`κ(hδ) = ρ_{out}(h) κ(δ) ρ_{in}(h)^{-1}`, orbit of offsets by orbit.

    The kernels are the maps from the input fibre to the functions on the window with values in the output fibre. These
    functions are induced, orbit by orbit, from the stabiliser K of one offset δ, so (Frobenius) a kernel is fixed by
    κ(δ), any map that commutes with K: only systems as small as one pair of fibres are solved.

    Returns:
      float64 ``(rank, |out|, offsets, |in|)``, orthonormal where the fibres are orthogonal, the same on every machine.
      Read-only.
    """
    moved = window(point_group, kernel_size)[1]
    into, out = _matrices(in_part), _matrices(out_part)
    back = into[point_group.inverses]
    found = [np.zeros((0, out_part.dim, moved.shape[1], in_part.dim))]
    for first in np.unique(moved.min(axis=0)):
        stabiliser = _generators(point_group, np.flatnonzero(moved[:, first] == first))
        local = solve(into[stabiliser], out[stabiliser], (), (), in_dim=in_part.dim, out_dim=out_part.dim)  # pyright: ignore[reportArgumentType]
        kernels = np.zeros((len(local), out_part.dim, moved.shape[1], in_part.dim))
        places, movers = np.unique(moved[:, first], return_index=True)
        for place, h in zip(places, movers, strict=True):
            kernels[:, :, place] = out[h] @ local @ back[h]
        found.append(kernels / np.sqrt(len(places)))
    return read_only(np.concatenate(found))


@bounded
def _matrices(fibre: Representation) -> np.ndarray:
    """Matrices of all elements, float64 ``(order, dim, dim)``."""
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return read_only(np.array(fibre(fibre.group.elements()), np.float64))


def _generators(group: FiniteGroup, elements: np.ndarray) -> list[int]:
    """Some of the elements of a subgroup that generate it."""
    chosen: list[int] = []
    reached = {0}
    for element in elements.tolist():
        if element in reached:
            continue
        chosen.append(element)
        frontier = list(reached)
        reached = set(frontier)
        while frontier:
            frontier = [k for k in set(group.table[np.ix_(frontier, chosen)].reshape(-1).tolist()) if k not in reached]
            reached.update(frontier)
    return chosen
