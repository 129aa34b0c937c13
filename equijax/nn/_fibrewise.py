"""The convolution of fibres as a trilinear form in its free weights: by ``jax.lax``, or irrep by irrep."""

import dataclasses
import functools
from typing import Any

import jax

from equijax._dtypes import accumulation_dtype
from equijax.nn._by_irrep import ByIrrep
from equijax.nn._cost import costs_of_fibres
from equijax.nn._dense import dense
from equijax.nn._isotypic import isotypic
from equijax.nn._planar import Planar
from equijax.nn._sampling import Sampling
from equijax.nn._trilinear import Form, Map, Program, evaluate
from equijax.sharing import KernelSharing

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Fibrewise(Form):
    """A convolution of ``(batch, *sizes, fibre · in)`` with free weights ``(count, in, out)``.

    Attributes:
      sharing: the weights that are shared: with a window of one sample, or between regular fibres.
      sampling: window, dilation and padding; the strides are 1.
      precision: precision of the products.
      algorithm: ``"auto"`` or ``"group"``.
    """

    sharing: KernelSharing
    sampling: Sampling
    precision: Any
    algorithm: str

    @property
    def has_window(self) -> bool:
        """Whether the window has several samples."""
        return self.sharing.offsets > 1

    @property
    def planar(self) -> Planar:
        """The convolution with the weights written out."""
        return Planar(self.sampling, 1, self.precision, "auto")

    @property
    def irreps(self) -> ByIrrep:
        """The convolution irrep by irrep."""
        return ByIrrep(self.sharing, self.sampling, self.precision)

    def dense(self, x: Array, w: Array) -> Array:
        """The convolution with the weights written out."""
        return dense(x, self.sharing.expand(w), self.sampling, 1, self.precision)

    def dense_on_cpu(self, x: Array, w: Array) -> Array:
        """The same; with one sample as a matrix product, which XLA computes up to three times as fast."""
        kernel = self.sharing.expand(w)
        return self.planar.dense_on_cpu(x, kernel) if self.has_window else self.planar.product(x, kernel)

    def separately(self, x: Array, w: Array) -> Array:
        """The convolution with the weights written out, which has a form of independent problems where there is a window."""
        if self.has_window and self.algorithm == "auto":
            return evaluate(x, self.sharing.expand(w), self.planar)
        return self.dense(x, w)

    def parts(self, role: str) -> int:
        """The fibre of the input or output."""
        return {"x": self.sharing.in_fibre.dim, "y": self.sharing.out_fibre.dim, "w": 1}[role]

    def in_groups(self, count: int) -> None:
        """There is none."""

    def fastest(self, of: Map, shapes: dict[str, tuple[int, ...]]) -> str:
        """Irreps, transforms of the grid, or the dense program."""
        found, axes = isotypic(self.sharing), self.planar.axes(shapes["x"][1:-1]) if self.has_window else ()
        return costs_of_fibres(of.wanted, self.sharing, found.products, found.transform, axes, shapes).fastest

    def program(self, of: Map, algorithm: str) -> Program:
        """A map irrep by irrep, or by transforms of the grid."""
        return functools.partial(self._by_frequency if algorithm == "frequency" else self._by_irrep, of)

    def _by_frequency(self, of: Map, first: Array, second: Array) -> Array:
        expand = self.sharing.expand
        if of.wanted == "w":
            free = jax.ShapeDtypeStruct(of.shape, first.dtype)
            full = Map(self.planar, "w", jax.eval_shape(expand, free).shape)
            return jax.linear_transpose(expand, free)(self.planar.program(full, "frequency")(first, second))[0]
        arrays = (expand(a) if role == "w" else a for role, a in zip(of.given, (first, second), strict=True))
        return self.planar.program(Map(self.planar, of.wanted, of.shape), "frequency")(*arrays)

    def _by_irrep(self, of: Map, first: Array, second: Array) -> Array:
        """The map irrep by irrep; half precision is transformed and accumulated in float32."""
        wide, irreps = accumulation_dtype(first.dtype), self.irreps
        a, b = first.astype(wide), second.astype(wide)
        if of.wanted == "y":
            return irreps.output(a, irreps.matrices(b), of.shape).astype(first.dtype)
        made = irreps.kernel_gradient if of.wanted == "w" else irreps.input_gradient
        return made(a, b, of.shape).astype(first.dtype)
