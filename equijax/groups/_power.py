"""Several independent copies of one group."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import as_shape
from equijax._numbers import positive_int
from equijax.groups._elements import batch_shape, reals, require_one
from equijax.groups._group import Element, Group, require_is_group
from equijax.groups._lie_algebra import block_diagonal


@dataclasses.dataclass(frozen=True)
class Power(Group):
    r"""The group :math:`G^n`: one element of G for each of ``n`` places, which compose place by place.

    It is the direct product of n equal factors. Its elements are those of G, stacked: every leaf has an axis of length n
    before its own axes.

    Args:
      base: the group G.
      n: number of copies; None is "as many as there are", as in :class:`Permutation`.

    Example: three clocks that are set independently.
      >>> import equijax as ej
      >>> ej.groups.Power(ej.Cyclic(12), 3).compose([9, 0, 1], [4, 5, 6]).tolist()
      [1, 5, 7]
    """

    base: Group
    n: int | None = None

    def __post_init__(self) -> None:
        require_is_group(self.base, "base")
        if self.n is not None:
            object.__setattr__(self, "n", positive_int(self.n, "n", 0))

    @property
    def _size(self) -> int:
        if self.n is None:
            raise ValueError(
                f"`n` is None: this is a power of {self.base!r} with any number of copies. Write Power(group, n), or "
                "action.for_input(x), which takes the number from x."
            )
        return self.n

    @property
    def identity(self) -> Element:
        """The identity of G in every place."""
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self._size, *jnp.shape(leaf))), self.base.identity)

    def require_element(self, g: Element, name: str = "g") -> None:
        """Raises ``TypeError`` or ``ValueError`` where ``g`` holds no elements of G, stacked n at a time."""
        self.base.require_element(g, name)
        try:
            batch = batch_shape(self.base, g)
        except ValueError:  # elements of a group of open size have no shape that could be asked for
            return
        if not batch or self.n not in (None, batch[-1]):
            places = "n" if self.n is None else self.n
            raise ValueError(
                f"`{name}` has leading axes {batch} before those of {self.base!r}; the last one has {places} places."
            )

    def compose(self, a: Element, b: Element) -> Element:
        """Composes place by place."""
        self.require_element(a, "a")
        self.require_element(b, "b")
        return self.base.compose(a, b)

    def inverse(self, a: Element) -> Element:
        """Inverts place by place."""
        self.require_element(a, "a")
        return self.base.inverse(a)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws every place independently."""
        return self.base.sample(key, (*as_shape(shape), self._size))

    def isclose(self, a: Element, b: Element) -> jax.Array:
        """Tells where all places are the same."""
        self.require_element(a, "a")
        self.require_element(b, "b")
        return jnp.all(self.base.isclose(a, b), axis=-1)

    @property
    def order(self) -> int | float:
        """The n-th power of the order of G."""
        return self.base.order**self._size

    @property
    def generators(self) -> tuple[Element, ...]:
        """The generators of G in each place, with identities elsewhere."""
        return tuple(self.embed(i, g) for i in range(self._size) for g in self.base.generators)

    @property
    def algebra(self) -> tuple[np.ndarray, ...]:
        """The algebra of G in each place, block diagonal, float64. Read-only."""
        base = self.base.algebra
        if not base:
            return ()
        sizes = [len(base[0])] * self._size
        return tuple(block_diagonal(sizes, i, X) for i in range(self._size) for X in base)

    @property
    def components(self) -> tuple[Element, ...]:
        """Every choice of components of G, the last place varying fastest."""
        choices = itertools.product(self.base.components, repeat=self._size)
        return tuple(jax.tree.map(lambda *leaves: np.stack(leaves), *choice) for choice in choices)

    @property
    def discrete_generators(self) -> tuple[Element, ...]:
        """The discrete generators of G in each place, with identities elsewhere."""
        return tuple(self.embed(i, g) for i in range(self._size) for g in self.base.discrete_generators)

    @property
    def is_compact(self) -> bool:
        """True where G is compact."""
        return self.base.is_compact

    def exp(self, X: Any) -> Element:
        """Returns the exponentials of the diagonal blocks of ``X``, stacked."""
        return self.base.exp(self._blocks_of(X))

    def tangent(self, X: Any) -> Element:
        """Returns the tangents of the diagonal blocks of ``X``, stacked."""
        return self.base.tangent(self._blocks_of(X))

    def _blocks_of(self, X: Any) -> jax.Array:
        size = len(self.base.algebra[0]) if self.base.algebra else 0
        X = reals(X, "X", (self._size * size,) * 2, "matrices of the algebra")
        blocks = [X[..., i * size : (i + 1) * size, i * size : (i + 1) * size] for i in range(self._size)]
        return jnp.stack(blocks, -3)

    def draw(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws every place independently, as for a check."""
        return self.base.draw(key, (*as_shape(shape), self._size))

    def embed(self, place: int, g: Element) -> Element:
        """Returns the element that is ``g`` in one place, and the identity elsewhere."""
        place = positive_int(place, "place", 0, None, self._size - 1)
        self.base.require_element(g, "g")
        require_one(self.base, g)
        return jax.tree.map(lambda leaf, one: leaf.at[place].set(jnp.asarray(one, leaf.dtype)), self.identity, g)

    @property
    def open(self) -> "Power":
        """Any number of copies of the base group without its sizes."""
        return Power(self.base.open)

    def agrees(self, other: Group) -> bool:
        """Tells whether the bases agree, and the numbers of copies where neither is left open."""
        require_is_group(other, "other")
        if not isinstance(other, Power):
            return False
        return (None in (self.n, other.n) or self.n == other.n) and self.base.agrees(other.base)

    def elements(self) -> Element:
        """Returns all elements, the last place varying fastest."""
        return jax.tree.map(lambda leaf: leaf[_tuples(len(leaf), self._size)], self.base.elements())


def _tuples(count: int, n: int) -> jax.Array:
    """All n-tuples of numbers below ``count``, int32 ``(countⁿ, n)``, the last entry varying fastest."""
    return jnp.moveaxis(jnp.indices((count,) * n, dtype=jnp.int32), 0, -1).reshape(count**n, n)
