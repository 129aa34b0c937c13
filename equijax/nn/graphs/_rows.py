"""Functions and modules on the rows of a graph, its nodes or its edges, some of which are padding."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from equijax.nn._options import accepted_options


def on_rows(fn: Any, x: Any, mask: Array, **options: Any) -> Any:
    """Applies a function or module to rows, and hands it the mask of the rows where its call takes ``mask``.

    So padding stays out of the statistics of ``nnx.BatchNorm``, of Flax's modules the only one that gets the mask. The
    entries of an ``nnx.Sequential``, which would not hand it on, are applied one by one.

    Args:
      fn: maps rows ``(n, …, in_features)`` to ``(n, …, out_features)``.
      x: the rows.
      mask: bool ``(n,)``; ``fn`` gets it as ``(n, …)``, of the shape of the rows without their features.
      **options: keyword arguments of the call; ``nnx.Sequential`` hands them to its first entry, and ``rngs`` to all.

    Raises:
      ValueError: ``fn`` lost the axis of the rows, or takes statistics of a batch without taking the mask.
    """
    if type(fn) is nnx.Sequential:
        shared = {"rngs": options.pop("rngs")} if "rngs" in options else {}
        for entry in fn.layers:
            x = on_rows(entry, x, mask, **options, **accepted_options(entry, shared))
            options = {}
        return x
    if not jax.tree.leaves(x):
        raise ValueError("`graph` has no features that the function could be applied to: graph.replace(nodes=…, edges=…).")
    y = fn(x, **{**_handed(fn, x, mask), **options})
    if not jax.tree.leaves(y):
        raise TypeError(f"`{getattr(fn, '__name__', type(fn).__name__)}` returned {y!r}; it must return an array.")
    for shape in map(jnp.shape, jax.tree.leaves(y)):
        if shape[:1] != mask.shape:
            name = getattr(fn, "__name__", type(fn).__name__)
            raise ValueError(f"`{name}` returned shape {shape} for {mask.shape[0]} rows; it must keep axis 0.")
    return y


def _handed(fn: Any, x: Any, mask: Array) -> dict[str, Any]:
    of_flax = isinstance(fn, nnx.Module) and type(fn).__module__.startswith("flax.")
    if of_flax and not isinstance(fn, nnx.BatchNorm):
        return {}
    rest = jnp.shape(x)[1:-1] if hasattr(x, "shape") else ()
    return accepted_options(fn, {"mask": jnp.broadcast_to(mask.reshape(-1, *(1,) * len(rest)), (*mask.shape, *rest))})
