"""Which elements an audit measures when none are named."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions import Action
from equijax.audit._actions import moves_graph
from equijax.groups import Group
from equijax.groups._group import Element

#: How many elements are drawn of a group that names no generators.
DRAWN = 4


def audited_elements(action: Action, x: Any) -> Element:
    """Returns generators of the point group and shifts by one sample; of permutations generators and two random ones.

    Of a Lie group random elements of every connected part, drawn from the Haar measure where there is one.

    Of a graph the nodes in reversed and in random order, the edges too, and both together. Of other products the elements of
    each factor alone, and two random ones.

    Elements that don't map ``x`` to itself (a quarter turn of a rectangle) are left out. With boundary ``"zero"`` shifts are
    taken only where there is nothing else.
    """
    group = action.group
    if group.grid_ndim:
        return _of_grid(action, x)
    if group.factors is not None:
        return _of_product(action, x)
    if group.point_sets:
        points = np.asarray(group.identity)
        swap = points.copy()
        swap[:2] = swap[:2][::-1]
        drawn = np.asarray(group.draw(jax.random.key(0), (2,)))
        return jnp.asarray(np.concatenate([[swap, np.roll(points, 1)], drawn]))
    if group.algebra:
        return _of_each_component(group)
    named = _named(group)
    return group.draw(jax.random.key(0), (DRAWN,)) if named is None else named


def how_drawn(group: Group) -> tuple[str, ...]:
    """Returns a sentence for each group of which no element can be drawn uniformly, up to translations."""
    return tuple(
        f"{part!r} is not compact, so that no element can be drawn uniformly: measured are exponentials of random elements "
        "of its Lie algebra, in every connected part"
        for part in group.drawn_nearby
    )


def _of_each_component(group: Group) -> Element:
    """Returns random elements of each connected part of a Lie group, as many of each."""
    components = group.components
    drawn = group.draw(jax.random.key(0), (max(1, DRAWN // len(components)),))
    parts = [group.compose(jax.tree.map(lambda leaf: jnp.asarray(leaf, float)[None], c), drawn) for c in components]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _named(group: Group) -> Element | None:
    """Returns the generators, stacked, or the identity where there are none; None where the group names none."""
    try:
        named = group.generators or (group.identity,)
    except ValueError:
        return None
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *named)


def _of_product(action: Action, x: Any) -> Element:
    group: Any = action.group
    parts = action.parts(np.shape(x)) if action.moves is None else None
    columns: list[Element] = []
    for i, factor in enumerate(group.factors):
        if moves_graph(action) and factor.point_sets:
            backwards = factor.identity[::-1]  # changes the order of every pair
            own = jnp.stack([backwards, factor.draw(jax.random.key(i), ())])
        else:
            own = factor.draw(jax.random.key(i), (2,)) if parts is None else _of_part(*parts[i])
        count = len(jax.tree.leaves(own)[0])
        still = jax.tree.map(lambda leaf, n=count: jnp.broadcast_to(leaf, (n, *jnp.shape(leaf))), group.identity)
        columns.append((*still[:i], own, *still[i + 1 :]))
    columns.append(group.draw(jax.random.key(9), (1 if moves_graph(action) else 2,)))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *columns)


def _of_part(action: Action, shape: tuple[int, ...]) -> Element:
    return audited_elements(action, np.empty(shape))


def label_of(action: Action, g: Element) -> str:
    """Returns a name of an element that is no motion of a grid."""
    if moves_graph(action):
        names = ("relabelling", "edge order", "motion", "turn")
        parts = zip(names, g, action.group.identity, strict=False)
        moved = [f"{name} {_shown(own)}" for name, own, still in parts if not _same(own, still)]
        return " and ".join(moved) or "identity"
    if action.group.factors is None and action.group.point_sets:
        return f"permutation {np.asarray(g).tolist()}"
    return f"element {_shown(g)}"


def _shown(g: Element) -> str:
    """Returns an element in a few words: long permutations by their first entries."""
    if isinstance(g, tuple):
        return f"({', '.join(_shown(part) for part in g)})"
    entries = np.asarray(g).round(2)
    whole = entries.size <= (9 if entries.ndim > 1 else 8)
    return str(entries.tolist()) if whole else f"[{', '.join(map(str, entries.reshape(-1)[:6]))}, …]"


def _same(g: Element, h: Element) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(g), jax.tree.leaves(h), strict=True))


def _to_samples(action: Action, h: int, shape: tuple[int, ...], apart: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Returns a turn with the shortest shift that brings samples to samples; None where there is none."""
    group: Any = action.group
    shifts = sorted(np.ndindex(*apart.tolist()), key=sum)
    for shift in map(np.array, shifts):
        if action.acts(group.join(shift.astype(np.int32), np.int32(h)), shape):
            return shift.astype(np.int32), h
    return None


def _of_grid(action: Action, x: Any) -> Element:
    group: Any = action.group
    units = np.eye(group.grid_ndim, dtype=np.int32)
    turns = [int(h) for h in group.point_group.generators if int(h)]
    here = np.zeros(group.grid_ndim, np.int32)
    leaves = jax.tree.leaves(x)
    grid = action.grid(np.shape(leaves[0])) if len(leaves) == 1 else None
    apart = np.ones(group.grid_ndim, np.int32) if grid is None else np.asarray(grid[0].spacing, np.int32)
    bare = [(here, h) for h in turns]
    if grid is not None:
        found = [_to_samples(action, h, np.shape(leaves[0]), apart) for h in turns]
        bare = [pair for pair in found if pair is not None]
        turns = [h for _, h in bare]
    shifts = [] if grid is not None and grid[0].boundary == "zero" and turns else list(units)
    t = np.array([shift for shift, _ in bare] + [apart * unit for unit in shifts], np.int32)
    return group.join(jnp.asarray(t), jnp.asarray(turns + [0] * len(shifts), jnp.int32))
