"""Layers on graphs with several types of nodes and edges."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._arguments import shown
from equijax.actions import Action, HeteroGraphAction
from equijax.actions._action import require_action
from equijax.graphs import Graph, HeteroGraph
from equijax.graphs._given import require_mapping
from equijax.graphs._hetero import require_edge_type
from equijax.nn._aggregation import as_aggregation
from equijax.nn._dropout import as_streams
from equijax.nn._layer import Layer
from equijax.nn._options import accepted_options
from equijax.nn.graphs._layer import masked, require_nodes, require_same_graph
from equijax.nn.graphs._rows import on_rows


class HeteroLayer(Layer):
    """A layer that takes a :class:`equijax.graphs.HeteroGraph` and returns it with other features.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes of each type, and every order of
    the edges of each type.
    """

    @property
    def in_action(self) -> Action:
        """Relabelling of the nodes and edges of each type."""
        return HeteroGraphAction()

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the input, which is that on the output.

        Raises:
          TypeError: the action moves no such graph.
        """
        require_action(in_action, "in_action", "the layer needs a HeteroGraphAction")
        if in_action.moves is not HeteroGraph:
            raise TypeError(f"`in_action` is {in_action!r}; the layer needs a HeteroGraphAction.")
        return in_action


class HeteroConv(HeteroLayer):
    r"""Applies a layer for each type of edges, and aggregates what each node gets from them.

    .. math:: y_t = \sum_{(s, ρ, t)} \mathrm{layer}_{sρt}(x_s, x_t)_t

    The layer of a type (s, ρ, t) sees the flat graph of the nodes s and t with the edges of this type, as
    :meth:`HeteroGraph.relation <equijax.graphs.HeteroGraph.relation>` returns it; its output at the nodes t counts. So both
    types need equally many features: see :class:`HeteroMap`. Positions and edge features that a layer changes are not used.

    Types of edges without a layer are not looked at. Types of nodes at which no edge with a layer ends keep their
    features.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))``, as the layers do.

    Args:
      layers: for each type of edges, ``(type of the senders, relation, type of the receivers)``, a layer from
        :class:`equijax.graphs.Graph` to ``Graph``.
      aggregation: how the outputs of the relations are aggregated, a word or an ``Aggregation``.

    Raises:
      TypeError: a type of edges is no triple of words, or a layer can't be called.
      ValueError: there is no layer.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> saw, knows = ("user", "saw", "film"), ("user", "knows", "user")
      >>> graph = ej.graphs.HeteroGraph(
      ...     {"user": jnp.ones((2, 4)), "film": jnp.ones((3, 4))}, {saw: ([0, 1], [0, 2]), knows: ([0], [1])})
      >>> rngs = nnx.Rngs(0)
      >>> layer = ej.nn.HeteroConv({saw: ej.nn.GCNConv(4, 8, rngs=rngs), knows: ej.nn.SAGEConv(4, 8, rngs=rngs)})
      >>> {name: x.shape for name, x in layer(graph).nodes.items()}
      {'film': (3, 8), 'user': (2, 8)}

    Reference:
      Schlichtkrull, Kipf, Bloem, van den Berg, Titov and Welling, "Modeling Relational Data with Graph Convolutional
      Networks", ESWC 2018, arXiv:1703.06103: a sum over relations, each with weights of its own.
    """

    def __init__(self, layers: Mapping[tuple[str, str, str], Callable[[Graph], Graph]], aggregation: Any = "sum"):
        require_mapping(layers, "layers", "{type of edges: layer}")
        if not layers:
            raise ValueError("`layers` is empty; give a layer for at least one type of edges.")
        for kind in layers:
            require_edge_type(kind, "layers")
        self.edge_types = tuple(sorted(layers))
        self.aggregation = as_aggregation(aggregation)
        self.layers = _callables([layers[kind] for kind in self.edge_types], "layers")

    def __call__(self, graph: HeteroGraph, **options: Any) -> HeteroGraph:
        """Applies the layers.

        Args:
          graph: nodes ``(N, …, in_features)`` for each type.
          **options: go to every layer whose call takes them: ``deterministic``, ``rngs``.

        Returns:
          The graph with nodes ``(N, …, out_features)`` of those types that receive.

        Raises:
          TypeError: it is no such graph, a layer returns no graph, or no layer takes an option.
          ValueError: the graph lacks a type, or senders and receivers have different features.
        """
        _require_hetero(graph)
        if "rngs" in options:
            options = {**options, "rngs": as_streams(options["rngs"])}
        accepted = [accepted_options(layer, options) if options else {} for layer in self.layers]
        unknown = set(options).difference(*accepted)
        if unknown:
            raise TypeError(f"`{sorted(unknown)[0]}` is accepted by no layer of this HeteroConv. Check the spelling.")
        received: dict[str, list] = {}
        for kind, layer, given in zip(self.edge_types, self.layers, accepted, strict=True):
            flat = graph.relation(kind)
            out = layer(flat, **given)
            out = require_same_graph(out, flat, f"layers[{kind!r}]")
            require_nodes(out, None, layer)
            first = flat.num_nodes - graph.num_nodes[kind[2]]
            received.setdefault(kind[2], []).append(out.nodes[first:])
        new = {name: self.aggregation.over_axis(jnp.stack(parts, -2)) for name, parts in received.items()}
        return _with_nodes(graph, {name: masked(x, graph.node_mask[name]) for name, x in new.items()})


class HeteroMap(HeteroLayer):
    """Applies to the nodes of each type a function or a Flax module of its own; types without one keep their features.

    What padding holds is replaced by zeros first, and by zeros behind. The mask of the nodes is handed on as in
    :class:`MapNodes`.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` if each function treats every node alike and for itself.

    Args:
      fns: for each type of nodes a function from ``(N, …, in_features)`` to ``(N, …, out_features)``.

    Raises:
      TypeError: ``fns`` is no dictionary, a type of nodes no word, or what stands for it can't be called.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.graphs.HeteroGraph({"user": jnp.ones((2, 4)), "film": jnp.ones((3, 8))}, {})
      >>> layer = ej.nn.HeteroMap({"user": nnx.Linear(4, 16, rngs=nnx.Rngs(0)), "film": nnx.Linear(8, 16, rngs=nnx.Rngs(1))})
      >>> {name: x.shape for name, x in layer(graph).nodes.items()}
      {'film': (3, 16), 'user': (2, 16)}
    """

    def __init__(self, fns: Mapping[str, Callable[[Any], jax.Array]]):
        require_mapping(fns, "fns", "{type of nodes: function}")
        for name in fns:
            if not isinstance(name, str):
                raise TypeError(f"`fns` has a key {name!r}; a type of nodes is a word.")
        self.node_types = tuple(sorted(fns))
        self.fns = _callables([fns[name] for name in self.node_types], "fns")

    def __call__(self, graph: HeteroGraph) -> HeteroGraph:
        """Applies the functions.

        Raises:
          TypeError: it is no such graph.
          ValueError: the graph lacks a type.
        """
        _require_hetero(graph)
        new = {}
        for name, fn in zip(self.node_types, self.fns, strict=True):
            if name not in graph.nodes:
                raise ValueError(f"`graph` has no nodes of the type {name!r}, only {list(graph.node_types)}.")
            mask = graph.node_mask[name]
            new[name] = masked(on_rows(fn, masked(graph.nodes[name], mask), mask), mask)
        return _with_nodes(graph, new)


def _callables(values: list[Any], argument: str) -> Any:
    for value in values:
        if not callable(value):
            raise TypeError(f"`{argument}` holds {shown(value)}, which can't be called.")
    return nnx.List(values)


def _with_nodes(graph: HeteroGraph, nodes: dict[str, Any]) -> HeteroGraph:
    return graph.replace(nodes={**graph.nodes, **nodes})


def _require_hetero(graph: Any) -> None:
    if not isinstance(graph, HeteroGraph):
        raise TypeError(f"`graph` is a {type(graph).__name__}; the layer takes a HeteroGraph(nodes, edges).")
