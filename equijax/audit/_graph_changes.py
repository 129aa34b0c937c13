"""Changes of a graph that must not matter to what stands in it: padding, batch mates."""

from typing import Any

import jax
import jax.numpy as jnp

from equijax._masked import keep
from equijax.audit._error import is_floating
from equijax.graphs import Graph, batch

_MASKS = {
    **dict.fromkeys(("nodes", "positions", "velocities"), "node_mask"),
    **{"edges": "edge_mask", "shifts": "edge_mask", "globals": "graph_mask", "rows": "graph_mask"},
}


def rows(output: Any) -> dict[str, Any]:
    """Returns the features of a graph by their names, or arrays with a row for each graph as ``"rows"``."""
    if not isinstance(output, Graph):
        return {"rows": output}
    return {name: getattr(output, name) for name in _MASKS if name != "rows"}


def seen(features: dict[str, Any], graph: Graph, number: int = 0) -> dict[str, Any]:
    """Returns the rows that belong to ``graph`` (copy ``number`` of it in a batch), with zeros at its padding."""

    def own(leaf: jax.Array, mask: jax.Array) -> jax.Array:
        part = leaf[number * len(mask) : (number + 1) * len(mask)]
        return keep(part, mask)

    return {
        name: jax.tree.map(lambda leaf, name=name: own(leaf, getattr(graph, _MASKS[name])), part)
        for name, part in features.items()
    }


def filled(graph: Graph, value: float) -> Graph:
    """Returns the graph with ``value`` in all floating features of its padding."""

    def one(leaf: jax.Array, mask: jax.Array) -> jax.Array:
        return keep(leaf, mask, value) if is_floating(leaf) else leaf

    return graph.replace(
        **{
            name: jax.tree.map(lambda leaf, name=name: one(leaf, getattr(graph, _MASKS[name])), part)
            for name, part in rows(graph).items()
        }
    )


def blank(graph: Graph, nodes: int, edges: int, graph_mask: Any = (False,)) -> Graph:
    """Returns a graph of padding only, with features like those of ``graph``."""
    sizes = {"node_mask": nodes, "edge_mask": edges, "graph_mask": len(graph_mask)}
    features = {
        name: jax.tree.map(lambda leaf, name=name: jnp.zeros((sizes[_MASKS[name]], *leaf.shape[1:]), leaf.dtype), part)
        for name, part in rows(graph).items()
    }
    masks: dict[str, Any] = {
        "node_mask": jnp.zeros(nodes, bool),
        "edge_mask": jnp.zeros(edges, bool),
        "graph_mask": jnp.asarray(graph_mask),
    }
    ends = jnp.zeros(edges, jnp.int32)
    new = Graph(**features, senders=ends, receivers=ends, node_graph=jnp.zeros(nodes, jnp.int32), **masks)
    return new if graph.table is None else new.with_table()


def joined(a: Graph, b: Graph) -> Graph:
    """Returns one graph that holds ``a`` and behind it ``b``."""
    new = batch([a, b])
    return new if a.table is None else new.with_table()


def padded(graph: Graph, value: float) -> Graph:
    """Returns the graph with more padding, one node of which is said to lie in its first graph, and a value in all of it."""
    larger = joined(graph, blank(graph, 2, 3))
    return filled(rewired(larger, node_graph=larger.node_graph.at[-1].set(0)), value)


def rewired(graph: Graph, **changes: Any) -> Graph:
    """Returns the graph with other edges or masks, and with new neighbour tables where it had some."""
    table = graph.table is not None
    new = graph.replace(**changes)
    return new.with_table() if table and new.table is None else new


def changed(graph: Graph) -> Graph:
    """Returns a graph of the same size with other floating features, and without every second edge."""
    other = jax.tree.map(lambda leaf: -1.3 * leaf + 0.7 if is_floating(leaf) else leaf, rows(graph))
    keep = jnp.arange(graph.num_edges) % 2 == 0
    return rewired(graph.replace(**other), edge_mask=graph.edge_mask & keep)
