"""Attention to neighbours, and the block of local message passing and global attention."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._arguments import function
from equijax._dtypes import accumulation_dtype
from equijax._exported import is_open
from equijax._numbers import positive_int
from equijax.graphs import Graph, message_reduce, neighbour_sum, nodes_from_dense, to_dense
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._dropout import DropsAttention, Streams, as_streams, dropped, dropped_rows
from equijax.nn._norm import normalised
from equijax.nn._options import accepted_options
from equijax.nn.graphs._edge_softmax import exponentials, softmax_of
from equijax.nn.graphs._heads import apart, head_width, join_heads, per_head
from equijax.nn.graphs._layer import GraphLayer, masked, require_edges, require_nodes, require_same_graph
from equijax.nn.graphs._messages import on_edges, with_fibre
from equijax.nn.sets._multihead import FeedForward, attend

_LARGEST_SCORES = 2**23  # numbers held at once: 32 MiB in float32


class TransformerConv(GraphLayer, DropsAttention):
    r"""Scaled dot-product attention of every node to its neighbours.

    .. math:: y_i = \big\Vert_h \sum_{j → i} α^h_{ji} (v_j^h + e_{ji} W_e^h) + x_i W_r + β_r, \qquad
              α^h_{ji} = \mathrm{softmax}_{j} \; \frac{q_i^h · (k_j^h + e_{ji} W_e^h)}{\sqrt{d}}

    with queries, keys and values linear in the nodes, and d the features of one head.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding and the other graphs of a batch change nothing; without any neighbour the sum is 0.
    With dropout another order of the edges draws other noise: then the law holds in distribution.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      num_heads: number of heads.
      edge_features: number of features on the edges; with 0 ``graph.edges`` is not looked at.
      concat: whether heads are put side by side, each with ``out_features // num_heads`` features; else each has all
        ``out_features``, and they are averaged.
      root_weight: whether to add :math:`x_i W_r + β_r`.
      dropout_rate: the probability with which a weight of the softmax is dropped; what is kept is divided by
        ``1 - dropout_rate``.
      deterministic: whether nothing is dropped, as in a view for evaluation (``nnx.view(layer, deterministic=True)``).
      use_bias: whether queries, keys, values and the last term have biases.
      dtype: dtype of the computation; None promotes inputs and parameters. Scores and softmax are at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of the matrices.
      bias_init: initialiser of the biases.
      rngs: key source, used at construction only.

    Attributes:
      query: ``nnx.Linear``; likewise ``key``, ``value``, ``edge`` (without bias, or None), ``root`` (or None).

    Raises:
      ValueError: the heads do not divide the features.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.TransformerConv(4, 8, num_heads=2, rngs=nnx.Rngs(0))(graph).nodes.shape
      (3, 8)

    References:
      Shi et al., "Masked Label Prediction: Unified Message Passing Model for Semi-Supervised Classification", IJCAI 2021,
      arXiv:2009.03509, section 3.1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        num_heads: int = 1,
        *,
        edge_features: int = 0,
        concat: bool = True,
        root_weight: bool = True,
        dropout_rate: float = 0.0,
        deterministic: bool = False,
        use_bias: bool = True,
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
        self.edge_features = positive_int(edge_features, "edge_features", 0)
        self.head_features = head_width(out_features, num_heads, concat)
        self.num_heads, self.concat = num_heads, bool(concat)
        stored = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        common = {"precision": precision, "kernel_init": kernel_init, **stored}
        linear = {"use_bias": use_bias, "bias_init": bias_init, **common}
        width = num_heads * self.head_features
        self.query, self.key, self.value = (Linear(in_features, width, **linear) for _ in range(3))
        self.edge = Linear(edge_features, width, use_bias=False, **common) if edge_features else nnx.data(None)
        self.root = Linear(in_features, out_features, **linear) if root_weight else nnx.data(None)

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

        Raises:
          ValueError: dropout lacks ``rngs``.
        """
        x = masked(require_nodes(graph, self.in_features, self), graph.node_mask)
        query, key, value = self.query(x), self.key(x), self.value(x)
        edges = None if self.edge is None else require_edges(graph, self.edge_features, self)
        wide = accumulation_dtype(query.dtype)

        def score(sender: dict, receiver: dict, edge: jax.Array | None) -> jax.Array:
            k = sender["key"]
            if edge is not None and self.edge is not None:
                k = k + with_fibre(self.edge(edge), k.ndim).astype(k.dtype)
            return per_head(receiver["query"].astype(wide) * k.astype(wide), self.num_heads)

        scores = on_edges(score, graph, {"key": key, "query": query}, edges)
        scores = jax.lax.collapse(scores * jnp.asarray(self.head_features**-0.5, wide), 1)
        weights, _, total = exponentials(scores, graph.receivers, graph.num_nodes, graph.edge_mask)
        kept = dropped_rows(weights, self.dropout_rate, self.dropout_key(deterministic, rngs))
        y = neighbour_sum(apart(value, self.num_heads).astype(wide), graph, kept)
        y = y if self.edge is None else y + self._edge_values(self.edge, kept, edges, graph)
        y = join_heads((y / total[..., None]).astype(value.dtype), x.shape[1:-1], self.num_heads, self.concat)
        y = y if self.root is None else y + self.root(x)
        out = graph.replace(nodes=masked(y, graph.node_mask))
        return (out, softmax_of(weights, total, graph.receivers, x.shape[1:-1])) if return_attention_weights else out

    def _edge_values(self, layer: Linear, weights: jax.Array, edges: Any, graph: Graph) -> jax.Array:
        """Sums what edges add to values, with weights ``(E, |fibre| · heads)``."""

        def message(sender: Any, receiver: Any, edge: dict) -> jax.Array:
            del sender, receiver
            added = apart(layer(edge["edge"]), self.num_heads).astype(edge["weight"].dtype)
            repeated = jnp.tile(added, (1, edge["weight"].shape[1] // self.num_heads, 1))
            return edge["weight"][..., None] * repeated

        return message_reduce(message, graph, {}, {"weight": weights, "edge": edges})


class GraphTransformerBlock(GraphLayer, DropsAttention):
    r"""A block of a graph transformer: messages to neighbours, attention to all nodes of the same graph, a network for each.

    .. math::
        z = \mathrm{LN}(x + \mathrm{local}(x)) + \mathrm{LN}(x + \mathrm{MHA}(x)), \qquad
        y = \mathrm{LN}(z + \mathrm{FF}(z))

    The norms are ``nnx.LayerNorm`` on the features of each node (the paper's batch norm would mix graphs). Attention never
    leaves a graph and never sees padding. Edges are what the local layer makes of them.

    Cost: without ``nodes_per_graph`` all pairs of nodes of the batch are scored, N² · num_heads numbers, in portions of
    queries where these are many; right for one graph, or few. With ``nodes_per_graph`` = m each graph is laid out in m
    places, and num_graphs · m² · num_heads numbers are scored; right for batches of small graphs.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding and the other graphs of a batch change nothing.

    Args:
      features: number of features, in and out.
      num_heads: number of heads, a divisor of ``features``.
      local: a layer from graph to graph that keeps the number of features, e.g. :class:`GINEConv`; None for attention alone.
      hidden_features: width of the last network; None is ``2 features``.
      nodes_per_graph: the largest number of nodes of a graph, static; None for no bound. A graph with more nodes is a
        ``ValueError``; where it is traced, the nodes of that graph become NaN.
      use_norm: whether to normalise.
      dropout_rate: the probability with which a weight of the softmax is dropped in the attention to all nodes; what is
        kept is divided by ``1 - dropout_rate``.
      deterministic: whether nothing is dropped, as in a view for evaluation (``nnx.view(layer, deterministic=True)``).
      dtype: dtype of the computation; None promotes inputs and parameters. Scores and softmax are at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of the matrices.
      bias_init: initialiser of the biases.
      rngs: key source, used at construction only.

    Attributes:
      local: the local layer, or None.
      query: ``nnx.Linear``; likewise ``key``, ``value``, ``out``.
      feed_forward: the last network, ``hidden`` and ``out``.
      local_norm: ``nnx.LayerNorm``, or None; likewise ``global_norm`` and ``last_norm``.

    Raises:
      ValueError: ``num_heads`` does not divide ``features``.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> graph = ej.Graph(jnp.ones((3, 8)), senders=[0, 1], receivers=[1, 2])
      >>> block = ej.nn.GraphTransformerBlock(8, 2, local=ej.nn.GCNConv(8, 8, rngs=rngs), rngs=rngs)
      >>> block(graph).nodes.shape
      (3, 8)

    References:
      Rampášek et al., "Recipe for a General, Powerful, Scalable Graph Transformer", NeurIPS 2022, arXiv:2205.12454,
      section 3.
    """

    def __init__(
        self,
        features: int,
        num_heads: int = 4,
        *,
        local: Callable[[Graph], Graph] | None = None,
        hidden_features: int | None = None,
        nodes_per_graph: int | None = None,
        use_norm: bool = True,
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
        self.features = positive_int(features, "features")
        if local is not None:
            function(local, "local", "a layer or function of one graph")
        self.num_heads = num_heads
        self.head_features = head_width(features, num_heads, True)
        self.nodes_per_graph = None if nodes_per_graph is None else positive_int(nodes_per_graph, "nodes_per_graph")
        hidden = 2 * features if hidden_features is None else positive_int(hidden_features, "hidden_features")
        self.precision = precision
        stored = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        linear = {"precision": precision, "kernel_init": kernel_init, "bias_init": bias_init, **stored}
        norm = lambda: nnx.LayerNorm(features, **stored) if use_norm else nnx.data(None)  # noqa: E731
        self.local = nnx.data(None) if local is None else local
        self.query, self.key, self.value, self.out = (Linear(features, features, **linear) for _ in range(4))
        self.feed_forward = FeedForward(features, hidden, **linear)
        self.local_norm = nnx.data(None) if local is None else norm()
        self.global_norm, self.last_norm = norm(), norm()

    def __call__(self, graph: Graph, *, deterministic: bool | None = None, rngs: Streams | None = None) -> Graph:
        """Applies the block.

        Args:
          graph: nodes ``(N, features)``.
          deterministic: whether nothing is dropped; None is what the layers were built with. The local layer gets it too,
            where its call takes it.
          rngs: the streams, one of them, or a key; the local layer gets them too, where its call takes them.

        Returns:
          The graph with nodes ``(N, features)``, zeros at padding.

        Raises:
          ValueError: the local layer changed the number of features, or a graph has more nodes than there is room for.
        """
        x = require_nodes(graph, self.features, self)
        if x.ndim != 2:
            raise ValueError(f"`graph.nodes` has shape {x.shape}; GraphTransformerBlock needs (N, {self.features}).")
        x = masked(x, graph.node_mask)
        rngs = as_streams(rngs)
        attended = self._attention(x, graph, self.dropout_key(deterministic, rngs))
        z = normalised(self.global_norm, x.astype(attended.dtype) + attended)
        if self.local is not None:
            options = {"deterministic": deterministic, "rngs": rngs}
            given = {name: value for name, value in options.items() if value is not None}
            before, graph = graph, self.local(graph.replace(nodes=x), **accepted_options(self.local, given))
            graph = require_same_graph(graph, before, "local")
            if jnp.shape(graph.nodes) != x.shape:
                raise ValueError(f"`local` returned nodes {jnp.shape(graph.nodes)}; the block needs {x.shape}.")
            z = z + normalised(self.local_norm, x.astype(graph.nodes.dtype) + graph.nodes).astype(z.dtype)
        y = normalised(self.last_norm, z + self.feed_forward(z))
        return graph.replace(nodes=masked(y, graph.node_mask))

    def _attention(self, x: jax.Array, graph: Graph, noise: jax.Array | None) -> jax.Array:
        heads = (self.num_heads, self.head_features)
        query, key, value = (layer(x).reshape(x.shape[0], *heads) for layer in (self.query, self.key, self.value))
        if self.nodes_per_graph is not None:
            dense = to_dense(graph.replace(nodes=(query, key, value), edges=None, shifts=None), self.nodes_per_graph)
            query, key, value = dense.nodes
            drop = lambda weights: dropped(weights, self.dropout_rate, noise)  # noqa: E731
            y = nodes_from_dense(attend(query, key, value, dense.mask, self.precision, drop), graph)
            return self.out(y.reshape(x.shape))

        def attended(given: tuple) -> jax.Array:
            q, owner, number = given
            same = (owner[:, None] == graph.node_graph[None]) & graph.node_mask[None]

            def drop(weights: jax.Array) -> jax.Array:
                of_queries = jnp.moveaxis(weights, -2, 0)
                return jnp.moveaxis(dropped_rows(of_queries, self.dropout_rate, noise, number), 0, -2)

            return attend(q, key, value, same, self.precision, drop)

        queries = (query, graph.node_graph, jnp.arange(graph.num_nodes, dtype=jnp.int32))
        portion = 0 if is_open(graph.num_nodes) else _LARGEST_SCORES // max(1, graph.num_nodes * self.num_heads)
        if is_open(graph.num_nodes) or portion >= graph.num_nodes:
            y = attended(queries)
        else:
            single = lambda given: attended(jax.tree.map(lambda leaf: leaf[None], given))[0]  # noqa: E731
            y = jax.lax.map(jax.checkpoint(single), queries, batch_size=max(1, portion))
        return self.out(y.reshape(x.shape))
