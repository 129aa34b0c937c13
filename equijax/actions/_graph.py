"""Relabelling of a graph, and motions of the space it lies in."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from equijax._arguments import as_shape, shown
from equijax._dtypes import widened
from equijax._numbers import positive_int
from equijax.actions._action import Action, Axis, require_action
from equijax.actions._fibre import FibreAction, require_fibre_of
from equijax.actions._product import all_permute
from equijax.actions._tensor import SetAction
from equijax.graphs import Graph
from equijax.groups import DirectProduct, Group, Permutation
from equijax.groups._elements import concrete, integers, known_where, require_tuple
from equijax.groups._group import Element, require_is_group
from equijax.groups._permutation import is_permutation
from equijax.reps import Representation


@dataclasses.dataclass(frozen=True)
class GraphAction(Action):
    r"""Relabels the nodes of a graph by p and reorders its edges by q; indices, masks and tables move along.

    .. math:: n'_{p[i]} = n_i, \qquad e'_{q[k]} = e_k, \qquad s'_{q[k]} = p[s_k], \qquad r'_{q[k]} = p[r_k]

    Node features, positions, velocities, node masks and ``node_graph`` move like n; edge features, shifts and masks like e;
    globals stay. Padding moves too, since the masks do. With a ``space`` its elements u = (t, R) move the points as well,
    positions :math:`x → R x + t` (of padding :math:`x → R x`), velocities and shifts :math:`v → R v`. The same u moves the
    fibres that nodes and edges carry, :math:`n_i → ρ(u) n_i` and :math:`e_k → σ(u) e_k`. With a ``node_action`` elements h
    of a group of its own act on the array at each node.

    Elements are tuples (p, q), then u, then h, where there are such.

    Args:
      num_nodes: number of nodes, padding included; None is "as many as the graph has".
      num_edges: number of edges, padding included; None is "as many as the graph has".
      space: a group of motions, ``E(3)``, ``SE(3)``, ``O(3)`` or ``SO(3)``; None leaves positions, velocities and shifts.
      node_action: an action on the array at one node, such as a ``GridAction`` for patches; None leaves it.
      node_fibre: representation ρ of ``space``, or of the part of it that turns (``O(3)`` for ``E(3)``): the nodes are one
        array ``(N, fibre, features)``; None leaves node features alone.
      edge_fibre: representation σ likewise, for edge features ``(E, fibre, features)``.

    Raises:
      TypeError: an argument is no group, action or representation.
      ValueError: a fibre is given without ``space`` or belongs to another group, or both ``node_fibre`` and ``node_action``.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> path = ej.Graph(jnp.array([[10], [11], [12]]), senders=[0, 1], receivers=[1, 2])
      >>> moved = ej.GraphAction()(([2, 0, 1], [1, 0]), path)
      >>> moved.nodes[:, 0].tolist(), moved.senders.tolist(), moved.receivers.tolist()
      ([11, 12, 10], [0, 2], [1, 0])

      Nodes with a vector of the plane each: the quarter turn that moves the points turns the vectors too.

      >>> turns = ej.reps.Regular(ej.Cyclic(4))
      >>> act = ej.GraphAction(space=ej.Cyclic(4), node_fibre=turns)
      >>> field = ej.Graph(jnp.arange(4.0).reshape(1, 4, 1), senders=[], receivers=[])
      >>> act(([0], [], 1), field).nodes[0, :, 0].tolist()
      [3.0, 0.0, 1.0, 2.0]
    """

    num_nodes: int | None = None
    num_edges: int | None = None
    space: Group | None = None
    node_action: Action | None = None
    node_fibre: Representation | None = None
    edge_fibre: Representation | None = None

    def __post_init__(self) -> None:
        for name in ("num_nodes", "num_edges"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, positive_int(getattr(self, name), name, 0))
        if self.space is not None:
            require_is_group(self.space, "space", "it must be a group of motions such as E(3), or None")
        if self.node_action is not None:
            require_action(self.node_action, "node_action", "it must be an Action, or None")
        for name in ("node_fibre", "edge_fibre"):
            fibre = getattr(self, name)
            if fibre is None:
                continue
            if self.space is None:
                raise ValueError(
                    f"`{name}` is {fibre!r}, but there is no `space` that moves it. Give space={fibre.group!r}."
                )
            require_fibre_of(fibre, self.space, name)
        if self.node_fibre is not None and self.node_action is not None:
            raise ValueError("`node_fibre` and `node_action` are both given; only one of them can move the nodes.")

    @property
    def group(self) -> DirectProduct:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Permutations of the nodes, permutations of the edges, then the motions."""
        more = [] if self.space is None else [self.space]
        more += [] if self.node_action is None else [self.node_action.group]
        return DirectProduct(Permutation(self.num_nodes), Permutation(self.num_edges), *more)

    @property
    def moves(self) -> type:
        """``Graph``."""
        return Graph

    @property
    def permutes(self) -> bool | None:
        """True where nodes and edges are permuted, fibres included; positions and velocities are not asked."""
        fibres = [fibre.is_permutation for fibre in (self.node_fibre, self.edge_fibre) if fibre is not None]
        return all_permute([*fibres, True if self.node_action is None else self.node_action.permutes])

    @property
    def is_orthogonal(self) -> bool | None:
        """True where everything is permuted and no space moves the points; with a space it is not asked."""
        return True if self.permutes and self.space is None else None

    @property
    def open(self) -> "GraphAction":
        """The action on any number of nodes and edges."""
        inner = None if self.node_action is None else self.node_action.open
        return dataclasses.replace(self, num_nodes=None, num_edges=None, node_action=inner)

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Raises: a graph is not one array.

        Raises:
          ValueError: always.
        """
        raise ValueError(f"{self!r} moves a Graph, which is more than one array, so `axes({ndim})` is not defined.")

    def for_input(self, x: Any) -> "GraphAction":
        """Returns the action on as many nodes and edges as the graph ``x`` has."""
        graph = _require_graph(x)
        nodes = graph.num_nodes if self.num_nodes is None else self.num_nodes
        edges = graph.num_edges if self.num_edges is None else self.num_edges
        inner = None if self.node_action is None else self.node_action.for_input(graph.nodes)
        return dataclasses.replace(self, num_nodes=nodes, num_edges=edges, node_action=inner)

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a known element is no pair of permutations."""
        as_shape(shape)
        require_parts(g, 2 + (self.space is not None) + (self.node_action is not None))
        for part, size in zip(g[:2], (self.num_nodes, self.num_edges), strict=True):
            SetAction(size).require_acts(part, ())

    def __call__(self, g: Element, x: Any) -> Graph:
        """Returns ``g · x`` for one element (p, q, …) and a :class:`equijax.graphs.Graph`.

        Raises:
          TypeError: ``x`` is no graph, or the permutations hold no integers.
          ValueError: the permutations have other lengths than the graph.
        """
        graph = _require_graph(x)
        p, q, *motions = require_parts(g, 2 + (self.space is not None) + (self.node_action is not None))
        p, q = (jnp.asarray(integers(part, "g", (None,), "permutations")) for part in (p, q))
        for name, part, size in (("nodes", p, graph.num_nodes), ("edges", q, graph.num_edges)):
            if part.shape != (size,):
                raise ValueError(f"`g` permutes {part.shape} {name}; the graph has {size}, padding included.")
        for part in (p, q):
            Permutation().require_element(part)
        known = None if concrete((p, q)) is not None else is_permutation(p) & is_permutation(q)
        node_source, edge_source = jnp.argsort(p), jnp.argsort(q)
        by_node = lambda tree: jax.tree.map(lambda leaf: jnp.take(leaf, node_source, axis=0, mode="clip"), tree)  # noqa: E731
        by_edge = lambda tree: jax.tree.map(lambda leaf: jnp.take(leaf, edge_source, axis=0, mode="clip"), tree)  # noqa: E731
        nodes, positions, velocities = by_node((graph.nodes, graph.positions, graph.velocities))
        edges, shifts = by_edge((graph.edges, graph.shifts))
        if self.space is not None:
            u, *motions = motions
            nodes = nodes if self.node_fibre is None else FibreAction(self.node_fibre, self.space)(u, nodes)
            edges = edges if self.edge_fibre is None else FibreAction(self.edge_fibre, self.space)(u, edges)
            positions = moved(positions, self.space, u, by_node(graph.node_mask))
            velocities, shifts = (turned(vectors, self.space, u) for vectors in (velocities, shifts))
        if self.node_action is not None:
            nodes = self.node_action(motions[0], nodes)
        nodes, positions, velocities, edges, shifts = marked((nodes, positions, velocities, edges, shifts), known)
        fields = dict(
            nodes=nodes,
            positions=positions,
            velocities=velocities,
            shifts=shifts,
            senders=by_edge(jnp.take(p, graph.senders, mode="clip")),
            receivers=by_edge(jnp.take(p, graph.receivers, mode="clip")),
            edges=edges,
            globals=graph.globals,
            node_graph=by_node(graph.node_graph),
            node_mask=by_node(graph.node_mask),
            edge_mask=by_edge(graph.edge_mask),
            graph_mask=graph.graph_mask,
            table=None if graph.table is None else graph.table.relabelled(p, q),
        )
        names = [field.name for field in dataclasses.fields(Graph)]
        return Graph.tree_unflatten(None, [fields[name] for name in names])


def marked(features: Any, known: jax.Array | None) -> Any:
    """Marks the features of a graph that traced images which are no permutations have moved; None is known to be right."""
    if known is None:
        return features
    return jax.tree.map(lambda x: known_where(known, x), features)


def require_parts(g: Element, count: int) -> tuple[Element, ...]:
    """Returns the parts of an element of a graph's group: permutations, then motions."""
    return require_tuple(g, count, "g", f"a tuple of {count}: permutations of the nodes and of the edges, then motions")


def moved(points: jax.Array | None, space: Group, u: Element, valid: jax.Array) -> jax.Array | None:
    """Returns points ``(N, d)`` moved by an element of a space; padding, zero behind a layer, is turned but not shifted."""
    turned_points, (shift, _) = turned(points, space, u), space.split(u)
    if turned_points is None or shift is None:
        return turned_points
    return turned_points + jnp.where(valid[:, None], jnp.asarray(shift)[None, :], 0.0).astype(turned_points.dtype)


def turned(vectors: jax.Array | None, space: Group, u: Element) -> jax.Array | None:
    """Returns vectors ``(…, d)`` turned by the part of an element of a space that turns."""
    if vectors is None:
        return None
    if not jnp.issubdtype(vectors.dtype, jnp.floating):
        raise TypeError(f"`x` has positions or velocities of dtype {vectors.dtype}; motions of space need floats.")
    turn = space.point_group.matrix(space.split(u)[1])  # type: ignore[attr-defined]
    wide, dtype = widened(vectors)
    return jnp.einsum("ij,nj->ni", turn.astype(wide.dtype), wide, precision="highest").astype(dtype)


def _require_graph(x: Any) -> Graph:
    if not isinstance(x, Graph):
        raise TypeError(
            f"`x` is {shown(x)}, a {type(x).__name__}; a GraphAction moves a Graph(nodes, senders, receivers, …)."
        )
    return x
