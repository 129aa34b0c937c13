"""The action that does nothing."""

import dataclasses
from typing import Any

from equijax.actions._action import Action, Axis
from equijax.actions._finite import FiniteAction
from equijax.groups import Group
from equijax.groups._group import Element


@dataclasses.dataclass(frozen=True)
class TrivialAction(Action):
    """Every element leaves every array as it is: the action on the output of an invariant network.

    Args:
      group: the group.

    Example:
      >>> import equijax as ej
      >>> ej.TrivialAction(ej.Permutation(5))([4, 3, 2, 1, 0], 7)
      7
    """

    group: Group

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Batch axes and the features."""
        return (*(Axis("batch"),) * (ndim - 1), *(Axis("feature"),) * min(ndim, 1))

    def on(self, shape: tuple[int, ...] = ()) -> FiniteAction:
        """Returns the action on points of any shape, none of which moves."""
        return FiniteAction(self, tuple(shape))

    def __call__(self, g: Element, x: Any) -> Any:
        """Returns ``x``."""
        del g
        return x
