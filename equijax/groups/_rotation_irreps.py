"""The irreps of the rotations and reflections of the plane and of space."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from equijax._arguments import shown
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.groups._elements import reals
from equijax.groups._harmonics import complex_power, spherical_harmonics, spread_points
from equijax.groups._irrep_family import IrrepFamily, Label, require_label

_LARGEST_DEGREE = 1024


class _Rotations(IrrepFamily):
    """What the four families share: labels (l, parity), and weights."""

    reflections: bool

    def _parities(self, l: int) -> tuple[int, ...]:
        """The parities of degree l, the usual one first; empty where there is no choice."""
        raise NotImplementedError

    def label(self, index: Any, parity: Any = None) -> Label:
        """Returns the checked label (l, parity)."""
        l = positive_int(index, "index", 0, None, _LARGEST_DEGREE)
        choice = self._parities(l)
        if parity is None:
            return Label(l, choice[0] if choice else None)
        if np.ndim(parity) or isinstance(parity, (bool, Tracer)) or parity not in choice:
            wanted = "1 or -1" if choice else "None: this group has one irrep of each such degree"
            raise ValueError(f"`parity` is {shown(parity)}; for l = {l} it must be {wanted}.")
        return Label(l, int(parity))

    @property
    def labels(self) -> tuple[Label, ...]:
        """Infinitely many.

        Raises:
          ValueError: always.
        """
        raise ValueError(
            "A group of rotations has infinitely many irreps, one for each degree l (and parity). Name them, "
            "ej.reps.Irrep(group, l), or take those up to a degree, ej.reps.band_limited(group, l)."
        )

    def up_to(self, degree: Any) -> tuple[Label, ...]:
        """Returns the labels of degrees 0 … ``degree``, the usual parity of each first."""
        return self._labels_of(range(positive_int(degree, "degree", 0, None, _LARGEST_DEGREE) + 1))

    def quadrature(self, degree: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns elements and weights for products of entries up to a degree."""
        return _quadrature(self, positive_int(degree, "degree", 0, None, _LARGEST_DEGREE))

    def _proper_quadrature(self, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """The rotations among them."""
        raise NotImplementedError

    def _labels_of(self, degrees: Iterable[int]) -> tuple[Label, ...]:
        return tuple(Label(l, parity) for l in degrees for parity in self._parities(l) or (None,))


@dataclasses.dataclass(frozen=True)
class PlaneIrreps(_Rotations):
    r"""Irreps of SO(2) and O(2): l = 0, 1, 2, … turns by l times the angle; l = 0 has two parities under reflections.

    .. math:: ρ_l(g) = \begin{pmatrix} a & -b \det g \\ b & a \det g \end{pmatrix}, \qquad a + ib = (g_{11} + i g_{21})^l

    so that l = 1 is the matrix itself. A sign, l = 0 with parity -1, is the determinant.
    """

    reflections: bool

    def _parities(self, l: int) -> tuple[int, ...]:
        return (1, -1) if self.reflections and l == 0 else ()

    def dim(self, label: Label) -> int:
        """Returns 1 for l = 0, else 2."""
        return 2 if label.index else 1

    def type(self, label: Label) -> str:
        """Returns ``"complex"`` for rotations alone with l ≥ 1, else ``"real"``."""
        return "complex" if label.index and not self.reflections else "real"

    def matrix(self, label: Label, g: Any) -> jax.Array:
        """Returns the matrices of ``g``, float ``(…, 2, 2)`` or ``(…, 1, 1)``."""
        require_label(label)
        g = reals(g, "g", (2, 2), "matrices")
        if label.index == 1:
            return g
        if label.index == 0:
            return jnp.linalg.det(g)[..., None, None] if label.parity == -1 else jnp.ones_like(g[..., :1, :1])
        a, b = complex_power(g[..., 0, 0], g[..., 1, 0], label.index)
        sign = jnp.linalg.det(g) if self.reflections else jnp.ones_like(a)
        return jnp.stack([jnp.stack([a, -sign * b], -1), jnp.stack([b, sign * a], -1)], -2)

    def _proper_quadrature(self, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """Equal angles, one more than a product has frequencies."""
        count = 2 * degree + 1
        return _turns(2, 0, 1, count), np.full(count, 1.0 / count)

    def candidates(self, rep: Any) -> tuple[Label, ...]:
        """Returns the labels of the frequencies that the derivative of the rotation has."""
        return self._labels_of(sorted(_weights(rep.algebra[0])))


@dataclasses.dataclass(frozen=True)
class SpaceIrreps(_Rotations):
    r"""Irreps of SO(3) and O(3): degree l = 0, 1, 2, … of dimension 2l + 1; under reflections each with parity ±1.

    For fixed points :math:`x_i` and the harmonics :math:`Y_l` of :func:`spherical_harmonics`, rows :math:`Y_l(x_i)^⊤`,

    .. math:: D_l(g) = \bigl(Y_l(x)^{+}\, Y_l(g x)\bigr)^⊤

    which holds since :math:`Y_l(gx) = D_l(g) Y_l(x)`. Here -1 acts by (-1)^l; for the other parity the matrix is multiplied
    by the determinant. So l = 1 with parity -1 is the matrix itself, in the order x, y, z.
    """

    reflections: bool

    def _parities(self, l: int) -> tuple[int, ...]:
        return ((-1) ** l, -((-1) ** l)) if self.reflections else ()

    def dim(self, label: Label) -> int:
        """Returns 2l + 1."""
        return 2 * label.index + 1

    def type(self, label: Label) -> str:
        """Returns ``"real"``."""
        del label
        return "real"

    def matrix(self, label: Label, g: Any) -> jax.Array:
        """Returns the matrices of ``g``, float ``(…, 2l + 1, 2l + 1)``."""
        require_label(label)
        g, l = reals(g, "g", (3, 3), "matrices"), label.index
        if l == 0:
            matrix = jnp.ones_like(g[..., :1, :1])
        elif l == 1:
            matrix = g
        else:
            points, inverse = (jnp.asarray(table, float) for table in spread_points(l))
            moved = spherical_harmonics(l, jnp.einsum("...ij,nj->...ni", g, points, precision="highest"))
            matrix = jnp.einsum("...ni,jn->...ij", moved, inverse, precision="highest")
        flipped = self.reflections and label.parity != (-1) ** l
        return matrix * jnp.linalg.det(g)[..., None, None] if flipped else matrix

    def _proper_quadrature(self, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """Turns about y, x and y: equal angles for the outer ones, Gauss-Legendre nodes for the inner one."""
        outer = _turns(3, 2, 0, 2 * degree + 1)
        nodes, weights = np.polynomial.legendre.leggauss(degree + 1)
        inner = _turn(3, 1, 2, np.arccos(nodes))
        elements = np.einsum("aij,bjk,ckl->abcil", outer, inner, outer).reshape(-1, 3, 3)
        share = np.broadcast_to(weights[None, :, None] / 2, (len(outer), len(nodes), len(outer))) / len(outer) ** 2
        return elements, share.reshape(-1)

    def candidates(self, rep: Any) -> tuple[Label, ...]:
        """Returns the labels of the degrees that occur: the weight m occurs once for each degree l ≥ m."""
        weights = _weights(rep.algebra[2])
        return self._labels_of(l for l in sorted(weights) if weights[l] > weights.get(l + 1, 0))


def _turns(n: int, i: int, j: int, count: int) -> np.ndarray:
    """Rotations from axis i to axis j by all multiples of a full turn over ``count``."""
    return _turn(n, i, j, 2 * np.pi * np.arange(count) / count)


def _turn(n: int, i: int, j: int, angles: np.ndarray) -> np.ndarray:
    """Rotations from axis i to axis j."""
    result = np.tile(np.eye(n), (len(angles), 1, 1))
    result[:, i, i] = result[:, j, j] = np.cos(angles)
    result[:, j, i], result[:, i, j] = np.sin(angles), -np.sin(angles)
    return result


@bounded
def _quadrature(family: _Rotations, degree: int) -> tuple[np.ndarray, np.ndarray]:
    elements, weights = family._proper_quadrature(degree)
    if family.reflections:
        mirror = np.diag([1.0] * (elements.shape[-1] - 1) + [-1.0])
        elements, weights = np.concatenate([elements, mirror @ elements]), np.concatenate([weights, weights]) / 2
    return read_only(elements), read_only(weights)


def _weights(derivative: np.ndarray) -> dict[int, int]:
    """How often each frequency m ≥ 0 occurs as an eigenvalue im of the derivative of a rotation about an axis."""
    found = np.linalg.eigvals(derivative)
    rounded = np.rint(found.imag).astype(int)
    error = np.abs(found - 1j * rounded).max()
    if error > 1e-6:
        raise ValueError(
            f"`rep` turns by frequencies that are not whole numbers (off by {error:.1e}), so a full turn does not come back "
            "to the identity: it is no representation of a group of rotations."
        )
    return {int(m): int((rounded == m).sum()) for m in np.unique(rounded[rounded >= 0])}
