"""Actions on one vector: functions on the group, on cosets, on anything that a group moves linearly."""

import dataclasses
from typing import Any

import jax

from equijax._arguments import as_shape
from equijax.actions._action import Action
from equijax.actions._field import FieldAction, require_fibre, require_representation
from equijax.actions._finite import FiniteAction
from equijax.actions._grid import GridAction
from equijax.actions._trivial import TrivialAction
from equijax.groups import Group
from equijax.groups._elements import numeric
from equijax.groups._group import Element, require_is_group
from equijax.groups._space import point_group_of
from equijax.reps import Representation


@dataclasses.dataclass(frozen=True)
class FibreAction(FieldAction):
    r"""A group that moves the coordinates of one vector, ``(*batch, fibre, features)``: a field over one point.

    .. math:: (u·f) = ρ(u) f

    With ``Regular(G)`` it is the action on functions on the group, ``(u·f)(g) = f(u⁻¹ g)``; with ``Quotient(K)`` that on
    functions on cosets; with ``PermutationRepresentation(G, table)`` any permutations; with any other representation, of
    a finite group, a Lie group or a product, its matrices. What is left of a field on a grid after global pooling moves
    like this too: then ``group`` is the space group, whose translations do nothing.

    Args:
      fibre: the representation.
      group: the group that acts; None is ``fibre.group``. A space group acts through its point group.

    Raises:
      TypeError: ``fibre`` is no representation.
      ValueError: it is one of another group.

    Example:
      >>> import equijax as ej
      >>> act = ej.FibreAction(ej.reps.Regular(ej.Cyclic(3)))
      >>> act(1, [[10], [11], [12]])[:, 0].tolist()
      [12, 10, 11]
    """

    fibre: Representation
    group: Group = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        require_representation(self.fibre, self.group, "fibre")
        if self.group is not None:
            require_is_group(self.group, "group")
        else:
            object.__setattr__(self, "group", self.fibre.group)
        require_fibre_of(self.fibre, self.group, "fibre")

    @property
    def ndim(self) -> int:
        """0: there is one point."""
        return 0

    @property
    def open(self) -> Action:
        """The action of the group without its sizes; a scalar is not moved."""
        group = self.group.open
        return FibreAction(self.fibre, group) if self.fibre.shape else TrivialAction(group)

    def with_fibre(self, fibre: Representation) -> "FibreAction":
        """Returns the action on vectors of another fibre."""
        return FibreAction(fibre, self.group)

    def restrict(self, subgroup: Any) -> "FibreAction":
        """Returns the action of a subgroup of the point group, or of any group that ``fibre.restrict`` takes."""
        fibre = self.fibre.restrict(subgroup)
        whole = self.fibre.group == self.group
        return FibreAction(fibre, fibre.group if whole else self.group.with_point_group(fibre.group))

    def on(self, shape: tuple[int, ...] = ()) -> FiniteAction:
        """Returns the action on the coordinates; ``shape`` is empty, since there is no base."""
        if as_shape(shape):
            raise ValueError(f"`shape` is {shape}; {self!r} has no base axes, so call on() without sizes.")
        return FiniteAction(self, self.fibre.shape)

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a known element is not one of the group."""
        as_shape(shape)
        self.group.require_element(g)

    def __call__(self, g: Element, x: Any) -> jax.Array:
        """Returns ``g · x`` for one element and an array ``(*batch, fibre, features)``."""
        self.group.require_element(g)
        x = numeric(x, "x")
        self.sizes(x.shape)
        return self.fibre.act(self._on_fibre(g), x, axis=x.ndim - 2) if self.fibre.shape else x


def require_fibre_of(fibre: Any, group: Group, name: str) -> None:
    """Raises where ``fibre`` is a representation neither of ``group`` nor of the part of it that acts on fibres."""
    require_representation(fibre, group, name)
    if fibre.group in (group, group.point_group):
        return
    try:
        point_group = point_group_of(group)
    except TypeError:
        raise TypeError(
            f"`group` is {group!r}, but `{name}` is a representation of {fibre.group!r}. A fibre is one of the group itself "
            f"or of its point group, {group.point_group!r} here, as H of SpaceGroup(H)."
        ) from None
    require_fibre(fibre, point_group, name)


def field_action(group: Group, fibre: Representation, boundary: str = "wrap") -> FieldAction:
    """Returns the action on fields with the given fibre: on a grid, or on one vector where there is no grid."""
    if group.grid_ndim == 0:
        return FibreAction(fibre, group)
    return GridAction(group, fibre, boundary)  # pyright: ignore[reportArgumentType]
