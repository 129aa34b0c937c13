"""Rules of operations that take some entries of an axis, or write some."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from equijax.audit._atoms import Atom, Base, Joined, Still, filled, in_a_row, length
from equijax.audit._layout import Layout, normalised
from equijax.audit._rule import Layouts, Operand, Operands, Params, Rule, Shapes, assembled
from equijax.audit._rules_index import gathered, numbered_by, scattered


def _slice(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    if layout is None:
        return [None]
    strides = params["strides"] or (1,) * len(shapes[0])
    cuts = zip(layout.axes, operands[0].shape, params["start_indices"], strides, shapes[0], strict=True)
    return [assembled([_cut(*cut) for cut in cuts])]


def _dynamic_slice(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    """Entries from a start; one that an activation numbers, such as the row of a node, moves along with its number."""
    del params
    whole, starts = operands[0], operands[1:]
    axes = [(Still(n),) for n in whole.shape] if whole.layout is None and not whole.depends else None
    axes = list(whole.layout.axes) if whole.layout is not None else axes
    return [None if axes is None else assembled([*map(_from, axes, whole.shape, starts, shapes[0])])]


def _from(axis: tuple[Atom, ...], length: int, start: Operand, size: int) -> tuple[Atom, ...] | None:
    if size == length:
        return axis
    if not start.depends:
        return None if start.value is None else _cut(axis, length, int(np.clip(int(start.value), 0, length - size)), 1, size)
    numbered = start.layout is not None and size == 1 and numbered_by(start.layout.numbers, axis)
    return (Still(1, "any"),) if numbered else None


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
        result.append(assembled(cuts))
        start += size
    return result


def _cut(axis: tuple[Atom, ...], length: int, start: int, stride: int, size: int) -> tuple[Atom, ...] | None:
    """Returns the atoms of every ``stride``-th entry of an axis, from ``start``."""
    if size == length and start == 0:
        return axis
    if len(axis) != 1:
        return None
    (atom,) = axis
    if isinstance(atom, Joined):
        return _cut_parts(atom, start, stride, size)
    if isinstance(atom, Base):
        origin, spacing = atom.origin + start * atom.spacing, atom.spacing * stride
        return (dataclasses.replace(atom, size=size, origin=origin, spacing=spacing),)
    return (Still(size, atom.role if isinstance(atom, Still) else "feature"),)


def _cut_parts(joined: Joined, start: int, stride: int, size: int) -> tuple[Atom, ...] | None:
    """Returns the atoms of some entries of joined axes."""
    wanted, result, first = range(start, start + stride * size, stride), [], 0
    for part in joined.parts:
        own = [place - first for place in wanted if first <= place < first + length(part)]
        axis = _cut(part, length(part), own[0], stride, len(own)) if own else ()
        if axis is None:
            return None
        result += [axis] if own else []
        first += length(part)
    return in_a_row(result)


def _gather(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    """Taking entries along one axis, at places that don't depend on the input; or entries of a table, at places that do."""
    if not operands[0].depends and operands[1].layout is not None:
        return [_looked_up(params, operands[1].layout, shapes[0])]
    if operands[1].depends:
        return [gathered(params, operands, shapes[0])]
    numbers, sizes, layout = params["dimension_numbers"], params["slice_sizes"], operands[0].layout
    moved = tuple(numbers.start_index_map)
    if layout is None or len(moved) != 1 or getattr(numbers, "operand_batching_dims", ()):
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
    elif new and isinstance(layout.axes[k][0], (Base, Joined)):
        return [None]
    return [normalised(tuple(axes))]


def _looked_up(params: Params, index: Layout, shape: tuple[int, ...]) -> Layout | None:
    """Returns the layout of entries of a table: that of the index, with features behind."""
    offset = params["dimension_numbers"].offset_dims
    if index.shape[-1] != 1 or len(index.axes) - 1 + len(offset) != len(shape):
        return None
    rows = iter(index.axes[:-1])
    return normalised(tuple((Still(n),) if k in offset else next(rows) for k, n in enumerate(shape)))


def _taken(axis: tuple[Atom, ...], index: Any) -> tuple[Atom, ...] | None:
    if index is None or len(axis) != 1:
        return None
    numbers = np.asarray(index).reshape(-1)
    atom: Any = axis[0]
    times = len(numbers) // atom.size
    if times > 1 and np.array_equal(numbers, np.repeat(np.arange(atom.size), times)):
        return filled((atom, Still(times, "any")))
    steps = set(np.diff(numbers).tolist())
    if len(steps) > 1 or 0 in steps or not len(numbers):
        return None
    step = steps.pop() if steps else 1
    origin = atom.origin + int(numbers[0]) * atom.spacing
    return (dataclasses.replace(atom, size=len(numbers), origin=origin, spacing=atom.spacing * step),)


SCATTERS = (
    *("scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-min", "scatter-max", "scatter_add", "scatter_mul"),
    *("scatter_sub", "scatter_min", "scatter_max"),
)
WRITES = (*SCATTERS, "dynamic_update_slice")


def _write(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    if "dimension_numbers" in params and operands[1].depends:
        return [scattered(params, operands, shapes[0])]
    return [operands[0].layout if operands[0].depends else None]


def writes_at_places(name: str, depends: Sequence[bool]) -> bool:
    """Tells whether an operation writes at places that don't depend on the input; ``depends`` tells which operands do."""
    return name in WRITES and not any(depends[2:] if name == "dynamic_update_slice" else depends[1:2])


PICK: dict[str, Rule] = {
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "split": _split,
    "gather": _gather,
    **dict.fromkeys(WRITES, _write),
}
