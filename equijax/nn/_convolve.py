"""The planar convolution under every layer: Flax's, as a pure function."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from equijax.nn._planar import Planar, planar_convolution
from equijax.nn._sampling import Sampling

#: The algorithms of a convolution.
ALGORITHMS = ("auto", "dense", "frequency")


def flatten_batch(x: jax.Array, grid_ndim: int) -> tuple[jax.Array, tuple[int, ...] | None]:
    """Merges all batch axes into one; returns the shape to restore, or None where there is exactly one already."""
    batch = x.shape[: x.ndim - grid_ndim - 1]
    if len(batch) == 1:
        return x, None
    return jnp.reshape(x, (math.prod(batch), *x.shape[len(batch) :])), batch


def restore_batch(y: jax.Array, batch: tuple[int, ...] | None) -> jax.Array:
    """Undoes :func:`flatten_batch`."""
    return y if batch is None else jnp.reshape(y, (*batch, *y.shape[1:]))


def pad(x: jax.Array, sampling: Sampling) -> jax.Array:
    """Adds the wrapped or reflected border of ``"CIRCULAR"`` and ``"REFLECT"``, or the zeros of ``"CAUSAL"``.

    Args:
      x: ``(batch, *sizes, channels)``.
      sampling: the geometry.
    """
    modes = {"CIRCULAR": "wrap", "REFLECT": "reflect", "CAUSAL": "constant"}
    widths = [(0, 0), *sampling.pads(x.shape[1:-1]), (0, 0)]
    return jnp.pad(x, widths, mode=modes[sampling.padding])  # pyright: ignore[reportArgumentType]


def convolve(
    x: Float[Array, "batch *sizes in_channels"],
    kernel: Float[Array, "*window in_channels_of_group out_channels"],
    sampling: Sampling,
    *,
    feature_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
    algorithm: str = "dense",
) -> Float[Array, "batch *out_sizes out_channels"]:
    """Convolves (cross-correlates) a batch of channels-last arrays, forward or transposed.

    Args:
      x: ``(batch, *sizes, in_channels)``.
      kernel: ``(*window, in_channels // feature_group_count, out_channels)``.
      sampling: window, strides, dilation and padding.
      feature_group_count: number of channel groups.
      precision: as in ``jax.lax.conv_general_dilated``.
      preferred_element_type: likewise.
      out_sharding: sharding of the result under explicit mesh axes.
      algorithm: how it is computed, as in :class:`equijax.nn.Conv`.

    Returns:
      ``(batch, *out_sizes, out_channels)``.
    """
    options: dict[str, Any] = {} if out_sharding is None else {"out_sharding": out_sharding}
    if preferred_element_type is not None:
        options["preferred_element_type"] = preferred_element_type
    if not sampling.window:
        return _matmul(x, kernel, feature_group_count, precision, preferred_element_type, out_sharding)
    if sampling.transposed:
        return _transposed(x, kernel, sampling, precision, options)
    if algorithm in ("auto", "frequency") and not options and _has_choice(x, kernel, sampling):
        planar = Planar(sampling, feature_group_count, _canonical(precision), algorithm, _forward)
        return planar_convolution(x, kernel, planar)
    return _dense(x, kernel, sampling, feature_group_count, precision, options)


def _forward(x: jax.Array, kernel: jax.Array, planar: Planar) -> jax.Array:
    return _dense(x, kernel, planar.sampling, planar.groups, planar.precision, {})


def _has_choice(x: jax.Array, kernel: jax.Array, sampling: Sampling) -> bool:
    """Whether there is more than one way: a window of several samples at stride 1, real floats, known sizes, one device.

    What a mesh with explicit or manual axes asks for is written on the dense convolution.
    """
    sizes = (*x.shape, *kernel.shape)
    return (
        set(sampling.strides) == {1}
        and math.prod(sampling.window) > 1
        and x.dtype == kernel.dtype
        and jnp.issubdtype(x.dtype, jnp.floating)
        and all(isinstance(n, int) and n > 0 for n in sizes)
        and all(kind == jax.sharding.AxisType.Auto for kind in jax.sharding.get_abstract_mesh().axis_types)
    )


def _canonical(precision: Any) -> Any:
    """A precision as a value that can be compared and hashed."""
    return tuple(precision) if isinstance(precision, list) else precision


def _dense(x: jax.Array, kernel: jax.Array, sampling: Sampling, groups: int, precision: Any, options: Any) -> jax.Array:
    padding: Any = sampling.padding
    if padding in ("CIRCULAR", "REFLECT", "CAUSAL"):
        x, padding = pad(x, sampling), "VALID"
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


def _channels_last(ndim: int) -> lax.ConvDimensionNumbers:
    image = (0, ndim - 1, *range(1, ndim - 1))
    return lax.ConvDimensionNumbers(image, (ndim - 1, ndim - 2, *range(ndim - 2)), image)


def _matmul(x: jax.Array, kernel: jax.Array, groups: int, precision: Any, element: Any, out_sharding: Any) -> jax.Array:
    options: dict[str, Any] = {} if out_sharding is None else {"out_sharding": out_sharding}
    x = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    kernel = kernel.reshape(kernel.shape[0], groups, kernel.shape[1] // groups)
    y = jnp.einsum("bgi,igo->bgo", x, kernel, precision=precision, preferred_element_type=element, **options)
    return y.reshape(*y.shape[:-2], y.shape[-2] * y.shape[-1])


def _transposed(x: jax.Array, kernel: jax.Array, sampling: Sampling, precision: Any, options: Any) -> jax.Array:
    """A convolution of the input with strides − 1 zeros between its samples; circular: wrapped onto the torus."""
    circular = sampling.padding == "CIRCULAR"
    pads = [(k - 1, max(s - 1, k - 1)) for k, s in zip(sampling.extents, sampling.strides, strict=True)]
    y = lax.conv_general_dilated(
        x,
        kernel,
        (1,) * len(sampling.window),
        pads if circular else sampling.pads(x.shape[1:-1]),
        lhs_dilation=sampling.strides,
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
