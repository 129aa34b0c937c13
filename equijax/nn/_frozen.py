"""The kernel of a frozen layer: written out once, and taken into the coordinates in which its algorithms multiply."""

from typing import Any

import jax
from flax import nnx

from equijax._dtypes import accumulation_dtype
from equijax.nn._fibrewise import Fibrewise
from equijax.nn._planar import Planar
from equijax.nn._prepared import planar_of, prepared_convolution
from equijax.nn._trilinear import Map

Array = jax.Array
Form = Fibrewise | Planar | None


class Frozen(nnx.Variable):
    """An array of a frozen layer, made of its parameters."""


class Notes:
    """The shapes of what a layer is called with; equal to itself only, so that it is static in a module."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []


class FrozenKernel(nnx.Module):
    """What a frozen convolution multiplies with, in the place of its ``kernel``.

    Attributes:
      dense: the kernel written out, ``(*window, channels in, channels out)``.
      irreps: its matrices irrep by irrep, where the layer has them.
      spectrum: both parts of its Fourier transform for grids of one size, where it was frozen for such.
      sizes: that size, or None.
      weights: shape of the free weights.
    """

    def __init__(self, kernel: Array, written_out: Array, form: Form):
        self.dense, self.weights = Frozen(written_out), kernel.shape
        wide = kernel.astype(accumulation_dtype(kernel.dtype))
        self.irreps = nnx.data([Frozen(m) for m in form.irreps.matrices(wide)] if isinstance(form, Fibrewise) else [])
        self.spectrum = nnx.data([])
        self.sizes: tuple[int, ...] | None = None
        self.notes: Notes | None = None

    def __getitem__(self, index: Any) -> Array:
        """The kernel written out, as a parameter gives its array."""
        return self.dense[index]

    def transform(self, layer: Any, shape: tuple[int, ...]) -> None:
        """Keeps the Fourier transform where it is what a planar input of this shape is multiplied with."""
        kernel = self.dense[...]
        form: Form = layer.form(jax.ShapeDtypeStruct(shape, kernel.dtype), kernel)
        if form is not None and self._algorithm(form, shape) == "frequency":
            parts = planar_of(form).kernel_spectrum(kernel, shape[1:-1])
            self.spectrum, self.sizes = nnx.data([Frozen(part) for part in parts]), shape[1:-1]

    def convolve(self, x: Array, kernel: Array, form: Fibrewise | Planar) -> Array | None:
        """Convolves by what is kept; None where that is nothing but the kernel.

        Args:
          x: ``(batch, *sizes, channels in)``.
          kernel: the kernel written out, in the dtype of ``x``.
          form: the form of the layer's convolution.
        """
        if self.notes is not None:
            self.notes.shapes.append(x.shape)
        is_transformed = x.shape[1:-1] == self.sizes
        if x.dtype != self.dense[...].dtype or not (is_transformed or isinstance(form, Fibrewise)):
            return None
        algorithm = self._algorithm(form, x.shape)
        kept = self.irreps if algorithm == "group" else self.spectrum if algorithm == "frequency" and is_transformed else ()
        return prepared_convolution(x, kernel, [v[...] for v in kept], form, algorithm, self._output(form, x.shape).shape)

    def _algorithm(self, form: Fibrewise | Planar, shape: tuple[int, ...]) -> str:
        """The algorithm that is named, or fastest on a CPU."""
        if form.algorithm != "auto":
            return form.algorithm
        of, weights = self._output(form, shape), self.weights if isinstance(form, Fibrewise) else self.dense.shape
        return form.fastest(of, of.shapes(shape, weights))

    def _output(self, form: Fibrewise | Planar, shape: tuple[int, ...]) -> Map:
        return Map(form, "y", (shape[0], *form.sampling.out_sizes(shape[1:-1]), self.dense.shape[-1]))
