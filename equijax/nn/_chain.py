"""Which elements a chain of layers respects: those that map every grid on the way to itself."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax.actions import GridAction
from equijax.actions._motions import common_motions
from equijax.groups import bare
from equijax.nn._exactness import Exactness, from_motions
from equijax.nn._layer import Layer
from equijax.nn._restrict import Restrict
from equijax.nn._windowed import WindowedLayer


def exactness_of_chain(layers: Sequence[Any], input_shape: tuple[int, ...]) -> Exactness:
    """Finds the elements that map every grid of the chain to itself.

    Functions and Flax modules are taken to respect everything. A layer with zero borders turns the arrays before and
    behind it about their centres, which must then be the centre of the input.

    Args:
      layers: entries of a ``Sequential``; the first equijax layer takes fields on a grid.
      input_shape: shape of the input.
    """
    shape, current, grids, reasons = input_shape, None, [], []
    for k, layer in enumerate(layers):
        if isinstance(layer, Layer):
            if current is None:
                own: Any = layer.in_action
                current = own.on(own.sizes(shape)).action
                grids = [(current, own.sizes(shape))]
            if isinstance(layer, Restrict) and bare(current.group) != bare(layer.in_action.group):
                grids = [(action.restrict(layer.subgroup), sizes) for action, sizes in grids]
                reasons.append(f"Layer {k} (Restrict) keeps the subgroup {layer.subgroup.elements}.")
            elif isinstance(layer, WindowedLayer) and isinstance(current, GridAction):
                local = layer.exactness(shape)
                if local.reason:
                    reasons.append(f"Layer {k} ({type(layer).__name__}): {local.reason}")
                sizes = current.sizes(shape)
                following = layer.sampling.moved(current, sizes)
                if following.boundary == "zero":
                    grids.append((dataclasses.replace(current, boundary="zero"), sizes))
                grids.append((following, layer.sampling.out_sizes(sizes)))
        out_shape = _shape_after(layer, shape)
        current = layer.out_action_for(current) if isinstance(layer, Layer) else current  # pyright: ignore
        shape = out_shape
    return from_motions(grids[0], current, common_motions(*grids), grids[-1], " ".join(reasons))  # pyright: ignore


def _shape_after(layer: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(layer, WindowedLayer) and isinstance(layer.in_action, GridAction):
        sizes = layer.in_action.sizes(shape)
        batch = shape[: len(shape) - 1 - len(sizes) - len(layer.in_fibre.shape)]
        features = getattr(layer, "out_features", shape[-1])
        return (*batch, *layer.sampling.out_sizes(sizes), *layer.out_fibre.shape, features)
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    with jax.numpy_dtype_promotion("standard"):
        if not isinstance(layer, nnx.Module):
            return jax.eval_shape(layer, x).shape
        graph, state = nnx.split(layer)
        return jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, x).shape
