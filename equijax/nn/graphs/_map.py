"""Pointwise functions on the features of a graph."""

from collections.abc import Callable
from typing import Any

from equijax.graphs import Graph
from equijax.nn.graphs._layer import GraphLayer, masked, require_graph
from equijax.nn.graphs._rows import on_rows


class _Map(GraphLayer):
    def __init__(self, fn: Callable[..., Any]):
        if not callable(fn):
            raise TypeError(f"`fn` is {fn!r}, which can't be called. Give a function or a Flax module.")
        self.fn = fn


class MapNodes(_Map):
    """Applies a function or a Flax module to the features of each node: activations, ``nnx.Linear``, ``nnx.LayerNorm``.

    What padding holds is replaced by zeros first, and by zeros behind. Where the call of ``fn`` takes ``mask``, it gets that
    of the nodes, bool ``(N, …)``; so do ``nnx.BatchNorm``, whose statistics then leave padding out, and the entries of an
    ``nnx.Sequential``. A module of your own with an ``nnx.BatchNorm`` inside has to take ``mask`` and hand it on;
    otherwise it is a ``ValueError``, unless the mask is known to be True everywhere or running averages are used.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` if ``fn`` treats every node alike and for itself. The statistics of
    ``nnx.BatchNorm`` keep the law too, but join the graphs of a batch.

    Args:
      fn: maps ``(N, …, in_features)`` to ``(N, …, out_features)``.

    Example:
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.ones((3, 8)), senders=[0, 1], receivers=[1, 2])
      >>> ej.nn.MapNodes(jax.nn.relu)(graph)
      Graph(3 nodes, 2 edges, 1 graph; nodes float32[3,8])
    """

    def __call__(self, graph: Graph, **options: Any) -> Graph:
        """Returns the graph with ``nodes = fn(nodes, **options)``."""
        require_graph(graph, self)
        mask = graph.node_mask
        return graph.replace(nodes=masked(on_rows(self.fn, masked(graph.nodes, mask), mask, **options), mask))


class MapEdges(_Map):
    """Applies a function or a Flax module to the features of each edge.

    What padding holds is replaced by zeros first, and by zeros behind. The mask of the edges is handed on as in
    :class:`MapNodes`.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` if ``fn`` treats every edge alike and for itself.

    Args:
      fn: maps ``(E, …, in_features)`` to ``(E, …, out_features)``.

    Example:
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.ones((3, 8)), senders=[0, 1], receivers=[1, 2], edges=jnp.ones((2, 4)))
      >>> ej.nn.MapEdges(jax.nn.relu)(graph)
      Graph(3 nodes, 2 edges, 1 graph; nodes float32[3,8], edges float32[2,4])
    """

    def __call__(self, graph: Graph, **options: Any) -> Graph:
        """Returns the graph with ``edges = fn(edges, **options)``."""
        require_graph(graph, self)
        mask = graph.edge_mask
        return graph.replace(edges=masked(on_rows(self.fn, masked(graph.edges, mask), mask, **options), mask))
