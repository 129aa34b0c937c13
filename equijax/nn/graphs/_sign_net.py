"""Networks of eigenvectors that do not depend on what the graph leaves open: their signs, the basis of an eigenspace."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import shown
from equijax._numbers import positive_int
from equijax.graphs import Graph, nodes_from_dense, to_dense
from equijax.groups._elements import concrete, integers
from equijax.nn._checked_linear import Linear
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._layer import Layer
from equijax.nn.graphs._layer import GraphLayer, masked, require_nodes
from equijax.nn.graphs._map import MapNodes
from equijax.nn.tensors import PermutationEquivariantLinear


class SignNet(GraphLayer):
    r"""A function of eigenvectors that is the same for both signs of each.

    .. math:: y = ρ\big([φ(v_1) + φ(-v_1), …, φ(v_k) + φ(-v_k)]\big)

    φ is one network for all eigenvectors. As a graph layer, or a chain of them, it sees how an eigenvector varies along
    edges; as a pointwise network its entries.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling, and ``layer`` does not change when any
    column of the nodes is multiplied by −1, in any graph of the batch. Padding and the other graphs of a batch change
    nothing.

    Args:
      phi: φ, from nodes ``(N, k, 1)`` to ``(N, k, hidden)``: a module or function that treats every entry alike, or a graph
        layer that takes a fibre, such as :class:`GINConv`.
      rho: ρ, from nodes ``(N, k · hidden)`` to ``(N, out_features)``: a module or function, or a graph layer.

    Raises:
      TypeError: a part can't be called.

    Example:
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> phi = ej.nn.GINConv(nnx.Sequential(nnx.Linear(1, 8, rngs=rngs), jax.nn.relu))
      >>> layer = ej.nn.SignNet(phi, nnx.Linear(2 * 8, 4, rngs=rngs))
      >>> graph = ej.graphs.complete_graph(3)
      >>> layer(graph.replace(nodes=ej.graphs.laplacian_encoding(graph, k=2).vectors)).nodes.shape
      (3, 4)

    References:
      Lim et al., "Sign and Basis Invariant Networks for Spectral Graph Representation Learning", ICLR 2023,
      arXiv:2202.13013, section 2.
    """

    def __init__(self, phi: Any, rho: Any):
        self.phi, self.rho = _graph_layer(phi, "phi"), _graph_layer(rho, "rho")

    def __call__(self, graph: Graph) -> Graph:
        """Applies the network to nodes ``(N, k)``, the eigenvectors; zeros at padding."""
        vectors = require_nodes(graph, None, self)
        if vectors.ndim != 2:
            raise ValueError(f"`graph.nodes` has shape {vectors.shape}; SignNet needs (N, k), k eigenvectors.")
        v = masked(vectors, graph.node_mask)[..., None]
        both = self.phi(graph.replace(nodes=v)).nodes + self.phi(graph.replace(nodes=-v)).nodes
        if both.shape[:2] != v.shape[:2]:
            raise ValueError(f"`phi` made nodes {both.shape} of {v.shape}; it must keep the eigenvectors apart.")
        return graph.replace(nodes=self.rho(graph.replace(nodes=jax.lax.collapse(both, 1))).nodes)


class BasisNet(GraphLayer):
    r"""A function of eigenspaces: the same for every basis of each.

    .. math:: y = [φ(P_1), …, φ(P_k)]\, W + β, \qquad P_s = \sum_{j \text{ in eigenspace } s} v_j v_j^T

    φ is one network for all projectors: an equivariant linear layer from order 2 to order 2, ReLU, and one from order 2 to
    order 1. Eigenspaces are taken in the order of their eigenvalues; one that is cut off by the number of vectors is left
    out.

    Cost: k projectors of m² entries for every graph of the batch, times ``hidden_features``, for graphs of up to m nodes.

    Law: ``layer(act(g, graph), groups) == act(g, layer(graph, groups))`` for every relabelling, and ``layer`` does not
    change when the vectors of an eigenspace are multiplied by an orthogonal matrix. Padding and the other graphs of a batch
    change nothing.

    Args:
      num_vectors: k, number of eigenvectors.
      out_features: number of output features.
      hidden_features: number of features of φ.
      nodes_per_graph: m, the largest number of nodes of a graph, static; None where the graph is not traced. A graph with
        more is a ``ValueError``; where it is traced, its nodes become NaN.
      dtype: dtype of the computation; None promotes inputs and parameters.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of the kernels.
      bias_init: initialiser of the biases.
      rngs: key source, used at construction only.

    Attributes:
      relation: the :class:`PermutationEquivariantLinear` from order 2 to 2; likewise ``node``, from 2 to 1.
      linear: ``nnx.Linear``, W and β.

    Example:
      >>> import equijax as ej, jax
      >>> from flax import nnx
      >>> graph = ej.graphs.complete_graph(3)
      >>> encoding = ej.graphs.laplacian_encoding(graph, k=2)
      >>> layer = ej.nn.BasisNet(2, 4, nodes_per_graph=3, rngs=nnx.Rngs(0))
      >>> jax.jit(layer)(graph.replace(nodes=encoding.vectors), encoding.groups).nodes.shape
      (3, 4)

    References:
      Lim et al., "Sign and Basis Invariant Networks for Spectral Graph Representation Learning", ICLR 2023,
      arXiv:2202.13013, section 2.
    """

    def __init__(
        self,
        num_vectors: int,
        out_features: int,
        *,
        hidden_features: int = 16,
        nodes_per_graph: int | None = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        bias_init: Any = default_bias_init,
        rngs: nnx.Rngs,
    ):
        self.num_vectors = positive_int(num_vectors, "num_vectors")
        self.out_features = positive_int(out_features, "out_features")
        hidden = positive_int(hidden_features, "hidden_features")
        self.nodes_per_graph = None if nodes_per_graph is None else positive_int(nodes_per_graph, "nodes_per_graph")
        options = {
            "dtype": dtype, "param_dtype": param_dtype, "precision": precision, "kernel_init": kernel_init,
            "bias_init": bias_init, "rngs": rngs,
        }  # fmt: skip
        self.relation = PermutationEquivariantLinear(2, 2, 1, hidden, **options)
        self.node = PermutationEquivariantLinear(2, 1, hidden, hidden, **options)
        self.linear = Linear(num_vectors * hidden, out_features, **options)

    def __call__(self, graph: Graph, groups: jax.Array) -> Graph:
        """Applies the network.

        Args:
          graph: nodes ``(N, k)``, the eigenvectors.
          groups: int32 ``(num_graphs, k)``, the eigenspace of each, counted from 0 in each graph; -1 leaves a vector out.
            ``LaplacianEncoding.groups``.

        Returns:
          The graph with nodes ``(N, out_features)``, zeros at padding.

        Raises:
          TypeError: ``groups`` are no integers.
          ValueError: a shape does not fit, or a graph has more nodes than there is room for.
        """
        vectors = require_nodes(graph, self.num_vectors, self)
        groups = jnp.asarray(integers(groups, "groups", (), "numbers of eigenspaces"))
        if groups.shape != (graph.num_graphs, self.num_vectors):
            raise ValueError(f"`groups` has shape {groups.shape}; it must be {(graph.num_graphs, self.num_vectors)}.")
        outside = (groups < -1) | (groups >= self.num_vectors)
        known = concrete(outside)
        if known is not None and known.any():
            bad = np.asarray(groups)[known][0]
            raise ValueError(f"`groups` holds {bad}; eigenspaces are numbered 0 … {self.num_vectors - 1}, and -1 is none.")
        dense = to_dense(graph.replace(nodes=vectors, edges=None, shifts=None), self.nodes_per_graph)
        spaces = jnp.arange(self.num_vectors, dtype=groups.dtype)
        member = groups[:, None, :] == spaces[None, :, None]  # (graphs, spaces, vectors)
        projectors = jnp.einsum("gsj,gaj,gbj->gsab", member.astype(vectors.dtype), dense.nodes, dense.nodes)
        mask = jnp.broadcast_to(dense.mask[:, None, :], projectors.shape[:-1])
        found = self.node(jax.nn.relu(self.relation(projectors[..., None], mask)), mask)
        found = jnp.where(member.any(-1)[..., None, None], found, jnp.zeros((), found.dtype))
        nodes = nodes_from_dense(jnp.moveaxis(found, 1, 2), graph)
        y = self.linear(jax.lax.collapse(nodes, 1))
        unknown = jnp.take(outside.any(-1), graph.node_graph, axis=0, mode="clip")[:, None]
        y = jnp.where(unknown, jnp.asarray(jnp.nan, y.dtype), y)
        return graph.replace(nodes=masked(y, graph.node_mask))


def _graph_layer(part: Any, name: str) -> Any:
    if not callable(part):
        raise TypeError(f"`{name}` is {shown(part)}, which can't be called. Give a module, a function, or a graph layer.")
    return part if isinstance(part, Layer) else MapNodes(part)
