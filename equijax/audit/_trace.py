"""Observing a model from outside: a copy of it is traced, and the edges of its submodules are marked."""

import collections
import contextlib
import contextvars
import dataclasses
import functools
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jax.ad_checkpoint import checkpoint_name

from equijax._cache import bounded
from equijax.nn import Layer, Sequential
from equijax.nn._frozen import Frozen
from equijax.nn._jaxpr import Call, Equation, Program, mark_name, read

_CALLS: contextvars.ContextVar["_Calls | None"] = contextvars.ContextVar("calls", default=None)

#: Held by a trace, for whose time the methods of our layers are other ones.
_LOCK = threading.RLock()

#: Attribute of the class of a submodule whose calls leave marks: its path.
_PATH = "_path_in_audit"

#: What may be called of a submodule. A call from within another call of the same submodule leaves no marks of its own.
_METHODS = ("__call__", "with_choice", "choose")


@dataclasses.dataclass(frozen=True)
class _Calls:
    """What happens in a trace.

    Attributes:
      counts: how often each submodule was called.
      edges: what its calls took and returned, as shapes.
      inside: paths of the submodules that are being called.
      layers: our layers that are being called.
      made: name → layer of ours that was made while the model was called.
      models: the copy that is traced.
    """

    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    edges: dict[tuple[Call, str], Any] = dataclasses.field(default_factory=dict)
    inside: list[str] = dataclasses.field(default_factory=list)
    layers: list[Layer] = dataclasses.field(default_factory=list)
    made: dict[str, Layer] = dataclasses.field(default_factory=dict)
    models: list[nnx.Module] = dataclasses.field(default_factory=list)

    def named(self, layer: Layer) -> str:
        """Returns a name for a layer that no module holds, as it was made while the model was called."""
        own = next((name for name, other in self.made.items() if other is layer), None)
        if own is None:
            own = type(layer).__name__
            alike = sum(type(other) is type(layer) for other in self.made.values())
            own = f"{own} ({alike + 1})" if alike else own
            self.made[own] = layer
        return own

    def new(self, path: str) -> Call:
        """Counts a call."""
        self.counts[path] += 1
        return Call(path, self.counts[path])


@dataclasses.dataclass(frozen=True)
class Trace:
    """A model as a program of its state and its input.

    Attributes:
      program: inputs are the leaves of the state, then those of ``x``; outputs those of the result, then of the new state.
      state: the leaves of the state.
      state_names: their names.
      counters: those of the leaves that count random keys.
      frozen: those of the leaves that a frozen layer has made of its parameters.
      x: the leaves of the input.
      x_tree: structure of the input.
      out_tree: structure of the result.
      outputs: number of leaves of the result.
      modules: path → submodule of the user's model.
      edges: call of a submodule and side (``"in"``, ``"out"``) → what passed, as shapes.
    """

    program: Program
    state: tuple[Any, ...]
    state_names: tuple[str, ...]
    x: tuple[Any, ...]
    x_tree: Any
    out_tree: Any
    outputs: int
    modules: Mapping[str, nnx.Module]
    edges: Mapping[tuple[Call, str], Any] = dataclasses.field(default_factory=dict)
    counters: frozenset[str] = frozenset()
    frozen: frozenset[str] = frozenset()

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

    def parts(self) -> tuple[tuple[Equation, ...], tuple[Equation, ...]]:
        """Returns the equations that the result needs: those that don't depend on the input, and those that do."""
        depends, needed = self.program.depends_on(self.x_variables), self.program.needed_for(self.result_variables)
        wanted = [eq for eq in self.program.equations if not needed.isdisjoint(eq.outputs)]
        fixed = tuple(eq for eq in wanted if depends.isdisjoint(eq.outputs))
        return fixed, tuple(eq for eq in wanted if not depends.isdisjoint(eq.outputs))

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
    counters, frozen = (_names_of(model, kind) for kind in (nnx.RngCount, Frozen))
    x_leaves, x_tree = jax.tree.flatten(x)
    x_leaves = tuple(leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jnp.asarray(leaf) for leaf in x_leaves)
    shapes: dict[str, Any] = {}
    calls = _Calls()

    def run(state_leaves: Any, x_leaves: Any) -> Any:
        copy = nnx.merge(graph, jax.tree.unflatten(state_tree, state_leaves))
        _watch(copy)
        calls.models.append(copy)
        result = copy(jax.tree.unflatten(x_tree, x_leaves))
        found, shapes["tree"] = jax.tree.flatten(result)
        shapes["state"] = jax.tree.structure(nnx.split(copy)[1])
        return [jnp.asarray(leaf) for leaf in found], jax.tree.leaves(nnx.split(copy)[1])

    token = _CALLS.set(calls)
    try:
        with jax.disable_jit(), linen.intercept_methods(_linen), _layers_marked():
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
    modules = {**calls.made, **{path_text(path): module for path, module in nnx.iter_modules(model)}}
    tree, program = shapes["tree"], read(closed)
    return Trace(program, leaves, names, x_leaves, x_tree, tree, len(found), modules, calls.edges, counters, frozen)


def _names_of(model: Any, kind: type) -> frozenset[str]:
    """The names of the leaves of one kind of state."""
    found, _ = jax.tree_util.tree_flatten_with_path(nnx.state(model, kind))
    return frozenset(_state_name(path) for path, _ in found)


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
            module.__class__ = _watched(type(module), path_text(path))


@bounded
def _watched(cls: type, path: str) -> type:
    """Returns a subclass whose calls mark the arrays that enter and leave it.

    The path is an attribute of the class: a module of Linen in a wrapper takes every attribute of the instance for its own.
    """
    names: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    names[_PATH] = path
    names |= {name: _marking(getattr(cls, name), path) for name in _METHODS if callable(getattr(cls, name, None))}
    return type(cls)(cls.__name__, (cls,), names)


def _marking(method: Any, path: str) -> Any:
    """Returns a method that marks the arrays that enter and leave it."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls = _CALLS.get()
        if calls is None or path in calls.inside:
            return method(self, *args, **kwargs)
        calls.inside.append(path)
        own = [self] if isinstance(self, Layer) and not isinstance(self, Sequential) else []
        calls.layers.extend(own)
        try:
            return _recorded(calls, path, functools.partial(method, self), args, kwargs)
        finally:
            calls.inside.pop()
            del calls.layers[len(calls.layers) - len(own) :]

    return call


@contextlib.contextmanager
def _layers_marked() -> Iterator[None]:
    """Lets our layers leave marks that are made while the model is called, and that no module holds."""
    with _LOCK, contextlib.ExitStack() as stack:
        for cls in _subclasses(Layer):
            for name in _METHODS:
                if callable(cls.__dict__.get(name)) and not getattr(cls.__dict__[name], "__isabstractmethod__", False):
                    method = cls.__dict__[name]
                    setattr(cls, name, _marking_made(method))
                    stack.callback(setattr, cls, name, method)
        yield


def _subclasses(cls: type) -> list[type]:
    return [below for own in cls.__subclasses__() for below in (own, *_subclasses(own))]


def _marking_made(method: Any) -> Any:
    """Returns a method of our layers that leaves marks where the layer is held by no module and called by no layer."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls = _CALLS.get()
        held = isinstance(self, Sequential) or _PATH in vars(type(self))
        if calls is None or calls.layers or held or any(self is model for model in calls.models):
            return method(self, *args, **kwargs)
        return _marking(method, calls.named(self))(self, *args, **kwargs)

    return call


def _linen(next_call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    """Marks the calls of the submodules of a Linen module, which are named behind the wrapper that holds it."""
    calls = _CALLS.get()
    if calls is None or context.method_name != "__call__" or not context.module.path:
        return next_call(*args, **kwargs)
    path = ".".join((*calls.inside[-1:], *context.module.path))
    return _recorded(calls, path, next_call, args, kwargs)


def _recorded(calls: _Calls, path: str, call: Any, args: Any, kwargs: Any) -> Any:
    """Calls with marks on what enters and leaves."""
    here = calls.new(path)
    calls.edges[here, "in"] = _shapes((args, kwargs))
    args, kwargs = _marked((args, kwargs), here, "in")
    result = call(*args, **kwargs)
    calls.edges[here, "out"] = _shapes(result)
    return _marked(result, here, "out")


def _is_opaque(leaf: Any) -> bool:
    return isinstance(leaf, (nnx.Module, nnx.Rngs))


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray))


def _shapes(tree: Any) -> Any:
    """Returns a tree of shapes, with None in the place of what is no array."""
    shape = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if _is_array(leaf) else None  # noqa: E731
    return jax.tree.map(shape, tree, is_leaf=_is_opaque)


def _marked(tree: Any, call: Call, side: str) -> Any:
    leaves, structure = jax.tree.flatten(tree, is_leaf=_is_opaque)
    places = [i for i, leaf in enumerate(leaves) if _is_array(leaf)]
    for number, i in enumerate(places):
        leaves[i] = checkpoint_name(leaves[i], mark_name(call, side, number, len(places)))
    return jax.tree.unflatten(structure, leaves)
