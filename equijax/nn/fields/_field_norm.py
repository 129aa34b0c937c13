"""What the norms of fields have in common."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._dtypes import accumulation_dtype, require_real
from equijax.groups import Group
from equijax.nn._parameters import new_parameter, read_offset, read_optional
from equijax.nn.fields._blocks import block_count, block_numbers
from equijax.nn.fields._layer import (
    FieldLayer,
    broadcast,
    from_vectors,
    per_block,
    require_features,
    require_field,
    require_fields,
    require_orthogonal,
    to_vectors,
)
from equijax.nn.fields._statistics import Statistics, divide, subtract_mean
from equijax.nn.fields._taken import taken
from equijax.reps import Representation

ones_init, zeros_init = nnx.initializers.ones_init(), nnx.initializers.zeros_init()


class FieldNorm(FieldLayer):
    """What the norms of fields have in common: the parameters, and how statistics are used.

    Attributes:
      scale: Param ``(num_features,)``, or ``(blocks, num_features)`` where there are several blocks; or None.
      bias: Param ``(num_features,)``, or ``(k, num_features)`` for k ≠ 1 invariants of the fibre; None for k = 0.
    """

    def __init__(
        self,
        num_features: int,
        fibre: Representation,
        *,
        group: Group | None,
        epsilon: float,
        dtype: Any,
        param_dtype: Any,
        use_bias: bool,
        use_scale: bool,
        bias_init: Any,
        scale_init: Any,
        rngs: nnx.Rngs,
        bias_metadata: Mapping[str, Any],
        scale_metadata: Mapping[str, Any],
    ):
        self.num_features = require_features(num_features)
        self.in_fibre, self.group = require_field(fibre, group)
        self.out_fibre = self.in_fibre
        require_orthogonal(fibre, type(self).__name__)
        self.epsilon, self.dtype, self.param_dtype = epsilon, dtype, param_dtype
        self.scale = self.bias = nnx.data(None)
        if use_scale:
            self.scale = new_parameter(scale_init, self._block_shape, param_dtype, rngs, "scale_init", scale_metadata)
        if use_bias and len(fibre.invariants):
            self.bias = new_parameter(bias_init, self._invariant_shape, param_dtype, rngs, "bias_init", bias_metadata)

    @property
    def _block_shape(self) -> tuple[int, ...]:
        return per_block(block_count(self.in_fibre), self.num_features)

    @property
    def _invariant_shape(self) -> tuple[int, ...]:
        return per_block(len(self.in_fibre.invariants), self.num_features)

    def _promoted(self, inputs: jax.Array) -> tuple[jax.Array, Any, Any, Any]:
        """The field with a fibre axis, widened for statistics; scale and bias; the dtype of the result."""
        require_fields(inputs, self.in_fibre, features=self.num_features)
        require_real(inputs, "inputs", type(self).__name__)
        scale = read_optional(self.scale, "scale", self._block_shape)
        bias = read_offset(self.bias, self._invariant_shape)
        x, scale, bias = dtypes.promote_dtype((inputs, scale, bias), dtype=self.dtype)
        return to_vectors(x, self.in_fibre).astype(accumulation_dtype(x.dtype)), scale, bias, x.dtype

    def _normalised(self, v: jax.Array, found: Statistics, scale: Any, bias: Any, dtype: Any) -> jax.Array:
        """Subtracts and divides, then multiplies by the scale and adds the bias along the invariants."""
        y = divide(subtract_mean(v, found.mean, self.in_fibre), found.var, self.in_fibre, self.epsilon).astype(dtype)
        if scale is not None:
            each = taken(broadcast(scale, y.ndim), block_numbers(self.in_fibre))
            y = y * jnp.broadcast_to(each, y.shape)
        if bias is not None:
            invariants = jnp.asarray(self.in_fibre.invariants, y.dtype)
            added = jnp.einsum("kd,...kf->...df", invariants, broadcast(bias, y.ndim), precision="highest")
            y = y + jnp.broadcast_to(added, y.shape)
        return from_vectors(y, self.in_fibre)
