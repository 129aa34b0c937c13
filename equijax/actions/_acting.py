"""Which elements of a group map arrays of given shapes to themselves, and how to draw some."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from equijax._arguments import shown
from equijax.actions._action import Action
from equijax.actions._motions import Motions, common_motions
from equijax.groups import Group
from equijax.groups._elements import batch_shape, concrete, numeric, on_device
from equijax.groups._group import Element

_TRIES = 64

Side = tuple[Action, tuple[int, ...]]
"""An action, and the (full) shape of the array that it moves; what is no single array has the shape ``()``."""


def shape_of(x: Any) -> tuple[int, ...]:
    """Returns the shape of an array or of nested lists; ``()`` for what is no single array."""
    return np.shape(x) if hasattr(x, "shape") or isinstance(x, list) else ()


def sample_acting(sides: list[Side], key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
    """Draws elements that map the arrays of all sides to themselves, with leading axes ``shape``.

    On a grid these are a uniform point element and shifts of up to 8 steps; elsewhere the group says how it draws, and what
    an action refuses (``acts``) is drawn again. The factors of a product, and the blocks of a hierarchy, are drawn
    independently.
    """
    group = sides[0][0].group
    factors = _factors(sides)
    if factors is not None:
        keys = jax.random.split(key, len(factors))
        return tuple(sample_acting(factor, k, shape) for factor, k in zip(factors, keys, strict=True))
    blocks = _blocks(sides)
    if blocks is not None:
        for_blocks, for_order = jax.random.split(key)
        return (sample_acting(blocks, for_blocks, (*shape, group.outer.n)), group.outer.sample(for_order, shape))
    motions = _motions(sides)
    return _drawn(group, sides, key, shape) if motions is None else motions.sample(group, key, shape)


def measured_elements(sides: list[Side], key: jax.Array, limit: int = 1024, samples: int = 8) -> Element:
    """Returns the elements at which to measure a function, stacked along a leading axis.

    On grids these are all point elements that map the arrays to themselves, on a torus each with a random shift, and a few
    shifts alone; of a finite group of order up to ``limit`` all elements; of a product so many that each element that a
    factor would be measured at appears; else random ones.
    """
    group = sides[0][0].group
    factors = _factors(sides)
    if factors is not None:
        keys = jax.random.split(key, len(factors))
        each = [measured_elements(factor, k, limit, samples) for factor, k in zip(factors, keys, strict=True)]
        count = max(_count(elements) for elements in each)
        return tuple(repeated(elements, count) for elements in each)
    motions = _motions(sides)
    if motions is not None:
        return _measured_motions(motions, group, key, samples // 2)
    try:
        listed = group.elements() if group.order <= limit else None
    except ValueError:
        listed = None
    if listed is None:
        return _drawn(group, sides, key, (samples,)) if _blocks(sides) is None else sample_acting(sides, key, (samples,))
    acting = np.flatnonzero(_all_act(listed, sides))
    return listed if len(acting) == _count(listed) else jax.tree.map(lambda leaf: leaf[acting], listed)


def _drawn(group: Group, sides: list[Side], key: jax.Array, shape: tuple[int, ...]) -> Element:
    """Draws as the group does, and again where an action refuses; the identity where that fails 64 times."""
    drawn = group.draw(key, shape)
    if concrete(drawn) is None:
        return drawn
    fixed = [len(leaf.shape) for leaf in jax.tree.leaves(group.element_shape)]
    leaves, structure = jax.tree.flatten(drawn)
    flat = [leaf.reshape(math.prod(shape), *leaf.shape[leaf.ndim - n :]) for leaf, n in zip(leaves, fixed, strict=True)]
    for i in np.flatnonzero(~_all_act(structure.unflatten(flat), sides)):
        keys = jax.random.split(jax.random.fold_in(key, int(i)), _TRIES)
        tries = (group.draw(k) for k in keys)
        g = next((g for g in tries if all(action.acts(g, shape) for action, shape in sides)), group.identity)
        flat = [leaf.at[i].set(jnp.asarray(part, leaf.dtype)) for leaf, part in zip(flat, jax.tree.leaves(g), strict=True)]
    return structure.unflatten([new.reshape(old.shape) for new, old in zip(flat, leaves, strict=True)])


def _all_act(elements: Element, sides: list[Side]) -> np.ndarray:
    """Which of several stacked elements map the arrays of all sides to themselves, bool."""
    known = concrete(elements)
    pick = lambda i: jax.tree.map(lambda leaf: leaf[i], known)  # noqa: E731
    return np.array([all(action.acts(pick(i), shape) for action, shape in sides) for i in range(_count(known))], bool)


def _factors(sides: list[Side]) -> list[list[Side]] | None:
    """The sides of each factor of a product, or None where a side does not come apart."""
    apart = [action.parts(shape) for action, shape in sides]
    if any(parts is None for parts in apart):
        return None
    return [list(factor) for factor in zip(*apart, strict=True)]  # pyright: ignore[reportArgumentType]


def _blocks(sides: list[Side]) -> list[Side] | None:
    """The sides of one block of a hierarchy, or None where there is another action among them."""
    blocks = [action.block(shape) for action, shape in sides]
    return None if any(block is None for block in blocks) else blocks  # pyright: ignore[reportReturnType]


def _motions(sides: list[Side]) -> Motions | None:
    """The motions that all grids among the sides share, or None where there is no grid."""
    grids = [grid for action, shape in sides if (grid := action.grid(shape)) is not None]
    return common_motions(*grids) if grids else None


def _measured_motions(motions: Motions, group: Group, key: jax.Array, shifts: int) -> Element:
    plain = dataclasses.replace(motions, elements={0: motions.elements[0]})
    return jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves),
        motions.each(group, key),
        plain.sample(group, jax.random.fold_in(key, 1), (shifts if any(motions.steps) else 0,)),
    )


def _count(elements: Element) -> int:
    return len(jax.tree.leaves(elements)[0])


def require_moved(x: Any, name: str = "x") -> None:
    """Raises ``TypeError`` where an argument is no array, nor a pytree of arrays."""
    leaves = jax.tree.leaves(x)
    if not leaves:
        raise TypeError(f"`{name}` is {shown(x)}, which holds no array; it must be an array, or a pytree of arrays.")
    for leaf in leaves:
        if not isinstance(leaf, (np.ndarray, jax.Array)) or isinstance(leaf, Tracer):
            raise TypeError(f"`{name}` holds {shown(leaf)}; it must be an array that is known, or a pytree of such arrays.")
        numeric(leaf, name)


def require_elements(group: Group, elements: Element) -> None:
    """Raises where ``elements`` are not known elements of a group, stacked along one leading axis."""
    require_stacked(group, elements)
    if concrete(elements) is None:
        raise TypeError("`elements` are traced, so their values are not known; measure outside of jit.")


def require_stacked(group: Group, elements: Element) -> None:
    """Raises where ``elements`` are not elements of a group, stacked along one leading axis; they may be traced."""
    group.require_element(elements, "elements")
    batch = batch_shape(group, elements)
    if len(batch) != 1 or not batch[0]:
        raise ValueError(f"`elements` have leading axes {batch}; stack elements of {group!r} along one axis, at least one.")


def repeated(elements: Element, count: int) -> Element:
    """The first ``count`` elements, from the start again where there are fewer."""
    known, numbers = concrete(elements), np.arange(count) % len(jax.tree.leaves(elements)[0])
    if known is None:
        return jax.tree.map(lambda leaf: leaf[numbers], elements)
    return jax.tree.map(lambda leaf: on_device(leaf[numbers]), known)
