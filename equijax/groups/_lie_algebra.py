"""Lie algebras as lists of real matrices: their brackets, and what is wrong with a list that is none."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from equijax._arguments import listed, shown
from equijax._arrays import read_only, require_real
from equijax.groups._elements import known_reals

_TOLERANCE, _ROUNDING = 1e-9, 1e-12


def as_matrices(matrices: Any, name: str, size: int | None = None) -> tuple[np.ndarray, ...]:
    """Returns read-only float64 copies after checking that all are finite square matrices of one size.

    Raises:
      ValueError: one is not, or holds complex numbers.
    """
    matrices = listed(matrices, name, "square matrices")
    require_real(matrices, name)
    given = [known_reals(m, name, "square matrices of real numbers") for m in matrices]
    for m in given:
        n = len(given[0]) if size is None and given[0].ndim else size
        if m.shape != (n, n) or not n:
            raise ValueError(
                f"`{name}` holds an array of shape {m.shape}; all must be square matrices of one size, here ({n}, {n})."
            )
        if not np.isfinite(m).all():
            raise ValueError(f"`{name}` holds {shown(m.tolist())}, which is not finite; give finite numbers.")
    return tuple(read_only(m) for m in given)


def flat(algebra: Any, size: int) -> np.ndarray:
    """The matrices as rows, float64 ``(count, size²)``."""
    return np.reshape(algebra, (len(algebra), size * size))


def outside(matrices: np.ndarray, algebra: Sequence[np.ndarray]) -> np.ndarray:
    """The part of each matrix that no combination of ``algebra`` gives, float64 ``(…, n, n)``."""
    size = matrices.shape[-1]
    rows = matrices.reshape(-1, size * size)
    if not algebra:
        return matrices
    basis = np.linalg.qr(flat(algebra, size).T)[0]
    return (rows - (rows @ basis) @ basis.T).reshape(matrices.shape)


def structure_constants(algebra: Sequence[np.ndarray]) -> np.ndarray:
    r"""Returns A with :math:`[X_i, X_j] = \sum_k A_{ijk} X_k`, float64 ``(d, d, d)``.

    Raises:
      ValueError: the matrices are dependent, or a bracket is no combination of them.
    """
    if not algebra:
        return read_only(np.zeros((0, 0, 0)))
    stack = np.stack(algebra)
    size, count = stack.shape[-1], len(stack)
    rows = flat(algebra, size)
    lengths = np.linalg.norm(rows, axis=1)
    smallest = np.linalg.svd(rows / np.where(lengths > 0, lengths, 1.0)[:, None], compute_uv=False)[-1]
    if count > size * size or smallest < _TOLERANCE:
        raise ValueError(
            f"`algebra` holds {count} matrices that are linearly dependent (smallest singular value {smallest:.1e}). "
            "Leave out those that are combinations of the others."
        )
    units = np.exp2(np.rint(np.log2(lengths)))  # powers of two: nothing is rounded
    scaled = stack / units[:, None, None]
    brackets = np.einsum("iab,jbc->ijac", scaled, scaled)
    brackets = brackets - np.swapaxes(brackets, 0, 1)
    left_over = np.abs(outside(brackets, list(scaled))).max(axis=(2, 3))
    if left_over.max() > _TOLERANCE * (1.0 + np.abs(brackets).max()):
        i, j = (int(k) for k in np.unravel_index(np.argmax(left_over), left_over.shape))
        found, unit = brackets[i, j] * units[i] * units[j], units[i] * units[j]
        digits = 6 - int(np.floor(np.log10(np.abs(found).max())))
        raise ValueError(
            f"`algebra` does not close: the bracket X{i} X{j} - X{j} X{i} = {found.round(digits).tolist()} is no "
            f"combination of the {count} matrices (off by {left_over.max() * unit:.1e}). Add it to the list, and the "
            "brackets with it, until nothing new comes."
        )
    solved = np.linalg.lstsq(flat(scaled, size).T, brackets.reshape(count * count, -1).T, rcond=None)[0]
    constants = solved.T.reshape(count, count, count) * units[:, None, None] * units[:, None] / units
    return read_only(np.ascontiguousarray(constants))


def require_components(components: Sequence[np.ndarray], algebra: Sequence[np.ndarray]) -> None:
    """Raises ``ValueError`` unless the matrices begin with 1, are invertible and normalise the algebra."""
    one = np.eye(len(components[0]))
    if np.abs(components[0] - one).max() > _TOLERANCE:
        raise ValueError(
            f"`components` begins with {shown(components[0].tolist())}; the first entry must be the unit matrix, which "
            "stands for the part of the group that is connected with it. Put it in front."
        )
    for m in components:
        if not np.linalg.cond(m) < 1e9:
            raise ValueError(
                f"`components` holds the singular matrix {shown(m.tolist())}; elements of a group are invertible."
            )
        if algebra:
            stack = np.stack(algebra)
            moved = m @ stack @ np.linalg.inv(m)
            errors = np.abs(outside(moved, algebra)).max((1, 2))
            error = errors.max()
            if (errors > _TOLERANCE * (np.abs(stack).max((1, 2)) + np.abs(moved).max((1, 2)))).any():
                raise ValueError(
                    f"`components` holds C = {shown(m.tolist())}, which does not normalise the algebra: C X C⁻¹ leaves "
                    f"it by {error:.1e}. The elements of a component carry the algebra to itself: check C, or "
                    "enlarge `algebra`."
                )


def is_orthogonal(
    components: Iterable[np.ndarray], algebra: Iterable[np.ndarray], directions: Sequence[np.ndarray] = ()
) -> bool:
    """Tells whether all matrices are orthogonal: discrete ones C, and exponentials of X, to 1e-9 of the size of each X.

    Args:
      components: the discrete matrices.
      algebra: the X; an algebra may be written in any unit, and the exponentials of tiny X grow as those of large ones do.
      directions: for a representation the matrices of the group of which the X are derivatives; then X may also be off by
        their rounding, 1e-12 of their size.
    """
    whole = all(np.abs(c.T @ c - np.eye(len(c))).max() < _TOLERANCE for c in components)
    matrices = list(algebra)
    rounding = [_ROUNDING * np.abs(d).max() for d in directions] or [0.0] * len(matrices)
    return whole and all(
        np.abs(x + x.T).max() <= max(_TOLERANCE * np.abs(x).max(), floor)
        for x, floor in zip(matrices, rounding, strict=True)
    )


def rotations(n: int) -> list[np.ndarray]:
    """Generators of the rotations of n-dimensional space; x, y, z for n = 3, and [[0, -1], [1, 0]] for n = 2."""
    unit = np.eye(n)
    result = []
    for i in reversed(range(n)):
        for j in reversed(range(i + 1, n)):
            sign = -1.0 if (i + j) % 2 == 0 else 1.0
            result.append(sign * (np.outer(unit[j], unit[i]) - np.outer(unit[i], unit[j])))
    return result


def block_diagonal(sizes: Sequence[int], index: int, block: np.ndarray) -> np.ndarray:
    """Zeros but for one block on the diagonal."""
    start, total = sum(sizes[:index]), sum(sizes)
    whole = np.zeros((total, total))
    whole[start : start + sizes[index], start : start + sizes[index]] = block
    return read_only(whole)
