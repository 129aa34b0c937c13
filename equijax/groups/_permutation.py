"""The symmetric group."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._numbers import positive_int
from equijax.groups._group import Group


@dataclasses.dataclass(frozen=True)
class Permutation(Group):
    """All permutations of ``n`` points, S_n. It is never enumerated.

    Elements are image vectors, int32 ``(…, n)``: ``p[i]`` is where point i goes, and ``(p∘q)[i] = p[q[i]]``.

    Example:
      >>> import equijax as ej
      >>> ej.Permutation(3).compose([1, 2, 0], [1, 0, 2]).tolist()
      [2, 1, 0]
    """

    n: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", positive_int(self.n, "n"))

    @property
    def identity(self) -> jax.Array:
        """The image vector ``0 … n - 1``, int32."""
        return jnp.arange(self.n, dtype=jnp.int32)

    def compose(self, a: Any, b: Any) -> jax.Array:
        """Returns ``a[b]``, broadcasting over leading axes."""
        a, b = jnp.broadcast_arrays(jnp.asarray(a, jnp.int32), jnp.asarray(b, jnp.int32))
        return jnp.take_along_axis(a, b, axis=-1)

    def inverse(self, a: Any) -> jax.Array:
        """Returns the image vector of the inverse permutation."""
        return jnp.argsort(jnp.asarray(a, jnp.int32), axis=-1).astype(jnp.int32)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws uniform permutations, int32 ``(*shape, n)``."""
        start = jnp.broadcast_to(self.identity, (*shape, self.n))
        return jax.random.permutation(key, start, axis=-1, independent=True)

    @property
    def order(self) -> int:
        """The factorial of n."""
        return math.factorial(self.n)

    @property
    def generators(self) -> tuple[np.ndarray, ...]:
        """A transposition and the n-cycle, int32 ``(n,)`` each (fewer where n ≤ 2)."""
        points = np.arange(self.n, dtype=np.int32)
        cycle = np.roll(points, -1)
        swap = points.copy()
        swap[:2] = swap[:2][::-1]
        return () if self.n == 1 else (swap,) if self.n == 2 else (swap, cycle)

    def __repr__(self) -> str:
        return f"Permutation({self.n})"
