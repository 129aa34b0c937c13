"""A planar convolution as one operation of JAX, whose program is chosen when it is lowered.

A convolution of stride 1 is a trilinear form in its input x, its kernel w and a covector y of its output. Holding two of the
three gives the third: the output, and the gradients of the input and of the kernel. The derivatives and the transposes of
these three maps are again these three maps, so one primitive has derivatives of every order and in every mode; and ``vmap``
moves the new axis into an axis that is there already. How a map is computed is decided for the platform and the shapes for
which it is lowered: the program for GPUs and TPUs is that of ``jax.lax.conv_general_dilated`` and its derivatives.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from equijax._cache import bounded
from equijax.nn import _frequency
from equijax.nn._sampling import Sampling
from equijax.nn._spectrum import Axis

Array = jax.Array
#: The three arrays of the form: input, kernel, output.
ROLES = ("x", "w", "y")
#: Which axis two of the arrays share that the third has not: batch, output channels, input channels.
_SHARED = {frozenset("xy"): "b", frozenset("wy"): "o", frozenset("xw"): "i"}


@dataclasses.dataclass(frozen=True)
class Planar:
    """What a planar convolution is, apart from its shapes.

    Attributes:
      sampling: window, dilation and padding; the strides are 1.
      groups: number of feature groups.
      precision: precision of the products.
      algorithm: ``"auto"``, or the name of an algorithm.
      dense: the convolution as ``dense(x, w, planar)``, by ``jax.lax``.
    """

    sampling: Sampling
    groups: int
    precision: Any
    algorithm: str
    dense: Callable[..., Array]

    def axes(self, sizes: tuple[int, ...]) -> tuple[Axis, ...]:
        """Returns the axes of the grid, given the sizes of the input."""
        s = self.sampling
        border = {"CIRCULAR": "wrap", "REFLECT": "reflect"}.get(str(s.padding), "zero")
        pads = s.pads(sizes)
        return tuple(
            Axis(n, k, d, low, high, border) for n, k, d, (low, high) in zip(sizes, s.window, s.dilation, pads, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Map:
    """One of the three maps of a planar convolution.

    Attributes:
      planar: the convolution.
      wanted: the role of the result.
      shape: its shape.
    """

    planar: Planar
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


def planar_convolution(x: Array, w: Array, planar: Planar) -> Array:
    """Convolves ``(batch, *sizes, in)`` with ``(*window, in // groups, out)``, by what is chosen when it is lowered."""
    shape = jax.eval_shape(lambda x, w: planar.dense(x, w, planar), x, w).shape
    return planar_p.bind(x, w, of=Map(planar, "y", shape))


def dense_map(of: Map) -> Callable[[Array, Array], Array]:
    """Returns a map by ``jax.lax``: the convolution, or its derivatives as JAX takes them."""
    dense = of.planar.dense

    def gradient(given: Array, y: Array) -> Array:
        wanted = jax.ShapeDtypeStruct(of.shape, y.dtype)
        held = (lambda x: dense(x, given, of.planar)) if of.wanted == "x" else (lambda w: dense(given, w, of.planar))
        return jax.linear_transpose(held, wanted)(y)[0]

    return gradient if of.wanted != "y" else lambda x, w: dense(x, w, of.planar)


def frequency_map(of: Map) -> Callable[[Array, Array], Array]:
    """Returns a map by Fourier transforms; half precision is transformed and accumulated in float32."""
    made = {"y": _frequency.output, "x": _frequency.input_gradient, "w": _frequency.kernel_gradient}[of.wanted]
    groups = of.planar.groups

    def inner(role: str, value: Array) -> Array:
        """To ``(*sizes, batch, groups, channels)``, or ``(*window, groups, in, out)``; one group has no axis."""
        if groups > 1:
            value = value.reshape(*value.shape[:-1], groups, value.shape[-1] // groups)
        if role == "w":
            return jnp.swapaxes(value, -2, -3) if groups > 1 else value
        return jnp.moveaxis(value, 0, -3 if groups > 1 else -2)

    def outer(value: Array) -> Array:
        if groups > 1 and of.wanted == "w":
            value = jnp.swapaxes(value, -2, -3)
        elif of.wanted != "w":
            value = jnp.moveaxis(value, -3 if groups > 1 else -2, 0)
        return value.reshape(of.shape)

    def by_frequency(first: Array, second: Array) -> Array:
        sizes = of.shapes(first.shape, second.shape)["x"][1:-1]
        spectrum = _frequency.spectrum(of.planar.axes(sizes), of.planar.precision)
        wide = jnp.float32 if first.dtype.itemsize < 4 else first.dtype
        arrays = (inner(role, a.astype(wide)) for role, a in zip(of.given, (first, second), strict=True))
        return outer(made(spectrum, *arrays)).astype(first.dtype)

    return by_frequency


planar_p = Primitive("equijax_convolution")


@planar_p.def_abstract_eval
def _abstract(first: Any, second: Any, *, of: Map) -> Any:
    del second
    return jax.core.ShapedArray(of.shape, first.dtype)


@planar_p.def_impl
def _evaluate(first: Array, second: Array, *, of: Map) -> Array:
    return _compiled(of)(first, second)


@bounded
def _compiled(of: Map) -> Callable[[Array, Array], Array]:
    return jax.jit(functools.partial(planar_p.bind, of=of))


def _transposed(position: int, cotangent: Array, first: Any, second: Any, *, of: Map) -> Array:
    """The cotangent of one operand, from that of the result and the other operand."""
    roles, operands = of.given, (first, second)
    new = Map(of.planar, roles[position], operands[position].aval.shape)
    have = {of.wanted: cotangent, roles[1 - position]: operands[1 - position]}
    return planar_p.bind(*(have[role] for role in new.given), of=new)


ad.defbilinear(planar_p, functools.partial(_transposed, 0), functools.partial(_transposed, 1))


def _batched(operands: tuple[Array, Array], dims: tuple[Any, Any], *, of: Map) -> tuple[Array, int]:
    """Moves a new axis into the axis that its arrays share; where all three have it, it counts groups."""
    count = next(a.shape[d] for a, d in zip(operands, dims, strict=True) if d is not None)
    shapes = (a.shape if d is None else a.shape[:d] + a.shape[d + 1 :] for a, d in zip(operands, dims, strict=True))
    if not all(isinstance(n, int) and n for n in (count, *(n for shape in shapes for n in shape))):
        return jax.vmap(dense_map(of), dims)(*operands), 0
    both = None not in dims
    having = {role for role, d in zip(of.given, dims, strict=True) if d is not None} | {of.wanted}
    index = "g" if both else _SHARED[frozenset(having)]
    groups = of.planar.groups
    moved = [
        a if d is None else _join(jnp.moveaxis(a, d, 0), role, index, groups)
        for role, a, d in zip(of.given, operands, dims, strict=True)
    ]
    planar = dataclasses.replace(of.planar, groups=groups * count) if both else of.planar
    axis = _joined_axis(of.wanted, index)
    shape = list(of.shape)
    shape[axis] *= count
    result = planar_p.bind(*moved, of=Map(planar, of.wanted, tuple(shape)))
    return _part(result, of.wanted, index, groups, count, of.shape), 0


batching.primitive_batchers[planar_p] = _batched


def _joined_axis(role: str, index: str) -> int:
    return 0 if index == "b" else -2 if (role, index) == ("w", "i") else -1


def _views(shape: tuple[int, ...], role: str, index: str, groups: int) -> tuple[tuple[int, ...], int]:
    """The shape with channels split by groups where the new axis stands between them, and where it stands."""
    if index == "b":
        return shape, 0
    if index == "g":
        return shape, len(shape) - 1
    if (role, index) == ("w", "i"):
        return shape, len(shape) - 2
    return (*shape[:-1], groups, shape[-1] // groups), len(shape)


def _join(x: Array, role: str, index: str, groups: int) -> Array:
    """Merges the first axis into the one that ``index`` names."""
    count, *shape = x.shape
    view, position = _views(tuple(shape), role, index, groups)
    x = jnp.moveaxis(x.reshape(count, *view), 0, position)
    shape[_joined_axis(role, index)] *= count
    return x.reshape(shape)


def _part(x: Array, role: str, index: str, groups: int, count: int, shape: tuple[int, ...]) -> Array:
    """Undoes :func:`_join`."""
    view, position = _views(shape, role, index, groups)
    return jnp.moveaxis(x.reshape(*view[:position], count, *view[position:]), position, 0).reshape(count, *shape)


def _lowered(platform_chooses: Callable[[Map, Any, Any], Callable]) -> Callable:
    """A lowering rule that writes out the program which is chosen for the shapes."""

    def rule(context: Any, first: Any, second: Any, *, of: Map) -> Any:
        program = platform_chooses(of, *context.avals_in)
        return mlir.lower_fun(program, multiple_results=False)(context, first, second)

    return rule


def _anywhere(of: Map, first: Any, second: Any) -> Callable[[Array, Array], Array]:
    del first, second
    return frequency_map(of) if of.planar.algorithm == "frequency" else dense_map(of)


def _on_cpu(of: Map, first: Any, second: Any) -> Callable[[Array, Array], Array]:
    from equijax.nn._cost import prefers_frequency

    named = of.planar.algorithm
    by_frequency = named == "frequency" or (named == "auto" and prefers_frequency(of, first, second))
    return frequency_map(of) if by_frequency else dense_map(of)


mlir.register_lowering(planar_p, _lowered(_anywhere))
mlir.register_lowering(planar_p, _lowered(_on_cpu), platform="cpu")
