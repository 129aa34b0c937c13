"""The laws of a layer on graphs, checked on one graph: order of nodes and edges, padding, batch mates, empty graphs."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import function, listed, real_number, shown
from equijax.actions import Action, GraphAction, TrivialAction
from equijax.actions._action import require_action
from equijax.audit import equivariance_error
from equijax.audit._error import is_floating
from equijax.audit._graph_changes import blank, changed, filled, joined, padded, rewired, rows, seen
from equijax.graphs import Graph
from equijax.groups import Group
from equijax.nn import Layer
from equijax.testing._checks import _distance, _equivariance_tolerance, _key, _require, check_equivariance, normals_like

#: What :func:`check_graph_layer` checks.
GRAPH_CHECKS = (
    *("relabelling", "edge order", "motions", "gradient", "images", "padding", "batch mates", "duplicates"),
    *("empty graphs", "constant inputs"),
)


def check_graph_layer(
    layer: Callable[[Graph], Any],
    graph: Graph,
    *,
    in_action: GraphAction | None = None,
    out_action: Action | None = None,
    checks: Sequence[str] = GRAPH_CHECKS,
    tolerance: float | None = None,
    key: jax.Array | None = None,
) -> None:
    """Checks everything that a layer on graphs promises, on one graph; the layer itself is left as it is.

    - ``"relabelling"`` of the nodes, ``"edge order"``, ``"motions"`` (elements of the action's other groups, where it has
      some): the output moves along, ``"gradient"``: so does the gradient;
    - ``"images"``, where the graph has positions and shifts: every node is moved by a vector of its own, and the shifts of
      its edges make up for it, so that the vectors along the edges stay; the output moves along;
    - ``"padding"``: nodes, edges and a graph are added that are only padding, and all padding is filled with NaN: valid
      outputs, gradients and gradients of parameters stay, and all of them are finite;
    - ``"batch mates"``: a different graph in the same batch changes nothing;
    - ``"duplicates"``: the graph twice in a batch has its outputs twice;
    - ``"empty graphs"``: without edges, with padding only, and with no node at all, outputs and gradients are finite;
    - ``"constant inputs"``: so they are where all features are equal and all points coincide.

    Args:
      layer: maps a graph to a graph with as many nodes and edges, or to arrays ``(num_graphs, …)``; a Flax module or a
        function.
      graph: a graph of floats, with or without padding; small ones are enough.
      in_action: the action; None is ``layer.in_action``, or ``GraphAction()`` where the layer has none.
      out_action: the action on the output; None is that of the layer, or ``in_action`` for graphs and nothing for arrays.
      checks: which of the above to run.
      tolerance: largest relative error; None is 1e-12 in float64 and 1e-5 in float32.
      key: for the random elements; None is ``jax.random.key(0)``.

    Raises:
      AssertionError: a law fails; the message says which and by how much.
      ValueError: an unknown name among ``checks``, or an output of another kind.

    Example: a layer passes; a mean that counts the padding does not.
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> graph = ej.Graph(jnp.arange(6.0).reshape(3, 2), senders=[0, 1], receivers=[1, 2])
      >>> ej.testing.check_graph_layer(ej.nn.MapNodes(jax.nn.relu), graph)
      >>> leaking = lambda graph: jnp.nan_to_num(graph.nodes).mean(0, keepdims=True)
      >>> try: ej.testing.check_graph_layer(leaking, graph, checks=["relabelling", "padding"])
      ... except AssertionError as error: print(str(error)[:54])
      padding changes the output: the relative difference is
    """
    function(layer, "layer", "a Flax module or a function of one graph")
    if not isinstance(graph, Graph):
        raise TypeError(f"`graph` is {shown(graph)}, a {type(graph).__name__}; it must be a Graph.")
    checks = listed(checks, "checks", "names of checks")
    if not checks:
        raise ValueError(f"`checks` is empty, so nothing would be checked; the checks are {', '.join(GRAPH_CHECKS)}.")
    unknown = [name for name in checks if not isinstance(name, str) or name not in GRAPH_CHECKS]
    if unknown:
        raise ValueError(f"`checks` names {unknown[0]!r}; the checks are {', '.join(GRAPH_CHECKS)}.")
    for name, action in (("in_action", in_action), ("out_action", out_action)):
        if action is not None:
            require_action(action, name)
    key, tolerance = _key(key), None if tolerance is None else real_number(tolerance, "tolerance", 0.0)
    subject = _Subject(layer, filled(graph, 0.0), in_action, out_action, tolerance)
    subject.symmetric([name for name in checks if name in ("relabelling", "edge order", "motions", "gradient")], key)
    runs = {
        "images": subject.images,
        "padding": subject.padding,
        "batch mates": subject.batch_mates,
        "duplicates": subject.duplicates,
        "empty graphs": subject.empty_graphs,
        "constant inputs": subject.constant_inputs,
    }
    for name, run in runs.items():
        if name in checks:
            run()


class _Subject:
    """A layer as a pure, compiled function of its parameters and a graph, and what it gives on one graph."""

    def __init__(
        self, layer: Any, graph: Graph, in_action: GraphAction | None, out_action: Action | None, tolerance: float | None
    ):
        self.graph = graph
        self.name = type(layer).__name__ if isinstance(layer, nnx.Module) else getattr(layer, "__name__", repr(layer))
        if isinstance(layer, nnx.Module):
            static, self.state = nnx.split(layer)
            self.apply = jax.jit(lambda state, graph: nnx.merge(static, state)(graph))
        else:
            self.state: Any = {}
            self.apply = jax.jit(lambda state, graph: layer(graph))
        self.pull = jax.jit(self._pull)
        output = self.apply(self.state, graph)
        _require_output(output, graph, self.name)
        self.output = seen(rows(output), graph)
        action: Any = in_action or (layer.in_action if isinstance(layer, Layer) else GraphAction())
        if out_action is None and isinstance(layer, Layer):
            out_action = layer.out_action_for(action)
        self.in_action = action.for_input(graph)
        self.out_action: Action = out_action or (action if isinstance(output, Graph) else TrivialAction(action.group))
        self.tolerance = _equivariance_tolerance((graph, output)) if tolerance is None else tolerance

    def symmetric(self, checks: Sequence[str], key: jax.Array) -> None:
        """Checks relabelling, the order of the edges, the motions, and the gradient for all of them."""
        fn = lambda graph: self.apply(self.state, graph)  # noqa: E731
        together = []
        for i, factor in enumerate(self.in_action.group.factors):
            name = ("relabelling", "edge order", "motions")[min(i, 2)]
            drawn = _elements(factor, jax.random.fold_in(key, i))
            count = len(jax.tree.leaves(drawn)[0])
            still = jax.tree.map(lambda leaf: jnp.stack([leaf] * count), self.in_action.group.identity)  # noqa: B023
            together.append((*still[:i], drawn, *still[i + 1 :]))
            if name in checks:
                error = equivariance_error(fn, self.in_action, self.out_action, self.graph, together[-1]).max()
                self._require(error, f"{name} does not commute with the layer")
        if "gradient" in checks:
            elements = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *together)
            check_equivariance(fn, self.in_action, self.out_action, self.graph, elements, tolerance=self.tolerance)

    def images(self) -> None:
        """Moves every node by a vector of its own, as if to an image of itself, and makes up for it by the shifts."""
        graph = self.graph
        if graph.positions is None or graph.shifts is None:
            return
        moves = normals_like(graph.positions)
        changes = {"positions": moves, "shifts": moves[graph.senders] - moves[graph.receivers]}

        def moved(graph: Graph, sign: int) -> Graph:
            found = {name: getattr(graph, name) for name in changes}
            return graph.replace(**{name: x + sign * changes[name] for name, x in found.items() if x is not None})

        output = self.apply(self.state, moved(graph, 1))
        back = moved(output, -1) if isinstance(output, Graph) else output
        error = _distance(seen(rows(back), graph), self.output)
        self._require(error, "moving nodes to images of themselves (positions and shifts) does not commute with the layer")

    def padding(self) -> None:
        """Adds padding, fills all of it with NaN, and compares outputs and gradients."""
        larger = padded(self.graph, np.nan)
        self._compare(larger, "padding")
        self._require_finite(larger, "padding is filled with NaN")
        weights = normals_like(self.output)
        alone = self.pull(self.state, self.graph, seen(weights, self.graph))
        other = self.pull(self.state, larger, seen(weights, self.graph))
        self._require(_distance(other[0], alone[0]), "padding changes the gradient of the parameters")
        self._require(
            _distance(*(seen(rows(g[1]), self.graph) for g in (other, alone))), "padding changes the gradient of the input"
        )

    def batch_mates(self) -> None:
        """Puts a graph with other features and fewer edges beside it, and shuffles the nodes of both."""
        self._require(
            _distance(seen(self._shuffled(joined(self.graph, changed(self.graph))), self.graph), self.output),
            "a batch mate changes the output",
        )

    def duplicates(self) -> None:
        """Puts the graph beside itself, and shuffles the nodes of both."""
        twice = self._shuffled(joined(self.graph, self.graph))
        self._require(_distance(seen(twice, self.graph), self.output), "a copy of the graph in its batch changes the output")
        second = _distance(seen(twice, self.graph, 1), self.output)
        self._require(second, "the copy of a graph in a batch has another output than the graph")

    def empty_graphs(self) -> None:
        """Looks at outputs and gradients without edges, with padding only, and without any node."""
        graph = self.graph
        none = {name: jnp.zeros_like(getattr(graph, name)) for name in ("edge_mask", "node_mask")}
        self._require_finite(filled(rewired(graph, edge_mask=none["edge_mask"]), np.nan), "there are no edges")
        self._require_finite(filled(rewired(graph, **none), np.nan), "all nodes are padding, filled with NaN")
        self._require_finite(blank(graph, 0, 0, graph.graph_mask), "there are no nodes")

    def constant_inputs(self) -> None:
        """Looks at outputs and gradients where all features are equal and all points coincide."""
        for value in (1.0, 0.0):
            constant = jax.tree.map(lambda leaf: jnp.full_like(leaf, value) if is_floating(leaf) else leaf, rows(self.graph))  # noqa: B023
            self._require_finite(filled(self.graph.replace(**constant), 0.0), f"all features and points are {value}")

    def _pull(self, state: Any, graph: Graph, weights: Any) -> Any:
        """Returns the gradients of the weighted sum of the outputs, for the parameters and the graph; zero weights hide."""

        def total(floats: Any) -> jax.Array:
            state_and_graph = jax.tree.map(lambda leaf, new: leaf if new is None else new, (state, graph), floats)
            output = rows(self.apply(*state_and_graph))
            parts = jax.tree.map(lambda w, y: jnp.sum(jnp.where(w == 0, w, w * y[: len(w)])), weights, output)
            return sum(jax.tree.leaves(parts), jnp.zeros(()))

        return jax.grad(total)(jax.tree.map(lambda leaf: leaf if is_floating(leaf) else None, (state, graph)))

    def _shuffled(self, larger: Graph) -> dict[str, Any]:
        """Returns the output on a graph whose nodes and edges are shuffled, in the order of before."""
        action = GraphAction().for_input(larger)
        g = action.group.draw(jax.random.key(3))
        output = self.apply(self.state, action(g, larger))
        return rows(action(action.group.inverse(g), output) if isinstance(output, Graph) else output)

    def _compare(self, larger: Graph, what: str) -> None:
        """Compares the outputs of the graph alone with those where more stands behind it."""
        error = _distance(seen(rows(self.apply(self.state, larger)), self.graph), self.output)
        self._require(error, f"{what} changes the output")

    def _require(self, error: float, what: str) -> None:
        _require(
            bool(error <= self.tolerance),
            f"{what}: the relative difference is {error:.2e} (tolerance {self.tolerance:.1e}) in {self.name}.",
        )

    def _require_finite(self, graph: Graph, where: str) -> None:
        """Requires finite outputs (but for features that pass through untouched), and finite gradients."""
        output, given = rows(self.apply(self.state, graph)), rows(graph)
        for name, part in output.items():
            for leaf in jax.tree.leaves(part):
                passed = any(np.array_equal(leaf, old, equal_nan=True) for old in jax.tree.leaves(given.get(name)))
                _require(passed or _finite(leaf), f"`{name}` of {self.name} holds NaN or infinities where {where}.")
        weights = seen(jax.tree.map(jnp.ones_like, output), graph)
        for leaf in jax.tree.leaves(self.pull(self.state, graph, weights)):
            _require(_finite(leaf), f"the gradient of {self.name} holds NaN or infinities where {where}.")


def _finite(leaf: Any) -> bool:
    return bool(jnp.isfinite(leaf).all()) if is_floating(leaf) else True


def _elements(factor: Group, key: jax.Array) -> Any:
    """Two random elements, and the generators where there are some: of few points random ones may be the identity."""
    drawn = factor.draw(key, (2,))
    if not factor.point_sets or not factor.generators:
        return drawn
    return jnp.concatenate([jnp.asarray(np.stack(factor.generators)), drawn])


def _require_output(output: Any, graph: Graph, name: str) -> None:
    """Raises where the output is neither a graph of the same size nor arrays of one row for each graph."""
    sizes = lambda graph: (graph.num_nodes, graph.num_edges, graph.num_graphs)  # noqa: E731
    if isinstance(output, Graph):
        if sizes(output) != sizes(graph):
            raise ValueError(
                f"`layer` ({name}) returns {output} for {graph}; the checks need as many nodes, edges and graphs. Check the "
                "layers before and behind it on their own."
            )
        return
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(output)]
    if not shapes or any(shape[:1] != (graph.num_graphs,) for shape in shapes):
        raise ValueError(
            f"`layer` ({name}) returns arrays of shapes {shapes}; the checks need a graph, or arrays with one row for each "
            f"of the {graph.num_graphs} graphs. Put features of nodes back with graph.replace(nodes=…)."
        )
