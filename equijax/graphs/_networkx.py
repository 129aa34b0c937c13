"""To and from networkx, which is imported when it is needed."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from equijax._arguments import boolean
from equijax.graphs._batch import unbatch
from equijax.graphs._graph import Graph
from equijax.graphs._host import library, on_host, require_no_shifts, require_one_graph


def from_networkx(
    graph: Any,
    *,
    nodes: str | Sequence[str] | None = None,
    edges: str | Sequence[str] | None = None,
    positions: str | None = None,
    shifts: str | None = None,
) -> Graph:
    """Returns a ``networkx`` graph as a :class:`Graph`.

    Node k is the k-th of ``graph.nodes``; its name is not kept. Of an undirected graph every edge appears in both
    directions, a self-loop once. Parallel edges of a multigraph stay.

    Args:
      graph: a Graph, DiGraph, MultiGraph or MultiDiGraph of networkx.
      nodes: the attribute of the nodes that holds their features, numbers or arrays; several are put side by side.
      edges: the attribute of the edges, likewise.
      positions: the attribute of the nodes that holds their points in space.
      shifts: the attribute of the edges of a directed graph that holds their shifts.

    Returns:
      A graph with nodes ``(N, features)`` or None, and edges ``(E, features)`` or None.

    Raises:
      ValueError: an attribute is missing somewhere, or edges without a direction have shifts.

    Example:
      >>> import equijax as ej, networkx as nx
      >>> ej.graphs.from_networkx(nx.path_graph(3)).senders.tolist()
      [0, 1, 1, 2]
    """
    if shifts is not None and not graph.is_directed():
        raise ValueError(
            f"`shifts` is {shifts!r}, but the graph is undirected, and a shift belongs to a direction. Give a DiGraph."
        )
    number = {name: k for k, name in enumerate(graph.nodes)}
    pairs = [(number[a], number[b], data) for a, b, data in graph.edges(data=True)]
    if not graph.is_directed():
        pairs = sorted([*pairs, *((b, a, data) for a, b, data in pairs if a != b)], key=lambda pair: pair[:2])
    of_nodes = [(f"node {name!r}", data) for name, data in graph.nodes(data=True)]
    of_edges = [(f"edge ({a}, {b})", data) for a, b, data in pairs]
    ends = np.array([pair[:2] for pair in pairs], np.int32).reshape(-1, 2)
    return Graph(
        _columns(of_nodes, nodes),
        senders=ends[:, 0],
        receivers=ends[:, 1],
        edges=_columns(of_edges, edges),
        positions=_columns(of_nodes, positions),
        shifts=_columns(of_edges, shifts),
        node_mask=np.ones(len(of_nodes), bool),
    )


def to_networkx(graph: Graph, *, directed: bool = True) -> Any:
    """Returns one graph as a ``networkx.MultiDiGraph``, or a ``MultiGraph`` where it is undirected.

    Padding is left out. Arrays of features become attributes ``"features"`` (numpy), the entries of a dict attributes of
    their names; positions, velocities and shifts ``"positions"``, ``"velocities"`` and ``"shifts"``; globals attributes of
    the graph.

    Args:
      graph: one graph, not traced.
      directed: whether edges keep their direction. If not, each needs an opposite one, and the pair becomes one edge with
        the features of the one from the lower to the higher number.

    Raises:
      ImportError: networkx is not installed.
      ValueError: there are several graphs, or ``directed`` is False and an edge has no opposite or has a shift.

    Example:
      >>> import equijax as ej
      >>> print(ej.graphs.to_networkx(ej.graphs.complete_graph(3), directed=False))
      MultiGraph with 3 nodes and 3 edges
    """
    directed = boolean(directed, "directed")
    networkx = library("networkx")
    require_one_graph(graph, "to_networkx")
    host = on_host(unbatch(graph)[0], "to_networkx")
    result = networkx.MultiDiGraph() if directed else networkx.MultiGraph()
    if host.globals is not None:
        result.graph.update(_attributes(host.globals, 0))
    for k in range(host.num_nodes):
        extra = {name: getattr(host, name)[k] for name in ("positions", "velocities") if getattr(host, name) is not None}
        result.add_node(k, **_attributes(host.nodes, k), **extra)
    kept = np.arange(host.num_edges)
    if not directed:
        require_no_shifts(host, "an undirected graph")
        _require_opposites(host)
        kept = np.flatnonzero(host.senders <= host.receivers)
    for e in kept.tolist():
        extra = {} if host.shifts is None else {"shifts": host.shifts[e]}
        result.add_edge(int(host.senders[e]), int(host.receivers[e]), **_attributes(host.edges, e), **extra)
    return result


def _columns(entries: list[tuple[str, dict]], names: str | Sequence[str] | None) -> np.ndarray | None:
    """Stacks attributes of nodes or edges, ``(count, features)``."""
    if names is None:
        return None
    rows = []
    for what, data in entries:
        missing = [name for name in ([names] if isinstance(names, str) else names) if name not in data]
        if missing:
            raise ValueError(f"`{missing[0]}` is no attribute of {what}, which has {sorted(map(str, data))}.")
        parts = [np.ravel(data[name]) for name in ([names] if isinstance(names, str) else names)]
        rows.append(np.concatenate(parts))
    sizes = sorted({len(row) for row in rows})
    if len(sizes) > 1:
        raise ValueError(f"`{names}` has between {sizes[0]} and {sizes[-1]} numbers; all need equally many.")
    return np.stack(rows) if rows else np.zeros((0, 1))


def _attributes(tree: Any, k: int) -> dict[str, Any]:
    if tree is None:
        return {}
    entries = tree if isinstance(tree, dict) else {"features": tree}
    return {name: jax.tree.map(lambda leaf: leaf[k], entry) for name, entry in entries.items()}


def _require_opposites(host: Graph) -> None:
    off = host.senders != host.receivers
    forth = sorted(zip(host.senders[off].tolist(), host.receivers[off].tolist(), strict=True))
    back = sorted((b, a) for a, b in forth)
    if forth != back:
        lonely = next(pair for pair in forth if forth.count(pair) != back.count(pair))
        raise ValueError(
            f"`directed` is False, but the edges from node {lonely[0]} to node {lonely[1]} are not as many as those back. "
            "Write directed=True, or undirected(graph)."
        )
