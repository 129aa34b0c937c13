"""Message passing between points in space that commutes with every motion of the space."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._arguments import shown
from equijax._dtypes import accumulation_dtype, widened
from equijax._numbers import positive_int
from equijax.actions import GraphAction
from equijax.graphs import Graph, edge_vectors, message_reduce
from equijax.groups import E
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._returned import require_pointwise
from equijax.nn.graphs._layer import GraphLayer, masked, require_edges, require_nodes

_tiny_init = nnx.initializers.variance_scaling(1e-6, "fan_avg", "uniform")


class EGNN(GraphLayer):
    r"""One layer of an E(n)-equivariant graph network: nodes with features h, positions x and perhaps velocities v.

    For every edge from j to i, with features :math:`a_{ij}`, and :math:`d_i` the number of edges that arrive at i,

    .. math::
        m_{ij} &= φ_e(h_i, h_j, |x_i - x_j|^2, a_{ij}), \\
        s_i &= \frac{1}{d_i} \sum_j (x_i - x_j)\, φ_x(m_{ij}), \\
        x_i' &= x_i + s_i, \\
        h_i' &= h_i + φ_h\Big(h_i, \sum_j m_{ij}\Big),

    and with velocities :math:`v_i' = φ_v(h_i)\, v_i + s_i` and :math:`x_i' = x_i + v_i'`. Each φ is a perceptron with one
    hidden layer. The output of φ_e passes through the activation once more. The last matrix of φ_x has no bias, and those of
    φ_x and φ_v start near zero, so that a stack of new layers hardly moves the points. The first matrix of φ_e is applied
    to the nodes before they meet on the edges, which gives the same numbers.

    In a crystal :math:`x_i - x_j` is the vector from the image of j that the edge joins, with its shift: see
    :func:`equijax.graphs.edge_vectors`. So a structure has the same outputs in a cell of any size.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` with ``act = GraphAction(space=E(ndim))``, that is for every
    relabelling of nodes and edges and every rotation, reflection and translation of the points, and of every node on its
    own to one of its images. On a node without
    edges, and between points that coincide, s is zero and its gradient finite. What padding holds, and which other graphs
    are in the batch, changes nothing.

    Positions and velocities keep their dtype, in which differences and squared distances are computed; ``dtype`` is that of
    the features and perceptrons.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(
      ...     nodes=jnp.ones((3, 8)), positions=jnp.eye(3), senders=jnp.array([0, 1, 2]), receivers=jnp.array([1, 2, 0])
      ... )
      >>> layer = ej.nn.EGNN(8, 8, rngs=nnx.Rngs(0))
      >>> moved = layer(graph)
      >>> moved.nodes.shape, moved.positions.shape
      ((3, 8), (3, 3))

    Attributes:
      message: φ_e, kernels ``(2 in_features + 1 + edge_features, hidden_features)``, its rows h_i, h_j, the squared distance
        and a_ij in this order, and ``(hidden_features, hidden_features)``.
      position: φ_x, kernels ``(hidden_features, hidden_features)`` and ``(hidden_features, 1)``.
      node: φ_h, kernels ``(in_features + hidden_features, hidden_features)`` and ``(hidden_features, out_features)``.
      velocity: φ_v, kernels ``(in_features, hidden_features)`` and ``(hidden_features, 1)``; or None.
      gate: the linear map before the sigmoid of ``attention``, kernel ``(hidden_features, 1)``; or None.

    Args:
      in_features: number of node features.
      out_features: number of node features of the output.
      hidden_features: width of the perceptrons and of the messages; None is ``out_features``.
      edge_features: number of features on the edges that enter the messages; with 0 ``graph.edges`` is not looked at.
      ndim: dimension of the space.
      use_velocities: whether the graph has velocities.
      update_velocities: whether the output has the new velocities v' (the paper's form); otherwise v stays, so that every
        layer of a stack uses the initial velocities (the form of the published code).
      attention: whether to multiply every message by a number in 0 … 1, the sigmoid of a linear map of it.
      normalize: whether to divide differences of positions by their length plus ``epsilon``; the length is not
        differentiated.
      tanh: whether to bound φ_x to −1 … 1.
      residual: whether to add h_i to the new features.
      aggregation: ``"sum"`` of the messages, as above, or their ``"mean"``, which keeps the features at their scale where a
        node has a hundred neighbours.
      epsilon: the length that is added when normalising.
      activation: the activation function of the perceptrons.
      dtype: dtype in which features are computed; None promotes node features and parameters.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of all kernels but the last of φ_x and φ_v.
      bias_init: initialiser of the biases.
      rngs: key source, used at construction only.

    Raises:
      ValueError: a residual connection between different numbers of features, or an unknown aggregation.

    References:
      Satorras, Hoogeboom and Welling, "E(n) Equivariant Graph Neural Networks", ICML 2021, arXiv:2102.09844, section 3, with
      velocities section 3.2.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int | None = None,
        edge_features: int = 0,
        ndim: int = 3,
        use_velocities: bool = False,
        update_velocities: bool = True,
        attention: bool = False,
        normalize: bool = False,
        tanh: bool = False,
        residual: bool = True,
        aggregation: Literal["sum", "mean"] = "sum",
        epsilon: float = 1e-8,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.silu,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        hidden = positive_int(out_features if hidden_features is None else hidden_features, "hidden_features")
        self.hidden_features = hidden
        self.edge_features = positive_int(edge_features, "edge_features", 0)
        self.ndim = positive_int(ndim, "ndim")
        if residual and in_features != out_features:
            raise ValueError(
                f"`residual` is True, but in_features = {in_features} and out_features = {out_features} differ. Write "
                "residual=False, or change the number of features before the layer, for example by "
                "MapNodes(nnx.Linear(in_features, out_features, rngs=rngs))."
            )
        if not isinstance(aggregation, str) or aggregation not in ("sum", "mean"):
            raise ValueError(f"`aggregation` is {shown(aggregation)}; the words are 'sum' and 'mean'.")
        self.aggregation = aggregation
        self.use_velocities, self.update_velocities = bool(use_velocities), bool(update_velocities)
        self.normalize, self.tanh, self.residual, self.epsilon = bool(normalize), bool(tanh), bool(residual), float(epsilon)
        self.activation, self.dtype, self.precision = activation, dtype, precision
        common = {"dtype": dtype, "param_dtype": param_dtype, "precision": precision, "bias_init": bias_init, "rngs": rngs}

        def perceptron(inputs: int, outputs: int, *, last_init: Any = kernel_init, last_bias: bool = True) -> nnx.List:
            first = Linear(inputs, hidden, kernel_init=kernel_init, **common)
            return nnx.List([first, Linear(hidden, outputs, kernel_init=last_init, use_bias=last_bias, **common)])

        self.message = perceptron(2 * in_features + 1 + edge_features, hidden)
        self.position = perceptron(hidden, 1, last_init=_tiny_init, last_bias=False)
        self.node = perceptron(in_features + hidden, out_features)
        self.velocity = perceptron(in_features, 1, last_init=_tiny_init) if use_velocities else nnx.data(None)
        self.gate = Linear(hidden, 1, kernel_init=kernel_init, **common) if attention else nnx.data(None)

    @property
    def in_action(self) -> GraphAction:
        """Relabelling of nodes and edges, and motions of the points."""
        return GraphAction(space=E(self.ndim))

    def __call__(self, graph: Graph) -> Graph:
        """Applies the layer.

        Args:
          graph: nodes ``(N, in_features)``, positions ``(N, ndim)``, with ``use_velocities`` velocities ``(N, ndim)``, and
            with ``edge_features`` edges ``(E, edge_features)``, all floating.

        Returns:
          The graph with nodes ``(N, out_features)`` and new positions, and with ``update_velocities`` new velocities. At
          padded nodes they are zero.

        Raises:
          TypeError: positions or velocities are no floats.
          ValueError: something that the layer needs is missing or has another shape.
        """
        require_nodes(graph, self.in_features, self)
        self._require_geometry(graph)
        h, x, v = masked((graph.nodes, graph.positions, graph.velocities), graph.node_mask)
        first = self.message[0]
        h, kernel, bias = dtypes.promote_dtype((h, *first.read()), dtype=self.dtype)
        parts = jnp.split(kernel, (self.in_features, 2 * self.in_features))
        to_receiver, to_sender = (jnp.dot(h, part, precision=self.precision) for part in parts[:2])
        messages, moves = message_reduce(
            lambda sender, receiver, edge: self._messages(parts[2], sender, receiver, edge),
            graph,
            {"receiver": to_receiver + bias[None], "sender": to_sender},
            {"vector": edge_vectors(graph), "features": graph.edges if self.edge_features else None},
        )
        degrees = jnp.maximum(graph.in_degrees(), 1)[:, None]
        step = moves / degrees.astype(moves.dtype)
        messages = messages / degrees.astype(messages.dtype) if self.aggregation == "mean" else messages
        if self.use_velocities:
            step = self._perceptron(self.velocity, h).astype(v.dtype) * v + step.astype(v.dtype)
            v = step if self.update_velocities else v
        y = self._perceptron(self.node, jnp.concatenate([h, messages.astype(h.dtype)], -1))
        y = y + h if self.residual else y
        return graph.replace(nodes=masked(y, graph.node_mask), positions=x + step.astype(x.dtype), velocities=v)

    def _messages(self, kernel: jax.Array, sender: Any, receiver: Any, edge: Any) -> tuple[jax.Array, jax.Array]:
        """Returns for every edge the message and the move of the receiver, at least float32."""
        (difference, _), features = widened(edge["vector"]), edge["features"]
        squared = jnp.sum(difference**2, -1, keepdims=True)
        invariants = squared.astype(kernel.dtype)
        if features is not None:
            invariants = jnp.concatenate([invariants, features.astype(kernel.dtype)], -1)
        m = receiver["receiver"] + sender["sender"] + jnp.dot(invariants, kernel, precision=self.precision)
        m = self._activated(self.message[1](self._activated(m)))
        if self.gate is not None:
            m = m * jax.nn.sigmoid(self.gate(m))
        weight = self._perceptron(self.position, m)
        weight = jnp.tanh(weight) if self.tanh else weight
        if self.normalize:
            difference = self._normalized(difference, jax.lax.stop_gradient(squared))
        move = difference * weight.astype(difference.dtype)
        return m.astype(accumulation_dtype(m.dtype)), move.astype(accumulation_dtype(move.dtype))

    def _normalized(self, difference: jax.Array, squared: jax.Array) -> jax.Array:
        """Divides by length plus epsilon; where points coincide, value and gradient are zero and not the gradient 1 / ε."""
        together = squared == 0
        length = jnp.sqrt(jnp.where(together, 1.0, squared)) + jnp.asarray(self.epsilon, squared.dtype)
        return jnp.where(together, jnp.zeros((), difference.dtype), difference) / length

    def _perceptron(self, layers: Any, x: jax.Array) -> jax.Array:
        return layers[1](self._activated(layers[0](x)))

    def _activated(self, x: jax.Array) -> jax.Array:
        return require_pointwise(self.activation(x), x, "activation")

    def _require_geometry(self, graph: Graph) -> None:
        wanted = {"nodes": (graph.num_nodes, self.in_features), "positions": (graph.num_nodes, self.ndim)}
        if self.use_velocities:
            wanted["velocities"] = (graph.num_nodes, self.ndim)
        elif graph.velocities is not None:
            raise ValueError(
                "`graph` has velocities, but the layer was built without. Write use_velocities=True, or take them away: "
                "graph.replace(velocities=None)."
            )
        if self.edge_features:
            require_edges(graph, self.edge_features, self)
        for name, shape in wanted.items():
            value = getattr(graph, name)
            if value is None:
                raise ValueError(f"`graph` has no {name}; the layer needs {name} of shape {shape}: graph.replace({name}=…).")
            if jnp.shape(value) != shape:
                raise ValueError(f"`graph.{name}` has shape {jnp.shape(value)}; the layer needs {shape}.")
            if not jnp.issubdtype(value.dtype, jnp.floating):
                raise TypeError(f"`graph.{name}` has dtype {value.dtype}; the layer needs floats: {name}.astype(float).")
