"""A traced model with the action on every activation, cut into steps where all actions are known."""

import collections
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from equijax._arguments import shown
from equijax.actions import Action
from equijax.actions._action import require_action
from equijax.audit._atoms import Joined
from equijax.audit._frame import Frame
from equijax.audit._layout import Layout
from equijax.audit._propagation import Propagation
from equijax.audit._rule import Operand
from equijax.audit._steps import steps_of
from equijax.audit._trace import Trace
from equijax.groups._group import Element
from equijax.nn._jaxpr import Equation, Values, evaluate

Layouts = dict[int, Layout | None]


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
        self.random = program.depends_on(
            [o for eq in program.equations if eq.name.startswith("random_") for o in eq.outputs]
        )
        self.learned = program.depends_on(trace.state_variables)
        counts = [v for eq in self.fixed if eq.name.startswith("reduce_window") for v in eq.outputs]
        self.counts = program.depends_on(counts) - self.depends
        self.declared: set[int] = set()
        self.assumed: set[int] = set()
        self.passed_back: set[int] = set()
        self.given = tuple(out_layouts)
        self.layouts: Layouts = dict(zip(trace.x_variables, in_layouts, strict=True))
        self.known = self.statics(trace.state) if not _abstract(trace.state) else self.constants()
        Propagation(self).run(actions)
        #: Equation and elements → a kernel, and the nearest one that they share (None where it is shared).
        self.nearest: dict[tuple[int, tuple[int, ...]], tuple[Any, Any]] = {}
        self.steps = steps_of(trace, self.equations, self.depends, self.layouts, self.is_known, depth)

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

    def read_singly(self, equations: Iterable[Equation]) -> list[int]:
        """Returns the variables with a base of which equations read single places, once for each reading."""
        result = []
        for eq in equations:
            layout = self.layouts.get(eq.inputs[0])
            by_index = eq.name == "gather" and eq.inputs[1] not in self.depends
            reads = by_index or (eq.name in ("slice", "dynamic_slice") and eq.outputs[0] in self._squeezed)
            if reads and layout is not None and layout.base and self._leaves_one(layout, self.layouts.get(eq.outputs[0])):
                result.append(eq.inputs[0])
        return result

    @functools.cached_property
    def readings(self) -> collections.Counter[int]:
        """Variable → how many single places of it the network reads."""
        return collections.Counter(self.read_singly(self.equations))

    @functools.cached_property
    def _squeezed(self) -> frozenset[int]:
        return frozenset(eq.inputs[0] for eq in self.equations if eq.name in ("squeeze", "reshape"))

    def _leaves_one(self, before: Layout, after: Layout | None) -> bool:
        """Tells whether one sample is left of some axis of the base; a class token before the samples is none."""
        if after is None:
            return True
        ones = sum(a.size == 1 for a in after.base) > sum(a.size == 1 for a in before.base)
        joined = any(isinstance(a, Joined) for a in before.atoms)
        return ones or (len(after.base) < len(before.base) and not joined)

    def is_known(self, v: int) -> bool:
        """Tells whether an activation has a known action."""
        layout = self.layouts.get(v)
        if self.frame.places is not None:
            return self.frame.acts(0, layout)  # edges that the model added have no action
        return layout is not None and (layout.custom is not None or self.frame.fits(layout))


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
