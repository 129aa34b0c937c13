"""From weights of partitions to weights of orbits: sums over the partition lattice."""

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import read_only
from equijax._cache import bounded
from equijax.actions import TensorAction
from equijax.nn.tensors._families import summed_blocks
from equijax.sharing import LinearSharing
from equijax.sharing._partitions import equality_pattern, refinement, set_partitions


def orbit_kernel(kernel: jax.Array, in_order: int, out_order: int, n: int, mean: bool) -> jax.Array:
    """Returns the kernel of the reference layer, ``(orbits, in_features, out_features)``."""
    table = _satisfied(in_order, out_order, n)
    if mean:
        table = table / float(n) ** summed_blocks(in_order, out_order)
    return jnp.einsum("op,pij->oij", jnp.asarray(table, kernel.dtype), kernel, precision="highest")


def orbit_bias(bias: jax.Array, out_order: int, n: int) -> jax.Array:
    """Returns the bias of the reference layer, without the axis of orbits where there is one."""
    table = jnp.asarray(_satisfied(0, out_order, n), bias.dtype)
    spread = jnp.matmul(table, bias, precision="highest")
    return spread if len(spread) > 1 else spread[0]


@bounded
def _satisfied(in_order: int, out_order: int, n: int) -> np.ndarray:
    """Which partitions the indices of each orbit satisfy, 0 or 1, float64 ``(orbits, partitions)``. Read-only."""
    order = out_order + in_order
    orbits = LinearSharing(TensorAction(n, in_order), TensorAction(n, out_order)).orbits  # pyright: ignore[reportArgumentType]
    first = np.unique(orbits, return_index=True)[1]
    number = {partition: k for k, partition in enumerate(set_partitions(order))}
    indices = np.stack(np.unravel_index(first, (n,) * order), axis=1) if order else np.zeros((1, 0), int)
    patterns = [number[equality_pattern(index)] for index in indices.tolist()]
    return read_only(refinement(order).T[patterns].astype(np.float64))
