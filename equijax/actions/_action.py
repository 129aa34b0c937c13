"""The contract of actions."""

import abc
import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from equijax.groups._group import Element

if TYPE_CHECKING:
    from equijax.actions._finite import FiniteAction


@dataclasses.dataclass(frozen=True)
class Axis:
    """What one axis of an array is.

    Attributes:
      role: ``"batch"`` and ``"feature"`` axes are never moved; ``"base"`` and ``"fibre"`` axes are.
      index: which base axis it is, counted from 0; None for the other roles.
    """

    role: Literal["batch", "base", "fibre", "feature"]
    index: int | None = None


class Action(abc.ABC):
    r"""How a group element acts on a whole array ``(*batch, *base, fibre, features)``.

    One convention holds everywhere, the left action on fields: :math:`(g·f)(x) = ρ(g)\, f(g^{-1} x)`.

    Law: ``act(g, act(h, x)) == act(group.compose(g, h), x)`` and ``act(identity, x) == x``.
    :func:`equijax.testing.check_action` checks both. An action jits, is differentiable in ``x``, and vmaps over ``g``.
    It is an immutable value, hashable and equal by value (a frozen dataclass), so that it can be a static argument.

    Attributes:
      group: the group.
    """

    group: Any

    @abc.abstractmethod
    def __call__(self, g: Element, x: Any) -> Any:
        """Returns ``g · x`` for one element ``g`` (vmap over ``g`` for many)."""

    @abc.abstractmethod
    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Tells what each axis of an array with ``ndim`` axes is."""

    def acts(self, g: Element, shape: tuple[int, ...]) -> bool:
        """Tells whether the concrete element ``g`` maps arrays of this (full) shape to themselves."""
        del g, shape
        return True

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a *known* element does not move arrays of this shape; traced elements pass."""
        del g, shape

    def sources(self, g: Element, shape: tuple[int, ...]) -> np.ndarray:
        """Returns which entry moves to each entry of an array of this (full) shape, flat int, for a concrete ``g``.

        Meant for actions that permute the entries of ``shape[:-1]``; the last axis, the features, is not counted.
        """
        numbers = np.arange(math.prod(shape[:-1]), dtype=np.int32).reshape(*shape[:-1], 1)
        return np.asarray(self(g, numbers)).reshape(-1)

    def for_input(self, x: Any) -> "Action":
        """Returns the action with the sizes that it leaves open taken from ``x``; itself where it leaves none open."""
        del x
        return self

    def coarsen(self, strides: Any) -> "Action":
        """Returns the same action on the grid subsampled by ``strides``.

        Raises:
          ValueError: the action has no grid.
        """
        raise ValueError(f"{self!r} moves no grid, so it can't be subsampled by strides {strides}.")

    def on(self, shape: tuple[int, ...] = ()) -> "FiniteAction":
        """Returns the action on base axes of the given sizes, as permutations of finitely many points."""
        raise ValueError(f"{self!r} is not a permutation of finitely many points, so `on({shape})` is not defined.")


def require_ndim(action: Action, x_shape: tuple[int, ...], needed: int, layout: str) -> None:
    """Raises ``ValueError`` where an array has fewer axes than the action needs."""
    if len(x_shape) < needed:
        raise ValueError(f"`x` has shape {x_shape}; {action!r} acts on arrays {layout}, at least {needed} axes.")


def require_axis(what: str, x_shape: tuple[int, ...], axis: int, length: int, layout: str) -> None:
    """Raises ``ValueError`` where an axis of the array has another length than the action moves."""
    if x_shape[axis] != length:
        raise ValueError(
            f"`x` has shape {x_shape}: axis {axis} has length {x_shape[axis]}, but the {what} needs {length}. "
            f"The layout is {layout}."
        )
