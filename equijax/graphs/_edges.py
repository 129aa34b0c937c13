"""Making edges: self-loops, the other direction, near points, all pairs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import real_number, shown
from equijax._indices import bounded_int
from equijax.graphs._graph import Graph
from equijax.graphs._host import on_host, require_graph
from equijax.graphs._images import lattice, near_images, numbered, numbers_of_rows
from equijax.graphs._table import NeighbourTable
from equijax.groups._elements import array_shape, concrete, known_reals


def add_self_loops(graph: Graph, fill: float = 0.0) -> Graph:
    """Returns the graph with one more edge at each node, to itself and not to an image, behind the other edges.

    Nodes that have a self-loop get another one; loops at padding are masked. The graph may be traced.

    Args:
      graph: the graph, with E edges.
      fill: the number that the features of the new edges hold.

    Returns:
      The graph with ``E + N`` edges, without a table.

    Raises:
      TypeError: ``fill`` is no number, or features of edges have a dtype that can't hold it, such as integers 0.5.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.ones((3, 8)), senders=[0], receivers=[1])
      >>> ej.graphs.add_self_loops(graph).receivers.tolist()
      [1, 0, 1, 2]
    """
    require_graph(graph, "add_self_loops")
    if not isinstance(fill, (bool, int, float, complex)) and array_shape(fill, "fill"):
        raise TypeError(f"`fill` is {shown(fill)}; it must be one number.")
    nodes = jnp.arange(graph.num_nodes, dtype=jnp.int32)

    def extend(x: jax.Array) -> jax.Array:
        if not _holds(x.dtype, fill):
            raise TypeError(
                f"`fill` is {fill}, which the features of the edges, {x.dtype}, can't hold. Give a number of that kind, or "
                "make the features floats first: graph.map_edges(lambda x: x.astype(jnp.float32))."
            )
        return jnp.concatenate([x, jnp.full((len(nodes), *x.shape[1:]), fill, x.dtype)])

    shifts = graph.shifts
    if shifts is not None:
        shifts = jnp.concatenate([shifts, jnp.zeros((len(nodes), *shifts.shape[1:]), shifts.dtype)])
    return graph.replace(
        senders=jnp.concatenate([graph.senders, nodes]),
        receivers=jnp.concatenate([graph.receivers, nodes]),
        edges=jax.tree.map(extend, graph.edges),
        shifts=shifts,
        edge_mask=jnp.concatenate([graph.edge_mask, graph.node_mask]),
    )


def _holds(dtype: Any, fill: Any) -> bool:
    """Tells whether integers or bools of a dtype can be ``fill``; floats are rounded."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return True
    known = concrete(fill)
    if known is None:
        return not jnp.issubdtype(jnp.result_type(fill), jnp.inexact)
    with np.errstate(invalid="ignore"):
        return bool(np.all(known.astype(dtype) == known))


def reverse(graph: Graph) -> Graph:
    """Returns the graph with every edge in the opposite direction; features stay, and a table stays valid.

    Shifts change their sign, as the vectors along the edges do.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.ones((3, 8)), senders=[0, 1], receivers=[1, 2])
      >>> ej.graphs.reverse(graph).senders.tolist()
      [1, 2]
    """
    require_graph(graph, "reverse")
    table = None if graph.table is None else NeighbourTable(graph.table.outgoing, graph.table.incoming)
    shifts = None if graph.shifts is None else -graph.shifts
    return graph.replace(senders=graph.receivers, receivers=graph.senders, shifts=shifts, table=table)


def undirected(graph: Graph) -> Graph:
    """Returns the graph with every edge in both directions, on the host.

    Where more edges go from i to j than back, the last ones of them get an opposite edge behind the others, with the same
    features. All edges that there are stay as they are; so a second call changes nothing. Where edges have shifts, only an
    edge with the opposite shift, up to rounding, leads back.

    Args:
      graph: the graph; not traced.

    Returns:
      The graph, without a table.

    Raises:
      ValueError: it is traced.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.ones((3, 8)), senders=[0, 1, 2, 2], receivers=[1, 0, 1, 2])
      >>> both = ej.graphs.undirected(graph)
      >>> both.senders.tolist(), both.receivers.tolist()
      ([0, 1, 2, 2, 1], [1, 0, 1, 2, 2])
    """
    host = on_host(graph, "undirected")
    kept = np.flatnonzero(host.edge_mask)
    senders, receivers = host.senders[kept].astype(np.int64), host.receivers[kept].astype(np.int64)
    forth, back = senders * host.num_nodes + receivers, receivers * host.num_nodes + senders
    if host.shifts is not None:
        numbers = numbered(host.shifts[kept])
        forth, back = numbers_of_rows(np.column_stack([forth, numbers]), np.column_stack([back, -numbers]))
    order = np.argsort(forth, stable=True)
    count = lambda pairs, side: np.searchsorted(forth[order], pairs, side)  # noqa: E731
    opposite = count(back, "right") - count(back, "left")
    number = np.argsort(order) - count(forth, "left")  # among the edges of the same ends
    lonely = kept[number >= opposite]
    return graph.replace(
        senders=np.concatenate([host.senders, host.receivers[lonely]]),
        receivers=np.concatenate([host.receivers, host.senders[lonely]]),
        edges=jax.tree.map(lambda x: np.concatenate([x, x[lonely]]), host.edges),
        shifts=None if host.shifts is None else np.concatenate([host.shifts, -host.shifts[lonely]]),
        edge_mask=np.concatenate([host.edge_mask, host.edge_mask[lonely]]),
    )


def radius_graph(positions: Any, radius: float, *, nodes: Any = None, node_graph: Any = None, cell: Any = None) -> Graph:
    """Joins all points at a distance of at most ``radius``, in both directions, on the host.

    With a ``cell`` the points repeat, and every near image of a point gives an edge, with a shift. So there may be several
    between two points, or from a point to itself.

    Args:
      positions: floats ``(N, d)``, finite.
      radius: the largest distance, positive and finite.
      nodes: features ``(N, …)``, a pytree of such arrays, or None.
      node_graph: integers ``(N,)``: only points with equal numbers are joined; None puts all into one graph.
      cell: floats ``(k, d)``, the vectors by which the points repeat, one for each periodic direction; the same for all
        graphs. None is no repetition.

    Returns:
      A graph with these positions and no edge from a point to itself, but to its images; edges are in the order (receiver,
      sender), and those between the same points in that of their cells. With a ``cell`` it has shifts.

    Raises:
      TypeError: an argument holds no real numbers, or a traced one; or a ``cell`` is given, but positions are no floats.
      ValueError: a wrong shape, a position that is not finite, a radius that is not positive and finite, or vectors of the
        cell that depend on each other.

    Example: three points on a line, and then on a ring of length 4.
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.graphs.radius_graph(jnp.array([[0.0], [1.0], [3.0]]), radius=1.5)
      >>> graph.senders.tolist(), graph.receivers.tolist()
      ([1, 0], [0, 1])
      >>> ring = ej.graphs.radius_graph(jnp.array([[0.0], [1.0], [3.0]]), radius=1.5, cell=[[4.0]])
      >>> ring.senders.tolist(), ring.receivers.tolist(), ring.shifts[:, 0].tolist()
      ([1, 2, 0, 0], [0, 0, 1, 2], [0.0, 4.0, 0.0, -4.0])
    """
    known_reals(positions, "positions", "real numbers that are known")
    points = np.asarray(positions)
    if points.ndim != 2:
        raise ValueError(f"`positions` has shape {points.shape}; it must be (N, d), a point for each node.")
    if not (jnp.issubdtype(points.dtype, jnp.floating) or jnp.issubdtype(points.dtype, jnp.integer)):
        raise TypeError(f"`positions` has dtype {points.dtype}; coordinates are real. Write positions.astype(float).")
    if not np.isfinite(points).all():
        raise ValueError("`positions` holds values that are not finite. Take padding away before building edges.")
    if not (isinstance(radius, float) and radius in (np.inf, -np.inf)):
        real_number(radius, "radius")
    if not 0 < radius < np.inf:
        raise ValueError(
            f"`radius` is {radius}; it must be positive and finite. For edges between all points use "
            "complete_graph(len(positions)).replace(positions=positions)."
        )
    radius = float(real_number(radius, "radius", positive=True))
    if cell is not None and not np.issubdtype(points.dtype, np.floating):
        raise TypeError(
            f"`positions` has dtype {points.dtype}; in a cell they must be floats. Write positions.astype(float)."
        )
    graph = Graph(nodes, [], [], positions=positions, node_graph=node_graph)
    # One more coordinate sets the graphs apart; within a graph it is equal, so distances stay as they are.
    owners = np.zeros(len(points)) if node_graph is None else np.asarray(node_graph, float)
    apart = 2 * float(radius) * owners
    places = np.column_stack([points.astype(float), apart])
    vectors = np.zeros((0, points.shape[1])) if cell is None else lattice(cell, points.shape[1])
    pairs, cells = near_images(places, radius, vectors)
    both = np.column_stack([np.concatenate([pairs, pairs[:, ::-1]]), np.concatenate([cells, -cells])])
    both = both[np.lexsort(both.T[::-1])]
    shifts = None if cell is None else (-both[:, 2:] @ vectors).astype(points.dtype)
    return graph.replace(senders=both[:, 1], receivers=both[:, 0], shifts=shifts, edge_mask=np.ones(len(both), bool))


def complete_graph(num_nodes: int) -> Graph:
    """Returns the graph of n nodes with an edge between every two, in both directions; it has no features.

    Args:
      num_nodes: the number n of nodes.

    Returns:
      A graph with ``n (n - 1)`` edges in the order (receiver, sender). Give it features by ``replace(nodes=…)``.

    Raises:
      TypeError: n is no integer.
      ValueError: n is negative, or there would be more edges than int32 can number.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.graphs.complete_graph(5).replace(nodes=jnp.ones((5, 8)), positions=jnp.zeros((5, 3)))
      Graph(5 nodes, 20 edges, 1 graph; nodes float32[5,8], positions float32[5,3])
    """
    n = bounded_int(num_nodes, "num_nodes", 0)
    bounded_int(n * (n - 1), "num_nodes * (num_nodes - 1)", 0)
    receivers, senders = np.nonzero(~np.eye(n, dtype=bool))
    return Graph(None, senders, receivers, node_mask=np.ones(n, bool))
