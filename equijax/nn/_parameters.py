"""How layers make and read their parameters. This is the checkpoint format."""

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import boolean
from equijax.nn._initial import kept, quick_values, split
from equijax.sharing import Sharing

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def new_kernel(
    sharing: Sharing,
    in_features: int,
    out_features: int,
    kernel_init: Any,
    param_dtype: Any,
    rngs: nnx.Rngs,
    metadata: Mapping[str, Any] = _NOTHING,
) -> nnx.Param:
    """Draws the free weights of a map, ``(*sharing.kernel_shape, in_features, out_features)``.

    The initialiser is called as ``sharing.init`` says, so that it sees the true fan-in. Parts of the output that nothing of
    the input reaches are named in a warning.

    Raises:
      ValueError: the initialiser returns another shape than it is asked for.
    """
    key, plan = rngs.params(), sharing.init
    shape = (*plan.shape, in_features, out_features)
    _warn_unreached(sharing)
    if not sharing.count:
        return nnx.Param(jnp.zeros(shape, param_dtype), **metadata)
    keys = [key] if len(plan.rows) == 1 else split(key, len(plan.rows))
    parts = [drawn(kernel_init, k, shape, param_dtype, "kernel_init") for k in keys]
    if len(parts) == 1 and plan.rows[0] is None and plan.shape == sharing.kernel_shape:
        return nnx.Param(parts[0], **metadata)
    return nnx.Param(kept(parts, plan.rows), **metadata)


def new_bias(
    use_bias: bool,
    sharing: Sharing,
    features: int,
    bias_init: Any,
    param_dtype: Any,
    rngs: nnx.Rngs,
    metadata: Mapping[str, Any] = _NOTHING,
) -> Any:
    """Makes the bias ``(*sharing.bias_shape, features)``: one value for each feature and invariant of the output.

    Returns:
      A Param, or ``nnx.data(None)`` without bias, as where nothing of the output is invariant.

    Raises:
      ValueError: the initialiser returns another shape than it is asked for.
    """
    if sharing.bias_shape is None:
        boolean(use_bias, "use_bias")
        return nnx.data(None)
    return new_offset(use_bias, (*sharing.bias_shape, features), bias_init, param_dtype, rngs, metadata)


def new_offset(
    use_bias: bool,
    shape: tuple[int, ...],
    bias_init: Any,
    param_dtype: Any,
    rngs: nnx.Rngs,
    metadata: Mapping[str, Any] = _NOTHING,
) -> Any:
    """Makes a bias of a given shape; ``nnx.data(None)`` without bias."""
    if not boolean(use_bias, "use_bias"):
        return nnx.data(None)
    return new_parameter(bias_init, shape, param_dtype, rngs, "bias_init", metadata)


def new_parameter(
    init: Any,
    shape: tuple[int, ...],
    param_dtype: Any,
    rngs: nnx.Rngs,
    name: str,
    metadata: Mapping[str, Any] = _NOTHING,
) -> nnx.Param:
    """Draws a parameter of a given shape by the initialiser that the layer's argument ``name`` holds.

    Raises:
      ValueError: the initialiser returns another shape than it is asked for.
    """
    return nnx.Param(drawn(init, rngs.params(), shape, param_dtype, name), **metadata)


def read_kernel(kernel: Any, sharing: Sharing, in_features: int, out_features: int) -> jax.Array:
    """Returns the free weights after checking their static shape against what the sharing asks for."""
    return read(kernel, "kernel", (*sharing.kernel_shape, in_features, out_features))


def read_bias(bias: Any, sharing: Sharing, features: int) -> jax.Array | None:
    """Returns the bias after checking its static shape, or None where there is none."""
    return read_offset(bias, (*(sharing.bias_shape or ()), features))


def read_offset(bias: Any, shape: tuple[int, ...]) -> jax.Array | None:
    """Returns a bias of a given shape after checking it, or None where there is none."""
    return read_optional(bias, "bias", shape)


def read_optional(param: Any, name: str, shape: tuple[int, ...]) -> jax.Array | None:
    """Returns a parameter of a given shape after checking it, or None where there is none."""
    return None if param is None else read(param, name, shape)


def add_bias(y: jax.Array, bias: jax.Array | None, sharing: Sharing) -> jax.Array:
    """Adds a bias to ``(…, |output|, features)``, written out over what it is shared by."""
    if bias is None:
        return y
    spread = sharing.spread_bias(bias)
    return y + spread.reshape((1,) * (y.ndim - spread.ndim) + spread.shape)


def drawn(init: Any, key: jax.Array, shape: tuple[int, ...], dtype: Any, name: str) -> Any:
    """Calls an initialiser and returns what it gives after checking shape and dtype."""
    quick = quick_values(init, key, shape, dtype)
    if quick is not None:
        return quick
    value = init(key, shape, dtype)
    array = getattr(value, "raw_value", value)  # nnx.with_partitioning wraps the array
    how = "An initialiser is called as init(key, shape, dtype)"
    given = np.shape(array)
    if given != shape:
        raise ValueError(
            f"`{name}` returned an array of shape {given} when it was asked for {shape}. {how} and returns an array of that "
            "shape; write constants with nnx.initializers.constant."
        )
    if jnp.result_type(array) != jnp.dtype(jax.dtypes.canonicalize_dtype(dtype)):
        raise TypeError(
            f"`{name}` returned dtype {jnp.result_type(array)} when it was asked for {jnp.dtype(dtype)}. {how} and returns "
            "an array of that dtype: pass `dtype` on to jax.numpy, or change param_dtype."
        )
    return value


def read(param: Any, name: str, shape: tuple[int, ...]) -> jax.Array:
    """Returns the array of a Param after checking its static shape: it costs nothing at run time."""
    value = param[...]
    if value.shape != shape:
        raise ValueError(
            f"`{name}` has shape {value.shape}, but the layer needs {shape}. The parameters are those of another group, "
            "fibre or number of features: build the layer as the one that they were saved from."
        )
    return value


def _warn_unreached(sharing: Sharing) -> None:
    if sharing.unreached:
        names = ", ".join(map(repr, sharing.unreached))
        warnings.warn(
            f"no equivariant map reaches {names} of the output from this input, so they stay 0. Leave them out, "
            "or give the input (or the window) what they can be made of.",
            UserWarning,
            stacklevel=4,
        )
