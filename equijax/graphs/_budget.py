"""How large a batch of graphs may be: static sizes, so that all batches share one compiled program."""

import abc
import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from equijax._arguments import boolean, real_number
from equijax._indices import bounded_int
from equijax._numbers import positive_int
from equijax.graphs._graph import Graph
from equijax.graphs._shapes import TableShapes, table_shapes

_ENTRIES = ("nodes", "edges", "graphs")


@dataclasses.dataclass(frozen=True)
class BudgetReport:
    """How full the batches of a data set are; 1 minus a share is what is spent on padding.

    Attributes:
      batches: number of batches.
      nodes: share of the nodes that are no padding, 0 … 1.
      edges: share of the edges.
      graphs: share of the graphs.
      slots: share of the slots of the tables, in both directions; None without tables.
    """

    batches: int
    nodes: float
    edges: float
    graphs: float
    slots: float | None = None

    def __str__(self) -> str:
        shares = [f"{name} {getattr(self, name):.0%}" for name in (*_ENTRIES, "slots") if getattr(self, name) is not None]
        return f"{self.batches} batch{'es' * (self.batches != 1)}, filled: {', '.join(shares)}"


class Budget(abc.ABC):
    """What budgets have in common: named sizes, and how graphs are packed into batches of such sizes."""

    @property
    @abc.abstractmethod
    def rooms(self) -> dict[str, int]:
        """The sizes by their names; those of nodes and edges begin with these words, and that of graphs is the last."""

    @abc.abstractmethod
    def sizes(self, graphs: Sequence[Any]) -> np.ndarray:
        """Returns how much of each size every graph takes, padding included, integers ``(count, sizes)``."""

    @abc.abstractmethod
    def _with_padding(self, came: Sequence[int]) -> list[int]:
        """Returns how much room so much takes with the padding that it needs."""

    @abc.abstractmethod
    def _slots(self) -> int | None:
        """Returns the number of slots of the tables, in both directions; None without tables."""

    def report(self, graphs: Iterable[Any]) -> BudgetReport:
        """Tells how full the batches are into which :func:`batches` packs these graphs, in their order.

        Raises:
          ValueError: a graph does not fit.
        """
        sizes = self.sizes(list(graphs))
        batches = len(self.pack(sizes))
        used = dict(zip(self.rooms, sizes.sum(0).tolist(), strict=True))
        total = lambda counts, word: sum(n for name, n in counts.items() if name.startswith(word))  # noqa: E731
        share = lambda used, room: used / (room * batches) if room * batches else 1.0  # noqa: E731
        shares = {word: share(total(used, word), total(self.rooms, word)) for word in _ENTRIES}
        slots = self._slots()
        return BudgetReport(batches, **shares, slots=None if slots is None else share(2 * total(used, "edges"), slots))

    def pack(self, sizes: np.ndarray, order: np.ndarray | None = None, *, drop_last: bool = False) -> list[np.ndarray]:
        """Distributes graphs over batches in an order: each goes to the last batch where it fits there, else to a new one.

        Args:
          sizes: integers ``(count, sizes)``: how much of each size every graph takes, as from :meth:`sizes`.
          order: integers ``(count,)``, a permutation; None is the order of ``sizes``.
          drop_last: whether to leave out the last batch if one of these graphs would still fit in.

        Returns:
          The numbers of the graphs in each batch.

        Raises:
          ValueError: a graph does not fit even alone.
        """
        order = np.arange(len(sizes)) if order is None else order
        cuts, total = [], []
        for place, k in enumerate(order):
            more = sizes[k].tolist()
            total = [a + b for a, b in zip(total, more, strict=True)] if cuts else more
            if not cuts or not self._fits(total):
                total = more
                self.require_room(*total, what=f"graph {k}")
                cuts.append(place)
        groups = np.split(order, cuts[1:]) if cuts else []
        if drop_last and any(self._fits([a + b for a, b in zip(total, more, strict=True)]) for more in sizes.tolist()):
            groups.pop()
        return groups

    def require_room(self, *came: int, what: str = "the batch") -> None:
        """Raises ``ValueError`` where so much does not fit, or leaves no room for the padding that it needs."""
        for (name, room), n, wanted in zip(self.rooms.items(), came, self._with_padding(came), strict=True):
            if wanted > room:
                reserved = ", and one is needed for padding" if n <= room else ""
                raise ValueError(
                    f"`budget.{name}` is {room}, but {what} has {n}{reserved}. Give a larger budget, for "
                    f"example {type(self).__name__}.of(all graphs, batch_size), or batch fewer graphs; batches() packs as "
                    "many as fit."
                )

    def _fits(self, came: Sequence[int]) -> bool:
        return all(wanted <= room for wanted, room in zip(self._with_padding(came), self.rooms.values(), strict=True))


@dataclasses.dataclass(frozen=True)
class GraphBudget(Budget):
    """The static sizes of a batch, padding included.

    It is hashable and equal by value. Batches of one budget have equal shapes, so a jitted function is traced once.

    Padding nodes belong to a padding graph, and padding edges join a padding node to itself. So a batch leaves room for a
    node and a graph of padding, unless it fills the budget exactly.

    Args:
      nodes: number of nodes N.
      edges: number of edges E.
      graphs: number of graphs G.
      table: shapes of the neighbour tables that batches get; None is no table.

    Raises:
      TypeError: a size is no integer, or ``table`` none.
      ValueError: a size is too small, or too large for indices of 32 bits.

    Example:
      >>> import equijax as ej
      >>> budget = ej.graphs.GraphBudget(nodes=8, edges=10, graphs=3)
      >>> ej.graphs.batch([ej.graphs.complete_graph(3)], budget)
      Graph(8 nodes, 10 edges, 3 graphs)
    """

    nodes: int
    edges: int
    graphs: int
    table: TableShapes | None = None

    def __post_init__(self) -> None:
        for name, minimum in zip(_ENTRIES, (1, 0, 1), strict=True):
            object.__setattr__(self, name, bounded_int(getattr(self, name), name, minimum))
        if self.table is not None and not isinstance(self.table, TableShapes):
            raise TypeError(f"`table` is {self.table!r}; it must be TableShapes or None. See GraphBudget.of.")

    @classmethod
    def of(cls, graphs: Iterable[Graph], batch_size: int, *, spread: float = 2.0, tables: bool = False) -> "GraphBudget":
        r"""Computes a budget from a data set.

        .. math:: \min\bigl(Bμ + c\sqrt{B}\,σ,\; \text{the } B \text{ largest together}\bigr)

        nodes, and edges likewise, for B graphs a batch with mean size μ and standard deviation σ; at least as many as the
        largest graph has. So nearly all random batches of ``batch_size`` graphs fit, and :func:`batches` puts fewer graphs
        into one where they don't.

        Args:
          graphs: the graphs of the data set.
          batch_size: the number B of graphs in a batch.
          spread: the number c; ``math.inf`` makes room for every batch of B graphs.
          tables: whether batches get neighbour tables, which make large neighbour sums fast.

        Raises:
          ValueError: there is no graph, or ``spread`` is negative.

        Example:
          >>> import equijax as ej
          >>> graphs = [ej.graphs.complete_graph(n) for n in (3, 4, 5, 4, 4, 3, 5)]
          >>> budget = ej.graphs.GraphBudget.of(graphs, batch_size=2)
          >>> budget
          GraphBudget(nodes=11, edges=40, graphs=3)
          >>> print(budget.report(graphs))
          4 batches, filled: nodes 64%, edges 55%, graphs 58%
        """
        graphs, tables = list(graphs), boolean(tables, "tables")
        sizes, count = sizes_of(graphs), positive_int(batch_size, "batch_size")
        require_spread(graphs, spread)
        nodes, edges = (room_for(column, count, spread) for column in sizes[:, :2].T)
        most = int(np.sort(sizes[:, 2])[-count:].sum())
        budget = cls(nodes + 1, edges, most + 1)
        if not tables:
            return budget
        shapes = table_shapes(map(_valid_edges, graphs), budget.nodes, budget.edges, budget.graphs)
        return dataclasses.replace(budget, table=shapes)

    @property
    def rooms(self) -> dict[str, int]:
        """The sizes by their names."""
        return {name: getattr(self, name) for name in _ENTRIES}

    def sizes(self, graphs: Sequence[Graph]) -> np.ndarray:
        """Returns the numbers of nodes, edges and graphs of each, padding included, ``(count, 3)``.

        Raises:
          TypeError: an entry is no graph.
        """
        return sizes_of(graphs)

    def _with_padding(self, came: Sequence[int]) -> list[int]:
        """Returns how much room so much takes with the padding that it needs."""
        nodes, edges, graphs = came
        return [nodes + (edges < self.edges), edges, graphs + (nodes < self.nodes)]

    def _slots(self) -> int | None:
        """Returns the number of slots of the tables, in both directions; None without tables."""
        return None if self.table is None else self.table.incoming.num_slots + self.table.outgoing.num_slots

    def __repr__(self) -> str:
        sizes = f"nodes={self.nodes}, edges={self.edges}, graphs={self.graphs}"
        if self.table is None:
            return f"GraphBudget({sizes})"
        return f"GraphBudget({sizes}, table of {self.table.incoming.num_slots} + {self.table.outgoing.num_slots} slots)"


def require_spread(graphs: Sequence[Any], spread: float) -> None:
    """Raises ``ValueError`` where there is no graph to compute a budget from, or a negative spread."""
    if not graphs:
        raise ValueError("`graphs` is empty; a budget is computed from the graphs of a data set.")
    if not (isinstance(spread, float) and spread == math.inf):
        real_number(spread, "spread", 0.0, what="number of standard deviations, or inf,")


def sizes_of(graphs: Sequence[Graph]) -> np.ndarray:
    """Returns the numbers of nodes, edges and graphs of each, padding included, ``(count, 3)``.

    Raises:
      TypeError: an entry is no graph.
    """
    for k, graph in enumerate(graphs):
        if not isinstance(graph, Graph):
            raise TypeError(f"`graphs[{k}]` is a {type(graph).__name__}; it must be a Graph(nodes, senders, receivers, …).")
    return np.array([(g.num_nodes, g.num_edges, g.num_graphs) for g in graphs], int).reshape(-1, 3)


def room_for(sizes: np.ndarray, count: int, spread: float) -> int:
    """Returns room for most batches of ``count`` graphs of these sizes, and at least for the largest graph."""
    largest = int(np.sort(sizes)[-count:].sum())
    if math.isinf(spread):
        return largest
    expected = count * sizes.mean() + spread * math.sqrt(count) * sizes.std()
    return max(int(sizes.max()), min(largest, math.ceil(expected - 1e-9)))


def _valid_edges(graph: Graph) -> tuple[np.ndarray, np.ndarray, int]:
    valid = np.asarray(graph.edge_mask)
    return np.asarray(graph.senders)[valid], np.asarray(graph.receivers)[valid], graph.num_nodes
