"""Aggregations that depend on the order: another type, which is never taken where an invariant one is needed."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._numbers import positive_int
from equijax.nn._given import checked
from equijax.nn._mask import keep, require_mask


class OrderedAggregation(abc.ABC):
    """A function of a *sequence* of vectors: it may depend on their order, so it has no law on sets.

    Set and graph layers refuse it. Average it over orders with :class:`JanossyPool`.
    """

    @abc.abstractmethod
    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Returns ``(*batch, out_features)`` for ``(*batch, n, features)``; missing elements are passed over."""


@checked
class RecurrentAggregation(nnx.Module, OrderedAggregation):
    """The last state of a gated recurrent unit that reads the elements in the order given, starting from zeros.

    Args:
      in_features: number of input features.
      out_features: number of features of the state.
      dtype: dtype of the computation; None promotes inputs and parameters.
      param_dtype: dtype in which the parameters are stored.
      rngs: key source, used at construction only.

    Attributes:
      cell: the ``nnx.GRUCell``.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> ej.nn.RecurrentAggregation(3, 8, rngs=nnx.Rngs(0))(jnp.ones((2, 5, 3))).shape
      (2, 8)
    """

    def __init__(
        self, in_features: int, out_features: int, *, dtype: Any = None, param_dtype: Any = jnp.float32, rngs: nnx.Rngs
    ):
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        self.cell = nnx.GRUCell(in_features, out_features, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Reads a sequence.

        Args:
          inputs: ``(*batch, n, in_features)``.
          mask: bool ``(*batch, n)``; the state does not change where it is False. None for all.

        Returns:
          ``(*batch, out_features)``; zeros for an empty sequence.

        Raises:
          ValueError: a shape does not fit.
        """
        if inputs.ndim < 2 or inputs.shape[-1] != self.in_features:
            raise ValueError(f"`inputs` has shape {inputs.shape}; the layer needs (*batch, n, {self.in_features}).")
        mask = jnp.ones(inputs.shape[:-1], bool) if mask is None else require_mask(mask, inputs.shape[:-1])
        sequence = jnp.moveaxis(keep(inputs, mask), -2, 0)

        def read(state: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            x, there = step
            return jnp.where(there[..., None], self.cell(state, x)[0], state), None

        dtype = self.cell.dense_i.dtype or jnp.promote_types(inputs.dtype, self.cell.dense_i.kernel[...].dtype)
        start = jnp.zeros((*inputs.shape[:-2], self.out_features), dtype)
        return jax.lax.scan(read, start, (sequence, jnp.moveaxis(mask, -1, 0)))[0]
