"""Models of equal parameter count."""

import bisect
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
from flax import nnx

WIDEST = 1000


class Kind(NamedTuple):
    """One curve of the comparison: how to build the model, and whether it sees turned copies."""

    build: Callable[[nnx.Rngs], nnx.Module]
    parameters: int
    width: int
    copies: bool  # trained on turned and flipped copies


def count(build: Callable[..., nnx.Module]) -> int:
    """Counts trainable numbers without allocating any."""
    params = nnx.state(nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0))), nnx.Param)
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def equal_sized_kinds(
    models: dict[str, Callable[..., nnx.Module]], reference: str, width: int, side: int, classes: int
) -> dict[str, Kind]:
    """Widens each model until it has as many parameters as the reference of that width, within a few percent."""
    kinds = {}
    target = count(functools.partial(models[reference], width, side, classes))
    for name, builder in models.items():

        def size(width: int, builder: Callable = builder) -> int:
            return count(functools.partial(builder, width, side, classes))

        above = bisect.bisect_left(range(WIDEST), target, lo=2, key=size)
        best = min(above - 1, above, key=lambda width: abs(size(width) - target))
        build = functools.partial(builder, best, side, classes)
        kinds[name] = Kind(lambda rngs, b=build: b(rngs=rngs), size(best), best, "copies" in name)
    return kinds
