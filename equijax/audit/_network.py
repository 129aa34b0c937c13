"""A traced model with the action on every activation, cut into steps where all actions are known."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from equijax._arguments import shown
from equijax.actions import Action
from equijax.actions._action import require_action
from equijax.audit._actions import layout_of
from equijax.audit._declared import chosen, declared, fitted, is_choice, pools_graphs
from equijax.audit._frame import Frame
from equijax.audit._layout import Layout, bases, length, reshaped, shuffled
from equijax.audit._rule import Operand
from equijax.audit._rules import ELEMENTWISE, out_layouts
from equijax.audit._trace import Trace
from equijax.groups._group import Element
from equijax.nn import Layer, Sequential
from equijax.nn._jaxpr import Call, Equation, Mark, Values, evaluate

Layouts = dict[int, Layout | None]

#: A module that calls another one more often than this is a loop, and is not opened.
LOOP = 16

#: Operations that walk along an axis of places.
WALKING = frozenset("conv_general_dilated pad slice concatenate".split())

#: Operations that don't name a step.
QUIET = frozenset("convert_element_type broadcast_in_dim reshape squeeze copy stop_gradient expand_dims transpose".split())


@dataclasses.dataclass(frozen=True)
class Step:
    """What lies between two cuts.

    Attributes:
      equations: the equations, all of which depend on the input.
      before: the variables that are alive before it.
      after: the variables that are alive behind it.
      members: names of the calls and operations in it.
      calls: the calls in it.
      scope: the innermost call that encloses operations that belong to no leaf.
    """

    equations: tuple[Equation, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    members: tuple[str, ...]
    calls: tuple[Call, ...]
    scope: str

    @property
    def written(self) -> tuple[int, ...]:
        """The living variables that the step computes."""
        old = set(self.before)
        return tuple(v for v in self.after if v not in old)

    @property
    def read(self) -> tuple[int, ...]:
        """The living variables that the step computes with."""
        used = {v for eq in self.equations for v in eq.inputs}
        return tuple(v for v in self.before if v in used)

    @property
    def path(self) -> str:
        """Path of the first module in it, else of the module whose operations it holds."""
        return self.calls[0].path if self.calls else self.scope

    @property
    def name(self) -> str:
        """The names of its members, joined."""
        shown = self.members if len(self.members) <= 4 else (*self.members[:2], "…", self.members[-1])
        return " + ".join(shown)


def joined(steps: list[Step]) -> Step:
    """Returns several steps that follow each other as one."""
    return Step(
        tuple(eq for step in steps for eq in step.equations),
        steps[0].before,
        steps[-1].after,
        tuple(dict.fromkeys(name for step in steps for name in step.members)),
        tuple(dict.fromkeys(call for step in steps for call in step.calls)),
        steps[0].scope,
    )


class Network:
    """The program of a model, the layouts of its activations, and its steps.

    Args:
      trace: the traced model.
      frame: the elements and their space.
      in_layouts: layout of each leaf of the input.
      out_layouts: layout of each leaf of the result; None where it is to be found.
      actions: path of a submodule → action on its output.
      depth: how many names deep modules are opened; None opens all of them.
    """

    def __init__(
        self,
        trace: Trace,
        frame: Frame,
        in_layouts: list[Layout],
        out_layouts: list[Layout | None],
        actions: Mapping[str, Action],
        depth: int | None,
    ):
        self.trace, self.frame, self.depth, self.actions = trace, frame, depth, actions
        program = trace.program
        self.depends = program.depends_on(trace.x_variables)
        self.fixed, self.equations = trace.parts()
        self.writers = {out: equation for equation in self.equations for out in equation.outputs}
        self.random = program.depends_on(
            [o for eq in program.equations if eq.name.startswith("random_") for o in eq.outputs]
        )
        self.learned = program.depends_on(trace.state_variables)
        counts = [v for eq in self.fixed if eq.name.startswith("reduce_window") for v in eq.outputs]
        self.counts = program.depends_on(counts) - self.depends
        self.declared: set[int] = set()
        self.assumed: set[int] = set()
        self.given = tuple(out_layouts)
        self.layouts: Layouts = dict(zip(trace.x_variables, in_layouts, strict=True))
        self.known = self.statics(trace.state) if not _abstract(trace.state) else self.constants()
        self._propagate(actions)
        self.loops = self._loops()
        self.unrolled: dict[tuple[Any, ...], tuple[Call, ...]] = {}
        self.steps = self._cut()

    def under(self, elements: Element) -> "Network":
        """Returns the network with other elements."""
        frame = self.frame.with_elements(elements)
        entering = [self.layouts[v] for v in self.trace.x_variables]
        return Network(self.trace, frame, entering, list(self.given), self.actions, self.depth)  # pyright: ignore[reportArgumentType]

    def acts(self, e: int, variables: Iterable[int]) -> bool:
        """Tells whether an element has an action on all of these activations."""
        return all(self.frame.acts(e, self.layouts.get(v)) for v in variables)

    def constants(self) -> Values:
        """Returns the values of what depends neither on the input nor on the state."""
        program = self.trace.program
        state = program.depends_on(self.trace.state_variables)
        return evaluate([eq for eq in self.fixed if state.isdisjoint(eq.inputs)], dict(program.constants))

    def statics(self, state: Any) -> Values:
        """Returns the values of everything that does not depend on the input."""
        values: Values = {**self.trace.program.constants, **dict(zip(self.trace.state_variables, state, strict=True))}
        return evaluate(self.fixed, values)

    def operands(self, equation: Equation, layouts: Layouts) -> list[Operand]:
        """Returns what a rule needs to know about the inputs of an equation."""
        avals = self.trace.program.avals
        return [
            Operand(
                avals[v].shape,
                v in self.depends,
                layouts.get(v),
                None if v in self.depends else self.known.get(v),
                v in self.learned,
            )
            for v in equation.inputs
        ]

    def _propagate(self, actions: Mapping[str, Action]) -> None:
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
                    equation, self.operands(equation, self.layouts), [avals[v].shape for v in equation.outputs]
                )
                movable = [None if a is not None and a.numbers and not self.frame.permutations else a for a in found]
                self.layouts.update(zip(equation.outputs, movable, strict=True))
                self._reconsider(equation, found[0])
                assumed = equation.name in ("conv_general_dilated", "dot_general") or not self.assumed.isdisjoint(
                    equation.inputs
                )
                self.assumed.update(equation.outputs if assumed else ())
        for v, layout in zip(self.trace.result_variables, self.given, strict=True):
            found = self.layouts.get(v)
            if layout is not None:
                self.layouts[v] = layout
                self.declared.add(v)
            elif found is not None:
                self._refine(v, range(len(found.axes) - 1))  # the last axis holds flattened features

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
                numbers = equation.params.get("dimension_numbers")
                ndim = len(self.trace.program.avals[v].shape)
                self._refine(v, numbers.lhs_spec[2:] if equation.name == "conv_general_dilated" else range(ndim - 1))

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
        """Passes places back to weights whose output was taken for features, and is combined with places one by one."""
        if result is None or equation.name not in ELEMENTWISE or result.custom is not None:
            return
        for v in equation.inputs:
            own = self.layouts.get(v) if v in self.assumed else None
            if own is not None and own.shape == result.shape and own.custom is None:
                wrong = any(length(a) > 1 and not bases(a) and bases(b) for a, b in zip(own.axes, result.axes, strict=True))
                if wrong and self._writer_is_dense(v):
                    self._look_back(v, result)

    def _writer_is_dense(self, v: int) -> bool:
        """Tells whether nothing but rearranging and pointwise operations lie between weights and an activation."""
        while (equation := self.writers.get(v)) is not None and v not in self.declared:
            sources = [u for u in equation.inputs if u in self.depends]
            if equation.name == "dot_general":
                return len(sources) == 1
            if len(sources) != 1 or equation.name not in ELEMENTWISE | {"reshape", "squeeze", "expand_dims", "transpose"}:
                return False
            v = sources[0]
        return False

    def _look_back(self, v: int, layout: Layout | None) -> None:
        """Passes what a layer expects of its input back to the weights whose output was assumed to be left alone."""
        while layout is not None and v in self.assumed and v not in self.declared:
            self.layouts[v] = layout
            equation = self.writers.get(v)
            sources = [u for u in equation.inputs if u in self.depends] if equation is not None else []
            if equation is None or len(sources) != 1:
                return
            v, shape = sources[0], self.trace.program.avals[sources[0]].shape
            if equation.name in ("reshape", "squeeze", "expand_dims"):
                layout = reshaped(layout, shape)
            elif equation.name == "transpose":
                layout = Layout(tuple(layout.axes[k] for k in np.argsort(equation.params["permutation"])))
            elif equation.name not in ELEMENTWISE or layout.shape != shape:
                return

    def _cut(self) -> tuple[Step, ...]:
        """Cuts the equations wherever a new call or line begins and every living activation has a known action."""
        parents = {call for mark in self.trace.program.marks for call in self._enclosing(mark)}
        keys = self._joined_loops([self._key(eq, parents, k) for k, eq in enumerate(self.equations)])
        alive = self._alive()
        steps, start = [], 0
        for p in range(1, len(keys) + 1):
            if p == len(keys) or (keys[p] != keys[p - 1] and all(self._known(v) for v in alive[p])):
                steps.append(self._step(start, p, alive, keys))
                start = p
        return tuple(steps)

    def _joined_loops(self, keys: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Gives one key to a loop that was written out: a line that reads three places or more of one moved axis in turn.

        Modules that are called in it belong to it, where they are called for every place.
        """
        reads: dict[tuple[Any, ...], list[int]] = {}
        for k, (eq, key) in enumerate(zip(self.equations, keys, strict=True)):
            layout = self.layouts.get(eq.inputs[0])
            if key[0] == "line" and eq.name in ("slice", "dynamic_slice", "gather") and layout is not None and layout.base:
                reads.setdefault((*key, eq.inputs[0]), []).append(k)
        for (*key, _), places in reads.items():
            line = [k for k, other in enumerate(keys) if other == tuple(key)]
            if len(places) < 3 or not line:  # no loop, or inside of one
                continue
            last = self._end_of_loop(line)
            inside = dict.fromkeys(keys[places[0] : last + 1])
            calls = [other[1] for other in inside if other[0] == "call"]
            bodies = {call.path: call for call in reversed(calls)}
            again = len(inside) > 1 and all(sum(call.path == path for call in calls) >= len(places) - 1 for path in bodies)
            if again:
                keys[places[0] : last + 1] = [tuple(key)] * (last + 1 - places[0])
                self.unrolled[tuple(key)] = tuple(bodies.values())
        return keys

    def _end_of_loop(self, reads: list[int]) -> int:
        """Returns the last equation of a loop whose reading equations are given: as many follow the last as any other."""
        names = [equation.name for equation in self.equations]
        for before, after in reversed([*itertools.pairwise(reads)]):
            body = names[before + 1 : after]
            if body:
                return reads[-1] + (len(body) if names[reads[-1] + 1 :][: len(body)] == body else 0)
        return reads[-1]

    def _enclosing(self, mark: Mark) -> list[Call]:
        """The calls around the equation at which a submodule is entered."""
        equations = self.trace.program.equations
        scope = equations[mark.position].scope if mark.side == "in" and mark.position < len(equations) else ()
        return list(scope[: scope.index(mark.call)]) if mark.call in scope else []

    def _loops(self) -> set[Call]:
        """Returns the calls inside of which one submodule is called again and again, as by a recurrent layer."""
        inner: dict[Call, dict[str, set[Call]]] = {}
        for equation in self.equations:
            for outer, call in itertools.pairwise(equation.scope):
                inner.setdefault(outer, {}).setdefault(call.path, set()).add(call)
        return {outer for outer, calls in inner.items() if max(map(len, calls.values())) > LOOP}

    def _key(self, equation: Equation, parents: set[Call], number: int) -> tuple[Any, ...]:
        for call in equation.scope:
            deep = self.depth is not None and call.path.count(".") + 1 >= self.depth
            module = self.trace.modules.get(call.path)
            ours = isinstance(module, Layer) and not isinstance(module, Sequential)
            if deep or ours or call in self.loops or call not in parents:
                return ("call", call)
        inner = equation.scope[-1] if equation.scope else None
        return ("line", inner, equation.line or number)

    def _alive(self) -> list[tuple[int, ...]]:
        """The variables that are alive before each equation, and behind the last."""
        alive = [tuple(dict.fromkeys(v for v in self.trace.result_variables if v in self.depends))]
        for equation in reversed(self.equations):
            now = [v for v in alive[-1] if v not in equation.outputs]
            now += [v for v in equation.inputs if v in self.depends and v not in now]
            alive.append(tuple(dict.fromkeys(now)))
        return alive[::-1]

    def _known(self, v: int) -> bool:
        layout = self.layouts.get(v)
        if self.frame.places is not None:
            return self.frame.acts(0, layout)  # edges that the model added have no action
        return layout is not None and (layout.custom is not None or self.frame.fits(layout))

    def _step(self, start: int, end: int, alive: list[tuple[int, ...]], keys: list[tuple[Any, ...]]) -> Step:
        equations = self.equations[start:end]
        members: list[str] = []
        for key in dict.fromkeys(keys[start:end]):
            own = [eq for eq, k in zip(equations, keys[start:end], strict=True) if k == key]
            bodies = [str(call) for call in self.unrolled.get(key, ())]
            members += [str(key[1])] if key[0] == "call" else (bodies or [operation(own)])
        found = [self.unrolled.get(key, (key[1],) if key[0] == "call" else ()) for key in keys[start:end]]
        calls = tuple(dict.fromkeys(call for own in found for call in own))
        scope = next((key[1].path for key in keys[start:end] if key[0] == "line" and key[1] is not None), "")
        return Step(equations, alive[start], alive[end], tuple(members), calls, scope)


def operation(equations: list[Equation]) -> str:
    """Returns a name for operations on one line: what they are, and where they stand."""
    names = dict.fromkeys(eq.name for eq in equations if eq.name not in QUIET)
    shown = list(names) or list(dict.fromkeys(eq.name for eq in equations))
    text = " ".join(shown[:3]) + (" …" if len(shown) > 3 else "")
    return f"{text} ({equations[0].line})" if equations[0].line else text


def _abstract(state: tuple[Any, ...]) -> bool:
    return any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in state)


def require_actions(actions: Any) -> None:
    """Raises ``TypeError`` where an argument is no mapping from names of activations to actions."""
    if actions is None:
        return
    if not isinstance(actions, Mapping):
        raise TypeError(f"`actions` is {shown(actions)}; it must map names of modules to actions.")
    for name, action in actions.items():
        require_action(action, f"actions[{name!r}]")
