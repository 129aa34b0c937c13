"""Batch normalisation on permutation fibres, in few passes over the array."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._arguments import boolean, shown
from equijax._dtypes import accumulation_dtype, require_real, widened
from equijax._numbers import positive_int
from equijax.actions import Action, FieldAction
from equijax.actions._fibre import field_action
from equijax.groups import Group
from equijax.nn._initial import filled
from equijax.nn._layer import (
    Layer,
    pool_default,
    require_group,
    require_input,
    require_permuted,
    require_same_group,
    resolve_fibre,
)
from equijax.nn._parameters import new_parameter, read, read_offset, read_optional
from equijax.nn._running_average import update_average
from equijax.reps import Representation

ones_init, zeros_init = nnx.initializers.ones_init(), nnx.initializers.zeros_init()


class BatchNorm(Layer):
    r"""Normalises each feature over the batch, the grid and the fibre: ``nnx.BatchNorm`` in fewer passes over the array.

    .. math:: y_i = γ_i \frac{f_i - \mathrm{mean}(f_i)}{\sqrt{\mathrm{var}(f_i) + ε}} + β_i

    ``nnx.BatchNorm`` serves on permutation fibres as it is. This layer gives its numbers up to rounding and has its state,
    so that either reads the other's. It subtracts the mean before it squares, so that a large mean costs no digits, and
    its gradient needs two sums over the array instead of three. Features are the last axis.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that permutes the pixels.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Attributes:
      scale: Param ``(num_features,)``: γ, or None.
      bias: Param ``(num_features,)``: β, or None.
      mean: BatchStat ``(num_features,)``: running mean.
      var: BatchStat ``(num_features,)``: running variance.

    Args:
      num_features: number of features.
      group: the group of the layer.
      in_fibre: representation of the point group; None is ``Regular`` (``Scalar`` on translations).
      use_running_average: whether to use the stored averages instead of those of the batch.
      momentum: how much of the old averages is kept.
      epsilon: added to the variance.
      dtype: dtype of the result; None promotes inputs and parameters. Statistics are at least float32.
      param_dtype: dtype in which the parameters are stored.
      use_bias: whether to add β.
      use_scale: whether to multiply by γ.
      bias_init: initialiser of β.
      scale_init: initialiser of γ.
      axis_name: name of an axis mapped by ``vmap`` or ``shard_map`` over which the statistics are taken too.
      axis_index_groups: groups of indices of that axis, as in ``jax.lax.psum``; each has statistics of its own.
      rngs: key source, used at construction only.
      bias_metadata: metadata of the bias.
      scale_metadata: metadata of the scale.

    Raises:
      TypeError: complex inputs.
      ValueError: the fibre mixes its coordinates.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> norm = ej.nn.BatchNorm(8, group=ej.wallpaper("p4"), rngs=nnx.Rngs(0))
      >>> norm(jnp.ones((2, 9, 9, 4, 8))).shape, norm.mean.shape
      ((2, 9, 9, 4, 8), (8,))

    References:
      Ioffe and Szegedy, "Batch Normalization", ICML 2015, arXiv:1502.03167.
    """

    def __init__(
        self,
        num_features: int,
        *,
        group: Group,
        in_fibre: Representation | None = None,
        use_running_average: bool = False,
        momentum: float = 0.99,
        epsilon: float = 1e-5,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        use_bias: bool = True,
        use_scale: bool = True,
        bias_init: Any = zeros_init,
        scale_init: Any = ones_init,
        axis_name: str | None = None,
        axis_index_groups: Any = None,
        rngs: nnx.Rngs,
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        scale_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        self.num_features = positive_int(num_features, "num_features")
        self.group = require_group(group, None)
        self.in_fibre = resolve_fibre(in_fibre, group, pool_default(group), "in_fibre")
        require_permuted(self.in_fibre, "in_fibre", "BatchNorm, which subtracts a mean and adds a bias,")
        self.use_running_average, self.momentum, self.epsilon = use_running_average, momentum, epsilon
        self.dtype, self.param_dtype, self.axis_name = dtype, param_dtype, axis_name
        self.axis_index_groups = _require_groups(axis_index_groups, axis_name)
        shape, stored = (num_features,), accumulation_dtype(param_dtype)
        self.mean = nnx.BatchStat(filled(0, shape, stored))
        self.var = nnx.BatchStat(filled(1, shape, stored))
        self.scale = self.bias = nnx.data(None)
        if use_scale:
            self.scale = new_parameter(scale_init, shape, param_dtype, rngs, "scale_init", scale_metadata)
        if use_bias:
            self.bias = new_parameter(bias_init, shape, param_dtype, rngs, "bias_init", bias_metadata)

    @property
    def in_action(self) -> FieldAction:
        """Fields with the fibre ``in_fibre``."""
        return field_action(self.group, self.in_fibre)

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the input, which is that on the output."""
        require_same_group(self.in_action, in_action)
        return in_action

    def __call__(
        self, inputs: jax.Array, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> jax.Array:
        """Normalises ``(*batch, *sizes, fibre, num_features)``; any number of batch axes.

        Args:
          inputs: the field.
          use_running_average: whether to use the stored averages; None is what the layer was built with.
          mask: bool, of a shape that broadcasts to that of ``inputs``: which entries count in the statistics; every entry is
            normalised, those that don't count and aren't finite as if they were 0. The law holds where the mask moves along.
            None is all. Where none counts, the stored averages stay.

        Raises:
          ValueError: the shape of the inputs or of the mask does not fit.
          TypeError: complex inputs, or a mask that is not bool.
        """
        require_input(inputs.shape, self.in_action, self.num_features)
        inputs = require_real(inputs, "inputs", "BatchNorm")
        shape = (self.num_features,)
        scale, bias = read_optional(self.scale, "scale", shape), read_offset(self.bias, shape)
        old_mean, old_var = read(self.mean, "mean", shape), read(self.var, "var", shape)
        x, scale, bias = dtypes.promote_dtype((inputs, scale, bias), dtype=self.dtype)
        x, dtype = widened(x)
        stored = self.use_running_average if use_running_average is None else use_running_average
        if boolean(stored, "use_running_average"):
            mean, var, shift = old_mean.astype(x.dtype), old_var.astype(x.dtype), None
        else:
            mask = None if mask is None else _require_mask(mask, x.shape)
            x = x if mask is None else jnp.where(mask | jnp.isfinite(x), x, jnp.zeros((), x.dtype))
            found = _statistics(x, mask, self.axis_name, self.axis_index_groups)
            update_average(self.mean, found.mean, self.momentum, found.counted)
            update_average(self.var, found.var, self.momentum, found.counted)
            mean, var, shift = found.mean, found.var, found.shift
        return self._normalised(x, mean, var, shift, scale, bias).astype(dtype)

    def _normalised(self, x: jax.Array, mean: Any, var: Any, shift: Any, scale: Any, bias: Any) -> jax.Array:
        """Normalises in one multiplication and one addition for each entry.

        The mean of the batch is subtracted as a constant, and the difference of it from itself beside the bias, where it has
        its derivative: so the gradient needs the sum of the cotangent once, for the bias and for the mean.
        """
        factor = jax.lax.rsqrt(var + jnp.asarray(self.epsilon, x.dtype))
        factor = factor if scale is None else factor * scale.astype(x.dtype)
        offset = None if bias is None else bias.astype(x.dtype)
        if shift is not None:
            moved = (shift - mean) * factor
            offset = moved if offset is None else offset + moved
        y = (x - _along(mean if shift is None else shift, x)) * _along(factor, x)
        return y if offset is None else y + _along(offset, x)

    def set_view(self, use_running_average: bool | None = None) -> None:
        """Class method used by ``nnx.view``.

        Args:
          use_running_average: if True, the stored averages are used instead of those of the batch.
        """
        if use_running_average is not None:
            self.use_running_average = boolean(use_running_average, "use_running_average")


class _Statistics(NamedTuple):
    """Mean, variance, the mean as a constant, and of which features anything was counted."""

    mean: jax.Array
    var: jax.Array
    shift: jax.Array
    counted: Any


def _statistics(x: jax.Array, mask: jax.Array | None, axis_name: str | None, groups: Any) -> _Statistics:
    """The statistics of each feature over all other axes.

    The variance is the mean square about a constant minus the square of the mean about it. That is so for every constant, so
    all derivatives are those of the variance. With the mean itself as the constant no digits cancel.
    """
    axes = tuple(range(x.ndim - 1))

    def everywhere(total: Any) -> Any:
        return total if axis_name is None else jax.lax.psum(total, axis_name, axis_index_groups=groups)

    def mean_of(a: jax.Array) -> jax.Array:
        kept = a if mask is None else jnp.where(mask, a, jnp.zeros((), a.dtype))
        return everywhere(kept.sum(axes)) / divisor

    count = jnp.asarray(math.prod(x.shape[:-1])) if mask is None else jnp.broadcast_to(mask, x.shape).sum(axes)
    count = everywhere(count)
    divisor = jnp.maximum(count, 1).astype(x.dtype)
    mean = mean_of(x)
    shift = jax.lax.stop_gradient(mean)
    var = mean_of(jnp.square(x - _along(shift, x))) - jnp.square(mean - shift)
    return _Statistics(mean, var, shift, count > 0)


def _along(features: jax.Array, x: jax.Array) -> jax.Array:
    return features.reshape((1,) * (x.ndim - 1) + features.shape)


def _require_groups(groups: Any, axis_name: Any) -> tuple[tuple[int, ...], ...] | None:
    """Returns groups of indices of an axis as tuples, which can be compared and hashed.

    Raises:
      TypeError: it is no sequence of sequences of ints.
      ValueError: there is no axis, or its indices are not all there once.
    """
    if groups is None:
        return None
    sequence = (tuple, list)
    nested = isinstance(groups, sequence) and all(isinstance(group, sequence) for group in groups)
    if not nested or not all(type(index) is int for group in groups for index in group):
        raise TypeError(f"`axis_index_groups` is {shown(groups)}; it must be lists of ints, such as [[0, 1], [2, 3]].")
    indices = sorted(index for group in groups for index in group)
    if not indices or indices != list(range(len(indices))) or not all(groups):
        raise ValueError(
            f"`axis_index_groups` is {shown(groups)}; each index of the axis must be in one, such as [[0, 1], [2, 3]]."
        )
    if axis_name is None:
        raise ValueError("`axis_index_groups` are groups of indices of an axis, but `axis_name` is None. Name the axis.")
    return tuple(map(tuple, groups))


def _require_mask(mask: Any, shape: tuple[int, ...]) -> jax.Array:
    """Returns a mask with as many axes as the inputs.

    Raises:
      TypeError: it is not bool.
      ValueError: it does not broadcast to the shape.
    """
    mask = jnp.asarray(mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"`mask` has dtype {mask.dtype}; it must be bool, True where an entry counts.")
    whole = (1,) * (len(shape) - mask.ndim) + mask.shape
    if len(whole) != len(shape) or any(m not in (1, n) for m, n in zip(whole, shape, strict=True)):
        raise ValueError(
            f"`mask` has shape {mask.shape}, which does not broadcast to that of the inputs, {shape}. Give it the axes of "
            f"the inputs, with length 1 where all entries are alike: {(*shape[:1], *(1,) * (len(shape) - 1))} for one entry "
            "per sample."
        )
    return mask.reshape(whole)
