"""The kernel of a frozen layer: written out once, and taken into the coordinates in which its algorithms multiply."""

import math
from typing import Any

import jax
from flax import nnx

from equijax._dtypes import accumulation_dtype
from equijax.nn._convolve import has_choice, has_fibre_choice, hashable
from equijax.nn._fibrewise import Fibrewise
from equijax.nn._planar import Planar
from equijax.nn._prepared import planar_of, prepared_convolution
from equijax.nn._trilinear import Map

Array = jax.Array


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
      count: number of free weights for each pair of features.
    """

    def __init__(self, kernel: Array, written_out: Array, layer: Any):
        self.dense, self.count = Frozen(written_out), kernel.shape[0]
        form = self._form(kernel, layer)
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
        x = jax.ShapeDtypeStruct(shape, self.dense[...].dtype)
        form = self._form(x, layer)
        if form is not None and self._algorithm(form, shape, layer) == "frequency":
            parts = planar_of(form).kernel_spectrum(self.dense[...], shape[1:-1])
            self.spectrum, self.sizes = nnx.data([Frozen(part) for part in parts]), shape[1:-1]

    def convolve(self, x: Array, kernel: Array, layer: Any) -> Array | None:
        """Convolves by what is kept; None where that is nothing but the kernel.

        Args:
          x: ``(batch, *sizes, channels in)``.
          kernel: the kernel written out, in the dtype of ``x``.
          layer: the layer, for its geometry and its algorithm.
        """
        if self.notes is not None:
            self.notes.shapes.append(x.shape)
        form = self._form(x, layer) if x.dtype == self.dense[...].dtype else None
        if form is None or not (self.irreps or x.shape[1:-1] == self.sizes):
            return None
        algorithm = self._algorithm(form, x.shape, layer)
        kept = self.irreps if algorithm == "group" else ()
        if algorithm == "frequency" and x.shape[1:-1] == self.sizes:
            kept = self.spectrum
        return prepared_convolution(x, kernel, [v[...] for v in kept], form, algorithm, self._out_shape(x.shape, layer))

    def _form(self, x: Any, layer: Any) -> Fibrewise | Planar | None:
        """The form of the layer, where there is more than one way."""
        sampling, precision, algorithm = layer.sampling, hashable(layer.precision), layer.algorithm
        if algorithm == "dense" or sampling.transposed or layer.preferred_element_type is not None:
            return None
        whole = layer.feature_group_count == 1 and algorithm != "frequency"
        if whole and has_fibre_choice(x, self.dense[...], layer.sharing, sampling):
            return Fibrewise(layer.sharing, sampling, precision, algorithm)
        several = math.prod(sampling.window) > 1 and algorithm != "group"
        if several and has_choice(x, self.dense[...], sampling):
            return Planar(sampling, layer.feature_group_count, precision, algorithm)
        return None

    def _algorithm(self, form: Fibrewise | Planar, shape: tuple[int, ...], layer: Any) -> str:
        """The algorithm that is named, or fastest on a CPU."""
        if form.algorithm != "auto":
            return form.algorithm
        of, weights = Map(form, "y", self._out_shape(shape, layer)), self.dense.shape
        if isinstance(form, Fibrewise):
            weights = (self.count, layer.in_features, layer.out_features)
        return form.fastest(of, of.shapes(shape, weights))

    def _out_shape(self, shape: tuple[int, ...], layer: Any) -> tuple[int, ...]:
        return (shape[0], *layer.sampling.out_sizes(shape[1:-1]), self.dense.shape[-1])
