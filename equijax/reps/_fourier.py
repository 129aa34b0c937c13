"""The Fourier transform over a finite group, and over groups of rotations up to a frequency."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._dtypes import widened
from equijax._numbers import positive_int
from equijax.groups import Group
from equijax.groups._elements import numeric
from equijax.groups._group import Element, require_is_group
from equijax.reps._band_limited import fourier_basis, fourier_tables, require_degrees
from equijax.reps._decompose import peter_weyl


def fourier(group: Group, f: Any, axis: int, *, degree: int | None = None) -> jax.Array:
    r"""Writes functions on a group in the entries of its irreps.

    .. math:: \hat f_{ψ,u,a} = \sqrt{d/n} \sum_g (ψ(g)\, u)_a\, f(g)

    Over a finite group the transform is orthonormal, so :math:`\sum_g |f(g)|^2 = \sum |\hat f|^2` (Parseval). Moving f
    by h, which is ``Regular(group).act(h, f, axis)``, multiplies each block of length d by the matrix ψ(h).

    Layout of the ``n`` coefficients: irreps in the order of ``irreps(group)``; of each irrep, of dimension d, one block of
    length d for each vector u, d of them (d/2 where its type is complex, d/4 where it is quaternionic).
    ``decompose(Regular(group))`` gives the same as ``copies`` and ``basis``.

    Over SO(2), O(2), SO(3) and O(3) the irreps are those up to a ``degree``, the sum is the mean over the group and 1/n is
    left out: f is given at ``fourier_samples(group, degree)``, whose weighted mean is exact,

    .. math:: \hat f_k = \sum_i w_i\, φ_k(g_i)\, f(g_i), \qquad \sum_i w_i f(g_i)^2 = \sum_k \hat f_k^2

    with the functions :math:`φ_k` of :func:`fourier_basis`, which are the coefficients' layout. The second equation, and
    that :func:`inverse_fourier` gives f back, hold for functions up to the degree. Coefficients move by
    ``band_limited(group, degree, on="group")``.

    Args:
      group: the group, finite of order n, or a group of rotations.
      f: float array with an axis of length n, or of as many samples.
      axis: that axis.
      degree: the largest frequency, for groups of rotations; None for finite groups.

    Returns:
      The coefficients along the same axis.

    Raises:
      ValueError: the axis has another length, or ``degree`` is missing.

    Example: what the square's symmetries leave alone is the mean.
      >>> import equijax as ej, jax.numpy as jnp
      >>> coefficients = ej.reps.fourier(ej.Dihedral(4), jnp.ones((5, 8, 3)), axis=1)
      >>> coefficients.shape, (coefficients[0, :, 0] ** 2).round(4).tolist()
      ((5, 8, 3), [8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])

    References:
      Diaconis, "Group representations in probability and statistics" (1988), chapter 2.
    """
    require_is_group(group, "group")
    degree = _degree(group, degree)
    return _apply(f, "f", axis, _analysis(group, degree), f"the samples of {group!r}")


def inverse_fourier(
    group: Group, coefficients: Any, axis: int, *, degree: int | None = None, elements: Element | None = None
) -> jax.Array:
    """Returns the function on a group that has these coefficients: the inverse of :func:`fourier`.

    Args:
      group: the group, finite of order n, or a group of rotations.
      coefficients: float array with an axis as :func:`fourier` returns it.
      axis: that axis.
      degree: the largest frequency, for groups of rotations; None for finite groups.
      elements: where to evaluate a function on rotations, float ``(m, d, d)``; None for ``fourier_samples(group, degree)``.

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
    require_is_group(group, "group")
    degree = _degree(group, degree)
    if elements is not None:
        group.require_element(elements, "elements")
        if degree is None:
            raise ValueError(
                "`elements` are given, but `degree` is None: functions on rotations alone are evaluated anywhere."
            )
    if elements is None or degree is None:
        matrix = _synthesis(group, degree)
    else:
        matrix = fourier_basis(group, degree, elements).T
    return _apply(coefficients, "coefficients", axis, matrix, f"the coefficients of functions on {group!r}")


def _degree(group: Group, degree: Any) -> int | None:
    if degree is None:
        return None
    require_degrees(group, degree)
    return positive_int(degree, "degree", 0)


def _analysis(group: Group, degree: int | None) -> Any:
    """Values to coefficients, float64 ``(values, coefficients)``."""
    return _finite(group) if degree is None else fourier_tables(group, degree)[0].T


def _synthesis(group: Group, degree: int | None) -> Any:
    """Coefficients to values, float64 ``(coefficients, values)``."""
    return _finite(group).T if degree is None else fourier_tables(group, degree)[1].T


def _finite(group: Group) -> np.ndarray:
    if group.order == math.inf:
        raise ValueError(
            f"`degree` is None, but {group!r} is infinite: its functions have a transform up to a largest frequency only. "
            "Give degree=…, for SO(2), O(2), SO(3) or O(3)."
        )
    return peter_weyl(group).basis


def _apply(values: Any, name: str, axis: int, matrix: Any, what: str) -> jax.Array:
    values, axis = numeric(values, name), positive_int(axis, "axis", -(2**31))
    if not jnp.issubdtype(values.dtype, jnp.inexact):
        values = values.astype(float)
    if not -values.ndim <= axis < values.ndim or values.shape[axis] != len(matrix):
        raise ValueError(
            f"`axis` is {axis} of `{name}`, which has shape {values.shape}, but it must have the length {len(matrix)}, one "
            f"entry for each of {what}."
        )
    wide, dtype = widened(values)
    moved = jnp.tensordot(wide, jnp.asarray(matrix, wide.dtype), axes=((axis,), (0,)), precision="highest")
    return jnp.moveaxis(moved, -1, axis).astype(dtype)
