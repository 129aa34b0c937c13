"""The modules that a function of the user reaches: its own parts, and those that it holds in a closure or by a name."""

import functools
import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

_LIBRARIES = frozenset(("jax", "jaxlib", "flax", "numpy", "scipy", "equijax", "builtins", "functools", "typing"))
_DEPTH = 12


def called(fn: Any) -> Any:
    """Returns what is called in the end: the module of a bound ``__call__``, the function of a ``functools.partial``."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif getattr(fn, "__name__", None) == "__call__" and isinstance(getattr(fn, "__self__", None), nnx.Module):
            fn = fn.__self__
        else:
            return fn


def modules_reached(fn: Any) -> Iterator[nnx.Module]:
    """Yields each module that a call of ``fn`` may use, as far as it can be seen.

    They are looked for in modules, closures, defaults, objects, containers, and under the global names of the user's own
    functions.
    """
    seen: set[int] = set()
    left = [(fn, 0)]
    while left:
        value, depth = left.pop()
        if id(value) in seen or depth > _DEPTH:
            continue
        seen.add(id(value))
        if isinstance(value, nnx.Module):
            yield value
        left += [(part, depth + 1) for part in _parts(value)]


def _parts(value: Any) -> list[Any]:
    plain = (str, bytes, int, float, complex, type(None), np.ndarray, jax.Array, nnx.Variable, type, types.ModuleType)
    if isinstance(value, plain):
        return []
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, types.FunctionType):
        return _parts_of_function(value)
    inside = list(getattr(value, "__dict__", {}).values())
    own_call = inspect.getattr_static(type(value), "__call__", None)
    return [*inside, own_call] if isinstance(own_call, types.FunctionType) else inside


def _parts_of_function(fn: types.FunctionType) -> list[Any]:
    parts = [*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values()]
    for cell in fn.__closure__ or ():
        try:
            parts.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            continue
    parts.append(getattr(fn, "__wrapped__", None))
    if (fn.__module__ or "").split(".")[0] not in _LIBRARIES:
        parts += [fn.__globals__[name] for name in _names(fn.__code__) if name in fn.__globals__]
    return parts


def _names(code: types.CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if inspect.iscode(constant))
    return set(code.co_names).union(*map(_names, inner))
