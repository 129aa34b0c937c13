"""Hierarchies: blocks that are permuted, each of which is moved by itself."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import as_shape
from equijax.actions._action import Action, Axis, require_action, require_known
from equijax.actions._finite import FiniteAction
from equijax.actions._product import ProductAction
from equijax.actions._tensor import SetAction
from equijax.groups import WreathProduct
from equijax.groups._elements import concrete, numeric
from equijax.groups._group import Element


@dataclasses.dataclass(frozen=True)
class WreathAction(Action):
    r"""A set of blocks, each moved by a group of its own, ``(*batch, n, *axes of a block, features)``.

    .. math:: ((q, p)·x)_{p[i]} = q_{p[i]} · x_i

    ``WreathAction()`` moves a set of sets, ``(*batch, n, m, features)``: the n sets change places, and the m points of each
    are reordered independently of the other sets. ``WreathAction(inner=GridAction(wallpaper("p4")))`` moves a set of images,
    each of which is turned and shifted by itself.

    Args:
      outer: the permutations of the blocks.
      inner: how an element of the inner group moves one block; None is ``SetAction()``.

    Raises:
      TypeError: ``outer`` is not a ``SetAction``, or ``inner`` not an ``Action``.

    Example: two pairs change places, and the one that arrives second is turned round.
      >>> import equijax as ej
      >>> act = ej.WreathAction(ej.SetAction(2), ej.SetAction(2))
      >>> act(([[0, 1], [1, 0]], [1, 0]), [[[1], [2]], [[3], [4]]])[..., 0].tolist()
      [[3, 4], [2, 1]]
    """

    outer: SetAction = SetAction()
    inner: Action = SetAction()

    def __post_init__(self) -> None:
        if not isinstance(self.outer, SetAction):
            raise TypeError(f"`outer` is {self.outer!r}; blocks are permuted, so it must be a SetAction.")
        require_action(self.inner, "inner", f"a {type(self.inner).__name__} moves no block, it must be an Action")

    @property
    def group(self) -> WreathProduct:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The wreath product of the two groups."""
        return WreathProduct(self.outer.group, self.inner.group)

    @property
    def permutes(self) -> bool | None:
        """As the action on one block."""
        return self.inner.permutes

    @property
    def open(self) -> "WreathAction":
        """The action on any number of blocks of any size."""
        return WreathAction(SetAction(), self.inner.open)

    def block(self, shape: tuple[int, ...]) -> tuple[Action, tuple[int, ...]]:
        """Returns the action on one block, and the shape in which it sees an array."""
        return self.inner, self.views(shape)[1]

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Batch axes, the axis of the blocks, the axes of one block, the features."""
        return self._axes.axes(ndim)

    def views(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Returns the shapes in which the blocks' permutations and the action on one block see an array."""
        return self._axes.views(shape)

    def for_input(self, x: Any) -> "WreathAction":
        """Returns the action with the sizes taken from the array ``x``."""
        return WreathAction(*self._axes.for_input(x).factors)  # pyright: ignore[reportArgumentType]

    def on(self, shape: tuple[int, ...] = ()) -> FiniteAction:
        """Returns the action as permutations of finitely many points.

        Args:
          shape: the number of blocks, then the sizes of the base axes of one block; ``()`` where both are known.
        """
        finite = self._axes.on(shape)
        outer, inner = finite.action.factors  # type: ignore[attr-defined]
        return FiniteAction(WreathAction(outer.action, inner), finite.shape)

    def acts(self, g: Element, shape: tuple[int, ...]) -> bool:
        """Tells whether the concrete element ``g`` maps arrays of this shape to themselves."""
        self.group.require_element(g)
        require_known(g)
        q, p = concrete(g)
        return all(self._axes.acts((p, _entry(q, i)), shape) for i in range(len(p)))

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a known element does not move arrays of this shape."""
        as_shape(shape)
        self.group.require_element(g)
        known = concrete(g)
        if known is not None:
            q, p = known
            for i in range(len(p)):
                self._axes.require_acts((p, _entry(q, i)), shape)

    def sources(self, g: Element, shape: tuple[int, ...]) -> np.ndarray:
        """Returns which entry moves to each entry, flat int, for a concrete element; in numpy where ``inner`` is."""
        self.group.require_element(g)
        require_known(g)
        q, p = concrete(g)
        *batch, n, _ = self.views(shape)[0]
        block = shape[len(batch) + 1 : -1]
        numbers = np.arange(math.prod(shape[:-1]), dtype=np.int32).reshape(math.prod(batch), n, math.prod(block))
        inside = [self.inner.sources(_entry(q, i), (*block, 1)) for i in range(n)]
        index = np.array(inside, np.int32).reshape(1, n, math.prod(block))
        return np.take_along_axis(numbers[:, np.argsort(p)], index, axis=2).reshape(-1)

    def __call__(self, g: Element, x: Any) -> jax.Array:
        """Returns ``g · x`` for one element ``(q, p)`` and an array ``(*batch, n, *axes of a block, features)``."""
        self.group.require_element(g)
        q, p = jax.tree.map(jnp.asarray, g, is_leaf=lambda leaf: isinstance(leaf, list))
        x = numeric(x, "x")
        blocks = x.reshape(self.views(x.shape)[0])
        axis = blocks.ndim - 2
        lengths = {leaf.shape[0] for leaf in jax.tree.leaves(q)}
        if lengths != {x.shape[axis]}:
            raise ValueError(f"`g` has elements for {lengths} blocks; `x` of shape {x.shape} has {x.shape[axis]} of them.")
        self.require_acts(g, x.shape)
        moved = self.outer(p, blocks).reshape(x.shape)
        return jax.vmap(self.inner, in_axes=(0, axis), out_axes=axis)(q, moved)

    @property
    def _axes(self) -> ProductAction:
        """The direct product of the two actions, whose axes are the same."""
        return ProductAction(self.outer, self.inner)


def _entry(q: Element, place: int) -> Element:
    return jax.tree.map(lambda leaf: leaf[place], q)
