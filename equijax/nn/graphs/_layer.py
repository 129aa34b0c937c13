"""What every layer on graphs has."""

from typing import Any

import jax
import jax.numpy as jnp

from equijax.actions import Action, GraphAction
from equijax.actions._action import require_action
from equijax.graphs import Graph
from equijax.nn._layer import Layer
from equijax.nn._mask import keep


class GraphLayer(Layer):
    """A layer that takes a graph and returns it with other features; the edges stay where they are.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    What padding holds, and which other graphs are in the batch, changes nothing.
    """

    @property
    def in_action(self) -> Action:
        """Relabelling of nodes and edges."""
        return GraphAction()

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the input, which is that on the output.

        Raises:
          TypeError: the action moves no graph.
        """
        return require_graph_action(in_action)


def require_graph_action(in_action: Any) -> GraphAction:
    """Returns the action after checking that it moves graphs, and that bias and pointwise functions may follow.

    Raises:
      TypeError: it moves no graphs.
      ValueError: it mixes the coordinates of a fibre over the nodes or edges.
    """
    require_action(in_action, "in_action", "a layer on graphs needs a GraphAction")
    if in_action.moves is not Graph:
        raise TypeError(f"`in_action` is {in_action!r}; a layer on graphs needs a GraphAction.")
    if in_action.permutes is False:
        raise ValueError(
            f"`in_action` is {in_action!r}, which mixes the coordinates of a fibre; this layer adds a bias or applies a "
            "function to each of them by itself. Hand it invariants (norms, products), or use a layer for such fibres."
        )
    return in_action


def require_graph(graph: Any, layer: Any) -> Graph:
    """Returns what a layer was called with, after checking that it is a graph.

    Raises:
      TypeError: it is none.
    """
    if not isinstance(graph, Graph):
        raise TypeError(
            f"`graph` is a {type(graph).__name__}; {type(layer).__name__} takes a Graph(nodes, senders, receivers, …) and "
            "returns one. Inside Sequential wrap pointwise functions in MapNodes."
        )
    return graph


def require_same_graph(graph: Any, before: Graph, name: str) -> Graph:
    """Returns what a function of the user made of a graph, after checking that it is a graph of the same nodes.

    Raises:
      TypeError: it is no graph.
      ValueError: it has another number of nodes or graphs.
    """
    if not isinstance(graph, Graph):
        raise TypeError(f"`{name}` returns a {type(graph).__name__}; it must return a Graph, as graph.replace(nodes=…).")
    if (graph.num_nodes, graph.num_graphs) != (before.num_nodes, before.num_graphs):
        raise ValueError(
            f"`{name}` returned {graph!r}; it was given {before.num_nodes} nodes of {before.num_graphs} graphs, to be "
            "kept: graph.replace(nodes=…)."
        )
    return graph


def require_nodes(graph: Any, features: int | None, layer: Any) -> Any:
    """Returns the node features of a graph after checking them: one array of floats ``(N, …, features)``.

    All layers need floats, also those that only add or compare: a learned factor would be cut to an integer.

    Raises:
      TypeError: ``graph`` is no graph, or its nodes no array of floats.
      ValueError: another number of features, or no axis for them.
    """
    name, nodes = type(layer).__name__, require_graph(graph, layer).nodes
    if not hasattr(nodes, "shape"):
        raise TypeError(f"`graph.nodes` is {type(nodes).__name__}; {name} needs one array (N, …, features).")
    if nodes.ndim < 2:
        raise ValueError(
            f"`graph.nodes` has shape {nodes.shape}; {name} needs (N, …, features). Write nodes[:, None] for one number."
        )
    if features is not None and nodes.shape[-1] != features:
        raise ValueError(
            f"`graph.nodes` has shape {nodes.shape}; {name} needs (N, …, {features}), with in_features = {features} last."
        )
    if not jnp.issubdtype(nodes.dtype, jnp.floating):
        raise TypeError(
            f"`graph.nodes` has dtype {nodes.dtype}; {name} needs floats. Write nodes.astype(jnp.float32), or embed "
            "kinds by MapNodes(nnx.Embed(…))."
        )
    return nodes


def require_edges(graph: Graph, features: int, layer: Any) -> jax.Array:
    """Returns the edge features of a graph after checking them: one array of floats ``(E, features)``.

    Raises:
      TypeError: they are no array of floats.
      ValueError: there are none, or another number.
    """
    name, edges = type(layer).__name__, graph.edges
    if edges is None:
        raise ValueError(f"`graph` has no edge features; {name} was built for {features}: graph.replace(edges=…).")
    if not hasattr(edges, "shape"):
        raise TypeError(f"`graph.edges` is {type(edges).__name__}; {name} needs one array (E, {features}).")
    if edges.shape != (graph.num_edges, features):
        raise ValueError(f"`graph.edges` has shape {edges.shape}; {name} needs {(graph.num_edges, features)}.")
    if not jnp.issubdtype(edges.dtype, jnp.floating):
        raise TypeError(f"`graph.edges` has dtype {edges.dtype}; {name} needs floats. Write edges.astype(jnp.float32).")
    return edges


def masked(tree: Any, mask: jax.Array) -> Any:
    """Returns arrays ``(N, …)`` with zeros where ``mask``, bool ``(N,)``, is False, whatever stood there."""
    return jax.tree.map(lambda leaf: keep(leaf, mask), tree)
