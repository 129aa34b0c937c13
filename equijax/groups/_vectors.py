"""Integer vectors of 32 bits that never wrap: what is known is computed in 64 bits, what is traced is marked."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from equijax.groups._elements import integers, poison

_LARGEST = np.iinfo(np.int32).max
_MARK = np.int32(poison(np.int32))


def reduced(a: Any, period: tuple[int, ...] | None) -> Any:
    """Returns int32 vectors modulo the period; known ones as numpy arrays. The mark of a traced one stays."""
    if isinstance(a, np.ndarray):
        a = a.astype(np.int64)
        return integers(a if period is None else a % np.array(period), "a", (), "integer vectors")
    if period is None:
        return a
    return jnp.where(a == _MARK, _MARK, a % jnp.broadcast_to(jnp.asarray(period, jnp.int32), a.shape))


def added(a: Any, b: Any, period: tuple[int, ...] | None) -> Any:
    """Returns ``a + b``, modulo the period.

    Raises:
      ValueError: a known sum is beyond the integers of 32 bits; a traced one is the smallest of them, and so is what is
        added to that.
    """
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return reduced(a.astype(np.int64) + b, period)
    a, b = jnp.broadcast_arrays(reduced(a, period), reduced(b, period))
    unknown = (a == _MARK) | (b == _MARK)
    if period is None:
        total = a + b
        unknown |= ((a ^ total) & (b ^ total)) < 0
    else:
        sizes = jnp.broadcast_to(jnp.asarray(period, jnp.int32), a.shape)
        less = a - (sizes - b)  # a + b - period, which fits
        total = jnp.where(less < 0, less + sizes, less)
    return jnp.where(unknown, _MARK, total)


def transformed(matrices: Any, n: Any, period: tuple[int, ...] | None) -> Any:
    """Returns ``(…, d)``, integer matrices times int32 vectors, modulo the period; marked where it does not fit."""
    if isinstance(matrices, np.ndarray) and isinstance(n, np.ndarray):
        return reduced(np.einsum("...ij,...j->...i", matrices.astype(np.int64), n.astype(np.int64)), period)
    matrices, n = jnp.asarray(matrices), jnp.asarray(n)
    columns = jnp.broadcast_shapes(matrices.shape[:-1], (*n.shape[:-1], 1))
    total = jnp.zeros(columns, jnp.int32)
    for j in range(matrices.shape[-1]):
        factor, entry = jnp.broadcast_arrays(matrices[..., j].astype(jnp.int32), n[..., j, None])
        if period is not None:
            entry = entry % np.int32(period[j])
        fits = jnp.abs(entry) <= _LARGEST // jnp.maximum(jnp.abs(factor), 1)
        product = jnp.where(fits & (entry != _MARK), factor * entry, _MARK)
        # An axis that a matrix does not mix in may be as long as it likes.
        total = jnp.where(factor == 0, total, added(total, product, period))
    return jnp.where((n == _MARK).any(-1, keepdims=True), _MARK, total)
