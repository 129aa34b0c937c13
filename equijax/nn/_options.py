"""Which keyword arguments of a call belong to which layer of a network."""

import inspect
from collections.abc import Callable
from typing import Any

from flax import nnx

from equijax.nn._layer import Layer

_EACH_ALONE = (nnx.LayerNorm, nnx.RMSNorm)


def accepted_options(layer: Callable, options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options that the call of a layer accepts.

    The option ``mask`` is a mask of elements, ``(*batch, n)``. ``nnx.BatchNorm`` gets it with an axis for the features, so
    that padding stays out of its statistics. Norms of each element alone and ``nnx.Sequential``, which would hand it to its
    first entry only, get none.
    """
    call = type(layer).__call__ if isinstance(layer, nnx.Module) else layer
    parameters = inspect.signature(call).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        anything = isinstance(layer, Layer) or not isinstance(layer, nnx.Module)
        return {name: value for name, value in options.items() if anything or name != "mask"}
    accepted = {name: value for name, value in options.items() if name in parameters}
    if isinstance(layer, _EACH_ALONE):
        accepted.pop("mask", None)
    if isinstance(layer, nnx.BatchNorm) and accepted.get("mask") is not None:
        accepted["mask"] = accepted["mask"][..., None]
    return accepted
