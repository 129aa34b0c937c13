"""Sharing by orbits: weights that the group moves onto each other are equal."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import digest, read_only
from equijax.groups._elements import known_integers, known_reals, numeric
from equijax.sharing._sharing import Draws, Sharing, flat_weight, require_axes, require_rows


class OrbitSharing(Sharing):
    r"""The sharing between permutations: W is constant on the orbits of the group on its entries.

    One map :math:`W_k` is the indicator of orbit k, so that a weight is looked up and nothing is multiplied.

    Args:
      table: orbit of each entry, int ``(output points, [window], input points)``, numbered by first appearance.
      out_orbits: orbit of each output point, int ``(output points,)``, numbered by first appearance.

    Example: a set has two kinds of pairs.
      >>> import numpy as np
      >>> sharing = OrbitSharing(np.array([[0, 1], [1, 0]]), np.array([0, 0]))
      >>> sharing.count, sharing.bias_shape
      (2, ())
      >>> sharing.project(np.array([[1.0, 5.0], [7.0, 3.0]])).tolist()
      [[2.0, 6.0], [6.0, 2.0]]
    """

    def __init__(self, table: np.ndarray, out_orbits: np.ndarray):
        self._table = read_only(np.array(_numbered(table, "table")))
        self._out_orbits = read_only(np.array(_numbered(out_orbits, "out_orbits")))
        if self._table.ndim < 2 or self._out_orbits.shape != self._table.shape[:1]:
            raise ValueError(
                f"`table` has shape {self._table.shape} and `out_orbits` {self._out_orbits.shape}; they must be "
                "(output points, [window], input points) and (output points,)."
            )
        self._count = int(self._table.max()) + 1
        self._ordered: dict[tuple[int, ...], np.ndarray] = {}

    @property
    def table(self) -> np.ndarray:
        """Orbit of each entry, int32 ``shape``. Read-only."""
        return self._table

    @property
    def out_orbits(self) -> np.ndarray:
        """Orbit of each output point, int32. Read-only."""
        return self._out_orbits

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one map, ``(output points, [window], input points)``."""
        return self.table.shape

    @property
    def count(self) -> int:
        """Number of orbits."""
        return self._count

    @property
    def representatives(self) -> tuple[np.ndarray, ...]:
        """For each orbit of output points the flat (window, input) index at which its orbits first appear."""
        rows = np.unique(self.out_orbits, return_index=True)[1]
        return tuple(read_only(np.unique(self.table[row], return_index=True)[1]) for row in rows)

    @property
    def init(self) -> Draws:
        """One call for each orbit of output points, on all that such a point reads; each weight where it first appears."""
        size = int(np.prod(self.shape[1:]))
        return Draws(self.shape[1:], tuple(None if len(rows) == size else rows for rows in self.representatives))

    @property
    def out_invariants(self) -> np.ndarray:
        """One indicator for each orbit of output points, float64 ``(orbits, output points)``. Read-only."""
        orbits = np.arange(int(self.out_orbits.max()) + 1)
        return read_only((self.out_orbits[None] == orbits[:, None]).astype(np.float64))

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """``()`` where all output points are one orbit and share one bias, else ``(orbits,)``."""
        orbits = int(self.out_orbits.max()) + 1
        return () if orbits == 1 else (orbits,)

    def weights(self, theta: jax.Array, axes: tuple[int, ...] | None = None) -> jax.Array:
        """Looks the weight of each entry up."""
        theta = require_rows(theta, self.count)
        return jnp.take(theta, self._index(None if axes is None else require_axes(axes, len(self.shape))), axis=0)

    def _index(self, axes: tuple[int, ...] | None) -> jax.Array:
        """The table as a constant of a compiled function, its axes in the given order."""
        if axes is None:
            return jnp.asarray(self.table)
        if axes not in self._ordered:
            self._ordered[axes] = read_only(np.ascontiguousarray(np.transpose(self.table, axes)))
        return jnp.asarray(self._ordered[axes])

    def spread_bias(self, bias: jax.Array) -> jax.Array:
        """Looks the bias of each output point up; one bias for all is returned as it is."""
        bias = numeric(bias, "bias")
        if not bias.ndim or bias.shape[:-1] != self.bias_shape:
            raise ValueError(f"`bias` has shape {bias.shape}; its leading axes must be {self.bias_shape}, features behind.")
        return bias if bias.ndim == 1 else jnp.take(bias, self.out_orbits, axis=0)

    def project(self, weight: np.ndarray) -> np.ndarray:
        """Returns the nearest equivariant weight, ``P W``: the mean of W over each orbit; float64."""
        return project(weight, self.table)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OrbitSharing):
            return NotImplemented
        return np.array_equal(self.table, other.table) and np.array_equal(self.out_orbits, other.out_orbits)

    def __hash__(self) -> int:
        return hash(("OrbitSharing", digest(self.table), digest(self.out_orbits)))

    def __reduce__(self) -> tuple:
        return (OrbitSharing, (self.table, self.out_orbits))

    def __repr__(self) -> str:
        return f"OrbitSharing({self.count} orbits on {self.shape})"


def _numbered(value: Any, name: str) -> np.ndarray:
    """Returns numbers of orbits, int32, 0 or more."""
    numbers = known_integers(value, name, (), "numbers of orbits")
    if not numbers.size or numbers.min() < 0 or numbers.max() >= numbers.size:
        raise ValueError(f"`{name}` has shape {numbers.shape} and must hold orbits that are numbered from 0 on, each used.")
    return numbers


def project(weight: np.ndarray, orbit: np.ndarray) -> np.ndarray:
    """Replaces every weight by the mean over its orbit.

    Args:
      weight: float ``(*orbit.shape, …)``.
      orbit: int array of orbit numbers.

    Returns:
      float64 array of the shape of ``weight``.
    """
    orbit = _numbered(orbit, "orbit")
    if not orbit.ndim:
        raise ValueError("`orbit` is one number; it must be an array of the orbits of all entries.")
    flat = flat_weight(weight, orbit.shape)
    count = np.bincount(orbit.reshape(-1))
    rows = np.argsort(orbit.reshape(-1), kind="stable")  # orbit by orbit
    total = np.add.reduceat(flat[rows], np.cumsum(count) - count, axis=0)
    return (total / count[:, None])[orbit.reshape(-1)].reshape(np.shape(weight))


def defect(weight: np.ndarray, orbit: np.ndarray) -> float:
    """Returns the weight-space defect ``‖W − P W‖ / ‖W‖`` (0 for W = 0)."""
    values, orbit = known_reals(weight, "weight"), _numbered(orbit, "orbit")
    flat_weight(values, orbit.shape)
    norm = float(np.linalg.norm(values))
    return float(np.linalg.norm(values - project(values, orbit))) / norm if norm else 0.0
