"""Clebsch–Gordan tensors: the equivariant products of two representations with values in a third."""

import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.reps._representation import Representation, require_representation, require_same_group
from equijax.reps._solver import solve


def clebsch_gordan(a: Representation, b: Representation, c: Representation) -> np.ndarray:
    r"""Returns a basis of the bilinear maps a × b → c that commute with the group.

    .. math:: C_r(ρ_a(g)\, x,\; ρ_b(g)\, y) = ρ_c(g)\, C_r(x, y), \qquad C_r(x, y)_i = \sum_{jk} C_{r,ijk}\, x_j\, y_k

    Args:
      a: representation of the first factor.
      b: representation of the second factor.
      c: representation of the product; all three of one group, any for which maps that commute can be solved.

    Returns:
      float64 ``(rank, c.dim, a.dim, b.dim)``, orthonormal in the Frobenius product, the same on every machine. Read-only.

    Raises:
      ValueError: the groups differ, or the problem is too large.

    Example: of two vectors of the plane the group of the square makes one invariant number, their inner product.
      >>> import equijax as ej
      >>> square = ej.Dihedral(4)
      >>> plane, number = ej.reps.Irrep(square, 4), ej.reps.Irrep(square, 0)
      >>> maps = ej.reps.clebsch_gordan(plane, plane, number) * 2**0.5
      >>> (maps.round(3) + 0.0).tolist()  # + 0.0 turns -0.0 into 0.0
      [[[[1.0, 0.0], [0.0, 1.0]]]]
    """
    for rep, name in ((a, "a"), (b, "b"), (c, "c")):
        require_representation(rep, name)
    require_same_group(a, b)
    require_same_group(a, c)
    return _clebsch_gordan(a, b, c)


@bounded
def _clebsch_gordan(a: Representation, b: Representation, c: Representation) -> np.ndarray:
    products = [np.kron(x, y) for x, y in zip(a.generators, b.generators, strict=True)]
    derivatives = [np.kron(x, np.eye(b.dim)) + np.kron(np.eye(a.dim), y) for x, y in zip(a.algebra, b.algebra, strict=True)]
    maps = solve(products, c.generators, derivatives, c.algebra, in_dim=a.dim * b.dim, out_dim=c.dim)
    return read_only(maps.reshape(len(maps), c.dim, a.dim, b.dim))
