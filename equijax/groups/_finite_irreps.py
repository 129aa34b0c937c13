"""Matrices of the real irreps of a finite group, the same on every machine."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from equijax._arguments import shown
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._canonical import canonical_basis
from equijax._numbers import positive_int
from equijax.groups._characters import Characters, classes_of, turn
from equijax.groups._elements import looked_up
from equijax.groups._irrep_family import IrrepFamily, Label, require_label

if TYPE_CHECKING:
    from equijax.groups._finite import FiniteGroup

MAX_IRREP_ORDER = 2048
"""The largest order of a group whose irreps of dimension 2 and more are computed: an array of order² numbers is needed."""

_ATTEMPTS = 100
_GAP = 1e-2
_COMMUTANT = {"real": 1, "complex": 2, "quaternionic": 4}


@dataclasses.dataclass(frozen=True)
class FiniteIrreps(IrrepFamily):
    """The real irreps of a finite group, numbered in the order of the character table.

    A conjugate pair of complex rows is one real irrep of twice the dimension, in the place of the first; a quaternionic row
    one of twice the dimension.
    """

    group: "FiniteGroup"

    def label(self, index: Any, parity: Any = None) -> Label:
        """Returns the number of an irrep as a label."""
        if parity is not None:
            raise ValueError(
                f"`parity` is {shown(parity)}; irreps of a finite group have none. Irrep({self.group!r}, number) is enough: "
                "`ej.reps.irreps(group)` lists them."
            )
        number = positive_int(index, "index", 0)
        if number >= len(self.labels):
            dims = [self.dim(label) for label in self.labels]
            raise ValueError(
                f"`index` is {number}; {self.group!r} has {len(dims)} real irreps, numbered 0 … {len(dims) - 1}, of "
                f"dimensions {dims}."
            )
        return Label(number)

    def _known(self, label: Any) -> int:
        require_label(label)
        return self.label(label.index).index

    @property
    def labels(self) -> tuple[Label, ...]:
        """``0, 1, …``, one for each real irrep."""
        return tuple(map(Label, range(len(Characters(self.group).real_rows))))

    @property
    def is_enumerated(self) -> bool:
        """True."""
        return True

    def dim(self, label: Label) -> int:
        """Returns the real dimension."""
        table = Characters(self.group)
        row = table.real_rows[label.index][0]
        return table.dims[row] * (1 if table.types[row] == "real" else 2)

    def type(self, label: Label) -> str:
        """Returns the Frobenius–Schur type."""
        table = Characters(self.group)
        return table.types[table.real_rows[label.index][0]]

    def matrix(self, label: Label, g: Any) -> jax.Array:
        """Gathers the matrix of ``g``, float ``(…, dim, dim)``."""
        return looked_up(irrep_matrices(self.group, self._known(label)), g)

    def matrices(self, label: Label) -> np.ndarray:
        """Returns all matrices, float64 ``(order, dim, dim)``. Read-only."""
        return irrep_matrices(self.group, label.index)


@bounded
def irrep_matrices(group: "FiniteGroup", index: int) -> np.ndarray:
    r"""Returns all matrices of real irrep number ``index``, float64 ``(order, dim, dim)``, orthogonal. Read-only.

    Characters of degree 1 are written down: 1 and -1, or the turns R(2πj/m) where they are complex. So are the irreps of
    dihedral groups whose elements are numbered as those of ``Dihedral(n)``, and the matrices by which a point group is
    given. The rest is found in the regular representation.
    """
    table = Characters(group)
    row = table.real_rows[index][0]
    if table.dims[row] == 1:
        return read_only(_of_degree_one(group, table, row))
    known = _dihedral(group, table, row)
    if known is None:
        known = _given(group, table, index)
    return read_only(_in_regular(group, table, index) if known is None else known)


def _of_degree_one(group: "FiniteGroup", table: Characters, row: int) -> np.ndarray:
    roots = [table.roots(row, column) for column in range(len(table.classes))]
    turns = turn([np.argmax(part) for part in roots], [len(part) for part in roots])
    cos, sin = np.stack(turns)[:, classes_of(group).number]
    if table.types[row] == "real":
        return cos[:, None, None].copy()
    return _rotation(cos, sin)


def _rotation(cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def _dihedral(group: "FiniteGroup", table: Characters, row: int) -> np.ndarray | None:
    """R(2πjk/n) and R(2πjk/n) diag(1, -1) where element k is rᵏ and element n + k is rᵏm; j is the frequency of r."""
    n = group.order // 2
    k = np.arange(n)
    turns, back = (k[:, None] + k) % n, (k[:, None] - k) % n
    if 2 * n != group.order or not np.array_equal(group.table, np.block([[turns, n + turns], [n + back, back]])):
        return None
    roots = table.roots(row, int(classes_of(group).number[1]))
    rotations = _rotation(*turn(int(np.argmax(roots)) * k, n))
    return np.concatenate([rotations, rotations @ np.diag([1.0, -1.0]) + 0.0])


def _given(group: "FiniteGroup", table: Characters, index: int) -> np.ndarray | None:
    """The matrices by which the group is given, where they are this irrep to the last digits."""
    matrices = group.orthogonal_matrices
    if matrices is None:
        return None
    traces = np.trace(matrices, axis1=1, axis2=2)
    if np.abs(traces - real_character(table, index)[classes_of(group).number]).max() > 1e-6:
        return None
    exact = all(np.abs(matrices[g] @ matrices - matrices[group.table[g]]).max() < 2e-14 for g in group.generators)
    return matrices if exact else None


def real_character(table: Characters, index: int) -> np.ndarray:
    """Returns the trace of a real irrep on each class, float64 ``(classes,)``."""
    rows = table.real_rows[index]
    copies = 2 if table.types[rows[0]] == "quaternionic" else 1
    return copies * np.real(table.values[list(rows)]).sum(0)


def _in_regular(group: "FiniteGroup", table: Characters, index: int) -> np.ndarray:
    r"""Finds the irrep among the functions on the group and returns its matrices there.

    The isotypic projector is :math:`P[g, h] = (d/n) χ(g h^{-1})`. It falls apart under a fixed symmetric element of
    the right regular representation, which commutes with the left one; the eigenspace of the smallest eigenvalue is one
    copy. Its projector, and so its canonical basis, does not depend on the eigensolver.
    """
    n = group.order
    if n > MAX_IRREP_ORDER:
        raise ValueError(
            f"{group!r} has {n} elements; matrices of irreps of dimension 2 and more are computed up to order "
            f"{MAX_IRREP_ORDER}. Use permutation fibres, whose maps are orbits."
        )
    kind, degree = table.types[table.real_rows[index][0]], table.dims[table.real_rows[index][0]]
    dim = degree * (1 if kind == "real" else 2)
    character = degree / (2 if kind == "quaternionic" else 1) * real_character(table, index)[classes_of(group).number] / n
    rank = dim * dim // _COMMUTANT[kind]
    isotypic = canonical_basis(character[group.table[:, group.inverses]], rank)
    basis = isotypic if rank == dim else isotypic @ _smallest_eigenspace(group, isotypic, dim)
    basis = canonical_basis(basis)
    moved = basis[group.table[group.inverses]]
    return np.einsum("hi,ghj->gij", basis, moved, optimize=True)


def _smallest_eigenspace(group: "FiniteGroup", isotypic: np.ndarray, dim: int) -> np.ndarray:
    """Orthonormal columns that span one copy, in the coordinates of the isotypic part."""
    numbers = np.arange(1, group.order + 1)
    for attempt in range(1, _ATTEMPTS + 1):
        element = np.cos(np.sqrt(2.0) * attempt * numbers**2)
        element = element + element[group.inverses]
        right = element[group.table[group.inverses]]
        levels, vectors = np.linalg.eigh(isotypic.T @ right @ isotypic)
        if levels[dim] - levels[dim - 1] > _GAP * (levels[-1] - levels[0]):
            return vectors[:, :dim]
    raise ArithmeticError(f"the irreps of {group!r} could not be told apart in {_ATTEMPTS} attempts.")
