"""What layers on sets of fields have in common: the set, and the layer that reads one field."""

from typing import Any

import jax

from equijax.actions import Action, Everything, KeptProduct, ProductAction, SetAction
from equijax.actions._action import require_action
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

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the layer respects exactly: all orders of the set, and what ``element`` keeps of a field."""
        action = sized(in_action, input_shape)
        out_action = self.out_action_for(action)
        (points, _), (field, shape) = action.parts(tuple(input_shape))  # type: ignore[misc]
        local = self.element.exactness_for(field, shape)
        kept = KeptProduct(action.group, (Everything(points.group), local.kept))
        if local.kept.is_known:
            out_action = ProductAction(points, local.out_action)
        return Exactness(ProductAction(points, local.in_action), out_action, kept, local.reason)

    def _require_set(self, inputs: jax.Array, mask: jax.Array | None) -> tuple[int, jax.Array | None]:
        """Returns the axis of the set, and the mask after checking it."""
        axis = len(self.in_action.views(inputs.shape)[0]) - 2
        return axis, None if mask is None else require_mask(mask, inputs.shape[: axis + 1])
