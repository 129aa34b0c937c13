"""Which elements of a group map arrays of given shapes to themselves, and how to draw some."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions._action import Action
from equijax.actions._motions import Motions, common_motions
from equijax.groups import Group
from equijax.groups._group import Element

Side = tuple[Action, tuple[int, ...]]
"""An action, and the (full) shape of the array that it moves; what is no single array has the shape ``()``."""


def shape_of(x: Any) -> tuple[int, ...]:
    """Returns the shape of an array or of nested lists; ``()`` for what is no single array."""
    return np.shape(x) if hasattr(x, "shape") or isinstance(x, list) else ()


def sample_acting(sides: list[Side], key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
    """Draws elements that map the arrays of all sides to themselves, with leading axes ``shape``.

    On a grid these are a uniform point element and shifts of up to 8 steps; elsewhere the group says how it draws. The
    factors of a product, and the blocks of a hierarchy, are drawn independently.
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
    return group.draw(key, shape) if motions is None else motions.sample(group, key, shape)


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
        return group.elements() if group.order <= limit else sample_acting(sides, key, (samples,))
    except ValueError:
        return sample_acting(sides, key, (samples,))


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


def repeated(elements: Element, count: int) -> Element:
    """The first ``count`` elements, from the start again where there are fewer."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[np.arange(count) % len(leaf)], elements)
