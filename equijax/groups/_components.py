"""Whether matrices stand for the different connected parts of a Lie group, as far as that can be decided."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg

from equijax.groups._lie_algebra import is_orthogonal, outside

_LARGEST, _TRIES = 8, 6
_NULL, _SAME = 1e-9, 1e-6


def require_parts(components: Sequence[np.ndarray], algebra: Sequence[np.ndarray]) -> None:
    r"""Raises ``ValueError`` where two components lie in one connected part, or a product of two in none that is listed.

    A matrix lies in the part of the identity where :math:`M \exp(Y) = \exp(X)` with X, Y in the algebra. It does not where
    it moves a vector, a bilinear form or an endomorphism that the algebra leaves alone, or where its determinant is not one
    of an exponential. What neither shows is accepted.

    Args:
      components: one matrix for each part, the unit matrix first, float64 ``(n, n)``.
      algebra: the Lie algebra, float64 ``(n, n)``.
    """
    if len(components) == 1:
        return
    test = Invariants(algebra, len(components[0]))
    stack = np.stack(components)
    inverses = np.linalg.inv(stack)
    for j, b in enumerate(components):
        others = inverses[:j] @ b
        for i in np.flatnonzero(~test.excludes(others)).tolist():
            if test.includes(others[i]):
                raise ValueError(
                    f"`components` holds entries {i} and {j}, {components[i].tolist()} and {b.tolist()}, of one connected "
                    "part: one is the other times exponentials of the algebra. Leave one of them out."
                )
    for a in components[1:]:
        for b in components[1:]:
            if test.excludes(inverses @ (a @ b)).all():
                raise ValueError(
                    f"`components` holds {a.tolist()} and {b.tolist()}, but their product {(a @ b).tolist()} lies in no "
                    "part that is listed. The parts of a group are closed under products: add it, or check the matrices."
                )


class Invariants:
    """What is known of the part of the group that is connected with the identity."""

    def __init__(self, algebra: Sequence[np.ndarray], size: int):
        self.algebra = list(algebra)
        self.unit = [x / np.linalg.norm(x) for x in algebra]
        one = np.eye(size)
        zeros = np.zeros((0, size * size))
        self.is_orthogonal = is_orthogonal([], algebra)
        small = size <= _LARGEST
        self.is_special = all(abs(np.trace(x)) < _NULL for x in self.unit)
        self.vectors = _null([np.zeros((0, size)), *self.unit])
        forms = [np.kron(x.T, one) + np.kron(one, x.T) for x in self.unit]
        commuting = [np.kron(x, one) - np.kron(one, x.T) for x in self.unit]
        self.forms, self.commutant = (
            (_null([zeros, *equations]) if small else zeros).reshape(-1, size, size) for equations in (forms, commuting)
        )

    def excludes(self, matrices: Any, tolerance: float = _SAME, xp: Any = np) -> Any:
        """Which of several matrices ``(…, n, n)`` certainly lie elsewhere, bool ``(…)``; ``xp`` is numpy or jax.numpy."""
        m, t = matrices, xp.swapaxes(matrices, -1, -2)
        vectors, forms, commutant = (xp.asarray(v, m.dtype) for v in (self.vectors, self.forms, self.commutant))
        size = 1 + xp.abs(matrices).max((-2, -1), initial=0.0)
        determinant = xp.linalg.det(matrices)
        found = (determinant <= 0) | (self.is_special & (xp.abs(determinant - 1) > tolerance * size ** m.shape[-1]))
        rank = (1,) * (m.ndim - 2)
        fixed, forms = vectors.T.reshape(*rank, *vectors.T.shape), forms.reshape(*rank, *forms.shape)
        commutant, one = commutant.reshape(*rank, *commutant.shape), xp.eye(m.shape[-1], dtype=m.dtype)
        moved = xp.abs(m @ fixed - fixed).max((-2, -1), initial=0.0)
        found |= moved > tolerance * size
        m, t = m[..., None, :, :], t[..., None, :, :]
        found |= xp.abs(t @ forms @ m - forms).max((-3, -2, -1), initial=0.0) > tolerance * size**2
        found |= xp.abs(m @ commutant - commutant @ m).max((-3, -2, -1), initial=0.0) > tolerance * size
        if self.is_orthogonal:
            found |= xp.abs(t @ m - one.reshape(*rank, 1, *one.shape)).max((-3, -2, -1), initial=0.0) > tolerance * size**2
        return found

    def includes(self, matrix: np.ndarray) -> bool:
        """Whether logarithms show that a matrix lies there."""
        if np.abs(matrix - np.eye(len(matrix))).max() < _NULL:
            return True
        generator = np.random.default_rng(0)
        for attempt in range(_TRIES if self.unit else 0):
            weights = generator.normal(size=len(self.unit)) * min(attempt, 3)
            moved = matrix @ scipy.linalg.expm(np.tensordot(weights, np.stack(self.unit), 1))
            values = np.linalg.eigvals(moved)
            if (np.abs(np.angle(values)) > np.pi - _SAME).any():
                continue  # on the negative axis there is no principal logarithm
            logarithm = np.real(scipy.linalg.logm(moved))
            back = np.abs(scipy.linalg.expm(logarithm) - moved).max() < _NULL * (1 + np.abs(moved).max())
            if back and np.abs(outside(logarithm, self.algebra)).max() < _NULL * (1 + np.abs(logarithm).max()):
                return True
        return False


def _null(equations: Sequence[np.ndarray]) -> np.ndarray:
    """Orthonormal rows that span what all equations send to zero."""
    stacked = np.concatenate(equations)
    if not len(stacked):
        return np.eye(stacked.shape[1])
    _, values, rows = np.linalg.svd(stacked)
    return rows[np.count_nonzero(values > _NULL) :]
