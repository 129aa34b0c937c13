"""Gated graph convolution: every edge opens or shuts each feature."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._dtypes import accumulation_dtype
from equijax._numbers import positive_int
from equijax.graphs import Graph, message_reduce
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._norm import normalised
from equijax.nn.graphs._layer import GraphLayer, masked, require_edges, require_nodes
from equijax.nn.graphs._messages import on_edges, with_fibre


class ResGatedGraphConv(GraphLayer):
    r"""Residual gated graph convolution: the sum of neighbours, each feature of each weighted by a gate.

    .. math:: y_i = x_i W_s + \sum_{j → i} σ(x_i A + β_A + x_j B + β_B + e_{ji} C) ⊙ (x_j V + β_V) + β

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding and the other graphs of a batch change nothing.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      edge_features: number of features on the edges that enter the gates; with 0 ``graph.edges`` is not looked at.
      root_weight: whether there is :math:`x_i W_s`.
      use_bias: whether to add the biases.
      dtype: dtype of the computation; None promotes inputs and parameters. Sums are at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of the matrices.
      bias_init: initialiser of the biases.
      rngs: key source, used at construction only.

    Attributes:
      receiver: ``nnx.Linear``, A; likewise ``sender`` B, ``value`` V, ``edge`` C (or None), ``root`` W_s with β (or None).

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.ResGatedGraphConv(4, 8, rngs=nnx.Rngs(0))(graph).nodes.shape
      (3, 8)

    References:
      Bresson and Laurent, "Residual Gated Graph ConvNets", 2017, arXiv:1711.07553, section 2.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        edge_features: int = 0,
        root_weight: bool = True,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        self.edge_features = positive_int(edge_features, "edge_features", 0)
        linear = {
            "dtype": dtype, "param_dtype": param_dtype, "precision": precision, "kernel_init": kernel_init,
            "bias_init": bias_init, "rngs": rngs,
        }  # fmt: skip
        node = lambda: Linear(in_features, out_features, use_bias=use_bias, **linear)  # noqa: E731
        self.receiver, self.sender, self.value = node(), node(), node()
        self.root = node() if root_weight else nnx.data(None)
        self.edge = Linear(edge_features, out_features, use_bias=False, **linear) if edge_features else nnx.data(None)

    def __call__(self, graph: Graph) -> Graph:
        """Applies the layer.

        Args:
          graph: nodes ``(N, *fibre, in_features)``, and with ``edge_features`` edges ``(E, edge_features)``.

        Returns:
          The graph with nodes ``(N, *fibre, out_features)``, zeros at padding.
        """
        x = masked(require_nodes(graph, self.in_features, self), graph.node_mask)
        edges = None
        if self.edge is not None:
            edges = self.edge(masked(require_edges(graph, self.edge_features, self), graph.edge_mask))
        nodes = {"receiver": self.receiver(x), "sender": self.sender(x), "value": self.value(x)}

        def message(sender: dict, receiver: dict, edge: jax.Array | None) -> jax.Array:
            return jax.nn.sigmoid(gate(sender, receiver, edge)) * sender["value"]

        y = message_reduce(message, graph, nodes, edges)
        y = y if self.root is None else y + self.root(x)
        return graph.replace(nodes=masked(y, graph.node_mask))


class GatedGCN(GraphLayer):
    r"""Gated graph convolution that carries features on the edges along.

    .. math::
        \hat e_{ji} &= x_i A + x_j B + e_{ji} C + β_e, \\
        \hat x_i &= x_i U + \frac{\sum_{j → i} σ(\hat e_{ji}) ⊙ x_j V}{\sum_{j → i} σ(\hat e_{ji}) + ε} + β, \\
        e_{ji}' &= e_{ji} + \mathrm{ReLU}(\mathrm{LN}(\hat e_{ji})), \qquad
        x_i' = x_i + \mathrm{ReLU}(\mathrm{LN}(\hat x_i))

    The norm is ``nnx.LayerNorm`` on the features of each node and of each edge, so that no graph of a batch sees another;
    the batch norm of the paper would. Put a :class:`GraphNorm` behind the layer for statistics of each graph.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding and the other graphs of a batch change nothing.

    Args:
      features: number of features of nodes and edges, in and out.
      residual: whether to add the input.
      use_norm: whether to normalise.
      epsilon: ε.
      use_bias: whether to add the biases.
      dtype: dtype of the computation; None promotes inputs and parameters. Sums are at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of the matrices.
      bias_init: initialiser of the biases.
      rngs: key source, used at construction only.

    Attributes:
      receiver: ``nnx.Linear``, A; likewise ``sender`` B, ``edge`` C with β_e, ``root`` U with β, ``value`` V.
      node_norm: ``nnx.LayerNorm``, or None; likewise ``edge_norm``.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 8)), senders=[0, 1], receivers=[1, 2], edges=jnp.ones((2, 8)))
      >>> ej.nn.GatedGCN(8, rngs=nnx.Rngs(0))(graph)
      Graph(3 nodes, 2 edges, 1 graph; nodes float32[3,8], edges float32[2,8])

    References:
      Dwivedi et al., "Benchmarking Graph Neural Networks", JMLR 2023, arXiv:2003.00982, on the gated network of Bresson and
      Laurent, arXiv:1711.07553, with edge features.
    """

    def __init__(
        self,
        features: int,
        *,
        residual: bool = True,
        use_norm: bool = True,
        epsilon: float = 1e-6,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        self.features = positive_int(features, "features")
        self.residual, self.epsilon = bool(residual), float(epsilon)
        linear = {
            "dtype": dtype, "param_dtype": param_dtype, "precision": precision, "kernel_init": kernel_init,
            "bias_init": bias_init, "rngs": rngs,
        }  # fmt: skip
        square = lambda bias: Linear(features, features, use_bias=bias, **linear)  # noqa: E731
        self.receiver, self.sender, self.value = square(False), square(False), square(False)
        self.edge, self.root = square(use_bias), square(use_bias)
        stored = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        norm = lambda: nnx.LayerNorm(features, **stored) if use_norm else nnx.data(None)  # noqa: E731
        self.node_norm, self.edge_norm = norm(), norm()

    def __call__(self, graph: Graph) -> Graph:
        """Applies the layer.

        Args:
          graph: nodes ``(N, features)`` and edges ``(E, features)``.

        Returns:
          The graph with new nodes and edges of the same shapes, zeros at padding.

        Raises:
          ValueError: a shape does not fit; nodes with a fibre would need edges with one.
        """
        x = masked(require_nodes(graph, self.features, self), graph.node_mask)
        if x.ndim != 2:
            raise ValueError(f"`graph.nodes` has shape {x.shape}; GatedGCN needs (N, {self.features}).")
        e = masked(require_edges(graph, self.features, self), graph.edge_mask)
        edges = on_edges(gate, graph, {"receiver": self.receiver(x), "sender": self.sender(x)}, self.edge(e))

        wide = accumulation_dtype(edges.dtype)

        def message(sender: jax.Array, receiver: jax.Array, edge: jax.Array) -> tuple[jax.Array, jax.Array]:
            del receiver
            opened = jax.nn.sigmoid(edge).astype(wide)
            return opened * sender.astype(wide), opened

        total, opened = message_reduce(message, graph, self.value(x), edges)
        mean = total / (opened + jnp.asarray(self.epsilon, wide))
        nodes = self.root(x) + mean.astype(edges.dtype)
        nodes, edges = self._finish(nodes, x, self.node_norm), self._finish(edges, e, self.edge_norm)
        return graph.replace(nodes=masked(nodes, graph.node_mask), edges=masked(edges, graph.edge_mask))

    def _finish(self, y: jax.Array, x: jax.Array, norm: nnx.LayerNorm | None) -> jax.Array:
        y = jax.nn.relu(normalised(norm, y))
        return y + x.astype(y.dtype) if self.residual else y


def gate(sender: dict, receiver: dict, edge: jax.Array | None) -> jax.Array:
    """Adds what receiver, sender and edge give."""
    both = receiver["receiver"] + sender["sender"]
    return both if edge is None else both + with_fibre(edge, both.ndim)
