"""Sets, and tensors whose axes all run over one set."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import as_shape
from equijax._numbers import positive_int
from equijax.actions._action import Action, Axis, require_axis, require_ndim
from equijax.actions._finite import FiniteAction
from equijax.actions._trivial import TrivialAction
from equijax.groups import Permutation
from equijax.groups._elements import array_shape, integers, numeric, poison
from equijax.groups._group import Element


@dataclasses.dataclass(frozen=True)
class TensorAction(Action):
    r"""Permutations of n points that move an order-k tensor, ``(*batch, n, …, n, features)``.

    .. math:: (p·x)[p[i_1], …, p[i_k]] = x[i_1, …, i_k]

    Order 1 is a set (:class:`SetAction`), order 2 a relation such as an adjacency matrix, order 0 does not move.

    Args:
      n: number of points; None is "as many as the array has", for layers that work at every size.
      order: number of axes that run over the points.

    Example:
      >>> import equijax as ej
      >>> ej.TensorAction(2, order=2)([1, 0], [[[1], [2]], [[3], [4]]])[..., 0].tolist()
      [[4, 3], [2, 1]]
    """

    n: int | None
    order: int

    def __post_init__(self) -> None:
        if self.n is not None:
            object.__setattr__(self, "n", positive_int(self.n, "n", 0))
        object.__setattr__(self, "order", positive_int(self.order, "order", 0))

    @property
    def group(self) -> Permutation:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All permutations of the points."""
        return Permutation(self.n)

    @property
    def permutes(self) -> bool:
        """True."""
        return True

    @property
    def sets(self) -> tuple[int, ...]:
        """All axes run over the one set."""
        return (0,) * self.order

    @property
    def open(self) -> Action:
        """The action on any number of points; order 0 does not move."""
        return TensorAction(None, self.order) if self.order else TrivialAction(Permutation())

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Batch axes, one base axis for each order, the features."""
        ndim = positive_int(ndim, "ndim", 0)
        require_ndim(self, (0,) * ndim, self.order + 1, self._layout)
        base = tuple(Axis("base", k) for k in range(self.order))
        return (*(Axis("batch"),) * (ndim - self.order - 1), *base, Axis("feature"))

    def for_input(self, x: Any) -> "TensorAction":
        """Returns the action on as many points as the array ``x`` has."""
        shape = array_shape(x, "x")
        require_ndim(self, shape, self.order + 1, self._layout)
        return self._sized(shape[-2]) if self.order and self.n is None else self

    def on(self, shape: tuple[int, ...] = ()) -> FiniteAction:
        """Returns the action as permutations of the entries; ``shape`` gives the sizes where n is None."""
        shape = as_shape(shape)
        if self.n is None:
            if len(shape) != self.order or not shape or len(set(shape)) > 1:
                raise ValueError(
                    f"`shape` is {shape}; {self!r} needs {max(self.order, 1)} equal sizes, e.g. on((5, 5)) for order 2."
                )
            return self._sized(shape[0]).on()
        if shape not in ((), (self.n,) * self.order):
            raise ValueError(f"`shape` is {shape}; {self!r} moves {(self.n,) * self.order}. Call on() without sizes.")
        return FiniteAction(self, (self.n,) * self.order)

    def _sized(self, n: int) -> "TensorAction":
        return dataclasses.replace(self, n=n)

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a known element is no permutation of the points."""
        as_shape(shape)
        self.group.require_element(g)

    def __call__(self, g: Element, x: Any) -> jax.Array:
        """Returns ``g · x`` for one image vector ``g``, int ``(n,)``, and an array ``(*batch, n, …, n, features)``."""
        x, g = numeric(x, "x"), integers(g, "g", (None,), "images of the points")
        n = self.for_input(x).n
        if n is None:
            return x
        if g.shape != (n,):
            raise ValueError(f"`g` has shape {g.shape}; one permutation of {n} points has shape ({n},).")
        self.require_acts(g, x.shape)
        source, known = self.group.inverse(g), isinstance(g, np.ndarray)
        if not known:
            source = jnp.where(source < 0, n, source)
        for axis in range(x.ndim - 1 - self.order, x.ndim - 1):
            require_axis("set", x.shape, axis, n, self._layout)
            if known:
                x = jnp.take(x, source, axis=axis, mode="clip")
            else:
                x = jnp.take(x, source, axis=axis, mode="fill", fill_value=poison(x.dtype))
        return x

    @property
    def _layout(self) -> str:
        size = "n" if self.n is None else self.n
        return f"(*batch{f', {size}' * self.order}, features)"


@dataclasses.dataclass(frozen=True)
class SetAction(TensorAction):
    """Permutations that reorder a set, ``(*batch, n, features)``: ``(p·x)[p[i]] = x[i]``.

    Args:
      n: number of points; None is "as many as the array has".

    Example:
      >>> import equijax as ej
      >>> ej.SetAction(3)([1, 2, 0], [[10], [11], [12]])[:, 0].tolist()
      [12, 10, 11]
    """

    n: int | None = None
    order: int = dataclasses.field(default=1, init=False)

    def _sized(self, n: int) -> "SetAction":
        return SetAction(n)
