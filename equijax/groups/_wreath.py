"""Wreath products: the symmetries of things that are made of things."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from equijax.groups._elements import as_arrays, poison
from equijax.groups._group import Element, Group, require_is_group
from equijax.groups._permutation import Permutation
from equijax.groups._power import Power
from equijax.groups._product import SemidirectProduct


@dataclasses.dataclass(frozen=True)
class WreathProduct(SemidirectProduct):
    r"""The wreath product :math:`K ≀ S_n = K^n ⋊ S_n`: n blocks are permuted, and each is moved by a K of its own.

    It is the symmetry of a hierarchy. A set of n sets of m points, where it is known which points belong together and
    nothing else, has the group :math:`S_m ≀ S_n`; a set of images, each of which may be turned by itself, has p4 ≀ S_n. In
    the direct product K × S_n one element of K moves all the blocks.

    Elements are pairs ``(q, p)``: p, int32 ``(…, n)``, says where each block goes, and ``q[j]`` is what then happens to the
    block that has arrived at place j. The leaves of q have an axis of length n before those of K: with ``inner =
    Permutation(m)`` q is int32 ``(…, n, m)``.

    .. math:: (q, p)\,(q', p') = (q · φ_p(q'),\; p p'), \qquad φ_p(q)[p[i]] = q[i]

    Args:
      outer: the permutations of the blocks.
      inner: the group K of one block, for example ``Permutation(m)``.

    Raises:
      TypeError: ``outer`` is not a ``Permutation``, or ``inner`` not a ``Group``.

    Example: two pairs of shoes have (2!)² · 2! symmetries.
      >>> import equijax as ej
      >>> group = ej.WreathProduct(ej.Permutation(2), ej.Permutation(2))
      >>> group.order
      8
      >>> ej.testing.check_group(group)

    References:
      Wang, Albooyeh and Ravanbakhsh, "Equivariant Networks for Hierarchical Structures", NeurIPS 2020, arXiv:2006.03627.
    """

    outer: Permutation
    inner: Group

    def __post_init__(self) -> None:
        if not isinstance(self.outer, Permutation):
            raise TypeError(f"`outer` is {self.outer!r}; blocks are permuted, so it must be a Permutation.")
        require_is_group(self.inner, "inner")

    @property
    def normal(self) -> Power:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The group Kⁿ of what happens inside the blocks."""
        return Power(self.inner, self.outer.n)

    @property
    def quotient(self) -> Permutation:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The permutations of the blocks."""
        return self.outer

    @property
    def open(self) -> "WreathProduct":
        """Any number of blocks, each moved by the inner group without its sizes."""
        return WreathProduct(Permutation(), self.inner.open)

    def agrees(self, other: Group) -> bool:
        """Tells whether both parts agree."""
        require_is_group(other, "other")
        same = isinstance(other, WreathProduct)
        return same and self.outer.agrees(other.outer) and self.inner.agrees(other.inner)

    def automorphism(self, h: Element, n: Element) -> Element:
        """Returns φ_h(n): what happens in block i happens in block ``h[i]``."""
        self.normal.require_element(n, "n")
        self.outer.require_element(h, "h")
        n, back = as_arrays(n), self.outer.inverse(h)
        shapes = self.inner.element_shape
        return jax.tree.map(lambda leaf, spec: _reorder(leaf, back, len(spec.shape)), n, shapes)


def _reorder(leaf: Any, source: jax.Array, event_ndim: int) -> jax.Array:
    """Takes the blocks of ``leaf`` (…, n, *event) in the order ``source`` (…, n), broadcasting over leading axes."""
    leaf = jnp.asarray(leaf)
    event = leaf.shape[leaf.ndim - event_ndim :]
    batch = jnp.broadcast_shapes(leaf.shape[: leaf.ndim - event_ndim], source.shape)
    leaf = jnp.broadcast_to(leaf, (*batch, *event))
    index = jnp.broadcast_to(source, batch).reshape(*batch, *(1,) * event_ndim)
    index = jnp.broadcast_to(index, leaf.shape)
    if not isinstance(index, Tracer):
        return jnp.take_along_axis(leaf, index, axis=len(batch) - 1)
    index = jnp.where(index < 0, leaf.shape[len(batch) - 1], index)
    return jnp.take_along_axis(leaf, index, axis=len(batch) - 1, mode="fill", fill_value=poison(leaf.dtype))
