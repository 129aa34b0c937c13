"""Following the action on the input through a network, to the layout of every activation."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from equijax.actions import Action
from equijax.audit._actions import layout_of
from equijax.audit._atoms import bases, length
from equijax.audit._declared import chosen, declared, fitted, is_choice, pools_graphs
from equijax.audit._layout import Layout, folded_around, reshaped, shuffled
from equijax.audit._rules import ELEMENTWISE, out_layouts
from equijax.nn import Layer
from equijax.nn._jaxpr import Call, Equation, Mark

if TYPE_CHECKING:
    from equijax.audit._network import Network

#: Operations that walk along an axis of places.
WALKING = frozenset("conv_general_dilated pad slice concatenate".split())


class Propagation:
    """Finds the layouts of a network: from its operations, from its user, and from our layers.

    Args:
      network: the network, of whose activations only the input has a layout.
    """

    def __init__(self, network: "Network"):
        self.network, self.trace, self.frame = network, network.trace, network.frame
        self.layouts, self.depends = network.layouts, network.depends
        self.declared, self.assumed = network.declared, network.assumed
        self.equations = network.equations
        self.writers = {out: equation for equation in self.equations for out in equation.outputs}

    def run(self, actions: Mapping[str, Action]) -> None:
        """Fills in the layouts, and which of them were declared or assumed."""
        marks: dict[int, list[Mark]] = {}
        for mark in self.trace.program.marks:
            marks.setdefault(mark.position, []).append(mark)
        entered: dict[Call, Layout | None] = {}
        wanted = set(map(id, self.equations))
        avals = self.trace.program.avals
        for position, equation in enumerate((*self.trace.program.equations, None)):
            for mark in marks.get(position, ()):
                if mark.variable in self.depends:
                    self._declare(mark, actions, entered)
            if equation is not None and id(equation) in wanted:
                self._walks_along(equation)
                found = out_layouts(
                    equation, self.network.operands(equation, self.layouts), [avals[v].shape for v in equation.outputs]
                )
                self.layouts.update(zip(equation.outputs, map(self._movable, found), strict=True))
                self._reconsider(equation, found[0])
                assumed = equation.name in ("conv_general_dilated", "dot_general") or not self.assumed.isdisjoint(
                    equation.inputs
                )
                self.assumed.update(equation.outputs if assumed else ())
        for v, layout in zip(self.trace.result_variables, self.network.given, strict=True):
            found = self.layouts.get(v)
            if layout is not None:
                self.layouts[v] = layout
                self.declared.add(v)
            elif found is not None:
                self._refine(v, range(len(found.axes) - 1))  # the last axis holds flattened features

    def _movable(self, layout: Layout | None) -> Layout | None:
        """Returns a layout where the elements can move it: numbers of samples on a grid they can't."""
        if layout is None or (layout.numbers is not None and not self.frame.permutations):
            return None
        return folded_around(layout, self.frame.period)

    def _declare(self, mark: Mark, actions: Mapping[str, Action], entered: dict[Call, Layout | None]) -> None:
        """Takes the action on the edge of a submodule from the user, or from one of our layers."""
        module, shape = self.trace.modules.get(mark.call.path), self.trace.program.avals[mark.variable].shape
        layout: Layout | None = None
        places = self.frame.places
        if places is not None and str(mark.call) not in actions and mark.call.path not in actions:
            found = places.layouts(self.trace.edges[mark.call, mark.side])
            layout = (
                places.rows(shape) if mark.side == "out" and len(found) == 1 and pools_graphs(module) else found[mark.leaf]
            )
        elif mark.side == "in":
            if mark.leaf == 0:
                entered[mark.call] = self.layouts.get(mark.variable)
                if isinstance(module, Layer):
                    layout = fitted(module, entered[mark.call], shape)
                    entered[mark.call] = layout or entered[mark.call]
        elif (given := actions.get(str(mark.call), actions.get(mark.call.path))) is not None:
            layout = layout_of(given, shape)
        elif isinstance(module, Layer) and is_choice(self.trace.edges[mark.call, "out"], mark.leaf):
            layout = chosen(entered.get(mark.call), shape)
        elif isinstance(module, Layer) and mark.leaf == 0:
            layout = declared(module, entered.get(mark.call), shape)
        if layout is not None:
            if mark.side == "in" and mark.variable in self.assumed:
                self._look_back(mark.variable, layout)
            self.layouts[mark.variable] = layout
            self.declared.add(mark.variable)
            self.assumed.discard(mark.variable)

    def _walks_along(self, equation: Equation) -> None:
        """Takes features behind samples for finer samples, as pixel shuffle makes them, where a window walks along them."""
        for v in equation.inputs if equation.name in WALKING or equation.name.startswith("reduce_window") else ():
            if v in self.depends and self.layouts.get(v) is not None:
                ndim = len(self.trace.program.avals[v].shape)
                self._refine(
                    v,
                    equation.params["dimension_numbers"].lhs_spec[2:]
                    if equation.name == "conv_general_dilated"
                    else range(ndim - 1),
                )

    def _refine(self, v: int, axes: Iterable[int]) -> None:
        layout = self.layouts.get(v)
        if layout is None or layout.custom is not None or v in self.declared or shuffled(layout, axes) == layout:
            return
        self.layouts[v] = shuffled(layout, axes)
        writer = self.writers.get(v)
        for u in writer.inputs if writer is not None and writer.name in ELEMENTWISE else ():
            if u in self.depends and self.trace.program.avals[u].shape == layout.shape:
                self._refine(u, axes)

    def _reconsider(self, equation: Equation, result: Layout | None) -> None:
        """Passes places back to what was taken for features, and is combined with places one by one.

        That is the output of weights, as in token MLPs, and the results of the steps of a loop, one behind the other.
        """
        if result is None or equation.name not in ELEMENTWISE or result.custom is not None:
            return
        for v in equation.inputs:
            own = self.layouts.get(v) if v in self.assumed else None
            if own is not None and own.shape == result.shape and own.custom is None:
                wrong = any(length(a) > 1 and not bases(a) and bases(b) for a, b in zip(own.axes, result.axes, strict=True))
                if wrong and self._is_made_of_features(v):
                    self.network.passed_back |= self._look_back(v, result)

    def _is_made_of_features(self, v: int) -> bool:
        """Tells whether nothing but rearranging and pointwise operations lie behind weights, or behind steps in a row."""
        while (equation := self.writers.get(v)) is not None and v not in self.declared:
            sources = [u for u in equation.inputs if u in self.depends]
            if equation.name == "dot_general" or self._puts_in_a_row(equation):
                return len(sources) == 1 or equation.name != "dot_general"
            if len(sources) != 1 or equation.name not in ELEMENTWISE | {"reshape", "squeeze", "expand_dims", "transpose"}:
                return False
            v = sources[0]
        return False

    def _puts_in_a_row(self, equation: Equation) -> bool:
        """Tells whether single entries become an axis, as the results of the steps of a loop do."""
        avals = self.trace.program.avals
        single = equation.name == "concatenate" and all(
            avals[v].shape[equation.params["dimension"]] == 1 for v in equation.inputs
        )
        return equation.name == "stack" or single

    def _look_back(self, v: int, layout: Layout | None) -> set[int]:
        """Passes what a layer expects of its input back to the weights whose output was assumed to be left alone.

        Returns the variables that have another layout since.
        """
        changed: set[int] = set()
        while layout is not None and v in self.assumed and v not in self.declared:
            self.layouts[v] = layout
            changed.add(v)
            equation = self.writers.get(v)
            sources = [u for u in equation.inputs if u in self.depends] if equation is not None else []
            if equation is None or len(sources) != 1:
                return changed
            v, shape = sources[0], self.trace.program.avals[sources[0]].shape
            if equation.name in ("reshape", "squeeze", "expand_dims"):
                layout = reshaped(layout, shape)
            elif equation.name == "transpose":
                layout = Layout(tuple(layout.axes[k] for k in np.argsort(equation.params["permutation"])))
            elif equation.name not in ELEMENTWISE or layout.shape != shape:
                return changed
        return changed
