"""Actions on finitely many points."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from equijax.actions._action import Action, Axis
from equijax.groups._group import Element, Group


@dataclasses.dataclass(frozen=True)
class FiniteAction(Action):
    """An action on arrays whose base axes have fixed sizes: each element permutes finitely many points.

    Made by ``action.on(sizes)``. The points are numbered in C order over ``shape``.

    Attributes:
      action: the action itself, with the group of the torus where the grid wraps.
      shape: sizes of the moved axes, ``(*base, fibre)``.

    Example:
      >>> import equijax as ej
      >>> act = ej.GridAction(ej.Translation(1)).on((4,))
      >>> act.size, act.permutation([1]).tolist()
      (4, [1, 2, 3, 0])
    """

    action: Action
    shape: tuple[int, ...]

    @property
    def group(self) -> Group:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The group."""
        return self.action.group

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

    def __call__(self, g: Element, x: Any) -> Any:
        """Returns ``g · x`` for ``x`` of shape ``(*batch, *shape, features)``."""
        shape = np.shape(x)
        if shape[len(shape) - 1 - len(self.shape) : -1] != self.shape:
            raise ValueError(f"`x` has shape {shape}; this action moves arrays (*batch, *{self.shape}, features).")
        return self.action(g, x)

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """The axes of the underlying action."""
        return self.action.axes(ndim)

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a known element does not permute the points."""
        self.action.require_acts(g, shape)

    def acts(self, g: Element, shape: tuple[int, ...] | None = None) -> bool:
        """Tells whether the concrete element ``g`` permutes the points."""
        return self.action.acts(g, (*self.shape, 1) if shape is None else shape)

    def sources(self, g: Element, shape: tuple[int, ...]) -> np.ndarray:
        """Returns which entry moves to each entry, flat int, for a concrete ``g``, as the underlying action does."""
        return self.action.sources(g, shape)

    def permutation(self, g: Element) -> np.ndarray:
        """Returns where the concrete element ``g`` sends each point, int ``(size,)``: ``(g·x)[p[i]] = x[i]``.

        Raises:
          ValueError: ``g`` does not permute the points.
        """
        if not self.acts(g):
            raise ValueError(f"`g` = {jax.tree.map(lambda a: np.asarray(a).tolist(), g)} does not permute {self!r}.")
        return np.argsort(self.action.sources(g, (*self.shape, 1)))

    def on(self, shape: tuple[int, ...] = ()) -> "FiniteAction":
        """Returns itself; sizes that are given must be the present ones."""
        if tuple(shape) not in ((), self.shape[: len(tuple(shape))]):
            raise ValueError(f"`shape` is {shape}, but the action is fixed on {self.shape} already.")
        return self
