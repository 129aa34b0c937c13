"""Walking through a network once for every element: local errors, healing, and the terms of the telescoping sum.

For every element a run starts from the moved input. At each cut its activations are compared with the moved activations of
the clean run. Where they differ, the step in front of the cut is broken, and the run starts again from the moved clean
activations; what that changes at the output is the step's term. The terms add up to the end-to-end error exactly.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from equijax.audit._atoms import Base
from equijax.audit._beyond import Beyond
from equijax.audit._error import eps_of, gap, widened
from equijax.audit._findings import Finding, Walk
from equijax.audit._network import Network
from equijax.audit._shared import mixes
from equijax.audit._steps import Step, joined
from equijax.audit._vain import another, is_vain
from equijax.audit._walker import SAFE, Floors, Walker, finite_size, plain_size, relative
from equijax.nn._jaxpr import Values

#: Where rounding alone changes an activation by more than this part, a choice has flipped.
FLIPPED = 1e-4

#: Relative rounding of the size of an array.
ROUNDED = 1e-11

#: Operations that make a choice.
CHOOSING = frozenset("argmax argmin sort top_k eq ne gt ge lt le sign floor ceil round".split())


@dataclasses.dataclass
class _Way:
    """One element on its way through the network.

    Attributes:
      e: the number of the element.
      now: activations of its run at the present cut.
      ahead: the results that these lead to, where they are known.
      lost: what happened since it has no action; None where it has one.
      owner: to whom the latest restart is charged.
      before: the results that the run would have had without that restart.
    """

    e: int
    now: Values
    ahead: list[np.ndarray] | None = None
    lost: "_Lost | None" = None
    owner: Finding | None = None
    before: list[np.ndarray] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class _Lost:
    """An element on its way through activations on which it has no action.

    Attributes:
      findings: the steps that read only activations on which it acts, and write such on which it does not.
      blind: True where the moved copy can't be followed.
    """

    findings: list[Finding] = dataclasses.field(default_factory=list)
    blind: bool = False

    def owner(self, e: int, finding: Finding) -> Finding:
        """Returns to whom an error belongs that is seen where the element acts again.

        Behind layers that choose their samples by the data, and chose the right ones, it belongs to the step that brings the
        samples back to wrong places.
        """
        guilty = [f for f in self.findings if e in f.broken] or self.findings[: int(self.blind)]
        return guilty[0] if guilty else finding


def walk(
    network: Network, state: Sequence[Any], x: Sequence[Any], moved_x: Sequence[Sequence[Any]], steps: Sequence[Step], *,
    jittered: Sequence[Any] | None = None, spared: Sequence[set[int]] | None = None, every_cut: bool = False, seed: int = 0,
) -> Walk:  # fmt: skip
    """Measures every step on every element.

    Args:
      network: the network.
      state: leaves of the state to use.
      x: leaves of the input.
      moved_x: for each element the leaves of the moved input.
      steps: the steps, in order.
      jittered: leaves of another state, under which steps have to undo each other's errors too.
      spared: for each step the elements whose terms are not asked for; None asks for all of them, and settles their sum.
      every_cut: start again at every cut, not only behind broken steps.
      seed: of the random numbers.
    """
    walker = Walker(network, state, seed)
    others = [] if jittered is None else [Walker(network, jittered, seed)]
    walking = _Walking(walker, others, steps, x, moved_x, spared, every_cut)
    while walking.later:
        walking.take()
    return walking.end()


class _Walking:
    """All elements on their way; see :func:`walk`."""

    def __init__(
        self, walker: Walker, others: list[Walker], steps: Sequence[Step], x: Sequence[Any],
        moved_x: Sequence[Sequence[Any]], spared: Sequence[set[int]] | None, every_cut: bool,
    ):  # fmt: skip
        self.walker, self.others, self.later = walker, others, list(steps)
        self.spared, self.every_cut = spared, every_cut
        starts = [self._start(leaves) for leaves in (x, [another(leaf) for leaf in x], *moved_x)]
        self.clean, self.other = (walker.run(steps, start) for start in starts[:2])
        self.floors: Floors = walker.floor_of(self.clean, walker.run(steps, starts[0], jitter=True))
        self.moved = {e: self._moved(steps, e, start) for e, start in enumerate(starts[2:])}
        self.ways = [_Way(e, start) for e, start in enumerate(starts[2:])]
        self.findings: list[Finding] = []
        self.sizes: dict[int, float] = {}

    def _start(self, leaves: Sequence[Any]) -> Values:
        return dict(zip(self.walker.network.trace.x_variables, leaves, strict=True))

    def _moved(self, steps: Sequence[Step], e: int, start: Values) -> Values:
        """Runs a network on a moved input, where something of that run is asked for."""
        unsure = any(self._unsure(e, v) for step in steps for v in step.written if v not in self.walker.results)
        if self.spared is not None and not unsure:
            return {}
        return self.walker.run(steps, start, keep=lambda v: self._unsure(e, v))

    def _unsure(self, e: int, v: int) -> bool:
        """Tells whether a moved activation has parts that are not images of the clean one; also true of results."""
        layout = self.walker.layout(v)
        return v in self.walker.results or layout.chosen or not self.walker.frame.maps(e, layout)

    def take(self) -> None:
        """Takes the next step with all elements."""
        finding = Finding(self.later.pop(0))
        self._advance(finding.step)
        broken = self._judged(finding)
        block = self._healing(finding.step, [way for way in self.ways if way.e in broken and way.lost is None])
        if block is not None:
            del self.later[: len(block) - 1]
            for step in block[1:]:
                self._advance(step)
            finding = Finding(joined(block), healed=True)
            broken = self._judged(finding)
        finding.tie = _ties(finding.step, self.floors)
        finding.vain = is_vain(self.walker, finding.step, self.clean, self.other, self.floors)
        self.findings.append(finding)
        for way in self.ways:
            self._charge(way, finding, broken)

    def _advance(self, step: Step) -> None:
        for way in self.ways:
            way.now, way.ahead = self.walker.step(step, way.now), None

    def _judged(self, finding: Finding) -> set[int]:
        """Compares all runs behind a step; returns the elements that act there, and whose error is above the floor."""
        for way in self.ways:
            if self.walker.acts(way.e, finding.step.after):
                variables = finding.step.written if way.lost is None else finding.step.after
                finding.errors[way.e] = self._compared(way, variables)
        return {e for e, (error, floor) in finding.errors.items() if error > SAFE * floor}

    def _compared(self, way: _Way, variables: Sequence[int]) -> tuple[float, float]:
        return self.walker.compare(way.e, way.now, self.clean, variables, self.floors)

    def _charge(self, way: _Way, finding: Finding, broken: set[int]) -> None:
        """Charges the error of one element behind a step to its owner, and starts its run again behind it."""
        e, owner = way.e, finding
        if e in finding.errors:
            if way.lost is not None and e in broken:
                owner = way.lost.owner(e, finding)
            way.lost, self.walker.beyond[e] = None, Beyond(self.walker.frame, e)
        else:
            way.lost = way.lost or _Lost()
            if self._is_wrong(way, way.lost, finding):
                if self._healing(finding.step, [way]) is None:
                    broken.add(e)
                    owner = self._owner_there(way, way.lost, finding)
                else:
                    way.lost.blind = True
        if e in broken:
            owner.broken.add(e)
            finding.pictures[e] = _picture(self.walker, finding, e, way.now, self.clean)
            if owner is not finding:
                owner.errors.setdefault(e, finding.errors.pop(e))
        if e in broken or (self.every_cut and e in finding.errors):
            self._restart(way, owner, finding.step)

    def _owner_there(self, way: _Way, lost: _Lost, finding: Finding) -> Finding:
        """Returns to whom an error belongs behind a step while there are activations on which the element does not act.

        Where the step brings samples back to a finer grid, it belongs to a step that lost them, as where the element acts.
        """
        read, written = ([v for v in own if self.walker.layout(v).base] for own in (finding.step.read, finding.step.written))
        spacings = [[self.walker.frame.lattice(self.walker.layout(v))[0] for v in own] for own in (read, written)]
        finer = any(b < a for one in spacings[0] for two in spacings[1] for a, b in zip(one, two, strict=True))
        return lost.owner(way.e, finding) if self.walker.frame.is_grid and finer else finding

    def _is_wrong(self, way: _Way, lost: _Lost, finding: Finding) -> bool:
        """Follows an element through a step behind which it has no action; tells whether its run is wrong there."""
        step, beyond, layout = finding.step, self.walker.beyond[way.e], self.walker.layout
        acted_on = [v for v in step.read if layout(v).base and self.walker.acts(way.e, [v])]
        if (acted_on or self.walker.acts(way.e, step.read)) and not self.walker.acts(way.e, step.written):
            lost.findings.append(finding)
            finding.lost.add(way.e)
        lost.blind = lost.blind or not all(beyond.follows(layout(v)) for v in step.after)
        if lost.blind:
            return False
        for v in step.after:
            beyond.enter(layout(v), self.clean[v], way.now[v], SAFE * self.floors[v])
        error, floor = self._compared(way, step.written)
        if error > SAFE * floor:
            finding.errors[way.e] = error, floor
        return error > SAFE * floor

    def _restart(self, way: _Way, owner: Finding, step: Step) -> None:
        """Goes on from the moved clean activations; the change of the results is the owner's term."""
        taken = {v: way.now[v] for v in step.after if self.walker.layout(v).chosen}
        image = self.walker.image(way.e, self.clean, {**self.moved[way.e], **taken}, step.after)
        if self.spared is None:
            before = way.ahead or self._results(way.now)
            self._settle_with(way, before)
            way.owner, way.before = owner, before
        elif way.e not in self.spared[len(self.findings) - 1]:
            pairs = zip(way.ahead or self._results(way.now), self._results(image), strict=True)
            _add(owner, way.e, [gap(b, a) for b, a in pairs])
        way.now = image

    def _results(self, now: Values) -> list[np.ndarray]:
        """Returns the results of going on from the present cut to the end."""
        far = self.walker.run(self.later, now, keep=self.walker.results.__contains__)
        return [np.asarray(far[v]) for v in self.walker.results]

    def _settle_with(self, way: _Way, results: list[np.ndarray]) -> None:
        """Adds the term of the latest restart of an element, once the results of going on from there are known."""
        if way.owner is not None:
            _add(way.owner, way.e, [gap(b, a) for b, a in zip(way.before, results, strict=True)])

    def _healing(self, step: Step, ways: list[_Way]) -> list[Step] | None:
        """Returns the step and those behind it with which all errors vanish, on the data and on random activations."""
        walker = self.walker
        places = [j for j, other in enumerate(self.later) if all(walker.acts(way.e, other.after) for way in ways)]
        for way in ways:
            far = walker.run(self.later, way.now) if places else {}
            way.ahead = [np.asarray(far[v]) for v in walker.results] if far else None
            places = [j for j in places if self._vanishes(way.e, far, self.later[j])]
        if not ways or not places:
            return None
        block, elements = [step, *self.later[: places[0] + 1]], {way.e for way in ways}
        confirmed = all(_confirmed(walker, own, block, elements, self.clean) for own in (walker, *self.others))
        return block if confirmed else None

    def _vanishes(self, e: int, far: Values, step: Step) -> bool:
        if not all(map(functools.partial(self._may_vanish, e, far), step.after)):
            return False
        error, floor = self.walker.compare(e, far, self.clean, step.after, self.floors)
        return error <= SAFE * floor

    def _may_vanish(self, e: int, far: Values, v: int) -> bool:
        """Tells whether a run has an activation as large as the clean one, where an element only moves its entries."""
        clean, layout = self.clean[v], self.walker.layout(v)
        if layout.custom is not None or mixes(layout) or not self.walker.frame.covers(e, layout):
            return True
        if v not in self.sizes:
            self.sizes[v] = plain_size(clean)
        return abs(plain_size(far[v]) - self.sizes[v]) <= (SAFE * self.floors[v] + ROUNDED) * self.sizes[v]

    def end(self) -> Walk:
        """Returns what was found."""
        walker, clean = self.walker, self.clean
        total = {
            e: [walker.difference(e, moved, clean, v) for v in walker.results]
            for e, moved in self.moved.items()
            if moved and walker.acts(e, walker.results)
        }
        for way in self.ways:
            self._settle_with(way, [np.asarray(way.now[v]) for v in walker.results])
            if way.lost is not None and way.lost.blind and way.lost.findings:
                way.lost.findings[0].broken.add(way.e)
        if self.spared is None:
            for e, parts in total.items():
                _settle(self.findings, e, parts)
        scale = sum(finite_size(clean[v]) ** 2 for v in walker.results) ** 0.5 or 1.0
        errors = {e: float(np.sqrt(sum(np.sum(np.abs(d) ** 2) for d in parts))) / scale for e, parts in total.items()}
        return Walk(self.findings, walker.statics, clean, self.moved, self.floors, total, errors, walker.results)


def _ties(step: Step, floors: dict[int, float]) -> bool:
    """Tells whether rounding alone changes a choice that the step makes."""
    chooses = any(equation.name in CHOOSING for equation in step.equations)
    known = max((floors[v] for v in step.before if v in floors), default=0.0)
    return chooses and known < FLIPPED < max((floors[v] for v in step.written), default=0.0)


def _confirmed(walker: Walker, own: Walker, block: list[Step], broken: set[int], clean: Values) -> bool:
    """Tells whether a block commutes with the elements on random activations as well, with the parameters of ``own``."""
    before, after = block[0].before, block[-1].after
    start: Values = {}
    for v in before:
        value = np.asarray(clean[v])
        if jnp.issubdtype(value.dtype, jnp.inexact):
            noise = walker.random.standard_normal(value.shape) * (float(np.std(np.real(widened(value)))) or 1.0)
            value = noise.astype(value.dtype)
        start[v] = value
    reference: Values | None = None
    for e in broken:
        if not all(walker.frame.covers(e, walker.layout(v)) for v in (*before, *after)):
            continue
        if reference is None:
            reference = own.run(block, start)
        run = own.run(block, walker.image(e, start, start, before))
        for v in after:
            if relative(walker.difference(e, run, reference, v), reference[v]) > 1e4 * eps_of(reference[v]):
                return False
    return True


def _add(owner: Finding, e: int, term: list[np.ndarray]) -> None:
    old = owner.terms.get(e)
    owner.terms[e] = term if old is None else [a + b for a, b in zip(old, term, strict=True)]


def _settle(findings: list[Finding], e: int, total: list[np.ndarray]) -> None:
    """Adds the rounding that no step was charged with to the last step with a term, so that the sum is exact."""
    charged = [f for f in findings if e in f.terms] or findings[-1:]
    terms = [f.terms[e] for f in findings if e in f.terms]
    rest = [part - sum((term[k] for term in terms), np.zeros_like(part)) for k, part in enumerate(total)]
    last = charged[-1]
    last.terms[e] = [a + b for a, b in zip(last.terms[e], rest, strict=True)] if e in last.terms else rest


def _picture(walker: Walker, finding: Finding, e: int, run: Values, clean: Values) -> dict[int, np.ndarray]:
    """Returns the mean squared error at every place of the base, for every activation that has one."""
    result = {}
    for v in finding.step.written:
        layout = walker.layout(v)
        rest = tuple(k for k, axis in enumerate(layout.axes) if not any(isinstance(a, Base) for a in axis))
        if layout.base:
            result[v] = np.mean(np.abs(walker.difference(e, run, clean, v)) ** 2, axis=rest)
    return result
