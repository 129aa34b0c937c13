"""Static shapes of neighbour tables."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from equijax._arguments import listed, shown
from equijax._indices import bounded_int, indices, require_range
from equijax.groups._elements import known_integers

_WIDTHS = range(1, 9)
_SPLIT_COST = 5  # what adding one further row to its node costs, in slots


@dataclasses.dataclass(frozen=True)
class RowShapes:
    """Sizes of a table in one direction.

    Attributes:
      width: the number of edges that a row holds.
      nodes: the number of nodes; each has one row.
      splits: further rows, for the nodes of higher degree.

    Raises:
      TypeError: a size is no integer.
      ValueError: a size is negative, or there are more slots than int32 can number.
    """

    width: int
    nodes: int
    splits: int

    def __post_init__(self) -> None:
        for name, minimum in (("width", 1), ("nodes", 0), ("splits", 0)):
            object.__setattr__(self, name, bounded_int(getattr(self, name), name, minimum))
        bounded_int(self.num_slots, "width * (nodes + splits)", 0)

    @property
    def num_slots(self) -> int:
        """Number of places for edges."""
        return self.width * (self.nodes + self.splits)


@dataclasses.dataclass(frozen=True)
class TableShapes:
    """Static shapes of a :class:`NeighbourTable`: graphs whose tables have equal shapes share one compiled program.

    Attributes:
      incoming: rows of the edges that end at a node.
      outgoing: rows of the edges that start at a node, for gradients.

    Raises:
      TypeError: one of them is no :class:`RowShapes`.
    """

    incoming: RowShapes
    outgoing: RowShapes

    def __post_init__(self) -> None:
        for name in ("incoming", "outgoing"):
            if not isinstance(getattr(self, name), RowShapes):
                raise TypeError(f"`{name}` is {shown(getattr(self, name))}; it must be RowShapes. See table_shapes.")


def table_shapes(
    graphs: Iterable[tuple[Any, Any, int]], num_nodes: int, num_edges: int, num_graphs: int | None = None
) -> TableShapes:
    """Computes table shapes that suffice for every batch of the given graphs within a budget.

    The number of further rows that a batch needs is a sum over its graphs. So it is bounded by the budget times the largest
    share per node, per edge or per graph that a graph of the data has, whichever is least.

    Args:
      graphs: ``(senders, receivers, num_nodes)`` of each graph, without padding.
      num_nodes: the number of nodes of a batch, padding included.
      num_edges: the most edges that a batch may have.
      num_graphs: the most graphs that a batch may have; None is any number.

    Returns:
      The shapes.

    Raises:
      TypeError: a number or an index is no integer.
      ValueError: an index or a size is out of range.

    Example:
      >>> import equijax as ej
      >>> ej.graphs.table_shapes([([0, 1, 2], [1, 2, 0], 3)], num_nodes=30, num_edges=30).incoming
      RowShapes(width=1, nodes=30, splits=0)
    """
    num_nodes, num_edges = bounded_int(num_nodes, "num_nodes", 0), bounded_int(num_edges, "num_edges", 0)
    num_graphs = None if num_graphs is None else bounded_int(num_graphs, "num_graphs", 0)
    sizes, needed = [], ([], [])
    for k, graph in enumerate(listed(graphs, "graphs", "triples (senders, receivers, num_nodes)")):
        if not isinstance(graph, (tuple, list)) or len(graph) != 3:
            raise TypeError(f"`graphs[{k}]` is {shown(graph)}; it must be a triple (senders, receivers, num_nodes).")
        nodes = bounded_int(graph[2], f"graphs[{k}][2]", 0)
        senders, receivers = (
            known_integers(indices(ends, name), name) for ends, name in zip(graph, ("senders", "receivers"), strict=False)
        )
        if senders.ndim != 1 or senders.shape != receivers.shape:
            raise ValueError(
                f"`senders` and `receivers` of `graphs[{k}]` have shapes {senders.shape} and {receivers.shape}; both must "
                "be (E,)."
            )
        sizes.append((nodes, len(senders), 1))
        for counts, known, name in zip(needed, (receivers, senders), ("receivers", "senders"), strict=True):
            require_range(known, nodes, name, "nodes")
            counts.append(_splits(np.bincount(known, minlength=nodes)))
    budget = (num_nodes, num_edges, np.inf if num_graphs is None else num_graphs)
    bounds = (_largest_sums(np.reshape(counts, (-1, len(_WIDTHS))), np.reshape(sizes, (-1, 3)), budget) for counts in needed)
    return TableShapes(*(_best(num_nodes, splits) for splits in bounds))


def exact_shapes(degrees: np.ndarray) -> RowShapes:
    """Returns shapes for one graph, by the degrees of its nodes."""
    return _best(len(degrees), _splits(degrees))


def _splits(degrees: np.ndarray) -> np.ndarray:
    """Counts the further rows that nodes of these degrees need, for each width."""
    count = np.bincount(degrees)
    degree = np.arange(len(count))
    return np.asarray([np.sum(count * (np.maximum(degree - 1, 0) // width)) for width in _WIDTHS])


def _best(nodes: int, splits: np.ndarray) -> RowShapes:
    """Chooses the width whose table costs least."""
    choices = [RowShapes(width, nodes, int(x)) for width, x in zip(_WIDTHS, splits, strict=True)]
    return min(choices, key=lambda shapes: shapes.num_slots + _SPLIT_COST * shapes.splits)


def _largest_sums(counts: np.ndarray, sizes: np.ndarray, budget: tuple) -> np.ndarray:
    """Bounds the sum of ``counts`` (graphs, widths) over graphs whose ``sizes`` (graphs, 3) stay within the budget."""
    bounds = []
    for size, limit in zip(sizes.T, budget, strict=True):
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.max(np.where(counts > 0, counts / size[:, None], 0), axis=0, initial=0)
            bounds.append(np.where(share > 0, share * limit, 0))
    return np.floor(np.min(bounds, axis=0) + 1e-6)
