"""What layers on sets of fields have in common: the set, and the layer that reads one field."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from equijax.actions import Action, ProductAction, SetAction
from equijax.actions._acting import repeated
from equijax.actions._action import require_action
from equijax.groups._group import Element
from equijax.nn._exactness import Exactness
from equijax.nn._layer import Layer, require_same_group, sized
from equijax.nn._mask import require_mask


class ElementLayer(Layer):
    """A layer on sets of fields, ``(*batch, n, *sizes, fibre, features)``, for example of images.

    Attributes:
      element: the layer that says how one field moves; the set axis is one more batch axis to it.
    """

    element: Any

    @property
    def in_action(self) -> ProductAction:
        """Reorders the set, and moves all its fields by one element of the group of ``element``."""
        return ProductAction(SetAction(), self.element.in_action)

    def out_action_for(self, in_action: Action) -> ProductAction:
        """Returns the action on the output: the set stays, the fields move as ``element`` says."""
        require_action(in_action, "in_action")
        if in_action.factors is None or len(in_action.factors) != 2:
            require_same_group(self.in_action, in_action)
        points, field = in_action.factors  # type: ignore[misc]
        require_same_group(SetAction(), points)
        return ProductAction(points, self.element.out_action_for(field))

    def exactness(self, input_shape: tuple[int, ...]) -> "SetExactness":
        """Tells which elements the layer respects exactly: all orders of the set, and what ``element`` keeps of a field."""
        points: SetAction = sized(self.in_action, input_shape).factors[0]  # type: ignore[attr-defined]
        return SetExactness.of(points, self.element.exactness(input_shape))

    def _require_set(self, inputs: jax.Array, mask: jax.Array | None) -> tuple[int, jax.Array | None]:
        """Returns the axis of the set, and the mask after checking it."""
        axis = len(self.in_action.views(inputs.shape)[0]) - 2
        return axis, None if mask is None else require_mask(mask, inputs.shape[: axis + 1])


@dataclasses.dataclass(frozen=True)
class SetExactness(Exactness):
    """The elements that a layer on sets of fields respects: every order of the set, with what is kept of each field.

    Attributes:
      element: what the layer keeps of one field; the other attributes of :class:`Exactness` are copied from it.
      points: the action on the set.
    """

    element: Exactness
    points: SetAction

    @staticmethod
    def of(points: SetAction, element: Exactness) -> "SetExactness":
        """Puts the exactness on a set together from that on one field."""
        copied = {field.name: getattr(element, field.name) for field in dataclasses.fields(Exactness)}
        for name in ("in_action", "out_action"):
            copied[name] = ProductAction(points, copied[name])
        return SetExactness(**copied, element=element, points=points)

    @property
    def keeps_point_group(self) -> bool:
        """True where every element of the point group is kept (perhaps together with a shift)."""
        return self.element.keeps_point_group

    def generators(self) -> list[Element]:
        """Returns group elements that generate everything that is kept."""
        group = ProductAction(self.points, self.element.in_action).group
        orders = [group.embed(0, p) for p in self.points.group.generators]
        return orders + [group.embed(1, g) for g in self.element.generators()]

    def elements(self) -> Element:
        """Returns every kept point element with its translation, stacked, each with one of a few orders of the set."""
        points = self.points.group
        orders = jnp.stack([jnp.asarray(p) for p in points.generators or (points.identity,)])
        moved = self.element.elements()
        count = max(len(orders), len(jax.tree.leaves(moved)[0]))
        return (repeated(orders, count), repeated(moved, count))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws kept elements: uniform orders of the set, and what the layer on one field draws; leading axes ``shape``."""
        for_points, for_field = jax.random.split(key)
        return (self.points.group.sample(for_points, shape), self.element.sample(for_field, shape))

    def __str__(self) -> str:
        return f"Every order of the {self.points.n} elements; of each, {self.element}"
