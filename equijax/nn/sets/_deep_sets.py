"""Invariant layers on sets: a pool, and networks around it."""

from typing import Any

import jax
import jax.numpy as jnp

from equijax.nn._aggregation import as_aggregation
from equijax.nn._mask import keep
from equijax.nn._options import accepted_options
from equijax.nn._returned import require_batch
from equijax.nn.sets._layer import InvariantSetLayer, require_set


class SetPool(InvariantSetLayer):
    r"""One vector for a set: sum, mean, extremes, variance, quantiles, or several side by side.

    .. math:: y = \mathrm{pool}_i(x_i)

    Law: ``layer(act(p, x), act(p, mask)) == layer(x, mask)`` for every permutation p. Padding does not matter; an empty set
    gives 0.

    Args:
      aggregation: a word (``"sum"``, ``"mean"``, ``"max"``, ``"min"``, ``"logsumexp"``, ``"var"``, ``"std"``,
        ``"median"``), an :class:`Aggregation` such as ``Quantiles((0.25, 0.75))``, or several, whose features are put side
        by side.

    Raises:
      TypeError: the aggregation depends on the order.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.SetPool(("mean", "std"))(jnp.ones((2, 5, 3))).shape
      (2, 6)
    """

    def __init__(self, aggregation: Any = "mean"):
        self.aggregation = as_aggregation(aggregation)

    def pooled_features(self, in_features: int) -> int:
        """Returns the number of features of the result for sets with ``in_features``."""
        return self.aggregation.out_features(in_features)

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Pools a set.

        Args:
          inputs: ``(*batch, n, features)``.
          mask: bool ``(*batch, n)``, True where an element is there; None for all.

        Returns:
          ``(*batch, out_features)``.
        """
        return self.aggregation.over_axis(inputs, require_set(inputs, None, mask))


class DeepSet(InvariantSetLayer):
    r"""An invariant network: encode the elements, pool, decode.

    .. math:: y = ρ(\mathrm{pool}_i(φ(x)_i))

    With φ the same function of every element this is the network of deep sets; with φ a chain of set attention blocks and
    an :class:`AttentionPool` it is the set transformer.

    Law: ``layer(act(p, x), act(p, mask)) == layer(x, mask)`` for every permutation p, if φ is equivariant. Padding does not
    matter.

    Args:
      phi: encoder, ``(*batch, n, features)`` to ``(*batch, n, hidden)``: a Flax module or function that treats every element
        alike, or an equivariant layer of sets. It is handed the mask if its call accepts one.
      rho: decoder of the pooled vector, any module or function.
      aggregation: as in :class:`SetPool`, or an invariant layer such as :class:`AttentionPool`.

    Example:
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> phi = nnx.Sequential(nnx.Linear(3, 16, rngs=rngs), jax.nn.relu)
      >>> model = ej.nn.DeepSet(phi, nnx.Linear(16, 4, rngs=rngs), aggregation="sum")
      >>> model(jnp.ones((2, 5, 3)), mask=jnp.ones((2, 5), bool)).shape
      (2, 4)

    References:
      Zaheer et al., "Deep Sets", NeurIPS 2017, arXiv:1703.06114, Theorem 2.
    """

    def __init__(self, phi: Any, rho: Any, *, aggregation: Any = "sum"):
        for name, part in (("phi", phi), ("rho", rho)):
            if not callable(part):
                raise TypeError(f"`{name}` is {part!r}, which can't be called. Give a module or a function.")
        self.phi: Any = phi
        self.rho: Any = rho
        self.pool = aggregation if isinstance(aggregation, InvariantSetLayer) else SetPool(aggregation)

    def __call__(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Applies the network.

        Args:
          inputs: ``(*batch, n, features)``.
          mask: bool ``(*batch, n)``, True where an element is there; None for all.

        Returns:
          What ``rho`` makes of the pooled set.

        Raises:
          ValueError: a shape does not fit, ``phi`` loses the axis of the set, it is an ``nnx.Sequential`` with an entry
            that accepts the mask, which would not reach it, or it takes statistics of a batch without taking the mask.
        """
        mask = require_set(inputs, None, mask)
        options = {} if mask is None else accepted_options(self.phi, {"mask": mask})
        encoded = self.phi(keep(inputs, mask), **options)
        if jnp.shape(encoded)[:-1] != inputs.shape[:-1]:
            raise ValueError(
                f"`phi` makes {jnp.shape(encoded)} of {inputs.shape}; it must keep the elements, (*batch, n, hidden): apply "
                "it to each element alike, and leave pooling to `aggregation`."
            )
        return require_batch(self.rho(self.pool(encoded, mask)), inputs.shape[:-2], "rho")
