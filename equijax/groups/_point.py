"""Finite groups of matrices: the symmetries that fix a point."""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import KDTree

from equijax._arguments import listed, shown
from equijax._arrays import FrozenArray, read_only, require_real
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.groups._closure import close
from equijax.groups._elements import concrete, known_reals, looked_up, poison, reals
from equijax.groups._finite import MAX_ORDER, FiniteGroup, Source, _distinct

HEXAGONAL = read_only(np.array([[1.0, 0.5], [0.0, np.sqrt(3.0) / 2.0]]))
"""Basis of the hexagonal lattice, one lattice vector a column, 60° apart: the neighbours of a point are ±(1, 0),
±(0, 1), ±(1, −1) in lattice coordinates."""

_TOLERANCE = 1e-9
_CAUSE = "Check the generators (an angle that is no fraction of a turn, a matrix that is not orthogonal in its basis?). "


@dataclasses.dataclass(frozen=True)
class MatrixSource(Source):
    """A group given by the matrices of all its elements, in order, and the numbers of its generators."""

    matrices: FrozenArray
    generators: tuple[int, ...]

    def build(self) -> tuple[np.ndarray, tuple[int, ...]]:
        """Returns the table, found by looking every product up among the matrices, and the generators."""
        matrices = self.matrices.array
        order = len(matrices)
        products = np.einsum("aij,bjk->abik", matrices, matrices).reshape(order * order, -1)
        distance, table = KDTree(matrices.reshape(order, -1)).query(products)
        if distance.max() > 1e-6:
            raise ValueError("`matrices` are not closed under multiplication. Use PointGroup.from_matrices(generators).")
        return table.reshape(order, order), self.generators


def has_matrices(group: Any) -> TypeGuard["PointGroup"]:
    """Tells whether a group is one of matrices that move points, so that ``SpaceGroup`` can put it on a grid."""
    return isinstance(group, PointGroup)


class PointGroup(FiniteGroup):
    """A finite group of d×d matrices, in the coordinates of a lattice.

    Matrices act on array coordinates, axis 0 first: ``[[0, -1], [1, 0]]`` moves an array as ``numpy.rot90(x, 1)``.
    Where all matrices are integer the group maps the lattice Z^d to itself and acts on grids *exactly*.
    Two point groups are equal when matrices (to 1e-9), lattice basis and element order agree; names don't count.

    Example: the quarter turns, from one generator.

      >>> import equijax as ej
      >>> group = ej.PointGroup.from_matrices([[[0, -1], [1, 0]]])
      >>> group == ej.Cyclic(4), group.matrices[1].astype(int).tolist()
      (True, [[0, -1], [1, 0]])
    """

    __slots__ = ("_basis",)

    _basis: FrozenArray | None

    def __init__(self, source: MatrixSource, basis: FrozenArray | None = None):
        """Users call :meth:`from_matrices` instead."""
        super().__init__(source)
        object.__setattr__(self, "_basis", basis)

    @staticmethod
    def from_matrices(generators: Iterable[Any], *, basis: Any = None, max_order: int = MAX_ORDER) -> "PointGroup":
        """Closes a list of matrices to a group.

        Args:
          generators: square matrices of one size, in lattice coordinates.
          basis: the lattice vectors as columns, ``(d, d)``; None for the square or cubic lattice.
          max_order: the largest group that is accepted.

        Returns:
          The group; elements are numbered breadth first, multiplying on the right by the generators as given.

        Raises:
          ValueError: shapes differ, a matrix is singular or no isometry of ``basis``, or the closure is too large.
        """
        generators = listed(generators, "generators", "square matrices")
        require_real(generators, "generators")
        matrices = [np.asarray(known_reals(m, "generators"), np.float64) for m in generators]
        max_order = positive_int(max_order, "max_order")
        if not matrices:
            raise ValueError("`generators` is empty. Give at least one matrix, or use Trivial(ndim).")
        d = matrices[0].shape[0] if matrices[0].ndim == 2 else 0
        _require_square(matrices, d)
        columns = frozen_basis(basis, d)
        metric = None if columns is None else columns.array.T @ columns.array
        for m in matrices:
            determinant = np.linalg.det(m) if np.isfinite(m).all() else np.nan
            if not abs(abs(determinant) - 1.0) <= 1e-6:
                raise ValueError(
                    f"`generators` holds {shown(m.tolist())} with determinant {determinant:.6g}. A matrix of finite order "
                    "has determinant ±1: give rotations and reflections."
                )
            if metric is not None and not np.allclose(m.T @ metric @ m, metric, rtol=1e-6, atol=1e-6):
                raise ValueError(
                    f"`generators` holds {shown(m.tolist())}, which is no isometry of the lattice `basis`. Give matrices in "
                    "lattice coordinates, or make the group in Cartesian ones and call `in_basis(basis)`."
                )
        elements, _ = close(
            [_snap(m) for m in matrices], np.eye(d), lambda a, b: _snap(a @ b), _Keys(), max_order, "generators", _CAUSE
        )
        return PointGroup(_source(elements, matrices), columns)

    @property
    def ndim(self) -> int:
        """Dimension d of the space on which the matrices act."""
        return self._source.matrices.array.shape[1]

    @property
    def matrices(self) -> np.ndarray:
        """The elements in lattice coordinates, float64 ``(order, d, d)``. Read-only."""
        return self._source.matrices.array

    @property
    def orthogonal_matrices(self) -> np.ndarray | None:
        """The elements in Cartesian coordinates, float64 ``(order, d, d)``; None where they are no isometries."""
        return _orthogonal_matrices(self)

    @property
    def basis(self) -> np.ndarray | None:
        """Lattice vectors as columns, float64 ``(d, d)``; None for the square or cubic lattice."""
        return None if self._basis is None else self._basis.array

    @property
    def integer_matrices(self) -> np.ndarray:
        """The elements as int32 ``(order, d, d)``. Read-only.

        Raises:
          ValueError: the group does not map the lattice to itself.
        """
        if not self.preserves_lattice:
            raise ValueError(
                f"{self!r} does not map the grid Z^{self.ndim} to itself: its matrices are not integer. On a square grid "
                "use Cyclic(2), Cyclic(4), Dihedral(1), Dihedral(2) or Dihedral(4); for thirds and sixths of a turn use "
                "the hexagonal lattice, `group.in_basis(HEXAGONAL)`."
            )
        return _integer_matrices(self)

    @property
    def preserves_lattice(self) -> bool:
        """True where all matrices are integer."""
        return bool(np.abs(self.matrices - np.rint(self.matrices)).max() < _TOLERANCE)

    @property
    def signed_permutations(self) -> np.ndarray:
        """Which elements only permute and reflect the axes, bool ``(order,)``."""
        magnitudes = np.abs(self.matrices)
        is_unit = (np.abs(magnitudes - np.rint(magnitudes)) < _TOLERANCE).all((1, 2))
        return is_unit & (np.rint(magnitudes).sum(1) == 1).all(1) & (np.rint(magnitudes).sum(2) == 1).all(1)

    @property
    def is_lattice_centred(self) -> bool:
        """True where the group turns a torus about a lattice point, False where it turns it about its centre.

        Groups of signed permutation matrices turn a torus of N points about ``(N - 1) / 2``. Other integer matrices
        (hexagonal ones, of order 3 and 6) don't map an even torus to itself about that point, so they, and all groups
        that are written in the basis of a lattice, turn it about the index ``N // 2``.
        """
        return self._basis is not None or not bool(self.signed_permutations.all())

    @property
    def mixed_axes(self) -> tuple[tuple[int, ...], ...]:
        """The axes that the group mixes with each other, as sorted blocks that cover ``0 … d - 1``."""
        return _mixed_axes(self)

    def matrix(self, g: Any) -> jax.Array:
        """Returns elements as Cartesian matrices, float ``(…, d, d)``: ``B M B⁻¹`` where a lattice basis B is given."""
        return looked_up(_cartesian(self), g)

    def element(self, matrix: Any) -> jax.Array:
        """Returns the numbers of the elements with these Cartesian matrices, int32.

        Raises:
          ValueError: a matrix that is known is no element, to 1e-4. A traced one that is none gives the smallest int32.
        """
        given = reals(matrix, "matrix", (self.ndim, self.ndim), "matrices")[..., None, :, :]
        table = jnp.asarray(_cartesian(self), float).reshape(*[1] * (given.ndim - 3), self.order, self.ndim, self.ndim)
        distances = jnp.abs(given - table).max((-2, -1))
        known = concrete(distances)
        if known is not None and known.size and not known.min(-1).max() <= 1e-4:
            raise ValueError(
                f"`matrix` holds a matrix that is none of {self!r}: the nearest differs by {known.min(-1).max():.1e}. See "
                "`matrices`."
            )
        nearest = jnp.argmin(distances, axis=-1).astype(jnp.int32)
        return nearest if known is not None else jnp.where(distances.min(-1) <= 1e-4, nearest, poison(np.int32))

    def in_basis(self, basis: Any) -> "PointGroup":
        """Returns the same rotations in the coordinates of another lattice, ``B⁻¹ M B``.

        Args:
          basis: lattice vectors as columns, ``(d, d)``, for example ``equijax.groups.HEXAGONAL``.
        """
        if self._basis is not None:
            raise ValueError(f"{self!r} is written in a lattice basis already; start from the Cartesian group.")
        columns = frozen_basis(basis, self.ndim)
        if columns is None:
            return self
        inverse = np.linalg.inv(columns.array)
        moved = [_snap(inverse @ m @ columns.array) for m in self.matrices]
        return PointGroup(MatrixSource(FrozenArray(moved, np.float64), self.generators), columns)

    def _subgroup_as_group(self, elements: tuple[int, ...]) -> "PointGroup":
        source = MatrixSource(FrozenArray(self.matrices[list(elements)], np.float64), ())
        generators = FiniteGroup._subgroup_as_group(self, elements).generators
        found = PointGroup(dataclasses.replace(source, generators=generators), self._basis)
        return next((group for group in self._usual_names(len(elements)) if group == found), found)

    def _usual_names(self, order: int) -> list["PointGroup"]:
        """The groups of the catalogue that a subgroup of this order may be."""
        from equijax.groups import _catalogue as named

        if order == 1:
            return [named.Trivial(self.ndim)]
        mirrors: list[PointGroup] = [named.Reflection(self.ndim, axis) for axis in range(self.ndim)] if order == 2 else []
        if self.ndim != 2:
            return mirrors
        return [named.Cyclic(order), *([named.Dihedral(order // 2)] if order % 2 == 0 else []), *mirrors]

    def _same_geometry(self, other: FiniteGroup) -> bool:
        if not isinstance(other, PointGroup) or self.matrices.shape != other.matrices.shape:
            return False
        if (self.basis is None) != (other.basis is None):
            return False
        same_basis = self.basis is None or np.abs(self.basis - other.basis).max() < _TOLERANCE
        return bool(same_basis and np.abs(self.matrices - other.matrices).max() < _TOLERANCE)

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    __hash__ = FiniteGroup.__hash__

    def __reduce__(self) -> tuple:
        return (PointGroup, (self._source, self._basis))

    def __repr__(self) -> str:
        generators = [_tidy(self.matrices[g]) for g in self.generators] or [_tidy(self.matrices[0])]
        lattice = "" if self.basis is None else f", basis={'HEXAGONAL' if is_hexagonal(self) else _tidy(self.basis)}"
        return f"PointGroup.from_matrices({generators}{lattice})"


def is_hexagonal(group: PointGroup) -> bool:
    """Tells whether the group is written in the 60° hexagonal basis."""
    return group.basis is not None and group.ndim == 2 and bool(np.allclose(group.basis, HEXAGONAL, atol=1e-9))


class _Keys:
    """Numbers matrices so that matrices within 1e-6 of each other get one number."""

    def __init__(self) -> None:
        self.known = np.zeros((0, 0))

    def __call__(self, matrix: np.ndarray) -> int:
        flat = matrix.reshape(1, -1)
        if not len(self.known):
            self.known = flat
            return 0
        distance = np.abs(self.known - flat).max(1)
        nearest = int(np.argmin(distance))
        if distance[nearest] < 1e-6:
            return nearest
        self.known = np.concatenate([self.known, flat])
        return len(self.known) - 1


def _require_square(matrices: list[np.ndarray], d: int) -> None:
    for m in matrices:
        if m.shape != (d, d) or not d:
            raise ValueError(
                f"`generators` holds an array of shape {m.shape}; every generator must be a square matrix of one size"
                f"{f', here ({d}, {d})' if d else ''}."
            )


def _source(elements: list[np.ndarray], generators: list[np.ndarray]) -> MatrixSource:
    matrices = np.stack(elements)
    numbers = (int(np.argmin(np.abs(matrices - g).max((1, 2)))) for g in generators)
    return MatrixSource(FrozenArray(matrices, np.float64), _distinct(numbers))


def _snap(matrix: np.ndarray) -> np.ndarray:
    rounded = np.rint(matrix)
    return np.where(np.abs(matrix - rounded) < _TOLERANCE, rounded, matrix) + 0.0


def frozen_basis(basis: Any, d: int) -> FrozenArray | None:
    """Returns lattice vectors as columns after checking that they are independent; None for the square lattice."""
    if basis is None:
        return None
    require_real(basis, "basis")
    columns = known_reals(basis, "basis")
    if columns.shape != (d, d) or not np.isfinite(columns).all() or not np.linalg.cond(columns) < 1e9:
        raise ValueError(f"`basis` is {shown(columns)}; it needs {d} independent lattice vectors as columns, ({d}, {d}).")
    return FrozenArray(columns, np.float64)


def _tidy(matrix: np.ndarray) -> list:
    rounded = np.rint(matrix)
    if np.abs(matrix - rounded).max() < _TOLERANCE:
        return rounded.astype(int).tolist()
    return np.round(matrix, 4).tolist()


@bounded
def _integer_matrices(group: PointGroup) -> np.ndarray:
    return read_only(np.rint(group.matrices).astype(np.int32))


@bounded
def _orthogonal_matrices(group: PointGroup) -> np.ndarray | None:
    columns = np.eye(group.ndim) if group.basis is None else group.basis
    turned = columns @ group.matrices @ np.linalg.inv(columns)
    is_isometry = np.abs(turned @ turned.transpose(0, 2, 1) - np.eye(group.ndim)).max() < 1e-13
    return read_only(turned) if is_isometry else None


@bounded
def _cartesian(group: PointGroup) -> np.ndarray:
    basis = group.basis
    return group.matrices if basis is None else read_only(basis @ group.matrices @ np.linalg.inv(basis))


@bounded
def _mixed_axes(group: PointGroup) -> tuple[tuple[int, ...], ...]:
    linked = (np.abs(group.matrices) > _TOLERANCE).any(0) | np.eye(group.ndim, dtype=bool)
    while not np.array_equal(linked, grown := (linked.astype(int) @ linked.astype(int) > 0) | linked.T):
        linked = grown
    return tuple(sorted({tuple(np.flatnonzero(row).tolist()) for row in linked}))
