"""The classical groups: rotations, unitary, symplectic and Lorentz transformations."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import as_shape, boolean, require_key
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.groups._irrep_family import IrrepFamily
from equijax.groups._lie import LieGroup
from equijax.groups._lie_algebra import rotations
from equijax.groups._rotation_irreps import PlaneIrreps, SpaceIrreps

_LARGEST = 128  # the algebra of SO(n) has n(n - 1)/2 matrices


@dataclasses.dataclass(frozen=True, repr=False)
class _Numbered(LieGroup):
    """A family of groups that is numbered by n."""

    n: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", positive_int(self.n, "n", 1, None, _LARGEST))

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        return _algebra(type(self), self.n)

    @classmethod
    def _basis(cls, n: int) -> list[np.ndarray]:
        raise NotImplementedError

    @property
    def matrix_size(self) -> int:
        """n: the matrices are ``(n, n)``."""
        return self.n


@dataclasses.dataclass(frozen=True, repr=False)
class O(_Numbered):  # noqa: E742
    r"""The orthogonal group: all rotations and reflections of n-dimensional space.

    Elements are matrices :math:`R` with :math:`R^⊤R = 1`, float ``(…, n, n)`` in the default precision (float64 where
    ``jax_enable_x64`` is set). They act on column vectors. ``sample`` draws from the Haar measure, so half of the draws
    reflect: the factor Q of a Gaussian matrix, its columns signed so that the diagonal of R is positive. The second
    component is diag(1, …, 1, -1). In three dimensions ``algebra`` is the turns about x, y and z.

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

    @classmethod
    def _basis(cls, n: int) -> list[np.ndarray]:
        return rotations(n)

    @property
    def components(self) -> tuple[np.ndarray, ...]:
        """The unit matrix and diag(1, …, 1, -1), float64 ``(n, n)``."""
        return _mirrors(self.n)

    @property
    def irrep_family(self) -> IrrepFamily:
        """The irreps of the plane's and of space's rotations and reflections.

        Raises:
          ValueError: n is neither 2 nor 3.
        """
        families = {2: PlaneIrreps, 3: SpaceIrreps}
        return families[self.n](len(self.components) > 1) if self.n in families else super().irrep_family

    def inverse(self, a: Any) -> jax.Array:
        """Returns the transposed matrices."""
        return jnp.swapaxes(self._matrix(a, "a"), -1, -2)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws matrices from the Haar measure, float ``(*shape, n, n)``."""
        require_key(key)
        q, r = jnp.linalg.qr(jax.random.normal(key, (*as_shape(shape), self.n, self.n)))
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

    @property
    def components(self) -> tuple[np.ndarray, ...]:
        """The unit matrix alone."""
        return _mirrors(self.n)[:1]

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
class U(_Numbered):
    r"""The unitary group: complex n×n matrices with :math:`U^† U = 1`, as real matrices on R^2n.

    A complex matrix A + iB is :math:`\begin{pmatrix} A & -B \\ B & A \end{pmatrix}`: the real parts of a vector come first,
    the imaginary parts behind. ``sample`` draws from the Haar measure.

    Args:
      n: number of complex dimensions.

    Example:
      >>> import equijax as ej, jax
      >>> ej.groups.U(2).sample(jax.random.key(0), (5,)).shape
      (5, 4, 4)

    References:
      Mezzadri, arXiv:math-ph/0609050, section 5.
    """

    @classmethod
    def _basis(cls, n: int) -> list[np.ndarray]:
        unit = np.eye(n)
        pairs = [np.outer(unit[i], unit[j]) for i in range(n) for j in range(i + 1, n)]
        real = [_complex(m - m.T, 0 * m) for m in pairs]
        imaginary = [_complex(0 * m, m + m.T) for m in pairs]
        return real + imaginary + [_complex(np.zeros((n, n)), np.diag(d)) for d in cls._diagonals(n)]

    @classmethod
    def _diagonals(cls, n: int) -> list[np.ndarray]:
        return list(np.eye(n))

    @property
    def matrix_size(self) -> int:
        """2n: the real matrices are ``(2n, 2n)``."""
        return 2 * self.n

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws matrices from the Haar measure, float ``(*shape, 2n, 2n)``."""
        require_key(key)
        q = _haar_unitary(key, (*as_shape(shape), self.n, self.n))
        return _complex(q.real, q.imag)


@dataclasses.dataclass(frozen=True, repr=False)
class SU(U):
    """The special unitary group: the matrices of :class:`U` whose complex determinant is 1.

    Args:
      n: number of complex dimensions.

    Example:
      >>> import equijax as ej
      >>> len(ej.groups.SU(3).algebra)
      8
    """

    @classmethod
    def _diagonals(cls, n: int) -> list[np.ndarray]:
        return list(np.eye(n)[:-1] - np.eye(n)[1:])

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws matrices from the Haar measure, float ``(*shape, 2n, 2n)``."""
        require_key(key)
        q = _haar_unitary(key, (*as_shape(shape), self.n, self.n))
        q = q.at[..., 0].multiply(jnp.conj(jnp.linalg.det(q))[..., None])
        return _complex(q.real, q.imag)


@dataclasses.dataclass(frozen=True, repr=False)
class Sp(_Numbered):
    r"""The real symplectic group on R^2n: matrices with :math:`M^⊤ Ω M = Ω`, positions first, momenta behind.

    .. math:: Ω = \begin{pmatrix} 0 & 1 \\ -1 & 0 \end{pmatrix}

    Not compact: see :meth:`near_identity`. Sp(1) is SL(2).

    Args:
      n: number of positions.

    Example:
      >>> import equijax as ej
      >>> len(ej.groups.Sp(2).algebra), ej.groups.Sp(2).is_compact
      (10, False)
    """

    @classmethod
    def _basis(cls, n: int) -> list[np.ndarray]:
        unit, zero = np.eye(n), np.zeros((n, n))
        outer = [[np.outer(unit[i], unit[j]) for j in range(n)] for i in range(n)]
        symmetric = [outer[i][j] + (outer[j][i] if j > i else 0) for i in range(n) for j in range(i, n)]
        turns = [np.block([[m, zero], [zero, -m.T]]) for row in outer for m in row]
        return (
            turns
            + [np.block([[zero, m], [zero, zero]]) for m in symmetric]
            + [np.block([[zero, zero], [m, zero]]) for m in symmetric]
        )

    @property
    def matrix_size(self) -> int:
        """2n: the matrices are ``(2n, 2n)``."""
        return 2 * self.n

    def inverse(self, a: Any) -> jax.Array:
        """Returns Ω⁻¹ Aᵀ Ω."""
        a = self._matrix(a, "a")
        p, q, r, s = (
            a[..., : self.n, : self.n],
            a[..., : self.n, self.n :],
            a[..., self.n :, : self.n],
            a[..., self.n :, self.n :],
        )
        turned = [jnp.swapaxes(m, -1, -2) for m in (s, -q, -r, p)]
        return jnp.concatenate([jnp.concatenate(turned[:2], -1), jnp.concatenate(turned[2:], -1)], -2)


@dataclasses.dataclass(frozen=True, repr=False)
class SL(_Numbered):
    """The special linear group: all real n×n matrices of determinant 1, the linear maps that keep volumes.

    Not compact for n > 1: see :meth:`near_identity`.

    Args:
      n: dimension of the space.

    Example:
      >>> import equijax as ej
      >>> len(ej.groups.SL(3).algebra)
      8
    """

    @classmethod
    def _basis(cls, n: int) -> list[np.ndarray]:
        unit = np.eye(n)
        shears = [np.outer(unit[i], unit[j]) for i in range(n) for j in range(n) if i != j]
        return shears + [np.diag(d) for d in unit[:-1] - unit[1:]]


@dataclasses.dataclass(frozen=True, repr=False)
class Lorentz(LieGroup):
    r"""The Lorentz group O(1,3): linear maps of space-time that keep :math:`t^2 - x^2 - y^2 - z^2`.

    Coordinates are in the order t, x, y, z. ``algebra`` is the turns about x, y, z and then the boosts along x, y, z.
    There are four components: the identity, the reflection of space, that of time, and both. Not compact: see
    :meth:`near_identity`.

    Args:
      proper: the component of the identity alone, SO⁺(1,3): no reflections.

    Example:
      >>> import equijax as ej
      >>> len(ej.groups.Lorentz().components), len(ej.groups.Lorentz(proper=True).components)
      (4, 1)
    """

    proper: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "proper", boolean(self.proper, "proper"))

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Turns about x, y, z, then boosts along x, y, z, float64 ``(4, 4)``."""
        return _lorentz_algebra()

    @property
    def components(self) -> tuple[np.ndarray, ...]:
        """diag(1, 1), and diag(1, -1), diag(-1, 1), diag(-1, -1) on time and space."""
        return _lorentz_components()[: 1 if self.proper else 4]

    def inverse(self, a: Any) -> jax.Array:
        """Returns η Aᵀ η with η = diag(1, -1, -1, -1)."""
        metric = jnp.asarray(np.diag([1.0, -1.0, -1.0, -1.0]), float)
        return jnp.einsum("ij,...kj,kl->...il", metric, self._matrix(a, "a"), metric, precision="highest")

    def __repr__(self) -> str:
        return "Lorentz(proper=True)" if self.proper else "Lorentz()"


def _complex(real: Any, imaginary: Any) -> Any:
    """The real matrix of A + iB."""
    xp = jnp if isinstance(real, jax.Array) else np
    return xp.concatenate([xp.concatenate([real, -imaginary], -1), xp.concatenate([imaginary, real], -1)], -2)


def _haar_unitary(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    q, r = jnp.linalg.qr(jax.random.normal(key, shape, complex))
    diagonal = jnp.diagonal(r, axis1=-2, axis2=-1)
    return q * (diagonal / jnp.abs(diagonal).astype(r.dtype))[..., None, :]


@bounded
def _algebra(family: type[_Numbered], n: int) -> tuple[np.ndarray, ...]:
    return tuple(read_only(np.array(m, np.float64)) for m in family._basis(n))


@bounded
def _mirrors(n: int) -> tuple[np.ndarray, ...]:
    mirror = np.eye(n)
    mirror[-1, -1] = -1.0
    return (read_only(np.eye(n)), read_only(mirror))


@bounded
def _lorentz_algebra() -> tuple[np.ndarray, ...]:
    turns = [np.pad(m, ((1, 0), (1, 0))) for m in rotations(3)]
    unit = np.eye(4)
    boosts = [np.outer(unit[0], unit[k]) + np.outer(unit[k], unit[0]) for k in (1, 2, 3)]
    return tuple(read_only(m) for m in turns + boosts)


@bounded
def _lorentz_components() -> tuple[np.ndarray, ...]:
    return tuple(read_only(np.diag([time, space, space, space])) for time in (1.0, -1.0) for space in (1.0, -1.0))
