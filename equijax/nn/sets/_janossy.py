"""Janossy pooling: the mean over orders of a function that depends on the order."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.nn._aggregation import Mean
from equijax.nn._mask import keep
from equijax.nn._options import accepted_options, require_no_statistics
from equijax.nn._returned import require_returned
from equijax.nn.sets._layer import InvariantSetLayer, require_set

_LIMIT = 50_000


class JanossyPool(InvariantSetLayer):
    r"""The mean of a function of sequences over all orders of a set.

    .. math:: y = \frac{1}{N!} \sum_π g(x_{π(1)}, …, x_{π(N)}), \qquad
              y = \frac{(N - k)!}{N!} \sum_{i_1, …, i_k \text{ distinct}} g(x_{i_1}, …, x_{i_k})

    The second form, with ``arity`` k, costs n!/(n - k)! calls instead of n!. Without ``rngs`` the mean is enumerated and
    exact; with ``rngs`` it is over ``num_samples`` orders drawn for each set, which is right in expectation: train with
    one, test with several.

    Law: ``layer(act(p, x), act(p, mask)) == layer(x, mask)`` for every permutation p where the mean is enumerated. Padding
    does not matter.

    Args:
      fn: g, any module or function of ``(*batch, k, features)`` that gives ``(*batch, out_features)``, such as
        :class:`RecurrentAggregation`. Without ``arity``, sets with a mask need a g that takes ``mask=`` and passes over
        what is missing.
      arity: k, the number of elements g looks at; None is all.
      num_samples: number of orders drawn when ``rngs`` is given.

    Raises:
      TypeError: ``fn`` can't be called.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> pool = ej.nn.JanossyPool(ej.nn.RecurrentAggregation(3, 8, rngs=rngs), arity=2)
      >>> pool(jnp.ones((4, 5, 3))).shape, pool(jnp.ones((4, 100, 3)), rngs=nnx.Rngs(1)).shape
      ((4, 8), (4, 8))

    References:
      Murphy, Srinivasan, Rao and Ribeiro, "Janossy Pooling", ICLR 2019, arXiv:1811.01900.
    """

    def __init__(self, fn: Any, arity: int | None = None, *, num_samples: int = 1):
        if not callable(fn):
            raise TypeError(f"`fn` is {fn!r}, which can't be called. Give a module or a function of sequences.")
        self.fn: Any = fn
        self.arity = None if arity is None else positive_int(arity, "arity")
        self.num_samples = positive_int(num_samples, "num_samples")

    def __call__(
        self, inputs: jax.Array, mask: jax.Array | None = None, *, rngs: nnx.Rngs | jax.Array | None = None
    ) -> jax.Array:
        """Pools a set.

        Args:
          inputs: ``(*batch, n, features)``.
          mask: bool ``(*batch, n)``, True where an element is there; None for all.
          rngs: draws orders from the stream ``"orders"``, or from a key; None enumerates all orders.

        Returns:
          ``(*batch, out_features)``; zeros for sets with fewer than ``arity`` elements.

        Raises:
          TypeError: there is a mask, no ``arity``, and ``fn`` does not accept ``mask``.
          ValueError: there are too many orders to enumerate, a shape does not fit, or without ``arity`` ``fn`` is an
            ``nnx.Sequential`` with an entry that accepts the mask, which would not reach it.
        """
        mask = require_set(inputs, None, mask)
        n = inputs.shape[-2]
        if mask is not None and self.arity is None and not accepted_options(self.fn, {"mask": mask}):
            raise TypeError(
                f"`fn` is {self.fn!r}, whose call takes no `mask`, so it can't tell which elements are there. Accept "
                "mask=… there, or set `arity`, with which it is called on whole tuples only."
            )
        there = jnp.ones(inputs.shape[:-1], bool) if mask is None else mask
        if rngs is None or n < (self.arity or 0):
            orders = self._all(n)
        else:
            orders = self._drawn(rngs, there)
        orders = jnp.broadcast_to(orders, (*inputs.shape[:-2], *orders.shape[-2:]))
        chosen = jnp.take_along_axis(keep(inputs, mask)[..., None, :, :], orders[..., None], axis=-2)
        present = jnp.take_along_axis(there[..., None, :], orders, axis=-1)
        if self.arity is None:
            values = self.fn(chosen) if mask is None else self.fn(chosen, mask=present)
            counted = None
        else:
            counted = present.all(axis=-1)
            require_no_statistics(self.fn, None if mask is None else counted)
            values = self.fn(keep(chosen, counted))
        values = require_returned(values, getattr(values, "shape", ()), "fn", "one vector for each sequence")
        if values.ndim < 2 or values.shape[:-1] != orders.shape[:-1]:
            raise ValueError(
                f"`fn` makes {jnp.shape(values)} of {chosen.shape}; it must give one vector for each sequence, "
                f"{(*orders.shape[:-1], 'out_features')}."
            )
        return Mean().over_axis(values, counted)

    def _all(self, n: int) -> jax.Array:
        """Every order, int32 ``(orders, k)``."""
        arity = n if self.arity is None else self.arity
        number = math.perm(n, arity)
        if number > _LIMIT:
            raise ValueError(
                f"`inputs` has {n} elements, which have {number} ordered tuples of {arity}: more than {_LIMIT} are not "
                "enumerated. Draw some of them by passing rngs= at the call, or set a smaller `arity`."
            )
        return jnp.asarray(_tuples(n, arity))

    def _drawn(self, rngs: nnx.Rngs | jax.Array, there: jax.Array) -> jax.Array:
        """Random orders with what is there in front, int32 ``(*batch, num_samples, k)``."""
        key = rngs if isinstance(rngs, jax.Array) else rngs["orders"]()
        *batch, n = there.shape
        score = jax.random.uniform(key, (*batch, self.num_samples, n))
        orders = jnp.argsort(jnp.where(there[..., None, :], score, 2.0), axis=-1).astype(jnp.int32)
        return orders if self.arity is None else orders[..., : self.arity]


@bounded
def _tuples(n: int, arity: int) -> np.ndarray:
    """All ordered tuples of distinct numbers below n, int32 ``(n! / (n - arity)!, arity)``. Read-only."""
    found = list(itertools.permutations(range(n), arity))
    return read_only(np.array(found, np.int32).reshape(len(found), arity))
