"""The planar convolution under every layer, and what it is computed by."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from equijax.nn._dense import dense
from equijax.nn._fibrewise import Fibrewise
from equijax.nn._isotypic import has_blocks
from equijax.nn._planar import Planar
from equijax.nn._sampling import Sampling
from equijax.nn._trilinear import evaluate
from equijax.sharing import KernelSharing

#: The algorithms of a convolution.
ALGORITHMS = ("auto", "dense", "frequency", "group")


def flatten_batch(x: jax.Array, grid_ndim: int) -> tuple[jax.Array, tuple[int, ...] | None]:
    """Merges all batch axes into one; returns the shape to restore, or None where there is exactly one already."""
    batch = x.shape[: x.ndim - grid_ndim - 1]
    if len(batch) == 1:
        return x, None
    return jnp.reshape(x, (math.prod(batch), *x.shape[len(batch) :])), batch


def restore_batch(y: jax.Array, batch: tuple[int, ...] | None) -> jax.Array:
    """Undoes :func:`flatten_batch`."""
    return y if batch is None else jnp.reshape(y, (*batch, *y.shape[1:]))


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
    form = None if options else planar_form(x, kernel, sampling, feature_group_count, precision, algorithm)
    if form is not None:
        return evaluate(x, kernel, form)
    return dense(x, kernel, sampling, feature_group_count, precision, **options)


def form_of(
    x: Any, kernel: Any, sharing: KernelSharing, sampling: Sampling, groups: int, precision: Any, algorithm: str
) -> Fibrewise | Planar | None:
    """Returns the form of a layer's convolution, or None where there is only one way.

    Args:
      x: the planar input, or its shape and dtype.
      kernel: free weights or a kernel that is written out, or shape and dtype.
      sharing: the weights that are shared; without feature groups there may be a way through the irreps: for permuted
        fibres with a window of one sample and no border, and for regular fibres.
      sampling: window, strides, dilation and padding.
      groups: number of feature groups.
      precision: precision of the products.
      algorithm: one of ``ALGORITHMS``.
    """
    if algorithm in ("auto", "group") and groups == 1 and not sampling.transposed and has_choice(x, kernel, sampling):
        bordered = sharing.offsets == 1 and any(map(any, sampling.pads()))
        if has_blocks(sharing) and not bordered:
            return Fibrewise(sharing, sampling, _hashable(precision), algorithm)
    return planar_form(x, kernel, sampling, groups, precision, algorithm)


def planar_form(x: Any, kernel: Any, sampling: Sampling, groups: int, precision: Any, algorithm: str) -> Planar | None:
    """Returns the form of a convolution with a kernel that is written out, or None where there is only one way."""
    several = math.prod(sampling.window) > 1 and not sampling.transposed
    if algorithm in ("auto", "frequency") and several and has_choice(x, kernel, sampling):
        return Planar(sampling, groups, _hashable(precision), algorithm)
    return None


def has_choice(x: jax.Array, kernel: jax.Array, sampling: Sampling) -> bool:
    """Whether there can be more than one way: stride 1, real floats of one dtype, known sizes, one device.

    What a mesh with explicit or manual axes asks for is written on the dense convolution.
    """
    return (
        set(sampling.strides) <= {1}
        and x.dtype == kernel.dtype
        and jnp.issubdtype(x.dtype, jnp.floating)
        and all(isinstance(n, int) and n > 0 for n in (*x.shape, *kernel.shape))
        and all(kind == jax.sharding.AxisType.Auto for kind in jax.sharding.get_abstract_mesh().axis_types)
    )


def _hashable(precision: Any) -> Any:
    """A precision as a value that can be compared and hashed."""
    return tuple(precision) if isinstance(precision, list) else precision
