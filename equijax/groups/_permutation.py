"""The symmetric group."""

import dataclasses
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from equijax._arguments import as_shape, require_key, shown
from equijax._numbers import positive_int
from equijax.groups._elements import concrete, integers, on_device, poison, reals
from equijax.groups._group import Group, require_is_group, too_many


@dataclasses.dataclass(frozen=True)
class Permutation(Group):
    """All permutations of ``n`` points, S_n. It is never enumerated.

    Elements are image vectors, int32 ``(…, n)``: ``p[i]`` is where point i goes, and ``(p∘q)[i] = p[q[i]]``.

    Args:
      n: number of points; None is "as many as there are", for layers that work on sets of every size. Elements compose
        and invert then, but there is no identity to name and none to draw.

    Example:
      >>> import equijax as ej
      >>> ej.Permutation(3).compose([1, 2, 0], [1, 0, 2]).tolist()
      [2, 1, 0]
    """

    n: int | None = None
    point_sets = 1

    def __post_init__(self) -> None:
        if self.n is not None:
            object.__setattr__(self, "n", positive_int(self.n, "n", 0))

    @property
    def _size(self) -> int:
        if self.n is None:
            raise ValueError(
                "`n` is None: this is the group of permutations of any number of points. Write Permutation(n), or "
                "action.for_input(x), which takes the number from x."
            )
        return self.n

    @property
    def identity(self) -> jax.Array:
        """The image vector ``0 … n - 1``, int32."""
        return jnp.arange(self._size, dtype=jnp.int32)

    def require_element(self, g: Any, name: str = "g") -> None:
        """Raises ``TypeError`` or ``ValueError`` where ``g`` is no image vector; of a traced one the values pass."""
        self._images(g, name)

    def _images(self, g: Any, name: str) -> Any:
        """The image vectors, int32, a numpy array where they are known."""
        images = integers(g, name, (self.n,), "images of the points")
        if isinstance(images, np.ndarray):
            wrong = (np.sort(images, axis=-1) != np.arange(images.shape[-1])).any(-1)
            if wrong.any():
                last = images.shape[-1] - 1
                raise ValueError(
                    f"`{name}` holds {shown(images[wrong][0].tolist())}; it must be a permutation of 0 … {last}, every "
                    "image once."
                )
        return images

    def isclose(self, a: Any, b: Any) -> jax.Array:
        """Tells where ``a`` and ``b`` are the same permutation; bool array of the broadcast leading shape."""
        a, b = self._images(a, "a"), self._images(b, "b")
        same = super().isclose(a, b)
        if concrete((a, b)) is not None:
            return same
        return jnp.logical_and(*jnp.broadcast_arrays(same, is_permutation(jnp.asarray(a))))

    def compose(self, a: Any, b: Any) -> jax.Array:
        """Returns ``a[b]``, broadcasting over leading axes; the smallest int32 where a traced image is out of range."""
        pair = self._images(a, "a"), self._images(b, "b")
        if concrete(pair) is not None:
            return on_device(np.take_along_axis(*np.broadcast_arrays(*pair), axis=-1))
        a, b = jnp.broadcast_arrays(*pair)
        known = (is_permutation(a) & is_permutation(b))[..., None]
        return jnp.where(known, jnp.take_along_axis(a, b, axis=-1, mode="clip"), poison(np.int32))

    def inverse(self, a: Any) -> jax.Array:
        """Returns the image vector of the inverse; the smallest int32 throughout for a traced vector that is none."""
        a = self._images(a, "a")
        if isinstance(a, np.ndarray):
            return on_device(np.argsort(a, axis=-1).astype(np.int32))
        back = jnp.argsort(a, axis=-1).astype(jnp.int32)
        return jnp.where(is_permutation(a)[..., None], back, poison(np.int32))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws uniform permutations, int32 ``(*shape, n)``."""
        require_key(key)
        start = jnp.broadcast_to(self.identity, (*as_shape(shape), self._size))
        return jax.random.permutation(key, start, axis=-1, independent=True)

    def images(self, g: Any) -> tuple[Any, ...]:
        """Returns the image vector itself."""
        return (g,)

    def matrix(self, g: Any) -> jax.Array:
        """Returns permutation matrices, float ``(…, n, n)``: column i has its 1 in row ``g[i]``."""
        images = jnp.asarray(self._images(g, "g"))
        matrix = self._matrix(images)
        if not isinstance(images, Tracer):
            return matrix
        return jnp.where(is_permutation(images)[..., None, None], matrix, jnp.nan)

    def _matrix(self, images: jax.Array) -> jax.Array:
        return jnp.swapaxes(jax.nn.one_hot(images, self._size, dtype=float), -1, -2)

    def element(self, matrix: Any) -> jax.Array:
        """Returns the image vectors of permutation matrices, int32 ``(…, n)``.

        Raises:
          ValueError: a matrix that is known is none, to 1e-4. A traced one that is none gives the smallest int32.
        """
        given = reals(matrix, "matrix", (self._size, self._size), "permutation matrices")
        images = jnp.argmax(given, axis=-2).astype(jnp.int32)
        same = jnp.abs(self._matrix(images) - given).max((-2, -1), initial=0.0) <= 1e-4
        known = concrete(same)
        if known is not None and not known.all():
            raise ValueError(
                f"`matrix` is {shown(matrix)}; it must hold permutation matrices, one 1 in each row and column."
            )
        return images if known is not None else jnp.where(same[..., None], images, poison(np.int32))

    @property
    def order(self) -> int:
        """The factorial of n."""
        return math.factorial(self._size)

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """A transposition and the n-cycle, int32 ``(n,)`` each (fewer where n ≤ 2)."""
        points = np.arange(self._size, dtype=np.int32)
        cycle = np.roll(points, -1)
        swap = points.copy()
        swap[:2] = swap[:2][::-1]
        return () if self._size < 2 else (swap,) if self.n == 2 else (swap, cycle)

    def averaged_elements(self, largest: int) -> np.ndarray:
        """Returns all image vectors in lexicographic order, int32 ``(n!, n)``."""
        if self.order > positive_int(largest, "largest"):
            raise too_many(self)
        return np.array(list(itertools.permutations(range(self._size))), np.int32)

    @property
    def open(self) -> "Permutation":
        """The permutations of any number of points."""
        return Permutation()

    def agrees(self, other: Group) -> bool:
        """Tells whether ``other`` permutes as many points, or one of the two leaves the number open."""
        require_is_group(other, "other")
        return isinstance(other, Permutation) and (None in (self.n, other.n) or self.n == other.n)

    def __repr__(self) -> str:
        return f"Permutation({'' if self.n is None else self.n})"


def is_permutation(images: jax.Array) -> jax.Array:
    """Tells, traced too, which rows of ``(…, n)`` hold every number below n once; bool ``(…,)``."""
    every = jnp.arange(images.shape[-1], dtype=images.dtype)
    return (jnp.sort(images, axis=-1) == jnp.broadcast_to(every, images.shape)).all(-1)
