"""The convolution of a grid at stride 1 as a trilinear form: by ``jax.lax``, or by Fourier transforms of the grid."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from equijax._dtypes import accumulation_dtype
from equijax.nn import _depthwise, _frequency
from equijax.nn._cost import frequency_is_faster
from equijax.nn._dense import dense, dense_on_cpu
from equijax.nn._sampling import Sampling
from equijax.nn._spectrum import Axis
from equijax.nn._trilinear import Form, Map, Program

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Planar(Form):
    """A convolution of ``(batch, *sizes, channels)`` with ``(*window, channels of a group, channels)``.

    Attributes:
      sampling: window, dilation and padding; the strides are 1.
      groups: number of feature groups.
      precision: precision of the products.
      algorithm: ``"auto"`` or ``"frequency"``.
    """

    sampling: Sampling
    groups: int
    precision: Any
    algorithm: str

    def dense(self, x: Array, w: Array) -> Array:
        """The convolution by ``jax.lax``."""
        return dense(x, w, self.sampling, self.groups, self.precision)

    def dense_on_cpu(self, x: Array, w: Array) -> Array:
        """The same, in the form that a CPU computes fastest."""
        return dense_on_cpu(x, w, self.sampling, self.groups, self.precision)

    def product(self, x: Array, w: Array) -> Array:
        """The convolution with one sample as a matrix product."""
        rows = jnp.dot(x.reshape(-1, x.shape[-1]), w.reshape(w.shape[-2:]), precision=self.precision)
        return rows.reshape(*x.shape[:-1], w.shape[-1])

    def on_cpu(self, of: Map) -> Program:
        """A map by the fastest dense program on a CPU: sums over the window where each group has one channel."""

        def program(first: Array, second: Array) -> Array:
            shapes = of.shapes(first.shape, second.shape)
            if not _depthwise.is_depthwise(of.wanted, shapes["w"], self.groups):
                return super(Planar, self).on_cpu(of)(first, second)
            if of.wanted == "x":
                return _depthwise.input_gradient(first, second, self.sampling, of.shape)
            made = _depthwise.output if of.wanted == "y" else _depthwise.kernel_gradient
            return made(first, second, self.sampling)

        return program

    def parts(self, role: str) -> int:
        """The number of feature groups."""
        del role
        return self.groups

    def in_groups(self, count: int) -> Form:
        """So many times as many feature groups."""
        return dataclasses.replace(self, groups=self.groups * count)

    def axes(self, sizes: tuple[int, ...]) -> tuple[Axis, ...]:
        """Returns the axes of the grid, given the sizes of the input."""
        s = self.sampling
        border = {"CIRCULAR": "wrap", "REFLECT": "reflect"}.get(str(s.padding), "zero")
        entries = zip(sizes, s.window, s.dilation, s.pads(sizes), strict=True)
        return tuple(Axis(n, k, d, low, high, border) for n, k, d, (low, high) in entries)

    def fastest(self, of: Map, shapes: dict[str, tuple[int, ...]]) -> str:
        """Transforms of the grid, or the dense program."""
        if _depthwise.is_depthwise(of.wanted, shapes["w"], self.groups):
            return "dense"
        faster = frequency_is_faster(of.wanted, self.axes(shapes["x"][1:-1]), self.groups, shapes)
        return "frequency" if faster else "dense"

    def program(self, of: Map, algorithm: str) -> Program:
        """A map by Fourier transforms of the grid; half precision is transformed and accumulated in float32."""
        del algorithm
        made = {"y": _frequency.output, "x": _frequency.input_gradient, "w": _frequency.kernel_gradient}[of.wanted]

        def program(first: Array, second: Array) -> Array:
            sizes = of.shapes(first.shape, second.shape)["x"][1:-1]
            spectrum = _frequency.spectrum(self.axes(sizes), self.precision)
            wide = accumulation_dtype(first.dtype)
            arrays = (self._inner(role, a.astype(wide)) for role, a in zip(of.given, (first, second), strict=True))
            return self._outer(of, made(spectrum, *arrays)).astype(first.dtype)

        return program

    def kernel_spectrum(self, w: Array, sizes: tuple[int, ...]) -> list[Array]:
        """The transform of a kernel for inputs of a size, all that can be done before there is an input."""
        wide = w.astype(accumulation_dtype(w.dtype))
        return _frequency.kernel_spectrum(_frequency.spectrum(self.axes(sizes), self.precision), self._inner("w", wide))

    def output_by_spectrum(self, x: Array, parts: list[Array], shape: tuple[int, ...]) -> Array:
        """The output of a shape, given the transform of the kernel for the size of the input."""
        spectrum = _frequency.spectrum(self.axes(x.shape[1:-1]), self.precision)
        made = _frequency.output_by_spectrum(spectrum, self._inner("x", x.astype(accumulation_dtype(x.dtype))), parts)
        return self._outer(Map(self, "y", shape), made).astype(x.dtype)

    def _inner(self, role: str, value: Array) -> Array:
        """To ``(*sizes, batch, groups, channels)``, or ``(*window, groups, in, out)``; one group has no axis."""
        grouped = self.groups > 1
        if grouped:
            value = value.reshape(*value.shape[:-1], self.groups, value.shape[-1] // self.groups)
        if role == "w":
            return jnp.swapaxes(value, -2, -3) if grouped else value
        return jnp.moveaxis(value, 0, -3 if grouped else -2)

    def _outer(self, of: Map, value: Array) -> Array:
        """Undoes :meth:`_inner` for the result of a map."""
        grouped = self.groups > 1
        if of.wanted != "w":
            value = jnp.moveaxis(value, -3 if grouped else -2, 0)
        elif grouped:
            value = jnp.swapaxes(value, -2, -3)
        return value.reshape(of.shape)
