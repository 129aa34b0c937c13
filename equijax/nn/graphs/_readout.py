"""From a graph to one vector: pools that keep the graphs of a batch apart."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._numbers import positive_int
from equijax.actions import Action, TrivialAction
from equijax.graphs import Graph
from equijax.nn._aggregation import as_aggregation
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._dropout import DropsAttention, Streams, dropped_rows
from equijax.nn._mask import keep
from equijax.nn.graphs._edge_softmax import exponentials, softmax_of
from equijax.nn.graphs._heads import apart, head_width, join_heads
from equijax.nn.graphs._layer import GraphLayer, masked, require_graph_action, require_nodes


class InvariantGraphLayer(GraphLayer):
    """A layer that takes a graph and returns an array that does not depend on the numbering of nodes and edges."""

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action that does nothing."""
        return TrivialAction(require_graph_action(in_action).group)


class GraphPool(InvariantGraphLayer):
    r"""One vector for each graph of a batch: sum, mean, extremes, spread, quantiles of its nodes, or several side by side.

    .. math:: y_g = \bigoplus_{i:\, \mathrm{graph}(i) = g} x_i

    Law: ``layer(act(g, graph)) == layer(graph)`` for every relabelling of the nodes. Padding and the other graphs of a batch
    change nothing; graphs without nodes and padding graphs give 0.

    Args:
      aggregation: a word (``"sum"``, ``"mean"``, ``"max"``, ``"min"``, ``"logsumexp"``, ``"var"``, ``"std"``, ``"median"``),
        an :class:`Aggregation`, or several, whose results are put side by side.

    Raises:
      TypeError: the aggregation depends on the order.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0], receivers=[1], node_graph=[0, 0, 1])
      >>> ej.nn.GraphPool(("mean", "max"))(graph).shape
      (2, 8)
    """

    def __init__(self, aggregation: Any = "mean"):
        self.aggregation = as_aggregation(aggregation)

    def __call__(self, graph: Graph) -> jax.Array:
        """Pools nodes ``(N, *fibre, features)`` to ``(num_graphs, *fibre, out_features)``."""
        nodes = require_nodes(graph, None, self)
        pooled = self.aggregation.over_segments(nodes, graph.node_graph, graph.num_graphs, graph.node_mask)
        return keep(pooled, graph.graph_mask)


class GraphAttentionPool(InvariantGraphLayer, DropsAttention):
    r"""One vector for each graph of a batch: a mean of its nodes, weighted by a softmax of scores that the nodes give.

    .. math:: y_g = \big\Vert_h \sum_{i} α_i^h (x_i W^h + β^h), \qquad
              α_i^h = \mathrm{softmax}_{i \text{ in } g}(x_i a^h + b^h)

    Law: ``layer(act(g, graph)) == layer(graph)`` for every relabelling of the nodes. Padding and the other graphs of a batch
    change nothing; graphs without nodes and padding graphs give 0.

    Args:
      in_features: number of node features.
      out_features: number of features of the result.
      num_heads: number of heads, a divisor of ``out_features``.
      use_bias: whether to add b and β.
      dropout_rate: the probability with which a weight of the softmax is dropped; what is kept is divided by
        ``1 - dropout_rate``.
      deterministic: whether nothing is dropped, as in a view for evaluation (``nnx.view(layer, deterministic=True)``).
      dtype: dtype of the computation; None promotes inputs and parameters. Softmax and sums are at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of the matrices.
      bias_init: initialiser of the biases.
      rngs: key source, used at construction only.

    Attributes:
      score: ``nnx.Linear``, a and b of all heads.
      value: ``nnx.Linear``, W and β.

    Raises:
      ValueError: ``num_heads`` does not divide ``out_features``.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0], receivers=[1], node_graph=[0, 0, 1])
      >>> ej.nn.GraphAttentionPool(4, 8, num_heads=2, rngs=nnx.Rngs(0))(graph).shape
      (2, 8)

    References:
      Li, Tarlow, Brockschmidt and Zemel, "Gated Graph Sequence Neural Networks", ICLR 2016, arXiv:1511.05493, section 3.2,
      with a softmax in place of the sigmoid.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        num_heads: int = 1,
        *,
        use_bias: bool = True,
        dropout_rate: float = 0.0,
        deterministic: bool = False,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        DropsAttention.__init__(self, dropout_rate, deterministic)
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        self.head_features, self.num_heads = head_width(out_features, num_heads, True), num_heads
        linear = {
            "use_bias": use_bias, "dtype": dtype, "param_dtype": param_dtype, "precision": precision,
            "kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs,
        }  # fmt: skip
        self.score = Linear(in_features, num_heads, **linear)
        self.value = Linear(in_features, out_features, **linear)

    def __call__(
        self,
        graph: Graph,
        *,
        return_attention_weights: bool = False,
        deterministic: bool | None = None,
        rngs: Streams | None = None,
    ) -> Any:
        """Pools the nodes of each graph.

        Args:
          graph: nodes ``(N, *fibre, in_features)``.
          return_attention_weights: whether to return the softmax too.
          deterministic: whether nothing is dropped; None is what the layer was built with.
          rngs: the streams, one of them, or a key.

        Returns:
          ``(num_graphs, *fibre, out_features)``; with ``return_attention_weights`` that and the softmax before dropout,
          ``(N, *fibre, num_heads)``, 0 at padding, at least float32.

        Raises:
          ValueError: dropout lacks ``rngs``.
        """
        x = masked(require_nodes(graph, self.in_features, self), graph.node_mask)
        scores = jax.lax.collapse(self.score(x), 1)
        value = apart(self.value(x), self.num_heads)
        weights, _, total = exponentials(scores, graph.node_graph, graph.num_graphs, graph.node_mask)
        kept = dropped_rows(weights, self.dropout_rate, self.dropout_key(deterministic, rngs))
        summed = jax.ops.segment_sum(kept[..., None] * value.astype(weights.dtype), graph.node_graph, graph.num_graphs)
        pooled = join_heads((summed / total[..., None]).astype(value.dtype), x.shape[1:-1], self.num_heads, True)
        y = keep(pooled, graph.graph_mask)
        return (y, softmax_of(weights, total, graph.node_graph, x.shape[1:-1])) if return_attention_weights else y
