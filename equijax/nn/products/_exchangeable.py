"""Matrices whose rows and columns have no order: users and items."""

from equijax.actions import ProductAction, SetAction
from equijax.nn.products._pooled import EVERYTHING, WITHIN_COLUMN, WITHIN_ROW, PooledLinear


class ExchangeableLinear(PooledLinear):
    r"""The equivariant linear layer on exchangeable matrices, such as ratings of items by users.

    .. math:: y_{ij} = x_{ij} A + \mathrm{pool}_{l}(x_{il})\, B_1 + \mathrm{pool}_{k}(x_{kj})\, B_2
              + \mathrm{pool}_{kl}(x_{kl})\, B_3 + c

    Rows are permuted, and columns independently of them: S_n × S_m. With the mean or the sum this is *every* linear layer
    that commutes with both: four weights for each pair of features (:meth:`to_orbit_weights`), at the cost of one product.
    With missing entries (``mask``) the pools run over the entries that are there.

    Law: ``layer(act((p, q), x), act((p, q), mask)) == act((p, q), layer(x, mask))`` for all permutations p of the rows and q
    of the columns. What missing entries hold does not matter. A pool over nothing is 0.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      aggregation: the pool, a word such as ``"mean"``, ``"sum"``, ``"max"``, or an :class:`Aggregation`.
      use_bias: whether to add a bias.
      dtype: dtype of the computation; None promotes inputs and parameters. Pools are formed in at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: called with shape ``(in_features + 3 · pooled features, out_features)``, the true fan-in.
      bias_init: initialiser of the bias.
      promote_dtype: function that promotes ``(inputs, kernel, pool_kernel, bias)``.
      rngs: key source, used at construction only.

    Attributes:
      kernel: Param ``(in_features, out_features)``, A.
      pool_kernel: Param ``(3, pooled features, out_features)``: B of the row, of the column, of everything.
      bias: Param ``(out_features,)``, c; or None.

    Raises:
      TypeError: the aggregation depends on the order.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.ExchangeableLinear(1, 8, rngs=nnx.Rngs(0))
      >>> rated = jnp.ones((20, 30), bool)
      >>> layer(jnp.ones((20, 30, 1)), mask=rated).shape, layer.pool_kernel.shape
      ((20, 30, 8), (3, 1, 8))

    References:
      Hartford, Graham, Leyton-Brown and Ravanbakhsh, "Deep Models of Interactions Across Sets", ICML 2018,
      arXiv:1803.02879.
    """

    _pools = (WITHIN_ROW, WITHIN_COLUMN, EVERYTHING)

    @property
    def in_action(self) -> ProductAction:
        """Permutes rows and columns, however many there are."""
        return ProductAction(SetAction(), SetAction())
