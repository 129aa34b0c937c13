"""Products of groups."""

import abc
import itertools
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import require_key
from equijax._numbers import positive_int
from equijax.groups._elements import concrete, on_device, reals, require_one, require_tuple
from equijax.groups._group import Element, Group, require_is_group
from equijax.groups._lie_algebra import block_diagonal


class DirectProduct(Group):
    """The direct product of groups; elements are tuples, one entry for each factor.

    Args:
      *factors: the groups.

    Example:
      >>> import equijax as ej
      >>> group = ej.DirectProduct(ej.Cyclic(4), ej.Permutation(3))
      >>> group.order
      24
      >>> [x.tolist() for x in group.compose((1, [1, 2, 0]), (3, [1, 0, 2]))]
      [0, [2, 1, 0]]
    """

    __slots__ = ("factors",)

    factors: tuple[Group, ...]

    def __init__(self, *factors: Group):
        for factor in factors:
            require_is_group(factor, "factors", "every factor must be a Group")
        if not factors:
            raise ValueError("`factors` is empty; a product needs at least one group.")
        object.__setattr__(self, "factors", factors)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; make a new group instead of changing `{name}`.")

    @property
    def identity(self) -> Element:
        """The tuple of identities."""
        return tuple(factor.identity for factor in self.factors)

    def _entries(self, g: Element, name: str) -> tuple[Element, ...]:
        return require_tuple(g, len(self.factors), name, f"a tuple of {len(self.factors)} entries, one for each factor")

    def require_element(self, g: Element, name: str = "g") -> None:
        """Raises ``TypeError`` or ``ValueError`` where ``g`` is no tuple of elements of the factors."""
        for factor, own in zip(self.factors, self._entries(g, name), strict=True):
            factor.require_element(own, name)

    def compose(self, a: Element, b: Element) -> Element:
        """Composes entry by entry."""
        a, b = self._entries(a, "a"), self._entries(b, "b")
        return tuple(factor.compose(x, y) for factor, x, y in zip(self.factors, a, b, strict=True))

    def inverse(self, a: Element) -> Element:
        """Inverts entry by entry."""
        return tuple(factor.inverse(x) for factor, x in zip(self.factors, self._entries(a, "a"), strict=True))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws every entry independently."""
        require_key(key)
        keys = jax.random.split(key, len(self.factors))
        return tuple(factor.sample(k, shape) for factor, k in zip(self.factors, keys, strict=True))

    def isclose(self, a: Element, b: Element) -> jax.Array:
        """Tells where all entries are the same."""
        a, b = self._entries(a, "a"), self._entries(b, "b")
        return _all(factor.isclose(x, y) for factor, x, y in zip(self.factors, a, b, strict=True))

    @property
    def order(self) -> int | float:
        """The product of the orders."""
        return _order(factor.order for factor in self.factors)

    @property
    def generators(self) -> tuple[Element, ...]:
        """The generators of each factor, with identities elsewhere."""
        return tuple(self.embed(i, g) for i, factor in enumerate(self.factors) for g in factor.generators)

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """The algebras of the factors, block diagonal, float64 ``(n, n)``; a discrete factor has no block. Read-only."""
        sizes = self._blocks
        return tuple(block_diagonal(sizes, i, X) for i, factor in enumerate(self.factors) for X in factor.algebra)

    @property
    def components(self) -> tuple[Element, ...]:
        """Every tuple of components of the factors, the last factor varying fastest."""
        return tuple(itertools.product(*(factor.components for factor in self.factors)))

    @property
    def discrete_generators(self) -> tuple[Element, ...]:
        """The discrete generators of each factor, with identities elsewhere."""
        return tuple(self.embed(i, g) for i, factor in enumerate(self.factors) for g in factor.discrete_generators)

    @property
    def is_compact(self) -> bool:
        """True where all factors are compact."""
        return all(factor.is_compact for factor in self.factors)

    @property
    def _blocks(self) -> list[int]:
        return [len(factor.algebra[0]) if factor.algebra else 0 for factor in self.factors]

    def _blocks_of(self, X: Any) -> list[Any]:
        """The diagonal blocks of matrices of the algebra, one for each factor."""
        ends = np.cumsum([0, *self._blocks])
        X = reals(X, "X", (int(ends[-1]),) * 2, "matrices of the algebra")
        return [X[..., a:b, a:b] for a, b in itertools.pairwise(ends)]

    def exp(self, X: Any) -> Element:
        """Returns the tuples of exponentials of the diagonal blocks of ``X``; the identity of a discrete factor."""
        blocks = self._blocks_of(X)
        one = lambda factor, b: jax.tree.map(lambda x: jnp.broadcast_to(x, (*b.shape[:-2], *jnp.shape(x))), factor.identity)  # noqa: E731
        return tuple(f.exp(b) if f.algebra else one(f, b) for f, b in zip(self.factors, blocks, strict=True))

    def tangent(self, X: Any) -> Element:
        """Returns the tuple of the tangents of the diagonal blocks."""
        return tuple(f.tangent(b) for f, b in zip(self.factors, self._blocks_of(X), strict=True))

    @property
    def drawn_nearby(self) -> tuple[Group, ...]:
        """Those of the factors."""
        return tuple(group for factor in self.factors for group in factor.drawn_nearby)

    def draw(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws every entry independently, as for a check."""
        require_key(key)
        keys = jax.random.split(key, len(self.factors))
        return tuple(factor.draw(k, shape) for factor, k in zip(self.factors, keys, strict=True))

    @property
    def open(self) -> "DirectProduct":
        """The product of the factors without their sizes."""
        return DirectProduct(*(factor.open for factor in self.factors))

    def agrees(self, other: Group) -> bool:
        """Tells whether all factors agree."""
        require_is_group(other, "other")
        theirs = other.factors
        if theirs is None or len(theirs) != len(self.factors):
            return False
        return all(mine.agrees(factor) for mine, factor in zip(self.factors, theirs, strict=True))

    @property
    def point_sets(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Number of sets whose points the factors permute."""
        return sum(factor.point_sets for factor in self.factors)

    def images(self, g: Element) -> tuple[Any, ...]:
        """Returns the images of all factors, one after another."""
        return tuple(
            image for factor, own in zip(self.factors, self._entries(g, "g"), strict=True) for image in factor.images(own)
        )

    def embed(self, index: int, g: Element) -> Element:
        """Returns the tuple with the element ``g`` of factor number ``index``, and identities elsewhere."""
        index = positive_int(index, "index", 0, None, len(self.factors) - 1)
        self.factors[index].require_element(g, "g")
        require_one(self.factors[index], g)
        return (*self.identity[:index], g, *self.identity[index + 1 :])

    def elements(self) -> Element:
        """Returns all tuples, the last factor varying fastest."""
        return _all_tuples([factor.elements() for factor in self.factors])

    def __eq__(self, other: object) -> bool:
        return self.factors == other.factors if isinstance(other, DirectProduct) else NotImplemented

    def __hash__(self) -> int:
        return hash(("DirectProduct", self.factors))

    def __reduce__(self) -> tuple:
        return (DirectProduct, self.factors)

    def __repr__(self) -> str:
        return f"DirectProduct({', '.join(map(repr, self.factors))})"


class SemidirectProduct(Group):
    r"""A semidirect product N ⋊ H: pairs (n, h) where h also acts on N by an automorphism φ.

    .. math:: (n, h)\,(m, k) = (n\,φ_h(m),\; h k), \qquad (n, h)^{-1} = (φ_{h^{-1}}(n^{-1}),\; h^{-1})

    A subclass gives ``normal`` (the group N), ``quotient`` (the group H) and :meth:`automorphism`.
    :class:`SpaceGroup` is the case of translations and a point group.

    Law: ``automorphism(h, ·)`` is a homomorphism of N, and ``automorphism(hk, n) = automorphism(h, automorphism(k, n))``.

    Example: the dihedral group as reflections acting on a cycle.
      >>> import dataclasses, equijax as ej, jax.numpy as jnp
      >>> @dataclasses.dataclass(frozen=True)
      ... class Flips(ej.SemidirectProduct):
      ...     normal = ej.Translation(1, period=5)
      ...     quotient = ej.Cyclic(2)
      ...     def automorphism(self, h, n): return self.normal.reduce(n * (1 - 2 * jnp.asarray(h)[..., None]))
      >>> Flips().order
      10
      >>> ej.testing.check_group(Flips())
    """

    normal: Any
    quotient: Any

    @abc.abstractmethod
    def automorphism(self, h: Element, n: Element) -> Element:
        """Returns φ_h(n), broadcasting over leading axes."""

    def require_element(self, g: Element, name: str = "g") -> None:
        """Raises ``TypeError`` or ``ValueError`` where ``g`` is no pair of elements of N and H."""
        n, h = require_tuple(g, 2, name, "a pair (n, h)")
        self.normal.require_element(n, name)
        self.quotient.require_element(h, name)

    @property
    def identity(self) -> Element:
        """The pair of identities."""
        return (self.normal.identity, self.quotient.identity)

    def compose(self, a: Element, b: Element) -> Element:
        """Returns ``(n φ_h(m), h k)``."""
        self.require_element(a, "a")
        self.require_element(b, "b")
        (n, h), (m, k) = a, b
        return (self.normal.compose(n, self.automorphism(h, m)), self.quotient.compose(h, k))

    def inverse(self, a: Element) -> Element:
        """Returns ``(φ_{h⁻¹}(n⁻¹), h⁻¹)``."""
        self.require_element(a, "a")
        n, h = a
        back = self.quotient.inverse(h)
        return (self.automorphism(back, self.normal.inverse(n)), back)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws both entries independently, each by its own group's rule."""
        require_key(key)
        for_normal, for_quotient = jax.random.split(key)
        return (self.normal.sample(for_normal, shape), self.quotient.sample(for_quotient, shape))

    @property
    def drawn_nearby(self) -> tuple[Group, ...]:
        """Those of both parts."""
        return (*self.normal.drawn_nearby, *self.quotient.drawn_nearby)

    def draw(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws both entries independently, as for a check."""
        require_key(key)
        for_normal, for_quotient = jax.random.split(key)
        return (self.normal.draw(for_normal, shape), self.quotient.draw(for_quotient, shape))

    def isclose(self, a: Element, b: Element) -> jax.Array:
        """Tells where both entries are the same."""
        self.require_element(a, "a")
        self.require_element(b, "b")
        return _all([self.normal.isclose(a[0], b[0]), self.quotient.isclose(a[1], b[1])])

    @property
    def order(self) -> int | float:
        """The product of the orders."""
        return _order((self.normal.order, self.quotient.order))

    @property
    def generators(self) -> tuple[Element, ...]:
        """Generators of N, then of H."""
        n, h = self.identity
        return (*((m, h) for m in self.normal.generators), *((n, k) for k in self.quotient.generators))

    def elements(self) -> Element:
        """Returns all pairs, h varying fastest."""
        return _all_tuples([self.normal.elements(), self.quotient.elements()])


def _order(orders: Iterable[int | float]) -> int | float:
    """The product of orders; an int of any size times infinity is infinity, not an overflow."""
    orders = list(orders)
    return math.inf if math.inf in orders else math.prod(orders)


def _all(flags: Any) -> jax.Array:
    result, *others = flags
    for flag in others:
        result = jnp.logical_and(*jnp.broadcast_arrays(result, flag))
    return result


def _all_tuples(columns: list[Any]) -> tuple:
    sizes = [len(jax.tree.leaves(column)[0]) for column in columns]
    index = np.indices(sizes).reshape(len(sizes), -1)
    return tuple(jax.tree.map(lambda leaf, i=i: _entries(leaf, i), column) for column, i in zip(columns, index, strict=True))


def _entries(leaf: Any, index: np.ndarray) -> jax.Array:
    known = concrete(leaf)
    return leaf[index] if known is None else on_device(known[index])
