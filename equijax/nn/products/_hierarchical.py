"""Sets of sets."""

from equijax.actions import WreathAction
from equijax.nn.products._pooled import EVERYTHING, WITHIN_ROW, PooledLinear


class HierarchicalSetLinear(PooledLinear):
    r"""The equivariant linear layer on sets of sets, such as the sentences of a text or the points of several clusters.

    .. math:: y_{ij} = x_{ij} A + \mathrm{pool}_{l}(x_{il})\, B_1 + \mathrm{pool}_{kl}(x_{kl})\, B_2 + c

    The n sets are permuted, and the m points of each independently of the other sets: the wreath product S_m ≀ S_n, whose
    action is ``WreathAction()``. So point j of one set has nothing to do with point j of another one, and of the four terms
    of :class:`ExchangeableLinear` the pool over a column is gone. With the mean or the sum this is *every* linear layer
    that commutes with the group: three weights for each pair of features (:meth:`to_orbit_weights`). Sets of different
    sizes are padded and masked.

    Law: ``layer(act(g, x), act(g, mask)) == act(g, layer(x, mask))`` for every g of ``WreathProduct(S_n, S_m)``. Padding
    does not matter. A pool over nothing is 0.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      aggregation: the pool, a word such as ``"mean"``, ``"sum"``, ``"max"``, or an :class:`Aggregation`.
      use_bias: whether to add a bias.
      dtype: dtype of the computation; None promotes inputs and parameters. Pools are formed in at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: called with shape ``(in_features + 2 · pooled features, out_features)``, the true fan-in.
      bias_init: initialiser of the bias.
      promote_dtype: function that promotes ``(inputs, kernel, pool_kernel, bias)``.
      rngs: key source, used at construction only.

    Attributes:
      kernel: Param ``(in_features, out_features)``, A.
      pool_kernel: Param ``(2, pooled features, out_features)``: B of the point's own set, and of everything.
      bias: Param ``(out_features,)``, c; or None.

    Raises:
      TypeError: the aggregation depends on the order.

    Example: three sets of at most five points.
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.HierarchicalSetLinear(2, 8, rngs=nnx.Rngs(0))
      >>> there = jnp.arange(5)[None, :] < jnp.array([5, 2, 0])[:, None]
      >>> layer(jnp.ones((3, 5, 2)), mask=there).shape
      (3, 5, 8)

    References:
      Wang, Albooyeh and Ravanbakhsh, "Equivariant Networks for Hierarchical Structures", NeurIPS 2020, arXiv:2006.03627.
    """

    _pools = (WITHIN_ROW, EVERYTHING)

    @property
    def in_action(self) -> WreathAction:
        """Permutes the sets, and the points of each, however many there are."""
        return WreathAction()
