"""Which keyword arguments of a call belong to which layer of a network."""

import inspect
from collections.abc import Callable
from typing import Any

from flax import nnx

from equijax.groups._elements import concrete
from equijax.nn._reached import called, modules_reached

_EACH_ALONE = (nnx.LayerNorm, nnx.RMSNorm)


def accepted_options(layer: Callable, options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options that the call of a layer accepts.

    The option ``mask`` is a mask of elements, ``(*batch, n)``. ``nnx.BatchNorm`` gets it with an axis for the features, so
    that padding stays out of its statistics; norms of each element alone get none. ``nnx.Sequential`` hands options to its
    first entry only, so it gets those that it names itself.

    Raises:
      ValueError: an entry of an ``nnx.Sequential`` accepts an option that would not reach it; or a layer that takes no mask
        takes statistics of a batch, to which padding would add.
    """
    call = type(layer).__call__ if isinstance(layer, nnx.Module) else layer
    parameters = inspect.signature(call).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    if takes_any and not isinstance(layer, nnx.Sequential):
        inner = getattr(layer, "fn", None)  # what MapNodes and its like hand their options to
        return dict(options) if inner is None else accepted_options(inner, options)
    accepted = {name: value for name, value in options.items() if name in parameters}
    if isinstance(layer, nnx.Sequential):
        _require_none_lost(layer, {name: value for name, value in options.items() if name not in accepted})
    if "mask" in options and "mask" not in accepted:
        require_no_statistics(layer, options["mask"])
    if isinstance(called(layer), _EACH_ALONE):
        accepted.pop("mask", None)
    if isinstance(called(layer), nnx.BatchNorm) and accepted.get("mask") is not None:
        accepted["mask"] = accepted["mask"][..., None]
    return accepted


def require_no_statistics(layer: Any, mask: Any) -> None:
    """Raises where a layer that gets no mask takes statistics of a batch, such as an ``nnx.BatchNorm`` inside it.

    Norms that use their running averages take none. A mask that is known to be True everywhere leaves nothing out.

    Args:
      layer: module, method or function.
      mask: bool array, which of the entries are there; None is all.

    Raises:
      ValueError: padding would enter the statistics.
    """
    if mask is None:
        return
    taking = [module for module in modules_reached(layer) if _takes_statistics(module)]
    if not taking:
        return
    known = concrete(mask)
    if known is None or not known.all():
        name = getattr(layer, "__name__", type(layer).__name__)
        raise ValueError(
            f"`mask` does not reach the {type(taking[0]).__name__} inside {name}, whose statistics would count padding. Let "
            f"the call of {name} take `mask` and hand it on, use a norm of each element alone such as nnx.LayerNorm, or the "
            "running averages: nnx.view(model, use_running_average=True)."
        )


def _takes_statistics(module: nnx.Module) -> bool:
    """Tells whether a module takes the statistics of a batch: it has running averages, and does not use them."""
    if hasattr(module, "use_running_average"):
        return getattr(module, "use_running_average", None) is False
    of_flax = type(module).__module__.startswith("flax.")  # whose other statistics are not of a batch
    return not of_flax and any(isinstance(value, nnx.BatchStat) for value in vars(module).values())


def takes_rngs(part: Any) -> bool:
    """Tells whether the call of a function or module, or of an entry of an ``nnx.Sequential``, takes ``rngs``."""
    if isinstance(part, nnx.Sequential):
        return any(map(takes_rngs, part.layers))
    try:
        parameters = inspect.signature(type(part).__call__ if isinstance(part, nnx.Module) else part).parameters
    except (TypeError, ValueError):  # None, or a function of C
        return False
    return "rngs" in parameters


def _require_none_lost(chain: nnx.Sequential, options: dict[str, Any]) -> None:
    """Raises ``ValueError`` where an entry accepts one of the options, which the chain does not hand on."""
    given = {name: value for name, value in options.items() if value is not None}
    for entry in chain.layers if given else ():
        for name in accepted_options(entry, given):
            taker = getattr(entry, "__name__", type(entry).__name__)
            raise ValueError(
                f"`{name}` would not reach {taker}, since nnx.Sequential does not hand it on. Use equijax.nn.Sequential, or "
                f"write a module whose call takes `{name}`."
            )
