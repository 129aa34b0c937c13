"""The contract that every group fulfils."""

import abc
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import shown
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.groups._elements import as_arrays, concrete, on_device
from equijax.groups._lie_algebra import structure_constants

if TYPE_CHECKING:
    from equijax.groups._irrep_family import IrrepFamily

Element = Any
"""A group element: an array, or a pytree of arrays, possibly with leading batch axes."""


class Group(abc.ABC):
    r"""A group whose elements are arrays (or pytrees of arrays), so that all of it jits and vmaps.

    A subclass says what an element is (``identity``, ``element_shape``), how elements compose and invert, and how to
    draw one at random. Every method accepts elements with leading batch axes and broadcasts over them.

    Laws: ``compose`` is associative; ``compose(identity, a) == a == compose(a, identity)``;
    ``compose(a, inverse(a)) == identity``. :func:`equijax.testing.check_group` checks them.

    Groups are immutable values: equal groups compare equal, hash equally, and can be static arguments of ``jax.jit``
    and static attributes of a module. ``__eq__`` must return ``NotImplemented`` for foreign objects.

    Example: the non-zero rationals modulo 7 under multiplication, written as a user would.

      >>> import dataclasses, jax, jax.numpy as jnp, equijax as ej
      >>> @dataclasses.dataclass(frozen=True)
      ... class Units(ej.Group):
      ...     p: int
      ...     @property
      ...     def identity(self): return jnp.int32(1)
      ...     def compose(self, a, b): return a * b % self.p
      ...     def inverse(self, a): return jnp.asarray(a) ** (self.p - 2) % self.p
      ...     def sample(self, key, shape=()): return jax.random.randint(key, shape, 1, self.p, jnp.int32)
      >>> ej.testing.check_group(Units(7))

    Attributes:
      factors: the factors of a direct product, whose elements are tuples; None where the group is written as no product.
      point_sets: number of sets whose points the elements permute: 1 of ``Permutation``, their sum of a direct product.
    """

    factors: Any = None
    point_sets: int = 0

    @property
    @abc.abstractmethod
    def identity(self) -> Element:
        """The neutral element, without batch axes."""

    @property
    def element_shape(self) -> Any:
        """Pytree of ``jax.ShapeDtypeStruct`` that describes one element without batch axes."""
        return _element_shape(self, jnp.result_type(float))

    @abc.abstractmethod
    def compose(self, a: Element, b: Element) -> Element:
        """Returns ``a ∘ b`` (first ``b``, then ``a``), broadcasting over leading axes."""

    @abc.abstractmethod
    def inverse(self, a: Element) -> Element:
        """Returns a⁻¹, the element with ``compose(a, a⁻¹) == identity``; keeps leading axes."""

    @abc.abstractmethod
    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws random elements with leading axes ``shape``: Haar where the group is compact, else as documented."""

    def isclose(self, a: Element, b: Element) -> jax.Array:
        """Tells where ``a`` and ``b`` are the same element; bool array of the broadcast leading shape.

        Integer leaves are compared exactly, floating leaves to ``1e-6`` relative and absolute.
        """
        self.require_element(a, "a")
        self.require_element(b, "b")
        a, b = as_arrays(a), as_arrays(b)
        per_leaf = [
            _leaf_isclose(x, y, len(spec.shape))
            for x, y, spec in zip(jax.tree.leaves(a), jax.tree.leaves(b), jax.tree.leaves(self.element_shape), strict=True)
        ]
        result = per_leaf[0]
        for other in per_leaf[1:]:
            result = jnp.logical_and(*jnp.broadcast_arrays(result, other))
        return result

    @property
    def order(self) -> int | float:
        """Number of elements; ``math.inf`` for infinite groups."""
        return math.inf

    @property
    def generators(self) -> tuple[Element, ...]:
        """Elements (without batch axes) whose products are the whole group.

        Raises:
          ValueError: the group has no finite list of generators, or its class names none.
        """
        raise ValueError(
            f"{self!r} names no generators. Override `generators` in {type(self).__name__}, or pass explicit elements."
        )

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """Basis of the Lie algebra, real matrices, float64 ``(n, n)``; empty for a discrete group."""
        return ()

    @property
    def structure_constants(self) -> np.ndarray:
        r"""The A of :math:`[X_i, X_j] = \sum_k A_{ijk} X_k` for the X of ``algebra``, float64 ``(d, d, d)``. Read-only.

        Raises:
          ValueError: the matrices are dependent, or a bracket is no combination of them.
        """
        return _structure_constants(self)

    @property
    def components(self) -> tuple[Element, ...]:
        """One element for each connected part, the identity first; of a discrete group its elements.

        Raises:
          ValueError: there are infinitely many.
        """
        elements = self.elements()
        return tuple(jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), elements) for i in range(int(self.order)))

    @property
    def is_compact(self) -> bool:
        """True where ``sample`` can draw from the Haar measure: finite groups and compact Lie groups."""
        return self.order < math.inf

    def exp(self, X: Any) -> Element:
        """Returns the exponentials of matrices of the Lie algebra, float ``(…, n, n)``.

        Raises:
          ValueError: the group is discrete.
        """
        raise ValueError(f"{self!r} has no Lie algebra, so no exponential of {X!r}; a LieGroup has.")

    def log(self, g: Element) -> jax.Array:
        """Returns the X of the Lie algebra with ``exp(X) == g``.

        Raises:
          ValueError: the group is discrete.
        """
        self.require_element(g)
        raise ValueError(f"{self!r} has no Lie algebra, so `g` = {shown(g)} has no logarithm; elements of a LieGroup may.")

    def tangent(self, X: Any) -> Element:
        """Returns the derivative of ``exp(tX)`` at t = 0, an array for each array of an element: zeros if discrete."""
        batch = np.shape(X)[:-2]
        dtype = lambda s: s.dtype if jnp.issubdtype(s.dtype, jnp.inexact) else jax.dtypes.float0  # noqa: E731
        return jax.tree.map(lambda s: np.zeros((*batch, *s.shape), dtype(s)), self.element_shape)

    def draw(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws elements for a check: ``sample``; of a Lie group that is not compact, elements of every component."""
        return self.sample(key, shape)

    @property
    def drawn_nearby(self) -> "tuple[Group, ...]":
        """The groups of which ``draw`` gives no uniform elements, but some near each connected part; empty, or factors."""
        return ()

    @property
    def discrete_generators(self) -> tuple[Element, ...]:
        """Elements that generate the group together with the exponentials of ``algebra``.

        The ``generators`` of a discrete group; of a Lie group its ``components``, one element for each connected part.
        """
        return self.generators

    @property
    def point_group(self) -> "Group":
        """The part of the group that acts on fibres: H of translations with H, else the group itself."""
        return self

    @property
    def irrep_family(self) -> "IrrepFamily":
        """The real irreps of the group, on which ``ej.reps.Irrep`` and ``decompose`` are built.

        A finite group that lists its ``elements()`` has them; another one that knows its irreps returns an
        :class:`IrrepFamily` of its own: labels, dimensions, types and matrices.

        Raises:
          ValueError: the irreps of this group are not known.
        """
        from equijax.groups._listed_irreps import listed_irreps

        try:
            return listed_irreps(self)
        except ValueError as reason:
            raise ValueError(
                f"The irreps of {self!r} are not known: {reason} They are for finite groups (FiniteGroup.from_permutations, "
                "from_table and PointGroup.from_matrices number the elements of any) and for rotations of the plane and of "
                "space; another group gives them by overriding `irrep_family`."
            ) from None

    @property
    def grid_ndim(self) -> int:
        """Number of grid axes that the group translates."""
        return 0

    @property
    def lattice_part(self) -> "Group":
        """The part that maps the samples of a grid to each other: integer translations and matrices; usually all of it."""
        return self

    def from_lattice(self, t: Any, h: Any) -> Element:
        """Returns the elements that an integer translation and an element of ``lattice_part.point_group`` are together."""
        return self.join(t, h)

    @property
    def on_grid(self) -> "Group":
        """The group that moves samples on a grid as this one moves points: of E(n) and SE(n) the ``Motions``."""
        return self

    @property
    def open(self) -> "Group":
        """The group without its sizes (the period of a torus, the number of points), in every factor of a product."""
        return self

    def agrees(self, other: "Group") -> bool:
        """Tells whether two groups are equal, where a number of points that one leaves open agrees with every number."""
        require_is_group(other, "other")
        return self == other

    def on_torus(self, period: Any) -> "Group":
        """Returns the group with the translations of a torus of this size; itself where it has no translations of a grid."""
        del period
        return self

    def with_point_group(self, point_group: "Group") -> "Group":
        """Returns the group with a smaller point group: with the same translations of a grid, where it has any."""
        return point_group

    def images(self, g: Element) -> tuple[Any, ...]:
        """Returns where ``g`` sends the points of each of the ``point_sets``, int ``(…, points)`` each."""
        del g
        return ()

    def require_element(self, g: Element, name: str = "g") -> None:
        """Raises ``TypeError`` or ``ValueError`` where ``g`` is no element of the group; the values of traced ones pass.

        The groups of the library check type, shape and values in it, and call it in every method that takes elements. A
        group of your own may do the same; by default nothing is checked.
        """
        del g, name

    def split(self, g: Element) -> tuple[Any, Element]:
        """Returns ``(t, h)``: the translation part (None without translations) and the element of ``point_group``."""
        return None, g

    def join(self, t: Any, h: Element) -> Element:
        """Inverse of :meth:`split`."""
        del t
        return h

    def matrix(self, g: Element) -> jax.Array:
        """Returns elements as real matrices that act on column vectors, float ``(…, n, n)``.

        Raises:
          ValueError: the elements of this group are no matrices.
        """
        raise ValueError(
            f"the elements of {self!r} are no matrices. Those of a PointGroup, of Permutation(n) and of a LieGroup are; "
            f"another group says how by overriding `matrix` and `element` in {type(self).__name__}."
        )

    def element(self, matrix: Any) -> Element:
        """Returns the elements that have these matrices; inverse of :meth:`matrix`.

        Raises:
          ValueError: the elements of this group are no matrices, or a matrix that is known is none of them.
        """
        raise ValueError(f"the elements of {self!r} are no matrices; override `matrix` and `element`. Got {matrix!r}.")

    def averaged_elements(self, largest: int) -> Element:
        """Returns the elements, stacked, over which an average runs that makes a function equivariant: all of them.

        Of translations with a point group they are those of the point group, since most functions commute with shifts.

        Raises:
          ValueError: there are more than ``largest``.
        """
        if self.order > positive_int(largest, "largest"):
            raise too_many(self)
        return self.elements()

    def elements(self) -> Element:
        """Returns all elements, stacked along a leading axis of length ``order``.

        Raises:
          ValueError: the group is infinite, or too large to enumerate.
        """
        raise ValueError(
            f"The elements of {self!r} (order {self.order}) can't be listed. Use `sample(key, shape)` for random "
            "ones or `generators` where the group has them."
        )


@bounded
def _structure_constants(group: Group) -> np.ndarray:
    return structure_constants([np.asarray(X, np.float64) for X in group.algebra])


def require_is_group(value: Any, name: str, remedy: str = "it must be a Group") -> None:
    """Raises ``TypeError`` where an argument is no group."""
    if not isinstance(value, Group):
        raise TypeError(f"`{name}` is {shown(value)}, which is a {type(value).__name__}; {remedy}.")


def too_many(group: Group) -> ValueError:
    """The error of an average over a group that is too large."""
    return ValueError(
        f"`group` {group!r} has {group.order} elements, too many to average over. Give `elements` that form a group, or "
        "`samples`, a number of random ones."
    )


def _leaf_isclose(x: Any, y: Any, event_ndim: int) -> jax.Array:
    known = concrete((x, y))
    if known is not None and all(leaf.dtype.kind in "biufc" for leaf in known):
        x, y = np.broadcast_arrays(*known)
        same = np.isclose(x, y, rtol=1e-6, atol=1e-6) if x.dtype.kind in "fc" or y.dtype.kind in "fc" else x == y
        return on_device(np.all(same, axis=tuple(range(same.ndim - event_ndim, same.ndim))))
    x, y = jnp.broadcast_arrays(jnp.asarray(x), jnp.asarray(y))
    if jnp.issubdtype(x.dtype, jnp.inexact):
        same = jnp.isclose(x, y, rtol=1e-6, atol=1e-6)
    else:
        same = x == y
    return jnp.all(same, axis=tuple(range(same.ndim - event_ndim, same.ndim)))


@bounded
def _element_shape(group: Group, default: Any) -> Any:
    """What describes an element where ``default`` is the dtype of floats: float32, or float64 where it is enabled."""
    del default
    return jax.eval_shape(lambda: group.identity)
