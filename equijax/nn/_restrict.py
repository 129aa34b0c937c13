"""Restriction to a subgroup of the point group."""

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions import Action, FieldAction
from equijax.actions._fibre import field_action, require_fibre_of
from equijax.groups import Group, Subgroup
from equijax.groups._group import require_is_group
from equijax.groups._space import point_group_of
from equijax.nn._exactness import Exactness, of_points
from equijax.nn._layer import Layer, pool_default, require_group, require_same_group, resolve_fibre, sized
from equijax.nn._pool import with_fibre
from equijax.reps import Regular, Representation, restrict


class Restrict(Layer):
    r"""Forgets all but a subgroup K of the point group, and keeps every number.

    A function on the group H becomes ``|H| / |K|`` functions on K, which are stacked as features:

    .. math:: y[k, (j, i)] = f[k s_j, i], \qquad H = \bigsqcup_j K s_j

    with s_j the smallest elements of the right cosets. Other fibres stay as they are and are read as representations of K.

    Law: ``layer(in_action(k, x)) == out_action(k, layer(x))`` for every k of the smaller group; ``in_action`` and
    ``out_action`` are those of the smaller group. In a ``Sequential`` all layers before it are restricted too.

    Args:
      subgroup: K, made by ``group.point_group.subgroup(elements)``; or any smaller group whose elements are matrices among
        those of the fibre's group, such as ``Octahedral()`` in ``SO(3)``. Then ``in_fibre`` is needed; it stays as it is.
      group: the group of the input, whose point group contains K.
      in_fibre: representation of the point group on the input; None is ``Regular``.

    Attributes:
      small_group: the group that is left.
      out_fibre: representation of K on the output.
      index: number by which features are multiplied.

    Example: from p4m to p4.
      >>> import equijax as ej, jax.numpy as jnp
      >>> group = ej.wallpaper("p4m")
      >>> layer = ej.nn.Restrict(group.point_group.subgroup([1]), group=group)
      >>> layer(jnp.ones((2, 9, 9, 8, 3))).shape, layer.small_group == ej.wallpaper("p4")
      ((2, 9, 9, 4, 6), True)
    """

    def __init__(self, subgroup: Subgroup | Group, *, group: Group, in_fibre: Representation | None = None):
        self.subgroup = subgroup
        if isinstance(subgroup, Subgroup):
            self._restrict_to_listed(subgroup, group, in_fibre)
        else:
            self._restrict_to_matrices(subgroup, group, in_fibre)
        self.small_group = self.in_action.group

    def _restrict_to_matrices(self, small: Group, group: Group, in_fibre: Representation | None) -> None:
        require_is_group(
            small, "subgroup", "make it by group.point_group.subgroup(elements), or give a smaller group of matrices"
        )
        require_is_group(group, "group")
        if in_fibre is None:
            raise ValueError(
                "`in_fibre` is None; name the representation that is restricted, for example reps.Vector(group)."
            )
        require_fibre_of(in_fibre, group, "in_fibre")
        self.group, self.in_fibre, self.out_fibre, self.index = group.open, in_fibre, in_fibre.restrict(small), 1

    def _restrict_to_listed(self, subgroup: Subgroup, group: Group, in_fibre: Representation | None) -> None:
        point_group = point_group_of(group)
        if subgroup.group != point_group:
            raise ValueError(f"`subgroup` belongs to {subgroup.group!r}, but the point group of `group` is {point_group!r}.")
        self.group = require_group(group, None)
        self.in_fibre = resolve_fibre(in_fibre, group, pool_default(group), "in_fibre")
        small = subgroup.as_group()
        regular = self.in_fibre == Regular(point_group)
        self.out_fibre = Regular(small) if regular else restrict(self.in_fibre, subgroup)
        self.index = subgroup.index if regular else 1

    @property
    def in_action(self) -> FieldAction:
        """The action of the smaller group on the input."""
        return field_action(self.group, self.in_fibre).restrict(self.subgroup)

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action of the smaller group on the output, from one of either group on the input."""
        action = self._restricted(in_action)
        require_same_group(self.in_action, action, any_base=True)
        return with_fibre(action, self.out_fibre)

    def _restricted(self, in_action: Action) -> Action:
        """The action of the smaller group, from one of either group; the whole group may be the smaller one."""
        brought = in_action.vector
        if in_action.group.open == self.in_action.group.open and (brought is None or brought.fibre != self.in_fibre):
            return in_action
        require_same_group(field_action(self.group, self.in_fibre), in_action, any_base=True)
        return in_action.plain.restrict(self.subgroup)  # type: ignore[attr-defined]

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements of the smaller group map the input to itself."""
        action = self._restricted(sized(in_action, input_shape))
        return of_points(action, self.out_action_for(action), input_shape)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Returns ``(*batch, *sizes, |K|, index · features)`` for functions on H, else ``inputs`` itself."""
        if self.in_fibre.shape and (inputs.ndim < 2 or inputs.shape[-2] != self.in_fibre.dim):
            raise ValueError(
                f"`inputs` has shape {inputs.shape}; Restrict needs the fibre on axis -2, "
                f"(…, {self.in_fibre.dim}, features)."
            )
        if self.index == 1:
            return inputs
        y = jnp.take(inputs, jnp.asarray(_right_cosets(self.subgroup)), axis=-2)  # pyright: ignore[reportArgumentType]
        return y.reshape(*y.shape[:-2], y.shape[-2] * y.shape[-1])


def _right_cosets(subgroup: Subgroup) -> np.ndarray:
    """Numbers of the products ``k s_j``, int ``(|K|, index)``."""
    rows = subgroup.group.table[list(subgroup.elements)]
    firsts = np.unique(rows.min(axis=0))
    return rows[:, firsts]
