"""Sharing by a basis: the linear maps that commute with a group of matrices."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import FrozenArray, read_only
from equijax._dtypes import widened
from equijax.groups._elements import known_reals
from equijax.reps import Representation
from equijax.sharing._sharing import Draws, Sharing, flat_weight, require_axes, require_rows


class BasisSharing(Sharing):
    r"""The sharing between any fibres: W is a sum of basis maps.

    .. math:: W = \sum_k W_k ⊗ θ_k

    The basis is taken as it is given; :class:`LinearSharing` scales its own so that outputs have variance 1.
    :meth:`project` is orthogonal whatever the scaling.

    Args:
      basis: linearly independent maps, float ``(count, output points, [window], input points)``.
      out_invariants: basis of the outputs that nothing moves, float ``(k, output points)``.

    Raises:
      ValueError: a shape does not fit.

    Example: what turns with the plane is scaled and turned.
      >>> import numpy as np
      >>> sharing = BasisSharing([np.eye(2), [[0, -1], [1, 0]]], np.zeros((0, 2)))
      >>> sharing.count, sharing.bias_shape
      (2, None)
      >>> sharing.project(np.array([[1.0, 2.0], [0.0, 3.0]])).round(12).tolist()
      [[2.0, 1.0], [-1.0, 2.0]]
    """

    def __init__(self, basis: np.ndarray, out_invariants: np.ndarray):
        self._basis = FrozenArray(known_reals(basis, "basis"), np.float64)
        self._out_invariants = FrozenArray(known_reals(out_invariants, "out_invariants"), np.float64)
        if not (np.isfinite(self.basis).all() and np.isfinite(self.out_invariants).all()):
            raise ValueError("`basis` or `out_invariants` holds numbers that are not finite.")
        sizes = self.basis.shape
        fits = (
            len(sizes) > 2 and all(sizes[1:]) and self.out_invariants.ndim == 2 and self.out_invariants.shape[1] == sizes[1]
        )
        if not fits:
            raise ValueError(
                f"`basis` has shape {self.basis.shape} and `out_invariants` {self.out_invariants.shape}; they must be "
                "(count, output points, [window], input points) and (k, output points)."
            )

    @property
    def basis(self) -> np.ndarray:
        """The maps, float64 ``(count, *shape)``. Read-only."""
        return self._basis.array

    @property
    def out_invariants(self) -> np.ndarray:
        """Basis of the outputs that nothing moves, float64 ``(k, output points)``. Read-only."""
        return self._out_invariants.array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one map, ``(output points, [window], input points)``."""
        return self.basis.shape[1:]

    @property
    def count(self) -> int:
        """Number of maps."""
        return len(self.basis)

    @property
    def reached(self) -> int:
        """Dimension of the outputs that the maps reach."""
        out = self.shape[0]
        return int(np.linalg.matrix_rank(np.moveaxis(self.basis, 1, 0).reshape(out, self.count * math.prod(self.shape[1:]))))

    @property
    def init(self) -> Draws:
        """One call on all the weights: the basis is scaled so that their number is the fan-in of each output."""
        return Draws((self.count,), (None,))

    @property
    def bias_shape(self) -> tuple[int, ...] | None:
        """``(k,)``, one bias for each invariant output; None where there is none."""
        return (len(self.out_invariants),) if len(self.out_invariants) else None

    def weights(self, theta: jax.Array, axes: tuple[int, ...] | None = None) -> jax.Array:
        """Multiplies the maps with their weights, in 32 bits at least."""
        theta = require_rows(theta, self.count)
        axes = None if axes is None else require_axes(axes, len(self.shape))
        real = jnp.issubdtype(theta.dtype, jnp.inexact)
        wide = theta.dtype if real and jnp.finfo(theta.dtype).bits >= 32 else jnp.float32
        moved = self.basis if axes is None else np.transpose(self.basis, (0, *(1 + axis for axis in axes)))
        full = jnp.tensordot(jnp.asarray(moved.astype(wide)), theta.astype(wide), axes=((0,), (0,)), precision="highest")
        return full.astype(theta.dtype) if real else full

    def spread_bias(self, bias: jax.Array) -> jax.Array:
        """Multiplies the invariants with their biases, ``(output points, features)``."""
        wide, dtype = widened(bias)
        invariants = jnp.asarray(self.out_invariants.astype(wide.dtype))
        return jnp.tensordot(invariants, wide, axes=((0,), (0,)), precision="highest").astype(dtype)

    def project(self, weight: np.ndarray) -> np.ndarray:
        """Returns the nearest map in the span of the basis; float64."""
        flat, span = flat_weight(weight, self.shape), self._orthonormal
        return (span @ (span.T @ flat)).reshape(np.shape(weight))

    @functools.cached_property
    def _orthonormal(self) -> np.ndarray:
        """Orthonormal basis of the same span, float64 ``(entries, count)``."""
        return read_only(np.linalg.qr(self.basis.reshape(self.count, math.prod(self.shape)).T)[0])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BasisSharing):
            return NotImplemented
        return self._basis == other._basis and self._out_invariants == other._out_invariants

    def __hash__(self) -> int:
        return hash(("BasisSharing", self._basis, self._out_invariants))

    def __reduce__(self) -> tuple:
        return (BasisSharing, (self.basis, self.out_invariants))

    def __repr__(self) -> str:
        return f"BasisSharing({self.count} maps of shape {self.shape})"


def unreached_irreps(
    sharing: BasisSharing, out_fibre: Representation, reaches: Callable[[Representation], bool]
) -> tuple[Representation, ...]:
    """Returns the irreps of the output that no map reaches; empty where all is reached or the irreps are not known.

    Args:
      sharing: the maps.
      out_fibre: the representation on the output.
      reaches: tells whether a map from the input to an irrep exists.
    """
    if sharing.reached == sharing.shape[0]:
        return ()
    try:
        parts = out_fibre.irreps
    except ValueError:
        return ()
    return tuple(irrep for irrep, _ in parts if not reaches(irrep))
