"""Rigid motions of real space."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from equijax._arguments import as_shape, require_key, shown
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.groups._classical import SO, O
from equijax.groups._elements import concrete, reals
from equijax.groups._group import Element, Group
from equijax.groups._lie import LieGroup
from equijax.groups._membership import excluded
from equijax.groups._product import SemidirectProduct


@dataclasses.dataclass(frozen=True, repr=False)
class _Vectors(LieGroup):
    """The vectors of n-dimensional space under addition; ``sample`` is standard normal."""

    n: int

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        return _algebra(self.n)

    @property
    def components(self) -> tuple[np.ndarray, ...]:
        return (read_only(np.zeros(self.n)),)

    @property
    def matrix_size(self) -> int:
        return self.n + 1

    def matrix(self, g: Any) -> jax.Array:
        return _homogeneous(self._vectors(g, "g"), jnp.eye(self.n))

    def _vectors(self, g: Any, name: str) -> jax.Array:
        return reals(g, name, (self.n,), "vectors")

    def require_element(self, g: Any, name: str = "g") -> None:
        known = concrete(self._vectors(g, name))
        if known is not None and not np.isfinite(known).all():
            raise ValueError(f"`{name}` holds the translation {shown(known)}, which is not finite.")

    def element(self, matrix: Any) -> jax.Array:
        return jnp.asarray(matrix, float)[..., :-1, -1]

    def compose(self, a: Any, b: Any) -> jax.Array:
        return jnp.add(*jnp.broadcast_arrays(self._vectors(a, "a"), self._vectors(b, "b")))

    def inverse(self, a: Any) -> jax.Array:
        return -self._vectors(a, "a")

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        require_key(key)
        return jax.random.normal(key, (*as_shape(shape), self.n))

    draw = sample

    @property
    def drawn_nearby(self) -> tuple[Group, ...]:
        return ()


class RigidMotions(SemidirectProduct, LieGroup):
    r"""Translations of n-dimensional space together with a group H of orthogonal matrices: pairs ``(t, h)``.

    ``matrix`` is the homogeneous one, ``(n + 1, n + 1)``, with the matrix of h in the corner and t in the last column;
    ``algebra``, ``exp`` and ``log`` are in these: the translations along each axis, then the algebra of H.

    Attributes:
      n: dimension of the space.
    """

    n: int

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Translations along each axis, then turns, float64 ``(n + 1, n + 1)``. Read-only."""
        return _algebra(self.n, self.quotient)

    @property
    def components(self) -> tuple[Element, ...]:
        """Pairs of no translation and a component of ``quotient``."""
        return tuple((read_only(np.zeros(self.n)), h) for h in self.quotient.components)

    @property
    def generators(self) -> tuple[Element, ...]:
        """There are none.

        Raises:
          ValueError: always.
        """
        return LieGroup.generators.fget(self)  # pyright: ignore[reportOptionalCall]

    @property
    def matrix_size(self) -> int:
        """One more than n: the matrices are homogeneous."""
        return self.n + 1

    def matrix(self, g: Element) -> jax.Array:
        """Returns the homogeneous matrices of pairs (t, h), float ``(…, n + 1, n + 1)``."""
        self.require_element(g)
        t, h = g
        return _homogeneous(jnp.asarray(t, float), jnp.asarray(self.quotient.matrix(h), float))

    def element(self, matrix: Any) -> Element:
        """Returns the pairs (t, h) of homogeneous matrices.

        Raises:
          ValueError: a matrix that is known is none of the group. A traced one gives NaN then.
        """
        given = reals(matrix, "matrix", (self.n + 1, self.n + 1), "homogeneous matrices")
        self._require_matrices(given, "matrix")
        if isinstance(given, Tracer):
            given = jnp.where(excluded(self, given, jnp)[..., None, None], jnp.nan, given)
        return self._made(given)

    def _made(self, matrix: Any) -> Element:
        made = getattr(self.quotient, "_made", self.quotient.element)
        return matrix[..., :-1, -1], made(matrix[..., :-1, :-1])

    @property
    def point_group(self) -> Group:
        """The rotations and reflections: what acts on fibres."""
        return self.quotient

    def split(self, g: Element) -> tuple[Any, Element]:
        """Returns the pair (t, h) that ``g`` is."""
        self.require_element(g)
        t, h = g
        return t, h

    def join(self, t: Any, h: Element) -> Element:
        """Returns the pair (t, h); None is no translation."""
        self.quotient.require_element(h, "h")
        if t is None:
            t = jnp.zeros((*self.quotient.matrix(h).shape[:-2], self.n))
        return t, h

    def draw(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """The same as ``sample``."""
        return self.sample(key, shape)

    @property
    def normal(self) -> Group:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The translations, vectors under addition."""
        return _Vectors(self.n)

    def automorphism(self, h: Any, n: Any) -> jax.Array:
        """Returns ``h n`` for an element of H and a translation."""
        self.quotient.require_element(h, "h")
        n = reals(n, "n", (self.n,), "vectors")
        return jnp.einsum("...ij,...j->...i", jnp.asarray(self.quotient.matrix(h), float), n, precision="highest")


@dataclasses.dataclass(frozen=True, repr=False)
class E(RigidMotions):
    r"""The Euclidean group: all motions of n-dimensional space that keep distances.

    Elements are pairs ``(t, R)``: a translation, float ``(…, n)``, and a matrix of :class:`O`, float ``(…, n, n)``. A pair
    moves the point x to :math:`R x + t`, so :math:`(t, R)(u, S) = (t + R u, R S)`. A velocity, like every difference of
    points, moves by R alone. ``sample`` draws R from the Haar measure and t from the standard normal distribution (the
    group is not compact, so there is no uniform one).

    ``matrix`` is the homogeneous one, ``(n + 1, n + 1)``, with R in the corner and t in the last column; ``algebra``,
    ``exp`` and ``log`` are in these: the translations along each axis, then the algebra of :class:`O`. ``point_group`` is
    ``O(n)``.

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
        object.__setattr__(self, "n", O(self.n).n)

    @property
    def on_grid(self) -> Group:
        """The motions of samples on the square or cubic grid."""
        from equijax.groups._motions import Motions

        return Motions(self.quotient)

    @property
    def quotient(self) -> Group:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The rotations and reflections, ``O(n)``."""
        return O(self.n)


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


def _homogeneous(t: jax.Array, R: jax.Array) -> jax.Array:
    """The matrices with R in the corner, t in the last column and the last row (0, …, 0, 1)."""
    n = t.shape[-1]
    batch = jnp.broadcast_shapes(t.shape[:-1], R.shape[:-2])
    top = [jnp.broadcast_to(R, (*batch, n, n)), jnp.broadcast_to(t, (*batch, n))[..., None]]
    bottom = jnp.broadcast_to(jnp.eye(n + 1, dtype=t.dtype)[-1:], (*batch, 1, n + 1))
    return jnp.concatenate([jnp.concatenate(top, -1), bottom], -2)


@bounded
def _algebra(n: int, turns: Group | None = None) -> tuple[np.ndarray, ...]:
    unit = np.eye(n + 1)
    shifts = [np.outer(unit[k], unit[n]) for k in range(n)]
    return tuple(read_only(m) for m in [*shifts, *(np.pad(X, ((0, 1), (0, 1))) for X in (turns.algebra if turns else ()))])
