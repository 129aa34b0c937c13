"""Fitting arrays to a mended operation: continuing them around a torus, and changing their sizes."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.audit._error import ENDLESS
from equijax.audit._rule import Operand
from equijax.nn._jaxpr import Values

#: What stands for minus infinity in a mean: as good in a softmax.
LARGE = 1e9


class Unmendable(Exception):
    """A mended operation does not fit those behind it."""


def wrapped(x: Any, axis: int, low: int, high: int, dilation: int) -> Any:
    """Returns an array padded around the torus along one axis, with ``dilation - 1`` zeros behind every sample."""
    n = np.shape(x)[axis]
    if dilation > 1:
        config = [(0, 0, 0)] * np.ndim(x)
        config[axis] = (0, dilation - 1, dilation - 1)
        x = jax.lax.pad(jnp.asarray(x), jnp.zeros((), np.asarray(x).dtype), config)
    total = (n - 1) * dilation + 1 + low + high
    return jnp.take(jnp.asarray(x), (np.arange(total) - low) % (n * dilation), axis=axis)


def adapted(arguments: Sequence[Any], operands: list[Operand]) -> list[Any]:
    """Fits operands that don't depend on the input to the sizes that a mend has changed, where they are constant there."""
    shapes = [o.shape for o in operands if o.depends and o.shape]
    result = []
    for value, operand in zip(arguments, operands, strict=True):
        if not operand.depends and operand.shape and shapes and len(operand.shape) == len(shapes[0]):
            array = np.asarray(value)
            for k, (n, m) in enumerate(zip(operand.shape, shapes[0], strict=True)):
                if n not in (1, m) and m != 1:
                    if not is_constant(array, (k,)):
                        raise Unmendable("a map of another size")
                    array = np.repeat(np.take(array, [0], axis=k), m, axis=k)
            value = array if array.shape != operand.shape else value
        result.append(value)
    wide = [np.shape(a) for a, o in zip(result, operands, strict=True) if o.depends and np.ndim(a)]
    if wide and any(len(s) == len(wide[0]) and any(1 != a != b != 1 for a, b in zip(s, wide[0], strict=True)) for s in wide):
        raise Unmendable("branches of different sizes")
    return result


def is_constant(array: np.ndarray, axes: tuple[int, ...]) -> bool:
    """Tells whether an array does not vary along some axes."""
    first = array[tuple(slice(0, 1) if k in axes else slice(None) for k in range(array.ndim))]
    return bool((array == first).all())


def finite(values: Values) -> Values:
    """Returns values with numbers in the place of the infinities of masks, of which means can be taken."""
    result = dict(values)
    for v, value in values.items():
        if np.ndim(value) and jnp.issubdtype(getattr(value, "dtype", bool), jnp.floating):
            array = np.asarray(value)
            far = np.abs(array) > ENDLESS
            if far.any():
                result[v] = np.where(far, np.where(array < 0, -LARGE, LARGE), array).astype(array.dtype)
    return result
