"""Linear layers on matrices of entries: each entry for itself, and pools over rows, columns, everything."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._numbers import positive_int
from equijax.actions import Action
from equijax.nn._aggregation import Aggregation, Mean, Sum, as_aggregation
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._layer import Layer, require_same_group
from equijax.nn._mask import keep, require_mask
from equijax.nn._parameters import drawn, new_offset, read, read_offset
from equijax.sharing import LinearSharing

WITHIN_ROW, WITHIN_COLUMN, EVERYTHING = (-2,), (-3,), (-3, -2)


class PooledLinear(Layer):
    """A linear layer on ``(*batch, n, m, features)`` whose orbits are those of pools over one axis or both.

    Subclasses set ``in_action`` and ``_pools``, the axes over which each pool runs.
    """

    _pools: ClassVar[tuple[tuple[int, ...], ...]]

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        aggregation: Any = "mean",
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        promote_dtype: Callable = dtypes.promote_dtype,
        rngs: nnx.Rngs,
    ):
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        self.aggregation: Aggregation = as_aggregation(aggregation)
        self.dtype, self.param_dtype, self.precision, self.promote_dtype = dtype, param_dtype, precision, promote_dtype
        pooled, count = self.aggregation.out_features(in_features), len(self._pools)
        kernel = drawn(kernel_init, rngs.params(), (in_features + count * pooled, out_features), param_dtype, "kernel_init")
        self.kernel = nnx.Param(kernel[:in_features])
        self.pool_kernel = nnx.Param(kernel[in_features:].reshape(count, pooled, out_features))
        self.bias = new_offset(use_bias, (out_features,), bias_init, param_dtype, rngs)

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the input, which is that on the output."""
        require_same_group(self.in_action, in_action)
        return in_action

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Applies the layer.

        Args:
          inputs: ``(*batch, n, m, in_features)``.
          mask: bool ``(*batch, n, m)``, True where an entry is there; None for all. What padding holds does not matter.

        Returns:
          ``(*batch, n, m, out_features)``; zeros where the mask is False.

        Raises:
          TypeError: the mask is not boolean.
          ValueError: a shape does not fit.
        """
        if inputs.ndim < 3 or inputs.shape[-1] != self.in_features:
            raise ValueError(f"`inputs` has shape {inputs.shape}; the layer needs (*batch, n, m, {self.in_features}).")
        if mask is not None:
            mask = require_mask(mask, inputs.shape[:-1])
        pooled = self.aggregation.out_features(self.in_features)
        parameters = [
            read(self.kernel, "kernel", (self.in_features, self.out_features)),
            read(self.pool_kernel, "pool_kernel", (len(self._pools), pooled, self.out_features)),
            read_offset(self.bias, (self.out_features,)),
        ]
        x, kernel, pool_kernel, bias = self.promote_dtype((keep(inputs, mask), *parameters), dtype=self.dtype)
        y = jnp.matmul(x, kernel, precision=self.precision)
        for axes, weights in zip(self._pools, pool_kernel, strict=True):
            y = y + jnp.matmul(pool(self.aggregation, x, mask, axes), weights, precision=self.precision)
        if bias is not None:
            y = y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
        return keep(y, mask)

    def to_orbit_weights(self, n: int, m: int) -> dict[str, jax.Array]:
        """Converts to the weights of ``EquivariantLinear(action, action, …)`` with ``action = self.in_action.on((n, m))``.

        Args:
          n: number of rows.
          m: number of columns.

        Returns:
          ``kernel``, ``(orbits, in_features, out_features)``, and ``bias`` where there is one.

        Raises:
          ValueError: the aggregation is not linear.
        """
        if not isinstance(self.aggregation, (Mean, Sum)):
            raise ValueError(
                f"`aggregation` is {self.aggregation!r}, so the layer is not linear and has no orbit weights. Use 'mean' or "
                "'sum'."
            )
        own, pooled = self.kernel[...], self.pool_kernel[...]
        action = self.in_action.on((positive_int(n, "n"), positive_int(m, "m")))
        orbits = LinearSharing(action, action).orbits
        out, into = np.unravel_index(np.unique(orbits, return_index=True)[1], orbits.shape)
        same = {-3: out // m == into // m, -2: out % m == into % m}
        kernel = jnp.zeros((len(out), *own.shape), own.dtype)
        for axes, weights in (((), own), *zip(self._pools, pooled, strict=True)):
            reached = np.ones(len(out))
            for axis in {-3, -2}.difference(axes):
                reached = reached * same[axis]
            if isinstance(self.aggregation, Mean):
                reached = reached / math.prod({-3: n, -2: m}[axis] for axis in axes)
            kernel = kernel + jnp.einsum("o,cd->ocd", jnp.asarray(reached, own.dtype), weights)
        return {"kernel": kernel} if self.bias is None else {"kernel": kernel, "bias": self.bias[...]}


def pool(aggregation: Aggregation, x: jax.Array, mask: jax.Array | None, axes: tuple[int, ...]) -> jax.Array:
    """Pools ``(*batch, n, m, features)`` over one or both of the entries' axes, which stay with length 1.

    Args:
      aggregation: the pool.
      x: floats ``(*batch, n, m, features)``.
      mask: bool ``(*batch, n, m)``, or None.
      axes: of -3 and -2, ascending.
    """
    last = tuple(range(-1 - len(axes), -1))
    x = jnp.moveaxis(x, axes, last)
    merged = math.prod(x.shape[axis] for axis in last)
    kept = x.shape[: x.ndim - 1 - len(axes)]
    if mask is not None:
        mask = jnp.moveaxis(mask, [axis + 1 for axis in axes], [axis + 1 for axis in last]).reshape(*kept, merged)
    return jnp.expand_dims(aggregation.over_axis(x.reshape(*kept, merged, x.shape[-1]), mask), axes)
