"""Which elements an audit measures when none are named."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions import Action, GridAction
from equijax.groups import FiniteGroup, Permutation, SpaceGroup, Translation
from equijax.groups._group import Element
from equijax.groups._space import point_group_of


def audited_elements(action: Action, x: Any) -> Element:
    """Returns generators of the point group and unit shifts; of permutations generators and two random ones.

    Elements that don't map ``x`` to itself (a quarter turn of a rectangle) are left out. With boundary ``"zero"`` shifts are
    taken only where there is nothing else.
    """
    group = action.group
    if isinstance(group, (Translation, SpaceGroup)):
        return _of_grid(action, x)
    if isinstance(group, Permutation):
        swap = np.arange(group.n, dtype=np.int32)
        swap[:2] = swap[:2][::-1]
        drawn = np.asarray(group.sample(jax.random.key(0), (2,)))
        return jnp.asarray(np.concatenate([[swap, np.roll(np.arange(group.n, dtype=np.int32), 1)], drawn]))
    if isinstance(group, FiniteGroup):
        return jnp.asarray(group.generators or (0,), jnp.int32)
    return group.sample(jax.random.key(0), (4,))


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
