"""The character table of a finite group, exactly."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from equijax._arguments import shown
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._numbers import positive_int

if TYPE_CHECKING:
    from equijax.groups._finite import FiniteGroup

_ATTEMPTS = 60
_ROUNDING = 1e-6
_MAX_ENTRIES = 10**8


@dataclasses.dataclass(frozen=True)
class Characters:
    r"""The irreducible complex characters of a finite group: the trace of each irrep on each conjugacy class.

    ``group.characters`` makes it; printing it shows the table. Rows are ordered by dimension and then by how often each
    root of unity is an eigenvalue, so the trivial character is the first one; columns are ``group.conjugacy_classes``.

    An entry is a sum of roots of unity with integer multiplicities. A numerical table is only a guess at these integers;
    the values are computed from the integers, so they do not depend on the machine.

    Attributes:
      group: the group.

    Example:
      >>> import equijax as ej
      >>> print(ej.FiniteGroup.from_permutations([[1, 2, 0], [1, 0, 2]]).characters)
      class        0   1   2
      size         1   2   3
      order        1   3   2
      χ0  real     1   1   1
      χ1  real     1   1  -1
      χ2  real     2  -1   0
      >>> ej.Cyclic(3).characters.values.shape, ej.Cyclic(3).characters.types
      ((3, 3), ('real', 'complex', 'complex'))

    References:
      Dixon, "High speed computation of group characters", Numerische Mathematik 10 (1967), for the class sums; here with
      floating point instead of a prime field.
    """

    group: "FiniteGroup"

    def __post_init__(self) -> None:
        from equijax.groups._finite import FiniteGroup

        if not isinstance(self.group, FiniteGroup):
            raise TypeError(f"`group` is {shown(self.group)}; characters are those of a FiniteGroup.")

    @property
    def classes(self) -> tuple[tuple[int, ...], ...]:
        """The conjugacy classes, one for each column."""
        return self.group.conjugacy_classes

    @property
    def sizes(self) -> np.ndarray:
        """Number of elements of each class, int32 ``(classes,)``. Read-only."""
        return classes_of(self.group).sizes

    @property
    def values(self) -> np.ndarray:
        """The table, complex128 ``(irreps, classes)``. Read-only."""
        return _table(self.group).values

    @property
    def dims(self) -> tuple[int, ...]:
        """Complex dimension of each irrep; their squares sum to the order of the group."""
        return _table(self.group).dims

    @property
    def types(self) -> tuple[str, ...]:
        r"""Frobenius–Schur type of each row, by the mean of :math:`χ(g^2)`, which is 1, 0 or -1.

        ``"real"`` (real matrices exist), ``"complex"`` (the character is not real) or ``"quaternionic"`` (the character is
        real and no real matrices of that dimension exist).
        """
        return _table(self.group).types

    @property
    def real_rows(self) -> tuple[tuple[int, ...], ...]:
        """The rows that make up each real irrep, in order: one row, or a complex one and its conjugate."""
        return _table(self.group).real_rows

    def roots(self, row: int, column: int) -> np.ndarray:
        r"""Returns how often :math:`e^{2πij/m}` is an eigenvalue, int ``(m,)``, m the order of the elements of the class."""
        table = _table(self.group)
        row = positive_int(row, "row", 0, None, len(table.dims) - 1)
        return table.roots[positive_int(column, "column", 0, None, len(table.roots) - 1)][row]

    def __str__(self) -> str:
        from equijax.groups._printed import printed_table

        return printed_table(self)


@dataclasses.dataclass(frozen=True)
class Classes:
    """The conjugacy classes as arrays.

    Attributes:
      number: class of each element, int32 ``(order,)``.
      sizes: int32 ``(classes,)``.
      first: smallest element of each class, int32 ``(classes,)``.
      powers: for each class, the classes of the powers 0, 1, … of its elements, as many as their order.
    """

    number: np.ndarray
    sizes: np.ndarray
    first: np.ndarray
    powers: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class _Table:
    values: np.ndarray
    roots: tuple[np.ndarray, ...]
    dims: tuple[int, ...]
    types: tuple[str, ...]
    real_rows: tuple[tuple[int, ...], ...]


@bounded
def classes_of(group: "FiniteGroup") -> Classes:
    """Computes the classes once for each group."""
    members = group.conjugacy_classes
    number = np.zeros(group.order, np.int32)
    for k, elements in enumerate(members):
        number[list(elements)] = k
    first = np.array([elements[0] for elements in members], np.int32)
    sizes = np.array([len(elements) for elements in members], np.int32)
    powers = tuple(read_only(number[powers_of(group, g)]) for g in first.tolist())
    return Classes(read_only(number), read_only(sizes), read_only(first), powers)


def powers_of(group: "FiniteGroup", g: int) -> list[int]:
    """Returns ``1, g, g², …`` up to the last one before the identity returns."""
    found = [0]
    while (power := int(group.table[found[-1], g])) != 0:
        found.append(power)
    return found


def turn(numerator: Any, denominator: Any) -> tuple[np.ndarray, np.ndarray]:
    r"""Returns cos and sin of :math:`2πj/m`, symmetric to the last bit and exact at quarter turns and at thirds.

    Equal fractions give equal bits, whatever their denominator.
    """
    m = np.asarray(denominator)
    j = np.asarray(numerator) % m
    mirrored = np.minimum(j, m - j)
    cos = np.cos(2 * np.pi * (mirrored / m))
    sin = np.sin(2 * np.pi * (mirrored / m))
    for exact in (0.0, 0.5, 1.0):
        cos = np.where(np.abs(np.abs(cos) - exact) < 1e-14, np.sign(cos) * exact, cos)
        sin = np.where(np.abs(sin - exact) < 1e-14, exact, sin)
    return cos + 0.0, np.where(j == mirrored, sin, -sin) + 0.0


@bounded
def _table(group: "FiniteGroup") -> _Table:
    classes = classes_of(group)
    entries = len(classes.sizes) * sum(map(len, classes.powers))
    if entries > _MAX_ENTRIES:
        raise ValueError(
            f"{group!r} has {len(classes.sizes)} conjugacy classes; its character table as roots of unity would have "
            f"{entries} entries, and at most {_MAX_ENTRIES} are computed."
        )
    roots = _exact_roots(group, classes)
    keys = np.concatenate([part.max() - part for part in roots], axis=1).astype(">u2")
    dims = roots[0][:, 0]
    order = sorted(range(len(dims)), key=lambda row: (dims[row], keys[row].tobytes()))
    roots = tuple(read_only(part[order]) for part in roots)
    values = read_only(np.stack([_sum_of_roots(part) for part in roots], axis=1))
    squares = np.array([powers[2 % len(powers)] for powers in classes.powers])
    indicator = np.rint(np.real(values[:, squares] @ classes.sizes) / group.order).astype(int)
    types = tuple({1: "real", 0: "complex", -1: "quaternionic"}[int(sign)] for sign in indicator)
    return _Table(values, roots, tuple(int(d) for d in dims[order]), types, _real_rows(values, types))


def _exact_roots(group: "FiniteGroup", classes: Classes) -> list[np.ndarray]:
    """For each class, the multiplicities of the roots of unity, int ``(irreps, order of the class's elements)``."""
    for attempt in range(1, _ATTEMPTS + 1):
        rows = _approximate(group, classes, attempt)
        if rows is None:
            continue
        rounded = [_round(rows, powers) for powers in classes.powers]
        roots = [part for part in rounded if part is not None]
        if len(roots) == len(rounded) and _is_complete(group, classes, roots):
            return roots
    raise ArithmeticError(
        f"no characters of {group!r} were found in {_ATTEMPTS} attempts: its table is no group's, or the eigensolver fails. "
        "FiniteGroup.from_table checks a table."
    )


def _round(rows: np.ndarray, powers: np.ndarray) -> np.ndarray | None:
    r"""Multiplicities of the roots of unity on one class, or None where they are not whole.

    That of :math:`e^{2πij/m}` is :math:`(1/m) \sum_q χ(g^q)\, e^{-2πijq/m}`.
    """
    spectrum = np.fft.fft(rows[:, powers], axis=1) / len(powers)
    found = np.rint(spectrum.real)
    return found.astype(np.int16) if np.abs(spectrum - found).max() < _ROUNDING else None


def _approximate(group: "FiniteGroup", classes: Classes, attempt: int) -> np.ndarray | None:
    r"""Rows of approximate characters, complex ``(irreps, classes)``, or None where two of them could not be told apart.

    The class function w with :math:`w(h^{-1}) = \bar w(h)` acts on class functions by convolution, in the orthonormal
    basis :math:`1_C/\sqrt{|C|}` by a Hermitian matrix whose eigenvectors are the characters.
    """
    number, sizes = classes.number, classes.sizes
    count = len(sizes)
    angles = np.sqrt(2.0) * attempt * np.arange(1, count + 1) ** 2
    w = (1 + np.cos(3 * angles) / 2) * np.exp(1j * angles) / np.sqrt(sizes)
    inverse_class = number[group.inverses[classes.first]]
    w = w + np.conj(w[inverse_class])
    quotients = number[group.table[group.inverses][:, classes.first]]
    matrix = np.zeros((count, count), complex)
    for s in range(count):
        weights = w[number]
        matrix[s] = np.bincount(quotients[:, s], weights.real, count) + 1j * np.bincount(
            quotients[:, s], weights.imag, count
        )
    matrix = matrix * np.sqrt(sizes[:, None] / sizes[None, :])
    levels, vectors = np.linalg.eigh((matrix + matrix.conj().T) / 2)
    if count > 1 and np.diff(levels).min() < 1e-7 * (levels[-1] - levels[0]):
        return None
    at_identity = vectors[0]
    if np.abs(at_identity).min() < _ROUNDING / np.sqrt(group.order):
        return None
    phases = at_identity / np.abs(at_identity)
    return (vectors / phases / np.sqrt(sizes)[:, None]).T * np.sqrt(group.order)


def _is_complete(group: "FiniteGroup", classes: Classes, roots: list[np.ndarray]) -> bool:
    """Tells whether the rounded rows are orthonormal and their squared dimensions sum to the order."""
    values = np.stack([_sum_of_roots(part) for part in roots], axis=1)
    products = (values * classes.sizes) @ values.conj().T / group.order
    whole = int((roots[0][:, 0].astype(int) ** 2).sum()) == group.order
    return whole and all((part >= 0).all() for part in roots) and bool(np.abs(products - np.eye(len(values))).max() < 1e-8)


def _sum_of_roots(multiplicities: np.ndarray) -> np.ndarray:
    """Sums of roots of unity, complex ``(rows,)``; exactly real where the multiplicities are symmetric."""
    m = multiplicities.shape[1]
    j = np.arange(m)
    cos, sin = turn(j, m)
    odd = multiplicities - multiplicities[:, -j % m]
    return multiplicities @ cos + 0.5j * (odd @ sin)


def _real_rows(values: np.ndarray, types: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    found, used = [], set()
    for row, kind in enumerate(types):
        if row in used:
            continue
        pair = (row,)
        if kind == "complex":
            pair = (row, int(np.argmin(np.abs(values - values[row].conj()).max(1))))
        used.update(pair)
        found.append(pair)
    return tuple(found)
