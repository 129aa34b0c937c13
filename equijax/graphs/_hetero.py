"""Graphs with several types of nodes and of edges."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import shown
from equijax._exported import exported, is_open
from equijax._indices import indices, require_range
from equijax.graphs._fields import Fields
from equijax.graphs._given import full, mask, require_mapping
from equijax.graphs._graph import Graph, count_graphs
from equijax.graphs._host import assemble
from equijax.graphs._relations import Relations
from equijax.graphs._table import NeighbourTable
from equijax.groups._elements import concrete

EdgeType = tuple[str, str, str]
"""Type of the senders, name of the relation, type of the receivers."""


@exported
class EdgeSet(NamedTuple):
    """The edges of one type; a pytree.

    Attributes:
      senders: integers ``(E,)``, numbers of nodes of the type of the senders.
      receivers: integers ``(E,)``, numbers of nodes of the type of the receivers.
      edges: features ``(E, …)``, a pytree of such arrays, or None.
      edge_mask: bool ``(E,)``, False at padding; None is all True.
      shifts: vectors in space ``(E, d)`` as those of a :class:`Graph`, or None.
      table: neighbour tables of these edges, made by :meth:`HeteroGraph.with_table`.
    """

    senders: Any
    receivers: Any
    edges: Any = None
    edge_mask: Any = None
    shifts: Any = None
    table: NeighbourTable | None = None


@exported
@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class HeteroGraph(Fields):
    """A graph, or many in one, whose nodes and edges are of several types: a pytree of flat arrays, as :class:`Graph`.

    Nodes are numbered within their type. Types are always listed in alphabetical order.

    Args:
      nodes: for each type of nodes features ``(N, *fibre, features)``, or a pytree of such arrays.
      edges: for each type of edges, ``(type of the senders, relation, type of the receivers)``, an :class:`EdgeSet`, or a
        tuple ``(senders, receivers)``.
      globals: features of whole graphs ``(G, …)``, a pytree of such arrays, or None.
      positions: for each type of nodes that lies in space points ``(N, d)``; None is no type.
      node_graph: for each type of nodes integers ``(N,)``, the graph of each; what is not named lies in graph 0.
      node_mask: for each type of nodes bool ``(N,)``, False at padding; what is not named is all True.
      graph_mask: bool ``(G,)``, False at padding; None is all True.

    Raises:
      TypeError: an index is no integer, or a mask no bool; a type of nodes is no word, or one of edges not three words.
      ValueError: as for :class:`Graph`; or a type is named that has no nodes.

    Example: two users, three films, who saw what, and who knows whom.
      >>> import equijax as ej, jax.numpy as jnp
      >>> graph = ej.graphs.HeteroGraph(
      ...     {"user": jnp.ones((2, 4)), "film": jnp.ones((3, 8))},
      ...     {("user", "saw", "film"): ([0, 1, 1], [0, 0, 2]), ("user", "knows", "user"): ([0], [1])})
      >>> graph
      HeteroGraph(3 film, 2 user; 1 user-knows-user, 3 user-saw-film; 1 graph)
    """

    nodes: Any
    edges: Any
    globals: Any = dataclasses.field(default=None, kw_only=True)
    positions: Any = dataclasses.field(default=None, kw_only=True)
    node_graph: Any = dataclasses.field(default=None, kw_only=True)
    node_mask: Any = dataclasses.field(default=None, kw_only=True)
    graph_mask: Any = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        self._require_types()
        put("graph_mask", mask(self.graph_mask, "graph_mask"))
        owners, masks, places = (dict(named or {}) for named in (self.node_graph, self.node_mask, self.positions))
        _require_known({*owners, *masks, *places}, self.nodes, "node_graph`, `node_mask` and `positions")
        _require_known({name for kind in self.edges for name in ends_of(kind)}, self.nodes, "edges")
        graphs = Graph(
            None, [], [], globals=self.globals, node_mask=np.zeros(0, bool), graph_mask=self._count_graphs(owners)
        )
        put("globals", graphs.globals)
        put("graph_mask", graphs.graph_mask)
        parts = {}
        for name in sorted(self.nodes):
            with _within(name):
                parts[name] = Graph(
                    self.nodes[name],
                    [],
                    [],
                    positions=places.get(name),
                    node_graph=owners.get(name),
                    node_mask=masks.get(name),
                    graph_mask=graphs.graph_mask,
                )
        put("nodes", {name: part.nodes for name, part in parts.items()})
        put("positions", {name: parts[name].positions for name in sorted(places)} or None)
        self._require_one_space()
        put("node_graph", {name: part.node_graph for name, part in parts.items()})
        put("node_mask", {name: part.node_mask for name, part in parts.items()})
        sets = {kind: self._checked_edges(kind, _edge_set(kind, self.edges[kind])) for kind in sorted(self.edges)}
        put("edges", Relations(sets))

    @property
    def node_types(self) -> tuple[str, ...]:
        """The types of nodes, in alphabetical order."""
        return tuple(sorted(self.nodes))

    @property
    def edge_types(self) -> tuple[EdgeType, ...]:
        """The types of edges, in alphabetical order."""
        return tuple(sorted(self.edges))

    @property
    def num_nodes(self) -> dict[str, int]:
        """Number of nodes of each type, padding included."""
        return {name: self.node_mask[name].shape[0] for name in self.node_types}

    @property
    def num_edges(self) -> dict[EdgeType, int]:
        """Number of edges of each type, padding included."""
        return {kind: self.edges[kind].senders.shape[0] for kind in self.edge_types}

    @property
    def num_graphs(self) -> int:
        """Number of graphs G, padding included."""
        return self.graph_mask.shape[0]

    def replace(self, **changes: Any) -> "HeteroGraph":
        """Returns a graph with other fields; a table stays with its :class:`EdgeSet`.

        Raises:
          TypeError: no such field.
          ValueError: as for the constructor.
        """
        given = changes.get("nodes")
        if len(changes) > 1 or not isinstance(given, Mapping) or set(given) != set(self.nodes):
            return dataclasses.replace(self, **changes)
        nodes = {}
        for name in self.node_types:  # what layers do: nothing else has to be checked again
            with _within(name):
                nodes[name] = Graph(None, [], [], node_mask=self.node_mask[name]).replace(nodes=given[name]).nodes
        return assembled(self, nodes=nodes)

    def with_table(self, shapes: Mapping[EdgeType, Any] | None = None) -> "HeteroGraph":
        """Returns the graph with neighbour tables for every type of edges, built on the host in numpy.

        Args:
          shapes: for each type of edges the static shapes of its tables; None, or no entry, is what this graph needs.

        Raises:
          ValueError: the graph is traced, or does not fit the shapes.
        """
        if shapes is not None:
            require_mapping(shapes, "shapes", "{type of edges: TableShapes}")
        edges = {}
        for kind in self.edge_types:
            with _within(kind):
                table = self._flat(ends_of(kind), (kind,), None, None).with_table((shapes or {}).get(kind)).table
                edges[kind] = self.edges[kind]._replace(table=table)
        return assembled(self, edges=edges)

    def relation(self, edge_type: EdgeType) -> Graph:
        """Returns the edges of one type as a flat graph of its senders, then its receivers (once where they are one type).

        It has positions where both types have, and the shifts and the table of the edges.

        Raises:
          ValueError: there is no such type, or senders and receivers have different features.

        Example:
          >>> import equijax as ej, jax.numpy as jnp
          >>> saw = ("user", "saw", "film")
          >>> graph = ej.graphs.HeteroGraph({"user": jnp.ones((2, 4)), "film": jnp.ones((3, 4))}, {saw: ([0, 1], [0, 2])})
          >>> graph.relation(saw).receivers.tolist()
          [2, 4]
        """
        require_edge_type(edge_type, "edge_type")
        if edge_type not in self.edges:
            raise ValueError(f"`edge_type` is {edge_type!r}; the graph has {list(self.edge_types)}.")
        names, given = ends_of(edge_type), self.edges[edge_type]
        return self._flat(names, (edge_type,), _joined(self.nodes, names), given.edges, given.table)

    def to_flat(self) -> Graph:
        """Returns one flat graph of all nodes and edges, type after type, with the numbers of their types.

        Returns:
          A graph with nodes ``{"features": (N, …), "type": int32 (N,)}`` and edges ``{"features": (E, …), "type": int32
          (E,)}``, where types are numbered as in ``node_types`` and ``edge_types``; edge features are left out where no type
          has any. It has positions where all types have, and shifts where some edges have any; it has no table.

        Raises:
          ValueError: the types have different features.

        Example:
          >>> import equijax as ej, jax.numpy as jnp
          >>> graph = ej.graphs.HeteroGraph({"user": jnp.ones((2, 4)), "film": jnp.ones((3, 4))}, {})
          >>> graph.to_flat().nodes["type"].tolist()
          [0, 0, 0, 1, 1]
        """
        nodes = {"features": _joined(self.nodes, self.node_types), "type": _ids(self.num_nodes, self.node_types)}
        edges = {"type": _ids(self.num_edges, self.edge_types)}
        features = {kind: self.edges[kind].edges for kind in self.edge_types}
        if any(value is not None for value in features.values()):
            edges["features"] = _joined(features, self.edge_types)
        return self._flat(self.node_types, self.edge_types, nodes, edges)

    def _positions(self, names: tuple[str, ...]) -> Any:
        """Returns the points of several types one behind the other; None where one has none."""
        places = self.positions or {}
        return jnp.concatenate([places[name] for name in names]) if names and set(names) <= set(places) else None

    def _shifts(self, kinds: tuple[EdgeType, ...]) -> Any:
        """Returns the shifts of several types, zeros where a type has none; None where no type has any."""
        given = [self.edges[kind].shifts for kind in kinds]
        some = next((shifts for shifts in given if shifts is not None), None)
        if some is None:
            return None
        sizes = [self.num_edges[kind] for kind in kinds]
        zeros = [jnp.zeros((size, some.shape[1]), some.dtype) for size in sizes]
        return jnp.concatenate([zero if shifts is None else shifts for zero, shifts in zip(zeros, given, strict=True)])

    def _flat(self, names: tuple[str, ...], kinds: tuple[EdgeType, ...], nodes: Any, edges: Any, table: Any = None) -> Graph:
        first, total = {}, 0
        for name in names:
            first[name], total = total, total + self.num_nodes[name]
        join = lambda parts, dtype: jnp.concatenate([jnp.zeros(0, dtype), *parts])  # noqa: E731
        sets = [self.edges[kind] for kind in kinds]
        ends = [
            join(
                [one[side] + jnp.asarray(first[kind[2 * side]], jnp.int32) for one, kind in zip(sets, kinds, strict=True)],
                jnp.int32,
            )
            for side in (0, 1)
        ]
        return assemble(
            nodes=nodes,
            senders=ends[0],
            receivers=ends[1],
            edges=edges,
            globals=self.globals,
            positions=self._positions(names),
            shifts=self._shifts(kinds),
            table=table,
            node_graph=join([self.node_graph[name] for name in names], jnp.int32),
            node_mask=join([self.node_mask[name] for name in names], bool),
            edge_mask=join([one.edge_mask for one in sets], bool),
            graph_mask=self.graph_mask,
        )

    def _count_graphs(self, owners: dict[str, Any]) -> Any:
        if self.graph_mask is not None or self.globals is not None:
            return self.graph_mask
        known = concrete(tuple(owners.values()))
        if known is None:
            raise ValueError("`node_graph` is traced, so the number of graphs is not known. Give graph_mask, bool (G,).")
        return np.ones(max(map(count_graphs, known), default=1), bool)

    def _require_types(self) -> None:
        require_mapping(self.nodes, "nodes", "{type of nodes: features}")
        require_mapping(self.edges, "edges", "{(type of the senders, relation, type of the receivers): EdgeSet}")
        for name in ("positions", "node_graph", "node_mask"):
            if getattr(self, name) is not None:
                require_mapping(getattr(self, name), name, "{type of nodes: array}")
        for name in self.nodes:
            if not isinstance(name, str):
                raise TypeError(f"`nodes` has a key {name!r}; a type of nodes is a word.")
        for kind in self.edges:
            require_edge_type(kind, "edges")

    def _require_one_space(self) -> None:
        found = {name: (points.shape[1], points.dtype.name) for name, points in (self.positions or {}).items()}
        for name, space in found.items():
            first = next(iter(found))
            if space != found[first]:
                raise ValueError(
                    f"`positions` of {name!r} are vectors of {space[0]} {space[1]}, those of {first!r} of {found[first][0]} "
                    f"{found[first][1]}; all lie in one space, so give one length and one dtype."
                )

    def _checked_edges(self, kind: EdgeType, given: EdgeSet) -> EdgeSet:
        """Fills in what is left out of the edges of one type, after checking them."""
        sizes = [self.node_mask[name].shape[0] for name in (kind[0], kind[2])]
        with _within(kind):
            for side, size in zip(("senders", "receivers"), sizes, strict=True):
                require_range(
                    concrete(indices(getattr(given, side), side)),
                    size,
                    side,
                    f"nodes {kind[0 if side == 'senders' else 2]!r}",
                )
            every = full(True, sum(sizes) if is_open(*sizes) else max(sizes), bool)
            plain = Graph(
                None, given.senders, given.receivers, edges=given.edges, edge_mask=given.edge_mask, node_mask=every
            )
            names = ends_of(kind)
            flat = Graph(  # which checks the masks
                None,
                plain.senders,
                plain.receivers + jnp.asarray(sizes[0] if len(names) == 2 else 0, jnp.int32),
                positions=self._positions(names),
                shifts=given.shifts,
                table=given.table,
                node_graph=jnp.concatenate([self.node_graph[name] for name in names]),
                node_mask=jnp.concatenate([self.node_mask[name] for name in names]),
                edge_mask=plain.edge_mask,
                graph_mask=self.graph_mask,
            )
        return EdgeSet(plain.senders, plain.receivers, plain.edges, plain.edge_mask, flat.shifts, flat.table)

    def __repr__(self) -> str:
        if not isinstance(self.nodes, Mapping) or not hasattr(self.graph_mask, "shape"):
            return "HeteroGraph(…)"
        nodes = ", ".join(f"{n} {name}" for name, n in self.num_nodes.items())
        edges = ", ".join(f"{n} {'-'.join(kind)}" for kind, n in self.num_edges.items())
        return (
            f"HeteroGraph({'; '.join(filter(None, (nodes, edges)))}; {self.num_graphs} graph{'s' * (self.num_graphs != 1)})"
        )


def require_edge_type(kind: Any, argument: str) -> None:
    """Raises ``TypeError`` where the type of edges is not three words."""
    if not (isinstance(kind, tuple) and len(kind) == 3 and all(isinstance(name, str) for name in kind)):
        raise TypeError(
            f"`{argument}` names {kind!r}; a type of edges is three words: (type of the senders, relation, type of the "
            "receivers)."
        )


def _edge_set(kind: EdgeType, given: Any) -> EdgeSet:
    if not isinstance(given, (tuple, list)) or not 2 <= len(given) <= len(EdgeSet._fields):
        raise TypeError(f"`edges[{kind!r}]` is {shown(given)}; give an EdgeSet, or a tuple (senders, receivers).")
    return EdgeSet(*given)


def ends_of(kind: EdgeType) -> tuple[str, ...]:
    """The types of nodes that a type of edges joins, each once."""
    return (kind[0],) if kind[0] == kind[2] else (kind[0], kind[2])


def assembled(graph: HeteroGraph, **changes: Any) -> HeteroGraph:
    """Returns the graph with other fields, without checks."""
    fields = {field.name: getattr(graph, field.name) for field in dataclasses.fields(graph)} | changes
    return HeteroGraph.tree_unflatten(None, (fields | {"edges": Relations(fields["edges"])}).values())


def flat_ends(graph: HeteroGraph, kind: EdgeType) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns senders and receivers of the valid edges of one type as :meth:`relation` numbers them, and how many nodes."""
    flat = graph._flat(ends_of(kind), (kind,), None, None)
    valid = np.asarray(flat.edge_mask)
    return np.asarray(flat.senders)[valid], np.asarray(flat.receivers)[valid], flat.num_nodes


def _require_known(names: set[str], nodes: Mapping, argument: str) -> None:
    unknown = sorted(names - set(nodes), key=str)
    if unknown:
        raise ValueError(f"`{argument}` names {unknown[0]!r}, but there are nodes of the types {sorted(nodes)}.")


@contextlib.contextmanager
def _within(kind: Any) -> Iterator[None]:
    """Says in the message of an error of which type it speaks."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{kind!r}: {error}") from error


def _joined(trees: Mapping, names: tuple) -> Any:
    """Concatenates the features of several types."""
    described = {name: jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype.name), trees[name]) for name in names}
    for name in names:
        if described[name] != described[names[0]]:
            raise ValueError(
                f"{names[0]!r} and {name!r} have different features, {described[names[0]]} and {described[name]} (shape "
                "behind axis 0, dtype), so they fit into no flat graph. Bring them to one size first, by nn.HeteroMap."
            )
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(trees[name] for name in names))


def _ids(sizes: dict, names: tuple) -> jax.Array:
    if is_open(*sizes.values()):
        return jnp.concatenate([jnp.full(sizes[name], k, jnp.int32) for k, name in enumerate(names)])
    return jnp.asarray(np.repeat(np.arange(len(names), dtype=np.int32), [sizes[name] for name in names]))
