"""GraphSAGE: aggregate the neighbours, then one matrix for them and one for the node."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._dtypes import accumulation_dtype
from equijax._numbers import positive_int
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn.graphs._gcn import inverse_root
from equijax.nn.graphs._message_passing import MessagePassing


class SAGEConv(MessagePassing):
    r"""GraphSAGE: one matrix for the aggregate of the neighbours, one for the node itself.

    .. math:: y_i = \bigoplus_{j → i} x_j \; W_n + x_i W_r + β, \qquad \text{then perhaps } y_i / |y_i|

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding and the other graphs of a batch change nothing; a node without neighbours keeps :math:`x_i W_r + β`.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      aggregation: a word, an :class:`Aggregation`, or several. The aggregation by a recurrent network of the paper depends
        on the order and is refused.
      root_weight: whether there is :math:`x_i W_r`.
      normalize: whether to divide the features of each node by their length; a vector of zeros stays.
      use_bias: whether to add β.
      dtype: dtype of the computation; None promotes inputs and parameters. Sums are at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of the matrices.
      bias_init: initialiser of β.
      rngs: key source, used at construction only.

    Attributes:
      neighbours: ``nnx.Linear``, W_n and β.
      root: ``nnx.Linear``, W_r; or None.

    Raises:
      TypeError: the aggregation depends on the order.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.SAGEConv(4, 8, aggregation="max", rngs=nnx.Rngs(0))(graph).nodes.shape
      (3, 8)

    References:
      Hamilton, Ying and Leskovec, "Inductive Representation Learning on Large Graphs", NeurIPS 2017, arXiv:1706.02216,
      section 3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        aggregation: Any = "mean",
        root_weight: bool = True,
        normalize: bool = False,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        super().__init__(aggregation=aggregation)
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        self.normalize = bool(normalize)
        stored = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        common = {"precision": precision, "kernel_init": kernel_init, **stored}
        aggregated = self.aggregation.out_features(in_features)
        self.neighbours = Linear(aggregated, out_features, use_bias=use_bias, bias_init=bias_init, **common)
        self.root = Linear(in_features, out_features, use_bias=False, **common) if root_weight else nnx.data(None)

    def update(self, nodes: jax.Array, aggregated: jax.Array) -> jax.Array:
        """Returns ``(N, *fibre, out_features)``."""
        y = self.neighbours(aggregated)
        y = y if self.root is None else y + self.root(nodes)
        return _unit(y) if self.normalize else y


def _unit(x: jax.Array) -> jax.Array:
    """Divides vectors by their length; zeros stay. They are scaled first, so that squares neither overflow nor vanish."""
    wide = x.astype(accumulation_dtype(x.dtype))
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(wide), -1, keepdims=True))
    wide = wide / jnp.where(largest == 0, jnp.ones((), wide.dtype), largest)
    return (wide * inverse_root(jnp.sum(jnp.square(wide), -1, keepdims=True))).astype(x.dtype)
