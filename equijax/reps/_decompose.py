"""Taking a representation apart into irreps."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._canonical import canonical_basis
from equijax.groups import Label
from equijax.reps._blocks import Block, unmixed_blocks
from equijax.reps._irrep import Irrep
from equijax.reps._matrix import extended
from equijax.reps._representation import Representation, require_representation
from equijax.reps._solver import intertwiners, solve

MAX_ENTRIES = 2**27
"""The largest number of entries of all matrices of a representation that is averaged over a finite group."""

_TIE, _WHOLE, _LAW = 1e-6, 1e-6, 1e-7


@dataclasses.dataclass(frozen=True, eq=False)
class Decomposition:
    r"""The irreps in a representation, and the coordinates in which they show.

    .. math:: Q^{-1} ρ(g)\, Q = ψ_1(g) ⊕ … ⊕ ψ_1(g) ⊕ ψ_2(g) ⊕ …

    Attributes:
      irreps: pairs (irrep, how often it occurs), in the order of the group's list.
      basis: the matrix Q, float64 ``(dim, dim)``: the columns of one copy follow each other, copies of one irrep too. It is
        orthogonal where ``rho`` is. Read-only.
    """

    irreps: tuple[tuple[Irrep, int], ...]
    basis: np.ndarray

    @property
    def inverse(self) -> np.ndarray:
        """The inverse of ``basis``, float64 ``(dim, dim)``. Read-only."""
        return _inverse(self)

    @property
    def copies(self) -> tuple[tuple[Irrep, int], ...]:
        """Pairs (irrep, first column of ``basis``), one for each copy."""
        parts = [irrep for irrep, count in self.irreps for _ in range(count)]
        starts = itertools.accumulate((irrep.dim for irrep in parts), initial=0)
        return tuple(zip(parts, starts, strict=False))

    def __repr__(self) -> str:
        return f"Decomposition({', '.join(f'{count} × {irrep!r}' for irrep, count in self.irreps)})"


def decompose(rep: Representation) -> Decomposition:
    """Takes a representation apart into irreps.

    Any representation of a finite group, orthogonal or not; of another group where its irreps are known and ``rep`` is a sum
    of them. The basis is the same on every machine.

    Args:
      rep: the representation.

    Returns:
      The irreps with multiplicities, and the change of basis.

    Raises:
      ValueError: the irreps of the group are not known, the matrices are no representation, it is no sum of irreps (as
        happens for groups that are not compact), or it is too large.

    Example: functions on the corners of a square, as they move with its symmetries.
      >>> import equijax as ej
      >>> square = ej.Dihedral(4)
      >>> found = ej.reps.decompose(ej.reps.Quotient(square.subgroup([4])))
      >>> [(irrep.index, count) for irrep, count in found.irreps], found.basis.shape
      ([(0, 1), (2, 1), (4, 1)], (4, 4))

    References:
      Serre, "Linear representations of finite groups" (1977), section 2.7.
    """
    require_representation(rep, "rep")
    return _decompose(rep)


def in_order(labels: Any) -> list[Label]:
    """Sorts labels by index, and even parity before odd."""
    return sorted(labels, key=lambda label: (label.index, -(label.parity or 0)))


@bounded
def _decompose(rep: Representation) -> Decomposition:
    known = rep.known_decomposition
    if known is not None:
        return known
    if len(rep.parts) > 1:
        ends = list(itertools.accumulate(part.dim for part in rep.parts))
        coordinates = [np.arange(end - part.dim, end) for part, end in zip(rep.parts, ends, strict=True)]
        return _join(coordinates, [_decompose(part) for part in rep.parts])
    found: dict[bytes, Decomposition] = {}
    coordinates, pieces = [], []
    for numbers, block in unmixed_blocks(rep):
        if block.key not in found:
            found[block.key] = _of_block(block)
        coordinates.append(numbers)
        pieces.append(found[block.key])
    return pieces[0] if len(pieces) == 1 else _join(coordinates, pieces)


def _of_block(block: Block) -> Decomposition:
    found = list(_averaged(block) if block.group.irrep_family.is_enumerated else _solved(block))
    size = sum(columns.shape[1] for _, _, columns in found)
    if size != block.dim:
        raise ValueError(
            f"{block!r} is no sum of known irreps of {block.group!r}: they span {size} dimensions of a part that has "
            f"{block.dim}. Representations of compact groups are sums; others need not be."
        )
    result = Decomposition(
        tuple((irrep, count) for irrep, count, _ in found),
        read_only(np.concatenate([columns for _, _, columns in found], axis=1)),
    )
    _require_blocks(block, result)
    return result


def _join(coordinates: list[np.ndarray], pieces: list[Decomposition]) -> Decomposition:
    """The decomposition of a whole from those of pieces that live on some of its coordinates each."""
    counts: dict[Irrep, int] = {}
    for piece in pieces:
        for irrep, count in piece.irreps:
            counts[irrep] = counts.get(irrep, 0) + count
    by_label = {irrep.label: irrep for irrep in counts}
    order = [by_label[label] for label in in_order(by_label)]
    widths = [counts[irrep] * irrep.dim for irrep in order]
    free = dict(zip(order, itertools.accumulate(widths, initial=0), strict=False))
    basis = np.zeros((sum(widths),) * 2)
    for numbers, piece in zip(coordinates, pieces, strict=True):
        start = 0
        for irrep, count in piece.irreps:
            width = count * irrep.dim
            basis[numbers, free[irrep] : free[irrep] + width] = piece.basis[:, start : start + width]
            start += width
            free[irrep] += width
    return Decomposition(tuple((irrep, counts[irrep]) for irrep in order), read_only(basis))


def _averaged(rep: Block) -> Iterator[tuple[Irrep, int, np.ndarray]]:
    r"""Irreps, multiplicities and columns for a finite group, by averages over it, without an eigensolver.

    :math:`P = (d/n) \sum_g ψ(g)_{00}\, ρ(g)` projects onto the images of the first basis vector under all maps that commute;
    :math:`φ e_b = (d/n) \sum_g ψ(g)_{b0}\, ρ(g)\, v` is the map with :math:`φ e_0 = v`.
    """
    matrices = all_matrices(rep)
    order = len(matrices)
    flat = matrices.reshape(order, -1)
    traces = np.trace(matrices, axis1=1, axis2=2)
    for label in rep.group.irrep_family.labels:
        irrep = Irrep(rep.group, label.index, parity=label.parity)
        psi = irrep.matrices
        count = float(irrep.character @ traces) / (order * irrep.commutant_dim)
        if abs(count - round(count)) > _WHOLE:
            raise _not_a_representation(rep, f"{irrep!r} would occur {count:.6g} times")
        if not round(count):
            continue
        scale = irrep.dim / order
        projector = (scale * psi[:, 0, 0] @ flat).reshape(rep.dim, rep.dim)
        starts = _image(projector, round(count) * irrep.commutant_dim)
        moved = np.tensordot(matrices, starts, axes=(2, 0))
        maps = scale * np.tensordot(psi[:, :, 0], moved, axes=(0, 0)).transpose(2, 1, 0)
        yield irrep, round(count), _copies(irrep, maps)


def _solved(rep: Block) -> Iterator[tuple[Irrep, int, np.ndarray]]:
    """Irreps, multiplicities and columns for an infinite group, by solving for the maps from each candidate."""
    for label in in_order(rep.group.irrep_family.candidates(rep)):
        irrep = Irrep(rep.group, label.index, parity=label.parity)
        maps = solve(irrep.generators, rep.generators, irrep.algebra, rep.algebra, in_dim=irrep.dim, out_dim=rep.dim)
        if len(maps):
            yield irrep, len(maps) // irrep.commutant_dim, _copies(irrep, maps)


def _copies(irrep: Irrep, maps: np.ndarray) -> np.ndarray:
    """Chooses maps from an irrep that are independent over its commutant, and returns their columns side by side.

    Args:
      irrep: the irrep.
      maps: a basis of all maps that commute, ``(rank, dim, irrep.dim)``.
    """
    rank = len(maps)
    flat, _ = np.linalg.qr(maps.reshape(rank, -1).T)
    flat = flat * np.where(np.einsum("ij,ji->i", maps.reshape(rank, -1), flat) < 0, -1.0, 1.0)
    maps = flat.T.reshape(maps.shape)
    residual, chosen = np.eye(rank), []
    commutant = commutant_of(irrep)
    for _ in range(rank // irrep.commutant_dim):
        lengths = np.linalg.norm(residual, axis=1)
        pivot = int(np.argmax(lengths >= lengths.max() * (1 - _TIE)))
        phi = np.tensordot(residual[pivot] / lengths[pivot], maps, axes=(0, 0))
        chosen.append(phi * np.sqrt(irrep.dim))
        spanned, _ = np.linalg.qr(np.einsum("rij,kij->rk", maps, phi @ commutant))
        residual = residual - residual @ spanned @ spanned.T
    return np.concatenate(chosen, axis=1)


def commutant_of(irrep: Irrep) -> np.ndarray:
    """Returns an orthonormal basis of the maps that commute with an irrep, float64 ``(1, 2 or 4, dim, dim)``."""
    if irrep.commutant_dim == 1:
        return np.eye(irrep.dim)[None] / np.sqrt(irrep.dim)
    return intertwiners(irrep, irrep)


def _image(matrix: np.ndarray, rank: int) -> np.ndarray:
    """Canonical orthonormal columns that span the image of a projector, orthogonal or not."""
    if np.abs(matrix - matrix.T).max() < 1e-10:
        return canonical_basis((matrix + matrix.T) / 2, rank)
    left, _, _ = np.linalg.svd(matrix)
    return canonical_basis(left[:, :rank])


@bounded
def peter_weyl(group: Any) -> Decomposition:
    r"""Decomposes the regular representation: the columns are :math:`\sqrt{d/n}\,(ψ(g)\, u)_a`, a varies fastest.

    The vectors u are orthonormal over the commutant of ψ: basis vectors as far as possible.
    """
    found, columns = [], []
    for label in group.irrep_family.labels:
        irrep = Irrep(group, label.index, parity=label.parity)
        vectors = _over_the_commutant(irrep)
        functions = np.sqrt(irrep.dim / group.order) * (irrep.matrices @ vectors)
        columns.append(functions.transpose(0, 2, 1).reshape(group.order, -1))
        found.append((irrep, vectors.shape[1]))
    return Decomposition(tuple(found), read_only(np.concatenate(columns, axis=1)))


def _over_the_commutant(irrep: Irrep) -> np.ndarray:
    """Vectors u_i, columns, with J u_i orthogonal to u_j for all i ≠ j and all J that commute with the irrep."""
    commutant = commutant_of(irrep)
    residual, chosen = np.eye(irrep.dim), []
    for _ in range(irrep.dim // irrep.commutant_dim):
        lengths = np.linalg.norm(residual, axis=1)
        pivot = int(np.argmax(lengths >= lengths.max() * (1 - _TIE)))
        u = residual[pivot] / lengths[pivot]
        chosen.append(u)
        spanned, _ = np.linalg.qr((commutant @ u).T)
        residual = residual - residual @ spanned @ spanned.T
    return np.stack(chosen, axis=1)


def all_matrices(rep: Representation | Block) -> np.ndarray:
    """Returns the matrices of all elements of a finite group, products of those of its generators, ``(order, dim, dim)``."""
    group = rep.group
    if group.order * rep.dim**2 > MAX_ENTRIES:
        raise ValueError(
            f"{rep!r} has {group.order} matrices of dimension {rep.dim}, {group.order * rep.dim**2} entries, and at most "
            f"{MAX_ENTRIES} are averaged. Give a sum of smaller representations: `a + b` is decomposed part by part."
        )
    return extended(group, rep.generators, rep.dim)


def _require_blocks(rep: Block, result: Decomposition) -> None:
    """Raises where the generators are not, in the new basis, the matrices of the irreps."""
    for number, (matrix, parts) in enumerate(
        zip(
            (*rep.generators, *rep.algebra),
            zip(*((*irrep.generators, *irrep.algebra) for irrep, _ in result.irreps), strict=True),
            strict=True,
        )
    ):
        moved = matrix @ result.basis
        start = 0
        for (irrep, count), part in zip(result.irreps, parts, strict=True):
            stop = start + count * irrep.dim
            columns = result.basis[:, start:stop].reshape(rep.dim, count, irrep.dim)
            error = np.abs(moved[:, start:stop].reshape(columns.shape) - columns @ part).max()
            if error > _LAW * (1 + np.abs(matrix).max()):
                raise _not_a_representation(rep, f"generator {number} is off by {error:.1e} in the basis of the irreps")
            start = stop


def _not_a_representation(rep: Block, found: str) -> ValueError:
    return ValueError(
        f"{rep!r} is no representation of {rep.group!r}: {found}. Its matrices must multiply as the elements do; give them "
        "in float64."
    )


@bounded
def _inverse(found: Decomposition) -> np.ndarray:
    basis = found.basis
    is_orthogonal = np.abs(basis.T @ basis - np.eye(len(basis))).max() < 1e-12
    return read_only(basis.T if is_orthogonal else np.linalg.inv(basis))
