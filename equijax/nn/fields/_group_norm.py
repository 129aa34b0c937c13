"""Normalisation of each sample over its positions, with any orthogonal fibre."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._numbers import positive_int
from equijax.groups import Group
from equijax.nn.fields._field_norm import FieldNorm, ones_init, zeros_init
from equijax.nn.fields._layer import require_fields
from equijax.nn.fields._statistics import statistics
from equijax.reps import Representation


class FieldGroupNorm(FieldNorm):
    r"""Normalises each block of a fibre over the positions of a sample, its coordinates and a group of features.

    .. math:: y_p = γ_{p,i}\, \frac{v_p - \bar v_p}{\sqrt{\mathrm{mean} |v_p - \bar v_p|^2 / d_p + ε}} + \sum_k β_{k,i}\, e_k

    Blocks, means and bias as in :class:`FieldBatchNorm`. On a permutation fibre with one orbit it is
    :class:`equijax.nn.GroupNorm`. ``num_groups = num_features`` is instance normalisation.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that permutes the positions.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Args:
      num_features: number of features.
      num_groups: number of groups of features, a divisor of ``num_features``.
      fibre: an orthogonal representation.
      group: the group of the layer, whose number of grid axes the layer reduces over; None is the group of the fibre,
        without positions.
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
      ValueError: the group changes lengths, the fibre belongs to another group, or ``num_groups`` is no divisor.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> p4 = ej.wallpaper("p4")
      >>> norm = ej.nn.FieldGroupNorm(8, 4, ej.reps.Regular(p4.point_group), group=p4, rngs=nnx.Rngs(0))
      >>> norm(jnp.ones((9, 9, 4, 8))).shape
      (9, 9, 4, 8)

    References:
      Wu and He, "Group Normalization", ECCV 2018, arXiv:1803.08494.
    """

    def __init__(
        self,
        num_features: int,
        num_groups: int,
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
        self.num_groups = positive_int(num_groups, "num_groups")
        if num_features % num_groups:
            raise ValueError(f"`num_groups` is {num_groups}; it must divide num_features = {num_features}.")

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Normalises ``(*batch, *sizes, fibre, num_features)``; any number of batch axes."""
        require_fields(inputs, self.in_fibre, self.group.grid_ndim)
        v, scale, bias, dtype = self._promoted(inputs)
        axes = tuple(range(v.ndim - 2 - self.group.grid_ndim, v.ndim - 2))
        found = statistics(v, self.in_fibre, axes, self.num_groups, centre=True)
        return self._normalised(v, found, scale, bias, dtype)
