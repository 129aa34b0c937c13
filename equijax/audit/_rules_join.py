"""Rules of operations that make axes longer, or join arrays."""

import dataclasses

import numpy as np

from equijax.audit._atoms import Atom, Base, Fibre, Joined, Numbers, Still, in_a_row
from equijax.audit._layout import Layout, merged, normalised
from equijax.audit._rule import Layouts, Operand, Operands, Params, Rule, Shapes, assembled
from equijax.audit._rules_index import counts


def _concatenate(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    k, total = params["dimension"], shapes[0][params["dimension"]]
    parts = [o for o in operands if o.depends and o.layout is not None]
    rest: Layout | None = None
    for o in parts:
        own = _without(o, k)
        rest = own if rest is None else merged(rest, own)
        if rest is None:
            return [None]
    if rest is None:
        return [None]
    axes = list(rest.axes)
    numbers = next((o.layout.numbers for o in parts if o.layout is not None and o.layout.numbers is not None), None)
    own_axes = [_counted(o, numbers) or _known_axis(o, k) for o in operands]
    if all(isinstance(a, Still) for axis in own_axes for a in axis):
        axes[k] = (Still(total),)
    elif _continues(operands, k):
        widest = max(parts, key=lambda o: o.shape[k])
        (main,) = _known_axis(widest, k)
        before = sum(o.shape[k] for o in operands[: operands.index(widest)])
        origin = main.origin - before * main.spacing  # pyright: ignore[reportAttributeAccessIssue]
        axes[k] = (dataclasses.replace(main, size=total, origin=origin),)
    elif any(isinstance(a, Fibre) for axis in own_axes for a in axis):
        axes[k] = (Still(total),)
    else:
        axes[k] = in_a_row(own_axes)
    return [normalised(tuple(axes))]


def _counted(operand: Operand, numbers: Numbers | None) -> tuple[Atom, ...] | None:
    """Returns the axis of a constant that counts all samples of a base, as self-loops behind the edges of a graph do."""
    if numbers is None or not counts(operand, numbers):
        return None
    return (dataclasses.replace(numbers.base, copy=300),)


def _continues(operands: Operands, k: int) -> bool:
    """Tells whether arrays continue each other along an axis: samples of one grid, and constants that pad them.

    What is learned is no padding, nor are values that differ; a sample of the input that is repeated is. Two times the same
    samples don't continue each other.
    """
    moved = [axis for o in operands if o.depends and not _repeats(axis := _known_axis(o, k))]
    padding = all(not o.learned and (o.value is None or np.ptp(o.value) == 0) for o in operands if not o.depends)
    plain = all(len(axis) == 1 and isinstance(axis[0], Base) for axis in moved)
    if not padding or not plain:
        return False
    samples = [axis[0] for axis in moved]
    if any(a.name for a in samples):  # pyright: ignore[reportAttributeAccessIssue]
        return False  # nodes and edges have no neighbours in an array
    grids = {(a.axis, abs(a.spacing)) for a in samples}  # pyright: ignore[reportAttributeAccessIssue]
    longer = [a for a in samples if a.size > 1]
    return len(grids) == 1 and len(set(longer)) == len(longer)


def _repeats(axis: tuple[Atom, ...]) -> bool:
    """Tells whether an axis holds one entry again and again."""
    return len(axis) == 1 and isinstance(axis[0], Still) and axis[0].role == "any" and axis[0].size > 1


def _known_axis(operand: Operand, k: int) -> tuple[Atom, ...]:
    if operand.layout is not None:
        return operand.layout.axes[k]
    return (Still(operand.shape[k], "any" if operand.value is not None and np.ptp(operand.value) == 0 else "feature"),)


def _without(operand: Operand, k: int) -> Layout:
    axes = list(operand.layout.axes) if operand.layout is not None else []
    axes[k] = (Still(1, "any"),)
    return normalised(tuple(axes))


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


def _unstack(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    k, layout = params["axis"], operands[0].layout
    if layout is None or not all(isinstance(a, Still) for a in layout.axes[k]):
        return [None] * len(shapes)
    return [normalised(tuple(axis for j, axis in enumerate(layout.axes) if j != k))] * len(shapes)


def _tile(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    if layout is None:
        return [None]
    axes: list[tuple[Atom, ...] | None] = []
    for axis, times, n in zip(layout.axes, params["reps"], shapes[0], strict=True):
        still = all(isinstance(a, Still) for a in axis)
        axes.append(axis if times == 1 else (Still(n, "any" if n == times else "feature"),) if still else None)
    return [assembled(axes)]


def _top_k(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    k = params.get("axis", params.get("dimension", len(shapes[0]) - 1)) % len(shapes[0])
    if layout is None or not (len(layout.axes[k]) == 1 and isinstance(layout.axes[k][0], (Still, Base))):
        return [None] * len(shapes)
    axes = tuple((Still(shapes[0][k]),) if j == k else axis for j, axis in enumerate(layout.axes))
    return [normalised(axes)] * len(shapes)


def _pad(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    if layout is None or not operands[0].depends:
        return [None]
    axes: list[tuple[Atom, ...]] = []
    for axis, (low, high, inner), size in zip(layout.axes, params["padding_config"], shapes[0], strict=True):
        if (low, high, inner) == (0, 0, 0):
            axes.append(axis)
        elif len(axis) != 1 or isinstance(axis[0], (Fibre, Joined)):
            return [None]
        elif isinstance(axis[0], Base):
            spacing = axis[0].spacing / (inner + 1)
            axes.append((dataclasses.replace(axis[0], size=size, spacing=spacing, origin=axis[0].origin - low * spacing),))
        else:
            axes.append((Still(size),))
    return [normalised(tuple(axes))]


JOIN: dict[str, Rule] = {
    "concatenate": _concatenate,
    "stack": _stack,
    "unstack": _unstack,
    "tile": _tile,
    "top_k": _top_k,
    "pad": _pad,
}
