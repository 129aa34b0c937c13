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
    several = math.prod(sampling.window) > 1 and not sampling.transposed
    if algorithm in ("auto", "frequency") and several and not options and has_choice(x, kernel, sampling):
        return evaluate(x, kernel, Planar(sampling, feature_group_count, hashable(precision), algorithm))
    return dense(x, kernel, sampling, feature_group_count, precision, **options)


def convolve_fibres(
    x: jax.Array, weights: jax.Array, sharing: KernelSharing, sampling: Sampling, precision: Any, algorithm: str
) -> jax.Array:
    """Convolves fibres by free weights ``(count, in, out)``; see :func:`has_fibre_choice`."""
    return evaluate(x, weights, Fibrewise(sharing, sampling, hashable(precision), algorithm))


def has_fibre_choice(x: jax.Array, weights: jax.Array, sharing: KernelSharing, sampling: Sampling) -> bool:
    """Whether there is a way through the irreps: permuted fibres and one sample without a border, or regular fibres."""
    if sampling.transposed or not has_choice(x, weights, sampling) or not has_blocks(sharing):
        return False
    return sharing.offsets > 1 or not any(map(any, sampling.pads()))


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


def hashable(precision: Any) -> Any:
    """A precision as a value that can be compared and hashed."""
    return tuple(precision) if isinstance(precision, list) else precision
