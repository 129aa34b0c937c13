"""How each primitive passes the layouts of its inputs on to its outputs; without a rule the layout is unknown."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from equijax.audit._jaxpr import Equation
from equijax.audit._layout import Atom, Base, Fibre, Layout, Still, dropped, merged, normalised, reshaped


@dataclasses.dataclass(frozen=True)
class Operand:
    """One input of an equation.

    Attributes:
      shape: its shape.
      depends: whether it depends on the input of the network.
      layout: its layout; None where it is unknown or where it does not depend on the input.
      value: its value where it does not depend on the input and is known.
    """

    shape: tuple[int, ...]
    depends: bool
    layout: Layout | None = None
    value: Any = None


Params = Mapping[str, Any]
Operands = list[Operand]
Shapes = list[tuple[int, ...]]
Layouts = list[Layout | None]
Rule = Callable[[Params, Operands, Shapes], Layouts]
_RULES: dict[str, Rule] = {}

ELEMENTWISE = frozenset(
    """abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e bitcast_convert_type cbrt ceil
    clamp complex conj convert_element_type copy copy_p cos cosh cumlogsumexp cummax cummin cumprod cumsum device_put
    digamma div eq eq_to erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igammac imag integer_pow is_finite le le_to
    lgamma log log1p log2 logistic lt lt_to max min mul ne neg nextafter not one_minus_square optimization_barrier or
    polygamma population_count pow real reduce_precision regularized_incomplete_beta rem round rsqrt select_n shift_left
    shift_right_arithmetic shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor""".split()
)

#: Elementwise operations that are linear in their one input, so that a matrix on the fibre passes through them.
LINEAR = frozenset("add add_any sub neg convert_element_type copy copy_p reduce_precision stop_gradient".split())

ORDERED = frozenset(
    "cumsum cumprod cummax cummin cumlogsumexp sort rev scan while argmax argmin top_k reduce_and dynamic_slice".split()
)


def out_layouts(equation: Equation, operands: list[Operand], shapes: list[tuple[int, ...]]) -> list[Layout | None]:
    """Returns the layout of every output of an equation that depends on the input; None stands for unknown."""
    unknown: list[Layout | None] = [None] * len(shapes)
    if any(o.depends and o.layout is None for o in operands):
        return unknown
    if equation.name in ELEMENTWISE:
        return _elementwise(equation.params, operands, shapes)
    rule = _RULES.get(equation.name)
    if rule is None or any(o.layout is not None and o.layout.custom is not None for o in operands):
        return unknown
    layouts = rule(equation.params, operands, shapes)
    return [a if a is not None and a.shape == shape else None for a, shape in zip(layouts, shapes, strict=True)]


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        for name in names:
            _RULES[name] = rule
        return rule

    return register


def _elementwise(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del params
    shape = shapes[0]
    result: Layout | None = None
    for o in operands:
        if not o.depends or o.layout is None:
            continue
        if o.layout.custom is None and len(o.shape) != len(shape):  # a scalar that depends on the input
            continue
        layout = o.layout if o.layout.custom is not None else _widened(o.layout, shape)
        result = layout if result is None else merged(result, layout)
        if result is None:
            return [None] * len(shapes)
    if result is None:
        result = Layout(tuple((Still(n, "any"),) for n in shape))
    return [result] * len(shapes)


def _widened(layout: Layout, shape: tuple[int, ...]) -> Layout:
    """Returns the layout after axes of length 1 are repeated."""
    axes = tuple(
        axis if math.prod(a.size for a in axis) == n else (Still(n, "any"),)
        for axis, n in zip(layout.axes, shape, strict=True)
    )
    return Layout(axes, layout.custom)


@_rule("broadcast_in_dim")
def _broadcast(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    if layout is None:
        return [None]
    axes: list[tuple[Atom, ...]] = [(Still(n, "any"),) for n in shapes[0]]
    for axis, k in zip(layout.axes, params["broadcast_dimensions"], strict=True):
        if math.prod(a.size for a in axis) == shapes[0][k]:
            axes[k] = axis
    return [normalised(tuple(axes))]


@_rule("reshape", "squeeze", "expand_dims")
def _reshape(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del params
    layout = operands[0].layout
    return [None if layout is None else reshaped(layout, shapes[0])]


@_rule("transpose")
def _transpose(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del shapes
    layout = operands[0].layout
    return [None if layout is None else normalised(tuple(layout.axes[k] for k in params["permutation"]))]


@_rule("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "reduce_xor")
def _reduce(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del shapes
    layout = operands[0].layout
    return [None if layout is None else _reduced(layout, set(params["axes"]))]


def _reduced(layout: Layout, axes: set[int]) -> Layout | None:
    rest = dropped(layout, axes)
    return None if rest is None else normalised(rest.axes)


@_rule("argmax", "argmin")
def _argmax(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    if layout is None or any(not isinstance(a, Still) for k in params["axes"] for a in layout.axes[k]):
        return [None] * len(shapes)
    return [_reduced(layout, set(params["axes"]))]


@_rule("sort")
def _sort(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    k, layout = params["dimension"], operands[0].layout
    if layout is None or len(operands) != 1:
        return [None] * len(shapes)
    axes = list(layout.axes)
    axes[k] = tuple(Still(a.size) if isinstance(a, Base) else a for a in axes[k])  # sorted values don't move any more
    return [normalised(tuple(axes))] * len(shapes)


@_rule("rev")
def _rev(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del shapes
    layout = operands[0].layout
    if layout is None:
        return [None]
    axes = list(layout.axes)
    for k in params["dimensions"]:
        if any(isinstance(a, Fibre) for a in axes[k]):
            return [None]
        axes[k] = tuple(_backwards(a) for a in axes[k])
    return [normalised(tuple(axes))]


def _backwards(atom: Atom) -> Atom:
    if not isinstance(atom, Base):
        return atom
    return dataclasses.replace(atom, origin=atom.positions[-1], spacing=-atom.spacing)


@_rule("slice")
def _slice(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    if layout is None:
        return [None]
    strides = params["strides"] or (1,) * len(shapes[0])
    cuts = zip(layout.axes, operands[0].shape, params["start_indices"], strides, shapes[0], strict=True)
    return [_assembled([_cut(*cut) for cut in cuts])]


@_rule("dynamic_slice")
def _dynamic_slice(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del params
    layout, starts = operands[0].layout, operands[1:]
    cut = [a != b for a, b in zip(operands[0].shape, shapes[0], strict=True)]
    if layout is None or any(o.depends or (o.value is None and c) for o, c in zip(starts, cut, strict=True)):
        return [None]
    cuts = [
        _cut(axis, n, int(np.clip(int(o.value), 0, n - m)) if n != m else 0, 1, m)
        for axis, n, o, m in zip(layout.axes, operands[0].shape, starts, shapes[0], strict=True)
    ]
    return [_assembled(cuts)]


@_rule("split")
def _split(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout, axis = operands[0].layout, params["axis"]
    if layout is None:
        return [None] * len(shapes)
    result, start = [], 0
    for size in params["sizes"]:
        cuts = [
            _cut(a, n, start if k == axis else 0, 1, size if k == axis else n)
            for k, (a, n) in enumerate(zip(layout.axes, operands[0].shape, strict=True))
        ]
        result.append(_assembled(cuts))
        start += size
    return result


def _cut(axis: tuple[Atom, ...], length: int, start: int, stride: int, size: int) -> tuple[Atom, ...] | None:
    """Returns the atoms of every ``stride``-th entry of an axis, from ``start``."""
    if size == length and start == 0:
        return axis
    if len(axis) != 1:
        return None
    (atom,) = axis
    if isinstance(atom, Base):
        origin, spacing = atom.origin + start * atom.spacing, atom.spacing * stride
        return (dataclasses.replace(atom, size=size, origin=origin, spacing=spacing),)
    return (Still(size, atom.role if isinstance(atom, Still) else "feature"),)


def _assembled(axes: list[tuple[Atom, ...] | None]) -> Layout | None:
    kept = [axis for axis in axes if axis is not None]
    return normalised(tuple(kept)) if len(kept) == len(axes) else None


@_rule("gather")
def _gather(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    """Taking entries along one axis, at places that don't depend on the input."""
    numbers, sizes, layout = params["dimension_numbers"], params["slice_sizes"], operands[0].layout
    moved = tuple(numbers.start_index_map)
    if layout is None or operands[1].depends or len(moved) != 1 or getattr(numbers, "operand_batching_dims", ()):
        return [None]
    k = moved[0]
    if any(n != m for j, (n, m) in enumerate(zip(operands[0].shape, sizes, strict=True)) if j != k):
        return [None]
    rows = [layout.axes[j] for j in range(len(layout.axes)) if j not in numbers.collapsed_slice_dims]
    axes: list[tuple[Atom, ...]] = [(Still(n),) for n in shapes[0]]
    for axis, place in zip(rows, numbers.offset_dims, strict=True):
        axes[place] = axis
    if sizes[k] != operands[0].shape[k] and k not in numbers.collapsed_slice_dims:
        start = np.asarray(operands[1].value).reshape(-1) if operands[1].value is not None else []
        if len(start) != 1:
            return [None]
        place = numbers.offset_dims[[j for j in range(len(layout.axes)) if j not in numbers.collapsed_slice_dims].index(k)]
        cut = _cut(layout.axes[k], operands[0].shape[k], int(start[0]), 1, sizes[k])
        if cut is None:
            return [None]
        axes[place] = cut
        return [normalised(tuple(axes))]
    new = [j for j in range(len(shapes[0])) if j not in numbers.offset_dims]
    if len(new) == 1 and isinstance(layout.axes[k][0], Base):
        taken = _taken(layout.axes[k], operands[1].value)
        if taken is None:
            return [None]
        axes[new[0]] = taken
    elif new and isinstance(layout.axes[k][0], Base):
        return [None]
    return [normalised(tuple(axes))]


def _taken(axis: tuple[Atom, ...], index: Any) -> tuple[Atom, ...] | None:
    if index is None or len(axis) != 1:
        return None
    numbers = np.asarray(index).reshape(-1)
    steps = set(np.diff(numbers).tolist())
    if len(steps) > 1 or 0 in steps or not len(numbers):
        return None
    atom: Any = axis[0]
    step = steps.pop() if steps else 1
    origin = atom.origin + int(numbers[0]) * atom.spacing
    return (dataclasses.replace(atom, size=len(numbers), origin=origin, spacing=atom.spacing * step),)


WRITES = (
    *("scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-min", "scatter-max", "scatter_add", "scatter_mul"),
    "dynamic_update_slice",
)


@_rule(*WRITES)
def _write(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del params, shapes
    return [operands[0].layout if operands[0].depends else None]


@_rule("concatenate")
def _concatenate(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    k = params["dimension"]
    parts = [o for o in operands if o.depends and o.layout is not None]
    widest = max(parts, key=lambda o: o.shape[k])
    rest: Layout | None = None
    for o in parts:
        own = _without(o, k)
        rest = own if rest is None else merged(rest, own)
        if rest is None:
            return [None]
    if rest is None:
        return [None]
    axes, total = list(rest.axes), shapes[0][k]
    (main,) = widest.layout.axes[k] if widest.layout and len(widest.layout.axes[k]) == 1 else (None,)
    before = sum(o.shape[k] for o in operands[: operands.index(widest)])
    if isinstance(main, Base) and widest.shape[k] > 1:
        axes[k] = (dataclasses.replace(main, size=total, origin=main.origin - before * main.spacing),)
    elif main is None:
        return [None]
    else:
        axes[k] = (Still(total),)
    return [normalised(tuple(axes))]


def _without(operand: Operand, k: int) -> Layout:
    axes = list(operand.layout.axes) if operand.layout is not None else []
    axes[k] = (Still(1, "any"),)
    return normalised(tuple(axes))


@_rule("stack")
def _stack(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    rest: Layout | None = None
    for o in operands:
        if o.layout is not None:
            rest = o.layout if rest is None else merged(rest, o.layout)
            if rest is None:
                return [None]
    if rest is None:
        return [None]
    k = params["axis"]
    return [normalised((*rest.axes[:k], (Still(shapes[0][k]),), *rest.axes[k:]))]


@_rule("unstack")
def _unstack(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    k, layout = params["axis"], operands[0].layout
    if layout is None or not all(isinstance(a, Still) for a in layout.axes[k]):
        return [None] * len(shapes)
    return [normalised(tuple(axis for j, axis in enumerate(layout.axes) if j != k))] * len(shapes)


@_rule("tile")
def _tile(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    if layout is None:
        return [None]
    axes: list[tuple[Atom, ...] | None] = []
    for axis, times, n in zip(layout.axes, params["reps"], shapes[0], strict=True):
        still = all(isinstance(a, Still) for a in axis)
        axes.append(axis if times == 1 else (Still(n, "any" if n == times else "feature"),) if still else None)
    return [_assembled(axes)]


@_rule("top_k")
def _top_k(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    k = params.get("axis", params.get("dimension", len(shapes[0]) - 1)) % len(shapes[0])
    if layout is None or not all(isinstance(a, Still) for a in layout.axes[k]):
        return [None] * len(shapes)
    axes = tuple((Still(shapes[0][k]),) if j == k else axis for j, axis in enumerate(layout.axes))
    return [normalised(axes)] * len(shapes)


@_rule("pad")
def _pad(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    if layout is None or not operands[0].depends:
        return [None]
    axes: list[tuple[Atom, ...]] = []
    for axis, (low, high, inner), size in zip(layout.axes, params["padding_config"], shapes[0], strict=True):
        if (low, high, inner) == (0, 0, 0):
            axes.append(axis)
        elif len(axis) != 1 or isinstance(axis[0], Fibre):
            return [None]
        elif isinstance(axis[0], Base):
            spacing = axis[0].spacing / (inner + 1)
            axes.append((dataclasses.replace(axis[0], size=size, spacing=spacing, origin=axis[0].origin - low * spacing),))
        else:
            axes.append((Still(size),))
    return [normalised(tuple(axes))]


def windowed(axis: tuple[Atom, ...], size: int, window: int, stride: int, low: int, base: int, dilation: int) -> Any:
    """Returns the atoms of an axis that a window of ``window`` samples has read; None where that is unknown."""
    extent = (window - 1) * dilation + 1
    if extent == 1 and stride == 1 and low == 0 and base == 1 and math.prod(a.size for a in axis) == size:
        return axis
    if len(axis) != 1 or isinstance(axis[0], Fibre):
        return None
    (atom,) = axis
    if not isinstance(atom, Base):
        return (Still(size),)
    fine = atom.spacing / base
    shift = Fraction(extent - 1, 2) - low
    return (dataclasses.replace(atom, size=size, spacing=fine * stride, origin=atom.origin + fine * shift),)


@_rule("conv_general_dilated")
def _conv(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout, kernel = operands[0].layout, operands[1]
    numbers = params["dimension_numbers"]
    if layout is None or kernel.depends or params["batch_group_count"] != 1:
        return [None]
    axes: list[Any] = [None] * len(shapes[0])
    axes[numbers.out_spec[0]] = layout.axes[numbers.lhs_spec[0]]
    axes[numbers.out_spec[1]] = (Still(shapes[0][numbers.out_spec[1]]),)
    for j, (source, target, row) in enumerate(
        zip(numbers.lhs_spec[2:], numbers.out_spec[2:], numbers.rhs_spec[2:], strict=True)
    ):
        axes[target] = windowed(
            layout.axes[source],
            shapes[0][target],
            kernel.shape[row],
            params["window_strides"][j],
            params["padding"][j][0],
            params["lhs_dilation"][j],
            params["rhs_dilation"][j],
        )
    return [_assembled(axes)]


@_rule("reduce_window", *(f"reduce_window_{kind}" for kind in ("max", "min", "sum", "and", "or")))
def _reduce_window(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    if layout is None:
        return [None] * len(shapes)
    rank = len(shapes[0])
    axes = [
        windowed(
            layout.axes[k],
            shapes[0][k],
            params["window_dimensions"][k],
            params["window_strides"][k],
            params["padding"][k][0],
            (params.get("base_dilation") or (1,) * rank)[k],
            (params.get("window_dilation") or (1,) * rank)[k],
        )
        for k in range(rank)
    ]
    return [_assembled(axes)]


@_rule("dot_general")
def _dot(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    (contracted, batched) = params["dimension_numbers"]
    sides: list[Layout] = []
    for number, o in enumerate(operands):
        layout = o.layout if o.layout is not None else Layout(tuple((Still(n),) for n in o.shape))
        # the second factor's copies of the base are other ones, unless contraction identifies them
        sides.append(_renamed(layout, lambda copy, number=number: copy + 100 * number))
    left, right = sides
    if operands[0].depends and operands[1].depends:
        same = _identified(left, right, [*zip(*batched, strict=True), *zip(*contracted, strict=True)])
        if same is None:
            return [None]
        right = same
    axes: list[tuple[Atom, ...]] = []
    for i, j in zip(*batched, strict=True):
        axes.append(left.axes[i] if operands[0].depends else right.axes[j])
    for side, gone, along in zip((left, right), contracted, batched, strict=True):
        rest = dropped(side, set(gone))
        if rest is None:
            return [None]
        kept = [k for k in range(len(side.axes)) if k not in gone]
        axes += [axis for k, axis in zip(kept, rest.axes, strict=True) if k not in along]
    del shapes
    return [normalised(tuple(axes))]


def _identified(left: Layout, right: Layout, pairs: list[tuple[int, int]]) -> Layout | None:
    """Renames the copies of the base in the second factor where they are summed or batched against the first one's."""
    names: dict[int, int] = {}
    for i, j in pairs:
        for a, b in zip(left.axes[i], right.axes[j], strict=False):
            if isinstance(a, Base) and isinstance(b, Base):
                if (a.axis, a.size) != (b.axis, b.size) or names.setdefault(b.copy, a.copy) != a.copy:
                    return None
            elif isinstance(a, Base) or isinstance(b, Base):
                other = b if isinstance(a, Base) else a
                if not isinstance(other, Still) or other.role != "any":
                    return None
    return _renamed(right, lambda copy: names.get(copy, copy))


def _renamed(layout: Layout, name: Callable[[int], int]) -> Layout:
    """Returns a layout with other numbers of the copies of the base."""
    axes = tuple(
        tuple(dataclasses.replace(a, copy=name(a.copy)) if isinstance(a, Base) else a for a in axis) for axis in layout.axes
    )
    return Layout(axes)
