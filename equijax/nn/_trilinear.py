"""A convolution as one operation of JAX, whose program is chosen when it is lowered.

A convolution is a trilinear form in its input x, its kernel w and a covector y of its output. Holding two of the three gives
the third: the output, and the gradients of the input and of the kernel. The derivatives and the transposes of these three
maps are again these three maps, so one primitive has derivatives of every order and in every mode; and ``vmap`` moves the
new axis into an axis that is there already. How a map is computed is decided for the platform and the shapes for which it is
lowered: on GPUs and TPUs by ``jax.lax`` as ever, unless an algorithm is named.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from equijax._cache import bounded

Array = jax.Array
Program = Callable[[Array, Array], Array]
#: The three arrays of the form: input, kernel, output.
ROLES = ("x", "w", "y")
#: Which axis two of the arrays share that the third has not: batch, output channels, input channels.
_SHARED = {frozenset("xy"): "b", frozenset("wy"): "o", frozenset("xw"): "i"}


class Form(abc.ABC):
    """A trilinear form of ``x (batch, …, channels)``, ``w (…, in, out)`` and ``y (batch, …, channels)``; a hashable value.

    Channels of x stand as (x's parts, in), those of y as (y's parts, out), those of w's last axis as (w's parts, out).
    """

    algorithm: str

    @abc.abstractmethod
    def dense(self, x: Array, w: Array) -> Array:
        """The output, by ``jax.lax``."""

    def dense_on_cpu(self, x: Array, w: Array) -> Array:
        """The same numbers by the fastest dense program on a CPU."""
        return self.dense(x, w)

    def on_cpu(self, of: "Map") -> Program:
        """A map by the fastest dense program on a CPU."""
        return of.by(self.dense_on_cpu)

    def separately(self, x: Array, w: Array) -> Array:
        """The same again, for ``vmap`` over all arrays where there is no form of independent problems."""
        return self.dense(x, w)

    @abc.abstractmethod
    def program(self, of: "Map", algorithm: str) -> Program:
        """The program of a map by another algorithm than the dense one."""

    @abc.abstractmethod
    def fastest(self, of: "Map", shapes: dict[str, tuple[int, ...]]) -> str:
        """The algorithm that is expected to be fastest on a CPU, for the shapes of all three arrays by role."""

    @abc.abstractmethod
    def parts(self, role: str) -> int:
        """Into how many parts the channels of an array fall before they are counted."""

    @abc.abstractmethod
    def in_groups(self, count: int) -> "Form | None":
        """The form of so many independent problems side by side, or None where there is none."""


@dataclasses.dataclass(frozen=True)
class Map:
    """One of the three maps of a form.

    Attributes:
      form: the form.
      wanted: the role of the result.
      shape: its shape.
    """

    form: Form
    wanted: str
    shape: tuple[int, ...]

    @property
    def given(self) -> tuple[str, str]:
        """The roles of the operands, in the order of ``ROLES``."""
        first, second = (role for role in ROLES if role != self.wanted)
        return first, second

    def shapes(self, first: tuple[int, ...], second: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of all three arrays by role."""
        return dict(zip(self.given, (first, second), strict=True)) | {self.wanted: self.shape}

    def by(self, output: Program) -> Program:
        """Returns this map, given a program of the output: that program, or its transposes as JAX takes them."""
        if self.wanted == "y":
            return output

        def gradient(given: Array, y: Array) -> Array:
            held = (lambda x: output(x, given)) if self.wanted == "x" else (lambda w: output(given, w))
            return jax.linear_transpose(held, jax.ShapeDtypeStruct(self.shape, y.dtype))(y)[0]

        return gradient

    @property
    def dense(self) -> Program:
        """The map by ``jax.lax``."""
        return self.by(self.form.dense)


def evaluate(x: Array, w: Array, form: Form) -> Array:
    """Returns the output of a form, by the program that is chosen when it is lowered."""
    return trilinear_p.bind(x, w, of=Map(form, "y", _out_shape(form, x.shape, w.shape, x.dtype)))


@bounded
def _out_shape(form: Form, x: tuple[int, ...], w: tuple[int, ...], dtype: Any) -> tuple[int, ...]:
    return jax.eval_shape(form.dense, *(jax.ShapeDtypeStruct(shape, dtype) for shape in (x, w))).shape


trilinear_p = Primitive("equijax_convolution")


@trilinear_p.def_abstract_eval
def _abstract(first: Any, second: Any, *, of: Map) -> Any:
    del second
    return ShapedArray(of.shape, first.dtype)


@trilinear_p.def_impl
def _evaluated(first: Array, second: Array, *, of: Map) -> Array:
    return _compiled(of)(first, second)


@bounded
def _compiled(of: Map) -> Program:
    return jax.jit(functools.partial(trilinear_p.bind, of=of))


def _transposed(position: int, cotangent: Array, first: Any, second: Any, *, of: Map) -> Array:
    """The cotangent of one operand, from that of the result and the other operand."""
    roles, operands = of.given, (first, second)
    new = Map(of.form, roles[position], operands[position].aval.shape)
    have = {of.wanted: cotangent, roles[1 - position]: operands[1 - position]}
    return trilinear_p.bind(*(have[role] for role in new.given), of=new)


ad.defbilinear(trilinear_p, functools.partial(_transposed, 0), functools.partial(_transposed, 1))


def _batched(operands: tuple[Array, Array], dims: tuple[Any, Any], *, of: Map) -> tuple[Array, int]:
    """Moves a new axis into the axis that its arrays share; where all three have it, it counts independent problems."""
    count = next(a.shape[d] for a, d in zip(operands, dims, strict=True) if d is not None)
    form = of.form.in_groups(count) if None not in dims else of.form
    sizes = (count, *(n for a in operands for n in a.shape))
    if form is None or not all(isinstance(n, int) and n for n in sizes):
        return jax.vmap(of.by(of.form.separately), dims)(*operands), 0
    having = {role for role, d in zip(of.given, dims, strict=True) if d is not None} | {of.wanted}
    index = "g" if None not in dims else _SHARED[frozenset(having)]
    moved = [
        a if d is None else _join(jnp.moveaxis(a, d, 0), role, index, of.form)
        for role, a, d in zip(of.given, operands, dims, strict=True)
    ]
    shape = list(of.shape)
    shape[_joined_axis(of.wanted, index)] *= count
    result = trilinear_p.bind(*moved, of=Map(form, of.wanted, tuple(shape)))
    return _part(result, of.wanted, index, of.form, count, of.shape), 0


batching.primitive_batchers[trilinear_p] = _batched


def _joined_axis(role: str, index: str) -> int:
    return 0 if index == "b" else -2 if (role, index) == ("w", "i") else -1


def _view(shape: tuple[int, ...], role: str, index: str, form: Form) -> tuple[tuple[int, ...], int]:
    """The shape with channels taken apart where the new axis stands between them, and where it stands."""
    if index == "b":
        return shape, 0
    if index == "g":
        return shape, len(shape) - 1
    if (role, index) == ("w", "i"):
        return shape, len(shape) - 2
    parts = form.parts(role)
    return (*shape[:-1], parts, shape[-1] // parts), len(shape)


def _join(x: Array, role: str, index: str, form: Form) -> Array:
    """Merges the first axis into the one that ``index`` names."""
    count, *shape = x.shape
    view, position = _view(tuple(shape), role, index, form)
    x = jnp.moveaxis(x.reshape(count, *view), 0, position)
    shape[_joined_axis(role, index)] *= count
    return x.reshape(shape)


def _part(x: Array, role: str, index: str, form: Form, count: int, shape: tuple[int, ...]) -> Array:
    """Undoes :func:`_join`."""
    view, position = _view(shape, role, index, form)
    return jnp.moveaxis(x.reshape(*view[:position], count, *view[position:]), position, 0).reshape(count, *shape)


def _lowered(choose: Callable[[Map, dict[str, tuple[int, ...]]], Program]) -> Callable:
    """A lowering rule that writes out the program which is chosen for the shapes; open sizes get the dense one."""

    def rule(context: Any, first: Any, second: Any, *, of: Map) -> Any:
        shapes = of.shapes(*(aval.shape for aval in context.avals_in))
        known = all(isinstance(n, int) for shape in shapes.values() for n in shape)
        program = choose(of, shapes) if known else of.dense
        return mlir.lower_fun(program, multiple_results=False)(context, first, second)

    return rule


def _anywhere(of: Map, shapes: dict[str, tuple[int, ...]]) -> Program:
    del shapes
    return of.dense if of.form.algorithm == "auto" else of.form.program(of, of.form.algorithm)


def _on_cpu(of: Map, shapes: dict[str, tuple[int, ...]]) -> Program:
    named = of.form.algorithm
    algorithm = of.form.fastest(of, shapes) if named == "auto" else named
    return of.form.on_cpu(of) if algorithm == "dense" else of.form.program(of, algorithm)


mlir.register_lowering(trilinear_p, _lowered(_anywhere))
mlir.register_lowering(trilinear_p, _lowered(_on_cpu), platform="cpu")
