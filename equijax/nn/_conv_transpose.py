"""Transposed convolution."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax.groups import Group
from equijax.nn._conv import Conv, default_bias_init, default_kernel_init
from equijax.nn._sampling import Padding
from equijax.reps import Representation


class ConvTranspose(Conv):
    r"""Transposed convolution (upsampling by strides) with the weight sharing that a group forces.

    It is the convolution of the input with ``strides − 1`` zeros between its samples:

    .. math:: y[p, b, o] = β[b, o] + \sum_{δ, a, i} κ[δ, a, b, i, o]\; u[p + δ, a, i], \qquad u[s x] = f[x]

    Kernel, sizes and centre are those of ``nnx.ConvTranspose`` (kernel not flipped); with ``group=None`` it has the same
    parameters and gives the same bits. It is in general not the adjoint of :class:`Conv`.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that ``layer.exactness(x.shape)`` names. Its
    ``in_action`` has ``spacing = strides``. With zero borders the point group survives for ``"SAME"`` where
    ``kernel_size ≥ strides`` and their difference is even (2×2 and 4×4 at stride 2, never 3×3), for ``"VALID"`` where
    ``kernel_size ≥ strides``; with ``"CIRCULAR"`` always, about a point that depends on kernel and stride.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> group = ej.wallpaper("p4m")
      >>> regular = ej.reps.Regular(group.point_group)
      >>> layer = ej.nn.ConvTranspose(8, 4, (4, 4), 2, group=group, in_fibre=regular, out_fibre=regular, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 7, 7, 8, 8))).shape
      (2, 14, 14, 8, 4)

    Attributes:
      kernel: Param ``(orbits, in_features, out_features)``; for translations ``(*kernel_size, in, out)``.
      bias: Param ``(out_features,)`` or ``(orbits of the output fibre, out_features)``; or None.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      kernel_size: one int per grid axis.
      strides: zeros between samples plus one; None is 1.
      group: as in :class:`Conv`.
      in_fibre: representation of the point group on the input; None is ``Scalar``.
      out_fibre: representation on the output; None is ``Scalar``.
      padding: ``"SAME"``, ``"VALID"``, ``"CIRCULAR"``, an int, or pairs that pad the dilated input.
      kernel_dilation: one int per grid axis, or one for all.
      use_bias: whether to add a bias.
      dtype: dtype of the computation; None promotes inputs and parameters.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.conv_transpose``.
      kernel_init: as in :class:`Conv`.
      bias_init: initialiser of the bias.
      promote_dtype: function that promotes ``(inputs, kernel, bias)``.
      preferred_element_type: as in ``jax.lax.conv_transpose``.
      allow_inexact: accept input shapes at which elements of the point group are lost.
      algorithm: as in :class:`Conv`.
      rngs: key source, used at construction only.
      kernel_metadata: metadata of the kernel's Param.
      bias_metadata: metadata of the bias.

    Raises:
      TypeError: ``group`` or a fibre is of the wrong kind.
      ValueError: an argument does not fit the group.
    """

    _transposed = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        out_fibre: Representation | None = None,
        padding: Padding = "SAME",
        kernel_dilation: int | Sequence[int] | None = None,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        promote_dtype: Callable = dtypes.promote_dtype,
        preferred_element_type: Any = None,
        allow_inexact: bool = False,
        algorithm: str | None = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        super().__init__(
            in_features,
            out_features,
            kernel_size,
            strides,
            group=group,
            in_fibre=in_fibre,
            out_fibre=out_fibre,
            padding=padding,
            kernel_dilation=kernel_dilation,
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            bias_init=bias_init,
            promote_dtype=promote_dtype,
            preferred_element_type=preferred_element_type,
            allow_inexact=allow_inexact,
            algorithm=algorithm,
            rngs=rngs,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
        )
