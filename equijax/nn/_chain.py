"""Which elements a chain of layers respects: grids are followed on a torus, kept elements intersected otherwise."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax.actions import GridAction
from equijax.actions._motions import Motions, common_motions
from equijax.nn._exactness import Exactness
from equijax.nn._layer import Layer
from equijax.nn._restrict import Restrict


def exactness_of_chain(layers: Sequence[Any], in_action: GridAction, input_shape: tuple[int, ...]) -> Exactness:
    """Folds the exactness of the layers; functions and Flax modules are taken to respect everything.

    Args:
      layers: the entries of a ``Sequential``.
      in_action: the action on the input of the first equijax layer.
      input_shape: shape of the input.
    """
    sizes = in_action.sizes(input_shape)
    start: Any = in_action.on(sizes).action
    kept, current, shape, centre = common_motions(start, sizes, start, sizes), start, input_shape, None
    reasons = []
    for k, layer in enumerate(layers):
        out_shape = _shape_after(layer, shape)
        if isinstance(layer, Restrict):
            kept, start = _restricted(kept, layer), start.restrict(layer.subgroup)
            reasons.append(f"Layer {k} (Restrict) keeps the subgroup {layer.subgroup.elements}.")
        elif isinstance(layer, Layer) and isinstance(current, GridAction):
            local = layer.exactness(shape)
            following = layer.out_action_for(current)
            if isinstance(following, GridAction) and following.boundary == "wrap":
                motions = common_motions(start, sizes, following, following.sizes(out_shape))
                kept = _intersect(kept, motions.elements, motions.steps)
            elif isinstance(following, GridAction):
                unmoved = {h: t for h, t in zip(local.point_elements, local.translations, strict=True) if not any(t)}
                kept = _intersect(kept, unmoved, (None,) * start.ndim)
            centre = local.centre if centre is None else centre
            if local.reason:
                reasons.append(f"Layer {k} ({type(layer).__name__}): {local.reason}")
        current = layer.out_action_for(current) if isinstance(layer, Layer) else current
        shape = out_shape
    return Exactness(
        start, current, tuple(kept.elements), tuple(kept.elements.values()), kept.steps, centre, " ".join(reasons)
    )


def _intersect(kept: Motions, others: dict[int, tuple[int, ...]], steps: tuple[int | None, ...]) -> Motions:
    """Keeps the elements of both; without shifts only those that need none."""
    shiftless = None in steps
    elements = {h: others[h] for h, t in kept.elements.items() if h in others and not (shiftless and any(t))}
    return Motions(steps, elements, {})


def _restricted(kept: Motions, layer: Restrict) -> Motions:
    """Renumbers the kept elements as elements of the subgroup."""
    pairs = enumerate(layer.subgroup.elements)
    return Motions(kept.steps, {k: kept.elements[h] for k, h in pairs if h in kept.elements}, {})


def _shape_after(layer: Callable, shape: tuple[int, ...]) -> tuple[int, ...]:
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    with jax.numpy_dtype_promotion("standard"):
        if not isinstance(layer, nnx.Module):
            return jax.eval_shape(layer, x).shape
        graph, state = nnx.split(layer)
        return jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, x).shape
