"""Whether matrices belong to a Lie group, as far as what the group leaves alone tells."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.groups._components import Invariants

if TYPE_CHECKING:
    from equijax.groups._lie import LieGroup


def excluded(group: "LieGroup", matrices: Any, xp: Any = np) -> Any:
    r"""Tells which matrices ``(…, n, n)`` certainly are no elements of a group, bool ``(…)``.

    A matrix belongs to a group only if, moved into the part of the identity by one of the components, it leaves alone what
    the algebra does: vectors, bilinear forms, endomorphisms, and volumes where all traces are 0. That decides it for the
    classical groups; where nothing is left alone nothing is excluded.

    Args:
      group: the group.
      matrices: float ``(…, n, n)``.
      xp: numpy, or ``jax.numpy`` for matrices that are traced.
    """
    invariants, inverses = _known(group)
    tolerance = 10 * float(np.finfo(np.result_type(matrices.dtype, np.float32)).eps) ** 0.5
    moved = xp.einsum("kij,...jl->...kil", xp.asarray(inverses, matrices.dtype), matrices)
    finite = xp.isfinite(matrices).all((-2, -1))
    with np.errstate(all="ignore"):
        outside = invariants.excludes(xp.where(finite[..., None, None, None], moved, xp.zeros_like(moved)), tolerance, xp)
    return ~finite | outside.all(-1)


@bounded
def _known(group: "LieGroup") -> tuple[Invariants, np.ndarray]:
    from equijax.groups._lie import LieGroup

    matrix = np.asarray if type(group).matrix is LieGroup.matrix else group.matrix
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        parts = np.stack([np.asarray(matrix(c), np.float64) for c in group.components])
    return Invariants(group.algebra, group.matrix_size), read_only(np.linalg.inv(parts))
