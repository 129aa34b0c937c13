"""Graph isomorphism networks, without and with edge features."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._numbers import positive_int
from equijax.graphs import Graph
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._dropout import Streams
from equijax.nn._options import takes_rngs
from equijax.nn._parameters import read
from equijax.nn.graphs._layer import masked, require_edges, require_nodes
from equijax.nn.graphs._message_passing import MessagePassing
from equijax.nn.graphs._messages import with_fibre
from equijax.nn.graphs._rows import on_rows


class GINConv(MessagePassing):
    r"""Graph isomorphism layer: the sum over neighbours, which tells multisets apart, through a network.

    .. math:: y_i = h\Big((1 + ε)\, x_i + \sum_{j → i} x_j\Big)

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding changes nothing, and the other graphs of a batch nothing unless h joins them by an ``nnx.BatchNorm``. That gets
    the mask of the nodes, alone or in an ``nnx.Sequential``; a module of your own has to take ``mask`` and hand it on, see
    :class:`MapNodes`.

    Args:
      mlp: h, a module or function that treats each node alike, ``(N, *fibre, in_features)`` to ``(N, *fibre,
        out_features)``.
      epsilon: ε, or its initial value.
      train_epsilon: whether ε is a parameter.
      param_dtype: dtype in which ε is stored.

    Attributes:
      mlp: h.
      epsilon: Param ``()``, or the number.

    Raises:
      TypeError: ``mlp`` can't be called.

    Example:
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> mlp = nnx.Sequential(nnx.Linear(4, 16, rngs=rngs), jax.nn.relu, nnx.Linear(16, 8, rngs=rngs))
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.GINConv(mlp, train_epsilon=True)(graph).nodes.shape
      (3, 8)

    References:
      Xu, Hu, Leskovec and Jegelka, "How Powerful are Graph Neural Networks?", ICLR 2019, arXiv:1810.00826, section 4.1.
    """

    def __init__(self, mlp: Any, *, epsilon: float = 0.0, train_epsilon: bool = False, param_dtype: Any = jnp.float32):
        if not callable(mlp):
            raise TypeError(f"`mlp` is {mlp!r}, which can't be called. Give a module or a function.")
        super().__init__(aggregation="sum")
        self.mlp: Any = mlp
        self.epsilon = nnx.Param(jnp.asarray(epsilon, param_dtype)) if train_epsilon else float(epsilon)

    def update(self, nodes: jax.Array, aggregated: jax.Array) -> jax.Array:
        """Returns ``(1 + ε) nodes + aggregated``, to which the layer applies h."""
        epsilon = read(self.epsilon, "epsilon", ()) if isinstance(self.epsilon, nnx.Param) else self.epsilon
        return nodes + jnp.asarray(epsilon, nodes.dtype) * nodes + aggregated

    def __call__(self, graph: Graph, *, rngs: Streams | None = None) -> Graph:
        """Applies the layer to nodes ``(N, *fibre, in_features)``; zeros at padding. h gets ``rngs`` where it takes them."""
        summed, mask = super().__call__(graph), graph.node_mask
        options = {"rngs": rngs} if rngs is not None and takes_rngs(self.mlp) else {}
        return summed.replace(nodes=masked(on_rows(self.mlp, summed.nodes, mask, **options), mask))


class GINEConv(GINConv):
    r"""Graph isomorphism layer with edge features.

    .. math:: y_i = h\Big((1 + ε)\, x_i + \sum_{j → i} \mathrm{ReLU}(x_j + e_{ji} W + β)\Big)

    Edge features are always needed; :class:`GINConv` is the layer without.

    Law: as :class:`GINConv`.

    Args:
      in_features: number of node features.
      mlp: h, as in :class:`GINConv`.
      edge_features: number of edge features, at least 1, which W and β map to ``in_features``. None means that the edges
        have ``in_features`` features themselves, which are added as they are.
      epsilon: ε, or its initial value.
      train_epsilon: whether ε is a parameter.
      dtype: dtype of the map of the edges; None promotes.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of W.
      bias_init: initialiser of β.
      rngs: key source, used at construction only; needed with ``edge_features``.

    Attributes:
      mlp: h.
      edge: ``nnx.Linear``, W and β; or None.
      epsilon: Param ``()``, or the number.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2], edges=jnp.ones((2, 5)))
      >>> ej.nn.GINEConv(4, nnx.Linear(4, 8, rngs=rngs), edge_features=5, rngs=rngs)(graph).nodes.shape
      (3, 8)

    References:
      Hu et al., "Strategies for Pre-training Graph Neural Networks", ICLR 2020, arXiv:1905.12265.
    """

    def __init__(
        self,
        in_features: int,
        mlp: Any,
        *,
        edge_features: int | None = None,
        epsilon: float = 0.0,
        train_epsilon: bool = False,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs | None = None,
    ):
        super().__init__(mlp, epsilon=epsilon, train_epsilon=train_epsilon, param_dtype=param_dtype)
        self.in_features = positive_int(in_features, "in_features")
        self.edge_features = in_features if edge_features is None else positive_int(edge_features, "edge_features")
        if edge_features is None:
            self.edge = nnx.data(None)
            return
        if rngs is None:
            raise TypeError("`rngs` is None, but `edge_features` asks for a map of the edges. Give nnx.Rngs(seed).")
        self.edge = Linear(
            self.edge_features, in_features, dtype=dtype, param_dtype=param_dtype, precision=precision,
            kernel_init=kernel_init, bias_init=bias_init, rngs=rngs,
        )  # fmt: skip

    def message(self, senders: jax.Array, receivers: jax.Array, edges: jax.Array) -> jax.Array:
        """Returns ``relu(senders + edges W + β)``."""
        del receivers
        edges = edges if self.edge is None else self.edge(edges)
        return jax.nn.relu(senders + with_fibre(edges, senders.ndim).astype(senders.dtype))

    def __call__(self, graph: Graph, *, rngs: Streams | None = None) -> Graph:
        """Applies the layer to nodes ``(N, *fibre, in_features)`` and edges ``(E, edge_features)``."""
        require_nodes(graph, self.in_features, self)
        require_edges(graph, self.edge_features, self)
        return super().__call__(graph, rngs=rngs)
