"""How layers make and read their parameters. This is the checkpoint format."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax.reps import PermutationRepresentation
from equijax.sharing import KernelSharing


def new_kernel(
    sharing: KernelSharing,
    in_features: int,
    out_features: int,
    kernel_init: Any,
    param_dtype: Any,
    rngs: nnx.Rngs,
    metadata: Mapping[str, Any],
) -> nnx.Param:
    """Draws the free weights of a kernel, ``(*sharing.kernel_shape, in_features, out_features)``.

    The initialiser is called once for each orbit of the output fibre with the shape of the whole window, so that it sees
    the true fan-in, and the first entry of each orbit of weights is kept.
    """
    key = rngs.params()
    if sharing.is_free:
        return nnx.Param(kernel_init(key, (*sharing.kernel_size, in_features, out_features), param_dtype), **metadata)
    representatives = sharing.representatives
    keys = [key] if len(representatives) == 1 else jax.random.split(key, len(representatives))
    parts = []
    for k, first in zip(keys, representatives, strict=True):
        whole = kernel_init(k, (sharing.offsets, sharing.in_fibre.dim, in_features, out_features), param_dtype)
        flat = whole.reshape(-1, in_features, out_features)
        parts.append(flat if len(first) == len(flat) else flat[first])
    return nnx.Param(parts[0] if len(parts) == 1 else jnp.concatenate(parts), **metadata)


def new_bias(
    use_bias: bool,
    fibre: PermutationRepresentation,
    features: int,
    bias_init: Any,
    param_dtype: Any,
    rngs: nnx.Rngs,
    metadata: Mapping[str, Any],
) -> Any:
    """Makes the bias, one value for each feature and orbit of the fibre; ``nnx.data(None)`` without bias."""
    if not use_bias:
        return nnx.data(None)
    orbits = int(fibre.orbits.max()) + 1
    shape = (features,) if orbits == 1 else (orbits, features)
    return nnx.Param(bias_init(rngs.params(), shape, param_dtype), **metadata)


def spread_bias(bias: jax.Array, fibre: PermutationRepresentation) -> jax.Array:
    """Writes a bias out over the fibre: shape ``(*fibre.shape, features)``, or ``(features,)`` where one serves all."""
    if bias.ndim == 1 or not fibre.shape:
        return bias
    return bias[jnp.asarray(fibre.orbits)]
