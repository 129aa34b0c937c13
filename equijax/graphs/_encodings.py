"""Where a node is in its graph, as numbers: return probabilities of walks, eigenvectors of the Laplacian."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array

from equijax._exported import exported
from equijax._numbers import positive_int
from equijax.graphs._graph import Graph
from equijax.graphs._host import on_host, order_by_graph, require_no_shifts

_COLUMNS = 1024  # of a matrix power that are computed at once
_GAP = 1e-8  # eigenvalues this close count as one


@exported
class LaplacianEncoding(NamedTuple):
    """Eigenvectors and eigenvalues of the Laplacian of every graph; a pytree.

    Attributes:
      vectors: float ``(N, k)``, of length 1 on each graph; zeros at padding and where a graph has no further eigenvector.
      values: float ``(G, k)``, ascending in 0 … 2; zeros where there is none.
      mask: bool ``(G, k)``, True where there is an eigenvector.
      groups: int32 ``(G, k)``, the number of the eigenspace, counted from 0 in each graph; -1 where there is none, and where
        the eigenspace does not lie within the k vectors as a whole. A basis-invariant function may sum within a group.
      determined: bool ``(G, k)``, True where the graph alone determines the vector: its eigenvalue is simple, and its sign
        follows from its entries. Elsewhere relabelling the nodes may give another vector of the eigenspace.
    """

    vectors: jax.Array
    values: jax.Array
    mask: jax.Array
    groups: jax.Array
    determined: jax.Array


def random_walk_encoding(graph: Graph, steps: int) -> jax.Array:
    r"""Computes for every node with what probability a random walk is back after 1, …, K steps, on the host, in float64.

    .. math:: p_{ik} = \bigl[(D^{-1} A)^k\bigr]_{ii}, \qquad k = 1, …, K

    A is the number of valid edges from i to j and D the number that start at i. A walk that can't go on ends.

    Law: ``encoding(act(g, graph)) == act(g, encoding(graph))`` for every relabelling. Graphs of a batch are never mixed.

    Args:
      graph: a graph or a batch; not traced. Edge features do not enter.
      steps: the number K.

    Returns:
      Float array ``(N, K)`` of JAX's default dtype; zeros at padding.

    Raises:
      ValueError: the graph is traced, or has shifts: a crystal would get another encoding for each choice of its cell.

    Example: on a triangle one comes back after two steps with probability ½.
      >>> import equijax as ej
      >>> ej.graphs.random_walk_encoding(ej.graphs.complete_graph(3), steps=3)[0].tolist()
      [0.0, 0.5, 0.25]

    Reference:
      Dwivedi, Luu, Laurent, Bengio and Bresson, "Graph Neural Networks with Learnable Structural and Positional
      Representations", ICLR 2022, the random walk PE.
    """
    host, steps = on_host(graph, "random_walk_encoding"), positive_int(steps, "steps")
    require_no_shifts(host, "an encoding")
    encoding = np.zeros((host.num_nodes, steps))
    for _, nodes, adjacency in _adjacencies(host):
        degrees = adjacency.sum(1)
        step = csr_array((1 / np.maximum(degrees, 1))[:, None] * adjacency)
        for first in range(0, len(nodes), _COLUMNS):
            columns = np.arange(first, min(first + _COLUMNS, len(nodes)))
            power = np.zeros((len(nodes), len(columns)))
            power[columns, columns - first] = 1
            for k in range(steps):
                power = step @ power
                encoding[nodes[columns], k] = power[columns, columns - first]
    return jnp.asarray(encoding, jnp.result_type(float))


def laplacian_encoding(graph: Graph, k: int) -> LaplacianEncoding:
    r"""Computes the eigenvectors of the normalised Laplacian with the smallest eigenvalues, on the host, in float64.

    .. math:: L = D^{-1/2} (D - A) D^{-1/2}

    A is the number of valid edges from i to j, D its row sums; :math:`D^{-1/2}` is 0 at isolated nodes. The trivial
    eigenvector :math:`D^{1/2} 1`, of eigenvalue 0, is left out; a graph of several parts has more of eigenvalue 0, which
    stay.

    An eigenvector is known up to its sign. Here the first that is not 0 of :math:`\sum_i v_i, \sum_i v_i^3, \sum_i v_i^5` is
    positive; where all vanish, the first large entry. Eigenvectors of equal eigenvalue are known up to a rotation. What the
    graph does not determine is told by ``determined`` and ``groups``; symmetric graphs have such vectors.

    Law: ``vectors(act(g, graph)) == act(g, vectors(graph))`` for every relabelling where ``determined``. Graphs of a batch
    are never mixed.

    Args:
      graph: a graph or a batch, with every edge in both directions; not traced. Edge features do not enter.
      k: number of eigenvectors.

    Returns:
      The eigenvectors, eigenvalues, and what is known about them; floats of JAX's default dtype.

    Raises:
      ValueError: the graph is traced, or has an edge without one in the opposite direction, or shifts: a crystal would get
        another encoding for each choice of its cell.

    Example: the two eigenvectors of a triangle have one eigenvalue, so neither is determined.
      >>> import equijax as ej
      >>> encoding = ej.graphs.laplacian_encoding(ej.graphs.complete_graph(3), k=2)
      >>> encoding.vectors.shape, encoding.groups.tolist(), encoding.determined.tolist()
      ((3, 2), [[0, 0]], [[False, False]])

    Reference:
      Dwivedi and Bresson, "A Generalization of Transformer Networks to Graphs", arXiv:2012.09699, Laplacian positional
      encodings.
    """
    host, k = on_host(graph, "laplacian_encoding"), positive_int(k, "k")
    require_no_shifts(host, "an encoding")
    vectors, values = np.zeros((host.num_nodes, k)), np.zeros((host.num_graphs, k))
    mask, determined = np.zeros((2, host.num_graphs, k), bool)
    groups = np.full((host.num_graphs, k), -1, np.int32)
    for g, nodes, sparse in _adjacencies(host):
        _require_symmetric(sparse, nodes)
        eigenvalues, basis = _spectrum(sparse.toarray())
        count = min(k, len(eigenvalues))
        signs, known = _signs(basis[:, :count])
        vectors[nodes, :count] = basis[:, :count] * signs
        values[g, :count], mask[g, :count] = np.clip(eigenvalues[:count], 0, 2), True
        space = np.cumsum(np.diff(eigenvalues, prepend=eigenvalues[:1]) > _GAP)
        determined[g, :count] = (np.bincount(space)[space] == 1)[:count] & known
        cut = space[count] if count < len(space) else -1
        groups[g, :count] = np.where(space == cut, -1, space)[:count]
    vectors, values = (jnp.asarray(floats, jnp.result_type(float)) for floats in (vectors, values))
    return LaplacianEncoding(vectors, values, jnp.asarray(mask), jnp.asarray(groups), jnp.asarray(determined))


def _adjacencies(host: Graph) -> Iterator[tuple[int, np.ndarray, csr_array]]:
    """Yields for every graph with nodes its number, its nodes, and the number of edges from each to each."""
    count = host.num_graphs
    owner = np.where(host.node_mask, host.node_graph, count)
    order, starts, number = order_by_graph(owner, count)
    edge_order, edge_starts, _ = order_by_graph(np.where(host.edge_mask, owner[host.senders], count), count)
    senders, receivers = number[host.senders[edge_order]], number[host.receivers[edge_order]]
    for g in range(count):
        nodes, edges = order[starts[g] : starts[g + 1]], slice(edge_starts[g], edge_starts[g + 1])
        if len(nodes):
            ends = (senders[edges], receivers[edges])
            yield g, nodes, csr_array((np.ones(len(ends[0])), ends), shape=(len(nodes), len(nodes)))


def _spectrum(adjacency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the eigenvalues of the Laplacian, ascending, and its eigenvectors, all but the trivial one."""
    degrees = adjacency.sum(1)
    scale = np.where(degrees > 0, 1 / np.sqrt(np.maximum(degrees, 1)), 0)
    laplacian = scale[:, None] * (np.diag(degrees) - adjacency) * scale
    trivial = np.sqrt(degrees / degrees.sum()) if degrees.any() else np.full(len(degrees), len(degrees) ** -0.5)
    eigenvalues, basis = np.linalg.eigh(laplacian + 3 * np.outer(trivial, trivial))  # all others are at most 2
    return eigenvalues[:-1], basis[:, :-1]


def _require_symmetric(adjacency: csr_array, nodes: np.ndarray) -> None:
    i, j = (adjacency != adjacency.T).nonzero()
    if len(i):
        raise ValueError(
            f"`graph` has {adjacency[i[0], j[0]]:.0f} edges from node {nodes[i[0]]} to node {nodes[j[0]]} and "
            f"{adjacency[j[0], i[0]]:.0f} back; the Laplacian needs every edge in both directions. Write undirected(graph)."
        )


def _signs(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sign of each column, and whether it follows from the entries whatever their order."""
    scaled = vectors / np.abs(vectors).max(0)
    moments = np.stack([(scaled**power).sum(0) for power in (1, 3, 5)])
    clear = np.abs(moments) > _GAP * len(vectors)
    first = moments[np.argmax(clear, 0), np.arange(vectors.shape[1])]
    entry = scaled[np.argmax(np.abs(scaled) > 0.5, 0), np.arange(vectors.shape[1])]
    known = np.asarray(clear.any(0))
    return np.where(np.where(known, first, entry) < 0, -1.0, 1.0), known
