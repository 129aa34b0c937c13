"""Principal neighbourhood aggregation: several aggregates, each at several scales of the degree."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import listed, real_number, shown
from equijax._dtypes import accumulation_dtype
from equijax._numbers import positive_int
from equijax.graphs import Graph
from equijax.graphs._budget import sizes_of
from equijax.graphs._given import graphs_of
from equijax.graphs._host import on_host
from equijax.nn._aggregation import Several, StandardDeviation, as_aggregation
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._returned import require_pointwise
from equijax.nn.graphs._layer import GraphLayer, masked, require_edges, require_nodes
from equijax.nn.graphs._messages import aggregate, side_by_side, with_fibre

_SCALERS = ("identity", "amplification", "attenuation", "linear", "inverse_linear")


def average_degrees(graphs: Graph | Iterable[Graph]) -> tuple[float, float]:
    r"""Returns the means of :math:`d_i` and of :math:`\log(d_i + 1)` over all nodes of the training graphs.

    d is the number of edges that arrive. Padding is not counted.

    Args:
      graphs: one graph or several, not traced.

    Raises:
      TypeError: an entry is no graph.
      ValueError: there is no node, or a graph is traced.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.average_degrees([ej.Graph(jnp.ones((3, 1)), senders=[0, 1], receivers=[1, 2])])
      (0.6666666666666666, 0.46209812037329684)
    """
    graphs = [graphs] if isinstance(graphs, Graph) else graphs_of(graphs)
    sizes_of(graphs)  # which says what is no graph
    hosts = [on_host(graph, "average_degrees") for graph in graphs]
    degrees = [np.bincount(host.receivers[host.edge_mask], minlength=host.num_nodes)[host.node_mask] for host in hosts]
    d = np.concatenate([np.zeros(0), *degrees]).astype(np.float64)
    if not d.size:
        raise ValueError("`graphs` has no node, so there is no mean degree. Give the training graphs.")
    return float(d.mean()), float(np.log(d + 1).mean())


class PNAConv(GraphLayer):
    r"""Every combination of an aggregate and a scaling by the degree, through one network for each tower.

    .. math:: y_i = \big\Vert_t \; U_t\Big(x_i^t, \; S(d_i) ⊗ \bigoplus_{j → i} M_t(x_i^t, x_j^t, e_{ji} W_e)\Big) \; W + β

    S(d) is a list of scalers, for d the number of edges that arrive, :math:`\bar d` its mean over the training set and δ the
    mean of :math:`\log(d + 1)`: "identity" is 1, "amplification" :math:`\log(d + 1) / δ`, "attenuation"
    :math:`δ / \log(d + 1)`, "linear" :math:`d / \bar d`, "inverse_linear" :math:`\bar d / d`; divisions take d >= 1.

    The first matrix of M is applied to nodes before they meet on the edges, which gives the same numbers.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding and the other graphs of a batch change nothing; without neighbours all aggregates are 0.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      average_degrees: :math:`(\bar d, δ)`, from :func:`average_degrees` of the training graphs.
      aggregators: words or aggregations. The word ``"std"`` counts variances up to 1e-5 as 0, as is usual for this layer.
      scalers: words, see above.
      edge_features: number of features on the edges; with 0 ``graph.edges`` is not looked at.
      towers: number of towers, a divisor of ``out_features``.
      divide_input: whether each tower sees ``in_features // towers`` of the features, instead of all.
      pre_layers: number of matrices of M.
      post_layers: number of matrices of U.
      activation: the function between them.
      use_bias: whether the matrices have biases.
      dtype: dtype of the computation; None promotes inputs and parameters. Aggregates and scales are at least float32.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of the matrices.
      bias_init: initialiser of the biases.
      rngs: key source, used at construction only.

    Attributes:
      pre: for each tower the matrices of M, the first with rows :math:`x_i, x_j, e W_e`.
      post: for each tower the matrices of U; the aggregates vary fastest but for the features, then the scalers.
      edge: ``nnx.Linear``, W_e; or None.
      linear: ``nnx.Linear``, W and β.

    Raises:
      ValueError: an unknown word, or a number that the towers do not divide.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.PNAConv(4, 8, ej.nn.average_degrees(graph), rngs=nnx.Rngs(0))(graph).nodes.shape
      (3, 8)

    References:
      Corso, Cavalleri, Beaini, Liò and Veličković, "Principal Neighbourhood Aggregation for Graph Nets", NeurIPS 2020,
      arXiv:2004.05718, section 2.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        average_degrees: Sequence[float],
        *,
        aggregators: Sequence[Any] = ("mean", "min", "max", "std"),
        scalers: Sequence[str] = ("identity", "amplification", "attenuation"),
        edge_features: int = 0,
        towers: int = 1,
        divide_input: bool = False,
        pre_layers: int = 1,
        post_layers: int = 1,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
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
        self.average_degrees = _require_degrees(average_degrees)
        chosen = listed(aggregators, "aggregators", "words and aggregations")
        if not chosen:
            raise ValueError("`aggregators` is empty; give at least one, for example ('mean', 'max').")
        parts = (
            StandardDeviation(1e-5) if isinstance(part, str) and part == "std" else as_aggregation(part, "aggregators")
            for part in chosen
        )
        self.aggregation = Several(tuple(parts))
        self.scalers, self.towers = _require_scalers(scalers), positive_int(towers, "towers")
        for name, value in (("out_features", out_features), ("in_features", in_features if divide_input else 0)):
            if value % towers:
                raise ValueError(f"`towers` is {towers}; it must divide {name} = {value}.")
        self.divide_input, self.activation = bool(divide_input), activation
        width, each = in_features // towers if divide_input else in_features, out_features // towers
        aggregated = self.aggregation.out_features(width) * len(self.scalers)
        linear = {
            "use_bias": use_bias, "dtype": dtype, "param_dtype": param_dtype, "precision": precision,
            "kernel_init": kernel_init, "bias_init": bias_init, "rngs": rngs,
        }  # fmt: skip

        def networks(inputs: int, outputs: int, layers: int) -> nnx.List:
            widths = [inputs, *[outputs] * layers]
            one = lambda: nnx.List([Linear(a, b, **linear) for a, b in zip(widths, widths[1:], strict=False)])  # noqa: E731
            return nnx.List([one() for _ in range(towers)])

        self.pre = networks((3 if edge_features else 2) * width, width, positive_int(pre_layers, "pre_layers"))
        self.post = networks(width + aggregated, each, positive_int(post_layers, "post_layers"))
        self.edge = Linear(edge_features, width, **linear) if edge_features else nnx.data(None)
        self.linear = Linear(out_features, out_features, **linear)

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
        views = jnp.split(x, self.towers, axis=-1) if self.divide_input else [x] * self.towers
        towers = [self._tower(*each, edges, graph) for each in zip(views, self.pre, self.post, strict=True)]
        return graph.replace(nodes=masked(self.linear(jnp.concatenate(towers, -1)), graph.node_mask))

    def _tower(self, x: jax.Array, pre: nnx.List, post: nnx.List, edges: jax.Array | None, graph: Graph) -> jax.Array:
        nodes, of_edges = _before_they_meet(pre[0], x, edges)

        def message(sender: dict, receiver: dict, edge: jax.Array | None) -> jax.Array:
            m = receiver["receiver"] + sender["sender"]
            m = m if edge is None else m + with_fibre(edge, m.ndim)
            return self._rest(pre, m)

        aggregated = aggregate(self.aggregation, message, graph, nodes, of_edges)
        wide = aggregated.astype(accumulation_dtype(aggregated.dtype))
        scaled = [(wide * scale).astype(aggregated.dtype) for scale in self._scales(graph, wide)]
        return self._rest(post, post[0](side_by_side(x.astype(aggregated.dtype), *scaled)))

    def _rest(self, layers: nnx.List, x: jax.Array) -> jax.Array:
        for layer in list(layers)[1:]:
            x = layer(require_pointwise(self.activation(x), x, "activation"))
        return x

    def _scales(self, graph: Graph, like: jax.Array) -> list[jax.Array]:
        """One number for each scaler and node, of the rank of ``like``."""
        degree = graph.in_degrees().astype(like.dtype).reshape(-1, *(1,) * (like.ndim - 1))
        linear, log = (jnp.asarray(value, like.dtype) for value in self.average_degrees)
        at_least_one = jnp.maximum(degree, jnp.ones((), like.dtype))
        scales = {
            "identity": jnp.ones_like(degree),
            "amplification": jnp.log1p(degree) / log,
            "attenuation": log / jnp.log1p(at_least_one),
            "linear": degree / linear,
            "inverse_linear": linear / at_least_one,
        }
        return [scales[name] for name in self.scalers]


def _before_they_meet(first: Linear, x: jax.Array, edges: jax.Array | None) -> tuple[dict, jax.Array | None]:
    """Applies the rows of a matrix of ``[receiver, sender, edge]`` to nodes and edges apart, the bias to the receiver."""
    width = x.shape[-1]
    x, edges, kernel, bias = first.promote_dtype((x, edges, *first.read()), dtype=first.dtype)
    apply = lambda z, rows: jnp.dot(z, rows, precision=first.precision)  # noqa: E731
    receiver = apply(x, kernel[:width])
    if bias is not None:
        receiver = receiver + bias.reshape((1,) * (receiver.ndim - 1) + bias.shape)
    nodes = {"receiver": receiver, "sender": apply(x, kernel[width : 2 * width])}
    return nodes, None if edges is None else apply(edges, kernel[2 * width :])


def _require_degrees(given: Any) -> tuple[float, float]:
    pair = isinstance(given, (tuple, list)) and len(given) == 2
    values = tuple(float(real_number(value, "average_degrees")) for value in given) if pair else ()
    if len(values) != 2 or not all(value > 0 for value in values):
        raise ValueError(
            f"`average_degrees` is {shown(given)}; it must be two positive numbers, the means of d and of log(d + 1). Take "
            "average_degrees(training_graphs)."
        )
    return values


def _require_scalers(given: Any) -> tuple[str, ...]:
    words = (given,) if isinstance(given, str) else tuple(listed(given, "scalers", "words"))
    if not words or not all(isinstance(word, str) and word in _SCALERS for word in words):
        raise ValueError(f"`scalers` is {given!r}; give some of {', '.join(_SCALERS)}.")
    return words
