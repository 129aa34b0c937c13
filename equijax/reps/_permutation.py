"""A representation by permutations of the user's."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from equijax._arguments import listed, shown
from equijax._arrays import FrozenArray
from equijax.groups import FiniteGroup
from equijax.groups._elements import known_integers
from equijax.reps._permuting import Permuting
from equijax.reps._representation import require_finite_group


class PermutationRepresentation(Permuting):
    """A representation by any permutations of the user's.

    Args:
      group: the finite group.
      table: int ``(order, dim)``: element g moves coordinate i to ``table[g, i]``.

    Raises:
      ValueError: the table has the wrong shape, a row is no permutation, or rows don't compose as the group does.

    Example: the letters A, C, G, T of DNA under the reverse complement.
      >>> import equijax as ej
      >>> ej.reps.PermutationRepresentation(ej.Reflection(1), [[0, 1, 2, 3], [3, 2, 1, 0]]).dim
      4
    """

    __slots__ = ("_images", "group")

    group: FiniteGroup

    def __init__(self, group: FiniteGroup, table: Any):
        require_finite_group(group)
        images = known_integers(table, "table", (), "images of the coordinates, integers 0 … dim - 1")
        if images.ndim != 2 or images.shape[0] != group.order or not images.shape[1]:
            raise ValueError(
                f"`table` has shape {images.shape}; it needs one row of images for each of the {group.order} elements of "
                f"{group!r}. PermutationRepresentation.from_generators(group, images) fills in the rest from the generators."
            )
        if not (np.sort(images, 1) == np.arange(images.shape[1])[None]).all():
            raise ValueError(
                f"`table` has a row that is not a permutation of 0 … {images.shape[1] - 1}; every element of the group "
                "must permute the coordinates."
            )
        composes = all(np.array_equal(images[group.table[g]], images[g][images]) for g in group.generators)
        if not composes or not np.array_equal(images[0], np.arange(images.shape[1])):
            raise ValueError(
                "`table` does not compose as the group does: row g after row h must be row g ∘ h, and row 0 the "
                "identity. Check the order of the rows against the elements of the group."
            )
        object.__setattr__(self, "group", group)
        object.__setattr__(self, "_images", FrozenArray(images, np.int32))

    @staticmethod
    def from_generators(group: FiniteGroup, images: Iterable[Sequence[int]]) -> "PermutationRepresentation":
        """Extends permutations of the generators to the whole group.

        Args:
          group: the finite group.
          images: one permutation for each entry of ``group.generators``, in that order.

        Raises:
          ValueError: the number of permutations is wrong, or they satisfy other relations than the generators.

        Example:
          >>> import equijax as ej
          >>> triangle = [[1, 2, 0], [1, 0, 2]]
          >>> group = ej.FiniteGroup.from_permutations(triangle)
          >>> ej.reps.PermutationRepresentation.from_generators(group, triangle).dim
          3
        """
        require_finite_group(group)
        rows = listed(images, "images", "permutations, each a list of images")
        given = [known_integers(p, "images", (), "permutations, lists of integers") for p in rows]
        if len(given) != len(group.generators):
            raise ValueError(
                f"`images` holds {len(given)} permutations; {group!r} has {len(group.generators)} generators "
                f"{group.generators}, and each needs one."
            )
        for p in given:
            alike = p.shape == given[0].shape and p.ndim == 1 and p.size
            if not alike or not np.array_equal(np.sort(p), np.arange(p.size)):
                raise ValueError(
                    f"`images` holds {shown(p.tolist())}, which is not a permutation of 0 … {given[0].size - 1}. Each entry "
                    "is a list of images in which every coordinate appears exactly once, and all have one length."
                )
        dim = len(given[0]) if given else 1
        table = np.full((group.order, dim), -1, np.int64)
        table[0] = np.arange(dim)
        frontier = [0]
        for g in frontier:
            for s, p in zip(group.generators, given, strict=True):
                k = int(group.table[g, s])
                if table[k, 0] < 0:
                    table[k] = table[g][p]
                    frontier.append(k)
        return PermutationRepresentation(group, table)

    @property
    def table(self) -> np.ndarray:
        """Images, int32 ``(order, dim)``."""
        return self._images.array

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"PermutationRepresentation is immutable; make a new one instead of changing `{name}`.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PermutationRepresentation):
            return NotImplemented
        return self.group == other.group and self._images == other._images

    def __hash__(self) -> int:
        return hash(("PermutationRepresentation", self.group, self._images))

    def __reduce__(self) -> tuple:
        return (PermutationRepresentation, (self.group, self.table))

    def __repr__(self) -> str:
        rows = self.table.tolist() if self.table.size <= 32 else f"<{self.table.shape[0]}×{self.table.shape[1]} images>"
        return f"PermutationRepresentation({self.group!r}, {rows})"
