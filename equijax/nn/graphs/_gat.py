"""Graph attention, in its first form and in that whose attention depends on the query."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._numbers import positive_int
from equijax.graphs import Graph
from equijax.nn._aggregation import Mean
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._dropout import DropsAttention, Streams, dropped_rows
from equijax.nn._parameters import new_offset, new_parameter, read, read_offset, read_optional
from equijax.nn.graphs._edge_softmax import attention_sum, exponentials, softmax_of
from equijax.nn.graphs._heads import apart, head_width, join_heads, per_head
from equijax.nn.graphs._layer import GraphLayer, masked, require_edges, require_nodes
from equijax.nn.graphs._messages import aggregate, on_edges, with_fibre

default_attention_init = nnx.initializers.variance_scaling(1.0, "fan_in", "normal", in_axis=-1, out_axis=-2)


class GATConv(GraphLayer, DropsAttention):
    r"""Graph attention: a mean of neighbours, weighted by a softmax of scores that nodes and edges give.

    .. math:: y_i = \big\Vert_h \sum_{j → i} α^h_{ji}\, x_j W^h + β, \qquad
              α^h_{ji} = \mathrm{softmax}_{j} \; \mathrm{LeakyReLU}\big(a_s^h · x_j W^h + a_r^h · x_i W^h +
              a_e^h · e_{ji} W_e^h\big)

    With ``self_loops`` every node is also its own neighbour once, in addition to edges from a node to itself; the features
    of that loop are the mean of those of the edges that arrive.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding and the other graphs of a batch change nothing; without any neighbour the sum is 0.
    With dropout another order of the edges draws other noise: then the law holds in distribution.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      num_heads: number of heads.
      edge_features: number of features on the edges that enter the scores; with 0 ``graph.edges`` is not looked at.
      concat: whether heads are put side by side, each with ``out_features // num_heads`` features; else each has all
        ``out_features``, and they are averaged.
      self_loops: whether every node is its own neighbour.
      negative_slope: that of LeakyReLU.
      dropout_rate: the probability with which a weight of the softmax is dropped; what is kept is divided by
        ``1 - dropout_rate``.
      deterministic: whether nothing is dropped, as in a view for evaluation (``nnx.view(layer, deterministic=True)``).
      use_bias: whether to add β.
      dtype: dtype of the computation; None promotes inputs and parameters. Scores and softmax are at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of the matrices.
      attention_init: initialiser of the attention vectors, called with ``(num_heads, head_features)``.
      bias_init: initialiser of β.
      rngs: key source, used at construction only.

    Attributes:
      linear: ``nnx.Linear`` without bias, W of all heads.
      sender: Param ``(num_heads, head_features)``, a_s; likewise ``receiver`` and, with edges, ``edge_attention``.
      edge: ``nnx.Linear`` without bias, W_e; or None.
      bias: Param ``(out_features,)``; or None.

    Raises:
      ValueError: the heads do not divide the features.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.GATConv(4, 8, num_heads=2, rngs=nnx.Rngs(0))(graph).nodes.shape
      (3, 8)

    References:
      Veličković et al., "Graph Attention Networks", ICLR 2018, arXiv:1710.10903, section 2.1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        num_heads: int = 1,
        *,
        edge_features: int = 0,
        concat: bool = True,
        self_loops: bool = True,
        negative_slope: float = 0.2,
        dropout_rate: float = 0.0,
        deterministic: bool = False,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        attention_init: Any = default_attention_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        DropsAttention.__init__(self, dropout_rate, deterministic)
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        self.head_features = head_width(out_features, num_heads, concat)
        self.num_heads, self.edge_features = num_heads, positive_int(edge_features, "edge_features", 0)
        self.concat, self.self_loops, self.negative_slope = bool(concat), bool(self_loops), float(negative_slope)
        self.dtype = dtype
        stored = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        linear = {"precision": precision, "kernel_init": kernel_init, **stored}
        width = num_heads * self.head_features
        vector = lambda: new_parameter(attention_init, self._vector_shape, param_dtype, rngs, "attention_init")  # noqa: E731
        self._build(width, linear, {"use_bias": use_bias, "bias_init": bias_init}, vector)
        self.edge = Linear(edge_features, width, use_bias=False, **linear) if edge_features else nnx.data(None)
        self.bias = new_offset(use_bias, (out_features,), bias_init, param_dtype, rngs)

    def _build(self, width: int, linear: dict, bias: dict, vector: Callable[[], nnx.Param]) -> None:
        """Makes the parameters of values and scores; what :class:`GATv2Conv` has otherwise."""
        del bias
        self.linear = Linear(self.in_features, width, use_bias=False, **linear)
        self.sender, self.receiver = vector(), vector()
        self.edge_attention = vector() if self.edge_features else nnx.data(None)

    def __call__(
        self,
        graph: Graph,
        *,
        return_attention_weights: bool = False,
        deterministic: bool | None = None,
        rngs: Streams | None = None,
    ) -> Any:
        """Applies the layer.

        Args:
          graph: nodes ``(N, *fibre, in_features)``, and with ``edge_features`` edges ``(E, edge_features)``.
          return_attention_weights: whether to return the softmax too.
          deterministic: whether nothing is dropped; None is what the layer was built with.
          rngs: the streams, one of them, or a key; dropout takes one key, and the noise of an edge depends on that key and
            the number of the edge alone.

        Returns:
          The graph with nodes ``(N, *fibre, out_features)``, zeros at padding; with ``return_attention_weights`` that and
          the softmax before dropout, ``(E, *fibre, num_heads)``, 0 on padded edges, at least float32.
          What is missing to a sum of 1 is the weight of the loop.

        Raises:
          ValueError: dropout lacks ``rngs``.
        """
        inputs, key = self._inputs(graph), self.dropout_key(deterministic, rngs)
        values, nodes, score = self._scored(inputs[0])
        y, weights = self._attend(score, nodes, inputs, values, graph, key)
        return (y, weights()) if return_attention_weights else y

    def _scored(self, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array], Callable]:
        """Returns the values, what scores read of the nodes, and the score of edges; :class:`GATv2Conv` has its own."""
        values = self.linear(x)
        vectors = {name: read(getattr(self, name), name, self._vector_shape) for name in ("sender", "receiver")}
        nodes = {name: per_head(values, self.num_heads, vector) for name, vector in vectors.items()}
        edge_layer, edge_vector = self.edge, read_optional(self.edge_attention, "edge_attention", self._vector_shape)

        def score(sender: dict, receiver: dict, edge: jax.Array | None) -> jax.Array:
            both = sender["sender"] + receiver["receiver"]
            if edge is not None and edge_layer is not None:
                of_edge = per_head(edge_layer(edge), self.num_heads, edge_vector)
                both = both + with_fibre(of_edge, both.ndim).astype(both.dtype)
            return jax.nn.leaky_relu(both, self.negative_slope)

        return values, nodes, score

    @property
    def _vector_shape(self) -> tuple[int, int]:
        return self.num_heads, self.head_features

    def _inputs(self, graph: Graph) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
        """Returns masked nodes, features of edges, and those of loops: the mean of the edges that arrive."""
        x = masked(require_nodes(graph, self.in_features, self), graph.node_mask)
        if self.edge is None:
            return x, None, None
        edges = require_edges(graph, self.edge_features, self)
        if not self.self_loops:
            return x, edges, None
        return x, edges, aggregate(Mean(), lambda sender, receiver, edge: edge, graph, {}, edges)

    def _attend(self, score: Callable, nodes: Any, inputs: tuple, values: jax.Array, graph: Graph, key: Any) -> tuple:
        """Sums values ``(N, *fibre, heads · features)`` by scores of edges ``(E, *fibre, heads)``.

        Returns:
          The graph, and a function that returns the softmax.
        """
        x, edges, loops = inputs
        scores = jax.lax.collapse(on_edges(score, graph, nodes, edges), 1)
        own = jax.lax.collapse(score(nodes, nodes, loops), 1) if self.self_loops else None
        weights, own, total = exponentials(scores, graph.receivers, graph.num_nodes, graph.edge_mask, own)
        of_edges, of_loops = (None, None) if key is None else jax.random.split(key)
        kept = dropped_rows(weights, self.dropout_rate, of_edges)
        own = None if own is None else dropped_rows(own, self.dropout_rate, of_loops)
        y = attention_sum((kept, own, total), apart(values, self.num_heads), graph)
        y = join_heads(y, x.shape[1:-1], self.num_heads, self.concat)
        bias = read_offset(self.bias, (self.out_features,))
        if bias is not None:
            y, bias = dtypes.promote_dtype((y, bias), dtype=self.dtype)
            y = y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
        softmax = lambda: softmax_of(weights, total, graph.receivers, x.shape[1:-1])  # noqa: E731
        return graph.replace(nodes=masked(y, graph.node_mask)), softmax


class GATv2Conv(GATConv):
    r"""Graph attention whose ranking of the neighbours depends on the node that looks at them.

    .. math:: y_i = \big\Vert_h \sum_{j → i} α^h_{ji}\, s_j^h + β, \qquad
              α^h_{ji} = \mathrm{softmax}_{j} \; a^h · \mathrm{LeakyReLU}\big(s_j^h + r_i^h + e_{ji} W_e^h\big)

    with :math:`s_j = x_j W_s + β_s` and :math:`r_i = x_i W_r + β_r`. With ``self_loops`` every node is also its own
    neighbour once, in addition to edges from a node to itself; the features of that loop are the mean of those of the edges
    that arrive.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding and the other graphs of a batch change nothing; without any neighbour the sum is 0.
    With dropout another order of the edges draws other noise: then the law holds in distribution.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      num_heads: number of heads.
      share_weights: whether :math:`W_r, β_r` are :math:`W_s, β_s`.
      **options: those of :class:`GATConv`; ``rngs`` is required.

    Attributes:
      sender: ``nnx.Linear``, W_s and β_s.
      receiver: ``nnx.Linear``, W_r and β_r; None where they are shared.
      attention: Param ``(num_heads, head_features)``, a.
      edge: ``nnx.Linear`` without bias, W_e; or None.
      bias: Param ``(out_features,)``; or None.

    Raises:
      ValueError: the heads do not divide the features.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2], edges=jnp.ones((2, 5)))
      >>> ej.nn.GATv2Conv(4, 8, num_heads=2, edge_features=5, rngs=nnx.Rngs(0))(graph).nodes.shape
      (3, 8)

    References:
      Brody, Alon and Yahav, "How Attentive are Graph Attention Networks?", ICLR 2022, arXiv:2105.14491, section 3.
    """

    def __init__(
        self, in_features: int, out_features: int, num_heads: int = 1, *, share_weights: bool = False, **options: Any
    ):
        self.share_weights = bool(share_weights)
        super().__init__(in_features, out_features, num_heads, **options)

    def _build(self, width: int, linear: dict, bias: dict, vector: Callable[[], nnx.Param]) -> None:
        one = lambda: Linear(self.in_features, width, **linear, **bias)  # noqa: E731
        self.sender = one()
        self.receiver = nnx.data(None) if self.share_weights else one()
        self.attention = vector()

    def _scored(self, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array], Callable]:
        values, attention = self.sender(x), read(self.attention, "attention", self._vector_shape)
        nodes = {"sender": values, "receiver": values if self.receiver is None else self.receiver(x)}

        def score(sender: dict, receiver: dict, edge: jax.Array | None) -> jax.Array:
            both = sender["sender"] + receiver["receiver"]
            if edge is not None and self.edge is not None:
                both = both + with_fibre(self.edge(edge), both.ndim).astype(both.dtype)
            return per_head(jax.nn.leaky_relu(both, self.negative_slope), self.num_heads, attention)

        return values, nodes, score
