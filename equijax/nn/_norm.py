"""Normalisation where Flax's own does not serve."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._dtypes import as_floats, require_real, widened
from equijax._numbers import positive_int
from equijax.actions import Action, FieldAction
from equijax.actions._fibre import field_action
from equijax.groups import Group
from equijax.nn._layer import (
    Layer,
    pool_default,
    require_group,
    require_input,
    require_permuted,
    require_same_group,
    resolve_fibre,
)
from equijax.nn._parameters import read_offset, read_optional
from equijax.reps import Representation


class GroupNorm(Layer):
    r"""Normalises each sample over the grid, the fibre and the features of a group of features.

    .. math:: y = γ_i \frac{f - \mathrm{mean}(f)}{\sqrt{\mathrm{var}(f) + ε}} + β_i

    ``nnx.BatchNorm`` and ``nnx.LayerNorm`` serve on permutation fibres as they are. ``nnx.GroupNorm`` and
    ``nnx.InstanceNorm`` take exactly one batch axis; without one they would read the first grid axis as a batch and lose
    the symmetry. This layer takes any number of batch axes. ``num_groups = num_features`` is instance normalisation.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that permutes the pixels.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Args:
      num_features: number of features.
      num_groups: number of groups of features, a divisor of ``num_features``.
      group: the group of the layer.
      in_fibre: representation of the point group; None is ``Regular`` (``Scalar`` on translations).
      epsilon: added to the variance.
      use_scale: whether to multiply by γ.
      use_bias: whether to add β.
      dtype: dtype of the result; None promotes inputs and parameters. Statistics are at least float32.
      param_dtype: dtype in which the parameters are stored.
      rngs: key source, used at construction only.

    Raises:
      TypeError: complex inputs.
      ValueError: ``num_groups`` is no divisor, or the fibre mixes its coordinates.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> norm = ej.nn.GroupNorm(8, 4, group=ej.wallpaper("p4"), rngs=nnx.Rngs(0))
      >>> norm(jnp.ones((9, 9, 4, 8))).shape
      (9, 9, 4, 8)

    References:
      Wu and He, "Group Normalization", ECCV 2018, arXiv:1803.08494.
    """

    def __init__(
        self,
        num_features: int,
        num_groups: int = 32,
        *,
        group: Group,
        in_fibre: Representation | None = None,
        epsilon: float = 1e-6,
        use_scale: bool = True,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.num_features = positive_int(num_features, "num_features")
        self.num_groups = positive_int(num_groups, "num_groups")
        if num_features % num_groups:
            raise ValueError(f"`num_groups` is {num_groups}; it must divide num_features = {num_features}.")
        self.group = require_group(group, None)
        self.in_fibre = resolve_fibre(in_fibre, group, pool_default(group), "in_fibre")
        require_permuted(self.in_fibre, "in_fibre", "GroupNorm, which subtracts a mean and adds a bias,")
        self.epsilon, self.dtype, self.param_dtype = epsilon, dtype, param_dtype
        del rngs
        self.scale = nnx.Param(jnp.ones((num_features,), param_dtype)) if use_scale else nnx.data(None)
        self.bias = nnx.Param(jnp.zeros((num_features,), param_dtype)) if use_bias else nnx.data(None)

    @property
    def in_action(self) -> FieldAction:
        """Fields with the fibre ``in_fibre``."""
        return field_action(self.group, self.in_fibre)

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the input, which is that on the output."""
        require_same_group(self.in_action, in_action)
        return in_action

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Normalises ``(*batch, *sizes, fibre, num_features)``; any number of batch axes."""
        require_input(inputs.shape, self.in_action, self.num_features)
        moved = len(self.in_fibre.shape) + self.in_action.ndim
        scale = read_optional(self.scale, "scale", (self.num_features,))
        bias = read_offset(self.bias, (self.num_features,))
        inputs = require_real(inputs, "inputs", "GroupNorm")
        x, scale, bias = dtypes.promote_dtype((inputs, scale, bias), dtype=self.dtype)
        result = as_floats(x).dtype
        x = widened(x)[0].reshape(*x.shape[:-1], self.num_groups, x.shape[-1] // self.num_groups)
        axes = (*range(x.ndim - 2 - moved, x.ndim - 2), x.ndim - 1)
        centred = x - x.mean(axis=axes, keepdims=True)
        variance = jnp.square(centred).mean(axis=axes, keepdims=True)
        y = centred * jax.lax.rsqrt(variance + jnp.asarray(self.epsilon, x.dtype))
        y = y.reshape(inputs.shape).astype(result)
        if scale is not None:
            y = y * scale.reshape((1,) * (y.ndim - 1) + scale.shape)
        if bias is not None:
            y = y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
        return y


def normalised(norm: nnx.LayerNorm | None, x: jax.Array) -> jax.Array:
    """Applies a norm of Flax, or nothing.

    Flax joins the dtype of ``x`` with float32 to form the statistics, which strict promotion would refuse for bfloat16 and
    float64.

    Raises:
      ValueError: a parameter of the norm has another shape than it needs.
    """
    if norm is None:
        return x
    for param, name in ((norm.scale, "scale"), (norm.bias, "bias")):
        read_optional(param, name, (norm.num_features,))
    with jax.numpy_dtype_promotion("standard"):
        return norm(x)
