"""To and from sparse matrices, jraph and ASE. Optional libraries are imported when they are needed."""

from typing import Any

import numpy as np
from scipy import sparse

from equijax._arguments import boolean
from equijax._indices import indices
from equijax.graphs._batch import batch, unbatch
from equijax.graphs._graph import Graph
from equijax.graphs._host import library, on_host, require_graph, require_no_shifts


def from_scipy(adjacency: Any, nodes: Any = None) -> Graph:
    """Returns the graph of a sparse matrix: a stored entry ``[i, j]`` is an edge from i to j.

    Args:
      adjacency: ``scipy.sparse`` array or matrix ``(N, N)`` of any format; entries that are stored twice are two edges.
      nodes: features ``(N, …)``, a pytree of such arrays, or None.

    Returns:
      A graph whose edges ``(E, 1)`` are the stored values.

    Raises:
      TypeError: it is not sparse.
      ValueError: it is not square.

    Example:
      >>> import equijax as ej, numpy as np, scipy.sparse
      >>> graph = ej.graphs.from_scipy(scipy.sparse.csr_array(np.array([[0, 2], [3, 0]])))
      >>> graph.senders.tolist(), graph.receivers.tolist(), graph.edges.tolist()
      ([0, 1], [1, 0], [[2], [3]])
    """
    if not sparse.issparse(adjacency):
        raise TypeError(f"`adjacency` is a {type(adjacency).__name__}; write csr_array(adjacency).")
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
        raise ValueError(f"`adjacency` has shape {adjacency.shape}; it must be (N, N).")
    entries = sparse.coo_array(adjacency)
    senders, receivers = entries.coords
    mask = np.ones(adjacency.shape[0], bool)
    return Graph(nodes, senders, receivers, edges=entries.data[:, None], node_mask=mask)


def to_scipy(graph: Graph, weights: Any = None) -> Any:
    """Returns the adjacency matrix of a graph or a batch: entry ``[i, j]`` is the sum over the valid edges from i to j.

    Args:
      graph: the graph; not traced.
      weights: a number for each edge, ``(E,)``; None is 1.

    Returns:
      ``scipy.sparse.csr_array`` of shape ``(N, N)``, with empty rows and columns at padding.

    Raises:
      ValueError: ``weights`` has another shape, or the graph is traced or has shifts, for which a matrix has no place.

    Example:
      >>> import equijax as ej
      >>> ej.graphs.to_scipy(ej.graphs.complete_graph(3)).toarray().tolist()
      [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    """
    host = on_host(graph, "to_scipy")
    require_no_shifts(host, "a matrix")
    values = np.ones(host.num_edges) if weights is None else np.asarray(weights)
    if values.shape != (host.num_edges,):
        raise ValueError(f"`weights` has shape {values.shape}; it must be ({host.num_edges},), one number for each edge.")
    kept = host.edge_mask
    entries = (values[kept], (host.senders[kept], host.receivers[kept]))
    return sparse.coo_array(entries, shape=(host.num_nodes, host.num_nodes)).tocsr()


def from_jraph(graph: Any, *, padded: bool) -> Graph:
    """Returns a ``jraph.GraphsTuple`` as a :class:`Graph`.

    Args:
      graph: the tuple; not traced.
      padded: whether it was padded by ``jraph.pad_with_graphs``, which a GraphsTuple does not say of itself: then the last
        graph with nodes, and the empty ones behind it, are padding.

    Returns:
      A graph of the same sizes, with masks where it is padded.

    Raises:
      TypeError: counts or indices are no integers.
      ValueError: counts and indices disagree.

    Example:
      >>> import equijax as ej, jax.numpy as jnp, jraph
      >>> tuple_ = ej.graphs.to_jraph(ej.graphs.complete_graph(3).replace(nodes=jnp.ones((3, 8))))
      >>> ej.graphs.from_jraph(jraph.pad_with_graphs(tuple_, 5, 10), padded=True).node_mask.tolist()
      [True, True, True, False, False]
    """
    padded = boolean(padded, "padded")
    n_node, n_edge = (np.asarray(indices(getattr(graph, name), f"graph.{name}")) for name in ("n_node", "n_edge"))
    senders = () if graph.senders is None else graph.senders
    receivers = () if graph.receivers is None else graph.receivers
    if len(senders) != n_edge.sum():
        raise ValueError(f"`graph.n_edge` sums to {n_edge.sum()}, but there are {len(senders)} senders.")
    valid = np.ones(len(n_node), bool)
    if padded:
        filled = np.flatnonzero(n_node)
        valid[filled[-1] if len(filled) else 0 :] = False
    return Graph(
        graph.nodes,
        senders,
        receivers,
        edges=graph.edges,
        globals=graph.globals,
        node_graph=np.repeat(np.arange(len(n_node)), n_node),
        node_mask=np.repeat(valid, n_node),
        edge_mask=np.repeat(valid, n_edge),
        graph_mask=valid,
    )


def to_jraph(graph: Graph, *, padded: bool = False) -> Any:
    """Returns a graph or a batch as a ``jraph.GraphsTuple``, whose nodes are ordered by graph.

    Args:
      graph: the graph; not traced.
      padded: whether to pad to the sizes of ``graph`` by ``jraph.pad_with_graphs``; otherwise padding is left out.

    Raises:
      ImportError: jraph is not installed.
      ValueError: the graph has positions, velocities or shifts, for which a GraphsTuple has no place; or ``padded``, and the
        graph has no padding node or no padding graph.

    Example:
      >>> import equijax as ej
      >>> ej.graphs.to_jraph(ej.graphs.complete_graph(3)).n_edge.tolist()
      [6]
    """
    padded = boolean(padded, "padded")
    jraph = library("jraph")
    require_graph(graph, "to_jraph")
    for name in ("positions", "velocities"):
        if getattr(graph, name, None) is not None:
            raise ValueError(
                f"`graph.{name}` is set, but a GraphsTuple has no place for it. Put it among the nodes: "
                f"graph.replace(nodes={{'features': graph.nodes, {name!r}: graph.{name}}}, {name}=None)."
            )
    require_no_shifts(graph, "a GraphsTuple")
    parts = unbatch(graph)
    if not parts:
        raise ValueError("`graph` holds no valid graph.")
    flat = batch(parts)
    counts = [np.array([getattr(part, name) for part in parts], np.int32) for name in ("num_nodes", "num_edges")]
    result = jraph.GraphsTuple(flat.nodes, flat.edges, flat.receivers, flat.senders, flat.globals, *counts)
    if not padded:
        return result
    if flat.num_nodes == graph.num_nodes or flat.num_graphs == graph.num_graphs:
        raise ValueError("`graph` has no padding node or no padding graph, and jraph needs one of each. Write padded=False.")
    return jraph.pad_with_graphs(result, graph.num_nodes, graph.num_edges, graph.num_graphs)


def from_ase(atoms: Any, cutoff: Any) -> Graph:
    """Returns an ``ase.Atoms`` as a graph whose edges join near atoms, in both directions.

    Across the borders of a periodic cell there is an edge for each image that is near; so there may be several between two
    atoms, or from an atom to itself. Their lengths are on the edges. Where the atoms are periodic in some direction, the
    shifts of the edges say which images they join. They are ``-S @ cell``, since ase's integers S belong to the way from the
    receiver to the sender. So layers in space such as :class:`equijax.nn.EGNN` take crystals as they are.

    Args:
      atoms: the atoms.
      cutoff: the largest distance in Å, or what else ``ase.neighborlist.neighbor_list`` takes.

    Returns:
      A graph with the atomic numbers as nodes, int32 ``(N,)``, the distances as edges, float ``(E, 1)``, positions
      ``(N, 3)``, and of periodic atoms shifts ``(E, 3)``.

    Raises:
      ImportError: ase is not installed.

    Example:
      >>> import equijax as ej, ase.build
      >>> ej.graphs.from_ase(ase.build.molecule("H2O"), cutoff=1.2)
      Graph(3 nodes, 4 edges, 1 graph; nodes int32[3], positions float32[3,3], edges float32[4,1])

      A crystal of one atom, which has twelve neighbours that are its images.

      >>> graph = ej.graphs.from_ase(ase.build.bulk("Cu"), cutoff=2.6)
      >>> graph.num_edges, ej.graphs.edge_vectors(graph).shape
      (12, (12, 3))
    """
    receivers, senders, lengths, cells = library("ase.neighborlist").neighbor_list("ijdS", atoms, cutoff)
    numbers = np.asarray(atoms.numbers, np.int32)
    shifts = -cells @ atoms.cell.array if atoms.pbc.any() else None
    return Graph(numbers, senders, receivers, edges=lengths[:, None], positions=np.asarray(atoms.positions), shifts=shifts)
