"""Relabelling of a graph with several types of nodes and edges."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from equijax._arguments import as_shape, listed, shown
from equijax._numbers import positive_int
from equijax.actions._action import Action, Axis
from equijax.actions._tensor import SetAction
from equijax.graphs import EdgeSet, HeteroGraph
from equijax.groups import DirectProduct, Permutation
from equijax.groups._elements import integers
from equijax.groups._group import Element


@dataclasses.dataclass(frozen=True)
class HeteroGraphAction(Action):
    r"""Relabels the nodes of each type by a permutation of its own, and reorders the edges of each type.

    .. math:: n'_{p[i]} = n_i, \qquad e'_{q[k]} = e_k, \qquad s'_{q[k]} = p_{\mathrm{sender}}[s_k], \qquad
        r'_{q[k]} = p_{\mathrm{receiver}}[r_k]

    Masks and ``node_graph`` move along; globals stay. Elements are tuples: a permutation for each type of nodes, then one
    for each type of edges, in alphabetical order of the types.

    Args:
      num_nodes: pairs ``(type, number of nodes)``, padding included, in alphabetical order; None is "as the graph has".
      num_edges: pairs ``(type, number of edges)``, padding included, likewise.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> saw, nodes = ("user", "saw", "film"), {"user": jnp.array([[1], [2]]), "film": jnp.array([[3]])}
      >>> moved = ej.actions.HeteroGraphAction()(([0], [1, 0], [0]), ej.graphs.HeteroGraph(nodes, {saw: ([1], [0])}))
      >>> moved.nodes["user"][:, 0].tolist(), moved.edges[saw].senders.tolist()
      ([2, 1], [0])
    """

    num_nodes: tuple[tuple[str, int], ...] | None = None
    num_edges: tuple[tuple[tuple[str, str, str], int], ...] | None = None

    def __post_init__(self) -> None:
        for name in ("num_nodes", "num_edges"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(
                    self, name, tuple(_size(pair, name) for pair in listed(given, name, "pairs (type, size)"))
                )

    @property
    def group(self) -> DirectProduct:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Permutations of the nodes and edges of every type; of any number where the types are left open."""
        if self.num_nodes is None or self.num_edges is None:
            return DirectProduct(Permutation())
        return DirectProduct(*(Permutation(size) for _, size in (*self.num_nodes, *self.num_edges)))

    @property
    def moves(self) -> type:
        """``HeteroGraph``."""
        return HeteroGraph

    @property
    def permutes(self) -> bool:
        """True."""
        return True

    @property
    def open(self) -> "HeteroGraphAction":
        """The action on all types, with any number of nodes and edges of each."""
        return HeteroGraphAction()

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
        return HeteroGraphAction(*own)

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a known element is no tuple of permutations."""
        as_shape(shape)
        for part in _entries(g):
            SetAction().require_acts(part, ())

    def __call__(self, g: Element, x: Any) -> HeteroGraph:
        """Returns ``g · x`` for one element and a :class:`equijax.graphs.HeteroGraph`.

        Raises:
          TypeError: ``x`` is no such graph.
          ValueError: the permutations are not as many, or have other lengths, than the graph needs.
        """
        graph = _require_hetero(x)
        sizes = [*graph.num_nodes.items(), *graph.num_edges.items()]
        if len(_entries(g)) != len(sizes):
            raise ValueError(
                f"`g` has {len(g)} entries; the graph needs {len(sizes)}, one for each of {[name for name, _ in sizes]}."
            )
        moves = {}
        for part, (name, size) in zip(g, sizes, strict=True):
            moves[name] = jnp.asarray(integers(part, "g", (None,), "permutations"))
            if moves[name].shape != (size,):
                raise ValueError(f"`g` permutes {moves[name].shape} of {name!r}; the graph has {size}, padding included.")
        self.require_acts(tuple(moves.values()), ())
        sources = {name: jnp.argsort(move) for name, move in moves.items()}
        take = lambda tree, name: jax.tree.map(lambda x: jnp.take(x, sources[name], axis=0, mode="clip"), tree)  # noqa: E731
        edges = {}
        for kind, given in graph.edges.items():
            senders = jnp.take(moves[kind[0]], given.senders, mode="clip")
            receivers = jnp.take(moves[kind[2]], given.receivers, mode="clip")
            edges[kind] = take(EdgeSet(senders, receivers, given.edges, given.edge_mask), kind)
        by_node = lambda trees: {name: take(tree, name) for name, tree in trees.items()}  # noqa: E731
        fields = dict(
            nodes=by_node(graph.nodes),
            edges=edges,
            globals=graph.globals,
            node_graph=by_node(graph.node_graph),
            node_mask=by_node(graph.node_mask),
            graph_mask=graph.graph_mask,
        )
        return HeteroGraph.tree_unflatten(None, [fields[field.name] for field in dataclasses.fields(HeteroGraph)])


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
