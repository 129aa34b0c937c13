"""Graph convolution with symmetric normalisation."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._arguments import boolean
from equijax._dtypes import accumulation_dtype
from equijax._numbers import positive_int
from equijax.graphs import Graph, neighbour_sum
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn.graphs._layer import GraphLayer, masked, require_edges, require_nodes


class GCNConv(GraphLayer):
    r"""Graph convolution: the mean of a node and its neighbours, weighted by their degrees, through one matrix.

    .. math:: y_i = \frac{x_i}{d_i}\, W + \sum_{j → i} \frac{w_{ji}}{\sqrt{d_i d_j}}\, x_j\, W + β, \qquad
              d_i = 1 + \sum_{j → i} w_{ji}

    The self-loop of weight 1 is not an edge of the graph: it is the first term, and an edge from a node to itself counts in
    addition. Without ``self_loops`` the first term and the 1 are missing. Without ``normalize`` the sum is not divided, it
    is :math:`\sum_{j → i} w_{ji}\, x_j`, and with ``self_loops`` :math:`x_i` more.

    Where d is 0 its inverse root counts as 0. Weights below 0 may make a degree negative, which has no root: there the
    output is NaN. Use ``normalize=False`` for weights of both signs.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding and the other graphs of a batch change nothing.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      self_loops: whether every node is its own neighbour; None is as ``normalize``.
      edge_weights: whether ``graph.edges`` holds weights w ``(E,)`` or ``(E, 1)``; else ``graph.edges`` is not looked at and
        w = 1.
      normalize: whether to divide by the degrees.
      use_bias: whether to add β.
      dtype: dtype of the computation; None promotes inputs and parameters. Sums are at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of W.
      bias_init: initialiser of β.
      rngs: key source, used at construction only.

    Attributes:
      linear: ``nnx.Linear``, W and β.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.GCNConv(4, 8, rngs=nnx.Rngs(0))(graph).nodes.shape
      (3, 8)

    References:
      Kipf and Welling, "Semi-Supervised Classification with Graph Convolutional Networks", ICLR 2017, arXiv:1609.02907,
      section 2.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        self_loops: bool | None = None,
        edge_weights: bool = False,
        normalize: bool = True,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        self_loops = normalize if self_loops is None else boolean(self_loops, "self_loops")
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        self.edge_weights, self.normalize = bool(edge_weights), bool(normalize)
        self.self_loops = bool(self_loops)
        self.linear = Linear(
            in_features, out_features, use_bias=use_bias, dtype=dtype, param_dtype=param_dtype, precision=precision,
            kernel_init=kernel_init, bias_init=bias_init, rngs=rngs,
        )  # fmt: skip

    def __call__(self, graph: Graph) -> Graph:
        """Applies the layer.

        Args:
          graph: nodes ``(N, *fibre, in_features)``; with ``edge_weights`` edges ``(E,)`` or ``(E, 1)``.

        Returns:
          The graph with nodes ``(N, *fibre, out_features)``, zeros at padding.
        """
        x = masked(require_nodes(graph, self.in_features, self), graph.node_mask)
        weights = self._weights(graph)
        if not self.normalize:
            total = neighbour_sum(x, graph, weights)
            return graph.replace(nodes=masked(self.linear(total + x if self.self_loops else total), graph.node_mask))
        scale = self._inverse_root_degrees(graph, weights, accumulation_dtype(x.dtype)).astype(x.dtype)
        scale = scale.reshape(-1, *(1,) * (x.ndim - 1))
        scaled = x * scale
        total = neighbour_sum(scaled, graph, weights)
        total = total + scaled if self.self_loops else total
        return graph.replace(nodes=masked(self.linear(total * scale), graph.node_mask))

    def _weights(self, graph: Graph) -> jax.Array | None:
        if not self.edge_weights:
            return None
        one_axis = getattr(graph.edges, "ndim", 0) == 1
        weights = require_edges(graph.replace(edges=graph.edges[:, None]) if one_axis else graph, 1, self)
        return masked(weights[:, 0], graph.edge_mask)

    def _inverse_root_degrees(self, graph: Graph, weights: jax.Array | None, dtype: Any) -> jax.Array:
        if weights is None:
            degrees = graph.in_degrees().astype(dtype)
        else:
            degrees = jax.ops.segment_sum(weights.astype(dtype), graph.receivers, graph.num_nodes)
        return inverse_root(degrees + jnp.ones((), dtype) if self.self_loops else degrees)


def inverse_root(x: jax.Array) -> jax.Array:
    """Returns the inverse square root of numbers: 0 with gradient 0 where they are 0, NaN where they are negative or NaN."""
    zero = x == 0
    root = jax.lax.rsqrt(jnp.where(zero, jnp.ones((), x.dtype), x))
    return jnp.where(zero, jnp.zeros((), x.dtype), root)
