"""Graphs in space: the vectors along edges, also across the borders of a crystal's cell, and strain."""

from typing import Any

import jax
import jax.numpy as jnp

from equijax._dtypes import widened
from equijax._masked import keep
from equijax._rows import take
from equijax.graphs._graph import Graph
from equijax.graphs._host import require_graph
from equijax.groups._elements import reals


def edge_vectors(graph: Graph) -> jax.Array:
    r"""Returns the vector along every edge, from its sender to its receiver.

    .. math:: v_e = x_{\mathrm{receivers}[e]} - x_{\mathrm{senders}[e]} + \mathrm{shifts}[e]

    Without shifts the last term is missing. This is the one place where shifts are read: a layer in space that takes its
    vectors from here is right for crystals too.

    Law: a rotation R of the space turns the vectors, :math:`v → R v`, a translation leaves them. So does replacing nodes by
    images of themselves, :math:`x_i → x_i + t_i`, where the shift of an edge from j to i becomes
    :math:`\mathrm{shifts}[e] - t_i + t_j`.

    Args:
      graph: a graph with positions ``(N, d)``. It may be traced.

    Returns:
      ``(E, d)`` of the dtype of the positions; zeros on padded edges, whatever padding holds.

    Raises:
      ValueError: the graph has no positions.

    Example: one atom in a cell of length 2, and its two images on a line.
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.Graph(
      ...     None, senders=[0, 0], receivers=[0, 0], positions=jnp.array([[0.5]]), shifts=jnp.array([[2.0], [-2.0]]))
      >>> ej.graphs.edge_vectors(graph).tolist()
      [[2.0], [-2.0]]
    """
    positions = _positions(graph, "edge_vectors")
    senders, receivers = (jnp.where(graph.edge_mask, ends, graph.num_nodes) for ends in (graph.senders, graph.receivers))
    vectors = take(positions, receivers) - take(positions, senders)
    return vectors if graph.shifts is None else vectors + keep(graph.shifts, graph.edge_mask)


def strain(graph: Graph, eps: Any) -> Graph:
    r"""Returns the graph in a strained space: positions and shifts alike are deformed.

    .. math:: x → x (1 + ε), \qquad \text{that is} \quad x_b → x_b + \sum_a x_a\, ε_{ab}

    The vectors along the edges follow suit, and a crystal's cell with them. The derivative of the energy at :math:`ε = 0` is
    the stress times the volume of the cell, in ase's sign; where rotations leave the energy, it is symmetric. Velocities
    stay.

    Args:
      graph: a graph with positions ``(N, d)``. It may be traced.
      eps: floats ``(d, d)``, or ``(G, d, d)``: one strain for each graph of a batch, whose gradient is the stress of each.

    Returns:
      The graph; what padding holds stays, and contributes nothing to gradients.

    Raises:
      TypeError: ``eps`` are no real numbers.
      ValueError: the graph has no positions, or ``eps`` has another shape.

    Example: the stress of springs between the atoms of a chain, in units of energy over length.
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> chain = ej.graphs.radius_graph(jnp.array([[0.0], [1.0]]), 1.0, cell=[[2.0]])
      >>> energy = lambda graph: 0.25 * jnp.sum((jnp.abs(ej.graphs.edge_vectors(graph)) - 0.75) ** 2)
      >>> stress = jax.grad(lambda eps: energy(ej.graphs.strain(chain, eps)))(jnp.zeros((1, 1))) / 2.0
      >>> stress.tolist()
      [[0.25]]
    """
    positions = _positions(graph, "strain")
    dimension = positions.shape[1]
    eps = reals(eps, "eps", (), "real numbers")
    if eps.shape not in ((dimension, dimension), (graph.num_graphs, dimension, dimension)):
        raise ValueError(
            f"`eps` has shape {eps.shape}; it must be {(dimension, dimension)}, or "
            f"{(graph.num_graphs, dimension, dimension)} for a strain of each graph."
        )

    def strained(vectors: jax.Array, mask: jax.Array, owners: jax.Array) -> jax.Array:
        known, dtype = widened(keep(vectors, mask))
        by = eps.astype(known.dtype)
        if eps.ndim == 2:
            return vectors + jnp.einsum("na,ab->nb", known, by, precision="highest").astype(dtype)
        return vectors + jnp.einsum("na,nab->nb", known, by[owners], precision="highest").astype(dtype)

    owners = graph.node_graph
    changes = {"positions": strained(positions, graph.node_mask, owners)}
    if graph.shifts is not None:
        changes["shifts"] = strained(graph.shifts, graph.edge_mask, owners[graph.senders])
    return graph.replace(**changes)


def _positions(graph: Any, function: str) -> jax.Array:
    require_graph(graph, function)
    if graph.positions is None:
        raise ValueError(f"`graph` has no positions; {function} needs them: graph.replace(positions=…).")
    if not jnp.issubdtype(graph.positions.dtype, jnp.floating):
        raise TypeError(
            f"`graph.positions` has dtype {graph.positions.dtype}; {function} needs floats: positions.astype(float)."
        )
    return graph.positions
