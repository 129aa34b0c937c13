"""Neighbour tables: the edges of a graph laid out in rows, one per node, so that sums need no scatter."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from equijax.graphs._shapes import RowShapes, TableShapes, exact_shapes, split_degrees
from equijax.groups._elements import concrete


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("neighbours", "edges", "places", "position", "splits"),
    meta_fields=("shapes",),
)
@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """The edges at each node, in slots. Slots are ordered by (block, slot in the row, row).

    Attributes:
      neighbours: int32 ``(slots,)``, the node at the other end of the edge in each slot; N where the slot is empty.
      edges: int32 ``(slots,)``, the edge in each slot; E where it is empty.
      places: int32 ``(E,)``, the slot of each edge; the number of slots where the edge is masked.
      position: int32 ``(N,)``, the row of each node; the number of rows where it has none.
      splits: int32 ``(splits,)``, the node to which each further row belongs; N where it is empty.
      shapes: the static sizes.
    """

    neighbours: Int[Array, "slots"]
    edges: Int[Array, "slots"]
    places: Int[Array, "E"]
    position: Int[Array, "N"]
    splits: Int[Array, "splits"]
    shapes: RowShapes

    def relabelled(self, p: Array, q: Array) -> "Rows":
        """Returns the rows after node i has become ``p[i]`` and edge e ``q[e]``."""
        move = lambda numbers, to: to.astype(jnp.int32).at[numbers].get(mode="fill", fill_value=to.shape[0])  # noqa: E731
        return Rows(
            move(self.neighbours, p),
            move(self.edges, q),
            jnp.zeros_like(self.places).at[q].set(self.places),
            jnp.zeros_like(self.position).at[p].set(self.position),
            move(self.splits, p),
            self.shapes,
        )


@functools.partial(jax.tree_util.register_dataclass, data_fields=("incoming", "outgoing"), meta_fields=())
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NeighbourTable:
    """The valid edges of a graph in rows, once by receiver and once by sender (for gradients).

    A node of degree at most 128 has one row; a node of higher degree several. Rows come in a few widths, chosen by the
    degrees so that little more than one slot is needed per edge. :func:`neighbour_sum` uses a graph's table where it pays.

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
          shapes: sizes to pad to, so that tables share a compiled program; None takes what is needed. A row that does not
            fit among those of its width takes a wider one.

        Returns:
          The table, with arrays on the default device.

        Raises:
          TypeError: the indices are traced.
          ValueError: the edges do not fit ``shapes``.

        Example:
          >>> import equijax as ej
          >>> ej.graphs.NeighbourTable.build([0, 1, 2], [1, 2, 1], num_nodes=3)
          NeighbourTable(3 nodes, 3 edges; slots in 3, out 3)
        """
        known = concrete((senders, receivers, np.ones(len(senders), bool) if edge_mask is None else edge_mask))
        if known is None:
            raise TypeError("`senders` are traced; a table is built on the host. Build it outside of jit, or leave it out.")
        starts, ends, mask = known
        kept = np.flatnonzero(mask)
        incoming = _build_rows(ends, starts, kept, num_nodes, "incoming", None if shapes is None else shapes.incoming)
        outgoing = _build_rows(starts, ends, kept, num_nodes, "outgoing", None if shapes is None else shapes.outgoing)
        return cls(incoming, outgoing)

    @property
    def shapes(self) -> TableShapes:
        """The static shapes."""
        return TableShapes(self.incoming.shapes, self.outgoing.shapes)

    def relabelled(self, p: Array, q: Array) -> "NeighbourTable":
        """Returns the table of the relabelled graph, without building it anew.

        Args:
          p: integers ``(N,)``, a permutation: node i becomes ``p[i]``. It may be traced.
          q: integers ``(E,)``, a permutation: edge e becomes ``q[e]``. It may be traced.
        """
        return NeighbourTable(self.incoming.relabelled(p, q), self.outgoing.relabelled(p, q))

    def __repr__(self) -> str:
        incoming, outgoing = self.incoming, self.outgoing
        if not hasattr(incoming.position, "shape"):
            return "NeighbourTable(…)"
        return (
            f"NeighbourTable({incoming.position.shape[0]} nodes, {incoming.places.shape[0]} edges; "
            f"slots in {incoming.shapes.num_slots}, out {outgoing.shapes.num_slots})"
        )


def _build_rows(
    owners: np.ndarray, others: np.ndarray, kept: np.ndarray, num_nodes: int, side: str, shapes: RowShapes | None
) -> Rows:
    """Lays out the edges ``kept`` in rows of their owners."""
    num_edges = len(owners)
    order = _stable_order(owners, kept)
    degrees = np.bincount(owners[kept], minlength=num_nodes)
    shapes = exact_shapes(degrees) if shapes is None else shapes
    full, rest = split_degrees(degrees, shapes.widths[-1])
    row, spilled = _assign_rows(rest, shapes)
    split_nodes = np.concatenate([np.repeat(np.arange(num_nodes), full), spilled])
    if len(split_nodes) > shapes.splits:
        raise ValueError(
            f"`shapes.{side}` has {shapes.num_rows} rows and {shapes.splits} splits; {len(split_nodes)} splits of width "
            f"{shapes.widths[-1]} are needed. Take the shapes from table_shapes of data that include such a graph."
        )
    # The first slot of each row and the step from slot to slot; further rows come after all others.
    starts, steps = _row_layout(shapes)
    first_split = shapes.num_rows + np.cumsum(full) - full
    row = np.where(row < 0, 0, row)
    row[spilled] = shapes.num_rows + full.sum() + np.arange(len(spilled))
    # A node's edges fill its further rows, then its own.
    owner = owners[order]
    rank = np.arange(len(order)) - (np.cumsum(degrees) - degrees)[owner]
    piece = rank // shapes.widths[-1]
    in_row = np.where(piece < full[owner], first_split[owner] + piece, row[owner])
    slot = starts[in_row] + steps[in_row] * (rank - piece * shapes.widths[-1])
    neighbours = np.full(shapes.num_slots, num_nodes, np.int32)
    neighbours[slot] = others[order]
    edges = np.full(shapes.num_slots, num_edges, np.int32)
    edges[slot] = order
    places = np.full(num_edges, shapes.num_slots, np.int32)
    places[order] = slot
    position = np.where(rest > 0, row, shapes.num_rows).astype(np.int32)
    position[spilled] = shapes.num_rows
    splits = np.full(shapes.splits, num_nodes, np.int32)
    splits[: len(split_nodes)] = split_nodes
    arrays = [jnp.asarray(array) for array in (neighbours, edges, places, position, splits)]
    return Rows(*arrays, shapes=shapes)


def _stable_order(owners: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Returns the edges ``kept``, sorted by owner, in their order for each."""
    key = owners[kept].astype(np.int64) << 32 | kept
    key.sort()
    return (key & 0xFFFFFFFF).astype(np.int32)


def _assign_rows(rest: np.ndarray, shapes: RowShapes) -> tuple[np.ndarray, np.ndarray]:
    """Gives each node a row of at least its width; returns the rows, -1 where there is none, and the nodes left over."""
    row = np.full(len(rest), -1)
    wanted = np.searchsorted(shapes.widths, rest)
    waiting = np.zeros(0, int)
    first = 0
    for block, count in enumerate(shapes.rows):
        waiting = np.concatenate([waiting, np.flatnonzero((wanted == block) & (rest > 0))])
        served, waiting = waiting[:count], waiting[count:]
        row[served] = first + np.arange(len(served))
        first += count
    return row, waiting


def _row_layout(shapes: RowShapes) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first slot of every row, and the distance between its slots."""
    starts, steps, first = [], [], 0
    for width, count in shapes.blocks:
        starts.append(first + np.arange(count))
        steps.append(np.full(count, count))
        first += width * count
    return np.concatenate(starts), np.concatenate(steps)
