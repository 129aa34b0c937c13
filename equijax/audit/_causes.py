"""Why a step breaks the symmetry, found by repair: a cause is a mend that is needed to make the step commute."""

import dataclasses
import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np

from equijax.audit._atoms import Base
from equijax.audit._causal import padding, placed_operands
from equijax.audit._error import gap
from equijax.audit._findings import Finding, Walk
from equijax.audit._fitting import Unmendable, finite
from equijax.audit._layout import Layout
from equijax.audit._mend import KINDS, Mends, Replay
from equijax.audit._network import Layouts, Network
from equijax.audit._report import Cause, CauseKind
from equijax.audit._rules import ELEMENTWISE, ORDERED
from equijax.audit._rules_pick import writes_at_places
from equijax.audit._sentences import cause, places_ignored
from equijax.audit._shared import mixes
from equijax.audit._steps import READS, Step
from equijax.audit._walker import SAFE, relative
from equijax.nn._jaxpr import Equation, Values

#: Repairs are tried on this many of the worst elements of each class.
WORST = 2


def causes_of(subject: Any, found: Walk, finding: Finding) -> tuple[Cause, ...]:
    """Returns the causes of a broken step: shifts and other elements, lost and kept ones, are looked at on their own."""
    network: Network = subject.network
    frame = network.frame
    failing = sorted(finding.broken, key=lambda e: -finding.errors.get(e, (np.inf, 0))[0])
    behind = [e for e in failing if not network.acts(e, finding.step.read)]  # the stride that lost it lies before the step
    back = [e for e in behind if network.acts(e, finding.step.written)]
    classes: dict[tuple[bool, bool], list[int]] = {}
    for e in failing:
        if e not in behind:
            classes.setdefault((frame.is_shift(e), e in finding.lost), []).append(e)
    kinds: list[CauseKind] = []
    if not classes and not back:
        kinds += _Search(network, found, finding, tuple(behind)).read_off([])
    for elements in classes.values():
        kinds += _Search(network, found, finding, tuple(elements[:WORST])).kinds()
    causes = tuple(cause(kind, network, finding.step) for kind in dict.fromkeys(kinds))
    return (places_ignored(network, finding.step), *causes) if back else causes


@dataclasses.dataclass
class _Search:
    """Looks for the smallest set of mends that makes one step commute with some elements."""

    network: Network
    found: Walk
    finding: Finding
    elements: tuple[int, ...]

    def kinds(self) -> list[CauseKind]:
        """Returns the kinds of the smallest set of mends that leaves no error, or what can be read off the operations."""
        replay = Replay(self.network, finite(self.found.statics), self.elements)
        step = self.finding.step
        possible = replay.applicable(step, {v: self.found.clean[v] for v in step.before})
        if "border" not in possible and self._is_cropped():
            possible.append("border")
        if "phase" not in possible and self._coarsens():
            possible.append("phase")
        possible.sort(key=KINDS.index)
        for count in range(1, len(possible) + 1):
            for kinds in itertools.combinations(possible, count):
                if self._repairs(replay, frozenset(kinds)):
                    return self._causal(list(kinds))  # type: ignore[arg-type]
        return self._causal(self.read_off(possible))

    def _causal(self, kinds: list[CauseKind]) -> list[CauseKind]:
        """Calls a border or a position an order where it belongs to a causal layer, for which the mend is none."""
        equations = self.finding.step.equations
        found: list[CauseKind] = []
        for kind in kinds:
            own: list[CauseKind] = []
            if kind in ("border", "unknown"):
                own = [word for eq in equations for word in padding(self.network, eq).values()]
            elif kind == "position":
                own = [word for eq in equations for _, words in placed_operands(self.network, eq) for word in words]
            if own and (kind != "unknown" or set(own) == {"order"}):
                found += own
            else:
                found.append(kind)
        return list(dict.fromkeys(found))

    def _repairs(self, replay: Replay, mends: Mends) -> bool:
        step = self.finding.step
        plain = "phase" not in mends or self._has_strided_operation()
        if plain:
            try:
                return all(self._error(replay, e, mends) <= self._bound() for e in self.elements)
            except Unmendable:
                pass
        if "phase" not in mends:
            return False
        try:
            fine = _Polyphase(replay, step, mends - {"phase"})
            return all(self._error(fine, e, mends) <= self._bound() for e in self.elements)
        except Unmendable:
            return False

    def _bound(self) -> float:
        floors = [self.found.floors[v] for v in self.finding.step.after if v in self.found.floors]
        return 3 * SAFE * max(floors, default=1e-15)

    def _error(self, run: Any, e: int, mends: Mends) -> float:
        """Returns the relative error of the mended step on one element, over all it computes."""
        step, frame, clean = self.finding.step, self.network.frame, self.found.clean
        start = {v: clean[v] for v in step.before}
        moved = {v: self._moved(e, v, mends) for v in step.before}
        base, layouts = run(step, start, mends)
        other, _ = run(step, moved, mends)
        worst = 0.0
        for v in step.written:
            layout = layouts[v]
            if not frame.acts(e, layout) or layout is None:
                return math.inf
            image, known = frame.move(e, np.asarray(base[v]), layout)
            if "border" in mends and frame.is_shift(e) and not frame.covers(e, layout):
                known = frame.bordered().move(e, np.asarray(base[v]), layout)[1]  # what is left wraps in itself
            worst = max(worst, relative(gap(other[v], image, known), base[v]))
        return worst

    def _moved(self, e: int, v: int, mends: Mends) -> np.ndarray:
        frame, layout = self.network.frame, self.network.layouts[v]
        if layout is None:
            raise Unmendable("unknown layout")
        value, known = frame.move(e, self.found.clean[v], layout)
        if known is None:
            return value
        if "border" in mends and frame.is_shift(e):
            return frame.rolled(dict(enumerate(frame.shift[e].tolist())), self.found.clean[v], layout)
        return np.where(known, value, np.asarray(self.found.moved[e][v]))

    def _is_cropped(self) -> bool:
        """Tells whether an activation before the step has lost its border to an unpadded window."""
        layouts = [self.network.layouts.get(v) for v in self.finding.step.before]
        frame = self.network.frame
        return any(
            layout is not None and layout.base and not frame.covers(e, layout) for layout in layouts for e in self.elements
        )

    def _coarsens(self) -> bool:
        """Tells whether the samples behind the step are farther apart than those before it."""
        spacings = [_spacing(self.network, (v,)) for v in self.finding.step.read]
        after = _spacing(self.network, self.finding.step.written)
        return after is not None and any(before is not None and before < after for before in spacings)

    def _covers_all(self) -> bool:
        """Tells whether nothing is left of the grid: the window was as large as the array."""
        layouts = [self.network.layouts.get(v) for v in self.finding.step.written]
        before = any(a.size > 1 for v in self.finding.step.before for a in getattr(self.network.layouts.get(v), "base", ()))
        return before and all(layout is not None and all(a.size == 1 for a in layout.base) for layout in layouts)

    def _has_strided_operation(self) -> bool:
        return any(_strides(eq) for eq in self.finding.step.equations)

    def _reads_numbers(self, eq: Equation) -> bool:
        """Tells whether numbers of nodes or edges are computed with as if they were features."""
        layouts = [self.network.layouts.get(v) for v in (*eq.inputs, *eq.outputs)]
        *numbered, still = [layout is not None and layout.numbers is not None for layout in layouts]
        compares = eq.name in ("lt", "le", "gt", "ge") and sum(numbered) < 2  # with a constant, as all indexing does
        return any(numbered) and not still and eq.name in ELEMENTWISE - {"eq", "ne"} and not compares

    def read_off(self, possible: list[str]) -> list[CauseKind]:
        """Names a cause where no mend helps."""
        equations = self.finding.step.equations
        names = {eq.name for eq in equations}
        overwrites = any(eq.name == "scatter" and eq.inputs[1] in self.network.depends for eq in equations)
        if names & ORDERED or overwrites:
            return ["order"]
        picked = self.network.read_singly(equations)
        if picked and max(self.network.readings[v] for v in picked) >= READS:
            return ["order"]  # a loop that was written out
        depends = self.network.depends
        writes = any(writes_at_places(eq.name, [v in depends for v in eq.inputs]) for eq in equations)
        if picked or writes or any(self._reads_numbers(eq) for eq in equations):
            return ["position"]
        if "conv_general_dilated" in names and self._covers_all():
            return ["dense"]
        shifting = all(self.network.frame.is_shift(e) for e in self.elements)
        if not shifting and names & {"conv_general_dilated"}:
            return ["kernel"]
        if self.finding.broken & self.finding.lost and (self._coarsens() or self._has_strided_operation()):
            return ["phase"]
        if "dense" in possible:
            return ["dense"]
        if shifting and self.network.frame.period is None and any(_pads(eq) for eq in equations):
            return ["border"]
        if any(mixes(self.network.layouts.get(v)) for eq in equations for v in (*eq.inputs, *eq.outputs)):
            return ["fibre"]
        return ["unknown"]


class _Polyphase:
    """A step at full resolution: the step itself, run on every shift of its input, interleaved."""

    def __init__(self, replay: Replay, step: Step, mends: Mends):
        self.replay, self.mends = replay, mends
        network = replay.network
        fine, coarse = _spacing(network, step.before), _spacing(network, step.written)
        if fine is None or coarse is None or coarse <= fine or (coarse / fine).denominator != 1:
            raise Unmendable("no common stride")
        self.factor, self.fine = int(coarse / fine), fine

    def _rolled(self, value: Any, layout: Layout | None, shift: dict[int, Fraction]) -> np.ndarray:
        if layout is None or layout.custom is not None:
            raise Unmendable("unknown layout")
        return self.replay.frame.rolled(shift, value, layout)

    def __call__(self, step: Step, start: Values, mends: Mends) -> tuple[Values, Layouts]:
        del mends
        layouts = {v: self.replay.network.layouts[v] for v in step.before}
        axes = sorted({a.axis for layout in layouts.values() if layout for a in layout.base})
        parts: dict[tuple[int, ...], Values] = {}
        found: Layouts = {}
        for phase in itertools.product(range(self.factor), repeat=len(axes)):
            shift = {axis: -i * self.fine for axis, i in zip(axes, phase, strict=True)}
            shifted = {v: self._rolled(start[v], layouts[v], shift) for v in step.before}
            parts[phase], found = self.replay(step, shifted, self.mends)
        values: Values = {}
        result: Layouts = {}
        for v in step.written:
            values[v], result[v] = self._interleaved({p: part[v] for p, part in parts.items()}, found[v], axes)
        return values, result

    def _interleaved(
        self, parts: dict[tuple[int, ...], Any], layout: Layout | None, axes: list[int]
    ) -> tuple[np.ndarray, Layout]:
        if layout is None or layout.custom is not None:
            raise Unmendable("unknown layout")
        shape, new = list(layout.shape), list(layout.axes)
        places: dict[int, int] = {}
        for k, atoms in enumerate(layout.axes):
            if len(atoms) == 1 and isinstance(atoms[0], Base):
                atom = atoms[0]
                places[atom.axis] = k
                shape[k] *= self.factor
                new[k] = (dataclasses.replace(atom, size=shape[k], spacing=atom.spacing / self.factor),)
            elif any(isinstance(a, Base) for a in atoms):
                raise Unmendable("a split axis")
        full = np.zeros(shape, np.asarray(next(iter(parts.values()))).dtype)
        for phase, part in parts.items():
            place: list[Any] = [slice(None)] * len(shape)
            for axis, i in zip(axes, phase, strict=True):
                if axis in places:
                    place[places[axis]] = slice(i, None, self.factor)
            full[tuple(place)] = np.asarray(part)
        return full, Layout(tuple(new))


def _spacing(network: Network, variables: tuple[int, ...]) -> Fraction | None:
    """Returns the smallest distance of samples in some activations, None without a base."""
    layouts = [network.layouts.get(v) for v in variables]
    pieces: dict[tuple[int, int, int], Fraction] = {}
    for number, layout in enumerate(layouts):
        for a in layout.base if layout is not None else ():
            key = (number, a.copy, a.axis)
            pieces[key] = min(abs(a.spacing), pieces.get(key, abs(a.spacing)))
    return max(pieces.values(), default=None)


def _strides(equation: Equation) -> bool:
    strides = equation.params.get("window_strides") or (equation.params.get("strides") if equation.name == "slice" else None)
    return any(s > 1 for s in strides or ())


def _pads(equation: Equation) -> bool:
    pairs = equation.params.get("padding") if equation.name != "pad" else equation.params["padding_config"]
    return equation.name.startswith(("conv", "reduce_window", "pad")) and any(any(pair[:2]) for pair in pairs or ())
