"""What a graph has beside it must not matter: padding that is added, and other graphs in its batch.

The model is traced again on a larger graph. Its program has the same operations, so that every activation can be compared
with that of the graph alone; behind a step that lets a difference through the comparison starts again.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.audit._error import gap, widened
from equijax.audit._findings import Walk
from equijax.audit._graph_changes import changed, joined, padded
from equijax.audit._layout import Base, Layout
from equijax.audit._network import Network
from equijax.audit._report import CauseKind
from equijax.audit._trace import Trace, trace
from equijax.audit._walker import SAFE
from equijax.graphs import Graph
from equijax.nn._jaxpr import Equation, Values, evaluate

#: What padding holds.
GARBAGE = 1.3


def leaks_of_graph(subject: Any, found: Walk) -> tuple[dict[CauseKind, list[int]], list[str]]:
    """Returns the numbers of the findings that let padding (``"mask"``) and batch mates (``"batch"``) through, and notes."""
    graph: Graph = jax.tree.unflatten(subject.network.trace.x_tree, subject.x)
    larger: dict[CauseKind, Graph] = {
        "mask": padded(graph, GARBAGE),
        "batch": joined(graph, changed(graph)),
    }
    leaks: dict[CauseKind, list[int]] = {}
    for kind, other in larger.items():
        try:
            grown = trace(subject.model, other)
        except (TypeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            return leaks, [f"padding and batch mates were not tried: the model takes graphs of one size only ({reason})"]
        leaks[kind] = _Comparison(subject.network, found, graph, grown, whole=kind == "mask").guilty()
    return leaks, []


class _Comparison:
    """Compares the activations of a graph with those of a larger one that begins with it."""

    def __init__(self, network: Network, found: Walk, graph: Graph, grown: Trace, *, whole: bool):
        self.network, self.found, self.grown, self.whole = network, found, grown, whole
        self.masks = [np.asarray(mask) for mask in (graph.node_mask, graph.edge_mask, graph.graph_mask)]

    def guilty(self) -> list[int]:
        """Returns the numbers of the findings behind which there is a difference; the last where the rows are not known."""
        fixed, equations = self.grown.parts()
        program = self.grown.program
        values: Values = {
            **program.constants,
            **dict(zip(self.grown.state_variables, self.network.trace.state, strict=True)),
        }
        values.update(zip(self.grown.x_variables, self.grown.x, strict=True))
        evaluate(fixed, values)
        findings = self.found.findings
        if [eq.name for eq in equations] != [eq.name for eq in self.network.equations]:
            evaluate(equations, values)
            pairs = zip(self.network.trace.result_variables, self.grown.result_variables, strict=True)
            differs = any(self._differs(v, values, w) for v, w in pairs if v in self.network.depends)
            return [len(findings) - 1] if differs else []
        partner: dict[int, Equation] = dict(zip(map(id, self.network.equations), equations, strict=True))
        names = dict(zip(self.network.trace.x_variables, self.grown.x_variables, strict=True))
        result = []
        for i, finding in enumerate(findings):
            for equation in finding.step.equations:
                evaluate([partner[id(equation)]], values)
                names.update(zip(equation.outputs, partner[id(equation)].outputs, strict=True))
            if any([self._differs(v, values, names[v]) for v in finding.step.after]):  # each is set right, so no generator
                result.append(i)
        return result

    def _differs(self, v: int, values: Values, w: int) -> bool:
        """Tells whether an activation differs where it must not, and sets it right there."""
        clean, layout = np.asarray(self.found.clean[v]), self.network.layouts.get(v)
        own = None if layout is None else self._kept(layout, np.shape(values[w]))
        if own is None or not jnp.issubdtype(clean.dtype, jnp.inexact):
            return False
        window, valid = own[0], own[1] & ~np.isnan(clean)
        other = np.array(values[w])
        difference = np.where(valid, gap(other[window], clean), 0.0)
        size = float(np.linalg.norm(np.where(valid & ~np.isinf(clean), widened(clean), 0.0))) or 1.0
        other[window] = np.where(valid, clean, other[window])
        values[w] = other
        return not float(np.linalg.norm(difference)) <= 3 * SAFE * self.found.floors[v] * size

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
