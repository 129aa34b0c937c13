"""Continuous groups of matrices, from their Lie algebras."""

import abc
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from equijax._arguments import as_shape, listed, real_number, require_key, shown
from equijax._arrays import FrozenArray, read_only
from equijax._cache import bounded
from equijax.groups import _lie_algebra
from equijax.groups._components import require_parts
from equijax.groups._elements import concrete, reals
from equijax.groups._group import Element, Group
from equijax.groups._matrix_functions import exponential, orthogonalised, principal_log
from equijax.groups._membership import excluded

_FACTORS = 32
_WIDTH = 8.0


class LieGroup(Group):
    r"""A continuous group of real matrices: the exponentials of a Lie algebra, and a few elements beside.

    A subclass gives ``algebra``, matrices :math:`X_i` whose exponentials generate the part of the group that is connected
    with the identity, and ``components``, one element for each connected part, where there is more than one. All else
    follows. :meth:`from_algebra` makes a group without a class. The group is taken to be closed in the space of matrices.

    Elements are matrices, float ``(…, n, n)`` in the default precision, that act on column vectors; a subclass with other
    elements says by :meth:`matrix` and :meth:`element` how they are matrices.

    Laws: :math:`[X_i, X_j]` is a combination of the :math:`X_k`; :math:`C X_i C^{-1}` too, for every component C.
    :func:`equijax.testing.check_group` checks them.

    Example: the Heisenberg group, upper triangular matrices with ones on the diagonal.

      >>> import dataclasses, equijax as ej, numpy as np
      >>> @dataclasses.dataclass(frozen=True)
      ... class Heisenberg(ej.groups.LieGroup):
      ...     algebra = tuple(np.eye(1, 9, k).reshape(3, 3) for k in (1, 5, 2))
      >>> Heisenberg().exp(Heisenberg().algebra[0]).tolist()
      [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
      >>> ej.testing.check_group(Heisenberg())
    """

    @staticmethod
    def from_algebra(algebra: Iterable[Any], components: Iterable[Any] | None = None) -> "LieGroup":
        """Makes a group from matrices.

        Args:
          algebra: independent real matrices ``(n, n)`` whose brackets are combinations of them.
          components: one matrix for each connected part of the group, the unit matrix first; None: there is one part.

        Returns:
          A group that equals another one when ``algebra`` and ``components`` are the same, in the same order.

        Raises:
          ValueError: shapes differ, the algebra does not close or is dependent, a component is singular or does not
            normalise the algebra; two components lie in one part, or a product of two in none, as far as that is decided.

        Example: rotations about the z axis, and half turns that swap its ends.

          >>> import equijax as ej
          >>> turn, swap = [[0, -1, 0], [1, 0, 0], [0, 0, 0]], [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
          >>> group = ej.groups.LieGroup.from_algebra([turn], [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], swap])
          >>> group, group.is_compact
          (LieGroup.from_algebra(<1 matrix 3×3>, <2 components>), True)
        """
        return _FromAlgebra(algebra, components)

    @property
    @abc.abstractmethod
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Basis of the Lie algebra, real matrices, float64 ``(n, n)``. Read-only."""

    @property
    def components(self) -> tuple[Element, ...]:
        """One element for each connected part of the group, the identity first, float64."""
        return (np.eye(self.matrix_size),)

    @property
    def matrix_size(self) -> int:
        """The n of the ``(n, n)`` matrices."""
        if not self.algebra:
            raise ValueError(f"{self!r} has an empty algebra: override `matrix_size` with the size of its matrices.")
        return np.shape(self.algebra[0])[-1]

    @property
    def discrete_generators(self) -> tuple[Element, ...]:
        """The ``components``."""
        return self.components

    @property
    def generators(self) -> tuple[Element, ...]:
        """There are none.

        Raises:
          ValueError: always.
        """
        raise ValueError(
            f"{self!r} is continuous, so it has no finite list of generators. Draw with `sample(key, shape)`, or use "
            "`algebra` and `components`."
        )

    @property
    def is_compact(self) -> bool:
        """True where all matrices are orthogonal.

        A compact group in other coordinates is not recognised; write it in orthogonal ones, S X S⁻¹ for each X.
        """
        return _is_compact(self)

    @property
    def order(self) -> int | float:
        """``math.inf``; the number of components where the algebra is empty."""
        return math.inf if self.algebra else len(self.components)

    @property
    def identity(self) -> Element:
        """The unit matrix."""
        return self._made(jnp.asarray(np.eye(self.matrix_size), float))

    def matrix(self, g: Element) -> jax.Array:
        """Returns the elements as matrices, float ``(…, n, n)``."""
        return self._matrix(g, "g")

    def element(self, matrix: Any) -> Element:
        """Returns the elements that have these matrices; inverse of :meth:`matrix`.

        Raises:
          ValueError: a matrix that is known is certainly none of the group. A traced one gives NaN then.
        """
        given = reals(matrix, "matrix", (self.matrix_size,) * 2, "matrices")
        self._require_matrices(given, "matrix")
        if isinstance(given, Tracer):
            return jnp.where(excluded(self, given, jnp)[..., None, None], jnp.nan, given)
        return given

    def require_element(self, g: Element, name: str = "g") -> None:
        """Raises ``TypeError`` or ``ValueError`` where ``g`` is certainly no element; the values of traced ones pass."""
        if type(self).matrix is LieGroup.matrix:
            self._require_matrices(reals(g, name, (self.matrix_size,) * 2, "matrices"), name)

    def _require_matrices(self, matrices: Any, name: str) -> None:
        known = concrete(matrices)
        wrong = None if known is None or not known.size else excluded(self, known)
        if wrong is not None and wrong.any():
            first = shown(np.asarray(known)[wrong][0].round(3).tolist())
            raise ValueError(
                f"`{name}` holds a matrix that is no element of {self!r}: {first}. It must be finite and leave alone "
                "what the group leaves alone, such as lengths and volumes."
            )

    def _matrix(self, g: Element, name: str) -> jax.Array:
        """The matrices of elements that an argument gives, which are checked once."""
        if type(self).matrix is not LieGroup.matrix:
            self.require_element(g, name)
            return self.matrix(g)
        found = reals(g, name, (self.matrix_size,) * 2, "matrices")
        self._require_matrices(found, name)
        return found

    def _made(self, matrix: Any) -> Element:
        """The elements with these matrices, which the group itself has made."""
        return matrix if type(self).element is LieGroup.element else self.element(matrix)

    def compose(self, a: Element, b: Element) -> Element:
        """Returns the matrix products ``a b``, broadcasting over leading axes."""
        product = jnp.einsum("...ij,...jk->...ik", self._matrix(a, "a"), self._matrix(b, "b"), precision="highest")
        return self._made(product)

    def inverse(self, a: Element) -> Element:
        """Returns the inverse matrices; the transposed ones where the group is compact."""
        matrix = self._matrix(a, "a")
        return self._made(jnp.swapaxes(matrix, -1, -2) if self.is_compact else jnp.linalg.inv(matrix))

    def tangent(self, X: Any) -> Element:
        """Returns the derivative of ``exp(tX)`` at t = 0, an array for each array of an element."""
        base, change = (jnp.eye(self.matrix_size), reals(X, "X", (self.matrix_size,) * 2, "matrices of the algebra"))
        return jax.jvp(self._made, (jnp.broadcast_to(base, change.shape),), (change,))[1]

    def exp(self, X: Any) -> Element:
        """Returns the exponentials of matrices of the algebra, float ``(…, n, n)``.

        Example:
          >>> import equijax as ej, numpy as np
          >>> (turn,) = ej.SO(2).algebra
          >>> (ej.SO(2).exp(np.pi / 2 * turn).round(4) + 0.0).tolist()
          [[0.0, -1.0], [1.0, 0.0]]
        """
        return self._made(exponential(reals(X, "X", (self.matrix_size,) * 2, "matrices of the algebra")))

    def log(self, g: Element) -> jax.Array:
        """Returns the X of the algebra with ``exp(X) == g`` whose eigenvalues have imaginary parts in (-π, π).

        The exponential is injective on these X. An element has none where it lies in another component, where an
        eigenvalue lies on the negative axis (a half turn), or where the algebra does not hold it.

        Raises:
          ValueError: an element that is known has none; for a traced one the result is NaN.
        """
        matrix = self._matrix(g, "g")
        found = principal_log(matrix)
        back = exponential(found)
        tolerance = float(jnp.finfo(matrix.dtype).eps) ** 0.5
        close = jnp.abs(back - matrix).max((-2, -1)) <= tolerance * (1 + jnp.abs(matrix).max((-2, -1)))
        away = _outside(self, found)
        close &= jnp.abs(away).max((-2, -1)) <= tolerance * (1 + jnp.abs(found).max((-2, -1)))
        known = concrete(close)
        if known is not None and not known.all():
            raise ValueError(
                f"`g` holds an element of {self!r} that has no principal logarithm: it is no exponential of the algebra, or "
                "a half turn, which has several. Compose it with an element of `components` first, or move it a little."
            )
        return jnp.where(close[..., None, None], found, jnp.nan)

    def near_identity(self, key: jax.Array, shape: tuple[int, ...] = (), scale: float = 0.5) -> Element:
        """Draws elements exp(Σ aᵢ Xᵢ) with independent normal aᵢ of standard deviation ``scale``.

        Not a uniform measure: what there is to draw from where the group is not compact.
        """
        require_key(key)
        scale, shape = float(real_number(scale, "scale", 0.0)), as_shape(shape)
        factors = scale * jax.random.normal(key, (*shape, len(self.algebra)))
        return self.exp(_combined(self, factors))

    @property
    def drawn_nearby(self) -> tuple[Group, ...]:
        """The group itself, where it is not compact."""
        return () if self.is_compact else (self,)

    def draw(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws elements for a check, of every component: ``sample`` where the group is compact, else near those."""
        if self.is_compact:
            return self.sample(key, shape)
        require_key(key)
        shape = as_shape(shape)
        for_component, for_element = jax.random.split(key)
        return self.compose(_component(self, for_component, shape), self.near_identity(for_element, shape))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws elements from the Haar measure, leading axes ``shape``.

        A random component times 32 independent exponentials of wide normal elements of the algebra: the distance to the
        Haar measure falls geometrically with their number. The rounding of so many products is taken out at the end, by the
        nearest orthogonal matrix. Subclasses draw at once where there is a formula.

        Raises:
          ValueError: the group is not known to be compact.
        """
        if not self.is_compact:
            raise ValueError(
                f"`sample` draws from the Haar measure, which {self!r} has none of that could be drawn from: the group is "
                "not compact (or its matrices are not orthogonal). Use `near_identity(key, shape, scale)`, which draws "
                "exp of random elements of the algebra, or `draw(key, shape)` for elements of every component."
            )
        require_key(key)
        shape = as_shape(shape)
        for_component, for_steps = jax.random.split(key)
        first = _component(self, for_component, shape)
        if not self.algebra:
            return first
        basis = jnp.asarray(_orthonormal(self), float)

        def step(g: Element, key: jax.Array) -> tuple[Element, None]:
            X = _WIDTH * jax.random.normal(key, (*shape, len(basis)))
            return self.compose(g, self.exp(jnp.tensordot(X, basis, 1, precision="highest"))), None

        drawn = jax.lax.scan(step, first, jax.random.split(for_steps, _FACTORS))[0]
        return self._made(orthogonalised(self.matrix(drawn)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(str(v) for v in vars(self).values())})"


class _FromAlgebra(LieGroup):
    """The group that ``LieGroup.from_algebra`` makes."""

    __slots__ = ("_algebra", "_components")

    def __init__(self, algebra: Iterable[Any], components: Iterable[Any] | None = None):
        directions = _lie_algebra.as_matrices(algebra, "algebra")
        parts = [] if components is None else listed(components, "components", "matrices")
        if components is not None and not parts:
            raise ValueError("`components` is empty; give the unit matrix first, or None for a connected group.")
        if not directions and not parts:
            raise ValueError("`algebra` is empty, so nothing says how large the matrices are. Give at least one matrix.")
        size = len(directions[0]) if directions else None
        elements = _lie_algebra.as_matrices(parts or [np.eye(size or 1)], "components", size)
        _lie_algebra.structure_constants(directions)
        _lie_algebra.require_components(elements, directions)
        require_parts(elements, directions)
        object.__setattr__(self, "_algebra", FrozenArray(np.reshape(directions, (-1, *elements[0].shape)), np.float64))
        object.__setattr__(self, "_components", FrozenArray(elements, np.float64))

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """The matrices that were given."""
        return tuple(self._algebra.array)

    @property
    def components(self) -> tuple[np.ndarray, ...]:
        """The components that were given."""
        return tuple(self._components.array)

    @property
    def matrix_size(self) -> int:
        """The n of the ``(n, n)`` matrices."""
        return self._components.array.shape[-1]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a LieGroup is immutable; make a new one instead of changing `{name}`.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _FromAlgebra):
            return NotImplemented
        return self._algebra == other._algebra and self._components == other._components

    def __hash__(self) -> int:
        return hash(("LieGroup", self._algebra, self._components))

    def __reduce__(self) -> tuple:
        return (_FromAlgebra, (self._algebra.array, self._components.array))

    def __repr__(self) -> str:
        n, count, parts = self.matrix_size, len(self.algebra), len(self.components)
        beside = f", <{parts} components>" if parts > 1 else ""
        return f"LieGroup.from_algebra(<{count} matri{'x' if count == 1 else 'ces'} {n}×{n}>{beside})"


def _combined(group: LieGroup, factors: jax.Array) -> jax.Array:
    """Σ aᵢ Xᵢ for factors ``(…, d)``."""
    n = group.matrix_size
    basis = np.reshape(group.algebra, (len(group.algebra), n, n))
    return jnp.tensordot(factors, jnp.asarray(basis, float), 1, precision="highest")


def _component(group: LieGroup, key: jax.Array, shape: tuple[int, ...]) -> Element:
    """One of the components for each index, drawn uniformly."""
    index = jax.random.randint(key, shape, 0, len(group.components))
    return jax.tree.map(lambda *parts: jnp.asarray(np.stack(parts), float)[index], *group.components)


def _outside(group: LieGroup, X: jax.Array) -> jax.Array:
    """The part of X that does not lie in the algebra."""
    if not group.algebra:
        return X
    basis = jnp.asarray(_orthonormal(group), X.dtype)
    factors = jnp.tensordot(X, basis, axes=((-2, -1), (1, 2)), precision="highest")
    return X - jnp.tensordot(factors, basis, 1, precision="highest")


@bounded
def _orthonormal(group: LieGroup) -> np.ndarray:
    """Orthonormal basis of the algebra for the inner product tr(XᵀY), float64 ``(d, n, n)``."""
    n = group.matrix_size
    rows = _lie_algebra.flat(group.algebra, n)
    return read_only(np.ascontiguousarray(np.linalg.qr(rows.T)[0].T.reshape(-1, n, n)))


@bounded
def _is_compact(group: LieGroup) -> bool:
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        parts = [np.asarray(group.matrix(c)) for c in group.components]
    return _lie_algebra.is_orthogonal(parts, map(np.asarray, group.algebra))
