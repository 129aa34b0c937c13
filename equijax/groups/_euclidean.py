"""Rotations, reflections and rigid motions of real space."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from equijax._numbers import positive_int
from equijax.groups._group import Element, Group
from equijax.groups._product import SemidirectProduct


class _Continuous(Group):
    """A group on n-dimensional space of which no finite list of elements generates everything."""

    n: int

    @property
    def generators(self) -> tuple[Element, ...]:
        """There are none.

        Raises:
          ValueError: always.
        """
        raise ValueError(f"{self!r} is continuous, so it has no finite list of generators. Draw with `sample(key, shape)`.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n})"


@dataclasses.dataclass(frozen=True, repr=False)
class O(_Continuous):  # noqa: E742
    r"""The orthogonal group: all rotations and reflections of n-dimensional space.

    Elements are matrices :math:`R` with :math:`R^⊤R = 1`, float ``(…, n, n)`` in the default precision (float64 where
    ``jax_enable_x64`` is set). They act on column vectors. ``sample`` draws from the Haar measure, so half of the draws
    reflect: the factor Q of a Gaussian matrix, its columns signed so that the diagonal of R is positive.

    Args:
      n: dimension of the space.

    Example:
      >>> import equijax as ej, jax
      >>> ej.O(3).sample(jax.random.key(0), (5,)).shape
      (5, 3, 3)

    References:
      Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the AMS 54 (2007),
      arXiv:math-ph/0609050, section 5.
    """

    n: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", positive_int(self.n, "n"))

    @property
    def identity(self) -> jax.Array:
        """The unit matrix, float ``(n, n)``."""
        return jnp.eye(self.n)

    def compose(self, a: Any, b: Any) -> jax.Array:
        """Returns the matrix products ``a b``, broadcasting over leading axes."""
        return jnp.einsum("...ij,...jk->...ik", jnp.asarray(a, float), jnp.asarray(b, float), precision="highest")

    def inverse(self, a: Any) -> jax.Array:
        """Returns the transposed matrices."""
        return jnp.swapaxes(jnp.asarray(a, float), -1, -2)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws matrices from the Haar measure, float ``(*shape, n, n)``."""
        q, r = jnp.linalg.qr(jax.random.normal(key, (*shape, self.n, self.n)))
        return q * jnp.where(jnp.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[..., None, :]

    @property
    def order(self) -> int | float:
        """``math.inf``; 2 on the line."""
        return math.inf if self.n > 1 else 2


@dataclasses.dataclass(frozen=True, repr=False)
class SO(O):
    """The special orthogonal group: the rotations of n-dimensional space, matrices of determinant 1.

    Elements are those of :class:`O` that do not reflect; ``sample`` draws from the Haar measure.

    Args:
      n: dimension of the space.

    Example:
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> rotations = ej.SO(3).sample(jax.random.key(0), (5,))
      >>> jnp.linalg.det(rotations).round(4).tolist()
      [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws rotations from the Haar measure, float ``(*shape, n, n)``."""
        matrices = super().sample(key, shape)
        reflects = jnp.linalg.det(matrices) < 0
        return matrices.at[..., 0].multiply(jnp.where(reflects, -1.0, 1.0)[..., None])

    @property
    def order(self) -> int | float:
        """``math.inf``; 1 on the line."""
        return math.inf if self.n > 1 else 1


@dataclasses.dataclass(frozen=True, repr=False)
class _Vectors(_Continuous):
    """The vectors of n-dimensional space under addition; ``sample`` is standard normal."""

    n: int

    @property
    def identity(self) -> jax.Array:
        return jnp.zeros(self.n)

    def compose(self, a: Any, b: Any) -> jax.Array:
        return jnp.add(*jnp.broadcast_arrays(jnp.asarray(a, float), jnp.asarray(b, float)))

    def inverse(self, a: Any) -> jax.Array:
        return -jnp.asarray(a, float)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        return jax.random.normal(key, (*shape, self.n))


@dataclasses.dataclass(frozen=True, repr=False)
class E(_Continuous, SemidirectProduct):
    r"""The Euclidean group: all motions of n-dimensional space that keep distances.

    Elements are pairs ``(t, R)``: a translation, float ``(…, n)``, and a matrix of :class:`O`, float ``(…, n, n)``. A pair
    moves the point x to :math:`R x + t`, so :math:`(t, R)(u, S) = (t + R u, R S)`. A velocity, like every difference of
    points, moves by R alone. ``sample`` draws R from the Haar measure and t from the standard normal distribution (the
    group is not compact, so there is no uniform one).

    Args:
      n: dimension of the space.

    Example:
      >>> import equijax as ej
      >>> group = ej.E(2)
      >>> t, R = group.compose(([1.0, 0.0], [[0.0, -1.0], [1.0, 0.0]]), ([2.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]))
      >>> t.tolist(), R.tolist()
      ([1.0, 2.0], [[0.0, -1.0], [1.0, 0.0]])
    """

    n: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", positive_int(self.n, "n"))

    @property
    def normal(self) -> Group:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The translations, vectors under addition."""
        return _Vectors(self.n)

    @property
    def quotient(self) -> Group:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The rotations and reflections, ``O(n)``."""
        return O(self.n)

    def automorphism(self, h: Any, n: Any) -> jax.Array:
        """Returns ``R t`` for a matrix and a translation."""
        return jnp.einsum("...ij,...j->...i", jnp.asarray(h, float), jnp.asarray(n, float), precision="highest")


@dataclasses.dataclass(frozen=True, repr=False)
class SE(E):
    """The special Euclidean group: the motions of n-dimensional space without reflections.

    Elements are those of :class:`E` whose matrix is a rotation; ``sample`` draws it from the Haar measure.

    Args:
      n: dimension of the space.

    Example:
      >>> import equijax as ej, jax
      >>> [leaf.shape for leaf in ej.SE(3).sample(jax.random.key(0), (5,))]
      [(5, 3), (5, 3, 3)]
    """

    @property
    def quotient(self) -> Group:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The rotations, ``SO(n)``."""
        return SO(self.n)
