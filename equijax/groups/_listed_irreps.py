"""Irreps of a finite group whose elements are not numbers: products, tori, a user's own."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import FrozenArray
from equijax._cache import bounded
from equijax.groups._finite import FiniteGroup, TableSource
from equijax.groups._finite_irreps import FiniteIrreps
from equijax.groups._group import Group
from equijax.groups._irrep_family import IrrepFamily, Label

MAX_LISTED = 512
"""The largest order of a group whose elements are listed to make its irreps."""


@dataclasses.dataclass(frozen=True)
class ListedIrreps(IrrepFamily):
    """The irreps of a finite group that lists its elements: those of the group of their numbers.

    An element is looked up in the list, the identity first and then in the order of ``elements()``.
    """

    group: Group

    @property
    def _numbered(self) -> FiniteIrreps:
        return FiniteIrreps(_numbers(self.group)[0])

    def label(self, index: Any, parity: Any = None) -> Label:
        """Returns the number of an irrep as a label."""
        return self._numbered.label(index, parity)

    @property
    def labels(self) -> tuple[Label, ...]:
        """``0, 1, …``, one for each real irrep."""
        return self._numbered.labels

    def dim(self, label: Label) -> int:
        """Returns the real dimension."""
        return self._numbered.dim(label)

    def type(self, label: Label) -> str:
        """Returns the Frobenius–Schur type."""
        return self._numbered.type(label)

    def matrix(self, label: Label, g: Any) -> jax.Array:
        """Looks up the elements ``g`` and gathers their matrices, float ``(…, dim, dim)``."""
        self.group.require_element(g)
        ndims = [len(spec.shape) for spec in jax.tree.leaves(self.group.element_shape)]
        leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(g)]
        apart = [jnp.expand_dims(leaf, leaf.ndim - d) for leaf, d in zip(leaves, ndims, strict=True)]
        listed = _numbers(self.group)[1]
        alike = self.group.isclose(jax.tree.unflatten(jax.tree.structure(g), apart), listed)
        number = jnp.where(alike.any(-1), jnp.argmax(alike, axis=-1), -1).astype(jnp.int32)
        return self._numbered.matrix(label, number)


def listed_irreps(group: Group) -> ListedIrreps:
    """Returns the family of a group that lists its elements.

    Raises:
      ValueError: it does not, or there are too many.
    """
    if group.order > MAX_LISTED:
        raise ValueError(f"{group!r} has {group.order} elements, and at most {MAX_LISTED} are listed.")
    _numbers(group)
    return ListedIrreps(group)


@bounded
def _numbers(group: Group) -> tuple[FiniteGroup, Any]:
    """The group of the numbers of the elements, and the elements in that order, numpy arrays along a leading axis."""
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        listed = group.elements()
        start = int(np.argmax(np.asarray(jax.jit(group.isclose)(listed, group.identity))))
        count = len(jax.tree.leaves(listed)[0])
        order = np.array([start, *(i for i in range(count) if i != start)])
        elements = jax.tree.map(lambda leaf: np.asarray(leaf)[order], listed)
        rows = jax.tree.map(lambda leaf: leaf[:, None], elements)
        columns = jax.tree.map(lambda leaf: leaf[None], elements)
        products = jax.tree.map(np.asarray, jax.jit(group.compose)(rows, columns))
    number = {key: i for i, key in enumerate(_keys(elements, 1))}
    table = np.array([number.get(key, -1) for key in _keys(products, 2)]).reshape(count, count)
    if len(number) != count or table.min() < 0:
        raise ValueError(f"`elements()` of {group!r} are not closed under `compose`, or some are listed twice.")
    return FiniteGroup(TableSource(FrozenArray(table, np.int32))), elements


def _keys(elements: Any, batch_ndim: int) -> list[bytes]:
    """One key for each element, equal where all entries agree to five digits."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(elements)]
    flat = [np.round(leaf.reshape(int(np.prod(leaf.shape[:batch_ndim])), -1), 5) + 0.0 for leaf in leaves]
    return [row.tobytes() for row in np.concatenate(flat, axis=1)]
