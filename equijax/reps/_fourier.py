"""The Fourier transform over a finite group."""

from typing import Any

import jax
import jax.numpy as jnp

from equijax.groups import FiniteGroup
from equijax.reps._decompose import peter_weyl


def fourier(group: FiniteGroup, f: Any, axis: int) -> jax.Array:
    r"""Writes functions on a finite group in the entries of its irreps.

    .. math:: \hat f_{ψ,u,a} = \sqrt{d/n} \sum_g (ψ(g)\, u)_a\, f(g)

    The transform is orthonormal, so :math:`\sum_g |f(g)|^2 = \sum |\hat f|^2` (Parseval). Moving f by h, which is
    ``Regular(group).act(h, f, axis)``, multiplies each block of length d by the matrix ψ(h).

    Layout of the ``n`` coefficients: irreps in the order of ``irreps(group)``; of each irrep, of dimension d, one block of
    length d for each vector u, d of them (d/2 where its type is complex, d/4 where it is quaternionic).
    ``decompose(Regular(group))`` gives the same as ``copies`` and ``basis``.

    Args:
      group: the group, of order n.
      f: float array with an axis of length n.
      axis: that axis.

    Returns:
      The coefficients along the same axis.

    Raises:
      ValueError: the axis has another length.

    Example: what the square's symmetries leave alone is the mean.
      >>> import equijax as ej, jax.numpy as jnp
      >>> coefficients = ej.reps.fourier(ej.Dihedral(4), jnp.ones((5, 8, 3)), axis=1)
      >>> coefficients.shape, (coefficients[0, :, 0] ** 2).round(4).tolist()
      ((5, 8, 3), [8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])

    References:
      Diaconis, "Group representations in probability and statistics" (1988), chapter 2.
    """
    return _apply(group, f, axis, inverse=False)


def inverse_fourier(group: FiniteGroup, coefficients: Any, axis: int) -> jax.Array:
    """Returns the function on a finite group that has these coefficients: the inverse of :func:`fourier`.

    Args:
      group: the group, of order n.
      coefficients: float array with an axis of length n, laid out as :func:`fourier` returns it.
      axis: that axis.

    Returns:
      The function along the same axis.

    Raises:
      ValueError: the axis has another length.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> f = jnp.arange(8.0)
      >>> there = ej.reps.fourier(ej.Dihedral(4), f, axis=0)
      >>> bool(jnp.allclose(ej.reps.inverse_fourier(ej.Dihedral(4), there, axis=0), f, atol=1e-5))
      True
    """
    return _apply(group, coefficients, axis, inverse=True)


def _apply(group: FiniteGroup, values: Any, axis: int, *, inverse: bool) -> jax.Array:
    values = jnp.asarray(values)
    if not jnp.issubdtype(values.dtype, jnp.inexact):
        values = values.astype(float)
    if not -values.ndim <= axis < values.ndim or values.shape[axis] != group.order:
        raise ValueError(
            f"`axis` is {axis} of an array of shape {values.shape}; {group!r} has {group.order} elements, and the axis must "
            "be as long."
        )
    matrix = jnp.asarray(peter_weyl(group).basis, values.dtype)
    moved = jnp.tensordot(values, matrix, axes=((axis,), (1 if inverse else 0,)), precision="highest")
    return jnp.moveaxis(moved, -1, axis)
