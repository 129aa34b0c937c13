"""What parts of a network that are made of layers have in common: the actions of a layer, and an audit that looks inside."""

import abc
from typing import Any

from flax import nnx

from equijax.actions import Action
from equijax.nn._exactness import Exactness
from equijax.nn._given import checked
from equijax.nn._layer import required_shape, traced_shape


class Part(nnx.Module):
    """A part of a network, made of layers of equijax, of Flax and of the user.

    It has what a :class:`Layer` has, and stands in chains as one. To the audit it is no layer: it looks inside.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
            checked(cls)

    @property
    @abc.abstractmethod
    def in_action(self) -> Action:
        """The action on the input."""

    @abc.abstractmethod
    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the output when ``in_action`` moves the input."""

    @property
    def out_action(self) -> Action:
        """The action on the output; where a layer can't be followed, one whose use raises ``ValueError`` and says why."""
        return self.out_action_for(self.in_action)

    def exactness(self, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the part respects exactly at this input shape."""
        return self.exactness_for(self.in_action, required_shape(input_shape))

    @abc.abstractmethod
    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the part respects when ``in_action`` moves its input."""

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output for an input of this shape; nothing is computed."""
        return traced_shape(self, input_shape)
