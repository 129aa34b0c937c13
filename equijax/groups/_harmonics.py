"""Circular and spherical harmonics as polynomials."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._dtypes import accumulation_dtype
from equijax._numbers import positive_int
from equijax.groups._elements import numeric


def circular_harmonics(l: int, x: Any) -> jax.Array:
    r"""Returns the harmonic polynomials of degree l in the plane.

    .. math:: Y_0 = 1, \qquad Y_l(x, y) = \sqrt2\,\bigl(\mathrm{Re}\,(x + iy)^l,\; \mathrm{Im}\,(x + iy)^l\bigr)

    They are orthonormal for the mean over the unit circle, and homogeneous: :math:`Y_l(rx) = r^l Y_l(x)`.

    Law: ``Y(R x) == Irrep(SO(2), l)(R) @ Y(x)``; for O(2) too, l = 0 with parity 1.

    Args:
      l: the degree, or frequency.
      x: points, float ``(…, 2)``.

    Returns:
      float ``(…, 2)``, or ``(…, 1)`` for l = 0.

    Example:
      >>> import equijax as ej
      >>> ej.reps.circular_harmonics(2, [0.0, 1.0]).round(3).tolist()
      [-1.4140000343322754, 0.0]
    """
    l, (x, dtype) = positive_int(l, "l", 0, None, 1024), _points(x, 2)
    if l == 0:
        return jnp.ones_like(x[..., :1], dtype)
    return (math.sqrt(2.0) * jnp.stack(complex_power(x[..., 0], x[..., 1], l), axis=-1)).astype(dtype)


def spherical_harmonics(l: int, x: Any) -> jax.Array:
    r"""Returns the harmonic polynomials of degree l in space, real, in the order m = -l … l.

    With the polar axis y, :math:`z + ix = ρ e^{iφ}` and :math:`r^2 = x^2 + y^2 + z^2`,

    .. math:: Y_{l,m} = P_l^m(y, r)\,ρ^m \cos mφ, \qquad Y_{l,-m} = P_l^m(y, r)\,ρ^m \sin mφ

    where :math:`P_l^m` are the associated Legendre functions without their root, scaled so that the harmonics are
    orthonormal for the mean over the unit sphere; :math:`|Y_l(x)|^2 = 2l + 1` there. So :math:`Y_1 = \sqrt3\,(x, y, z)`.
    They are polynomials, homogeneous of degree l: values and gradients are finite at 0.

    Law: ``Y(R x) == Irrep(SO(3), l)(R) @ Y(x)``; for O(3) with parity (-1)^l.

    Args:
      l: the degree.
      x: points, float ``(…, 3)``.

    Returns:
      float ``(…, 2l + 1)``.

    Example:
      >>> import equijax as ej
      >>> (ej.reps.spherical_harmonics(1, [1.0, 2.0, 3.0]) ** 2).round().tolist()
      [3.0, 12.0, 27.0]

    References:
      Varshalovich, Moskalev and Khersonskii, "Quantum Theory of Angular Momentum", World Scientific 1988, section 5.2.
      Normalised recurrence: Limpanuparb and Milthorpe, arXiv:1410.1748, equation (14).
    """
    l, (x, dtype) = positive_int(l, "l", 0, None, 1024), _points(x, 3)
    return _spherical(l, x).astype(dtype)


@functools.partial(jax.jit, static_argnums=0)
def _spherical(l: int, x: jax.Array) -> jax.Array:
    return _spherical_by(jnp, l, x)


def harmonics_in_numpy(l: int, x: np.ndarray) -> np.ndarray:
    """Returns the harmonics of the plane or of space at points, float64 ``(…, d)``; nothing is compiled."""
    if x.shape[-1] == 3:
        return _spherical_by(np, l, x)
    if l == 0:
        return np.ones_like(x[..., :1])
    return math.sqrt(2.0) * np.stack(complex_power(x[..., 0], x[..., 1], l), axis=-1)


def matrices_in_numpy(l: int, matrices: np.ndarray) -> np.ndarray:
    """Returns how orthogonal matrices ``(…, d, d)`` move the harmonics of degree l, float64: Y(R x) = D(R) Y(x)."""
    d = matrices.shape[-1]
    if l <= 1:
        return matrices if l else np.ones_like(matrices[..., :1, :1])
    if d == 2:
        a, b = complex_power(matrices[..., 0, 0], matrices[..., 1, 0], l)
        sign = np.linalg.det(matrices)
        return np.stack([np.stack([a, -sign * b], -1), np.stack([b, sign * a], -1)], -2)
    points, inverse = spread_points(l)
    moved = harmonics_in_numpy(l, np.einsum("...ij,nj->...ni", matrices, points))
    return np.einsum("...ni,jn->...ij", moved, inverse)


@bounded
def spread_points(l: int) -> tuple[np.ndarray, np.ndarray]:
    """Points spread over the sphere, ``(n, 3)``, and the pseudo-inverse of their harmonics, ``(2l + 1, n)``, float64."""
    count = 2 * (2 * l + 1)
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    radius = np.sqrt(1 - height**2)
    points = np.stack([radius * np.sin(angle), height, radius * np.cos(angle)], axis=1)
    return read_only(points), read_only(np.linalg.pinv(_spherical_by(np, l, points)))


def _spherical_by(xp: Any, l: int, x: Any) -> Any:
    height, square = x[..., 1, None], xp.sum(x * x, axis=-1, keepdims=True)
    first, second, start = (np.asarray(table, x.dtype) for table in _recurrence(l))
    rank = (1,) * (x.ndim - 1) + (-1,)
    before = legendre = xp.broadcast_to(start[0].reshape(rank), (*x.shape[:-1], l + 1))
    for k in range(1, l + 1):
        forward, back = first[k].reshape(rank) * height, second[k].reshape(rank) * square
        before, legendre = legendre, forward * legendre - back * before + start[k].reshape(rank)
    real, imaginary = _powers(xp, x[..., 2], x[..., 0], l)
    return xp.concatenate([xp.flip(legendre * imaginary, -1)[..., :-1], legendre * real], axis=-1)


def _powers(xp: Any, real: Any, imaginary: Any, n: int) -> tuple[Any, Any]:
    """Real and imaginary parts of the powers 0 … n of a complex number, float ``(…, n + 1)``; twice as many a step."""
    a, b = real[..., None], imaginary[..., None]
    while a.shape[-1] < n:
        u, v = a[..., -1:], b[..., -1:]
        a, b = xp.concatenate([a, a * u - b * v], -1), xp.concatenate([b, a * v + b * u], -1)
    one, zero = xp.ones_like(a[..., :1]), xp.zeros_like(b[..., :1])
    return xp.concatenate([one, a[..., :n]], -1), xp.concatenate([zero, b[..., :n]], -1)


@bounded
def _recurrence(l: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors of P_k = first y P_{k-1} - second r² P_{k-2} for m < k, and P_k where m = k; each float64 ``(k, m)``."""
    first, second, start = np.zeros((3, l + 1, l + 1))
    start[0, 0] = 1.0
    for k in range(1, l + 1):
        m = np.arange(k)
        first[k, :k] = np.sqrt((4 * k * k - 1) / (k * k - m * m))
        m = np.arange(k - 1)
        second[k, : k - 1] = np.sqrt((2 * k + 1) * ((k - 1) ** 2 - m * m) / ((2 * k - 3) * (k * k - m * m)))
        start[k, k] = start[k - 1, k - 1] * np.sqrt((2 * k + 1) / (2 * k) * (2 if k == 1 else 1))
    return read_only(first), read_only(second), read_only(start)


def complex_power(real: Any, imaginary: Any, n: int) -> tuple[Any, Any]:
    """Real and imaginary part of a complex number to the power n ≥ 1, by squaring."""
    if n == 1:
        return real, imaginary
    a, b = complex_power(real, imaginary, n // 2)
    a, b = a * a - b * b, 2 * a * b
    return (a * real - b * imaginary, a * imaginary + b * real) if n % 2 else (a, b)


def _points(x: Any, dimension: int) -> tuple[jax.Array, Any]:
    """Returns real points, at least float32, and the dtype of the result."""
    x = numeric(x, "x")
    if jnp.issubdtype(x.dtype, jnp.bool_) or jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"`x` has dtype {x.dtype}; it must hold the coordinates of points, real numbers.")
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)
    if not x.ndim or x.shape[-1] != dimension:
        raise ValueError(f"`x` has shape {x.shape}; its last axis must hold the {dimension} coordinates of a point.")
    return x.astype(accumulation_dtype(x.dtype)), x.dtype
