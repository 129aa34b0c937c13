"""What the part of a group that maps a grid to itself does to a fibre."""

import math
from typing import Any

import jax
import numpy as np

from equijax._cache import bounded
from equijax.groups._group import Group
from equijax.reps import MatrixRepresentation, PermutationRepresentation, Regular, Representation, Scalar


@bounded
def lattice_fibre(group: Group, fibre: Representation) -> Representation:
    """Returns the same vectors, moved by the point group of ``group.lattice_part``.

    Args:
      group: a group that translates a grid.
      fibre: a representation of its point group.
    """
    part: Any = group.lattice_part.point_group
    if fibre.group == part:
        return fibre
    if not fibre.shape:
        return Scalar(part)
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        _, h = group.from_lattice(np.zeros((part.order, group.grid_ndim), np.int32), np.arange(part.order, dtype=np.int32))
        if fibre.is_permutation and fibre.group.order < math.inf:
            table = fibre.table[np.asarray(h)]
            regular = Regular(part)
            return regular if np.array_equal(table, regular.table) else PermutationRepresentation(part, table)
        return MatrixRepresentation(part, np.asarray(fibre(h), np.float64))
