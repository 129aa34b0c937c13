"""What a chain of layers does to an action, and which elements it respects: those that every step keeps."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from equijax.actions import Action, GridAction, KeptProduct, Nothing, ProductAction, kept_by
from equijax.actions._grid_motions import GridMotions
from equijax.actions._kept_parts import meet, restricted
from equijax.nn._exactness import Exactness
from equijax.nn._layer import Layer, sized, traced_shape
from equijax.nn._part import Part
from equijax.nn._passing import action_after, name_of, unknown
from equijax.nn._restrict import Restrict

Entries = Sequence[Any]


def is_layer(entry: Any) -> bool:
    """Tells whether an entry says itself what it does to an action."""
    return isinstance(entry, Layer) or hasattr(entry, "exactness_for")


def fold(entries: Entries, action: Action) -> Action:
    """Carries an action through all entries, whatever the sizes; behind what can't be followed it is unknown.

    Raises:
      ValueError: an entry does not fit its predecessor; the message names both.
    """
    before, features = "the input", None
    for k, entry in enumerate(entries):
        place = f"layer {k} ({name_of(entry)})"
        if is_layer(entry):
            if k == 0 or features is None:
                features = getattr(entry, "in_features", features)
            if action.is_known:
                try:
                    action = entry.out_action_for(action)
                except (TypeError, ValueError) as error:
                    raise type(error)(f"{place} does not fit {before}: {error}") from None
            features = getattr(entry, "out_features", features if not isinstance(entry, Restrict) else None)
            before = place
        elif action.is_known:
            action, features = action_after(entry, action, place, None, features)
    return action


def exactness_of_chain(entries: Entries, in_action: Action, shape: Any) -> Exactness:
    """Finds the elements that every step of the chain keeps.

    Both sides of each step are moved by the same element, so what all steps keep is kept by the chain.

    Args:
      entries: layers, functions and Flax modules.
      in_action: how the input is moved.
      shape: shape of the input; a graph is given itself.
    """
    action = in_action = sized(in_action, shape)
    kept = kept_by(action, shape)
    reasons = [kept.reason] if isinstance(kept, GridMotions) else []
    is_torus_new = False
    for k, entry in enumerate(entries):
        place = f"layer {k} ({name_of(entry)})"
        if not action.is_known:
            break
        if not is_layer(entry):
            action, _ = action_after(entry, action, place, shape if _is_shape(shape) else None, None)
        elif not _is_shape(shape):
            action = entry.out_action_for(action)
        else:
            local = entry.exactness_for(action, shape)
            if isinstance(entry, Restrict) and local.in_action.group.open != action.group.open:
                in_action = in_action.plain.restrict(entry.subgroup)  # type: ignore[attr-defined]
                kept = restricted(kept, entry.subgroup, in_action.group)
                reasons.append(f"Layer {k} (Restrict) keeps {entry.subgroup!r}.")
            kept = meet(kept, local.kept)
            if local.reason and local.reason not in reasons:
                reasons.append(f"Layer {k} ({name_of(entry)}): {local.reason}")
            action = local.out_action if local.kept.is_known else unknown(action, place, local.reason)
        if _is_shape(shape) and k + 1 < len(entries) and action.is_known:
            shape = _shape_after(entry, shape, kept)
            if shape is not None:
                arrays = as_arrays(action, shape)
                kept = kept if arrays is action else meet(kept, kept_by(with_grid(action, boundary="zero"), shape))
                is_torus_new = is_torus_new or arrays is not action
                action = arrays
    if not action.is_known:
        return Exactness(in_action, action, Nothing(in_action.group), action.reason)  # type: ignore[attr-defined]
    if is_torus_new:
        action = _of_group(action, in_action)
    return Exactness(in_action, action, kept, " ".join(reason for reason in reasons if reason))


def start_of_chain(entries: Entries, shape: Any = None) -> Action:
    """Returns the action on the input: that of the first layer, with spacing and origin that suit the whole chain.

    The spacing is the smallest that makes every grid of the chain whole. On a torus whose later layers have borders the
    origin is such that the group turns the torus about the centre of the first array with borders.

    Args:
      entries: layers, functions and Flax modules.
      shape: shape of the input, where it is known.
    """
    first: Action = next(entry for entry in entries if isinstance(entry, (Layer, Part))).in_action
    own = list(_own_grids(entries))
    spacing = _smallest_spacing(own)
    if spacing is not None:
        first = with_grid(first, spacing=spacing)
    if not _is_shape(shape) and len({grid.boundary for pair in own for grid in pair if grid is not None}) < 2:
        return first
    action = sized(first, shape) if _is_shape(shape) else first
    for before, sizes, after, out_sizes in _grids(entries, action, shape):
        if before.boundary == "wrap" and (after.boundary == "zero" or _is_uneven(after, out_sizes)):
            array = (before, sizes) if after.boundary == "zero" else (after, out_sizes)
            moved = _gap(before, sizes, *array)
            if moved is None:
                return first
            return with_grid(first, origin=tuple(a + b for a, b in zip(grid_in(first).origin, moved, strict=True)))
    return first


def as_arrays(action: Action, shape: tuple[int, ...]) -> Action:
    """Returns the action on what is no whole torus any more, since a stride did not divide its size.

    A later layer that wraps such an array around makes another torus of it, with the same centre. What is left are the point
    elements about that centre; where the stride divides the size along one axis only, the shifts along it are not claimed.
    """
    parts = action.parts(shape) if isinstance(action, ProductAction) else None
    if parts is not None:
        return ProductAction(*(as_arrays(factor, view) for factor, view in parts))
    grid = action.grid(shape)
    if grid is None or grid[0].boundary == "zero" or not _is_uneven(*grid):
        return action
    if grid[0].point_group.is_lattice_centred:
        return with_grid(grid[0], boundary="zero")
    torus = tuple(s * n for s, n in zip(grid[0].spacing, grid[1], strict=True))
    origin = tuple((s - 1) / 2 for s in grid[0].spacing)
    return with_grid(grid[0], group=grid[0].group.open, torus=torus, origin=origin)


def with_grid(action: Action, **changes: Any) -> Action:
    """Returns the action with other attributes of its grid; itself where it has no grid."""
    if isinstance(action, GridAction):
        return dataclasses.replace(action, **changes)
    if isinstance(action, ProductAction):
        return ProductAction(*(with_grid(factor, **changes) for factor in action.factors))
    return action


def _of_group(action: Action, in_action: Action) -> Action:
    """Returns the action as one of the group of the input, whose torus may be another; its elements without shifts count."""
    if isinstance(action, ProductAction) and isinstance(in_action, ProductAction):
        return ProductAction(*map(_of_group, action.factors, in_action.factors))
    fields: Any = action
    return (
        dataclasses.replace(fields, group=in_action.group)
        if "group" in getattr(action, "__dataclass_fields__", ())
        else action
    )


def grid_in(action: Action) -> Any:
    """The action on a grid, alone or as a factor; None where there is none."""
    if isinstance(action, ProductAction):
        return next((grid for factor in action.factors if (grid := grid_in(factor)) is not None), None)
    return action if isinstance(action, GridAction) else None


def _own_grids(entries: Entries) -> Iterator[tuple[Any, Any]]:
    """The grids that each layer takes and gives by itself, up to the first that is on no grid."""
    for entry in entries:
        if isinstance(entry, Layer):
            try:
                action = entry.in_action
                into, out = grid_in(action), grid_in(entry.out_action_for(action))
            except ValueError:
                return
            if into is None:
                return
            yield into, out


def _smallest_spacing(grids: Sequence[tuple[Any, Any]]) -> tuple[int, ...] | None:
    """The smallest spacing of the input with which every grid has a whole one; None without grids."""
    ratio: list[Fraction] = []
    least: list[int] = []
    for into, out in grids:
        if not ratio:
            ratio, least = [Fraction(1)] * into.ndim, [1] * into.ndim
        if out is None or out.ndim != len(ratio) or into.ndim != len(ratio):
            break
        ratio = [r * Fraction(b, a) for r, a, b in zip(ratio, into.spacing, out.spacing, strict=True)]
        least = [math.lcm(m, r.denominator) for m, r in zip(least, ratio, strict=True)]
    return tuple(least) or None


def _grids(entries: Entries, action: Action, shape: Any) -> Iterator[tuple[Any, Any, Any, Any]]:
    """The grids before and behind each layer, each with its sizes where they are known; functions are passed over."""
    for entry in entries:
        if not isinstance(entry, Layer):
            continue
        before = grid_in(action)
        if before is None:
            return
        try:
            action = entry.out_action_for(action)
            sizes = before.sizes(shape) if _is_shape(shape) else None
            shape = entry.out_shape(shape) if _is_shape(shape) else shape
            after = grid_in(action)
            out_sizes = after.sizes(shape) if after is not None and _is_shape(shape) else None
        except (TypeError, ValueError):
            return
        if after is None:
            return
        yield before, sizes, after, out_sizes


def _is_uneven(grid: Any, sizes: Any) -> bool:
    """Whether the samples of a torus do not go round it evenly."""
    if sizes is None:
        return False
    return any(s * n != total for s, n, total in zip(grid.spacing, sizes, grid.period(sizes), strict=True))


def _gap(torus: Any, sizes: Any, array: Any, lengths: Any) -> tuple[float, ...] | None:
    """How far the centre of a torus is from that of an array on it, in pixels; None where that depends on the sizes."""
    if sizes is not None:
        centre = torus.doubled_centre(sizes)
        own = dataclasses.replace(array, boundary="zero").doubled_centre(lengths)
        return tuple((a - b) / 2 for a, b in zip(centre, own, strict=True))
    if torus.point_group.is_lattice_centred:
        return None
    return tuple((s - 1) / 2 - p for s, p in zip(array.spacing, array.origin, strict=True))


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple)


def _shape_after(entry: Any, shape: Any, kept: Any) -> Any:
    """The shape behind an entry; None where it can't be told and nothing depends on it."""
    try:
        return entry.out_shape(shape) if is_layer(entry) else traced_shape(entry, shape)
    except (TypeError, ValueError):
        if isinstance(kept, (GridMotions, KeptProduct)):
            raise
        return None
