"""Replaying one step with something mended: circular padding, stride 1, shared weights, no dependence on the place."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from equijax.audit._atoms import Atom, Axes, Base, Fibre, Joined, Still, length, relabelled
from equijax.audit._fitting import Unmendable, adapted, is_constant, wrapped
from equijax.audit._frame import Frame
from equijax.audit._layout import Layout
from equijax.audit._network import Layouts, Network
from equijax.audit._rule import Operand
from equijax.audit._rules import ELEMENTWISE, LINEAR, out_layouts
from equijax.audit._rules_pick import writes_at_places
from equijax.audit._shared import Kernel, is_shared, mixes, nearest_dense, nearest_kernel, part_means
from equijax.audit._steps import Step
from equijax.nn._jaxpr import Equation, Values

Mends = frozenset[str]

#: Everything that can be mended, the likelier cause first.
KINDS = ("border", "phase", "kernel", "fibre", "position", "dense", "nonlinearity")

#: What is said of a weight instead of another one: it is shared, or can't be solved for.
SAME, UNKNOWN = "same", "unknown"

WINDOWS = ("reduce_window_max", "reduce_window_min", "reduce_window_sum", "reduce_window")


@dataclasses.dataclass
class Replay:
    """Replays steps with mends, for some of the elements.

    Attributes:
      network: the network.
      statics: values that don't depend on the input.
      elements: the elements for which weights are to be shared.
    """

    network: Network
    statics: Values
    elements: tuple[int, ...]

    @property
    def frame(self) -> Frame:
        """The elements and their space."""
        return self.network.frame

    def __call__(self, step: Step, start: Values, mends: Mends) -> tuple[Values, Layouts]:
        """Returns the activations behind the step, and their layouts.

        Raises:
          Unmendable: the mended sizes don't fit an operation behind.
        """
        values: Values = {**self.statics, **start}
        layouts: Layouts = {v: self.network.layouts.get(v) for v in step.before}
        for equation in step.equations:
            operands = self._operands(equation, values, layouts)
            results = self._evaluate(equation, [values[v] for v in equation.inputs], operands, mends)
            found = self._layouts(equation, operands, results, mends)
            values.update(zip(equation.outputs, results, strict=True))
            layouts.update(zip(equation.outputs, found, strict=True))
            for v, layout in zip(equation.outputs, found, strict=True):
                if v in self.network.declared or v in self.network.passed_back:
                    layouts[v] = _adjusted(self.network.layouts[v], layout)
        for v in step.written:
            if v in self.network.declared or np.shape(values[v]) == self.network.trace.program.avals[v].shape:
                layouts[v] = layouts.get(v) if "phase" in mends and layouts.get(v) else self.network.layouts[v]
        return {v: values[v] for v in step.after}, {v: layouts.get(v) for v in step.after}

    def applicable(self, step: Step, start: Values) -> list[str]:
        """Returns the kinds of mends that change anything in a step."""
        self._changed: set[str] = set()
        try:
            self(step, start, frozenset(("look",)))
        except Unmendable:
            pass
        return [kind for kind in KINDS if kind in self._changed]

    def _wants(self, kind: str, mends: Mends) -> bool:
        """Notes that a mend of this kind applies, and tells whether it is to be made."""
        if "look" in mends:
            self._changed.add(kind)
        return kind in mends

    def _operands(self, equation: Equation, values: Values, layouts: Layouts) -> list[Operand]:
        depends = self.network.depends
        return [
            Operand(
                np.shape(values[v]),
                v in depends,
                layouts.get(v),
                None if v in depends else values[v],
                v in self.network.learned,
            )
            for v in equation.inputs
        ]

    def _layouts(self, equation: Equation, operands: list[Operand], results: list[Any], mends: Mends) -> list[Layout | None]:
        shapes = [np.shape(r) for r in results]
        params = dict(equation.params)
        if "phase" in mends:
            params = self._unstrided(equation, operands)
        return out_layouts(dataclasses.replace(equation, params=params), operands, shapes)

    def _unstrided(self, equation: Equation, operands: list[Operand]) -> dict[str, Any]:
        """Returns the parameters with stride 1 along the axes of the base."""
        params, layout = dict(equation.params), operands[0].layout
        if layout is None:
            return params
        if equation.name == "conv_general_dilated":
            spec = params["dimension_numbers"].lhs_spec[2:]
            params["window_strides"] = tuple(
                1 if _is_base(layout, k) else s for k, s in zip(spec, params["window_strides"], strict=True)
            )
        elif equation.name in WINDOWS:
            params["window_strides"] = tuple(1 if _is_base(layout, k) else s for k, s in enumerate(params["window_strides"]))
        elif equation.name == "slice" and params["strides"]:
            strided = [s > 1 and _is_base(layout, k) for k, s in enumerate(params["strides"])]
            params["strides"] = tuple(1 if bad else s for bad, s in zip(strided, params["strides"], strict=True))
            params["limit_indices"] = tuple(
                n if bad else limit
                for bad, n, limit in zip(strided, operands[0].shape, params["limit_indices"], strict=True)
            )
        return params

    def _evaluate(self, equation: Equation, arguments: list[Any], operands: list[Operand], mends: Mends) -> list[Any]:
        name = equation.name
        if name == "conv_general_dilated" and operands[0].layout is not None and not operands[1].depends:
            return self._conv(equation, arguments, operands, mends)
        if name in WINDOWS and operands[0].layout is not None:
            return self._window(equation, arguments, operands, mends)
        if name == "pad" and operands[0].layout is not None and not operands[1].depends:
            return self._pad(equation, arguments, operands, mends)
        if name == "slice" and operands[0].layout is not None:
            params = self._unstrided(equation, operands)
            if params["strides"] != equation.params["strides"] and self._wants("phase", mends):
                return equation.bind(arguments, strides=params["strides"], limit_indices=params["limit_indices"])
        if name == "concatenate":
            return self._concatenate(equation, arguments, operands, mends)
        placed = writes_at_places(name, [o.depends for o in operands])
        if placed and operands[0].depends and self._wants("position", mends):
            return [arguments[0]]
        if name == "dot_general":
            return self._dot(equation, arguments, operands, mends)
        if name in ELEMENTWISE:
            return self._elementwise(equation, arguments, operands, mends)
        if name == "broadcast_in_dim" and operands[0].depends:
            return self._broadcast(equation, arguments)
        before = [self.network.trace.program.avals[v].shape for v in equation.inputs]
        if name in ("reshape", "slice", "gather", "dynamic_slice") and [o.shape for o in operands] != before:
            raise Unmendable(name)
        return equation.bind(arguments)

    def _wraps(self, layout: Layout, axis: int) -> bool:
        """Tells whether an array axis goes once around the torus; a part of it that is left is a torus of its own here."""
        period, atom = self.frame.period, layout.axes[axis][0]
        if period is None or not _is_base(layout, axis) or not isinstance(atom, Base):
            return False
        return atom.size * abs(atom.spacing) <= period[atom.axis]

    def _conv(self, equation: Equation, arguments: list[Any], operands: list[Operand], mends: Mends) -> list[Any]:
        layout, params = _known(operands[0]), dict(equation.params)
        spec = params["dimension_numbers"]
        x, kernel = arguments
        padding, dilation, strides = list(params["padding"]), list(params["lhs_dilation"]), params["window_strides"]
        for j, k in enumerate(spec.lhs_spec[2:]):
            low, high = padding[j]
            if (low or high) and self._wraps(layout, k) and self._wants("border", mends):
                x = wrapped(x, k, low, high, dilation[j])
                padding[j], dilation[j] = (0, 0), 1
        unstrided = self._unstrided(equation, operands)["window_strides"]
        if unstrided != strides and self._wants("phase", mends):
            strides = unstrided
        shared = self._shared(equation, kernel, lambda: self._nearest_kernel(equation, layout, kernel))
        if isinstance(shared, np.ndarray) and self._wants("kernel", mends):
            kernel = shared
        return equation.bind(
            [x, kernel], padding=tuple(padding), lhs_dilation=tuple(dilation), window_strides=tuple(strides)
        )

    def _shared(self, equation: Equation, weight: Any, nearest: Callable[[], np.ndarray | None]) -> np.ndarray | str:
        """Returns the nearest shared weight, in the dtype of the weight; a word where that is the weight itself, or unknown.

        What was found for a weight is kept: one network is replayed again and again.
        """
        key = id(equation), self.elements
        own, result = self.network.nearest.get(key, (None, UNKNOWN))
        if own is not weight:
            found = nearest()
            result = UNKNOWN if found is None else SAME
            if found is not None and not is_shared(weight, found):
                result = found.astype(np.asarray(weight).dtype)
            self.network.nearest[key] = weight, result
        return result

    def nearest_kernel(self, equation: Equation, kernel: np.ndarray) -> np.ndarray | None:
        """Returns the nearest kernel of a convolution that is shared under the elements; None where they share nothing."""
        layout = self.network.layouts.get(equation.inputs[0])
        return None if layout is None else self._nearest_kernel(equation, layout, kernel)

    def _nearest_kernel(self, equation: Equation, layout: Layout, kernel: Any) -> np.ndarray | None:
        frame, spec = self.frame, equation.params["dimension_numbers"]
        if not frame.is_grid or all(frame.is_shift(e) for e in self.elements):
            return None
        places = spec.lhs_spec[2:]
        atoms = [layout.axes[k][0] for k in places]
        if not all(_is_base(layout, k) for k in places) or len(places) != len(frame.centre):
            return None
        out = self.network.layouts.get(equation.outputs[0])
        own = Kernel(
            spec.rhs_spec,
            [a.axis for a in atoms if isinstance(a, Base)],
            equation.params["rhs_dilation"],
            layout.axes[spec.lhs_spec[1]],
            () if out is None or out.custom is not None else out.axes[spec.out_spec[1]],
        )
        return nearest_kernel(frame, self.elements, kernel, own)

    def _window(self, equation: Equation, arguments: list[Any], operands: list[Operand], mends: Mends) -> list[Any]:
        layout, params = _known(operands[0]), equation.params
        x, rest = arguments[0], arguments[1:]
        padding, strides = list(params["padding"]), params["window_strides"]
        for k, (low, high) in enumerate(padding):
            if (low or high) and self._wraps(layout, k) and self._wants("border", mends):
                x = wrapped(x, k, low, high, 1)
                padding[k] = (0, 0)
        unstrided = self._unstrided(equation, operands)["window_strides"]
        if unstrided != tuple(strides) and self._wants("phase", mends):
            strides = unstrided
        return equation.bind([x, *rest], padding=tuple(padding), window_strides=tuple(strides))

    def _pad(self, equation: Equation, arguments: list[Any], operands: list[Operand], mends: Mends) -> list[Any]:
        layout, config = _known(operands[0]), list(equation.params["padding_config"])
        x = arguments[0]
        for k, (low, high, inner) in enumerate(config):
            if (low > 0 or high > 0) and self._wraps(layout, k) and self._wants("border", mends):
                x = wrapped(x, k, low, high, inner + 1)
                config[k] = (0, 0, 0)
        return equation.bind([x, arguments[1]], padding_config=tuple(config))

    def _concatenate(self, equation: Equation, arguments: list[Any], operands: list[Operand], mends: Mends) -> list[Any]:
        k = equation.params["dimension"]
        if len({(*np.shape(a)[:k], *np.shape(a)[k + 1 :]) for a in arguments}) > 1:
            raise Unmendable("concatenate")  # slices whose strides were mended away
        widest = max((o for o in operands if o.depends and o.layout is not None), key=lambda o: o.shape[k], default=None)
        if widest is None or widest.layout is None:
            return equation.bind(arguments)
        total = sum(o.shape[k] for o in operands)
        found = self.network.layouts.get(equation.outputs[0])
        apart = found is not None and any(isinstance(a, Joined) for a in found.axes[k])
        if _is_base(widest.layout, k) and total > widest.shape[k] and not apart:
            place = operands.index(widest)
            before = sum(o.shape[k] for o in operands[:place])
            plain = equation.bind(arguments)
            wrapped = self._refilled(arguments[place], widest.layout, k, before, total)
            if wrapped is not None and not np.array_equal(np.asarray(plain[0]), wrapped) and self._wants("border", mends):
                return [wrapped]
            return plain
        mended = [self._placeless(a, o, widest.layout, mends, skip=k) for a, o in zip(arguments, operands, strict=True)]
        return equation.bind(mended)

    def _refilled(self, value: Any, layout: Layout, axis: int, before: int, total: int) -> np.ndarray | None:
        """Returns an axis continued around the torus; None where that needs samples which the array does not hold."""
        atom, period = layout.axes[axis][0], self.frame.period
        if period is None or not isinstance(atom, Base):
            return None
        n = period[atom.axis]
        held = {p % n: i for i, p in enumerate(atom.positions)}
        wanted = [(atom.origin + (i - before) * atom.spacing) % n for i in range(total)]
        if not all(p in held for p in wanted):
            return None
        return np.take(np.asarray(value), [held[p] for p in wanted], axis=axis)

    def _placeless(
        self, value: Any, operand: Operand, layout: Layout | None, mends: Mends, skip: int = -1, kind: str = "position"
    ) -> Any:
        """Returns an operand that does not depend on the input, averaged over the base where it varies along it.

        The number of samples in a window varies at the border only: there it is replaced by the largest.
        """
        if operand.depends or layout is None or np.ndim(value) != len(layout.axes):
            return value
        array = np.asarray(value)
        if any(isinstance(a, Joined) for axis in layout.axes for a in axis):
            return self._placeless_parts(array, operand, layout, mends, skip, kind)
        axes = tuple(
            k
            for k, axis in enumerate(layout.axes)
            if k != skip and array.shape[k] > 1 and any(isinstance(a, Base) and self._moves(a) for a in axis)
        )
        if not axes or is_constant(array, axes) or not self._wants(kind, mends):
            return value
        if kind == "border":
            return np.ascontiguousarray(np.broadcast_to(array.max(axis=axes, keepdims=True), array.shape))
        mean = np.mean(array.astype(np.float64) if array.dtype.kind in "biu" else array, axis=axes, keepdims=True)
        mean = mean > 0.5 if array.dtype.kind == "b" else mean.astype(array.dtype)
        return np.ascontiguousarray(np.broadcast_to(mean, array.shape))

    def _moves(self, base: Base) -> bool:
        """Tells whether the elements move some samples: shifts leave the places in a window alone."""
        return not base.local or not all(self.frame.is_shift(e) for e in self.elements)

    def _placeless_parts(
        self, array: np.ndarray, operand: Operand, layout: Layout, mends: Mends, skip: int, kind: str
    ) -> np.ndarray:
        """Averages an operand over the base within each of the joined parts of its axes."""
        if any(len(axis) > 1 and any(isinstance(a, Joined) for a in axis) for axis in layout.axes):
            return array
        whole = Layout(tuple(axis if len(axis) == 1 else (Still(length(axis)),) for axis in layout.axes))
        result = array.copy()
        for place, block in whole.blocks:
            axes = tuple(a if len(a) > 1 else b for a, b in zip(layout.axes, block.axes, strict=True))
            own = tuple(slice(None) if n == 1 else s for n, s in zip(array.shape, place, strict=True))
            result[own] = self._placeless(array[own], operand, Layout(axes), mends, skip, kind)
        return array if np.array_equal(result, array) else result

    def _elementwise(self, equation: Equation, arguments: list[Any], operands: list[Operand], mends: Mends) -> list[Any]:
        plain = self._straight(equation, arguments, operands)
        if plain is not None and self._wants("nonlinearity", mends):
            return [plain]
        arguments = adapted(arguments, operands)
        operands = [dataclasses.replace(o, shape=np.shape(a)) for o, a in zip(operands, arguments, strict=True)]
        shape = np.broadcast_shapes(*(np.shape(a) for a in arguments))
        layout = out_layouts(equation, operands, [shape])[0]
        pairs = zip(arguments, operands, strict=True)
        dense = any(v in self.network.passed_back for v in equation.inputs)  # a bias for every place belongs to its weights
        learned = "dense" if dense else "position"
        kinds = [
            "border" if v in self.network.counts else learned if o.learned else "position"
            for v, o in zip(equation.inputs, operands, strict=True)
        ]
        placeless = [self._placeless(a, o, layout, mends, kind=kind) for (a, o), kind in zip(pairs, kinds, strict=True)]
        adds = equation.name in ("add", "add_any", "sub")
        return equation.bind([self._fibreless(a, o, layout, mends, adds) for a, o in zip(placeless, operands, strict=True)])

    def _straight(self, equation: Equation, arguments: list[Any], operands: list[Operand]) -> Any:
        """Returns the argument of a nonlinear function on a fibre that the group mixes; None for any other operation."""
        if equation.name in LINEAR:
            return None
        dependent = [(a, o) for a, o in zip(arguments, operands, strict=True) if o.depends and o.layout is not None]
        mixed = [(a, o) for a, o in dependent if mixes(o.layout)]
        if any(o.layout.custom is not None for _, o in dependent) and len(dependent) == 1:  # pyright: ignore[reportOptionalMemberAccess]
            return dependent[0][0]
        scaled = equation.name == "mul" or (equation.name == "div" and operands[0] in [o for _, o in mixed])
        if not mixed or (scaled and len(mixed) == 1):
            return None
        dtype = self.network.trace.program.avals[equation.outputs[0]].dtype
        return next((a for a, _ in mixed if np.asarray(a).dtype == dtype), None)

    def _fibreless(self, value: Any, operand: Operand, layout: Layout | None, mends: Mends, adds: bool) -> Any:
        """Returns a bias or scale that is shared along the fibre: an invariant bias, and one scale for each of its parts."""
        if operand.depends or layout is None or np.ndim(value) != len(layout.axes):
            return value
        for k, axis in enumerate(layout.axes):
            mixed, length = mixes(Layout((axis,))), math.prod(a.size for a in axis)
            if not any(isinstance(a, Fibre) for a in axis) or (np.shape(value)[k] == 1 and not (mixed and adds)):
                continue
            array = np.asarray(value)
            first = np.moveaxis(array if array.shape[k] == length else np.repeat(array, length, axis=k), k, 0)
            if mixed and not adds:
                fibre = next(a.fibre for a in axis if isinstance(a, Fibre))
                nearest = part_means(fibre, first) if len(axis) == 1 else None
            else:
                rest = tuple((Still(n),) for n in first.shape[1:])
                nearest = nearest_dense(self.frame, self.elements, first, (), (axis, *rest))
            if nearest is not None and not is_shared(first, nearest) and self._wants("fibre" if mixed else "kernel", mends):
                value = np.moveaxis(nearest.astype(array.dtype), 0, k)
        return value

    def _broadcast(self, equation: Equation, arguments: list[Any]) -> list[Any]:
        old = self.network.trace.program.avals[equation.inputs[0]].shape
        new = np.shape(arguments[0])
        if old == new:
            return equation.bind(arguments)
        shape = list(equation.params["shape"])
        for k, a, b in zip(equation.params["broadcast_dimensions"], old, new, strict=True):
            if a != b:
                shape[k] = b if shape[k] == a else shape[k]
        return equation.bind(arguments, shape=tuple(shape))

    def _dot(self, equation: Equation, arguments: list[Any], operands: list[Operand], mends: Mends) -> list[Any]:
        (contracted, _) = equation.params["dimension_numbers"]
        for side in (0, 1):
            layout = operands[side].layout
            if operands[1 - side].depends or not operands[side].depends or layout is None:
                continue
            summed = tuple(layout.axes[k] for k in contracted[side])
            free = self._free_axes(equation, 1 - side, operands)
            if not any(isinstance(a, (Base, Fibre, Joined)) for axis in (*summed, *free) for a in axis):
                continue
            weight, places = arguments[1 - side], contracted[1 - side]
            nearest = self._shared(equation, weight, functools.partial(self._nearest_dense, weight, places, summed, free))
            kind = "fibre" if mixes(Layout((*summed, *free))) and not Layout((*summed, *free)).base else "dense"
            if nearest is not SAME and self._wants(kind, mends):
                if isinstance(nearest, str):
                    raise Unmendable("too many weights")
                arguments = list(arguments)
                arguments[1 - side] = nearest
        return equation.bind(arguments)

    def _nearest_dense(self, weight: Any, places: Sequence[int], summed: Axes, free: Axes) -> np.ndarray | None:
        """Returns the nearest weight that the elements share, which is summed over some of its axes."""
        ahead = range(len(summed))
        nearest = nearest_dense(self.frame, self.elements, np.moveaxis(np.asarray(weight), places, ahead), summed, free)
        return None if nearest is None else np.moveaxis(nearest, ahead, places)

    def _free_axes(self, equation: Equation, weight: int, operands: list[Operand]) -> Axes:
        """Returns the layout of the axes of a weight that are not summed over, as another copy of the base."""
        contracted, batched = equation.params["dimension_numbers"]
        found = self.network.layouts.get(equation.outputs[0])
        before = len(operands[0].shape) - len(contracted[0]) if weight else len(batched[0])
        axes: list[tuple[Atom, ...]] = []
        for k, n in enumerate(operands[weight].shape):
            if k in contracted[weight]:
                continue
            place = batched[weight].index(k) if k in batched[weight] else before
            before += k not in batched[weight]
            axis = found.axes[place] if found is not None and found.custom is None else (Still(n),)
            axes.append(relabelled(axis if length(axis) == n else (Still(n),), lambda copy: copy + 100))
        return tuple(axes)


def _known(operand: Operand) -> Layout:
    if operand.layout is None:
        raise Unmendable("unknown layout")
    return operand.layout


def _is_base(layout: Layout, axis: int) -> bool:
    atoms = layout.axes[axis]
    return len(atoms) == 1 and isinstance(atoms[0], Base) and atoms[0].size > 1


def _adjusted(declared: Layout | None, propagated: Layout | None) -> Layout | None:
    """Returns a declared layout with the base of the propagated one, which a mend may have changed."""
    if declared is None or propagated is None or len(declared.axes) != len(propagated.axes) or declared.custom is not None:
        return declared
    axes = tuple(
        b if any(isinstance(x, Base) for x in b) else a for a, b in zip(declared.axes, propagated.axes, strict=True)
    )
    return Layout(axes)
