"""Relabelling of a graph with several types of nodes and edges."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from equijax._arguments import as_shape, listed, shown
from equijax._numbers import positive_int
from equijax.actions._action import Action, Axis
from equijax.actions._graph import marked, moved, turned
from equijax.actions._tensor import SetAction
from equijax.graphs import EdgeSet, HeteroGraph
from equijax.graphs._hetero import assembled
from equijax.groups import DirectProduct, Group, Permutation
from equijax.groups._elements import concrete, integers
from equijax.groups._group import Element, require_is_group
from equijax.groups._permutation import is_permutation


@dataclasses.dataclass(frozen=True)
class HeteroGraphAction(Action):
    r"""Relabels the nodes of each type by a permutation of its own, and reorders the edges of each type.

    .. math:: n'_{p[i]} = n_i, \qquad e'_{q[k]} = e_k, \qquad s'_{q[k]} = p_{\mathrm{sender}}[s_k], \qquad
        r'_{q[k]} = p_{\mathrm{receiver}}[r_k]

    Masks, positions, shifts, tables and ``node_graph`` move along; globals stay. With a ``space`` its elements move the
    positions and turn the shifts, as those of :class:`GraphAction`. Elements are tuples: a permutation for each type of
    nodes, then one for each type of edges, in alphabetical order of the types, then the motion.

    Args:
      num_nodes: pairs ``(type, number of nodes)``, padding included, in alphabetical order; None is "as the graph has".
      num_edges: pairs ``(type, number of edges)``, padding included, likewise.
      space: a group of motions, such as ``E(3)``; None leaves positions and shifts.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> saw, nodes = ("user", "saw", "film"), {"user": jnp.array([[1], [2]]), "film": jnp.array([[3]])}
      >>> moved = ej.actions.HeteroGraphAction()(([0], [1, 0], [0]), ej.graphs.HeteroGraph(nodes, {saw: ([1], [0])}))
      >>> moved.nodes["user"][:, 0].tolist(), moved.edges[saw].senders.tolist()
      ([2, 1], [0])
    """

    num_nodes: tuple[tuple[str, int], ...] | None = None
    num_edges: tuple[tuple[tuple[str, str, str], int], ...] | None = None
    space: Group | None = None

    def __post_init__(self) -> None:
        if self.space is not None:
            require_is_group(self.space, "space", "it must be a group of motions such as E(3), or None")
        for name in ("num_nodes", "num_edges"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(
                    self, name, tuple(_size(pair, name) for pair in listed(given, name, "pairs (type, size)"))
                )

    @property
    def group(self) -> DirectProduct:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Permutations of the nodes and edges of every type; of any number where the types are left open. Then motions."""
        more = [] if self.space is None else [self.space]
        if self.num_nodes is None or self.num_edges is None:
            return DirectProduct(Permutation(), *more)
        return DirectProduct(*(Permutation(size) for _, size in (*self.num_nodes, *self.num_edges)), *more)

    @property
    def moves(self) -> type:
        """``HeteroGraph``."""
        return HeteroGraph

    @property
    def permutes(self) -> bool:
        """True: nodes and edges are permuted; positions are not asked."""
        return True

    @property
    def open(self) -> "HeteroGraphAction":
        """The action on all types, with any number of nodes and edges of each."""
        return HeteroGraphAction(space=self.space)

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Raises: a graph is not one array.

        Raises:
          ValueError: always.
        """
        raise ValueError(f"{self!r} moves a HeteroGraph, which is more than one array, so `axes({ndim})` is not defined.")

    def for_input(self, x: Any) -> "HeteroGraphAction":
        """Returns the action on the types of nodes and edges that the graph ``x`` has, and as many of them."""
        graph = _require_hetero(x)
        own = (
            tuple(graph.num_nodes.items()) if self.num_nodes is None else self.num_nodes,
            tuple(graph.num_edges.items()) if self.num_edges is None else self.num_edges,
        )
        return HeteroGraphAction(*own, self.space)

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a known element is no tuple of permutations, and a motion."""
        as_shape(shape)
        parts = _entries(g)
        for part in parts if self.space is None else parts[:-1]:
            SetAction().require_acts(part, ())

    def __call__(self, g: Element, x: Any) -> HeteroGraph:
        """Returns ``g · x`` for one element and a :class:`equijax.graphs.HeteroGraph`.

        Raises:
          TypeError: ``x`` is no such graph.
          ValueError: the permutations are not as many, or have other lengths, than the graph needs.
        """
        graph = _require_hetero(x)
        sizes = [*graph.num_nodes.items(), *graph.num_edges.items()]
        names = [name for name, _ in sizes] + ([] if self.space is None else ["motion"])
        if len(_entries(g)) != len(names):
            raise ValueError(f"`g` has {len(g)} entries; the graph needs {len(names)}, one for each of {names}.")
        moves = {}
        for part, (name, size) in zip(g, sizes, strict=False):
            moves[name] = jnp.asarray(integers(part, "g", (None,), "permutations"))
            if moves[name].shape != (size,):
                raise ValueError(f"`g` permutes {moves[name].shape} of {name!r}; the graph has {size}, padding included.")
        for move in moves.values():
            SetAction().require_acts(move, ())
        known = None
        if concrete(tuple(moves.values())) is None:
            known = jnp.stack([is_permutation(move) for move in moves.values()]).all()
        sources = {name: jnp.argsort(move) for name, move in moves.items()}
        take = lambda tree, name: jax.tree.map(lambda x: jnp.take(x, sources[name], axis=0, mode="clip"), tree)  # noqa: E731
        edges = {}
        for kind, given in graph.edges.items():
            senders = jnp.take(moves[kind[0]], given.senders, mode="clip")
            receivers = jnp.take(moves[kind[2]], given.receivers, mode="clip")
            edges[kind] = take(EdgeSet(senders, receivers, given.edges, given.edge_mask, given.shifts), kind)
            features = marked((edges[kind].edges, edges[kind].shifts), known)
            edges[kind] = edges[kind]._replace(edges=features[0], shifts=features[1])
            if given.table is not None:
                edges[kind] = edges[kind]._replace(table=given.table.relabelled(_joined(kind, moves, graph), moves[kind]))
        by_node = lambda trees: {name: take(tree, name) for name, tree in trees.items()}  # noqa: E731
        positions, masks = by_node(graph.positions or {}), by_node(graph.node_mask)
        if self.space is not None:
            positions = {name: moved(points, self.space, g[-1], masks[name]) for name, points in positions.items()}
            for kind, given in edges.items():
                edges[kind] = given._replace(shifts=turned(given.shifts, self.space, g[-1]))
        return assembled(
            graph,
            nodes=marked(by_node(graph.nodes), known),
            positions=marked(positions, known) or None,
            edges=edges,
            node_graph=by_node(graph.node_graph),
            node_mask=masks,
        )


def _joined(kind: tuple[str, str, str], moves: dict[Any, jax.Array], graph: HeteroGraph) -> jax.Array:
    """Returns how the nodes of a relation move, which are those of the senders and behind them those of the receivers."""
    if kind[0] == kind[2]:
        return moves[kind[0]]
    return jnp.concatenate([moves[kind[0]], moves[kind[2]] + jnp.int32(graph.num_nodes[kind[0]])])


def _size(pair: Any, name: str) -> tuple[Any, int]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], (str, tuple)):
        raise TypeError(f"`{name}` holds {shown(pair)}; it must hold pairs of a type and a number.")
    return pair[0], positive_int(pair[1], name, 0)


def _entries(g: Element) -> tuple[Element, ...]:
    if not isinstance(g, (tuple, list)):
        raise TypeError(f"`g` is {shown(g)}; it must be a tuple of permutations, one for each type.")
    return tuple(g)


def _require_hetero(x: Any) -> HeteroGraph:
    if not isinstance(x, HeteroGraph):
        raise TypeError(f"`x` is {shown(x)}, a {type(x).__name__}; a HeteroGraphAction moves a HeteroGraph(nodes, edges).")
    return x
