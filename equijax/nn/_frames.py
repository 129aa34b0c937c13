"""Frames of point clouds: principal axes, and averages over them."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import boolean, function, one_of
from equijax._dtypes import require_real, unit_for_powers, widened
from equijax.groups._elements import numeric
from equijax.nn._returned import require_batch, require_returned

_OUTPUTS = ("scalars", "vectors", "points")


def pca_frames(points: jax.Array, *, special: bool = False) -> tuple[jax.Array, jax.Array]:
    r"""Returns the frames of a point cloud: its principal axes with all signs, and its centre.

    .. math:: F(X) = \{ (±u_1, …, ±u_d) \}, \qquad F(XR^T + t) = R F(X)

    The eigenvalues of the covariance have to differ; where two are equal, the axes between them are arbitrary, and their
    gradient is NaN. :func:`frame_determined` tells where that matters.

    Args:
      points: ``(*batch, n, d)``, real. bfloat16 and float16 are computed in float32.
      special: keep the frames with determinant 1 only (rotations, SO(d)); False is O(d).

    Returns:
      Frames ``(2^d or 2^(d-1), *batch, d, d)`` whose columns are the axes, and the centre ``(*batch, 1, d)``.

    References:
      Puny et al., "Frame averaging for invariant and equivariant network design", ICLR 2022, section 3.1.

    Example:
      >>> import equijax as ej, jax
      >>> frames, centre = ej.nn.pca_frames(jax.random.normal(jax.random.key(0), (7, 3)))
      >>> frames.shape, centre.shape
      ((8, 3, 3), (1, 3))
    """
    points = numeric(points, "points")
    frames, centre = _frames(points, boolean(special, "special"), flat=False)
    dtype = widened(points)[1]
    return frames.astype(dtype), centre.astype(dtype)


def frame_determined(points: jax.Array) -> jax.Array:
    r"""Tells of which clouds the principal axes are determined, as far as an average over them depends on it.

    Two axes of equal extent can be turned into each other: the average over frames is then no invariant, and has no
    gradient. Extents of zero are no harm, since the cloud has no coordinates along these axes: straight and flat molecules
    and single atoms are determined; an equilateral triangle is not, nor a square, nor most molecules that a turn by less
    than 180° maps to themselves.

    Args:
      points: ``(*batch, n, d)``, real.

    Returns:
      bool ``(*batch,)``: whether :func:`frame_average` is invariant. Eigenvalues of the covariance count as equal where they
      differ by at most ``16 d`` roundings of the largest.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> straight = jnp.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
      >>> square = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
      >>> bool(ej.nn.frame_determined(straight)), bool(ej.nn.frame_determined(square))
      (True, False)
    """
    values = jnp.linalg.eigvalsh(_covariance(numeric(points, "points"))[0])
    equal, flat = _degenerate(values)
    return ~(equal & ~flat).any((-2, -1))


def frame_average(
    fn: Callable[[jax.Array], jax.Array], points: jax.Array, *, output: str = "scalars", special: bool = False
) -> jax.Array:
    r"""Makes a function of a point cloud equivariant under motions, by averaging over the frames of :func:`pca_frames`.

    .. math:: \bar f(X) = \frac{1}{|F|} \sum_{U ∈ F(X)} U f\big((X - \bar X) U\big)

    Law: for ``X' = X Rᵀ + t`` scalars stay, vectors turn with R, points turn and move, where
    :func:`frame_determined`. Elsewhere the value depends on arbitrary axes, and the gradient is NaN.

    Where several extents are zero (straight molecules in space, single atoms), scalars have a gradient for every smooth
    ``fn``. Vectors and points have one only if ``fn`` treats these axes alike, which nobody can know: theirs is NaN. Second
    derivatives do not exist there, and mean nothing.

    Args:
      fn: function of ``(*batch, n, d)``; for vectors and points its last axis has length d.
      points: ``(*batch, n, d)``, real.
      output: ``"scalars"``, ``"vectors"`` or ``"points"``.
      special: rotations only, not reflections.

    Raises:
      TypeError: complex points, or ``fn`` returns no array of floats.
      ValueError: ``fn`` returns vectors of another length, or arrays without axes for them.

    Example: the largest coordinate becomes an invariant.
      >>> import equijax as ej, jax.numpy as jnp
      >>> x = jnp.asarray([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
      >>> largest = lambda x: x.max((-2, -1))
      >>> turned = jnp.stack([-x[:, 1], x[:, 0]], -1) + 7.0
      >>> values = [ej.nn.frame_average(largest, cloud) for cloud in (x, turned)]
      >>> bool(jnp.allclose(*values, atol=1e-5))
      True
    """
    function(fn, "fn", "a function of one cloud of points")
    points, output = numeric(points, "points"), one_of(output, "output", _OUTPUTS)
    frames, centre = _frames(points, boolean(special, "special"), flat=output == "scalars")
    wide, dtype = widened(points)
    offset = wide - jnp.broadcast_to(centre, points.shape)
    total, result = None, None
    for frame in frames:
        value = fn(jnp.einsum("...ni,...ij->...nj", offset, frame).astype(dtype))
        value, result = widened(_require_value(value, output, points.shape, dtype))
        if output != "scalars":
            value = jnp.einsum("...ij,...nj->...ni", frame, value)
        total = value if total is None else total + value
    mean = jnp.asarray(total) / np.array(len(frames), jnp.asarray(total).dtype)
    return (mean + jnp.broadcast_to(centre, mean.shape) if output == "points" else mean).astype(result)


def _require_value(value: jax.Array, output: str, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    """Returns what the user's function gave, after checking that frames can turn it."""
    *batch, _, d = shape
    given: Any = getattr(value, "shape", ())
    if output == "scalars":
        return require_returned(require_batch(value, tuple(batch), "fn"), given, "fn", f"scalars of {dtype}", jnp.inexact)
    if len(given) > len(batch) + 1 and given[: len(batch)] == tuple(batch) and given[-1] == d:
        return require_returned(value, given, "fn", f"{output} of {dtype}", jnp.inexact)
    wanted = ", ".join(map(str, (*batch, "n", d)))
    raise ValueError(f"`fn` returned shape {given}; with output={output!r} it must return {output}, ({wanted}).")


def _frames(points: jax.Array, special: bool, flat: bool) -> tuple[jax.Array, jax.Array]:
    """Returns frames and centre in at least float32; with ``flat`` axes without extent do not enter the gradient."""
    covariance, centre = _covariance(points)
    axes = _axes(covariance, flat)
    d = points.shape[-1]
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=d)))
    every = jnp.asarray(signs, axes.dtype).reshape(len(signs), *(1,) * (axes.ndim - 1), d)
    shape = (len(signs), *axes.shape)
    frames = jnp.broadcast_to(axes[None], shape) * jnp.broadcast_to(every, shape)
    if not special:
        return frames, centre
    flips = jnp.asarray(signs.prod(-1)).reshape(-1, *(1,) * (axes.ndim - 2))
    turns = jax.lax.stop_gradient(jnp.linalg.det(axes)[None])
    positive = jnp.broadcast_to(flips, frames.shape[:-2]).astype(axes.dtype) * turns > 0
    order = jnp.argsort(~positive, axis=0, stable=True)[: len(signs) // 2]
    return jnp.take_along_axis(frames, order[..., None, None], axis=0), centre


def _covariance(points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the covariance, up to a factor that keeps squares in range, and the centre; at least float32."""
    if points.ndim < 2:
        raise ValueError(f"`points` has shape {points.shape}; a cloud of n points in d dimensions is (*batch, n, d).")
    wide, _ = widened(require_real(points, "points", "a frame"))
    centre = wide.mean(-2, keepdims=True)
    offset = wide - jnp.broadcast_to(centre, points.shape)
    unit = unit_for_powers(jnp.abs(offset).max((-2, -1), keepdims=True, initial=0))
    offset = offset / jnp.broadcast_to(unit, offset.shape)
    return jnp.einsum("...ni,...nj->...ij", offset, offset), centre


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _axes(matrix: jax.Array, flat: bool) -> jax.Array:
    """Returns the eigenvectors of a symmetric matrix, by ascending eigenvalue.

    The derivative within a space of equal eigenvalues does not exist: it is NaN. With ``flat`` it is 0 where these
    eigenvalues are zero, for the use of those who never look at what such axes are.
    """
    del flat
    return jnp.linalg.eigh(matrix)[1]


@_axes.defjvp
def _axes_jvp(flat: bool, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (matrix,), (change,) = primals, tangents
    axes = _axes(matrix, flat)
    transposed = jnp.swapaxes(axes, -1, -2)
    values = jnp.einsum("...ij,...ij->...j", axes, matrix @ axes)
    change = transposed @ ((change + jnp.swapaxes(change, -1, -2)) / 2) @ axes
    gaps = values[..., None, :] - values[..., :, None]
    equal, zero = _degenerate(values)
    itself = jnp.broadcast_to(jnp.eye(values.shape[-1], dtype=bool), gaps.shape)
    ignored = itself | (equal & zero) if flat else itself
    one = jnp.ones((), gaps.dtype)
    rates = jnp.where(equal, jnp.where(ignored, one * 0, one * jnp.nan), 1 / jnp.where(equal | itself, one, gaps))
    return axes, axes @ (jnp.where(itself, one * 0, rates) * change)


def _degenerate(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns which pairs of different eigenvalues, ``(…, d, d)``, are equal, and which of them are both zero."""
    d, largest = values.shape[-1], jnp.abs(values).max(-1, initial=0)[..., None, None]
    limit = jnp.asarray(16 * d * float(jnp.finfo(values.dtype).eps), values.dtype) * largest
    apart = jnp.abs(values[..., None, :] - values[..., :, None])
    size = jnp.maximum(jnp.abs(values)[..., None, :], jnp.abs(values)[..., :, None])
    different = ~jnp.broadcast_to(jnp.eye(d, dtype=bool), apart.shape)
    return (apart <= limit) & different, (size <= limit) & different
