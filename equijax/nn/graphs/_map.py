"""Pointwise functions on the features of a graph."""

from collections.abc import Callable
from typing import Any

from equijax.graphs import Graph
from equijax.nn.graphs._layer import GraphLayer, masked, require_graph


class _Map(GraphLayer):
    def __init__(self, fn: Callable[..., Any]):
        if not callable(fn):
            raise TypeError(f"`fn` is {fn!r}, which can't be called. Give a function or a Flax module.")
        self.fn = fn


class MapNodes(_Map):
    """Applies a function or a Flax module to the features of each node: activations, ``nnx.Linear``, ``nnx.LayerNorm``.

    What padding holds is replaced by zeros first, and by zeros behind.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` if ``fn`` treats every node alike and for itself.

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
        return graph.replace(nodes=masked(self.fn(masked(graph.nodes, graph.node_mask), **options), graph.node_mask))


class MapEdges(_Map):
    """Applies a function or a Flax module to the features of each edge.

    What padding holds is replaced by zeros first, and by zeros behind.

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
        return graph.replace(edges=masked(self.fn(masked(graph.edges, graph.edge_mask), **options), graph.edge_mask))
