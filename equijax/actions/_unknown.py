"""The action of which nothing is known."""

import dataclasses
from typing import Any

from equijax.actions._action import Action, Axis
from equijax.groups import Group
from equijax.groups._group import Element


@dataclasses.dataclass(frozen=True)
class UnknownAction(Action):
    """How a group moves what an unknown function has made: nobody can tell.

    Args:
      group: the group.
      reason: why, and what to do about it.
    """

    group: Group
    reason: str

    @property
    def is_known(self) -> bool:
        """False."""
        return False

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Raises ``ValueError`` with the reason."""
        raise ValueError(f"{self.reason} So `axes({ndim})` is not known.")

    def __call__(self, g: Element, x: Any) -> Any:
        """Raises ``ValueError`` with the reason."""
        raise ValueError(self.reason)
