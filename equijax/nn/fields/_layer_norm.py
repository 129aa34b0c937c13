"""Normalisation of each position alone, with any orthogonal fibre."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax.groups import Group
from equijax.nn.fields._field_norm import FieldNorm, ones_init, zeros_init
from equijax.nn.fields._statistics import statistics
from equijax.reps import Representation


class FieldLayerNorm(FieldNorm):
    r"""Normalises each block of a fibre at each position over its coordinates and all features.

    .. math:: y_p = γ_{p,i} \frac{v_p - \bar v_p}{\sqrt{\mathrm{mean}_i |v_p - \bar v_p|^2 / d_p + ε}} + \sum_k β_{k,i} e_k

    Blocks, means and bias as in :class:`FieldBatchNorm`. On the scalar fibre it is ``nnx.LayerNorm``; on other permutation
    fibres ``nnx.LayerNorm`` normalises each coordinate alone.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Args:
      num_features: number of features.
      fibre: an orthogonal representation.
      group: the group of the layer; None is the group of the fibre.
      epsilon: added to the variance.
      dtype: dtype of the result; None promotes inputs and parameters. Statistics are at least float32.
      param_dtype: dtype in which the parameters are stored.
      use_bias: whether to add β.
      use_scale: whether to multiply by γ.
      bias_init: initialiser of β.
      scale_init: initialiser of γ.
      rngs: key source, used at construction only.
      bias_metadata: metadata of the bias.
      scale_metadata: metadata of the scale.

    Raises:
      ValueError: the group changes lengths, or the fibre belongs to another group.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> norm = ej.nn.FieldLayerNorm(8, ej.reps.Regular(ej.Cyclic(4)), rngs=nnx.Rngs(0))
      >>> norm(jnp.ones((2, 4, 8))).shape
      (2, 4, 8)

    References:
      Ba, Kiros and Hinton, "Layer Normalization", 2016, arXiv:1607.06450.
    """

    def __init__(
        self,
        num_features: int,
        fibre: Representation,
        *,
        group: Group | None = None,
        epsilon: float = 1e-6,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        use_bias: bool = True,
        use_scale: bool = True,
        bias_init: Any = zeros_init,
        scale_init: Any = ones_init,
        rngs: nnx.Rngs,
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        scale_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        super().__init__(
            num_features,
            fibre,
            group=group,
            epsilon=epsilon,
            dtype=dtype,
            param_dtype=param_dtype,
            use_bias=use_bias,
            use_scale=use_scale,
            bias_init=bias_init,
            scale_init=scale_init,
            rngs=rngs,
            bias_metadata=bias_metadata,
            scale_metadata=scale_metadata,
        )

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Normalises ``(*batch, *positions, fibre, num_features)``; any number of batch axes."""
        v, scale, bias, dtype = self._promoted(inputs)
        return self._normalised(v, statistics(v, self.in_fibre, (), 1, centre=True), scale, bias, dtype)


class FieldRMSNorm(FieldNorm):
    r"""Divides each block of a fibre at each position by the root mean square of its coordinates and all features.

    .. math:: y_p = γ_{p,i}\, \frac{v_p}{\sqrt{\mathrm{mean}_i |v_p|^2 / d_p + ε}}

    A block is a summand of a direct sum (an orbit of coordinates where the group permutes them). Nothing is subtracted and
    there is no bias. On the scalar fibre it is ``nnx.RMSNorm``.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Args:
      num_features: number of features.
      fibre: an orthogonal representation.
      group: the group of the layer; None is the group of the fibre.
      epsilon: added to the mean square.
      dtype: dtype of the result; None promotes inputs and parameters. Statistics are at least float32.
      param_dtype: dtype in which the parameters are stored.
      use_scale: whether to multiply by γ.
      scale_init: initialiser of γ.
      rngs: key source, used at construction only.
      scale_metadata: metadata of the scale.

    Raises:
      ValueError: the group changes lengths, or the fibre belongs to another group.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> norm = ej.nn.FieldRMSNorm(8, ej.reps.Regular(ej.Cyclic(4)), rngs=nnx.Rngs(0))
      >>> norm(jnp.ones((2, 4, 8))).shape
      (2, 4, 8)

    References:
      Zhang and Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019, arXiv:1910.07467.
    """

    def __init__(
        self,
        num_features: int,
        fibre: Representation,
        *,
        group: Group | None = None,
        epsilon: float = 1e-6,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        use_scale: bool = True,
        scale_init: Any = ones_init,
        rngs: nnx.Rngs,
        scale_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        super().__init__(
            num_features,
            fibre,
            group=group,
            epsilon=epsilon,
            dtype=dtype,
            param_dtype=param_dtype,
            use_bias=False,
            use_scale=use_scale,
            bias_init=zeros_init,
            scale_init=scale_init,
            rngs=rngs,
            bias_metadata={},
            scale_metadata=scale_metadata,
        )

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Normalises ``(*batch, *positions, fibre, num_features)``; any number of batch axes."""
        v, scale, bias, dtype = self._promoted(inputs)
        return self._normalised(v, statistics(v, self.in_fibre, (), 1, centre=False), scale, bias, dtype)
