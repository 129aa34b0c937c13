"""Batch normalisation of fields with any orthogonal fibre."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._arguments import boolean
from equijax._dtypes import accumulation_dtype
from equijax.groups import Group
from equijax.nn._mask import require_mask
from equijax.nn._parameters import read, read_optional
from equijax.nn._running_average import update_average
from equijax.nn.fields._field_norm import FieldNorm, ones_init, zeros_init
from equijax.nn.fields._layer import broadcast
from equijax.nn.fields._statistics import Statistics, statistics
from equijax.reps import Representation


class FieldBatchNorm(FieldNorm):
    r"""Normalises each block of a fibre over the batch, all positions and all its coordinates.

    .. math:: y_p = γ_{p,i}\, \frac{v_p - \bar v_p}{\sqrt{\mathrm{mean}|v_p - \bar v_p|^2 / d_p + ε}} + \sum_k β_{k,i}\, e_k

    Here p is a block, a summand of a direct sum of dimension d_p (an orbit of coordinates where the group permutes them),
    and i a feature. Only what the group leaves alone has a mean, so :math:`\bar v` is the mean of the part along the
    invariants e_k of the fibre, and the bias lives there. On a permutation fibre with one orbit it is ``nnx.BatchNorm``.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that permutes the positions.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Attributes:
      mean: BatchStat ``(num_features,)``, or ``(k, num_features)``: running mean of the coefficients of the invariants;
        None where the fibre has none.
      var: BatchStat ``(num_features,)``, or ``(blocks, num_features)``: running mean square of a coordinate.

    Args:
      num_features: number of features.
      fibre: an orthogonal representation.
      group: the group of the layer; None is the group of the fibre.
      use_running_average: whether to use the stored averages instead of those of the batch.
      momentum: how much of the old averages is kept.
      epsilon: added to the variance.
      axis_name: name of an axis mapped by ``vmap`` or ``shard_map`` over which the statistics are taken too.
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
      >>> norm = ej.nn.FieldBatchNorm(8, ej.reps.Regular(ej.Cyclic(4)), rngs=nnx.Rngs(0))
      >>> norm(jnp.ones((2, 4, 8))).shape
      (2, 4, 8)

    References:
      Ioffe and Szegedy, "Batch Normalization", ICML 2015, arXiv:1502.03167.
    """

    def __init__(
        self,
        num_features: int,
        fibre: Representation,
        *,
        group: Group | None = None,
        use_running_average: bool = False,
        momentum: float = 0.99,
        epsilon: float = 1e-5,
        axis_name: str | None = None,
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
        self.use_running_average, self.momentum, self.axis_name = use_running_average, momentum, axis_name
        kept = accumulation_dtype(param_dtype)
        self.var = nnx.BatchStat(jnp.ones(self._block_shape, kept))
        self.mean = nnx.data(None)
        if len(fibre.invariants):
            self.mean = nnx.BatchStat(jnp.zeros(self._invariant_shape, kept))

    def __call__(
        self, inputs: jax.Array, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> jax.Array:
        """Normalises ``(*batch, *positions, fibre, num_features)``; any number of batch axes.

        Args:
          inputs: the field.
          use_running_average: whether to use the stored averages; None is what the layer was built with.
          mask: bool ``(*batch, *positions)``: which vectors count in the statistics, such as those that are
            no padding; every vector is normalised. The law holds where the mask moves along. None is all.
            Where none counts, the stored averages stay.

        Raises:
          ValueError: the mask has another shape.
          TypeError: the mask is not bool.
        """
        v, scale, bias, dtype = self._promoted(inputs)
        old_var = read(self.var, "var", self._block_shape)
        old_mean = read_optional(self.mean, "mean", self._invariant_shape)
        stored = self.use_running_average if use_running_average is None else use_running_average
        boolean(stored, "use_running_average")
        if stored:
            var = broadcast(old_var, v.ndim).astype(v.dtype)
            none = jnp.zeros((*var.shape[:-2], 0, var.shape[-1]), v.dtype)
            mean = none if old_mean is None else broadcast(old_mean, v.ndim).astype(v.dtype)
            return self._normalised(v, Statistics(mean, var), scale, bias, dtype)
        mask = None if mask is None else require_mask(mask, v.shape[:-2])
        axes = tuple(range(v.ndim - 2))
        found = statistics(v, self.in_fibre, axes, self.num_features, True, mask, self.axis_name)
        counted = self._counts(v.shape[:-2], mask)
        update_average(self.var, found.var, self.momentum, counted)
        if self.mean is not None:
            update_average(self.mean, found.mean, self.momentum, counted)
        return self._normalised(v, found, scale, bias, dtype)

    def _counts(self, shape: tuple[int, ...], mask: jax.Array | None) -> Any:
        """Whether any vector is counted: the statistics of nothing are no reason to change what was seen before."""
        some = jnp.asarray(0 not in shape) if mask is None else mask.any()
        return some if self.axis_name is None else jax.lax.psum(some.astype(jnp.int32), self.axis_name) > 0

    def set_view(self, use_running_average: bool | None = None) -> None:
        """Class method used by ``nnx.view``.

        Args:
          use_running_average: if True, the stored averages are used instead of those of the batch.
        """
        if use_running_average is not None:
            self.use_running_average = boolean(use_running_average, "use_running_average")
