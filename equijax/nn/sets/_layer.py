"""What all layers on sets have in common: the actions, and the check of an input."""

import jax

from equijax._dtypes import require_real
from equijax.actions import Action, SetAction, TrivialAction
from equijax.nn._layer import Layer, require_same_group
from equijax.nn._mask import require_mask


class SetLayer(Layer):
    """An equivariant layer on sets of any size: reordering the input reorders the output."""

    @property
    def in_action(self) -> Action:
        """Reorders the set, however many elements it has."""
        return SetAction()

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the input, which is that on the output."""
        require_same_group(self.in_action, in_action)
        return in_action


class InvariantSetLayer(SetLayer):
    """An invariant layer on sets of any size: reordering the input changes nothing."""

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action that does nothing."""
        require_same_group(self.in_action, in_action)
        return TrivialAction(in_action.group)


def require_set(
    inputs: jax.Array, features: int | None, mask: jax.Array | None, name: str = "inputs", mask_name: str = "mask"
) -> jax.Array | None:
    """Checks a set and its mask; returns the mask.

    Raises:
      TypeError: ``inputs`` is complex, or the mask is not boolean.
      ValueError: ``inputs`` is not ``(*batch, n, features)``, or the mask not ``(*batch, n)``.
    """
    require_real(inputs, name, "a layer on sets")
    if inputs.ndim < 2 or (features is not None and inputs.shape[-1] != features):
        layout = f"(*batch, n, {'features' if features is None else features})"
        raise ValueError(f"`{name}` has shape {inputs.shape}; the layer needs {layout}, a set of n vectors.")
    return None if mask is None else require_mask(mask, inputs.shape[:-1], name, mask_name)
