"""The invariant inner product of a representation by matrices."""

from collections.abc import Sequence

import numpy as np
from scipy.linalg import block_diag

from equijax._arguments import listed
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.groups._elements import known_reals
from equijax.groups._lie_algebra import is_orthogonal
from equijax.reps import Representation
from equijax.reps._solver import MAX_SIZE, solve

_TOLERANCE = 1e-9

_SINGULAR = 1e9


def invariant_form(generators: Sequence[np.ndarray], algebra: Sequence[np.ndarray], dim: int) -> np.ndarray | None:
    r"""Returns the mean of :math:`ρ(g)^T ρ(g)` over the group, or None where there is no invariant inner product.

    The mean over a compact group is the projection onto the invariant forms R along what the mean kills, and that is
    what the invariant forms L of the dual are orthogonal to: :math:`G = R (L^T R)^{-1} L^T 1`. Where the group is not
    compact G is not positive (Lorentz), or does not exist (translations).

    Args:
      generators: matrices of discrete generators, float64 ``(dim, dim)``.
      algebra: matrices of the Lie algebra, float64 ``(dim, dim)``.
      dim: dimension; 1 is allowed to have no matrices.

    Returns:
      Symmetric positive float64 ``(dim, dim)``, the identity where all matrices are orthogonal; None too where ``dim`` is
      so large that the forms can't be solved for.

    Example: a turn in skew coordinates keeps an ellipse.
      >>> import numpy as np
      >>> skew = np.array([[1.0, 1.0], [0.0, 1.0]])
      >>> turn = np.linalg.inv(skew) @ np.array([[0.0, -1.0], [1.0, 0.0]]) @ skew
      >>> form = invariant_form([turn], [], 2)
      >>> np.abs(turn.T @ form @ turn - form).max() < 1e-12
      np.True_
    """
    dim = positive_int(dim, "dim", 1, None, 2**14)
    generators = [_square(m, "generators", dim) for m in listed(generators, "generators", "square matrices")]
    algebra = [_square(m, "algebra", dim) for m in listed(algebra, "algebra", "square matrices")]
    one = np.eye(dim)
    if is_orthogonal(generators, algebra):
        return one
    if dim * dim > MAX_SIZE:
        return None
    dual, minus = [np.linalg.inv(a).T for a in generators], [-x.T for x in algebra]
    forms = solve(generators, dual, algebra, minus, in_dim=dim, out_dim=dim).reshape(-1, dim * dim)
    dual_forms = solve(dual, generators, minus, algebra, in_dim=dim, out_dim=dim).reshape(-1, dim * dim)
    if len(forms) != len(dual_forms) or not len(forms):
        return None
    overlap = dual_forms @ forms.T
    if np.linalg.cond(overlap) > 1 / _TOLERANCE:
        return None
    mean = (np.linalg.solve(overlap, dual_forms @ one.reshape(-1)) @ forms).reshape(dim, dim)
    mean = (mean + mean.T) / 2
    values = np.linalg.eigvalsh(mean)
    return mean if values[0] > _TOLERANCE * abs(values[-1]) else None


def _square(value: object, name: str, dim: int) -> np.ndarray:
    matrix = known_reals(value, name)
    if matrix.shape != (dim, dim) or not np.isfinite(matrix).all():
        raise ValueError(f"`{name}` holds an array of shape {matrix.shape}; all must be finite matrices, ({dim}, {dim}).")
    if name == "generators" and not np.linalg.cond(matrix) < _SINGULAR:
        raise ValueError(f"`{name}` holds a singular matrix; elements of a group are invertible.")
    return matrix


@bounded
def invariant_form_of(rep: Representation) -> np.ndarray | None:
    """Returns :func:`invariant_form` of a representation, part by part where it is a sum. Read-only."""
    parts = [rep] if len(rep.parts) == 1 else rep.parts
    forms = [
        invariant_form(part.generators, part.algebra, part.dim) if len(parts) == 1 else invariant_form_of(part)
        for part in parts
    ]
    if any(form is None for form in forms):
        return None
    return read_only(np.asarray(block_diag(*forms)))
