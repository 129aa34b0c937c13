"""The steps of a network: what lies between two places where every living activation has a known action."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Set
from typing import Any

from equijax.audit._layout import Layout
from equijax.audit._trace import Trace
from equijax.nn import Layer, Sequential
from equijax.nn._jaxpr import Call, Equation, Mark

#: A module that calls another one more often than this is a loop, and is not opened.
LOOP = 16

#: A line that reads so many places of one moved axis, one after the other, is a loop that was written out.
READS = 3

#: Operations that don't name a step.
QUIET = frozenset("convert_element_type broadcast_in_dim reshape squeeze copy stop_gradient expand_dims transpose".split())

Key = tuple[Any, ...]


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

    @functools.cached_property
    def dead(self) -> tuple[int, ...]:
        """The variables that the step reads or computes, and nothing behind it needs."""
        made = [v for eq in self.equations for v in eq.outputs]
        return tuple(set(self.before).union(made).difference(self.after))

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
        modules = {str(call) for call in self.calls}
        named = [member for member in self.members if member in modules]  # which say more than operations
        shown = self.members if len(self.members) <= 4 or not named else named
        return " + ".join(shown if len(shown) <= 4 else (*shown[:2], "…", shown[-1]))


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


def operation(equations: list[Equation]) -> str:
    """Returns a name for operations on one line: what they are, and where they stand."""
    names = dict.fromkeys(eq.name for eq in equations if eq.name not in QUIET)
    shown = list(names) or list(dict.fromkeys(eq.name for eq in equations))
    text = " ".join(shown[:3]) + (" …" if len(shown) > 3 else "")
    return f"{text} ({equations[0].line})" if equations[0].line else text


def steps_of(
    trace: Trace,
    equations: tuple[Equation, ...],
    depends: Set[int],
    layouts: Mapping[int, Layout | None],
    is_known: Callable[[int], bool],
    depth: int | None,
) -> tuple[Step, ...]:
    """Cuts equations wherever a new call or line begins and every living activation has a known action.

    Args:
      trace: the traced model.
      equations: those that depend on the input.
      depends: the variables that do.
      layouts: of the activations.
      is_known: tells whether an activation has a known action.
      depth: how many names deep modules are opened; None opens all of them.
    """
    return _Cutting(trace, equations, depends, layouts, depth).steps(is_known)


class _Cutting:
    """See :func:`steps_of`."""

    def __init__(
        self,
        trace: Trace,
        equations: tuple[Equation, ...],
        depends: Set[int],
        layouts: Mapping[int, Layout | None],
        depth: int | None,
    ):
        self.trace, self.equations, self.depends, self.layouts, self.depth = trace, equations, depends, layouts, depth
        self.loops = self._loops()
        self.unrolled: dict[Key, tuple[Call, ...]] = {}

    def steps(self, is_known: Callable[[int], bool]) -> tuple[Step, ...]:
        """Returns the steps."""
        parents = {call for mark in self.trace.program.marks for call in self._enclosing(mark)}
        keys = self._joined_loops([self._key(eq, parents, k) for k, eq in enumerate(self.equations)])
        alive = self._alive()
        steps, start = [], 0
        for p in range(1, len(keys) + 1):
            if p == len(keys) or (keys[p] != keys[p - 1] and all(map(is_known, alive[p]))):
                steps.append(self._step(start, p, alive, keys))
                start = p
        return tuple(steps)

    def _joined_loops(self, keys: list[Key]) -> list[Key]:
        """Gives one key to a loop that was written out: a line that reads three places or more of one moved axis in turn.

        Modules that are called in it belong to it, where they are called for every place. It has the name of the module
        that loops, or of those that it calls.
        """
        reads: dict[Key, list[int]] = {}
        for k, (eq, key) in enumerate(zip(self.equations, keys, strict=True)):
            layout = self.layouts.get(eq.inputs[0])
            if key[0] == "line" and eq.name in ("slice", "dynamic_slice", "gather") and layout is not None and layout.base:
                reads.setdefault((*key, eq.inputs[0]), []).append(k)
        for (*key, _), places in reads.items():
            line = [k for k, other in enumerate(keys) if other == tuple(key)]
            if len(places) < READS or not line:  # no loop, or inside of one
                continue
            last = self._end_of_loop(line)
            inside = dict.fromkeys(keys[places[0] : last + 1])
            calls = [other[1] for other in inside if other[0] == "call"]
            bodies = {call.path: call for call in reversed(calls)}
            again = len(inside) > 1 and all(sum(call.path == path for call in calls) >= len(places) - 1 for path in bodies)
            if again:
                keys[places[0] : last + 1] = [tuple(key)] * (last + 1 - places[0])
                self.unrolled[tuple(key)] = (key[1],) if key[1] is not None else tuple(bodies.values())
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

    def _key(self, equation: Equation, parents: set[Call], number: int) -> Key:
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

    def _step(self, start: int, end: int, alive: list[tuple[int, ...]], keys: list[Key]) -> Step:
        equations = self.equations[start:end]
        members: list[str] = []
        for key in dict.fromkeys(keys[start:end]):
            own = [eq for eq, k in zip(equations, keys[start:end], strict=True) if k == key]
            bodies = [str(call) for call in self.unrolled.get(key, ())]
            members += [str(key[1])] if key[0] == "call" else [*bodies, operation(own)]
        found = [self.unrolled.get(key, (key[1],) if key[0] == "call" else ()) for key in keys[start:end]]
        calls = tuple(dict.fromkeys(call for own in found for call in own))
        scope = next((key[1].path for key in keys[start:end] if key[0] == "line" and key[1] is not None), "")
        return Step(equations, alive[start], alive[end], tuple(members), calls, scope)
