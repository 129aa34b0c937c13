r"""Linear maps that commute with a group: the null space of its generators, in float64.

The law :math:`ρ_{out}(g) W = W ρ_{in}(g)` holds for the whole group when it holds for the discrete generators and, with
derivatives in place of matrices, for a basis of the Lie algebra.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from equijax._arrays import read_only
from equijax._canonical import canonical_basis
from equijax.reps._orbits import pair_orbits
from equijax.reps._representation import Representation, require_representation

MAX_SIZE = 4096
"""The largest number of entries of W for which a system of equations is solved: beyond it takes minutes and gigabytes."""

_MAX_ENTRIES = 2**27
_NULL, _GAP, _RESIDUAL = 1e-11, 1e-7, 1e-8


class Block(NamedTuple):
    """The maps between one part of the input and one of the output.

    Attributes:
      out_start: first coordinate of the part of the output.
      in_start: first coordinate of the part of the input.
      basis: orthonormal maps, float64 ``(rank, out part, in part)``; equal pairs of parts share one array. Read-only.
    """

    out_start: int
    in_start: int
    basis: np.ndarray


def intertwiners(in_rep: Representation, out_rep: Representation) -> np.ndarray:
    r"""Returns a basis of the linear maps W with ``out_rep(g) W = W in_rep(g)`` for every element g.

    Permutations go by the orbits on pairs of coordinates, in integers; sums go part by part, and between two irreps
    there is nothing to solve unless they are equal (Schur); the rest is the null space of the generators.

    Returns:
      float64 ``(rank, out_dim, in_dim)``, orthonormal in the Frobenius product, the same on every machine. Read-only.

    Raises:
      ValueError: the groups differ, or the problem is too large.

    Example: the regular representation of C4 has one map for each difference of elements.
      >>> import equijax as ej
      >>> regular = ej.reps.Regular(ej.Cyclic(4))
      >>> (ej.reps.intertwiners(regular, regular)[1] * 2).tolist()
      [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]]
    """
    _require_one_group(in_rep, out_rep)
    return _intertwiners(in_rep, out_rep)


def intertwiner_blocks(in_rep: Representation, out_rep: Representation) -> tuple[Block, ...]:
    """Returns the basis of :func:`intertwiners` part by part, without the zeros around each block.

    The blocks follow each other in C order of (output part, input part); pairs without a map are left out.

    Raises:
      ValueError: the groups differ, or a pair of parts is too large.
    """
    _require_one_group(in_rep, out_rep)
    found = []
    out_start = 0
    for out_part in out_rep.parts:
        in_start = 0
        for in_part in in_rep.parts:
            basis = _part_intertwiners(in_part, out_part)
            if len(basis):
                found.append(Block(out_start, in_start, basis))
            in_start += in_part.dim
        out_start += out_part.dim
    return tuple(found)


def invariant_vectors(generators: Sequence[np.ndarray], algebra: Sequence[np.ndarray], dim: int) -> np.ndarray:
    """Returns a basis of the vectors that every generator keeps and every derivative kills, float64 ``(k, dim)``.

    Orthonormal, and the same on every machine.

    Example: a permutation of three coordinates keeps their mean.
      >>> import numpy as np
      >>> (invariant_vectors([np.eye(3)[[1, 2, 0]]], [], 3) * 3**0.5).round(3).tolist()
      [[1.0, 1.0, 1.0]]
    """
    one, zero = np.ones((1, 1)), np.zeros((1, 1))
    basis = solve([one] * len(generators), generators, [zero] * len(algebra), algebra, in_dim=1, out_dim=dim)
    return basis[:, :, 0]


def solve(
    in_generators: Sequence[np.ndarray],
    out_generators: Sequence[np.ndarray],
    in_algebra: Sequence[np.ndarray],
    out_algebra: Sequence[np.ndarray],
    *,
    in_dim: int,
    out_dim: int,
) -> np.ndarray:
    r"""Returns a basis of the matrices W with ``A W = W B`` for every pair (A of the output, B of the input).

    The sum of :math:`C^T C = A^T A ⊗ 1 - A ⊗ B - A^T ⊗ B^T + 1 ⊗ B B^T` over the pairs, each scaled to unit size, costs
    N² for a pair, where N is the number of entries of W; its null space is found by ``eigh``.

    Args:
      in_generators: matrices B of the generators, float64 ``(in_dim, in_dim)`` each.
      out_generators: matrices A of the same generators, ``(out_dim, out_dim)`` each.
      in_algebra: derivatives along a basis of the Lie algebra; empty for a discrete group.
      out_algebra: the same for the output.
      in_dim: dimension of the input.
      out_dim: dimension of the output.

    Returns:
      float64 ``(rank, out_dim, in_dim)``, orthonormal in the Frobenius product, the same on every machine.

    Raises:
      ValueError: more than ``MAX_SIZE`` unknowns.
      ArithmeticError: the null space is not separated from the rest, so its dimension can't be told.
    """
    size = out_dim * in_dim
    pairs = [
        scaled
        for a, b in (*zip(out_generators, in_generators, strict=True), *zip(out_algebra, in_algebra, strict=True))
        if (scaled := _unit_size(a, b)) is not None
    ]
    if not pairs:
        _require_entries(size, out_dim, in_dim)
        return np.eye(size).reshape(size, out_dim, in_dim)
    if size > MAX_SIZE:
        raise ValueError(
            f"maps from dimension {in_dim} to {out_dim} have {size} entries, and a system of equations is solved up to "
            f"{MAX_SIZE}. Give representations that know their parts: sums of irreps (decompose first) are solved part "
            "by part. Or carry copies of a representation as features."
        )
    scale = float(len(pairs))
    values, vectors = eigh(
        _normal_matrix(pairs, out_dim, in_dim), subset_by_value=(-np.inf, _GAP * scale), overwrite_a=True, check_finite=False
    )
    if values.size and values[-1] > _NULL * scale:
        raise ArithmeticError(
            f"the equations of equivariance have a singular value of {np.sqrt(values[-1] / scale):.1e} relative to the "
            "matrices, neither zero nor clearly not: the matrices represent the group too inexactly, or their scales "
            "differ too much. Give generators in float64, and a basis in which their entries are of one size."
        )
    orthonormal, _ = np.linalg.qr(vectors)
    basis = canonical_basis(orthonormal).T.reshape(-1, out_dim, in_dim)
    worst = max((np.abs(a @ basis - basis @ b).max(initial=0.0) for a, b in pairs), default=0.0)
    if worst > _RESIDUAL:
        raise ArithmeticError(
            f"the solved maps break the law of equivariance by {worst:.1e}: the matrices do not represent the group "
            "exactly enough. Give generators in float64."
        )
    return basis


def _unit_size(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Scales one equation to unit size, the root mean square of singular values; None where it says nothing, 0 = 0."""
    norm = np.sqrt((a**2).sum() / len(a) + (b**2).sum() / len(b))
    return None if norm == 0 else (a / norm, b / norm)


def _normal_matrix(pairs: Sequence[tuple[np.ndarray, np.ndarray]], out_dim: int, in_dim: int) -> np.ndarray:
    """The sum of CᵀC over all equations, float64 ``(N, N)``; rows and columns are entries of W in C order."""
    out_side = np.stack([a.reshape(-1) for a, _ in pairs])
    in_side = np.stack([b.reshape(-1) for _, b in pairs])
    products = (out_side.T @ in_side).reshape(out_dim, out_dim, in_dim, in_dim)
    crossed = products.transpose(0, 2, 1, 3) + products.transpose(1, 3, 0, 2)
    matrix = np.negative(crossed, order="C")
    matrix[:, np.arange(in_dim), :, np.arange(in_dim)] += sum(a.T @ a for a, _ in pairs)
    matrix[np.arange(out_dim), :, np.arange(out_dim), :] += sum(b @ b.T for _, b in pairs)
    return matrix.reshape(out_dim * in_dim, out_dim * in_dim)


@functools.lru_cache(maxsize=256)
def _intertwiners(in_rep: Representation, out_rep: Representation) -> np.ndarray:
    if in_rep.is_permutation and out_rep.is_permutation:
        return _orbit_maps(in_rep, out_rep)
    blocks = intertwiner_blocks(in_rep, out_rep)
    rank = sum(len(block.basis) for block in blocks)
    _require_entries(rank, out_rep.dim, in_rep.dim)
    found = np.zeros((rank, out_rep.dim, in_rep.dim))
    first = 0
    for out_start, in_start, basis in blocks:
        count, rows, columns = basis.shape
        found[first : first + count, out_start : out_start + rows, in_start : in_start + columns] = basis
        first += count
    return read_only(found)


@functools.lru_cache(maxsize=1024)
def _part_intertwiners(in_part: Representation, out_part: Representation) -> np.ndarray:
    """The basis between two parts that are not taken apart further, float64 ``(rank, out, in)``."""
    if in_part.is_irrep and out_part.is_irrep and in_part != out_part:
        return read_only(np.zeros((0, out_part.dim, in_part.dim)))
    if in_part.is_permutation and out_part.is_permutation:
        return _orbit_maps(in_part, out_part)
    found = solve(
        in_part.generators, out_part.generators, in_part.algebra, out_part.algebra, in_dim=in_part.dim, out_dim=out_part.dim
    )
    return read_only(found)


def _orbit_maps(in_rep: Representation, out_rep: Representation) -> np.ndarray:
    """One map of unit length for each orbit on pairs of coordinates."""
    out_images, in_images = ([np.argmax(matrix, axis=0) for matrix in rep.generators] for rep in (out_rep, in_rep))
    labels = pair_orbits(out_images, in_images, out_rep.dim, in_rep.dim)
    sizes = np.bincount(labels.reshape(-1))
    _require_entries(len(sizes), *labels.shape)
    found = np.zeros((len(sizes), *labels.shape))
    rows, columns = np.indices(labels.shape)
    found[labels, rows, columns] = 1 / np.sqrt(sizes[labels])
    return read_only(found)


def _require_entries(rank: int, out_dim: int, in_dim: int) -> None:
    if rank * out_dim * in_dim > _MAX_ENTRIES:
        raise ValueError(
            f"{rank} maps from dimension {in_dim} to {out_dim} take {8 * rank * out_dim * in_dim / 2**30:.1f} GB as one "
            "array. Use `intertwiner_blocks`, which leaves out zeros, or carry copies of a representation as features."
        )


def _require_one_group(in_rep: Representation, out_rep: Representation) -> None:
    require_representation(in_rep, "in_rep")
    require_representation(out_rep, "out_rep")
    if in_rep.group != out_rep.group:
        raise ValueError(
            f"`in_rep` and `out_rep` represent different groups, {in_rep.group!r} and {out_rep.group!r}; maps commute with "
            "one group. Restrict one representation to the other's group."
        )
