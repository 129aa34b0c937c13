"""Norms whose statistics belong to one graph of the batch."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._arguments import real_number
from equijax._dtypes import accumulation_dtype
from equijax._numbers import positive_int
from equijax.graphs import Graph
from equijax.nn._aggregation import Mean
from equijax.nn._parameters import read_optional
from equijax.nn.graphs._layer import GraphLayer, masked, require_nodes


def graph_mean(x: jax.Array, graph: Graph) -> jax.Array:
    """Gives every node the mean over nodes and fibre of its graph, ``(N, 1, …, features)`` of ``(N, *fibre, features)``."""
    mean = Mean().over_segments(x, graph.node_graph, graph.num_graphs, graph.node_mask)
    mean = mean.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True)
    return jnp.take(mean, graph.node_graph, axis=0, mode="clip")


class _Affine(GraphLayer):
    """What the norms with a scale and a bias share."""

    def __init__(
        self,
        num_features: int,
        *,
        epsilon: float = 1e-5,
        use_scale: bool = True,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.num_features = positive_int(num_features, "num_features")
        self.epsilon, self.dtype, self.param_dtype = float(epsilon), dtype, param_dtype
        del rngs
        self.scale = nnx.Param(jnp.ones((num_features,), param_dtype)) if use_scale else nnx.data(None)
        self.bias = nnx.Param(jnp.zeros((num_features,), param_dtype)) if use_bias else nnx.data(None)

    def __call__(self, graph: Graph) -> Graph:
        """Normalises nodes ``(N, *fibre, num_features)``; zeros at padding."""
        nodes = masked(require_nodes(graph, self.num_features, self), graph.node_mask)
        named = {"scale": self.scale, "bias": self.bias, "mean_scale": self._learned()}
        given = [read_optional(part, name, (self.num_features,)) for name, part in named.items()]
        x, scale, bias, learned = dtypes.promote_dtype((nodes, *given), dtype=self.dtype)
        along = lambda part: part.reshape((1,) * (x.ndim - 1) + part.shape)  # noqa: E731
        wide = x.astype(accumulation_dtype(x.dtype))
        y = self._normalised(wide, graph, None if learned is None else along(learned).astype(wide.dtype)).astype(x.dtype)
        y = y if scale is None else y * along(scale)
        y = y if bias is None else y + along(bias)
        return graph.replace(nodes=masked(y, graph.node_mask))

    def _learned(self) -> Any:
        return None

    def _normalised(self, x: jax.Array, graph: Graph, learned: jax.Array | None) -> jax.Array:
        raise NotImplementedError

    def _inverse_root(self, variance: jax.Array) -> jax.Array:
        return jax.lax.rsqrt(variance + jnp.asarray(self.epsilon, variance.dtype))


class GraphNorm(_Affine):
    r"""Normalises each feature over the nodes of each graph; how much of the mean is taken away is learned.

    .. math:: y_i = γ \frac{x_i - α \bar x}{\sqrt{\mathrm{mean}\,(x - α \bar x)^2 + ε}} + β

    Means run over the nodes (and the fibre) of one graph. With ``use_mean_scale=False`` α is 1: instance normalisation.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes. Padding and the other graphs of
    a batch change nothing. A graph of one node, or of equal nodes, is finite: the mean alone is left, :math:`(1 - α) \bar
    x`.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Args:
      num_features: number of features.
      epsilon: ε.
      use_mean_scale: whether α is a parameter.
      use_scale: whether to multiply by γ.
      use_bias: whether to add β.
      dtype: dtype of the result; None promotes inputs and parameters. Statistics are at least float32.
      param_dtype: dtype in which the parameters are stored.
      rngs: key source, used at construction only.

    Attributes:
      scale: Param ``(num_features,)``, γ; or None. Likewise ``bias`` β and ``mean_scale`` α.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.GraphNorm(4, rngs=nnx.Rngs(0))(graph).nodes.shape
      (3, 4)

    References:
      Cai et al., "GraphNorm: A Principled Approach to Accelerating Graph Neural Network Training", ICML 2021,
      arXiv:2009.03294, section 4.
    """

    def __init__(self, num_features: int, *, use_mean_scale: bool = True, **options: Any):
        super().__init__(num_features, **options)
        ones = jnp.ones((num_features,), self.param_dtype)
        self.mean_scale = nnx.Param(ones) if use_mean_scale else nnx.data(None)

    def _learned(self) -> Any:
        return self.mean_scale

    def _normalised(self, x: jax.Array, graph: Graph, learned: jax.Array | None) -> jax.Array:
        mean = graph_mean(x, graph)
        centred = x - (mean if learned is None else mean * learned)
        return centred * self._inverse_root(graph_mean(jnp.square(centred), graph))


class GraphLayerNorm(_Affine):
    r"""Normalises each graph as a whole: one mean and one variance for all its nodes and features.

    .. math:: y = γ \frac{x - \mathrm{mean}(x)}{\sqrt{\mathrm{var}(x) + ε}} + β

    ``MapNodes(nnx.LayerNorm(…))`` normalises each node by itself.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes. Padding and the other graphs of
    a batch change nothing; constant graphs give β.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Args:
      num_features: number of features.
      **options: ``epsilon``, ``use_scale``, ``use_bias``, ``dtype``, ``param_dtype`` and ``rngs`` as in :class:`GraphNorm`.

    Attributes:
      scale: Param ``(num_features,)``, γ; or None. Likewise ``bias`` β.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.GraphLayerNorm(4, rngs=nnx.Rngs(0))(graph).nodes.shape
      (3, 4)

    References:
      Ba, Kiros and Hinton, "Layer Normalization", 2016, arXiv:1607.06450, over a whole graph.
    """

    def _normalised(self, x: jax.Array, graph: Graph, learned: jax.Array | None) -> jax.Array:
        del learned
        mean = lambda z: graph_mean(z, graph).mean(axis=-1, keepdims=True)  # noqa: E731
        centred = x - mean(x)
        return centred * self._inverse_root(mean(jnp.square(centred)))


class PairNorm(GraphLayer):
    r"""Keeps the mean squared distance between the nodes of each graph: against nodes that become alike in deep networks.

    .. math:: y_i = s\, \frac{x_i - \bar x}{\sqrt{\mathrm{mean}_j |x_j - \bar x|^2 + ε}}

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes. Padding and the other graphs of
    a batch change nothing; a graph of one node, or of equal nodes, gives 0.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Args:
      scale: s.
      individually: whether to divide each node by its own length, :math:`\sqrt{|x_i - \bar x|^2 + ε}`, instead.
      epsilon: ε.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.PairNorm()(graph).nodes.shape
      (3, 4)

    References:
      Zhao and Akoglu, "PairNorm: Tackling Oversmoothing in GNNs", ICLR 2020, arXiv:1909.12223, section 3.
    """

    def __init__(self, scale: float = 1.0, *, individually: bool = False, epsilon: float = 1e-5):
        self.scale, self.individually, self.epsilon = float(real_number(scale, "scale")), bool(individually), float(epsilon)

    def __call__(self, graph: Graph) -> Graph:
        """Normalises nodes ``(N, *fibre, features)``; zeros at padding."""
        nodes = masked(require_nodes(graph, None, self), graph.node_mask)
        x = nodes.astype(accumulation_dtype(nodes.dtype))
        centred = masked(x - graph_mean(x, graph), graph.node_mask)
        squared = jnp.sum(jnp.square(centred), -1, keepdims=True)
        squared = squared if self.individually else graph_mean(squared, graph)
        y = centred * jax.lax.rsqrt(squared + jnp.asarray(self.epsilon, x.dtype)) * jnp.asarray(self.scale, x.dtype)
        return graph.replace(nodes=masked(y, graph.node_mask).astype(nodes.dtype))
