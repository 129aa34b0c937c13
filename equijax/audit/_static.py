"""The audit without data: what can be read off a model's operations and parameters."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import as_shape, float_dtype, function
from equijax._numbers import positive_int
from equijax.actions import Action
from equijax.actions._action import require_action
from equijax.audit._actions import require_action_tree
from equijax.audit._elements import audited_elements
from equijax.audit._explain import network_of
from equijax.audit._frame import Frame
from equijax.audit._layout import Base, Layout, Still
from equijax.audit._mend import Replay
from equijax.audit._network import Network, require_actions
from equijax.audit._report import Cause
from equijax.audit._rules import ELEMENTWISE, ORDERED
from equijax.audit._sentences import cause
from equijax.audit._static_report import StaticReport, StaticRow
from equijax.audit._steps import Step
from equijax.audit._tried import Tried, try_fibres
from equijax.nn import Layer
from equijax.nn._jaxpr import Equation

#: Shifts up to this many are tried together with every point element.
TRIED = 16


def static(
    model: nnx.Module,
    input_shape: Sequence[int],
    *,
    in_action: Action,
    out_action: Any = None,
    actions: Mapping[str, Action] | None = None,
    depth: int | None = None,
    dtype: Any = jnp.float32,
) -> StaticReport:
    """Reads off a model which elements it respects at one input shape, and which layer loses the others; no data, no pass.

    It sees windows, strides, padding, positions, dense layers, orders, and (where parameters are given) unshared kernels.
    What is written by hand on a fibre, or behind an action of your own, is tried on random numbers; where there are no
    parameters to do so, the elements are said to be not known. It can't see ties, the insides of loops, and aliasing:
    :func:`explain` measures these.

    Args:
      model: any module that can be traced; abstract ones too (``nnx.eval_shape``), of which kernels and maps stay unread.
      input_shape: shape of the input with its batch.
      in_action: how the group moves the input.
      out_action: as in :func:`explain`.
      actions: as in :func:`explain`.
      depth: as in :func:`explain`.
      dtype: dtype of the input.

    Returns:
      A :class:`StaticReport`.

    Raises:
      ValueError: as in :func:`explain`.

    Example:
      >>> import equijax as ej
      >>> from flax import nnx
      >>> layer = nnx.Conv(3, 4, (3, 3), strides=2, padding="CIRCULAR", rngs=nnx.Rngs(0))
      >>> class Net(nnx.Module):
      ...     def __init__(self): self.stem = layer
      ...     def __call__(self, x): return self.stem(x).mean((1, 2))
      >>> ej.audit.static(Net(), (1, 8, 8, 3), in_action=ej.GridAction(ej.Translation(2))).steps
      (2, 2)
    """
    function(model, "model", "a Flax module")
    require_action(in_action, "in_action")
    require_action_tree(out_action, "out_action")
    depth = None if depth is None else positive_int(depth, "depth")
    require_actions(actions)
    dtype = float_dtype(dtype, "dtype")
    if in_action.moves is not None:
        raise ValueError(
            f"`in_action` moves a {in_action.moves.__name__}, and `static` reads arrays only. "
            "Use explain(model, graph, in_action=…)."
        )
    shape = as_shape(input_shape, "input_shape")
    in_action = in_action.for_input(jax.ShapeDtypeStruct(shape, dtype))
    elements, tried = _elements(in_action, shape)
    x = jax.ShapeDtypeStruct(shape, dtype)
    network = network_of(model, x, in_action, out_action, actions, elements, depth)
    return _Reader(network, tried).report(type(model).__name__)


def _elements(action: Action, shape: tuple[int, ...]) -> tuple[Any, list[tuple[int, ...]]]:
    """Returns every point element with a few shifts, point by point, then unit shifts; and the shifts that were tried."""
    group: Any = action.group
    grid = action.plain.grid(shape)
    if grid is None or action.plain is not action:
        return audited_elements(action, np.zeros(shape)), []
    d = len(grid[1])
    reach = max(1, int(TRIED ** (1 / d))) if grid[0].boundary == "wrap" else 1
    tried = list(itertools.product(range(reach), repeat=d))
    order = group.point_group.order
    pairs = [(t, h) for h in range(1, order) for t in tried] + [(tuple(row), 0) for row in np.eye(d, dtype=int)]
    t, h = np.array([t for t, _ in pairs], np.int32), np.array([h for _, h in pairs], np.int32)
    return group.join(t, h), tried


class _Reader:
    """Reads the steps of a network, and keeps the reason why each element is lost first."""

    def __init__(self, network: Network, tried: list[tuple[int, ...]]):
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
            for kind, elements, why in self._findings(step):
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

    def _findings(self, step: Step) -> Iterator[tuple[str, list[int], str]]:
        everything = list(self.alive)
        turned = [e for e in everything if not self.frame.is_shift(e)]
        for eq in step.equations:
            layout, out = (self.network.layouts.get(v) for v in (eq.inputs[0], eq.outputs[0]))
            operands = self.network.operands(eq, self.network.layouts)
            if layout is not None and layout.base and eq.inputs[0] in self.network.depends:
                yield from self._window(eq, layout, turned, step)
                if eq.name in ORDERED and eq.name != "rev" and self._along_base(eq, layout):
                    yield "order", everything, f"has a {eq.name} along a moved axis"
            joins = any(other.name == "concatenate" for other in step.equations)
            if eq.name == "rev" and joins and layout is not None and layout.base and self.frame.wraps:
                yield "border", [e for e in everything if self.frame.is_shift(e)], "pads with mirrored values"
            if self._mixes_places(eq, operands, out):
                yield "dense", everything, "has a weight of its own for every place"
            drawn = self.network.random - self.network.depends
            if any(v in drawn for v in eq.inputs):
                yield "randomness", everything, "draws random numbers"
            elif out is not None and out.base and eq.name in ELEMENTWISE:
                for v, operand in zip(eq.inputs, operands, strict=True):
                    elements = None if v in self.network.counts else self._placed(operand, out)
                    if elements is not None:
                        yield "position", elements, "reads an operand that depends on the place"
        for v in step.written:
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

    def _window(self, eq: Equation, layout: Layout, turned: list[int], step: Step) -> Iterator[tuple[str, list[int], str]]:
        if eq.name == "conv_general_dilated" and max(eq.params["lhs_dilation"]) > 1:
            return  # a transposed convolution pads by its nature; what it does at the border shows in a measurement only
        if eq.name == "conv_general_dilated":
            places, pads = eq.params["dimension_numbers"].lhs_spec[2:], eq.params["padding"]
        elif eq.name.startswith("reduce_window"):
            places, pads = range(len(eq.params["padding"])), eq.params["padding"]
        elif eq.name == "pad":
            places, pads = range(len(layout.axes)), [pair[:2] for pair in eq.params["padding_config"]]
        else:
            return
        padded = [
            k
            for k, pair in zip(places, pads, strict=True)
            if any(pair) and any(isinstance(a, Base) and a.size > 1 for a in layout.axes[k])
        ]
        if padded and self.frame.wraps:
            shifts = [e for e in self.alive if self.frame.is_shift(e) or self.frame.shift[e].any()]
            out = self.network.layouts.get(eq.outputs[0])
            off = [e for e in turned if out is not None and not self.bordered.maps(e, out)]
            yield "border", [*shifts, *off], "pads with zeros"
        ours = any(isinstance(self.network.trace.modules.get(call.path), Layer) for call in step.calls)
        if eq.name == "conv_general_dilated" and eq.inputs[1] in self.network.known and not ours:
            kernel = np.asarray(self.network.known[eq.inputs[1]]).astype(np.float64)
            found = [e for e in turned if self._defect(eq, kernel, e) > 1e-5]
            if found:
                worst = max(self._defect(eq, kernel, e) for e in found)
                yield "kernel", found, f"has a kernel with a defect of {worst:.2g}"

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

    def _placed(self, operand: Any, out: Layout) -> list[int] | None:
        """Returns the elements that move an operand which varies along the base; None where it does not, or is unknown."""
        if operand.depends or operand.value is None or len(operand.shape) != len(out.axes):
            return None
        axes = [k for k, axis in enumerate(out.axes) if operand.shape[k] > 1 and any(isinstance(a, Base) for a in axis)]
        value = np.asarray(operand.value)
        if not axes or any(operand.shape[k] != out.shape[k] for k in axes):
            return None
        first = value[tuple(slice(0, 1) if k in axes else slice(None) for k in range(value.ndim))]
        if (value == first).all():
            return None
        own = Layout(tuple(axis if k in axes else (Still(operand.shape[k]),) for k, axis in enumerate(out.axes)))
        moved = []
        for e in self.alive:
            if self.frame.acts(e, own) and not np.allclose(self.frame.move(e, value, own)[0], value, rtol=0, atol=1e-6):
                moved.append(e)
        return moved
