"""What a graph has beside it must not matter: padding that is added, and other graphs in its batch.

The model is traced again on a larger graph. Its program has the same operations, so that every activation can be compared
with that of the graph alone; behind a step that lets a difference through the comparison starts again.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.audit._atoms import Base
from equijax.audit._findings import Walk
from equijax.audit._graph_changes import changed, joined, padded
from equijax.audit._layout import Layout
from equijax.audit._leak import LeakKind, Leaks, Pair, change
from equijax.audit._network import Network
from equijax.audit._trace import Trace, trace
from equijax.audit._walker import SAFE
from equijax.graphs import Graph
from equijax.nn._jaxpr import Equation, Values, evaluate

#: What padding holds.
GARBAGE = 1.3


def leaks_of_graph(subject: Any, found: Walk) -> tuple[dict[LeakKind, Leaks], list[str]]:
    """Returns which findings let padding (``"mask"``) and batch mates (``"batch"``) through, and notes."""
    graph: Graph = jax.tree.unflatten(subject.network.trace.x_tree, subject.x)
    larger: dict[LeakKind, Graph] = {
        "mask": padded(graph, GARBAGE),
        "batch": joined(graph, changed(graph)),
    }
    leaks: dict[LeakKind, Leaks] = {}
    for kind, other in larger.items():
        try:
            grown = trace(subject.model, other)
        except (TypeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            return leaks, [f"padding and batch mates were not tried: the model takes graphs of one size only ({reason})"]
        leaks[kind] = _Comparison(subject.network, found, graph, grown, whole=kind == "mask").leaks()
    return leaks, []


class _Comparison:
    """Compares the activations of a graph with those of a larger one that begins with it."""

    def __init__(self, network: Network, found: Walk, graph: Graph, grown: Trace, *, whole: bool):
        self.network, self.found, self.grown, self.whole = network, found, grown, whole
        self.masks = [np.asarray(mask) for mask in (graph.node_mask, graph.edge_mask, graph.graph_mask)]

    def leaks(self) -> Leaks:
        """Returns the differences behind the findings; behind the last one where the rows are not known."""
        fixed, equations = self.grown.parts()
        program = self.grown.program
        start: Values = {
            **program.constants,
            **dict(zip(self.grown.state_variables, self.network.trace.state, strict=True)),
        }
        start.update(zip(self.grown.x_variables, self.grown.x, strict=True))
        evaluate(fixed, start)
        findings, values, result = self.found.findings, dict(start), Leaks()
        if [eq.name for eq in equations] != [eq.name for eq in self.network.equations]:
            pairs = self._results(equations, start)
            floors = [self.found.floors[v] for v in self.found.results]
            size = change(pairs)
            return Leaks({len(findings) - 1: size}, size) if size > 3 * SAFE * max(floors, default=0.0) else result
        partner: dict[int, Equation] = dict(zip(map(id, self.network.equations), equations, strict=True))
        names = dict(zip(self.network.trace.x_variables, self.grown.x_variables, strict=True))
        for i, finding in enumerate(findings):
            for equation in finding.step.equations:
                evaluate([partner[id(equation)]], values)
                names.update(zip(equation.outputs, partner[id(equation)].outputs, strict=True))
            for v in finding.step.after:
                size = self._set_right(v, values, names[v])
                if size > 3 * SAFE * self.found.floors[v]:
                    result.sizes[i] = max(size, result.sizes.get(i, 0.0))
        if result.sizes:
            result.total = change(self._results(equations, start))
        return result

    def _results(self, equations: Sequence[Equation], values: Values) -> list[Pair]:
        """Runs the program on the larger graph, and returns what has to agree with the results of the graph."""
        evaluate(equations, values)
        pairs = zip(self.network.trace.result_variables, self.grown.result_variables, strict=True)
        found = [self._pair(v, values[w]) for v, w in pairs if v in self.network.depends]
        return [(clean, other[window], valid) for clean, other, window, valid in filter(None, found)]

    def _pair(self, v: int, changed: Any) -> tuple[np.ndarray, np.ndarray, tuple[slice, ...], np.ndarray] | None:
        """Returns an activation, that of the larger graph, the part of it that is of the graph, and where that is valid."""
        clean, layout = np.asarray(self.found.clean[v]), self.network.layouts.get(v)
        own = None if layout is None else self._kept(layout, np.shape(changed))
        if own is None or not jnp.issubdtype(clean.dtype, jnp.inexact):
            return None
        return clean, np.array(changed), *own

    def _set_right(self, v: int, values: Values, w: int) -> float:
        """Returns by which part an activation differs where it must not, and sets it right there."""
        found = self._pair(v, values[w])
        if found is None:
            return 0.0
        clean, other, window, valid = found
        size = change([(clean, other[window], valid)])
        other[window] = np.where(valid & ~np.isnan(clean), clean, other[window])
        values[w] = other
        return size

    def _kept(self, layout: Layout, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], np.ndarray] | None:
        """Returns the part of the larger array that belongs to the graph, and where it is valid; None if unknown."""
        if layout.numbers is not None or len(shape) != len(layout.shape):
            return None
        if not self.whole and not layout.base:
            return None  # sums over all graphs of a batch may change
        valid = np.ones(layout.shape, bool)
        for k, (axis, n) in enumerate(zip(layout.axes, layout.shape, strict=True)):
            inner = [a for a in axis[1:] if isinstance(a, Base)]
            if isinstance(axis[0], Base) and not inner:
                mask = self.masks[axis[0].axis]
                if len(mask) != axis[0].size:
                    return None
                valid &= np.repeat(mask, n // len(mask)).reshape(-1, *(1,) * (valid.ndim - k - 1))
            elif inner or n != shape[k]:
                return None
        return tuple(slice(0, n) for n in layout.shape), valid
