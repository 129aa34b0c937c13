"""Functions of JAX are pickled and copied by their names, as functions of Python are.

``jax.nn.relu`` and its like are objects of JAX (``jax.jit``, ``jax.custom_jvp``, ``jax.custom_vjp``, ``jnp.ufunc``), which
pickle can't store and ``copy.deepcopy`` copies into other functions. Layers hold them as activations. So this module tells
pickle, by the standard library's ``copyreg``, where such a function is found. What has no name is pickled as before.
"""

import copyreg
import pkgutil
from typing import Any

import jax
import jax.numpy as jnp

# Where the functions of JAX are public; the modules that define them may move.
_PUBLIC = ("jax.nn", "jax.numpy", "jax.lax", "jax.scipy.special")


def by_name(fn: Any) -> Any:
    """Returns how pickle finds a function again: by the first name under which it is found, else as before."""
    name = getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None)
    for module in (*_PUBLIC, getattr(fn, "__module__", None)):
        if module and name and _found(place := f"{module}:{name}") is fn:
            return pkgutil.resolve_name, (place,)
    return fn.__reduce_ex__(4)


def _found(place: str) -> Any:
    try:
        return pkgutil.resolve_name(place)
    except (AttributeError, ImportError, ValueError):
        return None


for _kind in (type(jax.jit(by_name)), jax.custom_jvp, jax.custom_vjp, jnp.ufunc):
    copyreg.pickle(_kind, by_name)  # type: ignore[arg-type]
