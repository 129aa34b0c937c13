"""The planar convolution by ``jax.lax``: Flax's, as a pure function."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from equijax.nn._sampling import Pairs, Sampling

_BORDERS = {"CIRCULAR": "wrap", "REFLECT": "reflect"}
_BEFORE_0_11 = jax.__version_info__ < (0, 11)


def pad(x: jax.Array, sampling: Sampling, widths: Sequence[tuple[int, int]] | None = None) -> jax.Array:
    """Adds the wrapped or reflected border of ``"CIRCULAR"`` and ``"REFLECT"``, or the zeros of other paddings.

    Args:
      x: ``(batch, *sizes, channels)``.
      sampling: the geometry.
      widths: other widths than those of the geometry, negative ones to crop what is padded with zeros.
    """
    widths = [(0, 0), *(sampling.pads(x.shape[1:-1]) if widths is None else widths), (0, 0)]
    if sampling.padding in _BORDERS:
        return jnp.pad(x, widths, mode=_BORDERS[sampling.padding])  # pyright: ignore[reportArgumentType]
    return lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) for low, high in widths])


def by_mirrored_window(
    convolve: Callable[[jax.Array, tuple[int, ...]], jax.Array], y: jax.Array, sampling: Sampling, shape: tuple[int, ...]
) -> jax.Array:
    """Returns the gradient of the input at stride 1: the convolution of ``y`` with the window turned round.

    Where the border is reflected, what the gradient holds there is folded back.

    Args:
      convolve: that convolution, of an array with its border to a given shape.
      y: the gradient of the output, ``(batch, *out_sizes, channels)``.
      sampling: the geometry.
      shape: shape of the input.
    """
    far = [(extent - 1, extent - 1) for extent in sampling.extents]
    if sampling.padding == "REFLECT":
        inner = jax.ShapeDtypeStruct(shape, y.dtype)
        bordered = jax.eval_shape(lambda x: pad(x, sampling), inner)
        made = convolve(pad(y, dataclasses.replace(sampling, padding="VALID"), far), bordered.shape)
        return jax.linear_transpose(lambda x: pad(x, sampling), inner)(made)[0]
    near = [(a - low, b - high) for (a, b), (low, high) in zip(far, sampling.pads(shape[1:-1]), strict=True)]
    return convolve(pad(y, sampling, near), shape)


def dense(x: jax.Array, kernel: jax.Array, sampling: Sampling, groups: int, precision: Any, **options: Any) -> jax.Array:
    """Convolves as Flax does, forward or transposed, or multiplies where there is no window.

    Args:
      x: ``(batch, *sizes, in_channels)``.
      kernel: ``(*window, in_channels // groups, out_channels)``.
      sampling: window, strides, dilation and padding.
      groups: number of channel groups.
      precision: as in ``jax.lax.conv_general_dilated``.
      **options: further arguments of it.
    """
    if not sampling.window:
        return _matmul(x, kernel, groups, precision, **options)
    if sampling.transposed:
        return _transposed(x, kernel, sampling, precision, options)
    padding: Any = sampling.padding
    if padding in ("CIRCULAR", "REFLECT", "CAUSAL"):
        x, padding = pad(x, sampling), "VALID"
    elif not isinstance(padding, str) and _is_long(padding, sampling):
        x, padding = _shortened(x, padding, sampling, (1,) * len(padding))
    return lax.conv_general_dilated(
        x,
        kernel,
        sampling.strides,
        padding,
        rhs_dilation=sampling.dilation,
        dimension_numbers=_channels_last(x.ndim),
        feature_group_count=groups,
        precision=precision,
        **options,
    )


def dense_on_cpu(x: jax.Array, kernel: jax.Array, sampling: Sampling, groups: int, precision: Any) -> jax.Array:
    """The same numbers at stride 1, by the fastest dense program on a CPU.

    Where nothing is padded with zeros, XLA took a slow way in two dimensions before jaxlib 0.11, 2 to 7 times as slow for
    large windows and narrow results. A column of zeros at the end, whose output is dropped, makes it take the other one.
    """
    bare = sampling.padding in ("CIRCULAR", "REFLECT") or not any(map(any, sampling.pads(x.shape[1:-1])))
    slow = math.prod(kernel.shape[:-1]) >= 600 or kernel.shape[-1] < 128
    if not (_BEFORE_0_11 and bare and slow and len(sampling.window) == 2):
        return dense(x, kernel, sampling, groups, precision)
    if sampling.padding in ("CIRCULAR", "REFLECT"):
        x = pad(x, sampling)
    spare = dataclasses.replace(sampling, padding=((0, 0), (0, 1)))
    return dense(x, kernel, spare, groups, precision)[:, :, :-1]


def _channels_last(ndim: int) -> lax.ConvDimensionNumbers:
    image = (0, ndim - 1, *range(1, ndim - 1))
    return lax.ConvDimensionNumbers(image, (ndim - 1, ndim - 2, *range(ndim - 2)), image)


def _is_long(pads: Pairs, sampling: Sampling) -> bool:
    """Tells whether more is added in front than the window reaches over.

    The gradient of the input is then a convolution with negative padding, which XLA computes wrongly on a CPU in float32: it
    reads past the end of its input (openxla/xla#48713).
    """
    return any(low > k - 1 for (low, _), k in zip(pads, sampling.extents, strict=True))


def _shortened(x: jax.Array, pads: Pairs, sampling: Sampling, spacing: tuple[int, ...]) -> tuple[jax.Array, Pairs]:
    """Puts samples ``spacing`` apart and adds what is too long in front; returns the array and the padding that is left."""
    more = [max(low - (k - 1), 0) for (low, _), k in zip(pads, sampling.extents, strict=True)]
    added = [(0, 0, 0), *((n, 0, s - 1) for n, s in zip(more, spacing, strict=True)), (0, 0, 0)]
    left = tuple((low - n, high) for (low, high), n in zip(pads, more, strict=True))
    return lax.pad(x, jnp.zeros((), x.dtype), added), left


def _matmul(x: jax.Array, kernel: jax.Array, groups: int, precision: Any, **options: Any) -> jax.Array:
    x = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    kernel = kernel.reshape(kernel.shape[0], groups, kernel.shape[1] // groups)
    y = jnp.einsum("bgi,igo->bgo", x, kernel, precision=precision, **options)
    return y.reshape(*y.shape[:-2], y.shape[-2] * y.shape[-1])


def _transposed(x: jax.Array, kernel: jax.Array, sampling: Sampling, precision: Any, options: Any) -> jax.Array:
    """A convolution of the input with strides − 1 zeros between its samples; circular: wrapped onto the torus."""
    circular = sampling.padding == "CIRCULAR"
    spacing = sampling.strides
    if circular:
        pads = tuple((k - 1, max(s - 1, k - 1)) for k, s in zip(sampling.extents, sampling.strides, strict=True))
    else:
        pads = sampling.pads(x.shape[1:-1])
    if _is_long(pads, sampling):
        x, pads = _shortened(x, pads, sampling, spacing)
        spacing = (1,) * len(spacing)
    y = lax.conv_general_dilated(
        x,
        kernel,
        (1,) * len(sampling.window),
        pads,
        lhs_dilation=spacing,
        rhs_dilation=sampling.dilation,
        dimension_numbers=_channels_last(x.ndim),
        precision=precision,
        **options,
    )
    return _wrap(y, sampling.out_sizes(x.shape[1:-1])) if circular else y


def _wrap(y: jax.Array, periods: tuple[int, ...]) -> jax.Array:
    """Folds an array onto a torus: adds up the entries whose positions agree modulo the periods.

    The array is first padded to an even number of periods, equally on both sides (one more before where odd).
    """
    missing = [-(n - p) % (2 * p) for n, p in zip(y.shape[1:-1], periods, strict=True)]
    y = jnp.pad(y, [(0, 0), *((m - m // 2, m // 2) for m in missing), (0, 0)])
    for axis, period in enumerate(periods, start=1):
        y = y.reshape(*y.shape[:axis], -1, period, *y.shape[axis + 1 :]).sum(axis=axis)
    return y
