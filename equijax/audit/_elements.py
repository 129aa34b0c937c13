"""Which elements an audit measures when none are named."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions import Action, GraphAction, GridAction, ProductAction
from equijax.groups import DirectProduct, FiniteGroup, Permutation, SpaceGroup, Translation
from equijax.groups._group import Element
from equijax.groups._space import point_group_of


def audited_elements(action: Action, x: Any) -> Element:
    """Returns generators of the point group and unit shifts; of permutations generators and two random ones.

    Of a graph the nodes in reversed and in random order, the edges too, and both together. Of other products the elements of
    each factor alone, and two random ones.

    Elements that don't map ``x`` to itself (a quarter turn of a rectangle) are left out. With boundary ``"zero"`` shifts are
    taken only where there is nothing else.
    """
    group = action.group
    if isinstance(group, (Translation, SpaceGroup)):
        return _of_grid(action, x)
    if isinstance(group, DirectProduct):
        return _of_product(action, x)
    if isinstance(group, Permutation):
        points = np.asarray(group.identity)
        swap = points.copy()
        swap[:2] = swap[:2][::-1]
        drawn = np.asarray(group.draw(jax.random.key(0), (2,)))
        return jnp.asarray(np.concatenate([[swap, np.roll(points, 1)], drawn]))
    if isinstance(group, FiniteGroup):
        return jnp.asarray(group.generators or (0,), jnp.int32)
    return group.draw(jax.random.key(0), (4,))


def _of_product(action: Action, x: Any) -> Element:
    group: DirectProduct = action.group
    factors = action.factors or ()
    views = action.views(np.shape(x)) if isinstance(action, ProductAction) else []
    columns: list[Element] = []
    for i, factor in enumerate(group.factors):
        if isinstance(action, GraphAction) and isinstance(factor, Permutation):
            backwards = factor.identity[::-1]  # changes the order of every pair
            own = jnp.stack([backwards, factor.draw(jax.random.key(i), ())])
        else:
            own = factor.draw(jax.random.key(i), (2,)) if not views else audited_elements(factors[i], np.empty(views[i]))
        count = len(jax.tree.leaves(own)[0])
        still = jax.tree.map(lambda leaf, n=count: jnp.broadcast_to(leaf, (n, *jnp.shape(leaf))), group.identity)
        columns.append((*still[:i], own, *still[i + 1 :]))
    columns.append(group.draw(jax.random.key(9), (1 if isinstance(action, GraphAction) else 2,)))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *columns)


def label_of(action: Action, g: Element) -> str:
    """Returns a name of an element that is no motion of a grid."""
    if isinstance(action, GraphAction):
        names = ("relabelling", "edge order", "motion", "turn")
        parts = zip(names, g, action.group.identity, strict=False)
        moved = [f"{name} {_shown(own)}" for name, own, still in parts if not _same(own, still)]
        return " and ".join(moved) or "identity"
    if isinstance(action.group, Permutation):
        return f"permutation {np.asarray(g).tolist()}"
    return f"element {_shown(g)}"


def _shown(g: Element) -> str:
    """Returns an element in a few words: long permutations by their first entries."""
    if isinstance(g, tuple):
        return f"({', '.join(_shown(part) for part in g)})"
    entries = np.asarray(g).round(2)
    return str(entries.tolist()) if entries.size <= 8 else f"[{', '.join(map(str, entries.reshape(-1)[:6]))}, …]"


def _same(g: Element, h: Element) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(g), jax.tree.leaves(h), strict=True))


def _of_grid(action: Action, x: Any) -> Element:
    group: Any = action.group
    units = np.eye(group.ndim, dtype=np.int32)
    if isinstance(group, Translation):
        return jnp.asarray(units)
    turns = [int(h) for h in point_group_of(group).generators]
    here = np.zeros(group.ndim, np.int32)
    if isinstance(action, GridAction) and not isinstance(x, (dict, list, tuple)):
        turns = [h for h in turns if action.acts((here, np.int32(h)), np.shape(x))]
    shifts = [] if isinstance(action, GridAction) and action.boundary == "zero" and turns else list(units)
    t = np.array([here] * len(turns) + shifts, np.int32)
    return jnp.asarray(t), jnp.asarray(turns + [0] * len(shifts), jnp.int32)
