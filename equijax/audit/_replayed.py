"""Replaying a network with some of its rows mended.

A stride that is mended keeps the samples that the element moves there, as a layer that chooses by the data does.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from equijax.audit._beyond import Beyond
from equijax.audit._code import CHOICE
from equijax.audit._error import gap
from equijax.audit._findings import Walk
from equijax.audit._fitting import Unmendable, finite
from equijax.audit._layout import Layout
from equijax.audit._mend import Mends, Replay
from equijax.audit._network import Network
from equijax.audit._steps import Step
from equijax.audit._walker import SAFE, Walker, finite_size, relative, size_of
from equijax.nn._jaxpr import Values

#: A further shift for all members of the batch, or one for each.
Shifts = list[tuple[int, ...]]


class Replayed:
    """A network with some of its rows mended, on the input and on its moved copies.

    Args:
      network: the network.
      found: what the walk through it found.
      x: leaves of the input.
      moved_x: for each element the leaves of the moved input.
    """

    def __init__(self, network: Network, found: Walk, x: Sequence[Any], moved_x: Sequence[Sequence[Any]]):
        self.network, self.found, self.frame = network, found, network.frame
        self.x, self.moved_x = x, moved_x
        self.walker = Walker(network, network.trace.state)
        self.replay = Replay(network, finite(found.statics), tuple(range(self.frame.count)))

    def _layout(self, v: int) -> Layout:
        return self.walker.layout(v)

    def returns(self, step: Step) -> bool:
        """Tells whether a step brings samples of a coarse lattice back to a finer one, without being told a choice."""
        if not self.frame.is_grid or any(self._layout(v).chosen for v in step.read):
            return False
        coarse, fine = self._spacing(step.read), self._spacing(step.written)
        return bool(fine) and fine < coarse

    def _spacing(self, variables: Sequence[int]) -> Fraction:
        """Returns how far the samples of the coarsest of some activations are apart; 0 where none lies on a grid."""
        if not self.frame.is_grid:
            return Fraction(0)
        layouts = [self._layout(v) for v in variables if self._layout(v).base and not self._layout(v).custom]
        return max((max(self.frame.lattice(layout)[0]) for layout in layouts), default=Fraction(0))

    def sharing(self, i: int, made: Mapping[int, Mends]) -> str:
        """Returns the name of the row whose choice another one takes: the first that chooses samples of the same lattice.

        A row that brings samples back takes the choice of the one that took them from there; ``""`` where there is none, as
        where it undoes several strides at once.
        """
        steps = [finding.step for finding in self.found.findings]
        if CHOICE in made[i]:
            wanted = self._spacing(steps[i].read), self._spacing(steps[i].written)
            found = lambda step: (self._spacing(step.written), self._spacing(step.read)) == wanted  # noqa: E731
        else:
            coarse = self._lattice(steps[i].written)
            found = lambda step: coarse is not None and self._lattice(step.written) == coarse  # noqa: E731
        return next((steps[j].name for j in sorted(made) if "phase" in made[j] and j < i and found(steps[j])), "")

    def _lattice(self, variables: Sequence[int]) -> Any:
        """Returns the lattice of the first of some activations that lies on a grid; None where none does."""
        if not self.frame.is_grid:
            return None
        return next((self.frame.lattice(self._layout(v)) for v in variables if self._layout(v).base), None)

    def error(self, made: Mapping[int, Mends]) -> float:
        """Returns the largest end-to-end error with some mends: number of a row → what is mended in it.

        It is not a number where the replay, or an element, can't be followed to the output.
        """
        try:
            clean = self._run(made, self.x, None, {})
            errors = [self._error_of(made, e, clean) for e in range(self.frame.count)]
        except Unmendable:
            return math.nan
        return float(np.max(errors, initial=0.0))

    def stays(self, made: Mapping[int, Mends]) -> set[int]:
        """Returns the numbers of the rows that break the symmetry although they are mended."""
        found: set[int] = set()
        try:
            clean = self._run(made, self.x, None, {})
            for e in range(self.frame.count):
                self._run(made, self.moved_x[e], Beyond(self.frame, e), clean, found)
        except Unmendable:
            return set(made)
        return found & set(made)

    def _error_of(self, made: Mapping[int, Mends], e: int, clean: Values) -> float:
        beyond = Beyond(self.frame, e)
        if not all(beyond.follows(self._layout(v)) for v in self.found.results):
            return math.nan
        run = self._run(made, self.moved_x[e], beyond, clean)
        square = scale = 0.0
        for v in self.found.results:
            image, known = beyond.move(clean[v], self._layout(v))
            square += size_of(gap(run[v], image, known)) ** 2
            scale += finite_size(clean[v]) ** 2
        return float(np.sqrt(square / (scale or 1.0)))

    def _run(
        self,
        made: Mapping[int, Mends],
        x: Sequence[Any],
        beyond: Beyond | None,
        clean: Values,
        broken: set[int] | None = None,
    ) -> Values:
        """Returns the activations at all cuts; of a moved copy beside the clean ones, whose samples its strides keep.

        Where ``broken`` is given the numbers of the rows that are wrong are put into it, and the copy goes on without error.
        """
        now: Values = dict(zip(self.network.trace.x_variables, x, strict=True))
        kept = dict(now)
        for i, finding in enumerate(self.found.findings):
            step, own = finding.step, made.get(i, frozenset())
            start, target = (now, []) if beyond is None else self._aligned(beyond, step, now, own, clean)
            plain = own - {"phase", CHOICE}
            before = {v: start[v] for v in step.before}
            after = self.replay(step, before, plain)[0] if plain else self.walker.step(step, before)
            for v in step.written:
                if target and beyond is not None and self._layout(v).base and not self._layout(v).chosen:
                    after[v] = self._rolled(after[v], self._layout(v), _minus(self._further(beyond, v, clean), target))
                if beyond is not None and not self.frame.acts(beyond.e, self._layout(v)) and beyond.follows(self._layout(v)):
                    beyond.enter(self._layout(v), clean[v], after[v], SAFE * self.found.floors[v])
            if beyond is not None and broken is not None:
                self._set_right(beyond, step, after, clean, i, broken)
            now = {v: after[v] if v in step.written else now[v] for v in step.after}
            kept.update({v: now[v] for v in step.written if beyond is None or v in self.found.results})
        return kept

    def _set_right(self, beyond: Beyond, step: Step, after: Values, clean: Values, i: int, broken: set[int]) -> None:
        """Compares what a step of a moved copy wrote with the clean activations, and puts their images in its place."""
        for v in step.written:
            if beyond.follows(self._layout(v)):
                image, known = beyond.move(clean[v], self._layout(v))
                if relative(gap(after[v], image, known), clean[v]) > 3 * SAFE * self.found.floors[v]:
                    broken.add(i)
                after[v] = image if known is None else np.where(known, image, np.asarray(after[v]))

    def _aligned(self, beyond: Beyond, step: Step, now: Values, own: Mends, clean: Values) -> tuple[Values, Shifts]:
        """Returns what enters a step that chooses its samples, or is told the choice, moved to where it looks for them.

        That is by the further shift on the coarsest lattice that it reads or writes, which is the second result.
        """
        places = [v for v in (*step.read, *step.written) if self._layout(v).base and not self._layout(v).chosen]
        if not own & {"phase", CHOICE} or not places or not self.frame.is_grid:
            return now, []
        target = self._further(beyond, max(places, key=lambda v: self._spacing([v])), clean)
        result = dict(now)
        for v in step.read:
            if v in places:
                shifts = _minus(target, self._further(beyond, v, clean))
                result[v] = self._rolled(now[v], self._layout(v), shifts)
        return result, target

    def _further(self, beyond: Beyond, v: int, clean: Values) -> Shifts:
        """Returns the further shifts on the lattice of an activation; none where the element moves samples to samples.

        A single sample that is left stays where it is under every shift, but not every shift moves its lattice to itself.
        """
        layout = self._layout(v)
        known = self.frame.beyond(beyond.e, layout)
        if self.frame.acts(beyond.e, layout) and not (known and any(known[0])):
            return [(0,) * len(self.frame.centre)]
        if not beyond.follows(layout):
            raise Unmendable("an element can't be followed")
        return beyond.nearest(layout, clean[v])

    def _rolled(self, value: Any, layout: Layout, shifts: Shifts) -> np.ndarray:
        """Returns an array moved around the torus, by one shift for all or one for each member of the batch."""
        if not layout.base or not any(map(any, shifts)):
            return np.asarray(value)
        if self.frame.period is None or layout.custom is not None:
            raise Unmendable("no torus")
        moved = {t: self.frame.rolled(dict(enumerate(t)), value, layout) for t in dict.fromkeys(shifts)}
        if len(moved) == 1:
            return moved[shifts[0]]
        return np.stack([moved[t][n] for n, t in enumerate(shifts)])


def _minus(a: Shifts, b: Shifts) -> Shifts:
    members = max(len(a), len(b))
    pairs = zip(a * (members // len(a)), b * (members // len(b)), strict=True)
    return [tuple(p - q for p, q in zip(*pair, strict=True)) for pair in pairs]
