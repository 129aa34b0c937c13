"""Operations that numpy does bit for bit as XLA does, on arrays that lie in the host's memory.

A program that is replayed operation by operation is compiled operation by operation, for every shape again. Moving numbers,
and arithmetic that is rounded once, need no compiler.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

Params = Mapping[str, Any]


def on_host(name: str, params: Params, arguments: Sequence[Any]) -> list[np.ndarray] | None:
    """Returns the results of an operation; None where it, its arguments or their memory are none of numpy's."""
    operation = _OPERATIONS.get(name)
    if operation is None or not all(map(_is_near, arguments)):
        return None
    arrays = [np.asarray(a) for a in arguments]
    if name in _ARITHMETIC and not all(a.dtype in _ROUNDED_ONCE for a in arrays):
        return None
    with np.errstate(all="ignore"):
        result = operation(params, *arrays)
    return None if result is None else result if isinstance(result, list) else [np.asarray(result)]


def _is_near(a: Any) -> bool:
    if isinstance(a, np.ndarray):
        return True
    if not isinstance(a, jax.Array) or isinstance(a, Tracer) or not a.is_fully_addressable:
        return False
    near = all(device.platform == "cpu" for device in a.devices())
    return near and not jnp.issubdtype(a.dtype, jax.dtypes.extended)


def _reshape(params: Params, x: np.ndarray) -> np.ndarray | None:
    return x.reshape(params["new_sizes"]) if params.get("dimensions") is None else None


def _broadcast(params: Params, x: np.ndarray) -> np.ndarray:
    shape = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = size
    return np.broadcast_to(x.reshape(shape), params["shape"])


def _slice(params: Params, x: np.ndarray) -> np.ndarray:
    strides = params["strides"] or (1,) * x.ndim
    return x[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]


def _pad(params: Params, x: np.ndarray, value: np.ndarray) -> np.ndarray | None:
    config = params["padding_config"]
    if any(low < 0 or high < 0 for low, high, _ in config):
        return None
    spread = [size + max(size - 1, 0) * gap for size, (_, _, gap) in zip(x.shape, config, strict=True)]
    result = np.full([low + n + high for n, (low, high, _) in zip(spread, config, strict=True)], value, x.dtype)
    places = (slice(low, low + n, gap + 1) for n, (low, _, gap) in zip(spread, config, strict=True))
    result[tuple(places)] = x
    return result


def _select(params: Params, which: np.ndarray, *cases: np.ndarray) -> np.ndarray | None:
    return np.where(which, cases[1], cases[0]) if which.dtype == bool and len(cases) == 2 else None


def _split(params: Params, x: np.ndarray) -> list[np.ndarray]:
    return np.split(x, np.cumsum(params["sizes"])[:-1], params["axis"])


def _iota(params: Params) -> np.ndarray:
    shape, axis = params["shape"], params["dimension"]
    column = np.arange(shape[axis]).astype(params["dtype"])
    return np.broadcast_to(column.reshape([-1 if k == axis else 1 for k in range(len(shape))]), shape)


#: Types in which numpy and XLA round a sum and a product alike; XLA divides by a number as it multiplies by its inverse.
_ROUNDED_ONCE = frozenset(map(np.dtype, ("float32", "float64")))

_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "add": np.add,
    "add_any": np.add,
    "eq": np.equal,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "lt": np.less,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "sqrt": np.sqrt,
    "sub": np.subtract,
}

_OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda params, *parts: np.concatenate(parts, params["dimension"]),
    "copy": lambda params, x: x,
    "iota": _iota,
    "pad": _pad,
    "reshape": _reshape,
    "rev": lambda params, x: np.flip(x, params["dimensions"]),
    "select_n": _select,
    "slice": _slice,
    "split": _split,
    "squeeze": lambda params, x: x.squeeze(params["dimensions"]),
    "transpose": lambda params, x: x.transpose(params["permutation"]),
    **{name: lambda params, *arrays, own=own: own(*arrays) for name, own in _ARITHMETIC.items()},
}
