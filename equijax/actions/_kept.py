"""What a map respects: a part of a group, as a value."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import listed
from equijax._numbers import positive_int
from equijax.groups import FiniteGroup, Permutation
from equijax.groups._group import Element, Group, require_is_group


class Kept(abc.ABC):
    """The elements of a group that a map respects. An immutable value, hashable and equal by value.

    Kinds: :class:`Everything`, :class:`GridMotions`, :class:`Listed` elements of the point group,
    :class:`ListedMatrices` of a group of matrices, a :class:`KeptProduct`
    with one part for each factor of a product of groups, and :class:`Nothing`, where nothing is known.

    Attributes:
      group: the group.
    """

    group: Group

    @property
    def is_known(self) -> bool:
        """False where nothing is claimed."""
        return True

    @property
    @abc.abstractmethod
    def is_everything(self) -> bool:
        """True for the whole group."""

    @property
    @abc.abstractmethod
    def keeps_point_group(self) -> bool:
        """True where every element of the point group is kept (perhaps together with a shift)."""

    @abc.abstractmethod
    def generators(self) -> list[Element]:
        """Returns elements that generate everything that is kept."""

    @abc.abstractmethod
    def elements(self) -> Element:
        """Returns elements, stacked along a leading axis, that stand for all.

        Of a finite (point) group each one that is kept, on a grid with its translation; of other groups the generators.
        """

    @abc.abstractmethod
    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws kept elements with leading axes ``shape``."""

    @property
    def point_elements(self) -> tuple[int, ...]:
        """Numbers of the elements of a finite point group that are kept."""
        return ()

    @property
    def translations(self) -> tuple[tuple[int, ...], ...]:
        """For each of ``point_elements`` the translation with which it is kept."""
        return ((),) * len(self.point_elements)

    @property
    def shift_step(self) -> tuple[int | None, ...]:
        """For each grid axis the step, in pixels, of the shifts that are kept; None where none is. Empty without a grid."""
        return ()

    @property
    def centre(self) -> tuple[float, ...] | None:
        """A point, in samples, about which the kept elements turn the grid, up to kept shifts; None without a grid."""
        return None


@dataclasses.dataclass(frozen=True)
class Everything(Kept):
    """All of a group.

    Example:
      >>> import equijax as ej
      >>> from equijax.actions import Everything
      >>> print(Everything(ej.Dihedral(4)), "|", Everything(ej.Permutation(5)))
      8 of 8 point elements | every order of the 5 elements
    """

    group: Group

    def __post_init__(self) -> None:
        require_is_group(self.group, "group")

    @property
    def is_everything(self) -> bool:
        """True."""
        return True

    @property
    def keeps_point_group(self) -> bool:
        """True."""
        return True

    @property
    def point_elements(self) -> tuple[int, ...]:
        """All elements of the point group, where it is finite."""
        return tuple(range(point_order(self.group)))

    def generators(self) -> list[Element]:
        """Returns generators of the group: of a Lie group its components, and one element for each direction."""
        points = point_order(self.group)
        if points:
            shifts = [self.group.from_lattice(unit, np.int32(0)) for unit in np.eye(self.group.grid_ndim, dtype=np.int32)]
            return shifts + [without_shift(self.group, h) for h in range(1, points)]
        return [*self.group.discrete_generators, *(self.group.exp(x) for x in self.group.algebra)]  # type: ignore[attr-defined]

    def elements(self) -> Element:
        """Returns all elements of a finite point group, else the generators."""
        points = point_order(self.group)
        if points:
            return without_shift(self.group, jnp.arange(points, dtype=jnp.int32))
        return stacked(self.generators() or [self.group.identity])

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws elements, uniformly where the group has a Haar measure, else near every component: as ``group.draw``."""
        return self.group.draw(key, shape)

    def __str__(self) -> str:
        points = point_order(self.group)
        if points:
            return f"{points} of {points} point elements"
        if isinstance(self.group, Permutation):
            return f"every order of the {self.group.n} elements"
        return f"all of {self.group!r}"


@dataclasses.dataclass(frozen=True)
class Nothing(Kept):
    """Nothing is known. What holds for every map is left: the identity.

    Attributes:
      group: the group.
    """

    group: Group

    def __post_init__(self) -> None:
        require_is_group(self.group, "group")

    @property
    def is_known(self) -> bool:
        """False."""
        return False

    @property
    def is_everything(self) -> bool:
        """False."""
        return False

    @property
    def keeps_point_group(self) -> bool:
        """False."""
        return False

    def generators(self) -> list[Element]:
        """Returns no element."""
        return []

    def elements(self) -> Element:
        """Returns the identity, along a leading axis."""
        return stacked([self.group.identity])

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Returns the identity with leading axes ``shape``."""
        del key
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (*shape, *jnp.shape(leaf))), self.group.identity
        )

    def __str__(self) -> str:
        return "Nothing is claimed"


@dataclasses.dataclass(frozen=True)
class Listed(Kept):
    """A subgroup of the point group, given by the numbers of its elements; shifts, if there are any, do nothing.

    Args:
      group: the group.
      numbers: the elements; ``(0,)`` is the identity alone.

    Example:
      >>> import equijax as ej
      >>> from equijax.actions import Listed
      >>> print(Listed(ej.Cyclic(4), (0, 2)))
      2 of 4 point elements
    """

    group: Group
    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        require_is_group(self.group, "group")
        given, largest = listed(self.numbers, "numbers", "numbers of elements"), point_order(self.group) - 1
        if largest < 0:
            raise ValueError(f"`group` is {self.group!r}, whose elements have no numbers that could be listed.")
        object.__setattr__(self, "numbers", tuple(positive_int(h, "numbers", 0, given, largest) for h in given))

    @property
    def is_everything(self) -> bool:
        """True where no element is missing."""
        return self.keeps_point_group

    @property
    def keeps_point_group(self) -> bool:
        """True where no element is missing."""
        return len(self.numbers) == point_order(self.group)

    @property
    def point_elements(self) -> tuple[int, ...]:
        """The numbers."""
        return self.numbers

    def generators(self) -> list[Element]:
        """Returns all listed elements but the identity."""
        return [without_shift(self.group, h) for h in self.numbers if h]

    def elements(self) -> Element:
        """Returns all listed elements."""
        return without_shift(self.group, jnp.asarray(self.numbers, jnp.int32))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws listed elements uniformly."""
        pick = jax.random.randint(key, shape, 0, len(self.numbers))
        return without_shift(self.group, jnp.asarray(self.numbers, jnp.int32)[pick])

    def __str__(self) -> str:
        return f"{len(self.numbers)} of {point_order(self.group)} point elements"


def without_shift(group: Group, h: Any) -> Element:
    """Elements of the point group, with translations that are zero where there are any."""
    return group.from_lattice(jnp.zeros((*np.shape(h), group.grid_ndim), jnp.int32), h)


def point_order(group: Group) -> int:
    """The order of a finite point group whose elements are numbers (on a grid of what maps it to itself); else 0."""
    point_group = group.lattice_part.point_group
    return point_group.order if isinstance(point_group, FiniteGroup) else 0


def stacked(elements: Sequence[Element]) -> Element:
    """Several elements as one, each array with a leading axis of their number."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(a) for a in leaves]), *elements)
