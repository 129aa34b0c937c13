"""Functions on a window that turn as the harmonics do: exactly with the lattice, as nearly as can be with all of space."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import scipy.special

from equijax._arguments import real_number
from equijax._arrays import FrozenArray, read_only
from equijax._cache import bounded
from equijax.groups import PointGroup
from equijax.groups._harmonics import harmonics_in_numpy, matrices_in_numpy
from equijax.groups._motions import isometries
from equijax.reps import MatrixRepresentation, Scalar
from equijax.sharing._kernel_basis import kernel_basis
from equijax.sharing._window import window

_LARGEST_DEGREE = 64
_IMPURE = 1e4
_RADII, _LOWEST = 24, 1 / 32


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The window of a kernel as single samples: exact for what maps the grid to itself, and for nothing else.

    Example:
      >>> import equijax as ej
      >>> ej.sharing.Pixels()
      Pixels()
    """


@dataclasses.dataclass(frozen=True)
class Harmonics:
    r"""The window of a kernel as functions that turn as harmonics, for rotations that do not map the grid to itself.

    For each degree l there are functions :math:`q: \text{window} → R^{2l + 1}` (in the plane :math:`R^2`) with
    :math:`q(hx) = D_l(h)\,q(x)` exactly for the h that map the window to itself. Between the samples a field has values too:
    what a kernel does to it is told by the spectrum :math:`\hat q(w) = \sum_x q(x) e^{iw·x}`. The part of the right shape,
    :math:`f(|w|)\,Y_l(w/|w|)`, turns as it should by every angle, the rest is wrong. With the weight :math:`|w|^{-2}` of
    natural images on :math:`|w| < \text{band}·π`, ``A`` the response of two functions and ``B`` that of their parts of the
    right shape, the functions are the eigenvectors of ``B − μ (A − B)``, the purest first (μ = 10⁴). Kept are those with

    .. math:: \text{impurity} = 1 - \frac{q^⊤ B q}{q^⊤ A q} ≤ \text{tol}

    and with a response of at least 3 % of that of a single sample. The impurity is the squared relative error of
    equivariance of that kernel, so the error of a kernel is known when it is made: ``HarmonicSharing.kernel_error``. Each
    function is scaled by the root of its response to waves below ``smooth`` · π: the space of kernels is the same, random
    ones are smoother.

    Args:
      tol: the largest impurity of a function.
      band: frequencies up to which the error counts, in units of π (half a wave for each sample).
      smooth: frequencies to which random kernels respond, in units of π.

    Raises:
      TypeError: an argument is no number.
      ValueError: an argument is out of range.

    Example: windows of 5×5 samples resolve 13 functions.
      >>> import equijax as ej
      >>> window = ej.sharing.Harmonics()
      >>> [len(window.functions((5, 5), l).scale) for l in range(5)]
      [3, 2, 2, 1, 0]

    References:
      Weiler, Hamprecht and Storath, "Learning Steerable Filters for Rotation Equivariant CNNs", CVPR 2018,
      arXiv:1711.07289, for sampled harmonics and their aliasing; the choice by an eigenproblem is ours.
    """

    tol: float = 2e-3
    band: float = 0.75
    smooth: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "tol", float(real_number(self.tol, "tol", 0.0, 1.0)))
        for name in ("band", "smooth"):
            object.__setattr__(self, name, float(real_number(getattr(self, name), name, _LOWEST * 2, 1.0)))

    def functions(self, kernel_size: tuple[int, ...], l: int, basis: np.ndarray | None = None) -> "Functions":
        """Returns the functions of degree l on a window.

        Args:
          kernel_size: sizes of the window.
          l: degree of the harmonic.
          basis: lattice vectors as columns; None is the square or cubic lattice.
        """
        frozen = None if basis is None else FrozenArray(basis, np.float64)
        return _functions(self, frozen, tuple(kernel_size), l)

    def all_functions(self, kernel_size: tuple[int, ...], basis: np.ndarray | None = None) -> tuple["Functions", ...]:
        """Returns the functions of each degree, up to the last that has some."""
        found, radius = [], math.dist((0.0,) * len(kernel_size), kernel_size)
        for l in range(min(_LARGEST_DEGREE, 3 + math.ceil(np.pi * radius))):
            made = self.functions(kernel_size, l, basis)
            if not len(made.scale) and l > max(kernel_size):
                break
            found.append(made)
        while found and not len(found[-1].scale):
            found.pop()
        return tuple(found)


class Functions(NamedTuple):
    """The functions of one degree on a window.

    Attributes:
      values: with their scale, float64 ``(count, components, offsets)``; the offsets in the order of the window.
      scale: factor of each, by which functions of unit norm were multiplied, float64 ``(count,)``.
      impurity: of each, at the band of the window, float64 ``(count,)``.
    """

    values: np.ndarray
    scale: np.ndarray
    impurity: np.ndarray


class Response(NamedTuple):
    """Responses of pairs of functions, float64 ``(count, count)``, relative to that of a single sample.

    Attributes:
      whole: the whole response.
      pure: that of the parts of the right shape.
    """

    whole: np.ndarray
    pure: np.ndarray


@bounded
def lattice_window(basis: FrozenArray | None, kernel_size: tuple[int, ...]) -> tuple[PointGroup, np.ndarray]:
    """Returns the isometries of the lattice that map a window to itself, and the Cartesian offsets, ``(offsets, d)``."""
    columns = np.eye(len(kernel_size)) if basis is None else basis.array
    sizes = np.array(kernel_size)
    matrices = [m for m in isometries(columns) if not ((m != 0) & (sizes[:, None] != sizes[None])).any()]
    group = PointGroup.from_matrices(matrices, basis=None if basis is None else columns)
    places, _ = window(group, kernel_size)
    offsets = np.stack(np.unravel_index(places, kernel_size), -1) - (sizes - 1) / 2
    return group, read_only(offsets @ columns.T)


@bounded
def _functions(self: Harmonics, basis: FrozenArray | None, kernel_size: tuple[int, ...], l: int) -> Functions:
    group, offsets = lattice_window(basis, kernel_size)
    cartesian = group.matrices if basis is None else basis.array @ group.matrices @ np.linalg.inv(basis.array)
    harmonic = MatrixRepresentation(group, matrices_in_numpy(l, cartesian))
    exact = kernel_basis(group, kernel_size, Scalar(group), harmonic)[..., 0]  # (count, components, offsets)
    if not len(exact):
        return Functions(exact, np.zeros(0), np.zeros(0))
    whole, pure = response(exact, offsets, l, self.band, 2.0)
    _, vectors = np.linalg.eigh(pure - _IMPURE * (whole - pure))
    vectors = vectors[:, ::-1]
    strength = np.einsum("pi,pq,qi->i", vectors, whole, vectors)
    impurity = 1 - np.einsum("pi,pq,qi->i", vectors, pure, vectors) / np.maximum(strength, 1e-300)
    kept = (impurity <= self.tol) & (strength >= 0.03)
    chosen = np.einsum("pi,pcx->icx", vectors[:, kept], exact)
    flat = chosen.reshape(len(chosen), math.prod(chosen.shape[1:]))
    pivots = flat[np.arange(len(flat)), np.argmax(np.round(np.abs(flat), 6), axis=1)]
    chosen = chosen * np.where(pivots < 0, -1.0, 1.0)[:, None, None]
    scale = np.sqrt(np.diagonal(response(chosen, offsets, l, self.smooth, 0.0).whole))
    return Functions(read_only(chosen * scale[:, None, None]), read_only(scale), read_only(impurity[kept]))


def response(functions: np.ndarray, offsets: np.ndarray, l: int, band: float, power: float) -> Response:
    r"""Returns the responses of functions to waves of every direction with ``|w| < band · π``.

    .. math:: A_{pq} = \int w(ρ)\, ⟨\hat q_p, \hat q_q⟩ \,dρ
              = \sum_{c, x, y} q_{p,c}(x)\, q_{q,c}(y) \int w(ρ)\, J_0(ρ|x - y|) \,dρ, \qquad
              B_{pq} = \frac1d \int w(ρ)\, f_p f_q \,dρ, \quad f_q(ρ) = \sum_{c, x} q_{q,c}(x)\, Y_c(x/|x|)\, J_l(ρ|x|)

    with :math:`w(ρ) = ρ^{n - 1 - \text{power}}` in n dimensions, divided by the response of a single sample. The means over
    directions of a wave are Bessel functions :math:`J` of the plane, spherical ones of space.

    Args:
      functions: float64 ``(count, components, offsets)``, even or odd as the degree is.
      offsets: Cartesian, float64 ``(offsets, n)``.
      l: degree of the harmonic.
      band: largest frequency in units of π.
      power: by which the power of the inputs falls with the frequency; 0 is white.
    """
    n, components = offsets.shape[1], functions.shape[1]
    nodes, weights = np.polynomial.legendre.leggauss(_RADII)
    low = _LOWEST if power else 0.0
    radii = np.pi * (low + (band - low) * (nodes + 1) / 2)
    weights = weights * radii ** (n - 1 - power)
    weights /= weights.sum()
    distances, inverse = np.unique(np.round(np.linalg.norm(offsets[:, None] - offsets, axis=-1), 9), return_inverse=True)
    between = (weights @ _bessel(n, 0, radii[:, None] * distances))[inverse.reshape(len(offsets), len(offsets))]
    whole = np.einsum("pcx,xy,qcy->pq", functions, between, functions, optimize=True)
    length = np.linalg.norm(offsets, axis=1)
    angular = harmonics_in_numpy(l, offsets / np.where(length, length, 1.0)[:, None]) if l else np.ones((len(offsets), 1))
    profile = np.einsum("pcx,xc,rx->rp", functions, angular, _bessel(n, l, radii[:, None] * length), optimize=True)
    return Response(whole, np.einsum("r,rp,rq->pq", weights, profile, profile, optimize=True) / components)


def _bessel(n: int, l: int, x: np.ndarray) -> np.ndarray:
    return scipy.special.jv(l, x) if n == 2 else scipy.special.spherical_jn(l, x)
