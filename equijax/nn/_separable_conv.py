"""Convolution in two factors: over group and features at each sample, then in space."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax.groups import Group
from equijax.nn._conv import Conv, default_bias_init, default_kernel_init, sampling_of, window_of
from equijax.nn._depthwise_conv import DepthwiseConv
from equijax.nn._layer import pool_default, require_group, require_input, require_permuted, resolve_fibre
from equijax.nn._sampling import Padding
from equijax.nn._windowed import WindowedLayer
from equijax.reps import Representation


class SeparableConv(WindowedLayer):
    r"""Separable convolution: a map of fibres and features at each sample, then a kernel in space for each feature.

    .. math:: z[x, b, o] = \sum_{a, i} φ[a, b, i, o]\; f[x, a, i], \qquad
              y[x, b, o] = β[b, o] + \sum_δ κ[δ, b, o]\; z[s x + δ, b, o]

    Between regular fibres φ[a, b] = φ[b⁻¹a] and κ[δ, b] = ψ[b⁻¹δ]: it is the :class:`GroupConv` whose kernel is the product
    ψ[δ, o] φ[a, i, o] of a function of the offset and a function of the group element. For n elements and k offsets it has
    n · in + k weights for each output feature instead of n · k · in. The first factor is computed irrep by irrep where that
    is faster.

    Law: as in :class:`Conv`, ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that
    ``layer.exactness(x.shape)`` names; at stride 1 with ``padding="CIRCULAR"`` that is the whole group.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.SeparableConv(8, 16, (3, 3), group=ej.wallpaper("p4"), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 15, 15, 4, 8))).shape
      (2, 15, 15, 4, 16)
      >>> layer.pointwise.kernel.shape, layer.depthwise.kernel.shape
      ((4, 8, 16), (9, 1, 16))

    Attributes:
      pointwise: φ, a :class:`Conv` with a window of one sample and without bias.
      depthwise: κ and β, a :class:`DepthwiseConv`, with strides and padding.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      kernel_size: one int per grid axis, equal along axes that the group mixes; an int stands for all axes of ``group``.
      strides: one int per grid axis, or one for all.
      group: as in :class:`Conv`; None means translations.
      in_fibre: any representation of the point group on the input; None is ``Regular`` (``Scalar`` on translations).
      out_fibre: representation on the output, by permutations; None is ``Regular`` (``Scalar`` on translations).
      padding: as in :class:`Conv`.
      kernel_dilation: one int per grid axis, or one for all.
      feature_group_count: number of groups into which the first factor divides the features.
      use_bias: whether to add a bias.
      dtype: dtype of the computation; None promotes inputs and parameters.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.conv_general_dilated``.
      kernel_init: called for each of both kernels with a shape that shows its true fan-in, as in :class:`Conv` and
        :class:`DepthwiseConv`.
      bias_init: initialiser of the bias.
      promote_dtype: function that promotes ``(inputs, kernel, bias)``.
      allow_inexact: accept input shapes at which elements of the point group are lost.
      algorithm: as in :class:`Conv`, of both factors.
      rngs: key source, used at construction only.
      kernel_metadata: metadata of both kernels.
      bias_metadata: metadata of the bias.

    Raises:
      TypeError: ``group`` or a fibre is of the wrong kind.
      ValueError: the output fibre does not permute, or an argument does not fit the group; the message names the remedy.

    References:
      Knigge, Romero and Bekkers, "Exploiting Redundancy: Separable Group Convolutional Networks on Lie Groups", ICML 2022,
      arXiv:2110.13059. Lengyel and van Gemert, "Exploiting Learned Symmetries in Group Equivariant Convolutions", ICIP 2021,
      arXiv:2106.04914.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        out_fibre: Representation | None = None,
        padding: Padding = "SAME",
        kernel_dilation: int | Sequence[int] | None = 1,
        feature_group_count: int = 1,
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
        default = pool_default(self.group)
        self.in_fibre = resolve_fibre(in_fibre, self.group, default, "in_fibre")
        self.out_fibre = resolve_fibre(out_fibre, self.group, default, "out_fibre")
        require_permuted(self.out_fibre, "out_fibre", "the depthwise convolution behind the first factor")
        self.sampling = sampling_of(window, strides, kernel_dilation, padding, self.out_fibre.group)
        both = {
            "group": self.group, "dtype": dtype, "param_dtype": param_dtype, "precision": precision,
            "kernel_init": kernel_init, "promote_dtype": promote_dtype, "allow_inexact": allow_inexact,
            "algorithm": algorithm, "rngs": rngs, "kernel_metadata": kernel_metadata,
        }  # fmt: skip
        self.pointwise = Conv(
            in_features,
            out_features,
            (1,) * len(window),
            in_fibre=self.in_fibre,
            out_fibre=self.out_fibre,
            feature_group_count=feature_group_count,
            use_bias=False,
            **both,
        )
        self.depthwise = DepthwiseConv(
            out_features,
            window,
            strides,
            fibre=self.out_fibre,
            padding=padding,
            kernel_dilation=kernel_dilation,
            use_bias=use_bias,
            bias_init=bias_init,
            bias_metadata=bias_metadata,
            **both,
        )
        self.in_features, self.out_features = self.pointwise.in_features, self.depthwise.out_features
        self.kernel_size, self.allow_inexact = window, allow_inexact

    def __call__(self, inputs: jax.Array, out_sharding: Any = None) -> jax.Array:
        """Applies the layer.

        Args:
          inputs: ``(*batch, *sizes, in_fibre, in_features)``; any number of batch axes, none included; no fibre axis for the
            scalar fibre.
          out_sharding: sharding of the planar convolutions' results under explicit mesh axes, as in ``nnx.Conv``.

        Returns:
          ``(*batch, *out_sizes, out_fibre, out_features)``.

        Raises:
          ValueError: the shape does not fit, or loses an element of the point group (and ``allow_inexact`` is False).
        """
        require_input(inputs.shape, self.in_action, self.in_features)
        self._require_exact(inputs.shape)
        return self.depthwise(self.pointwise(inputs, out_sharding), out_sharding)
