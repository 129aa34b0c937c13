"""Observing a model from outside: a copy of it is traced, and the edges of its submodules are marked."""

import collections
import contextvars
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from equijax.audit._jaxpr import Call, Program, mark_name, read

_CALLS: contextvars.ContextVar[collections.Counter[str] | None] = contextvars.ContextVar("calls", default=None)
_PATH = "equijax_audit_path"


@dataclasses.dataclass(frozen=True)
class Trace:
    """A model as a program of its state and its input.

    Attributes:
      program: inputs are the leaves of the state, then those of ``x``; outputs those of the result, then of the new state.
      state: the leaves of the state.
      state_names: their names.
      x: the leaves of the input.
      x_tree: structure of the input.
      out_tree: structure of the result.
      outputs: number of leaves of the result.
      modules: path → submodule of the user's model.
    """

    program: Program
    state: tuple[Any, ...]
    state_names: tuple[str, ...]
    x: tuple[Any, ...]
    x_tree: Any
    out_tree: Any
    outputs: int
    modules: Mapping[str, nnx.Module]

    @property
    def x_variables(self) -> tuple[int, ...]:
        """The variables of the input."""
        return self.program.inputs[len(self.state) :]

    @property
    def state_variables(self) -> tuple[int, ...]:
        """The variables of the state."""
        return self.program.inputs[: len(self.state)]

    @property
    def result_variables(self) -> tuple[int, ...]:
        """The variables of the result."""
        return self.program.outputs[: self.outputs]

    @property
    def new_state_variables(self) -> tuple[int, ...]:
        """The variables of the state after the call."""
        return self.program.outputs[self.outputs :]


def trace(model: nnx.Module, x: Any) -> Trace:
    """Traces ``model(x)`` on a copy; the model is not touched.

    Args:
      model: any module that can be called on ``x`` alone; its state may be abstract (``nnx.eval_shape``).
      x: array or pytree of arrays (or of ``jax.ShapeDtypeStruct``).

    Raises:
      TypeError: ``model`` is no ``nnx.Module`` or can't be called.
      ValueError: the call can't be traced; the message says why and what to change.
    """
    if not isinstance(model, nnx.Module) or not callable(model):
        raise TypeError(
            f"`model` is {type(model).__name__}; it must be an nnx.Module with a __call__. Wrap a function in a module "
            "whose __call__ calls it."
        )
    graph, state = nnx.split(model)
    named, state_tree = jax.tree_util.tree_flatten_with_path(state)
    names = tuple(_state_name(path) for path, _ in named)
    leaves = tuple(leaf for _, leaf in named)
    x_leaves, x_tree = jax.tree.flatten(x)
    x_leaves = tuple(leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jnp.asarray(leaf) for leaf in x_leaves)
    shapes: dict[str, Any] = {}

    def run(state_leaves: Any, x_leaves: Any) -> Any:
        copy = nnx.merge(graph, jax.tree.unflatten(state_tree, state_leaves))
        _watch(copy)
        result = copy(jax.tree.unflatten(x_tree, x_leaves))
        found, shapes["tree"] = jax.tree.flatten(result)
        shapes["state"] = jax.tree.structure(nnx.split(copy)[1])
        return [jnp.asarray(leaf) for leaf in found], jax.tree.leaves(nnx.split(copy)[1])

    token = _CALLS.set(collections.Counter())
    try:
        with jax.disable_jit():
            closed, (found, _) = jax.make_jaxpr(run, return_shape=True)(leaves, x_leaves)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        raise ValueError(
            f"`model` ({type(model).__name__}) can't be traced: {str(error).splitlines()[0]} It computes with the values of "
            "its input in Python or numpy. Write that part with jax.numpy, jnp.where or jax.lax.cond, or audit the parts of "
            "the model before and behind it."
        ) from error
    finally:
        _CALLS.reset(token)
    if not found:
        raise ValueError(f"`model` ({type(model).__name__}) returns no array; an audit needs one.")
    modules = {path_text(path): module for path, module in nnx.iter_modules(model)}
    return Trace(read(closed), leaves, names, x_leaves, x_tree, shapes["tree"], len(found), modules)


def path_text(path: tuple[Any, ...]) -> str:
    """Returns the path of a submodule as text: ``"blocks.0.conv"``."""
    return ".".join(str(part) for part in path)


def _state_name(path: tuple[Any, ...]) -> str:
    """Returns the name of a leaf of the state: ``"blocks.0.conv.kernel"``."""
    parts = [getattr(part, "key", getattr(part, "idx", None)) for part in path]
    return ".".join(str(part) for part in parts if part is not None)


def _watch(copy: nnx.Module) -> None:
    """Swaps the class of every submodule of the copy, so that its calls leave marks."""
    for path, module in tuple(nnx.iter_modules(copy)):
        if path and callable(module) and not isinstance(module, (nnx.List, nnx.Dict)):
            setattr(module, _PATH, path_text(path))
            module.__class__ = _watched(type(module))


@functools.cache
def _watched(cls: type) -> type:
    """Returns a subclass whose calls mark the arrays that enter and leave it."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls = _CALLS.get()
        if calls is None:
            return cls.__call__(self, *args, **kwargs)  # pyright: ignore[reportCallIssue]
        path = getattr(self, _PATH)
        calls[path] += 1
        here = Call(path, calls[path])
        args, kwargs = _marked((args, kwargs), here, "in")
        return _marked(cls.__call__(self, *args, **kwargs), here, "out")  # pyright: ignore[reportCallIssue]

    names = {"__call__": call, "__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls)(cls.__name__, (cls,), names)


def _marked(tree: Any, call: Call, side: str) -> Any:
    leaves, structure = jax.tree.flatten(tree, is_leaf=lambda leaf: isinstance(leaf, (nnx.Module, nnx.Rngs)))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, (jax.Array, np.ndarray))]
    for number, i in enumerate(places):
        leaves[i] = checkpoint_name(leaves[i], mark_name(call, side, number, len(places)))
    return jax.tree.unflatten(structure, leaves)
