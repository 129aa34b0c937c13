"""How large a batch of graphs of several types may be."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from equijax._arguments import boolean
from equijax._indices import bounded_int
from equijax._numbers import positive_int
from equijax.graphs._budget import Budget, require_spread, room_for
from equijax.graphs._hetero import EdgeType, HeteroGraph, ends_of, flat_ends, require_edge_type
from equijax.graphs._shapes import TableShapes, table_shapes


@dataclasses.dataclass(frozen=True)
class HeteroBudget(Budget):
    """The static sizes of a batch of graphs of several types, padding included: what :class:`GraphBudget` is for one type.

    It is hashable and equal by value. Batches of one budget have equal shapes, so a jitted function is traced once. A batch
    leaves room for a padding node of each type at which padding edges end, and for a padding graph, unless it fills the
    budget exactly.

    Args:
      nodes: for each type of nodes their number; stored as pairs in alphabetical order.
      edges: for each type of edges their number; stored likewise.
      graphs: number of graphs G.
      table: for each type of edges the shapes of the neighbour tables that batches get; None is no table.

    Raises:
      TypeError: a size is no integer, a type of edges not three words, or ``table`` holds no shapes.
      ValueError: a size is out of range, or a type of edges ends at a type of nodes without a size.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> saw = ("user", "saw", "film")
      >>> graph = ej.graphs.HeteroGraph({"user": jnp.ones((2, 4)), "film": jnp.ones((3, 8))}, {saw: ([0, 1], [0, 2])})
      >>> budget = ej.graphs.HeteroBudget({"user": 5, "film": 8}, {saw: 6}, graphs=3)
      >>> ej.graphs.batch([graph, graph], budget)
      HeteroGraph(8 film, 5 user; 6 user-saw-film; 3 graphs)
    """

    nodes: Any
    edges: Any
    graphs: int
    table: Any = None

    def __post_init__(self) -> None:
        for name, minimum in (("nodes", 1), ("edges", 0)):
            given = getattr(self, name)
            if not isinstance(given, (Mapping, tuple)):
                raise TypeError(f"`{name}` is a {type(given).__name__}; give a number for each type, {{type: number}}.")
            sizes = {kind: bounded_int(n, f"{name}[{kind!r}]", minimum) for kind, n in dict(given).items()}
            object.__setattr__(self, name, tuple(sorted(sizes.items())))
        for kind in dict(self.edges):
            require_edge_type(kind, "edges")
            for end in ends_of(kind):
                if end not in dict(self.nodes):
                    raise ValueError(f"`edges` names {end!r}, but `nodes` has the types {[name for name, _ in self.nodes]}.")
        object.__setattr__(self, "graphs", bounded_int(self.graphs, "graphs"))
        if self.table is None:
            return
        table = dict(self.table) if isinstance(self.table, (Mapping, tuple)) else {}
        if set(table) != set(dict(self.edges)) or not all(isinstance(shapes, TableShapes) for shapes in table.values()):
            raise TypeError("`table` must hold TableShapes for each type of edges, or be None. See HeteroBudget.of.")
        object.__setattr__(self, "table", tuple(sorted(table.items())))

    @classmethod
    def of(
        cls, graphs: Iterable[HeteroGraph], batch_size: int, *, spread: float = 2.0, tables: bool = False
    ) -> "HeteroBudget":
        """Computes a budget from a data set, for each type of nodes and edges as :meth:`GraphBudget.of`.

        Args:
          graphs: the graphs of the data set.
          batch_size: the number of graphs in a batch.
          spread: the number of standard deviations of room beside the mean.
          tables: whether batches get neighbour tables.

        Raises:
          TypeError: an entry is no such graph.
          ValueError: there is no graph, the types differ, or ``spread`` is negative.

        Example:
          >>> import equijax as ej, jax.numpy as jnp
          >>> saw = ("user", "saw", "film")
          >>> graph = ej.graphs.HeteroGraph({"user": jnp.ones((2, 4)), "film": jnp.ones((3, 8))}, {saw: ([0, 1], [0, 2])})
          >>> print(ej.graphs.HeteroBudget.of([graph] * 6, batch_size=2).report([graph] * 6))
          3 batches, filled: nodes 83%, edges 100%, graphs 67%
        """
        graphs, count = list(graphs), positive_int(batch_size, "batch_size")
        tables = boolean(tables, "tables")
        require_spread(graphs, spread)
        names, kinds = types_of(graphs)
        columns = sizes_by_type(graphs, names, kinds).T
        nodes = {name: room_for(column, count, spread) + 1 for name, column in zip(names, columns, strict=False)}
        edges = {kind: room_for(column, count, spread) for kind, column in zip(kinds, columns[len(names) :], strict=False)}
        most = int(np.sort(columns[-1])[-count:].sum()) + 1
        if not tables:
            return cls(nodes, edges, most)
        shapes = {}
        for kind in kinds:
            known = (flat_ends(graph, kind) for graph in graphs)
            shapes[kind] = table_shapes(known, sum(nodes[end] for end in ends_of(kind)), edges[kind], most)
        return cls(nodes, edges, most, shapes)

    @property
    def rooms(self) -> dict[str, int]:
        """The sizes by their names."""
        named = {f"{word}[{kind!r}]": n for word in ("nodes", "edges") for kind, n in getattr(self, word)}
        return named | {"graphs": self.graphs}

    def sizes(self, graphs: Sequence[HeteroGraph]) -> np.ndarray:
        """Returns the numbers of nodes and edges of each type and of graphs, padding included, ``(count, sizes)``.

        Raises:
          TypeError: an entry is no such graph.
          ValueError: one has other types than the budget.
        """
        names, kinds = tuple(dict(self.nodes)), tuple(dict(self.edges))
        return sizes_by_type(graphs, names, kinds, "the budget")

    def _with_padding(self, came: Sequence[int]) -> list[int]:
        """Returns how much room so much takes with the padding that it needs."""
        nodes = dict(zip(dict(self.nodes), came, strict=False))
        edges = dict(zip(dict(self.edges), came[len(nodes) :], strict=False))
        padded = {end for kind, room in self.edges if edges[kind] < room for end in ends_of(kind)}
        graph = any(nodes[name] < room for name, room in self.nodes)
        return [*(n + (name in padded) for name, n in nodes.items()), *edges.values(), came[-1] + graph]

    def _slots(self) -> int | None:
        """Returns the number of slots of the tables, in both directions; None without tables."""
        if self.table is None:
            return None
        return sum(shapes.incoming.num_slots + shapes.outgoing.num_slots for _, shapes in self.table)

    def __repr__(self) -> str:
        tables = "" if self.table is None else f", tables of {self._slots()} slots"
        edges = {"-".join(kind): n for kind, n in self.edges}
        return f"HeteroBudget(nodes={dict(self.nodes)}, edges={edges}, graphs={self.graphs}{tables})"


def types_of(graphs: Sequence[Any]) -> tuple[tuple[str, ...], tuple[EdgeType, ...]]:
    """Returns the types of nodes and edges of the first graph.

    Raises:
      TypeError: it is no such graph.
    """
    if not isinstance(graphs[0], HeteroGraph):
        raise TypeError(f"`graphs[0]` is a {type(graphs[0]).__name__}; it must be a HeteroGraph(nodes, edges).")
    return graphs[0].node_types, graphs[0].edge_types


def sizes_by_type(
    graphs: Sequence[Any], names: tuple[str, ...], kinds: tuple[EdgeType, ...], others: str = "`graphs[0]`"
) -> np.ndarray:
    """Returns the numbers of nodes and edges of each type and of graphs, padding included, ``(count, sizes)``.

    Raises:
      TypeError: an entry is no such graph.
      ValueError: one has other types.
    """
    rows = []
    for k, graph in enumerate(graphs):
        if not isinstance(graph, HeteroGraph):
            raise TypeError(f"`graphs[{k}]` is a {type(graph).__name__}; it must be a HeteroGraph(nodes, edges).")
        other = sorted({*graph.node_types} ^ {*names}) or sorted({*graph.edge_types} ^ {*kinds})
        if other:
            raise ValueError(
                f"`graphs[{k}]` and {others} do not both have the type {other[0]!r}. All graphs of a batch need the same "
                "types; give one that is missing with no nodes, or no edges."
            )
        rows.append([*graph.num_nodes.values(), *graph.num_edges.values(), graph.num_graphs])
    return np.array(rows, int).reshape(-1, len(names) + len(kinds) + 1)
