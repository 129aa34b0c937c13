"""Coordinates of a fibre by number, without a gather: its gradient, a scatter, is slow on CPUs."""

import jax
import jax.numpy as jnp
import numpy as np

from equijax._cache import bounded

_MAX_RUNS = 32


def taken(x: jax.Array, index: np.ndarray, axis: int = -2) -> jax.Array:
    """Returns ``jnp.take(x, index, axis)`` for a known index: slices and repeated entries, put one after another.

    Args:
      x: any array.
      index: int, of any shape.
      axis: the axis.

    Example:
      >>> import jax.numpy as jnp, numpy as np
      >>> taken(jnp.array([[10], [11], [12]]), np.array([0, 1, 1, 1, 2]))[:, 0].tolist()
      [10, 11, 11, 11, 12]
    """
    axis = axis % x.ndim
    flat = tuple(int(k) for k in np.ravel(index))
    runs = _runs(flat)
    if len(runs) > _MAX_RUNS:
        return jnp.take(x, index, axis=axis, mode="clip")
    parts = []
    for start, length, step in runs:
        part = jax.lax.slice_in_dim(x, start, start + (length if step else 1), axis=axis)
        parts.append(part if step else jnp.broadcast_to(part, (*x.shape[:axis], length, *x.shape[axis + 1 :])))
    found = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=axis)
    return found.reshape(*x.shape[:axis], *np.shape(index), *x.shape[axis + 1 :])


@bounded
def _runs(index: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """The index as runs (first entry, length, step): entries in ascending order (step 1), or one repeated (step 0)."""
    runs: list[tuple[int, int, int]] = []
    for k in index:
        if runs:
            start, length, step = runs[-1]
            last = start + step * (length - 1)
            if k - last in (0, 1) and (length == 1 or k - last == step):
                runs[-1] = (start, length + 1, k - last)
                continue
        runs.append((k, 1, 1))
    return tuple(runs)
