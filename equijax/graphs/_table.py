"""Neighbour tables: the edges of a graph laid out in short rows, so that sums over neighbours hardly scatter."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from equijax._arguments import shown
from equijax._exported import exported
from equijax._indices import bounded_int, indices, narrowed, require_range
from equijax.graphs._shapes import RowShapes, TableShapes, exact_shapes
from equijax.groups._elements import concrete, integers


@exported
@functools.partial(jax.tree_util.register_dataclass, data_fields=("neighbours", "edges", "places", "owners"), meta_fields=())
@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """The edges at each node, in rows. Row i < N belongs to node i; further rows belong to the nodes ``owners``.

    Attributes:
      neighbours: int32 ``(width, N + splits)``, the node at the other end of the edge in each slot; N in an empty one.
      edges: int32 ``(width, N + splits)``, the edge in each slot; E in an empty one.
      places: int32 ``(E,)``, the slot of each edge in C order; the number of slots for a masked edge.
      owners: int32 ``(splits,)``, the node of each further row; N for an empty one.
    """

    neighbours: Int[Array, "width rows"]
    edges: Int[Array, "width rows"]
    places: Int[Array, "E"]
    owners: Int[Array, "splits"]

    @property
    def shapes(self) -> RowShapes:
        """The static sizes."""
        (width, rows), splits = self.neighbours.shape, self.owners.shape[0]
        return RowShapes(width, rows - splits, splits)

    def holds(self, nodes: np.ndarray, others: np.ndarray, mask: np.ndarray) -> bool:
        """Tells whether every valid edge, and no other, has its slot, in a row of its node; all arrays are known."""
        slots, size = self.places, self.neighbours.size
        if (mask != (slots < size)).any():
            return False
        row = slots[mask] % self.neighbours.shape[1]
        owner = np.concatenate([np.arange(self.shapes.nodes), self.owners])
        same_node = bool((owner[row] == nodes[mask]).all())
        return same_node and bool((self.neighbours.reshape(-1)[slots[mask]] == others[mask]).all())

    def relabelled(self, p: Array, q: Array) -> "Rows":
        """Returns the rows after node i has become ``p[i]`` and edge e ``q[e]``."""
        size = self.neighbours.shape[1]
        node = jnp.append(p, p.shape[0]).astype(jnp.int32)
        edge = jnp.append(q, q.shape[0]).astype(jnp.int32)
        row = jnp.arange(size, dtype=jnp.int32).at[: p.shape[0]].set(node[:-1])
        put = lambda x: jnp.zeros_like(x).at[:, row].set(x)  # noqa: E731
        places = jnp.where(self.places < self.edges.size, self.places // size * size + row[self.places % size], self.places)
        return Rows(
            put(node[self.neighbours]),
            put(edge[self.edges]),
            jnp.zeros_like(places).at[q].set(places),
            node[self.owners],
        )


@exported
@functools.partial(jax.tree_util.register_dataclass, data_fields=("incoming", "outgoing"), meta_fields=())
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NeighbourTable:
    """The valid edges of a graph in short rows, once by receiver and once by sender (for gradients).

    Every node has one row; a node of higher degree has several. The width of the rows follows from the degrees, so that
    not much more than one slot is needed per edge. :func:`neighbour_sum` uses a graph's table where it pays.

    Build it with :meth:`Graph.with_table <equijax.graphs.Graph.with_table>`, or with :meth:`build`.

    Attributes:
      incoming: rows of the edges that end at a node.
      outgoing: rows of the edges that start at a node.
    """

    incoming: Rows
    outgoing: Rows

    @classmethod
    def build(
        cls, senders: Any, receivers: Any, num_nodes: int, edge_mask: Any = None, shapes: TableShapes | None = None
    ) -> "NeighbourTable":
        """Builds the table on the host, in numpy.

        Args:
          senders: integers ``(E,)``, concrete.
          receivers: integers ``(E,)``, concrete.
          num_nodes: number of nodes N.
          edge_mask: bool ``(E,)``; masked edges are left out. None keeps all.
          shapes: sizes to pad to, so that tables share a compiled program; None takes what is needed.

        Returns:
          The table, with arrays on the default device.

        Raises:
          TypeError: the indices are traced, or no integers; or ``shapes`` are none.
          ValueError: an index is out of range, lengths differ, or the edges do not fit ``shapes``.

        Example:
          >>> import equijax as ej
          >>> ej.graphs.NeighbourTable.build([0, 1, 2], [1, 2, 1], num_nodes=3)
          NeighbourTable(3 nodes, 3 edges; slots in 6, out 3)
        """
        given = (indices(senders, "senders"), indices(receivers, "receivers"))
        edge_mask = np.ones(given[0].shape, bool) if edge_mask is None else edge_mask
        known = concrete((*given, edge_mask if hasattr(edge_mask, "dtype") else np.asarray(edge_mask)))
        if known is None:
            raise TypeError(
                f"`{_traced(senders=senders, receivers=receivers, edge_mask=edge_mask)}` are traced; a table is built on "
                "the host. Build it outside of jit, or leave it out."
            )
        starts, ends, mask = known
        num_nodes = bounded_int(num_nodes, "num_nodes", 0)
        if starts.ndim != 1 or not starts.shape == ends.shape == mask.shape or mask.dtype != bool:
            raise ValueError(
                f"`senders`, `receivers` and `edge_mask` are {starts.shape}, {ends.shape} and {mask.dtype}{mask.shape}; "
                "they must be (E,), (E,) and bool (E,)."
            )
        for name, index in (("senders", starts), ("receivers", ends)):
            require_range(index, num_nodes, name, "nodes")
        starts, ends = narrowed(starts), narrowed(ends)
        if shapes is not None and not isinstance(shapes, TableShapes):
            raise TypeError(f"`shapes` is a {type(shapes).__name__}; it must be TableShapes or None. See table_shapes.")
        kept = np.flatnonzero(mask)
        incoming = _build_rows(ends, starts, kept, num_nodes, "incoming", None if shapes is None else shapes.incoming)
        outgoing = _build_rows(starts, ends, kept, num_nodes, "outgoing", None if shapes is None else shapes.outgoing)
        return cls(incoming, outgoing)

    @property
    def shapes(self) -> TableShapes:
        """The static shapes."""
        return TableShapes(self.incoming.shapes, self.outgoing.shapes)

    def require_fits(self, senders: Any, receivers: Any, edge_mask: Any, num_nodes: int) -> None:
        """Checks that the table was built from these edges, as far as they are known, of a graph with as many nodes.

        Raises:
          ValueError: it belongs to other edges, or to a graph with another number of nodes.
        """
        for side in (self.incoming, self.outgoing):
            if side.shapes.nodes != num_nodes:
                raise ValueError(
                    f"`table` belongs to a graph of {side.shapes.nodes} nodes; this one has {num_nodes}. Write "
                    "graph.with_table() for its own."
                )
        known = concrete((senders, receivers, edge_mask, self.incoming, self.outgoing))
        fits = self.incoming.places.shape == self.outgoing.places.shape == (edge_mask.shape[0],)
        if fits and known is not None:
            starts, ends, mask, incoming, outgoing = known
            fits = incoming.holds(ends, starts, mask) and outgoing.holds(starts, ends, mask)
        if not fits:
            raise ValueError("`table` belongs to other edges than the graph's. Write graph.with_table() for its own.")

    def relabelled(self, p: Array, q: Array) -> "NeighbourTable":
        """Returns the table of the relabelled graph, without building it anew.

        Args:
          p: integers ``(N,)``, a permutation: node i becomes ``p[i]``. It may be traced.
          q: integers ``(E,)``, a permutation: edge e becomes ``q[e]``. It may be traced.

        Raises:
          TypeError: they are no integers.
          ValueError: they have another shape; or a known one is no permutation.
        """
        for name, part, size in (("p", p, self.shapes.incoming.nodes), ("q", q, self.incoming.places.shape[0])):
            part = integers(part, name, (None,), "a permutation")
            if part.shape != (size,):
                raise ValueError(f"`{name}` has shape {part.shape}; it must be a permutation of 0 … {size - 1}, ({size},).")
            if isinstance(part, np.ndarray) and (np.sort(part) != np.arange(size)).any():
                raise ValueError(f"`{name}` is {shown(part)}; it must be a permutation of 0 … {size - 1}.")
        p, q = jnp.asarray(p), jnp.asarray(q)
        return NeighbourTable(self.incoming.relabelled(p, q), self.outgoing.relabelled(p, q))

    def __repr__(self) -> str:
        if not all(hasattr(leaf, "shape") for leaf in jax.tree.leaves(self)):
            return "NeighbourTable(…)"
        shapes, edges = self.shapes, self.incoming.places.shape[0]
        return (
            f"NeighbourTable({shapes.incoming.nodes} nodes, {edges} edges; "
            f"slots in {shapes.incoming.num_slots}, out {shapes.outgoing.num_slots})"
        )


def _traced(**given: Any) -> str:
    """Returns the name of the first argument that is traced."""
    return next(name for name, value in given.items() if value is not None and concrete(value) is None)


def _build_rows(
    owners: np.ndarray, others: np.ndarray, kept: np.ndarray, num_nodes: int, side: str, shapes: RowShapes | None
) -> Rows:
    """Lays out the edges ``kept`` in rows of their owners."""
    degrees = np.bincount(owners[kept], minlength=num_nodes)
    shapes = exact_shapes(degrees) if shapes is None else shapes
    more = np.maximum(degrees - 1, 0) // shapes.width
    if shapes.nodes != num_nodes or shapes.splits < more.sum():
        raise ValueError(
            f"`shapes.{side}` is {shapes}; this graph has {num_nodes} nodes and needs {more.sum()} splits. Take the shapes "
            "from table_shapes, of data that include such graphs."
        )
    order = _stable_order(owners, kept)
    owner = owners[order]
    rank = np.arange(len(order)) - (np.cumsum(degrees) - degrees)[owner]
    piece = rank // shapes.width
    row = np.where(piece == 0, owner, num_nodes - 1 + (np.cumsum(more) - more)[owner] + piece)
    place = rank % shapes.width * (num_nodes + shapes.splits) + row
    neighbours = np.full(shapes.num_slots, num_nodes, np.int32)
    edges = np.full(shapes.num_slots, len(owners), np.int32)
    places = np.full(len(owners), shapes.num_slots, np.int32)
    further = np.full(shapes.splits, num_nodes, np.int32)
    neighbours[place], edges[place], places[order] = others[order], order, place
    further[: more.sum()] = np.repeat(np.arange(num_nodes), more)
    table = (neighbours.reshape(shapes.width, -1), edges.reshape(shapes.width, -1), places, further)
    return Rows(*(jnp.asarray(array) for array in table))


def _stable_order(owners: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Returns the edges ``kept``, sorted by owner; those of one owner keep their order."""
    key = owners[kept].astype(np.int64) << 32 | kept
    key.sort()
    return key & 0xFFFFFFFF
