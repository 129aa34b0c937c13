"""Space groups: translations of a grid together with a point group."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import shown
from equijax._numbers import positive_int
from equijax.groups._elements import numbers, on_device, poison
from equijax.groups._finite import FiniteGroup
from equijax.groups._group import Element, Group, require_is_group
from equijax.groups._point import PointGroup
from equijax.groups._product import SemidirectProduct
from equijax.groups._translation import Translation
from equijax.groups._vectors import transformed


class SpaceGroup(SemidirectProduct):
    """Translations of the grid Z^d and a point group H of integer matrices that maps it to itself.

    Elements are pairs ``(t, h)``: t int32 ``(…, d)``, h int32 ``(…)``. ``(t, h)`` moves the point x to ``h x + t``, so
    ``(t, h)(u, k) = (t + h u, h k)``.

    Args:
      point_group: a ``PointGroup`` of integer matrices.
      period: None for the infinite grid, or the size of a torus along each axis (equal along axes that H mixes).

    Raises:
      TypeError: ``point_group`` is not a ``PointGroup``.
      ValueError: its matrices are not integer, or the torus is not mapped to itself.

    Example:
      >>> import equijax as ej
      >>> group = ej.SpaceGroup(ej.Cyclic(4))
      >>> group == ej.wallpaper("p4")
      True
      >>> [x.tolist() for x in group.compose(([1, 0], 1), ([2, 0], 0))]
      [[1, 2], 1]
    """

    __slots__ = ("normal", "quotient")

    normal: Translation
    quotient: PointGroup

    def __init__(self, point_group: PointGroup, period: Any = None):
        if not isinstance(point_group, PointGroup):
            remedy = "Use its `point_group`." if isinstance(point_group, SpaceGroup) else "For example Dihedral(4)."
            raise TypeError(
                f"`point_group` is {shown(point_group)}; SpaceGroup needs a PointGroup of integer matrices. {remedy}"
            )
        matrices = point_group.integer_matrices
        translations = Translation(point_group.ndim, period)
        if translations.period is not None:
            sizes = np.array(translations.period)
            unequal = (matrices != 0).any(0) & (sizes[:, None] != sizes[None])
            if unequal.any():
                i, j = np.argwhere(unequal)[0]
                raise ValueError(
                    f"`period` is {translations.period}, but {point_group!r} mixes axes {i} and {j}, so the torus must "
                    "be equally long along both."
                )
        object.__setattr__(self, "normal", translations)
        object.__setattr__(self, "quotient", point_group)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"SpaceGroup is immutable; make a new group instead of changing `{name}`.")

    @property
    def point_group(self) -> PointGroup:
        """The group H of matrices."""
        return self.quotient

    @property
    def ndim(self) -> int:
        """Number of grid axes."""
        return self.normal.ndim

    @property
    def period(self) -> tuple[int, ...] | None:
        """Size of the torus along each axis, or None for the infinite grid."""
        return self.normal.period

    @property
    def grid_ndim(self) -> int:
        """Number of grid axes."""
        return self.ndim

    @property
    def open(self) -> "SpaceGroup":
        """The group of the infinite grid."""
        return self if self.period is None else SpaceGroup(self.quotient)

    def on_torus(self, period: Any) -> "SpaceGroup":
        """Returns the group of the torus of this size."""
        return SpaceGroup(self.quotient, period)

    def with_point_group(self, point_group: Group) -> "SpaceGroup":
        """Returns the same translations with a smaller group of matrices."""
        return SpaceGroup(point_group, self.period)  # pyright: ignore[reportArgumentType]

    def averaged_elements(self, largest: int) -> Element:
        """Returns the elements of the point group, without translations."""
        positive_int(largest, "largest")
        count = self.quotient.order
        return np.zeros((count, self.ndim), np.int32), np.arange(count, dtype=np.int32)

    def split(self, g: Element) -> tuple[Any, Any]:
        """Returns the pair ``(t, h)``, which is the element itself."""
        self.require_element(g)
        t, h = g
        return t, h

    def join(self, t: Any, h: Any) -> Element:
        """Returns the pair ``(t, h)``."""
        self.normal.require_element(t, "t")
        self.quotient.require_element(h, "h")
        return (t, h)

    def automorphism(self, h: Element, n: Element) -> jax.Array:
        """Returns ``h n``: the matrix of h applied to n; the smallest int32 for a traced h that is no element."""
        index = numbers(h, self.quotient.order, "h")
        n, table = self.normal._vectors(n, "n"), self.point_group.integer_matrices
        if isinstance(index, np.ndarray):
            return on_device(transformed(table[index], n, self.period))
        inside = (index >= 0) & (index < len(table))
        moved = transformed(jnp.asarray(table)[jnp.where(inside, index, 0)], n, self.period)
        return jnp.where(inside[..., None], moved, poison(np.int32))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SpaceGroup):
            return NotImplemented
        return self.normal == other.normal and self.quotient == other.quotient

    def __hash__(self) -> int:
        return hash(("SpaceGroup", self.normal, self.quotient))

    def __reduce__(self) -> tuple:
        return (SpaceGroup, (self.quotient, self.period))

    def __repr__(self) -> str:
        return f"SpaceGroup({self.point_group!r}{'' if self.period is None else f', period={self.period}'})"


def point_group_of(group: Group) -> Any:
    """Returns the part of ``group`` that acts on fibres: H of translations with H, a finite group itself, or Trivial(ndim).

    Raises:
      TypeError: the group is neither finite, nor one of translations of a grid together with a group that fixes a point.
    """
    require_is_group(group, "group")
    point_group = group.point_group
    if not isinstance(point_group, FiniteGroup) and not group.grid_ndim:
        raise TypeError(
            f"`group` is {group!r}; fields are defined for Translation(ndim), SpaceGroup(point_group) and FiniteGroup."
        )
    return point_group


def grid_ndim(group: Group) -> int:
    """Returns the number of grid axes that ``group`` translates: 0 for a plain finite group.

    Raises:
      TypeError: as :func:`point_group_of`.
    """
    point_group_of(group)
    return group.grid_ndim
