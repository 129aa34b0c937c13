"""Convolution in space alone: one kernel for each feature, moved by the fibre."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._arguments import one_of
from equijax._numbers import positive_int
from equijax.groups import Group
from equijax.nn._conv import (
    default_bias_init,
    default_kernel_init,
    merge_fibre,
    resolved_algorithm,
    sampling_of,
    split_fibre,
    window_of,
)
from equijax.nn._convolve import ALGORITHMS, convolve, flatten_batch, restore_batch
from equijax.nn._frozen import Frozen
from equijax.nn._layer import pool_default, require_group, require_input, require_permuted, resolve_fibre
from equijax.nn._parameters import add_bias, new_bias, new_kernel, read_bias, read_kernel
from equijax.nn._sampling import Padding
from equijax.nn._windowed import WindowedLayer
from equijax.reps import Representation
from equijax.sharing import DiagonalKernelSharing


class DepthwiseConv(WindowedLayer):
    r"""Convolution in space alone: each feature at each index of the fibre has a kernel of its own, and reads nothing else.

    .. math:: y[x, b, o] = β[b, o] + \sum_δ κ[δ, b, o]\; f[s x + δ, b, o], \qquad κ[hδ, hb] = κ[δ, b]

    Here x are grid points, s the strides, δ the window's offsets from its centre, b indices of the fibre, o features, h
    elements of the point group. On the regular fibre κ[δ, b, o] = ψ[b⁻¹δ, o]: one kernel ψ for each feature, moved by b.
    With ``group=None`` (translations) it has the parameters of ``nnx.Conv`` with ``feature_group_count=features``, and gives
    the same bits.

    Law: as in :class:`Conv`, ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that
    ``layer.exactness(x.shape)`` names; at stride 1 with ``padding="CIRCULAR"`` that is the whole group.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.DepthwiseConv(8, (3, 3), group=ej.wallpaper("p4m"), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 15, 15, 8, 8))).shape, layer.kernel.shape
      ((2, 15, 15, 8, 8), (9, 1, 8))

    Attributes:
      kernel: Param ``(count, 1, features)``, one row for each orbit of :class:`equijax.sharing.DiagonalKernelSharing`. For
        translations and the scalar fibre ``(*kernel_size, 1, features)``.
      bias: Param ``(features,)``, or ``(k, features)`` for a fibre of k orbits; or None.

    Args:
      features: number of features, of input and output.
      kernel_size: one int per grid axis, equal along axes that the group mixes; an int stands for all axes of ``group``.
      strides: one int per grid axis, or one for all.
      group: as in :class:`Conv`; None means translations.
      fibre: representation of the point group on input and output, by permutations; None is ``Regular`` (``Scalar`` on
        translations).
      padding: as in :class:`Conv`.
      kernel_dilation: one int per grid axis, or one for all.
      use_bias: whether to add a bias.
      dtype: dtype of the computation; None promotes inputs and parameters.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.conv_general_dilated``.
      kernel_init: called with shape ``(offsets, 1, 1, features)`` (translations: ``(*kernel_size, 1, features)``), so that
        every Flax initialiser sees the true fan-in, the offsets.
      bias_init: initialiser of the bias.
      promote_dtype: function that promotes ``(inputs, kernel, bias)``.
      allow_inexact: accept input shapes at which elements of the point group are lost.
      algorithm: as in :class:`Conv`, where ``"group"`` is ``"dense"``. With ``"auto"`` a CPU adds up shifted inputs, at
        stride 1 and with windows of up to 64 samples.
      rngs: key source, used at construction only.
      kernel_metadata: metadata of the kernel's Param, for example its sharding.
      bias_metadata: metadata of the bias.

    Raises:
      TypeError: ``group`` or the fibre is of the wrong kind.
      ValueError: the fibre does not permute, or an argument does not fit the group; the message names the remedy.

    References:
      Knigge, Romero and Bekkers, "Exploiting Redundancy: Separable Group Convolutional Networks on Lie Groups", ICML 2022,
      arXiv:2110.13059. Lengyel and van Gemert, "Exploiting Learned Symmetries in Group Equivariant Convolutions", ICIP 2021,
      arXiv:2106.04914.
    """

    def __init__(
        self,
        features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        group: Group | None = None,
        fibre: Representation | None = None,
        padding: Padding = "SAME",
        kernel_dilation: int | Sequence[int] | None = 1,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        promote_dtype: Callable = dtypes.promote_dtype,
        allow_inexact: bool = False,
        algorithm: str | None = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        window = window_of(kernel_size, group)
        self.group = require_group(group, len(window))
        self.in_fibre = self.out_fibre = resolve_fibre(fibre, self.group, pool_default(self.group), "fibre")
        require_permuted(self.in_fibre, "fibre", "a depthwise convolution")
        self.in_features = self.out_features = positive_int(features, "features")
        point_group = self.in_fibre.group
        self.sampling = sampling_of(window, strides, kernel_dilation, padding, point_group)
        self.sharing = DiagonalKernelSharing(point_group, window, self.in_fibre)
        self.kernel_size = window
        self.dtype, self.param_dtype, self.precision = dtype, param_dtype, precision
        self.promote_dtype = promote_dtype
        self.allow_inexact = allow_inexact
        self.algorithm = resolved_algorithm(algorithm, point_group)
        self.kernel = new_kernel(self.sharing, 1, features, kernel_init, param_dtype, rngs, kernel_metadata)
        self.bias = new_bias(use_bias, self.sharing, features, bias_init, param_dtype, rngs, bias_metadata)

    def __call__(self, inputs: jax.Array, out_sharding: Any = None) -> jax.Array:
        """Applies the layer.

        Args:
          inputs: ``(*batch, *sizes, fibre, features)``; any number of batch axes, none included; no fibre axis for the
            scalar fibre.
          out_sharding: sharding of the planar convolution's result under explicit mesh axes, as in ``nnx.Conv``.

        Returns:
          ``(*batch, *out_sizes, fibre, features)``.

        Raises:
          ValueError: the shape does not fit, or loses an element of the point group (and ``allow_inexact`` is False).
        """
        require_input(inputs.shape, self.in_action, self.in_features)
        self._require_exact(inputs.shape)
        x, batch = flatten_batch(merge_fibre(inputs, self.in_fibre), len(self.kernel_size))
        frozen = isinstance(self.kernel, Frozen)
        kernel = self.kernel[...] if frozen else self._kernel()
        bias = read_bias(self.bias, self.sharing, self.out_features)
        x, kernel, bias = self.promote_dtype((x, kernel, bias), dtype=self.dtype)
        y = convolve(
            x,
            kernel if frozen else self.sharing.expand(kernel),
            self.sampling,
            feature_group_count=x.shape[-1],
            precision=self.precision,
            out_sharding=out_sharding,
            algorithm=one_of(self.algorithm, "algorithm", ALGORITHMS),
        )
        return restore_batch(add_bias(split_fibre(y, self.out_fibre), bias, self.sharing), batch)

    def _kernel(self) -> jax.Array:
        return read_kernel(self.kernel, self.sharing, 1, self.out_features)

    def frozen(self) -> Frozen:
        """What the layer multiplies with when it is frozen."""
        return Frozen(self.sharing.expand(self._kernel()))
