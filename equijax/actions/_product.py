"""Several groups that move different axes of one array."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import as_shape, shown
from equijax._numbers import positive_int
from equijax.actions._action import Action, Axis, require_action, require_ndim
from equijax.actions._finite import FiniteAction
from equijax.groups import DirectProduct
from equijax.groups._elements import array_shape, numeric
from equijax.groups._group import Element


@dataclasses.dataclass(frozen=True, init=False)
class ProductAction(Action):
    r"""A direct product of groups, each of which moves its own axes, ``(*batch, *axes_1, …, *axes_m, features)``.

    .. math:: (g_1, …, g_m)·x = g_1·(g_2·(⋯ (g_m·x)))

    The axes of a factor are those that its action moves, base axes first and then the fibre; they follow one another in
    the order of the factors. To each factor the axes before its own are batch axes, and the axes behind are features. So
    the order in which the factors act makes no difference.

    ``ProductAction(SetAction(), SetAction())`` moves matrices of users and items, ``(*batch, n, m, features)``;
    ``ProductAction(SetAction(), GridAction(wallpaper("p4"), fibre))`` moves sets of feature maps,
    ``(*batch, n, H, W, 4, features)``.

    Args:
      *factors: actions on arrays; one of them may be a product itself.

    Attributes:
      factors: the actions.

    Raises:
      TypeError: a factor is no ``Action``.
      ValueError: there is no factor.

    Example: the rows of a matrix are moved by one permutation, the columns by another one.
      >>> import equijax as ej
      >>> act = ej.ProductAction(ej.SetAction(2), ej.SetAction(3))
      >>> act(([1, 0], [1, 2, 0]), [[[1], [2], [3]], [[4], [5], [6]]])[..., 0].tolist()
      [[6, 4, 5], [3, 1, 2]]
    """

    factors: tuple[Action, ...]

    def __init__(self, *factors: Action):
        for factor in factors:
            require_action(factor, "factors", f"a {type(factor).__name__} is no factor, it must be an Action")
        if not factors:
            raise ValueError("`factors` is empty; a product needs at least one action.")
        object.__setattr__(self, "factors", factors)

    @property
    def group(self) -> DirectProduct:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The direct product of the factors' groups; its elements are tuples, one entry for each factor."""
        return DirectProduct(*(factor.group for factor in self.factors))

    @property
    def permutes(self) -> bool | None:
        """True where every factor permutes, False where one does not, else unknown."""
        return all_permute(factor.permutes for factor in self.factors)

    @property
    def sets(self) -> tuple[int, ...] | None:
        """Those of the factors, counted through; None where the axes of a factor run over other things."""
        own = [factor.sets for factor in self.factors]
        first = np.cumsum([0, *(factor.group.point_sets for factor in self.factors)])
        if any(sets is None for sets in own):
            return None
        return tuple(int(start) + k for start, sets in zip(first[:-1], own, strict=True) for k in sets or ())

    @property
    def open(self) -> "ProductAction":
        """The product of the factors without their sizes."""
        return ProductAction(*(factor.open for factor in self.factors))

    def parts(self, shape: tuple[int, ...]) -> list[tuple[Action, tuple[int, ...]]]:
        """Returns the factors with the shapes of :meth:`views`."""
        return list(zip(self.factors, self.views(shape), strict=True))

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Batch axes, the axes of each factor with base axes counted through, the features."""
        own = [axis for factor in self.factors for axis in factor.moved_axes]
        ndim = positive_int(ndim, "ndim", 0)
        require_ndim(self, (0,) * ndim, len(own) + 1, self._layout)
        bases = iter(range(ndim))
        moved = (Axis("base", next(bases)) if axis.role == "base" else axis for axis in own)
        return (*(Axis("batch"),) * (ndim - len(own) - 1), *moved, Axis("feature"))

    def views(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Returns the shape in which each factor sees an array: what lies behind its own axes is merged to features."""
        counts, shape = [len(factor.moved_axes) for factor in self.factors], as_shape(shape)
        require_ndim(self, shape, sum(counts) + 1, self._layout)
        ends = len(shape) - 1 - sum(counts) + np.cumsum(counts)
        return [(*shape[:end], math.prod(shape[end:])) for end in ends]

    def for_input(self, x: Any) -> "ProductAction":
        """Returns the product of the factors with their sizes taken from the array ``x``."""
        seen = [jax.ShapeDtypeStruct(view, jnp.float32) for view in self.views(array_shape(x, "x"))]
        return ProductAction(*(factor.for_input(view) for factor, view in zip(self.factors, seen, strict=True)))

    def on(self, shape: tuple[int, ...] = ()) -> FiniteAction:
        """Returns the action as permutations of finitely many points.

        Args:
          shape: the sizes of all base axes, factor by factor, e.g. ``(3, 5, 5)`` for a set of three images; ``()`` where
            every factor knows its sizes.

        Raises:
          ValueError: the number of sizes is wrong, or a factor does not take its own.
        """
        sizes = as_shape(shape)
        counts = [sum(axis.role == "base" for axis in factor.moved_axes) for factor in self.factors]
        if sizes and len(sizes) != sum(counts):
            raise ValueError(f"`shape` is {sizes}; {self!r} has {sum(counts)} base axes. Give one size for each, or none.")
        ends = np.cumsum(counts)
        factors = [f.on(sizes[end - count : end]) for f, end, count in zip(self.factors, ends, counts, strict=True)]
        return FiniteAction(ProductAction(*factors), tuple(n for factor in factors for n in factor.shape))

    def acts(self, g: Element, shape: tuple[int, ...]) -> bool:
        """Tells whether every entry of the concrete element ``g`` maps arrays of this shape to themselves."""
        parts = zip(self.factors, self._entries(g), self.views(shape), strict=True)
        return all(factor.acts(entry, view) for factor, entry, view in parts)

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where an entry of a known element does not move arrays of this shape."""
        for factor, entry, view in zip(self.factors, self._entries(g), self.views(shape), strict=True):
            factor.require_acts(entry, view)

    def sources(self, g: Element, shape: tuple[int, ...]) -> np.ndarray:
        """Returns which entry moves to each entry, flat int, for a concrete element; in numpy where the factors are."""
        shape = as_shape(shape)
        require_ndim(self, shape, sum(len(factor.moved_axes) for factor in self.factors) + 1, self._layout)
        numbers = np.arange(math.prod(shape[:-1]), dtype=np.int32)
        start = len(shape) - 1 - sum(len(factor.moved_axes) for factor in self.factors)
        for factor, entry in zip(self.factors, self._entries(g), strict=True):
            end = start + len(factor.moved_axes)
            source = factor.sources(entry, (*shape[start:end], 1))
            blocks = numbers.reshape(math.prod(shape[:start]), len(source), math.prod(shape[end:-1]))
            numbers, start = blocks[:, source].reshape(-1), end
        return numbers

    def __call__(self, g: Element, x: Any) -> jax.Array:
        """Returns ``g · x``.

        Args:
          g: one element, a tuple with one entry for each factor.
          x: array ``(*batch, *axes_1, …, *axes_m, features)`` of any dtype.

        Returns:
          Array of the same shape and dtype.

        Raises:
          ValueError: ``g`` has another number of entries, or a factor does not take its part.
        """
        x = numeric(x, "x")
        for factor, entry, view in zip(self.factors, self._entries(g), self.views(x.shape), strict=True):
            x = factor(entry, x.reshape(view)).reshape(x.shape)
        return x

    def _entries(self, g: Element) -> tuple[Element, ...]:
        if not isinstance(g, (tuple, list)) or len(g) != len(self.factors):
            raise ValueError(f"`g` is {shown(g)}; an element of {self.group!r} is a tuple of {len(self.factors)} entries.")
        return tuple(g)

    @property
    def _layout(self) -> str:
        counts = (len(factor.moved_axes) for factor in self.factors)
        axes = [f"axis_{k}.{i}" for k, count in enumerate(counts, 1) for i in range(count)]
        return f"({', '.join(['*batch', *axes, 'features'])})"

    def __repr__(self) -> str:
        return f"ProductAction({', '.join(map(repr, self.factors))})"


def all_permute(answers: Iterable[bool | None]) -> bool | None:
    """True where all are True, False where one is False, else None."""
    known = list(answers)
    return False if False in known else None if None in known else True
