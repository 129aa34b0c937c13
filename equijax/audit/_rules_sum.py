"""Rules of windows and of sums of products."""

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from equijax.audit._atoms import Atom, Base, Fibre, Joined, Still, length, relabelled
from equijax.audit._layout import Layout, dropped, normalised, windowed_apart
from equijax.audit._rule import Layouts, Operands, Params, Rule, Shapes, assembled


def windowed(axis: tuple[Atom, ...], size: int, window: int, stride: int, low: int, base: int, dilation: int) -> Any:
    """Returns the atoms of an axis that a window of ``window`` samples has read; None where that is unknown."""
    extent = (window - 1) * dilation + 1
    if extent == 1 and stride == 1 and low == 0 and base == 1 and math.prod(a.size for a in axis) == size:
        return axis
    if len(axis) != 1 or isinstance(axis[0], (Fibre, Joined)):
        return None
    (atom,) = axis
    if not isinstance(atom, Base):
        return (Still(size),)
    fine = atom.spacing / base
    shift = Fraction(extent - 1, 2) - low
    return (dataclasses.replace(atom, size=size, spacing=fine * stride, origin=atom.origin + fine * shift),)


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
    return [assembled(axes)]


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
    return [assembled(axes)]


def _dot(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    (contracted, batched) = params["dimension_numbers"]
    sides: list[Layout] = []
    for number, o in enumerate(operands):
        layout = o.layout if o.layout is not None else Layout(tuple((Still(n),) for n in o.shape))
        # the second factor's copies of the base are other ones, unless contraction identifies them
        named = _renamed(layout, lambda copy, number=number: copy + 100 * number)
        apart = windowed_apart(named, set(batched[number])) if o.depends else named
        if apart is None:
            return [None]
        sides.append(apart)
    left, right = sides
    if operands[0].depends and operands[1].depends:
        same = _identified(left, right, [*zip(*batched, strict=True), *zip(*contracted, strict=True)])
        if same is None:
            return [None]
        right = same
    axes: list[tuple[Atom, ...]] = []
    for i, j in zip(*batched, strict=True):
        axes.append(left.axes[i] if operands[0].depends else right.axes[j])
    for number, (side, gone, along) in enumerate(zip((left, right), contracted, batched, strict=True)):
        rest = dropped(side, set(gone))
        if rest is None:
            return [None]
        kept = [k for k in range(len(side.axes)) if k not in gone]
        free = [axis for k, axis in zip(kept, rest.axes, strict=True) if k not in along]
        axes += free if operands[number].depends else _mixed(free, (left, right)[1 - number], contracted[1 - number])
    del shapes
    return [normalised(tuple(axes))]


def _mixed(free: list[tuple[Atom, ...]], other: Layout, gone: tuple[int, ...]) -> list[tuple[Atom, ...]]:
    """Returns the free axes of a weight; one that is as long as a summed axis of places is taken for these places.

    Layers that mix places ("tokens") give every place a new value; behind flatten + dense nothing is known of places.
    """
    summed = [other.axes[k] for k in gone if all(isinstance(a, Base) for a in other.axes[k])]
    if len(summed) != 1 or len(free) != 1 or free[0][0].size != math.prod(a.size for a in summed[0]):
        return free
    return summed


def _identified(left: Layout, right: Layout, pairs: list[tuple[int, int]]) -> Layout | None:
    """Renames the copies of the base in the second factor where they are summed or batched against the first one's."""
    names: dict[int, int] = {}
    if not all(_identify(left.axes[i], right.axes[j], names) for i, j in pairs):
        return None
    return _renamed(right, lambda copy: names.get(copy, copy))


def _identify(one: tuple[Atom, ...], two: tuple[Atom, ...], names: dict[int, int]) -> bool:
    """Notes which copy of the base in the second axis is which one in the first; tells whether the axes fit."""
    for a, b in zip(one, two, strict=False):
        if isinstance(a, Base) and isinstance(b, Base):
            if (a.axis, a.size) != (b.axis, b.size) or names.setdefault(b.copy, a.copy) != a.copy:
                return False
        elif isinstance(a, Joined) and isinstance(b, Joined):
            if [*map(length, a.parts)] != [*map(length, b.parts)]:
                return False
            if not all(_identify(*parts, names) for parts in zip(a.parts, b.parts, strict=True)):
                return False
        elif isinstance(a, (Base, Joined)) or isinstance(b, (Base, Joined)):
            other = b if isinstance(a, (Base, Joined)) else a
            if not isinstance(other, Still) or other.role != "any":
                return False
    return True


def _renamed(layout: Layout, name: Callable[[int], int]) -> Layout:
    """Returns a layout with other numbers of the copies of the base."""
    return Layout(tuple(relabelled(axis, name) for axis in layout.axes))


SUM: dict[str, Rule] = {
    "conv_general_dilated": _conv,
    **dict.fromkeys(
        ("reduce_window", *(f"reduce_window_{kind}" for kind in ("max", "min", "sum", "and", "or"))), _reduce_window
    ),
    "dot_general": _dot,
}
