"""Rules of operations that rearrange or reduce whole axes."""

import dataclasses
import math

from equijax.audit._atoms import Atom, Base, Fibre, Joined, Still
from equijax.audit._layout import Layout, dropped, normalised, reshaped
from equijax.audit._rule import Layouts, Operands, Params, Rule, Shapes


def _broadcast(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    if layout is None:
        return [None]
    axes: list[tuple[Atom, ...]] = [(Still(n, "any"),) for n in shapes[0]]
    for axis, k in zip(layout.axes, params["broadcast_dimensions"], strict=True):
        if math.prod(a.size for a in axis) == shapes[0][k]:
            axes[k] = axis
    return [normalised(tuple(axes))]


def _reshape(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del params
    layout = operands[0].layout
    return [None if layout is None else reshaped(layout, shapes[0])]


def _transpose(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del shapes
    layout = operands[0].layout
    return [None if layout is None else normalised(tuple(layout.axes[k] for k in params["permutation"]))]


def _reduce(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del shapes
    layout = operands[0].layout
    return [None if layout is None else _reduced(layout, set(params["axes"]))]


def _reduced(layout: Layout, axes: set[int]) -> Layout | None:
    rest = dropped(layout, axes)
    return None if rest is None else normalised(rest.axes)


def _argmax(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    layout = operands[0].layout
    axes = [layout.axes[k] for k in params["axes"]] if layout is not None else []
    if layout is None or not all(len(axis) == 1 and isinstance(axis[0], (Still, Base)) for axis in axes):
        return [None] * len(shapes)
    return [_reduced(layout, set(params["axes"]))]


def _sort(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    k, layout = params["dimension"], operands[0].layout
    if layout is None or any(o.depends for o in operands[1:]):
        return [None] * len(shapes)
    axes = list(layout.axes)
    # sorted values don't move any more
    axes[k] = tuple(Still(a.size) if isinstance(a, (Base, Joined)) else a for a in axes[k])
    return [normalised(tuple(axes))] * len(shapes)


def _rev(params: Params, operands: Operands, shapes: Shapes) -> Layouts:
    del shapes
    layout = operands[0].layout
    if layout is None:
        return [None]
    axes = list(layout.axes)
    for k in params["dimensions"]:
        if any(isinstance(a, (Fibre, Joined)) for a in axes[k]):
            return [None]
        axes[k] = tuple(_backwards(a) for a in axes[k])
    return [normalised(tuple(axes))]


def _backwards(atom: Atom) -> Atom:
    if not isinstance(atom, Base):
        return atom
    return dataclasses.replace(atom, origin=atom.positions[-1], spacing=-atom.spacing)


SHAPE: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "transpose": _transpose,
    "reduce_sum": _reduce,
    "reduce_max": _reduce,
    "reduce_min": _reduce,
    "reduce_prod": _reduce,
    "reduce_and": _reduce,
    "reduce_or": _reduce,
    "reduce_xor": _reduce,
    "argmax": _argmax,
    "argmin": _argmax,
    "sort": _sort,
    "rev": _rev,
}
