"""Static shapes of neighbour tables: how many rows of which width."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

WIDEST = 128
_WIDTHS = (*range(1, 9), *range(16, WIDEST + 1, 8))
_ROW_COST = 20  # what one more row width costs, in thousandths of all edges


@dataclasses.dataclass(frozen=True)
class RowShapes:
    """Sizes of a table in one direction.

    Attributes:
      widths: the widths of rows, ascending. A node is served by a row of at least its degree.
      rows: the number of rows of each width.
      splits: further rows of the last width, for the nodes of higher degree.
    """

    widths: tuple[int, ...]
    rows: tuple[int, ...]
    splits: int = 0

    @property
    def num_rows(self) -> int:
        """Number of rows without the further ones."""
        return sum(self.rows)

    @property
    def num_slots(self) -> int:
        """Number of entries of all rows, those without an edge included."""
        return sum(w * r for w, r in self.blocks)

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Width and number of rows of each block, the further rows last."""
        return (*zip(self.widths, self.rows, strict=True), (self.widths[-1], self.splits))


@dataclasses.dataclass(frozen=True)
class TableShapes:
    """Static shapes of a :class:`NeighbourTable`: graphs whose tables have equal shapes share one compiled program.

    Attributes:
      incoming: rows of the edges that end at a node.
      outgoing: rows of the edges that start at a node, for gradients.
    """

    incoming: RowShapes
    outgoing: RowShapes


def table_shapes(
    graphs: Iterable[tuple[Any, Any, int]], num_nodes: int, num_edges: int, num_graphs: int | None = None
) -> TableShapes:
    r"""Computes table shapes that suffice for every batch of the given graphs within a budget.

    A wider row can stand in for one that is missing, so rows suffice exactly where, for each width, there are as many of at
    least this width as the batch needs. That number is additive over graphs, so it is bounded by the budget times its
    largest share per node, per edge and per graph, whichever is least.

    Args:
      graphs: ``(senders, receivers, num_nodes)`` of each graph, without padding.
      num_nodes: the most nodes that a batch may have.
      num_edges: the most edges that a batch may have.
      num_graphs: the most graphs that a batch may have; None is any number.

    Returns:
      The shapes.

    Example:
      >>> import equijax as ej
      >>> ej.graphs.table_shapes([([0, 1, 2], [1, 2, 0], 3)], num_nodes=30, num_edges=30).incoming
      RowShapes(widths=(1,), rows=(30,), splits=0)
    """
    sides: tuple[list, list] = ([], [])
    sizes = []
    for senders, receivers, nodes in graphs:
        sizes.append((nodes, len(senders), 1))
        for side, ends in zip(sides, (receivers, senders), strict=True):
            side.append(np.bincount(np.asarray(ends, np.int64), minlength=nodes))
    budget = (num_nodes, num_edges, np.inf if num_graphs is None else num_graphs)
    incoming, outgoing = (_sufficient(degrees, np.asarray(sizes, float).reshape(-1, 3), budget) for degrees in sides)
    return TableShapes(incoming, outgoing)


def exact_shapes(degrees: np.ndarray) -> RowShapes:
    """Returns the shapes that the nodes of one graph need, by their degrees."""
    widths = _choose_widths(degrees)
    counts = piece_counts(degrees, widths)
    return RowShapes(widths, tuple(int(c) for c in counts[:-1]), int(counts[-1]))


def piece_counts(degrees: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    """Counts the rows that nodes need: of each width, then the full rows of the last width that split a node."""
    full, rest = split_degrees(degrees, widths[-1])
    rows = np.bincount(np.searchsorted(widths, rest[rest > 0]), minlength=len(widths))
    return np.append(rows, full.sum())


def split_degrees(degrees: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits each degree into a number of full rows of ``width``, and a rest of 1 … width (0 where the degree is 0)."""
    full = np.maximum(degrees - 1, 0) // width
    return full, degrees - full * width


def _choose_widths(degrees: np.ndarray) -> tuple[int, ...]:
    """Chooses widths so that the number of slots, plus a cost for each width, is least (by dynamic programming)."""
    wide = int(np.searchsorted(_WIDTHS, min(int(degrees.max(initial=1)), WIDEST)))
    allowed = (0, *_WIDTHS[: wide + 1])
    below = np.cumsum(np.bincount(split_degrees(degrees, allowed[-1])[1], minlength=allowed[-1] + 1))
    below = below[list(allowed)] - below[0]  # nodes of degree 1 … w
    price = _ROW_COST * float(degrees.sum()) / 1000
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for k in range(1, len(allowed)):
        best.append(
            min((best[j][0] + price + allowed[k] * float(below[k] - below[j]), (*best[j][1], allowed[k])) for j in range(k))
        )
    return best[-1][1]


def _sufficient(degrees: list[np.ndarray], sizes: np.ndarray, budget: tuple) -> RowShapes:
    """Bounds the rows of at least each width that batches need, and returns the differences."""
    widths = _choose_widths(np.concatenate(degrees) if degrees else np.zeros(0, int))
    if not degrees:
        return RowShapes(widths, (0,) * len(widths))
    counts = np.stack([piece_counts(d, widths) for d in degrees])
    needed = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]  # rows of at least each width
    limits = []
    for size, limit in zip(sizes.T, budget, strict=True):
        has = size > 0
        share = np.max(needed[has] / size[has, None], axis=0, initial=0)
        limits.append(np.where(share > 0, np.nan_to_num(share, nan=0) * limit, 0))
    bound = np.floor(np.minimum.reduce(limits) + 1e-6).astype(int)
    rows = -np.diff(np.append(bound, 0))
    return RowShapes(widths, tuple(int(r) for r in rows[:-1]), int(rows[-1]))
