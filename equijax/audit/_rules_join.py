"""Rules of operations that make axes longer, or join arrays."""

import dataclasses

from equijax.audit._layout import Atom, Base, Fibre, Layout, Still, merged, normalised
from equijax.audit._rule import Layouts, Operand, Operands, Params, Rule, Shapes, assembled


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
    if layout is None or not all(isinstance(a, Still) for a in layout.axes[k]):
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
        elif len(axis) != 1 or isinstance(axis[0], Fibre):
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
