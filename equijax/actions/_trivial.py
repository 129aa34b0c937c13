"""The action that does nothing."""

import dataclasses
from typing import Any

from equijax._arguments import as_shape
from equijax._numbers import positive_int
from equijax.actions._action import Action, Axis
from equijax.actions._finite import FiniteAction
from equijax.groups import Group
from equijax.groups._group import Element, require_is_group


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

    def __post_init__(self) -> None:
        require_is_group(self.group, "group")

    @property
    def permutes(self) -> bool:
        """True: nothing moves."""
        return True

    @property
    def sets(self) -> tuple[int, ...]:
        """Empty: there is no base axis."""
        return ()

    @property
    def open(self) -> "TrivialAction":
        """The trivial action of the group without its sizes."""
        return TrivialAction(self.group.open)

    @property
    def factors(self) -> "tuple[Action, ...] | None":
        """Trivial actions of the factors of a direct product."""
        return None if self.group.factors is None else tuple(map(TrivialAction, self.group.factors))

    def acts(self, g: Element, shape: tuple[int, ...]) -> bool:
        """True: nothing is asked of an element that moves nothing."""
        del g, shape
        return True

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Batch axes and the features."""
        ndim = positive_int(ndim, "ndim", 0)
        return (*(Axis("batch"),) * (ndim - 1), *(Axis("feature"),) * min(ndim, 1))

    def on(self, shape: tuple[int, ...] = ()) -> FiniteAction:
        """Returns the action on points of any shape, none of which moves."""
        return FiniteAction(self, as_shape(shape))

    def __call__(self, g: Element, x: Any) -> Any:
        """Returns ``x``."""
        self.group.require_element(g)
        return x
