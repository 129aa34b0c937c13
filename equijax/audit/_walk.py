"""Walking through a network once for every element: local errors, healing, and the terms of the telescoping sum.

For every element a run starts from the moved input. At each cut its activations are compared with the moved activations of
the clean run. Where they differ, the step in front of the cut is broken, and the run starts again from the moved clean
activations; what that changes at the output is the step's term. The terms add up to the end-to-end error exactly.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from equijax.audit._beyond import Beyond
from equijax.audit._error import gap, widened
from equijax.audit._layout import Base, Layout
from equijax.audit._network import Network, Step, joined
from equijax.nn._jaxpr import Equation, Values, evaluate

#: An error up to this many times its floor is rounding.
SAFE = 10.0

#: Where rounding alone changes an activation by more than this part, a choice has flipped.
FLIPPED = 1e-4

#: Operations that make a choice.
CHOOSING = frozenset("argmax argmin sort top_k eq ne gt ge lt le sign floor ceil round".split())


@dataclasses.dataclass
class Finding:
    """What was measured at one step.

    Attributes:
      step: the step.
      errors: element → (relative error, floor) behind the step.
      broken: the elements whose error is above the floor and does not heal.
      lost: the elements that have no action behind the step although they had one before.
      terms: element → what the step contributes to each result.
      healed: True where the step is several ones of which only the whole is exact.
      tie: True where rounding alone changes the step's output by far more than rounding.
      vain: True where nothing was tried: no element changes what enters the step, or no other input what leaves it.
      pictures: broken element → variable → mean squared error at every place.
    """

    step: Step
    errors: dict[int, tuple[float, float]] = dataclasses.field(default_factory=dict)
    broken: set[int] = dataclasses.field(default_factory=set)
    lost: set[int] = dataclasses.field(default_factory=set)
    terms: dict[int, list[np.ndarray]] = dataclasses.field(default_factory=dict)
    healed: bool = False
    tie: bool = False
    vain: bool = False
    pictures: dict[int, dict[int, np.ndarray]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Walk:
    """The result of walking through a network with given parameters.

    Attributes:
      findings: one for each step, in order.
      statics: the values of everything that does not depend on the input.
      clean: activations at the cuts.
      moved: element → activations of the run that starts from the moved input.
      floors: variable → relative change by rounding alone.
      total: element → end-to-end difference of each result; only elements that act on all of them.
      errors: element → relative end-to-end error.
    """

    findings: list[Finding]
    statics: Values
    clean: Values
    moved: dict[int, Values]
    floors: dict[int, float]
    total: dict[int, list[np.ndarray]]
    errors: dict[int, float]


class Walker:
    """Runs a network and compares its activations.

    Args:
      network: the network.
      state: leaves of its state.
      seed: of the random signs and activations.
    """

    def __init__(self, network: Network, state: Sequence[Any], seed: int = 0):
        self.network, self.frame = network, network.frame
        self.statics = network.statics(state)
        self.random = np.random.default_rng(seed)
        self.results = tuple(dict.fromkeys(v for v in network.trace.result_variables if v in network.depends))
        self.kept = {v for step in network.steps for v in step.after}
        self.beyond = [Beyond(self.frame, e) for e in range(self.frame.count)]
        program = network.trace.program
        floats = [v for v in network.trace.x_variables if jnp.issubdtype(program.avals[v].dtype, jnp.inexact)]
        self.of_floats = program.depends_on(floats)

    def run(self, steps: Iterable[Step], start: Values, jitter: bool = False) -> Values:
        """Evaluates steps from the given activations and returns those at their cuts."""
        values: Values = {**self.statics, **start}
        kept: Values = dict(start)
        for step in steps:
            if jitter:
                for equation in step.equations:
                    self._jittered(equation, values)
            else:
                evaluate(step.equations, values)
            kept.update({v: values[v] for v in step.written})
            alive = set(step.after)
            for v in [v for v in values if v not in alive and v not in self.statics]:
                del values[v]
        return kept

    def _jittered(self, equation: Equation, values: Values) -> None:
        """Evaluates an equation, and multiplies every float that it returns by 1 ± eps."""
        evaluate([equation], values)
        for v in equation.outputs:
            dtype = self.network.trace.program.avals[v].dtype
            if jnp.issubdtype(dtype, jnp.inexact):
                exact = np.asarray(values[v])
                signs = self.random.integers(0, 2, exact.shape, np.int8) * 2 - 1
                values[v] = (exact * (1 + float(jnp.finfo(dtype).eps) * signs)).astype(exact.dtype)

    def image(self, e: int, clean: Values, other: Values, variables: Iterable[int]) -> Values:
        """Returns the moved clean activations; where they are not known (content that a crop left out), ``other``'s."""
        result: Values = {}
        for v in variables:
            value, known = self.beyond[e].move(clean[v], self.layout(v))
            result[v] = value if known is None else np.where(known, value, np.asarray(other[v]))
        return result

    def layout(self, v: int) -> Layout:
        """Returns the layout of a variable at a cut."""
        layout = self.network.layouts[v]
        if layout is None:
            raise ValueError(f"variable {v} has no known action")
        return layout

    def acts(self, e: int, variables: Iterable[int]) -> bool:
        """Tells whether an element has an action on all of these activations."""
        return all(self.frame.acts(e, self.network.layouts.get(v)) for v in variables)

    def difference(self, e: int, run: Values, clean: Values, v: int) -> np.ndarray:
        """Returns a run's activation minus the moved clean one, 0 where that is not known."""
        value, known = self.beyond[e].move(clean[v], self.layout(v))
        result = gap(run[v], value)
        return result if known is None else np.where(known, result, 0.0)

    def compare(
        self, e: int, run: Values, clean: Values, variables: Iterable[int], floors: dict[int, float]
    ) -> tuple[float, float]:
        """Returns the relative error of the variable that is worst in terms of its floor, and that floor."""
        worst = (0.0, float(np.finfo(np.float64).eps))
        for v in variables:
            error = _relative(self.difference(e, run, clean, v), clean[v])
            if error / floors[v] >= worst[0] / worst[1]:
                worst = (error, floors[v])
        return worst

    def floor_of(self, clean: Values, jittered: Values) -> dict[int, float]:
        """Returns for every activation the relative change by rounding alone; at least one unit of rounding."""
        result = {}
        for v in clean:
            if v in jittered:
                dtype = np.asarray(clean[v]).dtype
                eps = float(jnp.finfo(dtype).eps) if jnp.issubdtype(dtype, jnp.inexact) else 1e-12
                result[v] = max(_relative(gap(jittered[v], clean[v]), clean[v]), eps)
        return result


def _relative(difference: np.ndarray, scale: Any) -> float:
    wide = widened(scale)
    size = float(np.linalg.norm(np.where(np.isinf(wide), 0.0, wide)))
    return float(np.linalg.norm(difference)) / (size or 1.0)


def walk(
    network: Network, state: Sequence[Any], x: Sequence[Any], moved_x: Sequence[Sequence[Any]], steps: Sequence[Step], *,
    jittered: Sequence[Any] | None = None, heal: bool = True, every_cut: bool = False, seed: int = 0,
) -> Walk:  # fmt: skip
    """Measures every step on every element.

    Args:
      network: the network.
      state: leaves of the state to use.
      x: leaves of the input.
      moved_x: for each element the leaves of the moved input.
      steps: the steps, in order.
      jittered: leaves of another state, under which steps have to undo each other's errors too.
      heal: join steps whose errors undo each other.
      every_cut: start again at every cut, not only behind broken steps.
      seed: of the random numbers.
    """
    walker = Walker(network, state, seed)
    others = [] if jittered is None else [Walker(network, jittered, seed)]
    start = dict(zip(network.trace.x_variables, x, strict=True))
    clean = walker.run(steps, start)
    floors = walker.floor_of(clean, walker.run(steps, start, jitter=True))
    other = walker.run(steps, dict(zip(network.trace.x_variables, map(_another, x), strict=True)))
    runs = [walker.run(steps, dict(zip(network.trace.x_variables, leaves, strict=True))) for leaves in moved_x]
    moved = {e: dict(run) for e, run in enumerate(runs)}
    pending, findings = list(steps), []
    lost: dict[int, _Lost] = {}
    while pending:
        finding = Finding(pending.pop(0))
        broken = _judge(walker, finding, runs, clean, floors)
        present = {e for e in broken if e not in lost}
        end = _healing(walker, others, finding.step, pending, present, runs, clean, floors) if heal and present else None
        if end is not None:
            finding = Finding(joined([finding.step, *pending[: end + 1]]), healed=True)
            del pending[: end + 1]
            broken = _judge(walker, finding, runs, clean, floors)
        finding.tie = _ties(finding.step, floors)
        finding.vain = _vain(walker, finding.step, clean, other, floors)
        findings.append(finding)
        for e in range(len(runs)):
            owner = finding
            if e in finding.errors:
                behind = lost.pop(e, None)
                walker.beyond[e] = Beyond(walker.frame, e)
                owner = behind.owner(finding) if behind is not None and e in broken else finding
            else:
                behind = lost.setdefault(e, _Lost(e))
                wrong = _followed(walker, behind, finding, runs[e], clean, floors)
                if wrong and not (
                    heal and _healing(walker, others, finding.step, pending, {e}, runs, clean, floors) is not None
                ):
                    broken.add(e)
                elif wrong:
                    behind.blind = True
            if e in broken:
                owner.broken.add(e)
                finding.pictures[e] = _picture(walker, finding, e, runs[e], clean)
                if owner is not finding:
                    owner.errors.setdefault(e, finding.errors.pop(e))
            if e in broken or (every_cut and e in finding.errors):
                before = [np.asarray(runs[e][v]) for v in walker.results]
                runs[e] = _restarted(walker, e, finding.step, pending, runs[e], clean, moved[e])
                _add_term(walker, owner, e, before, runs[e])
    total = {
        e: [walker.difference(e, moved[e], clean, v) for v in walker.results]
        for e in range(len(runs))
        if walker.acts(e, walker.results)
    }
    for e, behind in lost.items():
        if behind.blind and behind.findings:
            behind.findings[0].broken.add(e)
    for e, parts in total.items():
        _settle(findings, e, parts)
    scale = float(np.sqrt(sum(np.sum(np.abs(widened(clean[v])) ** 2) for v in walker.results))) or 1.0
    errors = {e: float(np.sqrt(sum(np.sum(np.abs(d) ** 2) for d in parts))) / scale for e, parts in total.items()}
    return Walk(findings, walker.statics, clean, moved, floors, total, errors)


@dataclasses.dataclass
class _Lost:
    """An element on its way through activations on which it has no action.

    Attributes:
      e: the number of the element.
      findings: the steps that read only activations on which it acts, and write such on which it does not.
      blind: True where the moved copy can't be followed.
    """

    e: int
    findings: list[Finding] = dataclasses.field(default_factory=list)
    blind: bool = False

    def owner(self, finding: Finding) -> Finding:
        """Returns to whom an error belongs that is seen where the element acts again.

        Behind layers that choose their samples by the data, and chose the right ones, it belongs to the step that brings the
        samples back to wrong places.
        """
        guilty = [f for f in self.findings if self.e in f.broken] or self.findings[: int(self.blind)]
        return guilty[0] if guilty else finding


def _followed(walker: Walker, lost: _Lost, finding: Finding, run: Values, clean: Values, floors: dict[int, float]) -> bool:
    """Follows an element through a step behind which it has no action; tells whether the moved copy is wrong there."""
    e, step, beyond = lost.e, finding.step, walker.beyond[lost.e]
    if walker.acts(e, step.read) and not walker.acts(e, step.written):
        lost.findings.append(finding)
        finding.lost.add(e)
    lost.blind = lost.blind or not all(beyond.follows(walker.layout(v)) for v in step.after)
    if lost.blind:
        return False
    for v in step.after:
        beyond.enter(walker.layout(v), clean[v], run[v], SAFE * floors[v])
    error, floor = walker.compare(e, run, clean, step.written, floors)
    if error > SAFE * floor:
        finding.errors[e] = error, floor
    return error > SAFE * floor


def _ties(step: Step, floors: dict[int, float]) -> bool:
    """Tells whether rounding alone changes a choice that the step makes."""
    chooses = any(equation.name in CHOOSING for equation in step.equations)
    known = max((floors[v] for v in step.before if v in floors), default=0.0)
    return chooses and known < FLIPPED < max((floors[v] for v in step.written), default=0.0)


def _another(leaf: Any) -> Any:
    """Returns other floats for an input, as large as they are; whole numbers and masks stay."""
    value = np.asarray(leaf)
    if not jnp.issubdtype(value.dtype, jnp.inexact):
        return leaf
    noise = np.random.default_rng(2).standard_normal(value.shape) * (float(np.std(widened(value))) or 1.0)
    return jnp.asarray((value + noise).astype(value.dtype), value.dtype)


def _vain(walker: Walker, step: Step, clean: Values, other: Values, floors: dict[int, float]) -> bool:
    """Tells whether this input can't judge a step: no element changes what enters it, or no input what leaves it."""

    def differs(v: int, changed: Any) -> bool:
        return _relative(gap(changed, clean[v]), clean[v]) > SAFE * floors[v]

    def moves(e: int, v: int, value: Any) -> bool:
        layout = walker.layout(v)
        return layout.numbers is None and bool((walker.frame.move(e, value, layout)[0] != value).any())

    free = [v for v in step.written if v in walker.of_floats and not walker.layout(v).chosen]
    if free and not any(differs(v, other[v]) for v in free):
        return True
    pairs = [(e, v) for e in range(walker.frame.count) if walker.acts(e, step.read) for v in step.read]
    if any(differs(v, walker.frame.move(e, clean[v], walker.layout(v))[0]) for e, v in pairs):
        return False
    random = {v: np.random.default_rng(0).standard_normal(np.shape(clean[v])) for v in step.read}
    return any(moves(e, v, random[v]) for e, v in pairs)


def _eps(value: Any) -> float:
    dtype = np.asarray(value).dtype
    return float(jnp.finfo(dtype).eps) if jnp.issubdtype(dtype, jnp.inexact) else 1e-12


def _judge(walker: Walker, finding: Finding, runs: list[Values], clean: Values, floors: dict[int, float]) -> set[int]:
    """Compares all runs behind a step; returns the elements whose error is above the floor."""
    for e, run in enumerate(runs):
        if walker.acts(e, finding.step.after):
            finding.errors[e] = walker.compare(e, run, clean, finding.step.after, floors)
    return {e for e, (error, floor) in finding.errors.items() if error > SAFE * floor}


def _healing(
    walker: Walker,
    others: list[Walker],
    step: Step,
    later: list[Step],
    broken: set[int],
    runs: list[Values],
    clean: Values,
    floors: dict[int, float],
) -> int | None:
    """Returns the number of the later step behind which all errors vanish, on the data and on random activations."""
    for j, other in enumerate(later):
        if not all(walker.acts(e, other.after) for e in broken):
            continue
        pairs = [walker.compare(e, runs[e], clean, other.after, floors) for e in broken]
        if all(error <= SAFE * floor for error, floor in pairs):
            block = [step, *later[: j + 1]]
            return j if all(_confirmed(walker, own, block, broken, clean) for own in (walker, *others)) else None
    return None


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
            if _relative(walker.difference(e, run, reference, v), reference[v]) > 1e4 * _eps(reference[v]):
                return False
    return True


def _restarted(walker: Walker, e: int, step: Step, later: list[Step], run: Values, clean: Values, moved: Values) -> Values:
    """Returns the run that goes on behind ``step`` from the moved clean activations."""
    taken = {v: run[v] for v in step.after if walker.layout(v).chosen}
    start = walker.image(e, clean, {**moved, **taken}, step.after)
    return {**run, **walker.run(later, start)}


def _add_term(walker: Walker, owner: Finding, e: int, before: list[np.ndarray], run: Values) -> None:
    term = [widened(b) - widened(run[v]) for b, v in zip(before, walker.results, strict=True)]
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
