"""The weight sharing that any group of rotations forces on a kernel whose window is spanned by harmonics."""

import dataclasses
import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from equijax._arguments import as_shape, real_number, shown
from equijax._arrays import digest, read_only
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.actions._field import require_fibre
from equijax.groups import FiniteGroup, Group, Motions
from equijax.groups._harmonics import matrices_in_numpy
from equijax.reps import Representation
from equijax.reps._solver import solve
from equijax.sharing._basis_sharing import BasisSharing, unreached_irreps
from equijax.sharing._harmonics import Harmonics, lattice_window, response
from equijax.sharing._inner_product import invariant_form_of
from equijax.sharing._parts_sharing import PartsSharing
from equijax.sharing._sharing import Sharing, require_axes, require_rows
from equijax.sharing._variance import normalised_parts
from equijax.sharing._window import require_window
from equijax.sharing._windowed import WindowSharing


@dataclasses.dataclass(frozen=True)
class HarmonicSharing(WindowSharing):
    r"""The kernels of a convolution that commutes with rotations by angles which the grid does not have.

    .. math:: κ(x) = \sum_{l, n, k} \sum_c q_{l,n,c}(x)\, B_{l,k,c}\; θ_{l,n,k}, \qquad
              κ(gx) = ρ_{out}(g)\, κ(x)\, ρ_{in}(g)^{-1}

    The functions :math:`q_{l,n}` of a window (:class:`Harmonics`) turn as the harmonics of degree l do, and the
    :math:`B_{l,k}` are the maps from the input fibre to (harmonic ⊗ output fibre) that commute with the group. For what maps
    the lattice to itself the law holds exactly, for the rest up to the impurity of the functions. Kernels are written out in
    two steps, from weights to harmonic coefficients and from these to samples.

    Args:
      group: :class:`equijax.Motions`, rotations and lattice.
      kernel_size: sizes of the window, one for each grid axis.
      in_fibre: representation of ``group.point_group`` on the input.
      out_fibre: representation of it on the output.
      window: which functions of the window.

    Raises:
      TypeError: an argument is of the wrong kind.
      ValueError: a fibre belongs to another group, the grid has neither two nor three axes, or the lattice part does not map
        the window to itself.

    Example: from scalars to vectors there is one radial profile along the radius, and one across.
      >>> import equijax as ej
      >>> group = ej.Motions(ej.SO(2))
      >>> scalar, vector = ej.reps.Scalar(ej.SO(2)), ej.reps.Irrep(ej.SO(2), 1)
      >>> ej.sharing.HarmonicSharing(group, (3, 3), scalar, vector).count
      2

    References:
      Weiler et al., "3D Steerable CNNs", NeurIPS 2018, arXiv:1807.02547, section 4; Lang and Weiler, "A Wigner-Eckart
      Theorem for Group Equivariant Convolution Kernels", ICLR 2021, arXiv:2010.10952, theorem 4.1.
    """

    group: Motions
    kernel_size: tuple[int, ...]
    in_fibre: Representation
    out_fibre: Representation
    window: Harmonics = Harmonics()

    def __post_init__(self) -> None:
        if not isinstance(self.group, Motions):
            raise TypeError(f"`group` is {shown(self.group)}; it must be Motions(H), rotations and the lattice of a grid.")
        if not isinstance(self.window, Harmonics):
            raise TypeError(f"`window` is {shown(self.window)}; it must be Harmonics(…).")
        if self.group.ndim not in (2, 3):
            raise ValueError(
                f"`group` is {self.group!r} with {self.group.ndim} axes; harmonics are those of the plane and of space. On "
                "a line every rotation maps the grid to itself: use SpaceGroup(Reflection(1))."
            )
        require_fibre(self.in_fibre, self.group.point_group, "in_fibre")
        require_fibre(self.out_fibre, self.group.point_group, "out_fibre")
        sizes = tuple(positive_int(n, "kernel_size", 1, self.kernel_size) for n in as_shape(self.kernel_size, "kernel_size"))
        object.__setattr__(self, "kernel_size", sizes)
        require_window(self.lattice_group, self.kernel_size)

    @property
    def lattice_group(self) -> FiniteGroup:
        """The rotations and reflections that map the window to itself."""
        return self.group.lattice_part.point_group

    @property
    def rule(self) -> Sharing:
        """The basis of the kernels, as maps to harmonics and functions of the window."""
        return _rule(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one kernel, ``(|out fibre|, offsets, |in fibre|)``."""
        return (self.out_fibre.dim, self.offsets, self.in_fibre.dim)

    @property
    def unreached(self) -> tuple[Representation, ...]:
        """Irreps of the output fibre that no kernel reaches; empty where the irreps are not known."""
        return _unreached(self)

    def kernel_error(self, band: float = 0.5, dilation: int = 1) -> float:
        r"""Returns the relative error of equivariance of a layer with random weights.

        .. math:: e^2 = 2\, \frac{\sum_{l,n} K_l (A_{nn} - B_{nn})}{\sum_{l,n} K_l A_{nn}}

        the mean over all rotations of ``|layer(g·x) − g·layer(x)|² / |layer(x)|²``, for inputs whose spectrum is flat below
        ``band``; A and B as in :class:`Harmonics`, :math:`K_l` the number of maps weighted by their squares. It is an upper
        estimate for a finite group, whose elements do not see all of the impurity.

        Args:
          band: largest frequency of the inputs, in units of π.
          dilation: step between the samples of the window.
        """
        band = float(real_number(band, "band", 0.01, 1.0))
        dilation = positive_int(dilation, "dilation")
        _, offsets = lattice_window(self.group._basis, self.kernel_size)
        rule, wrong, total = _rule(self), 0.0, 0.0
        for degree in rule.degrees:
            found = response(degree.values, dilation * offsets, degree.l, band, 0.0)
            wrong += degree.power * float(np.trace(found.whole - found.pure))
            total += degree.power * float(np.trace(found.whole))
        return math.sqrt(2 * max(wrong, 0.0) / total) if total else 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class _Degree:
    """The kernels of one degree: maps to harmonics, and the functions of the window."""

    l: int
    values: np.ndarray
    maps: PartsSharing

    @property
    def power(self) -> float:
        """The sum of squares of all entries of the maps."""
        copies_out, copies_in = self.maps._copies
        return float(
            sum(
                m * n * (maps**2).sum()
                for m, row in zip(copies_out, self.maps._bases, strict=True)
                for n, maps in zip(copies_in, row, strict=True)
            )
        )


class _HarmonicRule(BasisSharing):
    """The kernels degree by degree: rows of the parameter are (degree, map to the harmonic, function of the window)."""

    def __init__(self, degrees: Sequence[_Degree], shape: tuple[int, ...], out_invariants: np.ndarray):
        self.degrees = tuple(degrees)
        self._shape, self._invariants = shape, read_only(np.array(out_invariants))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def count(self) -> int:
        return sum(degree.maps.count * len(degree.values) for degree in self.degrees)

    @property
    def out_invariants(self) -> np.ndarray:
        return self._invariants

    @property
    def basis(self) -> np.ndarray:
        """All kernels, float64 ``(count, *shape)``; made when asked for."""
        with jax.enable_x64(True), jax.ensure_compile_time_eval():
            return np.moveaxis(np.asarray(self.weights(jnp.eye(self.count))), -1, 0)

    @property
    def reached(self) -> int:
        ranks = [degree.maps.basis for degree in self.degrees]
        rows = [np.moveaxis(maps, 1, 0).reshape(self.shape[0], maps.size // self.shape[0]) for maps in ranks]
        return int(np.linalg.matrix_rank(np.concatenate([np.zeros((self.shape[0], 1)), *rows], axis=1)))

    def weights(self, theta: jax.Array, axes: tuple[int, ...] | None = None) -> jax.Array:
        """Writes the weights out: to harmonic coefficients, then to samples, in 32 bits at least."""
        theta = require_rows(theta, self.count)
        axes = (0, 1, 2) if axes is None else require_axes(axes, 3)
        real = jnp.issubdtype(theta.dtype, jnp.inexact)
        wide = theta.dtype if real and jnp.finfo(theta.dtype).bits >= 32 else jnp.float32
        flat = theta.astype(wide).reshape(self.count, math.prod(theta.shape[1:]))
        out, offsets, into = self.shape
        coefficients, functions, first = [jnp.zeros((0, out, into, flat.shape[1]), wide)], [np.zeros((0, offsets))], 0
        for degree in self.degrees:
            count, (n, components, _) = degree.maps.count, degree.values.shape
            rows = flat[first : first + count * n].reshape(count, n * flat.shape[1])
            first += count * n
            made = degree.maps.weights(rows).reshape(out, components, into, n, flat.shape[1])
            coefficients.append(jnp.transpose(made, (3, 1, 0, 2, 4)).reshape(n * components, out, into, flat.shape[1]))
            functions.append(degree.values.reshape(n * components, offsets))
        samples = jnp.asarray(np.concatenate(functions).astype(wide))
        full = jnp.einsum("sx,soif->oxif", samples, jnp.concatenate(coefficients), precision="highest")
        full = jnp.transpose(full, (*axes, 3))
        full = full.reshape(*full.shape[:3], *theta.shape[1:])
        return full.astype(theta.dtype) if real else full

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _HarmonicRule) and self.__reduce__()[1] == other.__reduce__()[1]

    def __hash__(self) -> int:
        return hash(("HarmonicRule", self._shape, *((degree.l, digest(degree.values)) for degree in self.degrees)))

    def __reduce__(self) -> tuple:
        return (_HarmonicRule, (self.degrees, self._shape, self._invariants))

    def __repr__(self) -> str:
        return f"HarmonicRule({self.count} maps of shape {self.shape})"


@bounded
def _rule(sharing: HarmonicSharing) -> _HarmonicRule:
    basis = None if sharing.group._basis is None else sharing.group.basis
    functions = sharing.window.all_functions(sharing.kernel_size, basis)
    into, out = (
        [(part, len(list(run))) for part, run in groupby(fibre.parts)] for fibre in (sharing.in_fibre, sharing.out_fibre)
    )
    in_copies, out_copies = [n for _, n in into], [m for _, m in out]
    maps = [[[harmonic_maps(l, a, b) for a, _ in into] for b, _ in out] for l in range(len(functions))]
    scaled = _normalised(maps, functions, into, out)
    degrees = [
        _Degree(l, found.values, PartsSharing(scaled[l], out_copies, in_copies, sharing.out_fibre.invariants))
        for l, found in enumerate(functions)
        if len(found.scale) and any(len(block) for row in maps[l] for block in row)
    ]
    shape = (sharing.out_fibre.dim, sharing.offsets, sharing.in_fibre.dim)
    return _HarmonicRule(degrees, shape, sharing.out_fibre.invariants)


def _normalised(
    maps: list[list[list[np.ndarray]]], functions: Sequence[Any], into: Sequence[Any], out: Sequence[Any]
) -> list[list[list[np.ndarray]]]:
    """The maps of each degree, scaled so that outputs have variance 1 when each weight is drawn for the number of weights.

    A function enters by its sum of squares, spread evenly over its components: so the scale commutes with all rotations.
    """
    strength = [float((f.values**2).sum()) / max(f.values.shape[1], 1) for f in functions]
    in_copies, out_copies = [n for _, n in into], [m for _, m in out]
    copies = [(p, q, m * n) for p, m in enumerate(out_copies) for q, n in enumerate(in_copies)]
    total = sum(k * len(maps[l][p][q]) * len(f.scale) for l, f in enumerate(functions) for p, q, k in copies)
    drawn = sum(k * len(maps[l][p][q]) for l in range(len(functions)) for p, q, k in copies if strength[l])
    if not total:
        return maps
    factors = [math.sqrt(s * drawn / total) for s in strength]
    used = [l for l, s in enumerate(strength) if s]
    wide = max(functions[l].values.shape[1] for l in used)
    padded = lambda block: np.pad(block, ((0, 0), (0, 0), (0, wide - block.shape[2]), (0, 0)))  # noqa: E731
    joined = [
        [np.concatenate([factors[l] * padded(maps[l][p][q]) for l in used]) for q in range(len(into))]
        for p in range(len(out))
    ]
    in_forms, out_forms = ([invariant_form_of(part) for part, _ in side] for side in (into, out))
    scaled = normalised_parts(joined, out_copies, in_copies, in_forms, out_forms)
    result = [[list(row) for row in of_degree] for of_degree in maps]
    for p in range(len(out)):
        for q in range(len(into)):
            start = 0
            for l in used:
                block = maps[l][p][q]
                result[l][p][q] = scaled[p][q][start : start + len(block), :, : block.shape[2]] / factors[l]
                start += len(block)
    return result


@bounded
def harmonic_maps(l: int, in_part: Representation, out_part: Representation) -> np.ndarray:
    r"""Returns a basis of the maps B with :math:`(D_l(g) ⊗ ρ_{out}(g)) B = B ρ_{in}(g)` for every g of the group.

    Returns:
      float64 ``(rank, out, components, in)``, the same on every machine. Read-only.
    """
    generators, algebra = _harmonic(in_part.group, l)
    components = len(generators[0]) if generators else len(algebra[0])
    out_generators = [np.kron(a, b) for a, b in zip(generators, out_part.generators, strict=True)]
    one, here = np.eye(components), np.eye(out_part.dim)
    out_algebra = [np.kron(a, here) + np.kron(one, b) for a, b in zip(algebra, out_part.algebra, strict=True)]
    found = solve(
        in_part.generators,
        out_generators,
        in_part.algebra,
        out_algebra,
        in_dim=in_part.dim,
        out_dim=components * out_part.dim,
    )
    return read_only(np.moveaxis(found.reshape(len(found), components, out_part.dim, in_part.dim), 1, 2))


@bounded
def _harmonic(group: Group, l: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """How the generators of a group of orthogonal matrices, and its algebra, move the harmonics of degree l."""
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        elements = [np.asarray(group.matrix(g), np.float64) for g in group.discrete_generators]
    return [matrices_in_numpy(l, m) for m in elements], [_derivative(l, np.asarray(X)) for X in group.algebra]


def _derivative(l: int, X: np.ndarray) -> np.ndarray:
    """The derivative of ``D_l(exp(tX))`` at t = 0: turned by the angle t it is a trigonometric polynomial of degree l."""
    speed = np.linalg.norm(X) / math.sqrt(2)
    angles = 2 * np.pi * np.arange(2 * l + 1) / (2 * l + 1)
    turned = matrices_in_numpy(l, np.stack([scipy.linalg.expm(a * X / speed) for a in angles]))
    m = np.arange(1, l + 1)
    weights = 2 * (m[:, None] * np.sin(m[:, None] * angles)).sum(0) / (2 * l + 1)
    return speed * np.tensordot(weights, turned, 1)


@bounded
def _unreached(sharing: HarmonicSharing) -> tuple[Representation, ...]:
    reaches = lambda irrep: dataclasses.replace(sharing, out_fibre=irrep).count > 0  # noqa: E731
    return unreached_irreps(_rule(sharing), sharing.out_fibre, reaches)
