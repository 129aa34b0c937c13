"""What layers are given: options that mean the same in every layer are checked by their names, before a layer is built."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
from flax import nnx

from equijax._arguments import boolean, float_dtype, function, real_number, shown
from equijax._numbers import positive_int, probability
from equijax.groups._elements import numeric

T = TypeVar("T", bound=type)


def checked(cls: T) -> T:
    """Makes a class of layers check what it is given; ``Layer`` does so for all of the library's own subclasses.

    Constructors check ``rngs``, dtypes, initialisers, functions, bools and the like by name; a call checks that ``inputs``
    (or ``x``, ``y``) is an array of numbers. What belongs to one layer alone is checked by that layer.
    """
    if "__init__" in vars(cls):
        cls.__init__ = _checking(cls.__init__, _require_options)  # type: ignore[misc]
    if "__call__" in vars(cls):
        cls.__call__ = _checking(cls.__call__, _as_arrays)
    return cls


def require_rngs(rngs: Any) -> None:
    """Raises ``TypeError`` where an argument is no ``nnx.Rngs`` (or a stream or fork of one)."""
    if not isinstance(rngs, (nnx.Rngs, nnx.RngStream)):
        raise TypeError(f"`rngs` is {shown(rngs)}; it must be nnx.Rngs, for example rngs=nnx.Rngs(0).")


def _checking(method: Callable[..., Any], check: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return method(*args, **kwargs)  # which says what is missing
        changed = check(signature, bound.arguments)
        bound.arguments.update(changed)
        return method(*bound.args, **bound.kwargs)

    return call


def _require_options(signature: inspect.Signature, given: Mapping[str, Any]) -> dict[str, Any]:
    changed = {}
    options = {name: (value, signature.parameters[name].default) for name, value in given.items()}
    for name, (value, default) in options.items():
        optional = default is None or (default is inspect.Parameter.empty and name in _OPTIONAL)
        if value is default or (value is None and optional):
            continue
        if isinstance(default, bool):
            changed[name] = boolean(value, name)
        elif name == "epsilon":
            changed[name] = float(real_number(value, name, 0.0 if default else -math.inf))
        elif name in _CHECKS:
            found = _CHECKS[name](value, name)
            changed[name] = value if found is None else found
        elif name.endswith("_init"):
            function(value, name, "an initialiser, called as init(key, shape, dtype)")
        elif name.endswith("_metadata"):
            _require_metadata(value, name)
    return changed


def _as_arrays(signature: inspect.Signature, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays as arrays; what is annotated as ``Any`` may be a graph or another pytree of arrays."""
    changed = {}
    for name, value in given.items():
        default = signature.parameters[name].default
        if isinstance(default, bool) or (name in _SWITCHES and value is not None):
            changed[name] = boolean(value, name)
    for name in ("inputs", "x", "y"):
        if name not in given:
            continue
        value = given[name]
        if isinstance(value, list):
            value = changed[name] = numeric(value, name)
        leaves = jax.tree.leaves(value) if signature.parameters[name].annotation is Any else [value]
        if len(leaves) == 1 and leaves[0] is value:
            changed[name] = numeric(value, name)
        elif not leaves or not all(hasattr(leaf, "shape") for leaf in leaves):
            raise TypeError(f"`{name}` is {shown(value)}; it must be an array of numbers, or a graph or the like.")
    return changed


def _require_metadata(value: Any, name: str) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"`{name}` is {shown(value)}; it must be a mapping from names to values.")


def _require_precision(value: Any, name: str) -> None:
    pair = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value,)
    for one in pair:
        words = {"default", "high", "highest", "float32", "bfloat16", "bfloat16_3x", "tensorfloat32", "fastest"}
        known = one is None or isinstance(one, (jax.lax.Precision, jax.lax.DotAlgorithm, jax.lax.DotAlgorithmPreset))
        if not known and not (isinstance(one, str) and (one in words or one.upper() in _PRESETS)):
            raise ValueError(f"`{name}` is {shown(value)}; it must be None, 'default', 'high' or 'highest'.")


_PRESETS = frozenset(preset.name for preset in jax.lax.DotAlgorithmPreset)


def _require_axis_name(value: Any, name: str) -> None:
    if not isinstance(value, (str, tuple)):
        raise TypeError(f"`{name}` is {shown(value)}; it must be the name of a mapped axis, or a tuple of names.")


def _require_word(value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"`{name}` is {shown(value)}; it must be a word.")


_SWITCHES = frozenset(("deterministic", "use_running_average", "return_attention_weights"))
_OPTIONAL = frozenset(("dtype", "param_dtype", "preferred_element_type", "precision", "activation", "score", "axis_name"))
_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "rngs": lambda value, name: require_rngs(value),
    "dtype": float_dtype,
    "param_dtype": float_dtype,
    "preferred_element_type": float_dtype,
    "precision": _require_precision,
    "promote_dtype": lambda value, name: function(value, name, "a function such as flax.nnx.nn.dtypes.promote_dtype"),
    "activation": function,
    "gate": function,
    "score": lambda value, name: function(value, name, "a function or module of one array, such as equijax.nn.PhaseScore"),
    **dict.fromkeys(("momentum", "rate", "dropout_rate"), probability),
    "negative_slope": lambda value, name: float(real_number(value, name)),
    "axis_name": _require_axis_name,
    **dict.fromkeys(("mode", "method", "normalization", "rng_collection"), _require_word),
    **dict.fromkeys(
        ("in_features", "out_features", "num_features", "num_heads", "num_groups", "pre_layers", "post_layers", "towers"),
        positive_int,
    ),
}
