"""Representations of a smaller group, from those of a larger one."""

import dataclasses
import typing
from typing import Any

import jax
import numpy as np
import scipy.linalg

from equijax._cache import bounded
from equijax.groups import Subgroup
from equijax.groups._group import Element, require_is_group
from equijax.reps._matrix import MatrixRepresentation, matrices
from equijax.reps._representation import Representation, require_representation

_TOLERANCE = 1e-9
_TRIES = 64


@dataclasses.dataclass(frozen=True)
class Restricted(Representation):
    """The vectors of ``base``, moved by a smaller group whose elements are matrices. Made by ``rep.restrict(group)``.

    Attributes:
      base: the representation of the larger group.
      group: the smaller group; its matrices are among those of the larger one.
    """

    base: Representation
    group: Any

    def __post_init__(self) -> None:
        require_representation(self.base, "base")
        require_is_group(self.group, "group")
        _require_inside(self.group, self.base.group)

    @property
    def dim(self) -> int:
        """The dimension of the base."""
        return self.base.dim

    @property
    def is_orthogonal(self) -> bool:
        """True where every matrix is orthogonal."""
        return self.base.is_orthogonal or super().is_orthogonal

    @property
    def is_permutation(self) -> bool:
        """True where the base permutes."""
        return self.base.is_permutation

    @property
    def dual(self) -> Representation:
        """The restricted dual."""
        return Restricted(self.base.dual, self.group) if not self.is_orthogonal else self

    def restrict(self, subgroup: Any) -> Representation:
        """Returns the base restricted to a still smaller group; a ``Subgroup`` must be one of the smaller group."""
        return restricted(self, subgroup)

    def __call__(self, g: Element) -> jax.Array:
        """Returns the matrix of ``g``, float ``(…, dim, dim)``."""
        self.group.require_element(g)
        return self.base(self.base.group.element(self.group.matrix(g)))


def restrict(fibre: Representation, subgroup: Any) -> Representation:
    """Returns the same vectors, moved by a smaller group: ``fibre.restrict(subgroup)``.

    Args:
      fibre: a representation.
      subgroup: a ``Subgroup`` of its finite group (the result belongs to ``subgroup.as_group()``, on the same coordinates),
        or a group whose elements are matrices, all of them matrices of the larger group.

    Raises:
      TypeError: ``subgroup`` is neither.
      ValueError: it is no part of the group of ``fibre``.

    Example: a permutation, and vectors under all rotations of which the cube's are kept.
      >>> import equijax as ej
      >>> half = ej.Cyclic(4).subgroup([2])
      >>> ej.reps.restrict(ej.reps.Regular(ej.Cyclic(4)), half)
      PermutationRepresentation(Cyclic(2), [[0, 1, 2, 3], [2, 3, 0, 1]])
      >>> ej.reps.restrict(ej.reps.Vector(ej.Dihedral(4)), ej.Cyclic(4)).group
      Cyclic(4)
    """
    require_representation(fibre, "fibre")
    return fibre.restrict(subgroup)


def restricted(rep: Representation, subgroup: Any) -> Representation:
    """The restriction of a representation that does not know a better one."""
    if isinstance(subgroup, Subgroup):
        require_subgroup(rep, subgroup)
        return MatrixRepresentation(subgroup.as_group(), matrices(rep)[list(subgroup.elements)])
    require_is_group(
        subgroup,
        "subgroup",
        "it must be a Subgroup, which group.subgroup(elements) makes, or a group whose elements are matrices of the larger "
        "one",
    )
    if subgroup == rep.group:
        return rep
    return Restricted(rep, subgroup)


def require_subgroup(rep: Representation, subgroup: Subgroup) -> None:
    """Raises ``ValueError`` where the subgroup is one of another group."""
    if subgroup.group != rep.group:
        raise ValueError(f"`subgroup` belongs to {subgroup.group!r}, but the fibre is one of {rep.group!r}.")


@bounded
def _require_inside(small: Any, large: Any) -> None:
    """Raises ``ValueError`` unless every matrix of ``small`` is found among those of ``large``."""
    inside = [_matrix(small, c) for c in small.discrete_generators]
    sizes = {len(m) for m in inside} | {len(x) for x in small.algebra}
    size = len(_matrix(large, large.identity))
    if sizes - {size}:
        raise ValueError(
            f"`subgroup` is {small!r}, whose matrices have size {min(sizes - {size})}; those of {large!r} have size {size}. "
            "Write the smaller group by matrices of that size, for example LieGroup.from_algebra(algebra, components) or "
            "PointGroup.from_matrices(generators)."
        )
    outside = _outside(small.algebra, large.algebra)
    if outside > _TOLERANCE:
        raise ValueError(
            f"`subgroup` is {small!r}, whose Lie algebra is not inside that of {large!r}: a direction is off by "
            f"{outside:.1e}. Write it in the coordinates of the larger group."
        )
    for m in inside:
        if not _holds(large, m):
            raise ValueError(
                f"`subgroup` is {small!r}, whose element {np.round(m, 4).tolist()} is not found in {large!r}. Restrict to a "
                "group whose matrices all belong to it."
            )


def _matrix(group: Any, g: Element) -> np.ndarray:
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return np.array(group.matrix(g), np.float64)


def _outside(small: typing.Sequence[np.ndarray], large: typing.Sequence[np.ndarray]) -> float:
    """How far directions are from the span of ``large``, relative to their length."""
    if not small:
        return 0.0
    rows = np.stack([x.reshape(-1) / np.linalg.norm(x) for x in small])
    basis = scipy.linalg.orth(np.stack([x.reshape(-1) for x in large]).T) if large else np.zeros((rows.shape[1], 0))
    return float(np.linalg.norm(rows - (rows @ basis) @ basis.T, axis=1).max())


def _holds(large: Any, matrix: np.ndarray) -> bool:
    """Tells whether a matrix is an element: of a discrete group by looking it up.

    In a Lie group M = C exp(X) exp(-Y) for a component C and X, Y of the algebra proves it. Y is drawn (the same ones each
    time) until ``C⁻¹ M exp(Y)`` has its principal logarithm in the algebra.
    """
    if not large.algebra:
        return _among(large, matrix)
    algebra = np.stack(large.algebra)
    generator = np.random.default_rng(0)
    inverses = [np.linalg.inv(_matrix(large, c)) for c in large.components]
    for attempt in range(_TRIES):
        weights = generator.normal(size=len(algebra)) * min(attempt, 3) * 0.7
        moved = scipy.linalg.expm(np.tensordot(weights, algebra, 1))
        for inverse in inverses:
            found = np.asarray(scipy.linalg.logm(inverse @ matrix @ moved))
            small = np.linalg.norm(found) < 1e-12
            if np.isrealobj(found) and (small or _outside([found], large.algebra) < 1e-8):
                return True
    return False


def _among(large: Any, matrix: np.ndarray) -> bool:
    try:
        g = large.element(matrix)
    except ValueError:
        return False
    return bool(np.abs(_matrix(large, g) - matrix).max() < 1e-6)
