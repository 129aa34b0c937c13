"""Motions of space whose rotations are any group of orthogonal matrices, and the lattice of a grid in that space."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import shown
from equijax._arrays import FrozenArray, read_only
from equijax._cache import bounded
from equijax.groups import _catalogue as named
from equijax.groups._elements import concrete
from equijax.groups._euclidean import RigidMotions
from equijax.groups._group import Element, Group, require_is_group
from equijax.groups._membership import excluded
from equijax.groups._point import PointGroup, frozen_basis, has_matrices
from equijax.groups._space import SpaceGroup

_TOLERANCE = 1e-9
_NEAR = 1e-6


class Motions(RigidMotions):
    r"""All translations of space together with a compact group H of orthogonal matrices, :math:`R^d ⋊ H`.

    Elements are pairs ``(t, h)``: a translation t in Cartesian coordinates, float ``(…, d)``, and an element h of H. A pair
    moves the point x to ``h x + t``. Images and volumes are samples of a field at the points :math:`B n` of a lattice, n
    integer, B the basis; along axis k of an array n grows. Of the group only the :attr:`lattice_part` maps the samples to
    each other, so a layer keeps that part exactly, and the rest as well as its kernels resolve it.

    ``Motions(SO(2))`` is what :class:`SE` is for points: layers on grids take ``SE(n)`` and ``E(n)`` for ``Motions(SO(n))``
    and ``Motions(O(n))``.

    Args:
      point_group: H, a ``PointGroup`` of orthogonal matrices (``Cyclic(8)``, of any order) or a compact Lie group
        (``SO(2)``, ``O(3)``).
      basis: lattice vectors as columns, ``(d, d)``, for example ``HEXAGONAL``; None is the square or cubic lattice.

    Raises:
      TypeError: ``point_group`` is no group of matrices.
      ValueError: it is not orthogonal, or ``basis`` holds no independent vectors.

    Example: of all turns of the plane a square lattice keeps quarters, a hexagonal one sixths.
      >>> import equijax as ej
      >>> ej.Motions(ej.SO(2)).lattice_part, ej.Motions(ej.Dihedral(16)).lattice_part
      (SpaceGroup(Cyclic(4)), SpaceGroup(Dihedral(4)))
      >>> ej.Motions(ej.SO(2), basis=ej.groups.HEXAGONAL).lattice_part.point_group.order
      6
    """

    __slots__ = ("_basis", "quotient")

    quotient: Any
    _basis: FrozenArray | None

    def __init__(self, point_group: Any, basis: Any = None):
        _require_orthogonal(point_group)
        d = _dimension(point_group)
        columns = frozen_basis(basis, d) if basis is None or np.shape(basis) == (d, d) else None
        if basis is not None and columns is None:
            raise ValueError(
                f"`point_group` is {point_group!r}, which turns {d} axes, but `basis` has shape {np.shape(basis)}; it needs "
                f"{d} lattice vectors as columns, ({d}, {d})."
            )
        object.__setattr__(self, "quotient", point_group)
        object.__setattr__(self, "_basis", columns)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Motions is immutable; make a new group instead of changing `{name}`.")

    @property
    def n(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Dimension d of the space."""
        return _dimension(self.quotient)

    @property
    def ndim(self) -> int:
        """Number of grid axes, the dimension of the space."""
        return self.n

    @property
    def grid_ndim(self) -> int:
        """Number of grid axes."""
        return self.n

    @property
    def basis(self) -> np.ndarray:
        """Lattice vectors as columns, float64 ``(d, d)``. Read-only."""
        return _unit(self.n) if self._basis is None else self._basis.array

    @property
    def lattice_part(self) -> SpaceGroup:
        """The motions that map the samples of a grid to each other: integer translations, and part of H."""
        return SpaceGroup(_lattice_part(self)[0])

    def from_lattice(self, t: Any, h: Any) -> Element:
        """Returns the elements that elements ``(t, h)`` of :attr:`lattice_part` are."""
        self.lattice_part.require_element((t, h))
        members = jnp.asarray(_lattice_part(self)[1])
        moved = jnp.einsum("ij,...j->...i", jnp.asarray(self.basis, float), jnp.asarray(t, float), precision="highest")
        return moved, members[jnp.asarray(h)]

    def to_lattice(self, g: Element) -> Element | None:
        """Returns the element of :attr:`lattice_part` that one known element is, to 1e-6; None where it is none."""
        known = concrete(self.split(g))
        if known is None or np.ndim(known[0]) != 1:
            return None
        inverse = np.linalg.inv(self.basis)
        with jax.enable_x64(True), jax.ensure_compile_time_eval():
            turned = inverse @ np.asarray(self.quotient.matrix(known[1]), np.float64) @ self.basis
        shift, group = inverse @ np.asarray(known[0], np.float64), self.lattice_part
        off = np.abs(group.point_group.integer_matrices - turned).max((1, 2))
        if np.abs(shift - np.rint(shift)).max() > _NEAR or off.min() > _NEAR or np.abs(shift).max() >= 2**31:
            return None
        return np.rint(shift).astype(np.int32), np.int32(off.argmin())

    @property
    def period(self) -> None:
        """None: space is no torus."""
        return None

    def with_point_group(self, point_group: Group) -> "Motions":
        """Returns the same translations with a smaller group of matrices."""
        return Motions(point_group, None if self._basis is None else self._basis.array)

    def averaged_elements(self, largest: int) -> Element:
        """Returns the elements of the point group of :attr:`lattice_part`, without translations."""
        t, h = self.lattice_part.averaged_elements(largest)
        return self.from_lattice(t, h)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Motions):
            return NotImplemented
        return self.quotient == other.quotient and self._basis == other._basis

    def __hash__(self) -> int:
        return hash(("Motions", self.quotient, self._basis))

    def __reduce__(self) -> tuple:
        return (Motions, (self.quotient, None if self._basis is None else self._basis.array))

    def __repr__(self) -> str:
        if self._basis is None:
            return f"Motions({self.quotient!r})"
        return f"Motions({self.quotient!r}, basis={np.round(self.basis, 4).tolist()})"


def _require_orthogonal(group: Any) -> None:
    require_is_group(group, "point_group", "Motions needs a group of orthogonal matrices")
    if not (has_matrices(group) or group.algebra) or group.grid_ndim:
        remedy = (
            "Use its `point_group`."
            if group.point_group is not group
            else ("For example Cyclic(8), Dihedral(16), SO(2) or O(3).")
        )
        raise TypeError(f"`point_group` is {shown(group)}; Motions needs a group of orthogonal matrices. {remedy}")
    if has_matrices(group):
        if group.basis is not None:
            raise ValueError(
                f"`point_group` is {group!r}, which is written in the coordinates of a lattice. Give the Cartesian group, "
                "for example Cyclic(6), and the lattice as `basis`."
            )
        if group.orthogonal_matrices is None:
            raise ValueError(
                f"`point_group` is {group!r}, whose matrices are not orthogonal. Write it in Cartesian coordinates."
            )
    elif not group.is_compact:
        raise ValueError(
            f"`point_group` is {group!r}, whose matrices are not all orthogonal; Motions needs a compact group."
        )


def _dimension(group: Any) -> int:
    return group.ndim if has_matrices(group) else group.matrix_size


@bounded
def _unit(n: int) -> np.ndarray:
    return read_only(np.eye(n))


@bounded
def _lattice_part(group: Motions) -> tuple[PointGroup, Any]:
    """The point group that maps the lattice to itself, in its coordinates, and the elements of H that its elements are."""
    h, basis = group.quotient, group.basis
    inverse = np.linalg.inv(basis)
    if has_matrices(h):
        in_lattice = inverse @ h.matrices @ basis  # type: ignore[attr-defined]
        kept = np.flatnonzero(np.abs(in_lattice - np.rint(in_lattice)).max((1, 2)) < _TOLERANCE)
        part = h.subgroup(kept.tolist()).as_group() if len(kept) < h.order else h
        members = np.array([int(h.element(m)) for m in part.matrices], np.int32)  # type: ignore[attr-defined]
        return (part if group._basis is None else part.in_basis(basis)), members  # type: ignore[attr-defined]
    matrices = isometries(basis)
    turned = basis @ matrices @ inverse
    kept = matrices[~excluded(h, turned)]
    part = _named(kept) if group._basis is None else None
    part = part or PointGroup.from_matrices(list(kept), basis=None if group._basis is None else basis)
    return part, read_only(basis @ part.matrices @ inverse)


def isometries(basis: np.ndarray) -> np.ndarray:
    """Returns the integer matrices with entries in -1, 0, 1 that are isometries of a lattice, ``(order, d, d)``.

    For the shortest basis of a lattice these are all of its isometries that fix a point.
    """
    d, metric = len(basis), basis.T @ basis
    columns = np.array(list(itertools.product((-1, 0, 1), repeat=d)), np.float64)
    lengths = np.einsum("ni,ij,nj->n", columns, metric, columns)
    fitting = [columns[np.abs(lengths - metric[k, k]) < _TOLERANCE * metric[k, k]] for k in range(d)]
    found = [np.stack(choice, 1) for choice in itertools.product(*fitting)]
    return np.array([m for m in found if np.abs(m.T @ metric @ m - metric).max() < _TOLERANCE * np.abs(metric).max()])


def _named(matrices: np.ndarray) -> PointGroup | None:
    """The group of the catalogue with these matrices, in its own order; None where it has no name."""
    order, d = matrices.shape[:2]
    if order == 1:
        return named.Trivial(d)
    choice: list[PointGroup] = []
    if d == 2:
        choice = [named.Cyclic(order), *([named.Dihedral(order // 2)] if order % 2 == 0 else [])]
    elif d == 3 and order in (24, 48):
        choice = [named.Octahedral(inversion=order == 48)]
    rows = _as_set(matrices)
    return next((g for g in choice if g.preserves_lattice and _as_set(g.matrices) == rows), None)


def _as_set(matrices: np.ndarray) -> set[bytes]:
    return {np.rint(m).astype(int).tobytes() for m in matrices}
