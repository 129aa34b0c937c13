"""Actions on finitely many points."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import as_shape
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.actions._action import Action, Axis, require_action, require_known
from equijax.groups._elements import numeric, require_one
from equijax.groups._group import Element, Group

if TYPE_CHECKING:
    from equijax.actions._fibre import FibreAction
    from equijax.actions._motions import Grid


@dataclasses.dataclass(frozen=True)
class FiniteAction(Action):
    """An action on arrays whose base axes have fixed sizes: each element moves a vector of finitely many entries.

    Made by ``action.on(sizes)``. The entries, called points, are numbered in C order over ``shape``. Where the action
    permutes them, :meth:`permutation` says how; :meth:`matrix` is there for every action.

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

    def __post_init__(self) -> None:
        require_action(self.action, "action")
        object.__setattr__(self, "shape", as_shape(self.shape))

    @property
    def group(self) -> Group:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The group."""
        return self.action.group

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

    @property
    def permutes(self) -> bool | None:
        """As the action itself."""
        return self.action.permutes

    @property
    def open(self) -> Action:
        """The action itself without its sizes."""
        return self.action.open

    @property
    def plain(self) -> Action:
        """The action itself."""
        return self.action.plain

    @property
    def factors(self) -> tuple[Action, ...] | None:
        """Those of the action itself."""
        return self.action.factors

    @property
    def sets(self) -> tuple[int, ...] | None:
        """Those of the action itself."""
        return self.action.sets

    @property
    def vector(self) -> "FibreAction | None":
        """That of the action itself."""
        return self.action.vector

    @property
    def moved_axes(self) -> tuple[Axis, ...]:
        """The axes of ``shape``."""
        return self.axes(len(self.shape) + 1)[:-1]

    def parts(self, shape: tuple[int, ...]) -> list[tuple[Action, tuple[int, ...]]] | None:
        """Those of the action itself."""
        return self.action.parts(shape)

    def block(self, shape: tuple[int, ...]) -> tuple[Action, tuple[int, ...]] | None:
        """That of the action itself."""
        return self.action.block(shape)

    def grid(self, shape: tuple[int, ...]) -> "Grid | None":
        """That of the action itself."""
        return self.action.grid(shape)

    def __call__(self, g: Element, x: Any) -> Any:
        """Returns ``g · x`` for ``x`` of shape ``(*batch, *shape, features)``."""
        shape = numeric(x, "x").shape
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
        self.group.require_element(g)
        require_known(g)
        return self.action.acts(g, (*self.shape, 1) if shape is None else shape)

    def sources(self, g: Element, shape: tuple[int, ...]) -> np.ndarray:
        """Returns which entry moves to each entry, flat int, for a concrete ``g``, as the underlying action does."""
        return self.action.sources(g, shape)

    def permutation(self, g: Element) -> np.ndarray:
        """Returns where the concrete element ``g`` sends each point, int ``(size,)``: ``(g·x)[p[i]] = x[i]``.

        Raises:
          ValueError: ``g`` does not permute the points.
        """
        require_one(self.group, g)
        if not self.acts(g):
            raise ValueError(f"`g` = {_listed(g)} does not permute {self!r}.")
        if self.permutes is False:
            raise ValueError(f"{self!r} mixes its entries, so `g` = {_listed(g)} is no permutation of them. Use matrix(g).")
        return np.argsort(self.action.sources(g, (*self.shape, 1)))

    def matrix(self, g: Element) -> np.ndarray:
        """Returns the matrix by which the concrete element ``g`` moves the points, float64 ``(size, size)``.

        Raises:
          ValueError: ``g`` does not map arrays of these sizes to themselves.

        Example:
          >>> import equijax as ej
          >>> ej.SetAction(2).on().matrix([1, 0]).tolist()
          [[0.0, 1.0], [1.0, 0.0]]
        """
        if not self.acts(g):
            raise ValueError(
                f"`g` = {_listed(g)} does not map arrays of shape {self.shape} of {self.action!r} to themselves."
            )
        with jax.enable_x64(True), jax.ensure_compile_time_eval():
            return np.array(self.action(g, self._points()), np.float64).reshape(self.size, self.size)

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Derivatives of :meth:`matrix` along ``group.algebra``, float64 ``(size, size)``; empty for a discrete group."""
        return _algebra(self)

    def _points(self) -> jax.Array:
        """The unit vectors as features, ``(*shape, size)``."""
        return jnp.eye(self.size).reshape(*self.shape, self.size)

    def on(self, shape: tuple[int, ...] = ()) -> "FiniteAction":
        """Returns itself; sizes that are given must be the present ones."""
        if as_shape(shape) not in ((), self.shape[: len(tuple(shape))]):
            raise ValueError(f"`shape` is {shape}, but the action is fixed on {self.shape} already.")
        return self


def _listed(g: Element) -> Any:
    return jax.tree.map(lambda a: np.asarray(a).tolist(), g)


@bounded
def _algebra(action: FiniteAction) -> tuple[np.ndarray, ...]:
    """d/dt of the matrix of exp(tX) at t = 0, for each X of the group's algebra."""
    group: Any = action.group
    found = []
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        points = action._points()
        for direction in map(jnp.asarray, group.algebra):
            curve = lambda t, X=direction: action.action(group.exp(t * X), points)  # noqa: E731
            tangent = jax.jvp(curve, (jnp.zeros((), float),), (jnp.ones((), float),))[1]
            found.append(read_only(np.array(tangent, np.float64).reshape(action.size, action.size)))
    return tuple(found)
