"""The symmetric group."""

import dataclasses
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._numbers import positive_int
from equijax.groups._group import Group, too_many


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

    def compose(self, a: Any, b: Any) -> jax.Array:
        """Returns ``a[b]``, broadcasting over leading axes."""
        a, b = jnp.broadcast_arrays(jnp.asarray(a, jnp.int32), jnp.asarray(b, jnp.int32))
        return jnp.take_along_axis(a, b, axis=-1)

    def inverse(self, a: Any) -> jax.Array:
        """Returns the image vector of the inverse permutation."""
        return jnp.argsort(jnp.asarray(a, jnp.int32), axis=-1).astype(jnp.int32)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws uniform permutations, int32 ``(*shape, n)``."""
        start = jnp.broadcast_to(self.identity, (*shape, self._size))
        return jax.random.permutation(key, start, axis=-1, independent=True)

    def images(self, g: Any) -> tuple[Any, ...]:
        """Returns the image vector itself."""
        return (g,)

    def matrix(self, g: Any) -> jax.Array:
        """Returns permutation matrices, float ``(…, n, n)``: column i has its 1 in row ``g[i]``."""
        return jnp.swapaxes(jax.nn.one_hot(jnp.asarray(g, jnp.int32), self._size, dtype=float), -1, -2)

    def element(self, matrix: Any) -> jax.Array:
        """Returns the image vectors of permutation matrices, int32 ``(…, n)``."""
        return jnp.argmax(jnp.asarray(matrix), axis=-2).astype(jnp.int32)

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
        if self.order > largest:
            raise too_many(self)
        return np.array(list(itertools.permutations(range(self._size))), np.int32)

    @property
    def open(self) -> "Permutation":
        """The permutations of any number of points."""
        return Permutation()

    def agrees(self, other: Group) -> bool:
        """Tells whether ``other`` permutes as many points, or one of the two leaves the number open."""
        return isinstance(other, Permutation) and (None in (self.n, other.n) or self.n == other.n)

    def __repr__(self) -> str:
        return f"Permutation({'' if self.n is None else self.n})"
