"""Reading off the steps of a network which elements they lose, and why; no data, no pass."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from equijax.audit._atoms import Base, Still, bases
from equijax.audit._causal import padding, placed, varying
from equijax.audit._error import gap
from equijax.audit._frame import Frame
from equijax.audit._layout import Layout
from equijax.audit._mend import Replay
from equijax.audit._network import Network
from equijax.audit._report import Cause
from equijax.audit._rules import ELEMENTWISE, ORDERED
from equijax.audit._rules_pick import writes_at_places
from equijax.audit._sentences import cause
from equijax.audit._static_report import StaticReport, StaticRow
from equijax.audit._steps import READS, Step
from equijax.audit._tried import Tried, try_fibres
from equijax.nn import Layer
from equijax.nn._choosing import chooses
from equijax.nn._jaxpr import Equation

#: What is read off a step: the kind of a cause, the elements that it loses, and why in words.
Found = tuple[str, list[int], str]

#: Why padding breaks a symmetry, and why an operand does that does not move along.
PADDED = {"border": "pads with zeros", "order": "pads with zeros in front only"}
PLACED = {"position": "reads an operand that depends on the place", "order": "hides later places by a mask"}


class Reader:
    """Reads the steps of a network, and keeps the reason why each element is lost first.

    Args:
      network: the network.
      tried: the shifts with which every point element is tried.
    """

    def __init__(self, network: Network, tried: Sequence[tuple[int, ...]] = ()):
        self.network, self.tried = network, tried
        self.frame: Frame = network.frame
        self.bordered = self.frame.bordered()
        self.alive = {e: "" for e in range(self.frame.count)}
        self.open = {e: "" for e in range(self.frame.count)}
        self.shift_reason = ""
        self.spacing = [1] * (len(self.frame.centre) if self.frame.is_grid else 0)
        self.shifts_lost = not self.frame.wraps

    def report(self, name: str) -> StaticReport:
        """Reads all steps."""
        rows, limits = [], []
        if self.frame.is_grid and not self.frame.wraps:
            self.shift_reason = "the array has a border"
        covered = 0
        for number, step in enumerate(self.network.steps):
            kinds: dict[str, Cause] = {}
            for kind, elements, why in self.findings(step):
                found = cause(kind, self.network, step)  # pyright: ignore[reportArgumentType]
                kinds.setdefault(
                    kind, dataclasses.replace(found, sentence=f"{found.sentence} ({why})" if why else found.sentence)
                )
                for e in elements:
                    self.alive[e] = self.alive[e] or f"`{step.name}` {why or found.sentence}"
                if kind in ("border", "position", "dense", "order", "randomness") and not self.shifts_lost:
                    self.shifts_lost, self.shift_reason = True, f"`{step.name}` {why or found.sentence}"
            tried, more = (None, 0) if kinds or covered else try_fibres(self.network, self.network.steps[number:])
            covered = max(covered - 1, more)
            kinds.update(self._take(tried, step) if tried is not None else {})
            text = "; ".join(str(self.network.layouts.get(v)) for v in step.written)
            rows.append(StaticRow(step.name, text, tuple(kinds.values())))
            if (
                any(self.network.layouts.get(v) is None for eq in step.equations for v in eq.outputs)
                and len(step.members) > 1
            ):
                limits.append(step.name)
        kept, lost, unknown = self._points()
        steps = tuple(None if self.shifts_lost else s for s in self.spacing)
        group = repr(self.frame.group)
        return StaticReport(name, group, steps, kept, lost, self.shift_reason, tuple(rows), tuple(limits), unknown)

    def _points(self) -> tuple[tuple[str, ...], dict[str, str], dict[str, str]]:
        """Joins the elements that differ by a shift: a point element is kept, or not known, if one of them is."""
        kept, lost, unknown = [], {}, {}
        many = len(self.tried) if self.frame.is_grid else 1
        for first in range(0, self.frame.count - (len(self.frame.centre) if self.frame.is_grid else 0), many):
            good = [e for e in range(first, first + many) if not self.alive[e]]
            sure = [e for e in good if not self.open[e]]
            if sure:
                kept.append(self.frame.label(sure[0]))
            elif good:
                unknown[self.frame.label(good[0])] = self.open[good[0]]
            else:
                lost[self.frame.label(first)] = self.alive[first]
        return tuple(kept), lost, unknown

    def _take(self, tried: Tried, step: Step) -> dict[str, Cause]:
        """Keeps what a trial of a step has found; returns its cause, or nothing where it is not known to do harm."""
        why = f"`{step.name}` {tried.reason}"
        causes: dict[str, Cause] = {}
        if tried.kind is not None:
            found = cause(tried.kind, self.network, step)
            causes[tried.kind] = found if tried.kind != "unknown" else dataclasses.replace(found, sentence=why)
            why = causes[tried.kind].sentence
        reasons = self.open if tried.kind is None else self.alive
        for e in self._with_shifts(tried.elements):
            reasons[e] = reasons[e] or why
        if any(self.frame.is_shift(e) for e in tried.elements) and not self.shifts_lost:
            self.shifts_lost, self.shift_reason = True, why
        return causes

    def _with_shifts(self, elements: Sequence[int]) -> list[int]:
        """Returns some elements, and those that differ from them by a shift."""
        if not self.frame.is_grid:
            return list(elements)
        points = {int(self.frame.point[e]) for e in elements if not self.frame.is_shift(e)}
        return [e for e in self.alive if e in elements or int(self.frame.point[e]) in points]

    def doubt(self, step: Step) -> str:
        """Returns what speaks against a step, in words; ``""`` where nothing does, and of layers that state their law."""
        if self._is_ours(step):
            return ""
        return "; ".join(dict.fromkeys(why or kind for kind, elements, why in self.findings(step) if elements))

    def findings(self, step: Step) -> Iterator[Found]:
        """Yields what a step does to the elements."""
        ours = self._is_ours(step)  # how they choose and score their samples is no fault
        yield from () if ours else self._places(step)
        everything = list(self.alive)
        turned = [e for e in everything if not self.frame.is_shift(e)]
        for eq in step.equations:
            layout, out = (self.network.layouts.get(v) for v in (eq.inputs[0], eq.outputs[0]))
            operands = self.network.operands(eq, self.network.layouts)
            if eq.name == "concatenate" or (layout is not None and layout.base and eq.inputs[0] in self.network.depends):
                yield from self._window(eq, turned, step)
            if ours:
                continue
            if layout is not None and layout.base and eq.inputs[0] in self.network.depends:
                if eq.name in ORDERED and eq.name != "rev" and self._along_base(eq, layout):
                    yield "order", everything, f"has a {eq.name} along a moved axis"
            if layout is not None and layout.base and self.frame.wraps:
                yield from self._mirrors(eq, layout, operands, step)
                yield from self._sums_up_a_part(eq, operands)
            if self._mixes_places(eq, operands, out):
                yield "dense", everything, "has a weight of its own for every place"
            drawn = self.network.random - self.network.depends
            if any(v in drawn for v in eq.inputs):
                yield "randomness", everything, "draws random numbers"
                continue
            numbers = any(o.layout is not None and o.layout.numbers is not None for o in operands)  # beside their range
            if out is not None and out.base and not numbers and (eq.name in ELEMENTWISE or eq.name == "concatenate"):
                for i, (v, operand) in enumerate(zip(eq.inputs, operands, strict=True)):
                    skipped = eq.params["dimension"] if eq.name == "concatenate" else None
                    elements = None if v in self.network.counts else self._placed(operand, out, skipped)
                    if elements is not None:
                        for kind in ("position",) if skipped is not None else placed(eq, operands, i, out):
                            yield kind, elements, PLACED[kind]
        yield from self._ignores_choice(step)
        for v in step.written if not self.chooses(step) else ():
            layout = self.network.layouts.get(v)
            moved = layout is not None and bool(layout.base)
            gone = [e for e in everything if moved and self.network.acts(e, step.read) and not self.frame.acts(e, layout)]
            finer = self._spacings([v])
            if any(new > old for new, old in zip(finer, self._spacings(step.read), strict=True)):
                for k, new in enumerate(finer):
                    self.spacing[k] = math.lcm(self.spacing[k], new)
                why = f"subsamples by {max(finer)}" + self._parity(step)
                if not self.shift_reason:
                    self.shift_reason = f"`{step.name}` {why}"
                yield "phase", [e for e in gone if e in turned], why
            elif [e for e in gone if e in turned]:
                yield "phase", [e for e in gone if e in turned], "turns the samples onto other places"

    def chooses(self, step: Step) -> bool:
        """Tells whether a step is a layer of this library that chooses its samples by the data, and so keeps every shift."""
        return self._is_ours(step) and any(chooses(self.network.trace.modules.get(call.path)) for call in step.calls)

    def _ignores_choice(self, step: Step) -> Iterator[Found]:
        """Yields that samples are brought back to a finer grid, not to where the layers before took them from."""
        read, written = ([self.network.layouts.get(v) for v in own] for own in (step.read, step.written))
        told = any(layout is not None and layout.chosen for layout in read)
        on_grid = any(layout is not None and layout.base for layout in written)
        coarse, fine = self._spacings(step.read), self._spacings(step.written)
        if told or not on_grid or not any(b < a for a, b in zip(coarse, fine, strict=True)):
            return
        before = itertools.takewhile(lambda other: other is not step, self.network.steps)
        if not any(map(self.chooses, before)):
            return
        for k, spacing in enumerate(coarse):
            self.spacing[k] = math.lcm(self.spacing[k], spacing)
        why = "brings samples back without looking where they were chosen from"
        self.shift_reason = self.shift_reason or f"`{step.name}` {why}"
        yield "phase", [e for e in self.alive if self.frame.is_shift(e) and not self.network.acts(e, step.read)], why

    def _is_ours(self, step: Step) -> bool:
        """Tells whether a step is a layer of this library, and nothing else."""
        layers = [isinstance(self.network.trace.modules.get(call.path), Layer) for call in step.calls]
        return all(layers) and 0 < len(layers) == len(step.members)

    def _parity(self, step: Step) -> str:
        for eq in step.equations:
            if eq.name == "conv_general_dilated":
                spec, avals = eq.params["dimension_numbers"], self.network.trace.program.avals
                kernel = [avals[eq.inputs[1]].shape[k] for k in spec.rhs_spec[2:]]
                sizes = [avals[eq.inputs[0]].shape[k] for k in spec.lhs_spec[2:]]
                parity = "an even" if all(n % 2 == 0 for n in sizes) else "an odd"
                return f" with a {'×'.join(map(str, kernel))} kernel on {parity} size"
        return ""

    def _spacings(self, variables: Sequence[int]) -> list[int]:
        """Returns how far the samples of some activations are apart along each axis; the coarsest of them counts."""
        layouts = [self.network.layouts.get(v) for v in variables]
        found = [[self._spacing(a, k) for k in range(len(self.spacing))] for a in layouts if a is not None]
        return [max(column) for column in zip([1] * len(self.spacing), *found, strict=True)]

    def _spacing(self, layout: Layout, axis: int) -> int:
        found = [abs(a.spacing) for a in layout.base if a.axis == axis]
        return max(1, math.ceil(min(found))) if found else 1

    def _window(self, eq: Equation, turned: list[int], step: Step) -> Iterator[Found]:
        if any(map(self._folds, step.equations)):
            return  # what is padded is put on top of what lies across the border
        if self.frame.wraps:
            shifts = [e for e in self.alive if self.frame.is_shift(e) or self.frame.shift[e].any()]
            out = self.network.layouts.get(eq.outputs[0])
            off = [e for e in turned if out is not None and not self.bordered.maps(e, out)]
            for kind in dict.fromkeys(padding(self.network, eq).values()):
                yield kind, [*shifts, *off], PADDED[kind]
        ours = any(isinstance(self.network.trace.modules.get(call.path), Layer) for call in step.calls)
        if eq.name == "conv_general_dilated" and eq.inputs[1] in self.network.known and not ours:
            kernel = np.asarray(self.network.known[eq.inputs[1]]).astype(np.float64)
            mixed, own = self._mixed(eq, kernel), {int(self.frame.point[e]): e for e in turned}
            defects = {h: self._defect(eq, mixed, e) for h, e in own.items()}  # the same with every shift
            found = [e for e in turned if defects[int(self.frame.point[e])] > 1e-5]
            if found:
                worst = self._defect(eq, kernel, own[max(defects, key=lambda h: defects[h])])
                yield "kernel", found, f"has a kernel with a defect of {worst:.2g}"

    def _mixed(self, eq: Equation, kernel: np.ndarray) -> np.ndarray:
        """Returns a random mixture of the kernels of all channels that the group leaves alone, as a kernel of one channel.

        Where they are shared it is, and where one is not it is not, but for a set of mixtures of measure 0.
        """
        spec, layouts = eq.params["dimension_numbers"], self.network.layouts
        into, out = layouts.get(eq.inputs[0]), layouts.get(eq.outputs[0])
        sides = [] if into is None or out is None else [into.axes[spec.lhs_spec[1]], out.axes[spec.out_spec[1]]]
        if not sides or not all(isinstance(a, Still) for axis in sides for a in axis):
            return kernel
        rows, columns = (
            np.random.default_rng(k).normal(size=kernel.shape[axis]) for k, axis in enumerate(spec.rhs_spec[:2])
        )
        window = np.einsum("oi...,o,i->...", np.moveaxis(kernel, spec.rhs_spec[:2], (0, 1)), rows, columns, optimize=True)
        return np.moveaxis(window[None, None], (0, 1), spec.rhs_spec[:2])

    def _defect(self, eq: Equation, kernel: np.ndarray, e: int) -> float:
        """Returns the distance of a kernel from the shared ones under one element, relative to its size."""
        replay = Replay(self.network, {}, (e,))
        projected = replay.nearest_kernel(eq, kernel)
        return (
            0.0 if projected is None else float(np.linalg.norm(projected - kernel)) / (float(np.linalg.norm(kernel)) or 1.0)
        )

    def _along_base(self, eq: Equation, layout: Layout) -> bool:
        axis = eq.params.get("axis", eq.params.get("dimension"))
        axes = eq.params.get("axes", (axis,) if axis is not None else range(len(layout.axes)))
        moved = any(isinstance(a, Base) for k in axes for a in layout.axes[k])
        ranks = eq.name in ("sort", "top_k", "argmax", "argmin")
        return moved and not (ranks and not self.frame.is_grid) and eq.name not in ("dynamic_slice", "reduce_and")

    def _mixes_places(self, eq: Equation, operands: list[Any], out: Layout | None) -> bool:
        """Tells whether an equation has a weight for every place: a dense layer, or a window as large as the array."""
        left = {(a.copy, a.axis) for a in out.base if a.size > 1} if out is not None else set()
        if eq.name == "conv_general_dilated":
            layout = operands[0].layout
            return layout is not None and not left and any(a.size > 1 for a in layout.base)
        if eq.name != "dot_general":
            return False
        (contracted, _) = eq.params["dimension_numbers"]
        for side in (0, 1):
            layout = operands[side].layout
            if layout is not None and not operands[1 - side].depends:
                summed = {(a.copy, a.axis) for k in contracted[side] for a in layout.axes[k] if isinstance(a, Base)}
                if summed and not (summed <= left and len(layout.base) > len(summed)):
                    return True
        return False

    def _places(self, step: Step) -> Iterator[Found]:
        """Yields single places that are read or written."""
        everything, depends = list(self.alive), self.network.depends
        for v in dict.fromkeys(self.network.read_singly(step.equations)):
            order = self.network.readings[v] >= READS
            why = "reads the moved axis place by place" if order else "reads a single place of a moved axis"
            yield "order" if order else "position", self._moving(v), why
        for eq in step.equations:
            out = self.network.layouts.get(eq.outputs[0])
            moved = out is not None and bool(out.base) and eq.inputs[0] in depends
            if moved and writes_at_places(eq.name, [v in depends for v in eq.inputs]):
                yield "position", everything, "writes at places of its own"

    def _moving(self, v: int) -> list[int]:
        """Returns the elements that move an activation."""
        layout = self.network.layouts.get(v)
        if layout is None or layout.custom is not None:
            return list(self.alive)
        numbers = np.arange(math.prod(layout.shape)).reshape(layout.shape)
        return [
            e
            for e in self.alive
            if not self.frame.acts(e, layout) or (self.frame.move(e, numbers, layout)[0] != numbers).any()
        ]

    def _mirrors(self, eq: Equation, layout: Layout, operands: list[Any], step: Step) -> Iterator[Found]:
        """Yields mirrored values that are put beside others, or combined with them."""
        shifts = [e for e in self.alive if self.frame.is_shift(e)]
        if eq.name == "rev" and any(other.name == "concatenate" for other in step.equations):
            yield "border", shifts, "pads with mirrored values"
        if eq.name in ELEMENTWISE:
            signs = [
                {(k, a.axis, a.spacing > 0) for k, axis in enumerate(o.layout.axes) for a in bases(axis) if a.size > 1}
                for o in operands
                if o.depends and o.layout is not None and o.layout.custom is None
            ]
            if any((k, axis, not up) in two for one in signs for two in signs for k, axis, up in one):
                yield "order", shifts, "combines values with mirrored ones"

    def _sums_up_a_part(self, eq: Equation, operands: list[Any]) -> Iterator[Found]:
        """Yields sums and maxima over a part of a torus, such as unpadded windows leave."""
        if eq.name == "dot_general":
            summed = eq.params["dimension_numbers"][0]
        elif eq.name.startswith("reduce_") and "axes" in eq.params:
            summed = (eq.params["axes"],)
        else:
            return
        for axes, operand in zip(summed, operands, strict=False):
            layout = operand.layout
            if layout is None or layout.custom is not None or not operand.depends:
                continue
            atoms = [a for k in axes for a in bases(layout.axes[k]) if not a.local]
            if any(self._is_part(layout, a) for a in atoms):
                yield "border", [e for e in self.alive if self.frame.is_shift(e)], "sums over a part of the grid"

    def _folds(self, eq: Equation) -> bool:
        """Tells whether an equation puts windows on top of each other, each of which goes around the torus."""
        layout, out = (self.network.layouts.get(v) for v in (eq.inputs[0], eq.outputs[0]))
        if eq.name != "reduce_sum" or layout is None or out is None:
            return False
        gone = [a for k in eq.params["axes"] for a in bases(layout.axes[k])]
        return any((a.axis, a.copy) == (b.axis, b.copy) and a.spacing > b.spacing for a in gone for b in layout.base)

    def _is_part(self, layout: Layout, atom: Base) -> bool:
        """Tells whether an array holds less than a whole turn around the torus along the axis of an atom."""
        own = [a for a in layout.base if (a.axis, a.copy) == (atom.axis, atom.copy)]
        period: Any = self.frame.period
        count = math.prod(a.size for a in own)
        return count > 1 and count * min(abs(a.spacing) for a in own) < period[atom.axis]

    def _placed(self, operand: Any, out: Layout, skipped: int | None = None) -> list[int] | None:
        """Returns the elements that move an operand which varies along the base; None where it does not, or is unknown."""
        axes = varying(operand, out, skipped)
        if not axes:
            return None
        value = np.asarray(operand.value)
        own = Layout(tuple(axis if k in axes else (Still(operand.shape[k]),) for k, axis in enumerate(out.axes)))
        moved = []
        for e in self.alive:
            if self.frame.acts(e, own) and float(np.max(np.abs(gap(self.frame.move(e, value, own)[0], value)))) > 1e-6:
                moved.append(e)
        return moved
