"""The contract of actions."""

import abc
import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from equijax._arguments import as_shape, one_of, shown
from equijax._numbers import positive_int
from equijax.groups._elements import concrete
from equijax.groups._group import Element

if TYPE_CHECKING:
    from equijax.actions._fibre import FibreAction
    from equijax.actions._finite import FiniteAction
    from equijax.actions._motions import Grid

_MANY = 64  # more axes than any array has


@dataclasses.dataclass(frozen=True)
class Axis:
    """What one axis of an array is.

    Attributes:
      role: ``"batch"`` and ``"feature"`` axes are never moved; ``"base"`` and ``"fibre"`` axes are.
      index: which base axis it is, counted from 0; None for the other roles.
    """

    role: Literal["batch", "base", "fibre", "feature"]
    index: int | None = None

    def __post_init__(self) -> None:
        one_of(self.role, "role", ("batch", "base", "fibre", "feature"))
        if self.index is not None:
            object.__setattr__(self, "index", positive_int(self.index, "index", 0))


class Action(abc.ABC):
    r"""How a group element acts on a whole array ``(*batch, *base, fibre, features)``.

    One convention holds everywhere, the left action on fields: :math:`(g·f)(x) = ρ(g)\, f(g^{-1} x)`.

    Law: ``act(g, act(h, x)) == act(group.compose(g, h), x)`` and ``act(identity, x) == x``.
    :func:`equijax.testing.check_action` checks both. An action jits, is differentiable in ``x``, and vmaps over ``g``.
    It is an immutable value, hashable and equal by value (a frozen dataclass), so that it can be a static argument.

    Attributes:
      group: the group.
      permutes: whether every element permutes the entries. True lets a pointwise function follow, False refuses it; None,
        the default, is unknown, and behind a pointwise function nothing is claimed then.
      factors: how each factor of a direct product of groups acts, on axes of its own; None where the action is no product.
      moves: class of what is moved where it is no array, such as ``Graph``; None for arrays and for any pytree.
      sets: for each base axis, over which of the ``group.point_sets`` it runs; None where base axes run over other things.
    """

    group: Any
    permutes: Any = None
    factors: Any = None
    moves: Any = None
    sets: Any = None

    @abc.abstractmethod
    def __call__(self, g: Element, x: Any) -> Any:
        """Returns ``g · x`` for one element ``g`` (vmap over ``g`` for many)."""

    @abc.abstractmethod
    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Tells what each axis of an array with ``ndim`` axes is."""

    @property
    def moved_axes(self) -> tuple[Axis, ...]:
        """The axes that are moved, base axes and the fibre, in their order."""
        return tuple(axis for axis in self.axes(_MANY) if axis.role in ("base", "fibre"))

    @property
    def is_known(self) -> bool:
        """False where nothing is known of how arrays are moved: behind a function that nobody vouches for."""
        return True

    @property
    def is_orthogonal(self) -> bool | None:
        """Whether every element keeps the lengths of (tangent) vectors: True, False, or None where it is not known."""
        return True if self.permutes else None

    @property
    def open(self) -> "Action":
        """The action without what belongs to arrays of one size, as ``group.open``; itself where there is no such thing."""
        return self

    def fits(self, other: "Action") -> bool:
        """Tells whether a layer that takes what this action moves can follow one that gives what ``other`` moves.

        The group, what the axes are and the fibre must be equal; sizes, spacing, origin and boundary are carried along.
        """
        require_action(other, "other")
        return self.open == other.open

    @property
    def plain(self) -> "Action":
        """The action itself, without the sizes that :meth:`on` has fixed."""
        return self

    @property
    def vector(self) -> "FibreAction | None":
        """The action on one vector of the fibre of a field; None for what is no field."""
        return None

    def parts(self, shape: tuple[int, ...]) -> "list[tuple[Action, tuple[int, ...]]] | None":
        """Returns ``factors`` with the shape in which each sees an array of the given (full) shape, or None."""
        return None if self.factors is None else [(factor, shape) for factor in self.factors]

    def block(self, shape: tuple[int, ...]) -> "tuple[Action, tuple[int, ...]] | None":
        """Returns the action on one block of a hierarchy (a wreath product) with the shape of the block, or None."""
        del shape
        return None

    def grid(self, shape: tuple[int, ...]) -> "Grid | None":
        """Returns the grid that is moved, an action and the sizes of its axes; None where there is no grid."""
        del shape
        return None

    def acts(self, g: Element, shape: tuple[int, ...]) -> bool:
        """Tells whether the concrete element ``g`` maps arrays of this (full) shape to themselves."""
        as_shape(shape)
        self.group.require_element(g)
        require_known(g)
        return True

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a *known* element does not move arrays of this shape; traced elements pass."""
        as_shape(shape)
        self.group.require_element(g)

    def sources(self, g: Element, shape: tuple[int, ...]) -> np.ndarray:
        """Returns which entry moves to each entry of an array of this (full) shape, flat int, for a concrete ``g``.

        Meant for actions that permute the entries of ``shape[:-1]``; the last axis, the features, is not counted.
        """
        shape = as_shape(shape)
        if not shape:
            raise ValueError("`shape` is (); give the full shape of an array, features included.")
        self.group.require_element(g)
        require_known(g)
        numbers = np.arange(math.prod(shape[:-1]), dtype=np.int32).reshape(*shape[:-1], 1)
        with jax.ensure_compile_time_eval():
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
        raise ValueError(f"{self!r} moves no grid, so it can't be subsampled by `strides` {shown(strides)}.")

    def on(self, shape: tuple[int, ...] = ()) -> "FiniteAction":
        """Returns the action on base axes of the given sizes, as permutations of finitely many points."""
        raise ValueError(f"{self!r} is not a permutation of finitely many points, so `on({shown(shape)})` is not defined.")


def require_action(value: Any, name: str, remedy: str = "it must be an Action") -> None:
    """Raises ``TypeError`` where an argument is no action."""
    if not isinstance(value, Action):
        raise TypeError(f"`{name}` is {shown(value)}; {remedy}.")
    if not any(value.permutes is known for known in (True, False, None)):
        raise TypeError(f"`permutes` of `{name}` is {shown(value.permutes)}; it must be True, False, or None for unknown.")


def require_known(g: Element) -> None:
    """Raises ``TypeError`` where an element is traced."""
    if concrete(g) is None:
        raise TypeError("`g` is traced, so its values are not known; call this on an element outside of jit.")


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
