"""Rules of integers that number the samples of a base: which operations keep them, and what is read or written by them."""

import dataclasses
import math
from typing import Any

import numpy as np

from equijax.audit._atoms import Atom, Base, Joined, Numbers, Still, bases, relabelled
from equijax.audit._layout import Layout, merged, normalised
from equijax.audit._rule import Operand, Operands, Params

#: Operations that rearrange entries, and leave alone what they are.
_REARRANGING = frozenset(
    """broadcast_in_dim reshape squeeze expand_dims transpose slice dynamic_slice split gather rev tile copy copy_p unstack
    stop_gradient optimization_barrier pad""".split()
)


def numbers_of(name: str, params: Params, operands: Operands) -> Numbers | None:
    """Returns what the values of an output number; None where they are features.

    A number and a constant make a number: added, it is an offset; as a bound or a choice (``where(mask, receivers, n)``) it
    changes only what numbers nothing. All other arithmetic makes features.
    """
    own = [None if o.layout is None else o.layout.numbers for o in operands]
    found = [numbers for numbers in own if numbers is not None]
    if not found:
        return None
    if name in _REARRANGING or (name == "convert_element_type" and np.issubdtype(params["new_dtype"], np.integer)):
        return own[0]
    if name in ("concatenate", "stack"):
        alike = [numbers == found[0] or counts(o, found[0]) for numbers, o in zip(own, operands, strict=True)]
        return found[0] if all(alike) else None
    if name == "select_n":
        fit = len({numbers.base for numbers in found}) == 1 and all(
            numbers is not None or not o.depends for numbers, o in zip(own[1:], operands[1:], strict=True)
        )
        return min(found, key=lambda numbers: abs(numbers.offset)) if fit else None
    constant = [o.value for o in operands if not o.depends]
    if len(found) != 1 or len(constant) != len(operands) - 1 or any(c is None for c in constant):
        return None
    if name in ("max", "min", "clamp"):
        return found[0]
    if name in ("add", "sub") and own[0 if name == "sub" else own.index(found[0])] and np.size(constant[0]):
        step = np.unique(np.asarray(constant[0]))
        sign = 1 if name == "add" else -1
        return dataclasses.replace(found[0], offset=found[0].offset + sign * int(step[0])) if len(step) == 1 else None
    return None


def ranked(name: str, params: Params, operands: Operands, count: int) -> list[Numbers | None]:
    """Returns what each output of a ranking numbers: the samples of the axis that it orders."""
    axis = params.get("axes", (params.get("dimension", params.get("axis", -1)),))[0]
    layout = operands[0].layout
    atoms = layout.axes[axis] if layout is not None else ()
    result: list[Numbers | None] = [None] * count
    sorts_places = name == "sort" and count == 2 and params["num_keys"] == 1 and _counts_along(operands[1], axis)
    if len(atoms) == 1 and isinstance(atoms[0], Base) and (name in ("top_k", "argmax", "argmin") or sorts_places):
        result[-1] = Numbers(dataclasses.replace(atoms[0], copy=0))
    return result


def _counts_along(operand: Operand, axis: int) -> bool:
    """Tells whether a constant counts the entries of an axis, as ``argsort`` makes it."""
    if operand.depends or operand.value is None:
        return False
    last = np.moveaxis(np.asarray(operand.value), axis, -1)
    return bool((last == np.arange(last.shape[-1])).all())


def counts(operand: Operand, numbers: Numbers) -> bool:
    """Tells whether a constant counts all samples of a base in order, as self-loops do that are put behind the edges."""
    if operand.depends or operand.value is None:
        return False
    wanted = np.arange(numbers.base.size) + numbers.offset
    return np.array_equal(np.asarray(operand.value).reshape(-1), wanted)


def numbered_axis(operands: Operands, layout: Layout | None) -> Layout | None:
    """Returns the layout of ``numbers == arange``: the axis of the range is the axis of what is numbered (one-hot rows)."""
    numbers = next((o.layout.numbers for o in operands if o.layout is not None and o.layout.numbers is not None), None)
    ranges = [np.asarray(o.value) for o in operands if not o.depends and o.value is not None]
    if layout is None or numbers is None or numbers.offset or not ranges:
        return layout
    axes = list(layout.axes)
    for k, axis in enumerate(axes):
        size = math.prod(a.size for a in axis)
        own = ranges[0].size == size == numbers.base.size and ranges[0].ndim == len(axes) and ranges[0].shape[k] == size
        if own and all(isinstance(a, Still) for a in axis) and np.array_equal(ranges[0].reshape(-1), np.arange(size)):
            axes[k] = (dataclasses.replace(numbers.base, copy=200),)
    return normalised(tuple(axes))


def gathered(params: Params, operands: Operands, shape: tuple[int, ...]) -> Layout | None:
    """Returns the layout of rows taken by an index that depends on the input: the axes of the index, and those of a row."""
    dimensions, (layout, index) = params["dimension_numbers"], (operands[0].layout, operands[1].layout)
    taken = tuple(dimensions.start_index_map)
    if layout is None or index is None or set(taken) != set(dimensions.collapsed_slice_dims):
        return None
    batched = tuple(getattr(dimensions, "operand_batching_dims", ()))
    sizes = enumerate(zip(operands[0].shape, params["slice_sizes"], strict=True))
    if not all(n == m for k, (n, m) in sizes if k not in (*taken, *batched)) or not _holds(index, len(taken)):
        return None
    if not all(numbered_by(index.numbers, layout.axes[k]) for k in taken):
        return None
    pairs = zip(batched, getattr(dimensions, "start_indices_batching_dims", ()), strict=True)
    if any(layout.axes[k] != index.axes[j] or bases(index.axes[j]) for k, j in pairs):
        return None
    kept = [axis for k, axis in enumerate(layout.axes) if k not in (*taken, *batched)]
    return _laid_out(len(shape), dict(zip(dimensions.offset_dims, map(_other, kept), strict=True)), index)


def scattered(params: Params, operands: Operands, shape: tuple[int, ...]) -> Layout | None:
    """Returns the layout of rows that are written, or added up, at an index that depends on the input."""
    dimensions, (target, index, updates) = params["dimension_numbers"], operands
    places = tuple(dimensions.scatter_dims_to_operand_dims)
    if index.layout is None or set(places) != set(dimensions.inserted_window_dims):
        return None
    if getattr(dimensions, "operand_batching_dims", ()) or not _holds(index.layout, len(places)):
        return None
    windows = [k for k in range(len(shape)) if k not in places]
    axes: list[tuple[Atom, ...]] = [(Still(n, "any"),) for n in shape]
    numbers = index.layout.numbers
    for copy, k in enumerate(places):
        if numbers is not None and numbers.offset:
            return None
        axes[k] = (Still(shape[k]),) if numbers is None else (dataclasses.replace(numbers.base, size=shape[k], copy=copy),)
    if updates.depends and updates.layout is not None:
        rows = _laid_out(len(updates.shape), {}, index.layout, dimensions.update_window_dims)
        if rows is None or not _agree(rows, updates.layout, dimensions.update_window_dims):
            return None
        for k, source in zip(windows, dimensions.update_window_dims, strict=True):
            if operands[2].shape[source] != shape[k]:
                return None
            axes[k] = _other(updates.layout.axes[source])
    result = normalised(tuple(axes))
    return merged(target.layout, result) if target.depends and target.layout is not None else result


def _holds(index: Layout, count: int) -> bool:
    """Tells whether the last axis of an index holds its ``count`` coordinates."""
    return index.shape[-1] == count and all(isinstance(a, Still) for a in index.axes[-1])


def numbered_by(numbers: Numbers | None, axis: tuple[Atom, ...]) -> bool:
    """Tells whether numbers are those of an axis; where the group leaves the axis alone, any features will do."""
    if all(isinstance(a, Still) for a in axis):
        return True
    base = axis[0]
    if numbers is None or len(axis) != 1 or not isinstance(base, Base) or numbers.offset:
        return False
    return dataclasses.replace(base, copy=0) == dataclasses.replace(numbers.base, copy=0)


def _laid_out(ndim: int, known: dict[int, tuple[Atom, ...]], index: Layout, skipped: Any = ()) -> Layout | None:
    """Returns axes of which some are known, and those left are the axes of the index but the last."""
    left = [k for k in range(ndim) if k not in known and k not in skipped]
    if len(left) != len(index.axes) - 1:
        return None
    axes: list[tuple[Atom, ...]] = [(Still(1, "any"),)] * ndim
    for k, axis in {**known, **dict(zip(left, index.axes[:-1], strict=True))}.items():
        axes[k] = axis
    return normalised(tuple(axes))


def _agree(rows: Layout, updates: Layout, windows: Any) -> bool:
    """Tells whether updates and the index run over the same places."""
    pairs = enumerate(zip(rows.axes, updates.axes, strict=True))
    return all(_alike(relabelled(a, lambda _: 0), relabelled(b, lambda _: 0)) for k, (a, b) in pairs if k not in windows)


def _alike(rows: tuple[Atom, ...], updates: tuple[Atom, ...]) -> bool:
    if rows == updates or all(isinstance(a, Still) for a in updates):
        return True
    pair = (*rows, *updates)
    if len(pair) != 2 or not (isinstance(pair[0], Joined) and isinstance(pair[1], Joined)):
        return False
    return len(pair[0].parts) == len(pair[1].parts) and all(map(_alike, pair[0].parts, pair[1].parts))


def _other(axis: tuple[Atom, ...]) -> tuple[Atom, ...]:
    """Returns the axis as one of other copies of the base than those of the index."""
    return relabelled(axis, lambda copy: copy + 100)
