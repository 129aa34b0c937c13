"""The weight sharing that a point group forces on a convolution kernel."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equijax._arrays import read_only
from equijax.actions._grid import require_fibre
from equijax.groups import FiniteGroup
from equijax.reps import PermutationRepresentation
from equijax.sharing._orbits import orbits
from equijax.sharing._window import require_window, window

_LARGEST_TABLE = 1 << 20


@dataclasses.dataclass(frozen=True)
class KernelSharing:
    r"""Which weights of a convolution kernel must be equal.

    A convolution ``out(x, b) = Σ κ[δ, a, b] f(x + δ, a)`` commutes with the point group H if and only if

    .. math:: κ[hδ,\, ha,\, hb] = κ[δ, a, b] \qquad \text{for all } h ∈ H,

    that is, κ is constant on the orbits of H on triples (output fibre index b, offset δ, input fibre index a). Orbits are
    numbered by first appearance in this order, C order. Each orbit holds one ``(in_features, out_features)`` matrix.

    Args:
      point_group: H, or any finite group with ``kernel_size=()``.
      kernel_size: sizes of the window, one for each grid axis.
      in_fibre: permutation representation of H on the input.
      out_fibre: permutation representation of H on the output.

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
    in_fibre: PermutationRepresentation
    out_fibre: PermutationRepresentation

    def __post_init__(self) -> None:
        require_fibre(self.in_fibre, self.point_group, "in_fibre")
        require_fibre(self.out_fibre, self.point_group, "out_fibre")
        require_window(self.point_group, self.kernel_size)

    @property
    def is_free(self) -> bool:
        """True where no two weights of the box are shared and fibres are scalar: an ordinary convolution."""
        return self.point_group.order == 1 and not self.in_fibre.shape and not self.out_fibre.shape

    @property
    def offsets(self) -> int:
        """Number of offsets in the window."""
        return len(window(self.point_group, self.kernel_size)[0])

    @property
    def count(self) -> int:
        """Number of orbits, which is that of free weights for each pair of features."""
        return _factors(self).count

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Leading axes of the parameter, ``kernel_size`` for an ordinary convolution and else ``(count,)``."""
        return self.kernel_size if self.is_free else (self.count,)

    @property
    def representatives(self) -> tuple[np.ndarray, ...]:
        """For each orbit of the output fibre the flat (offset, input fibre) index at which its orbits first appear."""
        return _factors(self).representatives

    @property
    def table(self) -> np.ndarray:
        """Orbit of each triple, int32 ``(|out fibre|, offsets, |in fibre|)``. Read-only."""
        return _table(self)

    def expand(
        self, kernel: Float[Array, "orbits in_features out_features"]
    ) -> Float[Array, "*window channels_in channels_out"]:
        """Writes the free weights out as the kernel of a planar convolution.

        Args:
          kernel: ``(count, in_features, out_features)``.

        Returns:
          ``(*kernel_size, |in fibre| · in_features, |out fibre| · out_features)``, zero outside the window.
        """
        into, out = kernel.shape[1:]
        places, _ = window(self.point_group, self.kernel_size)
        size = math.prod(self.kernel_size)
        full = kernel[self._index()]
        if len(places) < size:
            empty = jnp.zeros((size, *full.shape[1:]), full.dtype)
            full = empty.at[places].set(full, unique_indices=True, indices_are_sorted=True)
        full = jnp.transpose(full, (0, 1, 3, 2, 4))
        return full.reshape(*self.kernel_size, self.in_fibre.dim * into, self.out_fibre.dim * out)

    def _index(self) -> jax.Array:
        """Orbit of each triple, int32 ``(offsets, |in fibre|, |out fibre|)``; put together on device where it is large."""
        shape = (self.offsets, self.in_fibre.dim, self.out_fibre.dim)
        if math.prod(shape) * 4 <= _LARGEST_TABLE:
            return jnp.asarray(_index(self))
        f = _factors(self)
        offset, fibre = jnp.asarray(f.offset_map.T), jnp.asarray(f.fibre_map.T)
        parts = (jnp.asarray(f.orbit)[None, None, :], offset[:, None, :], fibre[None, :, :])
        return jnp.asarray(f.base)[tuple(jnp.broadcast_to(part, shape) for part in parts)]


@dataclasses.dataclass(frozen=True)
class _Factors:
    """The orbit table in factored form: ``table[b, δ, a] = base[orbit[b], offset_map[b, δ], fibre_map[b, a]]``."""

    orbit: np.ndarray
    offset_map: np.ndarray
    fibre_map: np.ndarray
    base: np.ndarray
    count: int
    representatives: tuple[np.ndarray, ...]


@functools.lru_cache(maxsize=256)
def _factors(sharing: KernelSharing) -> _Factors:
    """Moves every b back to the smallest member b₀ of its orbit; there only the stabiliser of b₀ is left to share."""
    group, into, out = sharing.point_group, sharing.in_fibre.table, sharing.out_fibre.table
    _, offsets = window(group, sharing.kernel_size)
    pairs = offsets.shape[1] * into.shape[1]
    orbit = sharing.out_fibre.orbits
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
    return _Factors(orbit, offsets[back], into[back], table, count, tuple(representatives))


@functools.lru_cache(maxsize=256)
def _table(sharing: KernelSharing) -> np.ndarray:
    f = _factors(sharing)
    return read_only(f.base[f.orbit[:, None, None], f.offset_map[:, :, None], f.fibre_map[:, None, :]])


@functools.lru_cache(maxsize=256)
def _index(sharing: KernelSharing) -> np.ndarray:
    return read_only(np.ascontiguousarray(np.transpose(_table(sharing), (1, 2, 0))))
