"""Message passing: message, aggregate, update."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax.graphs import Graph
from equijax.nn._aggregation import as_aggregation
from equijax.nn._dropout import Streams, as_streams, key_from
from equijax.nn._options import accepted_options, takes_rngs
from equijax.nn.graphs._layer import GraphLayer, masked, require_nodes
from equijax.nn.graphs._messages import aggregate, aggregate_neighbours, side_by_side, with_rngs
from equijax.nn.graphs._rows import on_rows


class MessagePassing(GraphLayer):
    r"""The pattern of graph networks: a message along every edge, their aggregate at every node, an update.

    .. math:: x_i' = γ\Big(x_i, \bigoplus_{j → i} φ(x_i, x_j, e_{ji})\Big)

    φ and γ are given as modules, or a subclass overrides :meth:`message` and :meth:`update`. The aggregation does not depend
    on the order of the edges. Two edges between the same nodes send two messages.

    φ may be computed in chunks of edges, and again in the backward pass; so it must not change anything. Statistics of a
    batch (``nnx.BatchNorm``) belong into γ, which gets the mask of the nodes as in :class:`MapNodes`, or give way to
    ``nnx.LayerNorm``.

    Noise and dropout: a φ whose call takes ``rngs`` (``nnx.Dropout(0.5)``, an ``nnx.Sequential`` with it, a :meth:`message`
    with a further argument ``rngs``) gets it where the layer is called with ``rngs``. One key is taken for each call, and
    every edge gets ``nnx.Rngs`` of its own, made of that key and its number: chunks and gradients see the same noise.
    γ gets the ``rngs`` of the call. A φ that holds random keys itself is refused.

    Law: ``layer(act(g, graph)) == act(g, layer(graph))`` for every relabelling of the nodes and every order of the edges.
    Padding and the other graphs of a batch change nothing; at a node where no edge arrives the aggregate is 0. Noise belongs
    to the numbers of the edges, so with it the law holds in distribution.

    Args:
      message: φ, a module or function of one array, the features of the receiver, the sender, and the edge if it has any,
        side by side: ``(E, …, 2 in_features + edge_features)``. None sends the sender's features as they are.
      update: γ, a module or function of the features of the node and the aggregate side by side. None returns the aggregate.
      aggregation: a word (``"sum"``, ``"mean"``, ``"max"``, ``"min"``, ``"std"``, …), an :class:`Aggregation`, or several,
        whose results are put side by side.

    Raises:
      TypeError: the aggregation depends on the order, or a part can't be called, or ``message`` holds statistics or random
        keys that its call would change.

    Example: modules, or a subclass.
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> graph = ej.Graph(jnp.ones((3, 4)), senders=[0, 1], receivers=[1, 2], edges=jnp.ones((2, 2)))
      >>> layer = ej.nn.MessagePassing(
      ...     message=nnx.Linear(4 + 4 + 2, 8, rngs=nnx.Rngs(0)), update=nnx.Linear(4 + 8, 4, rngs=nnx.Rngs(1)))
      >>> layer(graph).nodes.shape
      (3, 4)
      >>> class Attraction(ej.nn.MessagePassing):
      ...     def message(self, senders, receivers, edges):
      ...         return senders - receivers
      ...     def update(self, nodes, aggregated):
      ...         return nodes + 0.1 * aggregated
      >>> Attraction(aggregation="mean")(graph).nodes.shape
      (3, 4)

    References:
      Gilmer et al., "Neural Message Passing for Quantum Chemistry", ICML 2017, arXiv:1704.01212, section 2.
    """

    in_features: int | None = None
    """Number of node features that the layer takes; None for any."""

    def __init__(self, *, message: Any = None, update: Any = None, aggregation: Any = "sum"):
        for name, part in (("message", message), ("update", update)):
            if part is not None and not callable(part):
                raise TypeError(f"`{name}` is {part!r}, which can't be called. Give a module, a function, or None.")
        require_no_state(message, "message")
        self.message_network, self.update_network = message, update
        self.aggregation = as_aggregation(aggregation)

    def message(self, senders: jax.Array, receivers: jax.Array, edges: Any) -> jax.Array:
        """Returns the messages ``(E, …, features)``.

        Args:
          senders: features of the node at which each edge starts, ``(E, …, in_features)``; zeros on padded edges.
          receivers: features of the node at which it ends, alike.
          edges: ``graph.edges``, zeros on padded edges; None where the graph has none.
        """
        return senders if self.message_network is None else self._of_network(senders, receivers, edges)

    def _of_network(self, senders: jax.Array, receivers: jax.Array, edges: Any, **options: Any) -> jax.Array:
        return self.message_network(side_by_side(receivers, senders, edges), **options)

    def update(self, nodes: jax.Array, aggregated: jax.Array) -> jax.Array:
        """Returns the new features ``(N, …, out_features)``.

        Args:
          nodes: features of the nodes, ``(N, …, in_features)``; zeros at padding.
          aggregated: the aggregate of the messages that arrive at each node.
        """
        return aggregated if self.update_network is None else self.update_network(side_by_side(nodes, aggregated))

    def _messages(self, graph: Graph, rngs: nnx.Rngs | nnx.RngStream | None) -> tuple[Callable[..., jax.Array], Any]:
        """What computes the messages of edges, and what it reads of them: with noise, where φ takes it."""
        overridden = type(self).message is not MessagePassing.message
        if rngs is None or not takes_rngs(self.message if overridden else self.message_network):
            return self.message, graph.edges
        return with_rngs(self.message if overridden else self._of_network, key_from(rngs), graph, graph.edges)

    def _updated(self, nodes: jax.Array, aggregated: jax.Array, mask: jax.Array, rngs: Any) -> jax.Array:
        own = type(self).update is MessagePassing.update and self.update_network is not None
        options = {"rngs": rngs} if rngs is not None and takes_rngs(self.update_network if own else self.update) else {}
        if own:
            return on_rows(self.update_network, side_by_side(nodes, aggregated), mask, **options)
        if not type(self).update.__module__.startswith("equijax."):
            options |= accepted_options(self.update, {"mask": mask})
        return self.update(nodes, aggregated, **options)

    def __call__(self, graph: Graph, *, rngs: Streams | None = None) -> Graph:
        """Returns the graph with new nodes ``(N, …, out_features)``, zeros at padding.

        Args:
          graph: nodes ``(N, …, in_features)``.
          rngs: the streams, one of them, or a key, for the parts whose calls take ``rngs``.

        Raises:
          TypeError: ``graph`` is no graph, or its nodes no array of floats.
          ValueError: the features do not fit, or :meth:`update` lost the axis of the nodes.
        """
        nodes = masked(require_nodes(graph, self.in_features, self), graph.node_mask)
        if self.message_network is not None and graph.edges is not None and getattr(graph.edges, "ndim", 0) != 2:
            raise ValueError(
                f"`graph.edges` is {jax.tree.map(jnp.shape, graph.edges)}; a `message` module needs an array (E, features). "
                "Write edges[:, None] for one number, or a subclass whose message() takes what there is."
            )
        rngs = as_streams(rngs)
        if type(self).message is MessagePassing.message and self.message_network is None:
            aggregated = aggregate_neighbours(self.aggregation, nodes, graph)
        else:
            message, edges = self._messages(graph, rngs)
            aggregated = aggregate(self.aggregation, message, graph, nodes, edges)
        new = self._updated(nodes, aggregated, graph.node_mask, rngs)
        if jnp.ndim(new) < 2 or jnp.shape(new)[:1] != nodes.shape[:1]:
            raise ValueError(
                f"`update` returned shape {jnp.shape(new)} for {graph.num_nodes} nodes; it must keep axis 0 and return "
                f"({graph.num_nodes}, …, features)."
            )
        return graph.replace(nodes=masked(new, graph.node_mask))


def require_no_state(network: Any, name: str) -> None:
    """Checks that the call of a network of messages changes nothing.

    Raises:
      TypeError: it holds statistics or random keys.
    """
    if not isinstance(network, nnx.Module):
        return
    for path, _ in nnx.to_flat_state(nnx.state(network, nnx.Any(nnx.BatchStat, nnx.RngState))):
        raise TypeError(
            f"`{name}` holds {'.'.join(map(str, path))}, which its call would change, but messages may be computed in "
            "chunks and twice. Use nnx.LayerNorm instead of nnx.BatchNorm, or normalise the nodes behind the layer; build "
            "nnx.Dropout without rngs, and call the layer with rngs=nnx.Rngs(dropout=0), which draws noise for the edges."
        )
