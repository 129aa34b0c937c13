"""What is kept of a group of matrices: a finite part of it, matrix by matrix."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import FrozenArray
from equijax.actions._kept import Kept
from equijax.groups._group import Element, Group

_SAME = 1e-9


@dataclasses.dataclass(frozen=True)
class ListedMatrices(Kept):
    """A finite subgroup of a group whose elements are matrices, such as the quarter turns among the rotations.

    Args:
      group: the group.
      matrices: the elements, float64 ``(count, n, n)``, the identity first.

    Example:
      >>> import equijax as ej
      >>> from equijax.actions import ListedMatrices
      >>> print(ListedMatrices.of(ej.SO(2), ej.Cyclic(4).matrices))
      4 elements of SO(2)
    """

    group: Group
    matrices: FrozenArray

    @classmethod
    def of(cls, group: Group, matrices: np.ndarray) -> "ListedMatrices":
        """Returns the value for an array of matrices; the identity is put first."""
        away = np.abs(matrices - np.eye(matrices.shape[-1])).max((1, 2))
        order = np.argsort(away > _SAME, kind="stable")
        return cls(group, FrozenArray(matrices[order], np.float64))

    @property
    def is_everything(self) -> bool:
        """False: a finite part of a group with infinitely many elements."""
        return False

    @property
    def keeps_point_group(self) -> bool:
        """False."""
        return False

    def generators(self) -> list[Element]:
        """Returns all listed elements but the identity."""
        return [jnp.asarray(m) for m in self.matrices.array[1:]]

    def elements(self) -> Element:
        """Returns all listed elements, float ``(count, n, n)``."""
        return jnp.asarray(self.matrices.array)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws listed elements uniformly."""
        pick = jax.random.randint(key, shape, 0, len(self.matrices.array))
        return jnp.asarray(self.matrices.array)[pick]

    def common(self, other: "ListedMatrices") -> "ListedMatrices":
        """Returns the elements that both list."""
        mine, others = self.matrices.array, other.matrices.array
        found = np.abs(mine[:, None] - others[None]).max((2, 3)).min(1) < _SAME
        return ListedMatrices(self.group, FrozenArray(mine[found], np.float64))

    def __str__(self) -> str:
        return f"{len(self.matrices.array)} elements of {self.group!r}"
