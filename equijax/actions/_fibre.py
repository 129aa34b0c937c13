"""Actions on one vector: functions on the group, on cosets, on anything a finite group permutes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from equijax.actions._action import Action, Axis, require_axis, require_ndim
from equijax.actions._finite import FiniteAction
from equijax.actions._grid import GridAction, require_fibre
from equijax.groups import Group, SpaceGroup, Subgroup, Translation
from equijax.groups._elements import require_numbers
from equijax.groups._group import Element
from equijax.groups._space import grid_ndim, point_group_of, split_element
from equijax.reps import PermutationRepresentation, restrict


@dataclasses.dataclass(frozen=True)
class FibreAction(Action):
    r"""A group that moves the coordinates of one vector, ``(*batch, fibre, features)``.

    .. math:: (u·f) = ρ(u) f

    With ``Regular(G)`` it is the action on functions on the group, ``(u·f)(g) = f(u⁻¹ g)``; with ``Quotient(K)`` that on
    functions on cosets; with ``PermutationRep(G, table)`` any permutations. What is left of a field on a grid after
    global pooling moves like this too: then ``group`` is the space group, whose translations do nothing.

    Args:
      fibre: the representation.
      group: the group that acts; None is ``fibre.group``. A space group acts through its point group.

    Example:
      >>> import equijax as ej
      >>> act = ej.FibreAction(ej.reps.Regular(ej.Cyclic(3)))
      >>> act(1, [[10], [11], [12]])[:, 0].tolist()
      [12, 10, 11]
    """

    fibre: PermutationRepresentation
    group: Group = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.group is None:
            require_fibre(self.fibre, getattr(self.fibre, "group", None), "fibre")  # pyright: ignore[reportArgumentType]
            object.__setattr__(self, "group", self.fibre.group)
        require_fibre(self.fibre, point_group_of(self.group), "fibre")

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Batch axes, the fibre axis (unless scalar), the features."""
        moved = len(self.fibre.shape)
        require_ndim(self, (0,) * ndim, moved + 1, self._layout)
        return (*(Axis("batch"),) * (ndim - moved - 1), *(Axis("fibre"),) * moved, Axis("feature"))

    def restrict(self, subgroup: Subgroup) -> "FibreAction":
        """Returns the action of a subgroup of the point group."""
        small = subgroup.as_group()
        group: Group = small
        if isinstance(self.group, SpaceGroup):
            group = SpaceGroup(small, self.group.period)  # pyright: ignore[reportArgumentType]
        elif isinstance(self.group, Translation):
            group = self.group
        return FibreAction(restrict(self.fibre, subgroup), group)

    def on(self, shape: tuple[int, ...] = ()) -> FiniteAction:
        """Returns the action as permutations of the coordinates; ``shape`` is empty, since there is no base."""
        if shape:
            raise ValueError(f"`shape` is {shape}; {self!r} has no base axes, so call on() without sizes.")
        return FiniteAction(self, self.fibre.shape)

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a known element is not one of the group."""
        del shape
        require_numbers(split_element(self.group, g)[1], self.fibre.group.order, "g")

    def __call__(self, g: Element, x: Any) -> jax.Array:
        """Returns ``g · x`` for one element and an array ``(*batch, fibre, features)``."""
        x = jnp.asarray(x)
        require_ndim(self, x.shape, len(self.fibre.shape) + 1, self._layout)
        if not self.fibre.shape:
            return x
        require_axis(f"fibre {self.fibre!r}", x.shape, x.ndim - 2, self.fibre.dim, self._layout)
        _, h = split_element(self.group, g)
        return self.fibre.act(h, x, axis=x.ndim - 2)

    @property
    def _layout(self) -> str:
        return f"(*batch, {self.fibre.dim}, features)" if self.fibre.shape else "(*batch, features)"


def field_action(group: Group, fibre: PermutationRepresentation, boundary: str = "wrap") -> Action:
    """Returns the action on fields with the given fibre: on a grid, or on one vector for a plain finite group."""
    if grid_ndim(group) == 0:
        return FibreAction(fibre, group)
    return GridAction(group, fibre, boundary)  # pyright: ignore[reportArgumentType]
