r"""Linear maps that commute with a group: the null space of its generators, in float64.

The law :math:`ρ_{out}(g) W = W ρ_{in}(g)` holds for the whole group when it holds for the discrete generators and, with
derivatives in place of matrices, for a basis of the Lie algebra.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._canonical import canonical_basis
from equijax.reps._orbits import pair_orbits
from equijax.reps._representation import Representation, require_representation

MAX_SIZE = 4096
"""The largest number of unknowns for which a system of equations is solved: beyond it takes minutes and gigabytes."""

_MAX_ENTRIES = 2**27
_SMALL, _EXACT = 64, 1e-12
_NULL, _GAP, _RESIDUAL, _EQUAL = 1e-11, 1e-7, 1e-8, 1e-3


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

    Where W is not small and the transposes of the matrices commute with it too (all orthogonal representations), most
    unknowns are zero in the right coordinates: W commutes with :math:`H = L_0 + L_0^T + \sum_k L_k L_k^T` for any
    combinations L of the matrices, ``H_out W = W H_in``. In the eigenvectors of both H the entry (i, j) of W vanishes unless
    the eigenvalues i and j agree, and only those that do are unknowns.

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
    discrete, continuous = (
        [scaled for a, b in zip(*sides, strict=True) if (scaled := _unit_size(a, b)) is not None]
        for sides in ((out_generators, in_generators), (out_algebra, in_algebra))
    )
    pairs = discrete + continuous
    if not pairs:
        _require_entries(size, out_dim, in_dim)
        return np.eye(size).reshape(size, out_dim, in_dim)
    scale = float(len(pairs))
    if size > _SMALL and _holds_transposes(discrete, continuous):
        vectors = _in_eigenvectors(pairs, scale)
    else:
        _require_size(size, out_dim, in_dim)
        vectors = _null_space(_normal_matrix(pairs, *np.divmod(np.arange(size), in_dim)), scale)
    _require_entries(vectors.shape[1], out_dim, in_dim)
    basis = canonical_basis(vectors).T.reshape(-1, out_dim, in_dim)
    worst = max(np.abs(a @ basis - basis @ b).max(initial=0.0) for a, b in pairs)
    if worst > _RESIDUAL:
        raise ArithmeticError(
            f"the solved maps break the law of equivariance by {worst:.1e}: the matrices do not represent the group "
            "exactly enough. Give generators in float64."
        )
    return basis


def _in_eigenvectors(pairs: Sequence[tuple[np.ndarray, np.ndarray]], scale: float) -> np.ndarray:
    """Solutions as orthonormal columns ``(N, rank)``, from the unknowns that H leaves."""
    weights = np.cos(np.outer(np.arange(1.0, 5.0), 1.0 + np.arange(len(pairs))))
    (out_values, out_vectors), (in_values, in_vectors) = (
        _eigh(_symmetric([np.tensordot(w, stack, 1) for w in weights])) for stack in map(np.stack, zip(*pairs, strict=True))
    )
    rows, columns = np.nonzero(np.abs(out_values[:, None] - in_values) < _EQUAL * scale)
    _require_size(len(rows), len(out_values), len(in_values))
    turned = [(out_vectors.T @ a @ out_vectors, in_vectors.T @ b @ in_vectors) for a, b in pairs]
    found = _null_space(_normal_matrix(turned, rows, columns), scale)
    maps = np.zeros((found.shape[1], len(out_values), len(in_values)))
    maps[:, rows, columns] = found.T
    return (out_vectors @ maps @ in_vectors.T).reshape(len(maps), len(out_values) * len(in_values)).T


def _symmetric(combinations: Sequence[np.ndarray]) -> np.ndarray:
    """A symmetric matrix that commutes with whatever the combinations L commute with, as their transposes do."""
    first, *others = combinations
    return sum((x @ x.T for x in others), first + first.T)


def _holds_transposes(
    discrete: Sequence[tuple[np.ndarray, np.ndarray]], continuous: Sequence[tuple[np.ndarray, np.ndarray]]
) -> bool:
    """Whether maps that commute with the matrices commute with their transposes too, on both sides at once.

    So it is where discrete generators are orthogonal (up to the factor to which both sides were scaled) or symmetric, and
    the transposes of derivatives are combinations of derivatives: orthogonal representations, tensors of Lorentz, SL, Sp.
    """
    for a, b in discrete:
        square = a[0] @ a[0]
        inverse = all(np.abs(m @ m.T - square * np.eye(len(m))).max() < _EXACT for m in (a, b))
        if not inverse and max(np.abs(m - m.T).max() for m in (a, b)) > _EXACT:
            return False
    if not continuous:
        return True
    spanned, transposed = (
        np.stack([np.concatenate([m.reshape(-1) for m in pair]) for pair in pairs])
        for pairs in (continuous, [(a.T, b.T) for a, b in continuous])
    )
    factors = np.linalg.lstsq(spanned @ spanned.T, spanned @ transposed.T, rcond=None)[0]
    return bool(np.abs(factors.T @ spanned - transposed).max() < _EXACT)


def _null_space(matrix: np.ndarray, scale: float) -> np.ndarray:
    """Orthonormal columns that span the null space of a sum of CᵀC; its eigenvalues must leave a gap."""
    if not len(matrix):
        return np.zeros((0, 0))
    values, vectors = _eigh(matrix)
    count = int(np.searchsorted(values, _NULL * scale))
    if count < len(values) and values[count] < _GAP * scale:
        raise ArithmeticError(
            f"the equations of equivariance have a singular value of {np.sqrt(values[count] / scale):.1e} relative to the "
            "matrices, neither zero nor clearly not: the matrices represent the group too inexactly, or their scales "
            "differ too much. Give generators in float64, and a basis in which their entries are of one size."
        )
    return np.linalg.qr(vectors[:, :count])[0]


def _eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All eigenvalues, ascending, and eigenvectors, by divide and conquer.

    Asking LAPACK's default driver for the smallest ones alone is faster, and wrong by 1e-7 on matrices that are diagonal up
    to rounding, such as those in the eigenvectors of H.
    """
    return scipy.linalg.eigh(matrix, driver="evd", overwrite_a=True, check_finite=False)


def _unit_size(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Scales one equation to unit size, the root mean square of singular values; None where it says nothing, 0 = 0."""
    norm = np.sqrt((a**2).sum() / len(a) + (b**2).sum() / len(b))
    return None if norm == 0 else (a / norm, b / norm)


def _normal_matrix(pairs: Sequence[tuple[np.ndarray, np.ndarray]], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The sum of CᵀC over all equations, for the unknowns ``W[rows, columns]``, float64 ``(unknowns, unknowns)``."""
    i, j, k, l = rows[:, None], rows[None], columns[:, None], columns[None]
    matrix = np.zeros((len(rows), len(rows)))
    for a, b in pairs:
        matrix -= a[i, j] * b[k, l]
    matrix += matrix.T.copy()
    matrix += np.where(k == l, np.sum([a.T @ a for a, _ in pairs], axis=0)[i, j], 0.0)
    matrix += np.where(i == j, np.sum([b @ b.T for _, b in pairs], axis=0)[k, l], 0.0)
    return matrix


@bounded
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


@bounded
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


def _require_size(unknowns: int, out_dim: int, in_dim: int) -> None:
    if unknowns > MAX_SIZE:
        raise ValueError(
            f"maps from dimension {in_dim} to {out_dim} have {unknowns} unknowns, and a system of equations is solved up to "
            f"{MAX_SIZE}. Give representations that know their parts: sums of irreps (decompose first) are solved part "
            "by part. Or carry copies of a representation as features."
        )


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
