"""The weight sharing that a point group forces on a convolution kernel."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import as_shape
from equijax._arrays import read_only
from equijax._cache import bounded
from equijax._numbers import positive_int
from equijax.actions._field import require_fibre
from equijax.groups import FiniteGroup
from equijax.groups._group import require_is_group
from equijax.reps import Representation
from equijax.sharing._basis_sharing import BasisSharing, unreached_irreps
from equijax.sharing._kernel_basis import kernel_basis
from equijax.sharing._orbit_sharing import OrbitSharing
from equijax.sharing._orbits import by_first_appearance, orbits
from equijax.sharing._parts_sharing import parts_sharing
from equijax.sharing._sharing import Draws, Sharing
from equijax.sharing._window import require_window, window
from equijax.sharing._windowed import WindowSharing

_LARGEST_TABLE = 1 << 20


@dataclasses.dataclass(frozen=True)
class KernelSharing(WindowSharing):
    r"""The kernels of a convolution that commutes with a point group.

    A convolution ``out(x, b) = Σ κ[δ, a, b] f(x + δ, a)`` commutes with the point group H if and only if

    .. math:: κ(hδ) = ρ_{out}(h)\, κ(δ)\, ρ_{in}(h)^{-1} \qquad \text{for all } h ∈ H,

    that is, κ is an intertwiner from the input fibre to the functions on the window with values in the output fibre.
    Where both fibres permute, κ[hδ, ha, hb] = κ[δ, a, b]: κ is constant on the orbits of H on triples (output fibre index
    b, offset δ, input fibre index a), numbered by first appearance in this order, C order. Other fibres have a basis of
    kernels, one orbit of offsets after another. Each orbit or basis kernel holds one ``(in_features, out_features)`` matrix.

    Args:
      point_group: H, or any finite group with ``kernel_size=()``.
      kernel_size: sizes of the window, one for each grid axis.
      in_fibre: representation of H on the input.
      out_fibre: representation of H on the output.

    Raises:
      TypeError: a fibre is no representation.
      ValueError: a fibre belongs to another group, or H does not map the window to itself.

    Example: an isotropic 3×3 kernel has three weights: centre, edge, corner.
      >>> import equijax as ej
      >>> group = ej.Dihedral(4)
      >>> scalar, regular = ej.reps.Scalar(group), ej.reps.Regular(group)
      >>> ej.sharing.KernelSharing(group, (3, 3), scalar, scalar).count
      3
      >>> ej.sharing.KernelSharing(group, (3, 3), regular, regular).count
      72
    """

    point_group: FiniteGroup
    kernel_size: tuple[int, ...]
    in_fibre: Representation
    out_fibre: Representation

    def __post_init__(self) -> None:
        require_is_group(self.point_group, "point_group")
        require_fibre(self.in_fibre, self.point_group, "in_fibre")
        require_fibre(self.out_fibre, self.point_group, "out_fibre")
        sizes = tuple(positive_int(n, "kernel_size", 1, self.kernel_size) for n in as_shape(self.kernel_size, "kernel_size"))
        object.__setattr__(self, "kernel_size", sizes)
        require_window(self.point_group, self.kernel_size)

    @property
    def permutes(self) -> bool:
        """True where both fibres are permuted, so that weights are shared along orbits."""
        return self.in_fibre.is_permutation and self.out_fibre.is_permutation

    @property
    def rule(self) -> Sharing:
        """Orbits where both fibres are permuted, else a basis."""
        return _orbit_rule(self) if self.permutes else _basis_rule(self)

    @property
    def unreached(self) -> tuple[Representation, ...]:
        """Irreps of the output fibre that no kernel reaches; empty where fibres permute or the irreps are not known."""
        return () if self.permutes else _unreached(self)

    @property
    def is_free(self) -> bool:
        """True where no two weights of the box are shared and fibres are scalar: an ordinary convolution."""
        return self.point_group.order == 1 and not self.in_fibre.shape and not self.out_fibre.shape

    @property
    def lattice_group(self) -> FiniteGroup:
        """The point group."""
        return self.point_group

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one kernel, ``(|out fibre|, offsets, |in fibre|)``."""
        return (self.out_fibre.dim, self.offsets, self.in_fibre.dim)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Leading axes of the parameter, ``kernel_size`` for an ordinary convolution and else ``(count,)``."""
        return self.kernel_size if self.is_free else (self.count,)

    @property
    def init(self) -> Draws:
        """How the parameter is drawn: the whole window once for each orbit of the output fibre, or all basis weights."""
        return Draws(self.kernel_size, (None,)) if self.is_free else self.rule.init

    @property
    def representatives(self) -> tuple[np.ndarray, ...]:
        """For each orbit of the output fibre the flat (offset, input fibre) index at which its orbits first appear."""
        return _orbit_rule(self).representatives

    @property
    def table(self) -> np.ndarray:
        """Orbit of each triple, int32 ``(|out fibre|, offsets, |in fibre|)``. Read-only.

        Raises:
          ValueError: a fibre is not permuted.
        """
        return _orbit_rule(self).table

    def _index(self) -> jax.Array:
        """Orbit of each triple, int32 ``(offsets, |in fibre|, |out fibre|)``; put together on device where it is large."""
        return _orbit_rule(self)._index((1, 2, 0))


class _FactoredOrbits(OrbitSharing):
    """Orbits of triples from a table in factored form: ``base[orbit[b], offset_map[b, δ], fibre_map[b, a]]``.

    Args:
      factors: the factored table.
    """

    def __init__(self, factors: "_Factors"):
        self._factors = factors
        self._ordered = {}

    @property
    def table(self) -> np.ndarray:
        """Orbit of each entry, int32 ``shape``. Read-only."""
        return self._whole

    @functools.cached_property
    def _whole(self) -> np.ndarray:
        f = self._factors
        return read_only(f.base[f.orbit[:, None, None], f.offset_map[:, :, None], f.fibre_map[:, None, :]])

    @property
    def out_orbits(self) -> np.ndarray:
        """Orbit of each index of the output fibre, int32. Read-only."""
        return self._factors.orbit

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one map, ``(|out fibre|, offsets, |in fibre|)``."""
        return (*self._factors.offset_map.shape, self._factors.fibre_map.shape[1])

    @property
    def count(self) -> int:
        """Number of orbits."""
        return self._factors.count

    @property
    def representatives(self) -> tuple[np.ndarray, ...]:
        """For each orbit of the output fibre the flat (offset, input fibre) index at which its orbits first appear."""
        return self._factors.representatives

    def _index(self, axes: tuple[int, ...] | None) -> jax.Array:
        """The table as a constant of a compiled function; put together on device where it is large."""
        if math.prod(self.shape) * 4 <= _LARGEST_TABLE:
            return super()._index(axes)
        f, order = self._factors, axes or (0, 1, 2)
        parts = (
            jnp.asarray(f.orbit)[:, None, None],
            jnp.asarray(f.offset_map)[:, :, None],
            jnp.asarray(f.fibre_map)[:, None, :],
        )
        shape = tuple(self.shape[axis] for axis in order)
        return jnp.asarray(f.base)[tuple(jnp.broadcast_to(jnp.transpose(part, order), shape) for part in parts)]


@dataclasses.dataclass(frozen=True)
class _Factors:
    """The orbit table in factored form: ``table[b, δ, a] = base[orbit[b], offset_map[b, δ], fibre_map[b, a]]``."""

    orbit: np.ndarray
    offset_map: np.ndarray
    fibre_map: np.ndarray
    base: np.ndarray
    count: int
    representatives: tuple[np.ndarray, ...]


@bounded
def _orbit_rule(sharing: KernelSharing) -> _FactoredOrbits:
    """Moves every b back to the smallest member b₀ of its orbit; there only the stabiliser of b₀ is left to share."""
    group, into, out = sharing.point_group, sharing.in_fibre.table, sharing.out_fibre.table
    _, offsets = window(group, sharing.kernel_size)
    pairs = offsets.shape[1] * into.shape[1]
    orbit = read_only(by_first_appearance(out.min(axis=0)))
    base, representatives, count = [], [], 0
    mover = np.empty(out.shape[1], np.int64)
    for k in range(int(orbit.max()) + 1):
        members = np.flatnonzero(orbit == k)
        images = out[:, members[0]]
        mover[members] = [np.flatnonzero(images == b)[0] for b in members]
        stabiliser = np.flatnonzero(images == members[0])
        moved = [(offsets[h][:, None] * into.shape[1] + into[h][None]).reshape(-1) for h in stabiliser if h]
        labels = orbits(moved, pairs) if moved else np.arange(pairs, dtype=np.int32)
        representatives.append(read_only(np.unique(labels, return_index=True)[1]))
        base.append(labels + np.int32(count))
        count += len(representatives[-1])
    back = group.inverses[mover]
    table = np.stack(base).reshape(len(base), offsets.shape[1], into.shape[1])
    return _FactoredOrbits(_Factors(orbit, offsets[back], into[back], table, count, tuple(representatives)))


@bounded
def _basis_rule(sharing: KernelSharing) -> BasisSharing:
    solve = functools.partial(kernel_basis, sharing.point_group, sharing.kernel_size)
    return parts_sharing(sharing.in_fibre, sharing.out_fibre, solve)


@bounded
def _unreached(sharing: KernelSharing) -> tuple[Representation, ...]:
    reaches = lambda irrep: KernelSharing(sharing.point_group, sharing.kernel_size, sharing.in_fibre, irrep).count > 0  # noqa: E731
    return unreached_irreps(_basis_rule(sharing), sharing.out_fibre, reaches)
