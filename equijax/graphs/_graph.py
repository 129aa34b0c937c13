"""The flat graph: nodes and edges in arrays, index values, explicit masks."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import function, shown
from equijax._exported import exported
from equijax._indices import indices, narrowed, require_range
from equijax.graphs._fields import Fields
from equijax.graphs._given import array, arrays, full, mask
from equijax.graphs._table import NeighbourTable
from equijax.groups._elements import concrete

_FEATURES = ("nodes", "positions", "velocities", "edges", "shifts", "globals")


@exported
@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Graph(Fields):
    r"""One graph, or many in one: a pytree of arrays whose axis 0 runs over nodes, edges or graphs.

    Messages go along an edge from its sender to its receiver. Several graphs are one flat graph without edges between
    them; ``node_graph`` says to which each node belongs, in any order. Entries that are only padding are marked by masks;
    what they hold is arbitrary. All sizes are shapes, so graphs of equal shapes share one compiled program.

    The constructor fills in what is left out, and checks shapes; where the indices are known (not traced) it checks their
    range too. Inside ``jit`` they can't be checked: JAX clamps an index that is out of range, or drops what it points at.

    Args:
      nodes: features ``(N, *fibre, features)``, or a pytree of such arrays, or None.
      senders: integers ``(E,)``, the node at which each edge starts; stored as int32.
      receivers: integers ``(E,)``, the node at which each edge ends; stored as int32.
      edges: features ``(E, …)``, a pytree of such arrays, or None.
      globals: features of whole graphs ``(G, …)``, a pytree of such arrays, or None.
      positions: points in space ``(N, d)``, or None.
      velocities: vectors in space ``(N, d)``, or None.
      shifts: vectors in space ``(E, d)`` in the unit and dtype of the positions, or None, which stands for zeros: the vector
        along edge e is ``positions[receivers[e]] - positions[senders[e]] + shifts[e]``. In a crystal an edge may join a node
        to an image of another, and its shift is a sum of lattice vectors. :func:`edge_vectors` reads them.
      node_graph: integers ``(N,)``, the graph of each node; None puts all into one graph.
      node_mask: bool ``(N,)``, False at padding; None is all True.
      edge_mask: bool ``(E,)``, False at padding; None is all True.
      graph_mask: bool ``(G,)``, False at padding; None is all True.
      table: neighbour tables of these edges, made by :meth:`with_table`; they make large neighbour sums fast.

    Example: a path of three nodes.
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.Graph(jnp.ones((3, 8)), senders=[0, 1], receivers=[1, 2])
      Graph(3 nodes, 2 edges, 1 graph; nodes float32[3,8])

    Raises:
      TypeError: an index is no integer, a mask no bool, or a shift no float of the dtype of the positions.
      ValueError: shapes disagree; an index is out of range; a valid edge touches padding or joins two graphs.
    """

    nodes: Any
    senders: Any
    receivers: Any
    edges: Any = dataclasses.field(default=None, kw_only=True)
    globals: Any = dataclasses.field(default=None, kw_only=True)
    positions: Any = dataclasses.field(default=None, kw_only=True)
    velocities: Any = dataclasses.field(default=None, kw_only=True)
    shifts: Any = dataclasses.field(default=None, kw_only=True)
    node_graph: Any = dataclasses.field(default=None, kw_only=True)
    node_mask: Any = dataclasses.field(default=None, kw_only=True)
    edge_mask: Any = dataclasses.field(default=None, kw_only=True)
    graph_mask: Any = dataclasses.field(default=None, kw_only=True)
    table: NeighbourTable | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        given = {name: _given_indices(getattr(self, name), name) for name in ("senders", "receivers", "node_graph")}
        known = {name: concrete(index) for name, index in given.items()}
        if self.node_graph is not None and known["node_graph"] is None and self.graph_mask is None and self.globals is None:
            raise ValueError("`node_graph` is traced, so the number of graphs is not known. Give graph_mask, bool (G,).")
        for name in _FEATURES:
            put(name, arrays(getattr(self, name), name))
        for name in ("node_mask", "edge_mask", "graph_mask"):
            put(name, mask(getattr(self, name), name))
        for name, index in given.items():
            put(name, None if index is None else array(narrowed(index), name))
        nodes, source = self._count_nodes()
        edges, graphs = self.senders.shape[0], self._count_graphs(known["node_graph"])
        if self.node_graph is None:
            put("node_graph", array(full(0, nodes, np.int32), "node_graph"))
        put("node_mask", _complete(self.node_mask, nodes, "node_mask", f"node of `{source}`"))
        put("edge_mask", _complete(self.edge_mask, edges, "edge_mask", "edge of `senders`"))
        put("graph_mask", _complete(self.graph_mask, graphs, "graph_mask", "graph"))
        self._require_shapes(source)
        self._require_indices(known)
        self._require_table()

    @property
    def num_nodes(self) -> int:
        """Number of nodes N, padding included."""
        return self.node_mask.shape[0]

    @property
    def num_edges(self) -> int:
        """Number of edges E, padding included."""
        return self.edge_mask.shape[0]

    @property
    def num_graphs(self) -> int:
        """Number of graphs G, padding included."""
        return self.graph_mask.shape[0]

    def replace(self, **changes: Any) -> "Graph":
        """Returns a graph with other fields; a table is dropped where the edges change.

        Raises:
          TypeError: no such field.
          ValueError: as for the constructor.
        """
        if {"senders", "receivers", "node_mask", "edge_mask"} & set(changes):
            changes.setdefault("table", None)
        if not set(changes) <= {*_FEATURES, "table"}:
            return dataclasses.replace(self, **changes)
        new = object.__new__(Graph)
        for field in dataclasses.fields(self):
            value = changes.get(field.name, getattr(self, field.name))
            if field.name in changes and (field.name != "table" or isinstance(value, NeighbourTable)):
                value = arrays(value, field.name)
            object.__setattr__(new, field.name, value)
        new._require_shapes("node_mask")
        if "table" in changes:
            new._require_table()
        return new

    def map_nodes(self, fn: Callable[[Any], Any]) -> "Graph":
        """Returns the graph with ``nodes = fn(nodes)``."""
        return self.replace(nodes=function(fn, "fn", "a function of the nodes")(self.nodes))

    def map_edges(self, fn: Callable[[Any], Any]) -> "Graph":
        """Returns the graph with ``edges = fn(edges)``."""
        return self.replace(edges=function(fn, "fn", "a function of the edges")(self.edges))

    def in_degrees(self) -> jax.Array:
        """Counts the valid edges that end at each node, int32 ``(N,)``."""
        return jax.ops.segment_sum(self.edge_mask.astype(jnp.int32), self.receivers, self.num_nodes)

    def out_degrees(self) -> jax.Array:
        """Counts the valid edges that start at each node, int32 ``(N,)``."""
        return jax.ops.segment_sum(self.edge_mask.astype(jnp.int32), self.senders, self.num_nodes)

    def with_table(self, shapes: Any = None) -> "Graph":
        """Returns the graph with neighbour tables, built on the host in numpy.

        Args:
          shapes: static shapes of the tables, so that graphs of one budget share a program; None is what this graph needs.

        Raises:
          ValueError: the graph is traced, or does not fit the shapes.
        """
        known = concrete((self.senders, self.receivers, self.edge_mask))
        if known is None:
            raise ValueError("`senders` are traced: tables are built outside of jit. Call with_table() on the data first.")
        senders, receivers, mask = known
        return self.replace(table=NeighbourTable.build(senders, receivers, self.num_nodes, mask, shapes=shapes))

    def __repr__(self) -> str:
        shown = [
            f"{name}{path} {_aval(leaf)}"
            for name in _FEATURES
            for path, leaf in ((jax.tree_util.keystr(p), v) for p, v in jax.tree.leaves_with_path(getattr(self, name)))
        ]
        counts = [(self.node_mask, "node"), (self.edge_mask, "edge"), (self.graph_mask, "graph")]
        sizes = ", ".join(f"{np.shape(m)[0]} {name}{'s' * (np.shape(m)[0] != 1)}" for m, name in counts if np.ndim(m) == 1)
        return f"Graph({'; '.join(part for part in (sizes, ', '.join(shown)) if part)})"

    def _count_nodes(self) -> tuple[int, str]:
        """Returns the number of nodes, and which argument says so."""
        for name in ("nodes", "positions", "velocities", "node_mask", "node_graph"):
            for leaf in jax.tree.leaves(getattr(self, name)):
                if leaf.ndim == 0:
                    raise ValueError(f"`{name}` holds a number without axes; axis 0 must run over the nodes.")
                return leaf.shape[0], name
        raise ValueError("`nodes` is None, so the number of nodes is not known. Give node_mask=jnp.ones(N, bool).")

    def _count_graphs(self, known: np.ndarray | None) -> int:
        if self.graph_mask is not None:
            return self.graph_mask.shape[0] if self.graph_mask.ndim else 0
        for leaf in jax.tree.leaves(self.globals):
            return leaf.shape[0] if leaf.ndim else 0
        return 1 if known is None else count_graphs(known)

    def _require_shapes(self, source: str) -> None:
        over = dict.fromkeys(("nodes", "positions", "velocities", "node_graph"), f"nodes of `{source}`")
        over |= {"edges": "edges of `senders`", "shifts": "edges of `senders`", "globals": "graphs of `graph_mask`"}
        sizes = {"nodes": self.num_nodes, "positions": self.num_nodes, "velocities": self.num_nodes}
        sizes |= {"edges": self.num_edges, "shifts": self.num_edges, "globals": self.num_graphs}
        for name, size in sizes.items():
            for path, leaf in jax.tree.leaves_with_path(getattr(self, name)):
                if leaf.ndim == 0 or leaf.shape[0] != size:
                    raise ValueError(
                        f"`{name}{jax.tree_util.keystr(path)}` has shape {leaf.shape}; its axis 0 must run over the {size} "
                        f"{over[name]}. A graph is flat and takes no batch axes: batch graphs into one, or use jax.vmap."
                    )
        for name, size in (("node_graph", self.num_nodes), ("receivers", self.num_edges)):
            if getattr(self, name).shape[0] != size:
                raise ValueError(
                    f"`{name}` has {getattr(self, name).shape[0]} entries, but there are {size} "
                    f"{over.get(name, 'senders in `senders`')}. Give one for each."
                )
        self._require_vectors()

    def _require_vectors(self) -> None:
        for name, what in (("positions", "node"), ("velocities", "node"), ("shifts", "edge")):
            value = getattr(self, name)
            if value is not None and getattr(value, "ndim", 0) != 2:
                came = value.shape if hasattr(value, "shape") else type(value).__name__
                raise ValueError(
                    f"`{name}` is {came}; it must be one array ({what[0].upper()}, d), a vector for each {what}."
                )
            if value is not None and name != "shifts" and not _is_real(value.dtype):
                raise TypeError(f"`{name}` has dtype {value.dtype}; points and vectors of space hold real numbers.")
            if value is None or self.positions is None or value.shape[1] == self.positions.shape[1]:
                continue
            raise ValueError(
                f"`{name}` has shape {value.shape} and `positions` {self.positions.shape}; both lie in one space, so give "
                "vectors of one length."
            )
        if self.shifts is None:
            return
        if not jnp.issubdtype(self.shifts.dtype, jnp.floating):
            raise TypeError(
                f"`shifts` has dtype {self.shifts.dtype}; shifts are lengths and must be floats. Of whole numbers of cells "
                "write numbers @ cell."
            )
        if self.positions is not None and self.positions.dtype != self.shifts.dtype:
            raise TypeError(
                f"`shifts` has dtype {self.shifts.dtype} and `positions` {self.positions.dtype}; they are added, so give "
                "one dtype."
            )

    def _require_table(self) -> None:
        if self.table is None:
            return
        if not isinstance(self.table, NeighbourTable):
            raise TypeError(f"`table` is {shown(self.table)}; it must be a NeighbourTable. Write graph.with_table().")
        self.table.require_fits(self.senders, self.receivers, self.edge_mask, self.num_nodes)

    def _require_indices(self, known: dict[str, np.ndarray | None]) -> None:
        limits = {"senders": self.num_nodes, "receivers": self.num_nodes, "node_graph": self.num_graphs}
        for name, limit in limits.items():
            require_range(known[name], limit, name, "graphs" if name == "node_graph" else "nodes")
        masks = concrete((self.node_mask, self.edge_mask, self.graph_mask))
        senders, receivers = known["senders"], known["receivers"]
        if masks is None or senders is None or receivers is None:
            return
        node_mask, valid, graph_mask = masks
        owner = known["node_graph"] if self.num_nodes and known["node_graph"] is not None else np.zeros(self.num_nodes, int)
        outside = node_mask & ~graph_mask[owner] if len(graph_mask) else node_mask
        if outside.any():
            i = int(np.argmax(outside))
            raise ValueError(
                f"`node_mask` says that node {i} is valid, but graph_mask marks its graph {owner[i]} as padding. Mask the "
                "node too, or keep its graph."
            )
        padded = valid & ~(node_mask[senders] & node_mask[receivers]) if len(valid) else valid
        if padded.any():
            e = int(np.argmax(padded))
            raise ValueError(
                f"`edge_mask` says that edge {e} is valid, but it joins nodes {senders[e]} and {receivers[e]}, of which "
                "node_mask marks one as padding. Mask the edge too."
            )
        if len(valid):
            mixed = valid & (owner[senders] != owner[receivers])
            if mixed.any():
                e = int(np.argmax(mixed))
                raise ValueError(
                    f"`node_graph` puts the ends of edge {e}, nodes {senders[e]} and {receivers[e]}, into two graphs, "
                    f"{owner[senders[e]]} and {owner[receivers[e]]}. An edge lies in one graph."
                )


def count_graphs(owners: np.ndarray) -> int:
    """Returns how many graphs there are, by the numbers of those to which nodes belong.

    Raises:
      ValueError: they do not fit in int32.
    """
    if owners.dtype.kind not in "iu" or not owners.size:
        return 1
    last = int(owners.max())
    if last >= 2**31 - 1:
        raise ValueError(f"`node_graph` holds {last}; graphs are numbered from 0 by integers of 32 bits.")
    return max(last, 0) + 1


def _given_indices(value: Any, name: str) -> Any:
    """Returns indices as they are given, after checking them; None of ``node_graph`` stays None."""
    if value is None and name == "node_graph":
        return None
    index = indices(value, name)
    if index.ndim != 1:
        raise ValueError(
            f"`{name}` has shape {index.shape}; it must have one axis. A graph is flat and takes no batch axes: batch "
            "graphs into one, or use jax.vmap."
        )
    return index


def _complete(given: jax.Array | None, size: int, name: str, what: str) -> jax.Array:
    """Returns a mask of the right length; None is all True."""
    if given is None:
        return array(full(True, size, bool), name)
    if given.shape != (size,):
        raise ValueError(f"`{name}` has shape {given.shape}; it must be ({size},), one entry for each {what}.")
    return given


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def _aval(leaf: Any) -> str:
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" if hasattr(leaf, "shape") else str(leaf)
