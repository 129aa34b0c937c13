"""Samples of band-limited functions on a group, a circle or a sphere."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.groups import Octahedral, PointGroup
from equijax.reps import Representation, decompose, intertwiners, spherical_harmonics

_TOLERANCE = 1e-9

#: Rows ρ(g) w, their weights, and the elements that permute the rows.
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


class Samples(NamedTuple):
    """How a vector is read as a function and back.

    Attributes:
      values: S, float64 ``(samples, dim)``: the values of the function of a vector. Read-only.
      back: T, float64 ``(dim, samples)`` with ``T S = 1``: the vector of the nearest band-limited function. Read-only.
      symmetry: the elements that map the samples to themselves, float64 ``(count, n, n)``; None for all of a finite group.
        Read-only.
    """

    values: np.ndarray
    back: np.ndarray
    symmetry: np.ndarray | None


@bounded
def samples_of(fibre: Representation, count: int | None, symmetry: PointGroup | None) -> Samples:
    r"""Returns samples of :math:`f_v(g) = w · ρ(g)^{-1} v`, where w makes the matrix of all of them injective.

    ``values`` has the rows ρ(g) w. A set of samples that an element h maps to itself is permuted, and so are the rows, so
    that ``back``, the weighted pseudo-inverse, commutes with h.
    """
    found = decompose(fibre)
    group: Any = fibre.group
    if group.order < math.inf:
        rows, weights, kept = *_over_finite(found.irreps, group), None
    elif len(group.algebra) == 1:
        rows, weights, kept = _over_circle(found.irreps, group, count, 4 if symmetry is None else _rotations_of(symmetry))
    elif len(group.algebra) == 3:
        rows, weights, kept = _over_sphere(found.irreps, group, count, Octahedral() if symmetry is None else symmetry)
    else:
        raise ValueError(
            f"`fibre` belongs to {group!r}; samples are known for finite groups and the rotations of the plane and of "
            "space. Use Gate or Bilinear."
        )
    rows, weights = _merged(rows, weights)
    values = rows @ np.linalg.inv(found.basis) / np.linalg.norm(rows[0])
    weighted = values.T * weights
    gram = weighted @ values
    if np.linalg.cond(gram) > 1 / _TOLERANCE:
        raise ValueError(
            f"`samples` is {count}; {len(values)} samples do not tell the functions of {fibre!r} apart. Give more samples."
        )
    back = np.linalg.solve(gram, weighted)
    return Samples(read_only(values), read_only(back), None if kept is None else read_only(kept))


def _over_finite(irreps: Any, group: Any) -> tuple[np.ndarray, np.ndarray]:
    """All elements of a finite group."""
    rows = [irrep.matrices @ u for irrep, count in irreps for u in _probes(irrep, count)]
    return np.concatenate(rows, axis=1), np.ones(group.order) / group.order


def _over_circle(irreps: Any, group: Any, count: int | None, multiple: int) -> Drawn:
    """Equal angles, in every component of the group."""
    largest = max(round(np.abs(np.linalg.eigvals(irrep.algebra[0])).max()) for irrep, _ in irreps)
    number = multiple * math.ceil((4 * largest + 1) / multiple) if count is None else count
    if number % multiple:
        raise ValueError(
            f"`samples` is {number}, which is no multiple of {multiple}: the {multiple} rotations of the grid would not map "
            f"the samples to themselves. Use {multiple * math.ceil(number / multiple)}."
        )
    angles = 2 * np.pi * np.arange(number) / number
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        turns = group.exp(jnp.asarray(angles)[:, None, None] * jnp.asarray(group.algebra[0])[None])
        elements = [group.compose(turns, jnp.asarray(component)) for component in group.components]
        matrices = {irrep: np.concatenate([np.asarray(irrep(g)) for g in elements]) for irrep, _ in irreps}
    rows = np.concatenate([matrices[irrep] @ u for irrep, copies in irreps for u in _probes(irrep, copies)], axis=1)
    return rows, np.ones(len(rows)) / len(rows), np.concatenate([np.asarray(g) for g in elements])


def _over_sphere(irreps: Any, group: Any, count: int | None, symmetry: PointGroup) -> Drawn:
    """Orbits of points of the sphere under a finite group, with weights that integrate polynomials exactly."""
    for irrep, copies in irreps:
        if copies > 1 or irrep.parity not in (None, (-1) ** irrep.index):
            raise ValueError(
                f"`fibre` holds {copies} × {irrep!r}, but a function on the sphere has each degree once, with the parity of "
                "the harmonics. Carry copies as features, band_limited(group, degree) with more of them."
            )
    largest = max(irrep.index for irrep, _ in irreps)
    _require_symmetry(symmetry, 3)
    turns = np.concatenate([np.asarray(c, np.float64) @ symmetry.matrices for c in group.components])
    size = len(turns)
    if count is not None and count % size:
        raise ValueError(
            f"`samples` is {count}, which is no multiple of {size}: the {size} elements that map the grid to itself would "
            f"not map the samples to themselves. Use {size * math.ceil(count / size)}."
        )
    if count is None:
        seeds, weights = _quadrature(turns, 4 * largest)
    else:
        seeds, weights = _points(count // size), np.ones(count // size) * (size / count)
    points = np.einsum("kij,nj->nki", turns, seeds).reshape(-1, 3)
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        rows = np.concatenate([np.asarray(spherical_harmonics(irrep.index, points)) for irrep, _ in irreps], axis=1)
    return rows, np.repeat(weights, size) / size, turns


def _quadrature(turns: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Points whose orbits integrate polynomials up to a degree with positive weights: the fewest of a spiral that do."""
    for count in range(1, 64):
        seeds = _points(count)
        cosines = np.einsum("ni,kij,mj->nkm", seeds, turns, seeds)
        zonal = np.polynomial.legendre.legvander(cosines, degree)[..., 1:].mean(1)  # zero on weights iff degree l is exact
        equations = np.concatenate([np.ones((1, count)), *np.moveaxis(zonal, -1, 0)])
        wanted = np.zeros(len(equations))
        wanted[0] = 1
        even = np.ones(count) / count
        weights = even + np.linalg.lstsq(equations, wanted - equations @ even, rcond=1e-10)[0]
        if np.abs(equations @ weights - wanted).max() < 1e-12 and weights.min() > 0.1 / count:
            return seeds, weights
    raise ValueError(f"no samples of the sphere are exact to degree {degree} under {len(turns)} elements. Give `samples`.")


def _points(count: int) -> np.ndarray:
    """Points of a spiral on the sphere, ``(count, 3)``."""
    index = np.arange(count) + 0.5
    height, angle = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], axis=1)


def _probes(irrep: Any, count: int) -> list[np.ndarray]:
    """One vector for each copy, whose images under all that commutes with the irrep are independent, of length √dim."""
    commutant = intertwiners(irrep, irrep)
    chosen, span = [], np.zeros((0, irrep.dim))
    for unit in np.eye(irrep.dim):
        more = np.concatenate([span, commutant @ unit])
        if len(chosen) < count and np.linalg.matrix_rank(more, _TOLERANCE) == len(more):
            chosen.append(np.sqrt(irrep.dim) * unit)
            span = more
    if len(chosen) < count:
        raise ValueError(
            f"`fibre` holds {count} × {irrep!r}, but a function on the group has at most {len(chosen)} of them. Carry "
            "copies as features."
        )
    return chosen


def _require_symmetry(symmetry: PointGroup, ndim: int) -> None:
    """Raises ``ValueError`` where ``symmetry`` is no point group of the space that the samples lie in."""
    if symmetry.ndim != ndim:
        raise ValueError(f"`symmetry` is {symmetry!r}, which acts on {symmetry.ndim} dimensions; the samples lie in {ndim}.")


def _rotations_of(symmetry: PointGroup) -> int:
    """Number of rotations among the elements."""
    _require_symmetry(symmetry, 2)
    return int((np.linalg.det(symmetry.matrices) > 0).sum())


def _merged(rows: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal rows together, in the order of their first appearance, with the sum of their weights."""
    _, first, number = np.unique(rows.round(9) + 0.0, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return rows[first[order]], np.bincount(number.reshape(-1), weights)[order]
