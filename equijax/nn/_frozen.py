"""The kernel of a frozen layer: written out once, and taken into the coordinates in which its algorithms multiply."""

import dataclasses
from typing import Any

import jax
from flax import nnx

from equijax._dtypes import accumulation_dtype
from equijax.nn._convolve import convolve, form_of
from equijax.nn._fibrewise import Fibrewise
from equijax.nn._planar import Planar
from equijax.nn._trilinear import Map

Array = jax.Array


class Frozen(nnx.Variable):
    """An array of a frozen layer, made from its parameters; it is no parameter itself."""


class Notes:
    """The shapes of the inputs that a layer was called with; compared by identity."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []


class FrozenKernel(nnx.Module):
    """What a frozen convolution multiplies with, in the place of its ``kernel``.

    Attributes:
      dense: the kernel written out, ``(*window, channels in, channels out)``.
      irreps: its matrices irrep by irrep, where the layer has them.
      spectrum: its Fourier transform for grids of one size, where it was frozen for such grids.
      sizes: that size.
    """

    def __init__(self, layer: Any, kernel: Array):
        self.dense = Frozen(layer.written_out(kernel))
        self.kernel_shape = kernel.shape
        self.sizes: tuple[int, ...] | None = None
        self.notes: Notes | None = None
        form, wide = layer.form(self.dense[...]), accumulation_dtype(kernel.dtype)
        irreps = form.irreps.matrices(kernel.astype(wide)) if isinstance(form, Fibrewise) else []
        self.irreps = nnx.data([Frozen(matrix) for matrix in irreps])
        self.spectrum = nnx.data([])

    def __getitem__(self, index: Any) -> Array:
        """The kernel written out, as a Param gives its array."""
        return self.dense[index]

    def transform(self, planar: Planar, sizes: tuple[int, ...]) -> None:
        """Keeps the Fourier transform for grids of one size."""
        self.sizes = sizes
        self.spectrum = nnx.data([Frozen(part) for part in planar.kernel_spectrum(self.dense[...], sizes)])

    def convolve(self, x: Array, kernel: Array, layer: Any) -> Array:
        """Convolves by the layer's algorithm; elsewhere than on a CPU "auto" is dense.

        Args:
          x: ``(batch, *sizes, channels in)``.
          kernel: the kernel written out, in the dtype of ``x``.
          layer: the layer, for its geometry and its algorithm.
        """
        if self.notes is not None:
            self.notes.shapes.append(x.shape)
        form = form_of(x, kernel, layer)
