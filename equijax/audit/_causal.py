"""Causal layers, read off the operations: windows that are padded in front only, and masks that hide later places.

Both the audit and the static reading ask here. Such a layer looks at earlier places only. No shift around a torus respects
that, as there is none before the first: it reads the sequence in order, and padded around it would see the end first.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from equijax.audit._atoms import Base, Joined, bases
from equijax.audit._layout import Layout
from equijax.audit._network import Network
from equijax.audit._rule import Operand
from equijax.audit._rules import ELEMENTWISE, ORDERED
from equijax.nn._jaxpr import Equation

#: Scores below this are hidden by a softmax.
HIDDEN = -1e8

Padded = Literal["border", "order"]
Placed = Literal["position", "order"]


def padding(network: Network, eq: Equation) -> dict[int, Padded]:
    """Returns the moved axes that an equation pads; ``"order"`` where it does so as a causal layer does."""
    if eq.name == "concatenate":
        return {eq.params["dimension"]: "order"} if _begins_with_zeros(network, eq) else {}
    layout = network.layouts.get(eq.inputs[0]) if eq.inputs else None
    if layout is None:
        return {}
    found: dict[int, Padded] = {}
    for k, pads in _pads(eq).items():
        if any(pads) and any(isinstance(a, Base) and a.size > 1 for a in layout.axes[k]):
            found[k] = "order" if _looks_back(network, eq, k) else "border"
    return found


def _pads(eq: Equation) -> dict[int, tuple[int, int]]:
    """Returns how many samples an equation adds along each array axis that it can pad."""
    if eq.name == "conv_general_dilated":
        places = eq.params["dimension_numbers"].lhs_spec[2:]
        wide = zip(places, eq.params["padding"], eq.params["lhs_dilation"], strict=True)
        return {k: (low // apart, high // apart) for k, (low, high), apart in wide}  # zeros between samples are no samples
    if eq.name.startswith("reduce_window"):
        return dict(enumerate(eq.params["padding"]))
    if eq.name == "pad":
        return {k: pair[:2] for k, pair in enumerate(eq.params["padding_config"])}
    return {}


def _looks_back(network: Network, eq: Equation, k: int) -> bool:
    """Tells whether behind an equation that pads nothing is left that looks at later places along an axis."""
    if eq.name != "pad":
        return _ends_here(network, eq, k, 0)
    low, high, inner = eq.params["padding_config"][k]
    return low > 0 >= high and inner == 0 and _all_look_back(network, eq.outputs[0], k, low)


def _begins_with_zeros(network: Network, eq: Equation) -> bool:
    """Tells whether an equation puts constants in front of samples, and nothing is left that looks at later ones."""
    k, depends = eq.params["dimension"], [v in network.depends for v in eq.inputs]
    v, shapes = eq.inputs[-1], [network.trace.program.avals[v].shape for v in eq.inputs]
    layout, low = network.layouts.get(v), sum(shape[k] for shape in shapes[:-1])
    if not depends[-1] or any(depends[:-1]) or low == 0 or layout is None or layout.custom is not None:
        return False
    out = network.layouts.get(eq.outputs[0])
    apart = out is not None and out.custom is None and any(isinstance(a, Joined) for a in out.axes[k])  # a class token
    if apart or not any(isinstance(a, Base) and a.size > 1 for a in layout.axes[k]):
        return False
    return _is_cut(network, v, k, low) or _all_look_back(network, eq.outputs[0], k, low)


def _is_cut(network: Network, v: int, k: int, count: int) -> bool:
    """Tells whether an array is another one without its last samples along an axis, at least as many as are counted."""
    for eq in network.equations:
        if v in eq.outputs and eq.name == "slice":
            size = network.trace.program.avals[eq.inputs[0]].shape[k]
            start, end = (eq.params[name][k] for name in ("start_indices", "limit_indices"))
            strides = eq.params["strides"]
            return start == 0 and size - end >= count and (strides is None or strides[k] == 1)
    return False


def _all_look_back(network: Network, v: int, k: int, low: int) -> bool:
    """Tells whether all that is computed with an array, in front of which some zeros were put, looks at earlier places."""
    readers = [eq for eq in network.equations if v in eq.inputs]
    return bool(readers) and all(_reads_back(network, eq, v, k, low) for eq in readers)


def _reads_back(network: Network, eq: Equation, v: int, k: int, low: int) -> bool:
    if eq.name == "slice":
        strides = eq.params["strides"]
        return eq.params["start_indices"][k] <= low and (strides is None or strides[k] == 1)
    if eq.name in ELEMENTWISE - ORDERED:
        return _all_look_back(network, eq.outputs[0], k, low)
    return v == eq.inputs[0] and _ends_here(network, eq, k, low)


def _ends_here(network: Network, eq: Equation, k: int, before: int) -> bool:
    """Tells whether the windows of an equation end at their own places, or before, where some zeros come first already."""
    if eq.name == "conv_general_dilated":
        spec = eq.params["dimension_numbers"]
        if k not in spec.lhs_spec[2:]:
            return False
        j = spec.lhs_spec[2:].index(k)
        size = network.trace.program.avals[eq.inputs[1]].shape[spec.rhs_spec[2 + j]]
        apart, inner = eq.params["rhs_dilation"][j], eq.params["lhs_dilation"][j]
        low, high = eq.params["padding"][j]
    elif eq.name.startswith("reduce_window"):
        size, apart, inner = (eq.params[name][k] for name in ("window_dimensions", "window_dilation", "base_dilation"))
        low, high = eq.params["padding"][k]
    else:
        return False
    return inner == 1 and high <= 0 and size > 1 and before + low >= (size - 1) * apart


def varying(operand: Operand, out: Layout, skipped: int | None = None) -> list[int]:
    """Returns the axes along the base along which an operand varies that does not depend on the input."""
    if operand.depends or operand.value is None or len(operand.shape) != len(out.axes):
        return []
    axes = [k for k, axis in enumerate(out.axes) if operand.shape[k] > 1 and bases(axis) and k != skipped]
    if not axes or any(operand.shape[k] != out.shape[k] for k in axes):
        return []
    value = np.asarray(operand.value)
    first = value[tuple(slice(0, 1) if k in axes else slice(None) for k in range(value.ndim))]
    return [] if (value == first).all() else axes


def placed(eq: Equation, operands: list[Operand], i: int, out: Layout) -> tuple[Placed, ...]:
    """Returns what an operand that varies along the base is: ``"order"`` of a mask that hides later places.

    What it adds besides may depend on how far two places are apart only; else it is a ``"position"`` too.
    """
    found = _hiding(eq, operands, i)
    axes = _pair(out, found[0] if found else None)
    if found is None or axes is None:
        return ("position",)
    shown, values = (np.moveaxis(a, axes, (-2, -1)) for a in found)
    steady = bool((shown[..., 1:, 1:] == shown[..., :-1, :-1]).all())
    sides = [np.triu(shown, 1).any(), np.tril(shown, -1).any()]
    if not steady or shown.all() or sides[0] == sides[1]:
        return ("position",)
    return ("order",) if np.allclose(values[..., 1:, 1:], values[..., :-1, :-1]) else ("order", "position")


def _hiding(eq: Equation, operands: list[Operand], i: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns where an operand shows what it is combined with, and its values there; None where it hides nothing."""
    value: Any = np.asarray(operands[i].value)
    if eq.name in ("and", "or") and value.dtype == bool:
        shown = value if eq.name == "and" else ~value
        return shown, np.zeros(value.shape)
    if eq.name == "select_n" and i == 0 and len(operands) == 3:
        depends = [o.depends for o in operands[1:]]
        return None if all(depends) or not any(depends) else (value == depends.index(True), np.zeros(value.shape))
    if eq.name == "mul":
        return value != 0, value
    if eq.name in ("add", "add_any") or (eq.name == "sub" and i == 1):
        value = -value if eq.name == "sub" else value
        return value > HIDDEN, np.where(value > HIDDEN, value, 0.0)
    return None


def _pair(out: Layout, shown: np.ndarray | None) -> tuple[int, int] | None:
    """Returns the two axes of an array that hold copies of the same places; None where something else moves too."""
    axes = [k for k, axis in enumerate(out.axes) if bases(axis)]
    if shown is None or out.custom is not None or len(axes) != 2 or shown.shape[axes[0]] != shown.shape[axes[1]]:
        return None
    places = [[(a.axis, a.size, a.spacing, a.origin) for a in bases(out.axes[k]) if not a.local] for k in axes]
    copies = [{a.copy for a in bases(out.axes[k])} for k in axes]
    return (axes[0], axes[1]) if places[0] == places[1] != [] and copies[0] != copies[1] else None


def causal_by(network: Network, equations: tuple[Equation, ...]) -> Literal["", "window", "mask"]:
    """Tells what makes a step causal: a window that is padded in front, or a mask."""
    if any("order" in padding(network, eq).values() for eq in equations):
        return "window"
    return "mask" if any("order" in kinds for eq in equations for _, kinds in placed_operands(network, eq)) else ""


def placed_operands(network: Network, eq: Equation) -> Iterator[tuple[int, tuple[Placed, ...]]]:
    """Yields the number of each operand of an elementwise equation that varies along the base, and what it is."""
    out = network.layouts.get(eq.outputs[0])
    if out is None or not out.base or eq.name not in ELEMENTWISE:
        return
    operands = network.operands(eq, network.layouts)
    for i, (v, operand) in enumerate(zip(eq.inputs, operands, strict=True)):
        if v not in network.counts and varying(operand, out):
            yield i, placed(eq, operands, i, out)
