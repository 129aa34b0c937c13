"""The nodes, edges and graphs of an input as base axes, and the layouts of graphs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions import Action, Axis, GraphAction
from equijax.audit._atoms import Base, Numbers, Still
from equijax.audit._layout import Layout
from equijax.graphs import Graph
from equijax.groups._group import Element

#: The base axes. Graphs are not moved, but they are places that the layouts keep apart from features.
NAMES = ("nodes", "edges", "graphs")
NODES, EDGES, GRAPHS = range(3)

_AXIS = {
    **dict.fromkeys(("nodes", "positions", "velocities", "node_graph", "node_mask"), NODES),
    **dict.fromkeys(("senders", "receivers", "edges", "shifts", "edge_mask"), EDGES),
    **dict.fromkeys(("globals", "graph_mask"), GRAPHS),
}
_NUMBERED = {"senders": NODES, "receivers": NODES, "node_graph": GRAPHS}


@dataclasses.dataclass(frozen=True)
class GraphPlaces:
    """What a graph action moves in one input.

    Attributes:
      action: the action.
      sizes: numbers of nodes, edges and graphs, padding included.
      valid: which nodes are no padding.
    """

    action: GraphAction
    sizes: tuple[int, int, int]
    valid: tuple[bool, ...]

    @classmethod
    def of(cls, action: GraphAction, graph: Graph) -> "GraphPlaces":
        """Returns the places of a graph."""
        sizes = (graph.num_nodes, graph.num_edges, graph.num_graphs)
        return cls(action, sizes, tuple(np.asarray(graph.node_mask).tolist()))

    def layouts(self, tree: Any) -> list[Layout | None]:
        """Returns the layout of every leaf of the graphs in a tree (of arrays or shapes), and None for other leaves."""
        result: list[Layout | None] = []
        for part in jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Graph)):
            named = jax.tree_util.tree_leaves_with_path(part) if isinstance(part, Graph) else []
            result += [self._field(path[0].name, leaf.shape) for path, leaf in named] if named else [None]
        return result

    def rows(self, shape: tuple[int, ...]) -> Layout | None:
        """Returns the layout of an array with a row for each graph."""
        return self._along(GRAPHS, shape) if shape[:1] == self.sizes[GRAPHS:] else None

    def _along(self, axis: int, shape: tuple[int, ...]) -> Layout:
        return Layout(((Base(shape[0], axis, name=NAMES[axis]),), *((Still(n),) for n in shape[1:])))

    def _field(self, name: str, shape: tuple[int, ...]) -> Layout | None:
        if name not in _AXIS:
            return None
        layout = self._along(_AXIS[name], shape)
        if name in _NUMBERED:
            axis = _NUMBERED[name]
            return dataclasses.replace(layout, numbers=Numbers(Base(self.sizes[axis], axis, name=NAMES[axis])))
        in_space = self.action.space is not None and name in ("positions", "velocities", "shifts")
        if in_space or (self.action.node_action is not None and name == "nodes"):
            return dataclasses.replace(layout, custom=FieldMotion(self, name))
        return layout


@dataclasses.dataclass(frozen=True)
class FieldMotion(Action):
    """How an action moves one field on which its other groups act: positions, velocities, patches of nodes, shifts of edges.

    Attributes:
      places: the graph; padding is turned, but not shifted.
      field: name of the field.
    """

    places: GraphPlaces
    field: str

    @property
    def group(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The group of the action."""
        return self.places.action.group

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Raises: coordinates are no places."""
        return self.places.action.axes(ndim)

    def acts(self, g: Element, shape: tuple[int, ...]) -> bool:
        """Tells whether an array has as many nodes, or edges, as the graph."""
        return shape[:1] == (self.places.sizes[_AXIS[self.field]],)

    def __call__(self, g: Element, x: Any) -> jax.Array:
        """Moves the field in a graph that has nothing else."""
        ends = jnp.zeros(self.places.sizes[EDGES], jnp.int32)
        masks = {"node_mask": jnp.asarray(self.places.valid), "edge_mask": ends > 0}
        fields = {"nodes": None, "senders": ends, "receivers": ends, **masks, self.field: jnp.asarray(x)}
        return getattr(self.places.action(g, Graph(**fields)), self.field)
