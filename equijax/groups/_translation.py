"""Translations of a grid."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from equijax._arguments import as_shape, require_key, shown
from equijax._arrays import FrozenArray, read_only
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.groups._catalogue import Trivial
from equijax.groups._elements import integers, on_device, poison
from equijax.groups._finite import FiniteGroup, TableSource
from equijax.groups._group import Group, too_many
from equijax.groups._vectors import added, reduced

_SAMPLE_RANGE = 8


@dataclasses.dataclass(frozen=True)
class Translation(Group):
    """The integer translations of an ``ndim``-dimensional grid; with ``period`` those of a torus.

    Elements are int32 vectors ``(…, ndim)``; on a torus they are taken modulo the period. A sum that does not fit is a
    ``ValueError``; where it is traced, it is the smallest int32, which marks what is unknown and stays when more is added.
    ``sample`` is uniform on a torus; on the infinite grid it draws every component uniformly from −8 … 8.

    Args:
      ndim: number of axes, at least 1.
      period: None, or the size of the torus along each axis; an int stands for all axes.

    Example:
      >>> import equijax as ej
      >>> ej.Translation(2).compose([1, 2], [3, 4]).tolist()
      [4, 6]
      >>> ej.Translation(2, period=5).compose([1, 2], [3, 4]).tolist()
      [4, 1]
    """

    ndim: int
    period: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ndim", positive_int(self.ndim, "ndim"))
        object.__setattr__(self, "period", as_period(self.period, self.ndim))

    @property
    def identity(self) -> jax.Array:
        """The zero vector, int32 ``(ndim,)``."""
        return jnp.zeros((self.ndim,), jnp.int32)

    def require_element(self, g: Any, name: str = "g") -> None:
        """Raises ``TypeError`` or ``ValueError`` where ``g`` holds no integer vectors."""
        self._vectors(g, name)

    def _vectors(self, g: Any, name: str) -> Any:
        found = integers(g, name, (self.ndim,), "integer vectors")
        if isinstance(found, np.ndarray) and (found == poison(np.int32)).any():
            raise ValueError(f"`{name}` holds {poison(np.int32)}, the mark of what is unknown; it is no entry of a vector.")
        return found

    def compose(self, a: Any, b: Any) -> jax.Array:
        """Returns ``a + b``, modulo the period."""
        return on_device(added(self._vectors(a, "a"), self._vectors(b, "b"), self.period))

    def inverse(self, a: Any) -> jax.Array:
        """Returns ``−a``, modulo the period."""
        return self.reduce(-self._vectors(a, "a"))

    def reduce(self, a: Any) -> jax.Array:
        """Returns the representative of ``a`` in ``0 … period - 1``; on the infinite grid ``a`` itself."""
        return on_device(reduced(self._vectors(a, "a"), self.period))

    def isclose(self, a: Any, b: Any) -> jax.Array:
        """Tells where ``a`` and ``b`` are the same translation."""
        self.require_element(a, "a")
        self.require_element(b, "b")
        a, b = jnp.broadcast_arrays(self.reduce(a), self.reduce(b))
        return super().isclose(a, b) & (a != poison(np.int32)).all(-1)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws translations: uniform on the torus, or uniform in −8 … 8 on the infinite grid; int32 (…, ndim)."""
        require_key(key)
        shape = as_shape(shape)
        if self.period is None:
            return jax.random.randint(key, (*shape, self.ndim), -_SAMPLE_RANGE, _SAMPLE_RANGE + 1, jnp.int32)
        high = jnp.broadcast_to(jnp.asarray(self.period, jnp.int32), (*shape, self.ndim))
        return jax.random.randint(key, (*shape, self.ndim), 0, high, jnp.int32)

    @property
    def order(self) -> int | float:
        """Number of elements: the number of points of the torus, or infinity."""
        return math.inf if self.period is None else math.prod(self.period)

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """The unit vectors, int32 ``(ndim,)`` each."""
        return tuple(np.eye(self.ndim, dtype=np.int32))

    @property
    def point_group(self) -> FiniteGroup:
        """``Trivial(ndim)``: translations leave fibres alone."""
        return Trivial(self.ndim)

    @property
    def grid_ndim(self) -> int:
        """Number of axes."""
        return self.ndim

    @property
    def open(self) -> "Translation":
        """The translations of the infinite grid."""
        return self if self.period is None else Translation(self.ndim)

    def on_torus(self, period: Any) -> "Translation":
        """Returns the translations of the torus of this size."""
        return Translation(self.ndim, period)

    def with_point_group(self, point_group: Group) -> "Translation":
        """Returns the group itself: translations alone have no smaller point group."""
        del point_group
        return self

    def split(self, g: Any) -> tuple[Any, np.ndarray]:
        """Returns the vectors themselves, and zeros of their leading shape: the identity of ``point_group``."""
        return g, np.zeros(on_device(g).shape[:-1], np.int32)

    def join(self, t: Any, h: Any) -> Any:
        """Returns ``t``."""
        del h
        return t

    def averaged_elements(self, largest: int) -> jax.Array:
        """Raises: an average over translations would need to name them.

        Raises:
          ValueError: always.
        """
        positive_int(largest, "largest")
        raise too_many(self)

    def elements(self) -> jax.Array:
        """Returns all vectors of the torus in C order, int32 ``(order, ndim)``."""
        if self.period is None:
            return super().elements()
        return jnp.asarray(_vectors(self.period))

    def as_finite(self) -> tuple[FiniteGroup, np.ndarray]:
        """Returns the torus as a ``FiniteGroup`` and the bijection.

        Returns:
          The group, and int32 ``(order, ndim)`` whose row i is the vector of element i (C order).

        Raises:
          ValueError: the group is infinite.
        """
        if self.period is None:
            raise ValueError(f"{self!r} is infinite. Give a period: Translation({self.ndim}, period=(…)).")
        return _as_finite(self), _vectors(self.period)

    def __repr__(self) -> str:
        return f"Translation({self.ndim}{'' if self.period is None else f', period={self.period}'})"


def as_period(period: Any, ndim: int) -> tuple[int, ...] | None:
    """Returns ``period`` as a tuple of ``ndim`` positive ints, or None."""
    if period is None:
        return None
    one = isinstance(period, (str, Tracer)) or not np.iterable(period)
    values = (period,) * ndim if one else tuple(period)
    if len(values) != ndim:
        raise ValueError(f"`period` is {shown(period)}; give one positive integer for each of the {ndim} axes.")
    return tuple(positive_int(n, "period", 1, None if one else period) for n in values)


@bounded
def _vectors(period: tuple[int, ...]) -> np.ndarray:
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in period), indexing="ij"), -1)
    return read_only(grid.reshape(-1, len(period)).astype(np.int32))


@bounded
def _as_finite(group: Translation) -> FiniteGroup:
    period = group.period or ()
    vectors = _vectors(period)
    sums = (vectors[:, None] + vectors[None]) % np.array(period, np.int32)
    table = np.ravel_multi_index(tuple(np.moveaxis(sums, -1, 0)), period)
    return FiniteGroup(TableSource(FrozenArray(table, np.int32)))
