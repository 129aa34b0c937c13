"""Do predictions survive shifts? On circular shifts and on crops, side by side."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax.actions import Action
from equijax.audit._actions import is_action
from equijax.audit._report import Consistency


def consistency_of(model: nnx.Module, x: Any, in_action: Action, *, shifts: int = 8, seed: int = 0) -> Consistency | None:
    """Measures how often a classifier keeps its prediction.

    Circular shifts are what the theory speaks of; crops, in which new content comes in at the border, are what cameras do.

    Args:
      model: module that returns scores ``(batch, classes)``.
      x: images ``(batch, *sizes, fibre, features)``.
      in_action: action on a grid.
      shifts: number of random shifts, and of random pairs of crops.
      seed: of the random numbers.

    Returns:
      The parts of predictions that stay; None where the action has no grid or the output is no row of scores. Crops are a
      quarter smaller than the input; a model that takes one size only (flatten + dense) has no figure, and a note.
    """
    if not is_action(in_action) or in_action.moves is not None or len(jax.tree.leaves(x)) != 1:
        return None
    (x,) = map(jnp.asarray, jax.tree.leaves(x))
    grid = in_action.grid(x.shape)
    if grid is None:
        return None
    graph, state = nnx.split(model)
    call = jax.jit(lambda state, x: nnx.merge(graph, state)(x))
    scores = call(state, x)
    if not isinstance(scores, jax.Array) or scores.ndim != 2 or scores.shape[0] != x.shape[0] or scores.shape[1] < 2:
        return None
    random = np.random.default_rng(seed)
    sizes = grid[1]
    first = x.ndim - len(in_action.axes(x.ndim)) + [axis.role for axis in in_action.axes(x.ndim)].index("base")
    axes = tuple(range(first, first + len(sizes)))
    labels = np.argmax(np.asarray(scores), -1)
    kept = []
    for _ in range(shifts):
        moved = jnp.roll(x, tuple(int(random.integers(1, n)) if n > 1 else 0 for n in sizes), axes)
        kept.append(np.mean(np.argmax(np.asarray(call(state, moved)), -1) == labels))
    crops, note = _crops(call, state, x, axes, sizes, random, shifts)
    return Consistency(float(np.mean(kept)), crops, shifts, note)


def _crops(
    call: Any, state: Any, x: jax.Array, axes: tuple[int, ...], sizes: tuple[int, ...], random: Any, count: int
) -> tuple[float | None, str]:
    """Returns how often two crops of one image get the same prediction, and why that could not be measured."""
    margin = [n // 4 for n in sizes]
    if any(n < 4 for n in sizes):
        return None, "crops need sizes of at least 4"

    def predicted() -> np.ndarray:
        part = x
        for k, n, m in zip(axes, sizes, margin, strict=True):
            start = int(random.integers(0, m + 1))
            part = jax.lax.slice_in_dim(part, start, start + n - m, axis=k)
        return np.argmax(np.asarray(call(state, part)), -1)

    try:
        return float(np.mean([np.mean(predicted() == predicted()) for _ in range(count)])), ""
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        return None, f"crops: the model takes no other size than {sizes} ({reason})"
