r"""The discrete Fourier transforms of one grid axis under a convolution, as matrices.

A convolution with zero, circular or mirrored borders is a circular convolution of a length N that is no larger than it needs
to be: the zeros between the last sample and the first serve both ends. So it is a product for each frequency,

.. math:: \hat x_f = \sum_i x_i\, e^{-2πi f q_i / N}, \quad \hat κ_f = \sum_j κ_j\, e^{2πi f j d / N}, \quad
          y_o = \frac 1N \sum_f \hat x_f \hat κ_f\, e^{2πi f o / N},

with q_i the place of sample i on the padded axis and d the dilation. Grids are short, so the sums are matrix products.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from equijax._arrays import read_only
from equijax._cache import bounded


@dataclasses.dataclass(frozen=True)
class Axis:
    """One grid axis of a convolution with stride 1.

    Attributes:
      size: number of samples.
      window: number of samples that the kernel has.
      dilation: steps between them.
      low: samples added before.
      high: samples added after.
      border: what is added: ``"zero"``, ``"wrap"`` or ``"reflect"``.
    """

    size: int
    window: int
    dilation: int
    low: int
    high: int
    border: str

    @property
    def reach(self) -> int:
        """How far the kernel reaches, in samples."""
        return (self.window - 1) * self.dilation

    @property
    def out_size(self) -> int:
        """Number of outputs."""
        return self.size + self.low + self.high - self.reach

    @property
    def length(self) -> int:
        """N, the length of the circle."""
        if self.border == "wrap":
            return self.size
        if self.border == "reflect":
            return self.size + self.low + self.high
        behind = max(self.out_size - 1 + self.reach - self.low, self.size - 1) + 1
        return max(behind, self.size + self.low)

    @property
    def placed(self) -> np.ndarray:
        """Which sample stands at each place of the circle, ``(N, size)``: one 1 in a row, or none."""
        if self.border == "reflect":
            return np.pad(np.eye(self.size), [(self.low, self.high), (0, 0)], mode="reflect")
        places = np.zeros((self.length, self.size))
        places[(self.low + np.arange(self.size)) % self.length, np.arange(self.size)] = 1
        return places


def _waves(frequencies: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
    """``exp(2πi f q / N)``, complex ``(frequencies, places)``; products are reduced modulo N before they are rounded."""
    return np.exp(2j * np.pi * (np.outer(frequencies, places) % length) / length)


@dataclasses.dataclass(frozen=True)
class Transforms:
    """The three transforms of one axis between real pairs (real part, imaginary part).

    Attributes:
      read: from samples to frequencies.
      kernel: from the kernel's samples to frequencies.
      write: from frequencies to outputs.
    """

    read: np.ndarray
    kernel: np.ndarray
    write: np.ndarray


@bounded
def real_transforms(axis: Axis) -> Transforms:
    """Transforms between real numbers and the frequencies 0 … N // 2: the others are their conjugates.

    Returns:
      ``read (K, 2, size)``, ``kernel (K, 2, window)``, ``write (out_size, K, 2)``, float64, read-only.
    """
    n = axis.length
    frequencies = np.arange(n // 2 + 1)
    read = _waves(-frequencies, np.arange(n), n) @ axis.placed
    kernel = _waves(frequencies, axis.dilation * np.arange(axis.window), n)
    doubled = np.where((frequencies == 0) | (2 * frequencies == n), 1.0, 2.0) / n
    write = _waves(np.arange(axis.out_size), frequencies, n) * doubled
    pair = lambda z, axis: read_only(np.stack([z.real, z.imag], axis))  # noqa: E731
    return Transforms(pair(read, 1), pair(kernel, 1), read_only(np.stack([write.real, -write.imag], -1)))


@bounded
def complex_transforms(axis: Axis) -> Transforms:
    """Transforms between complex numbers and all N frequencies.

    Returns:
      ``read (N, 2, 2, size)``, ``kernel (2, N, 2, window)``, ``write (2, out_size, N, 2)``, float64, read-only. The part
      of a number stands after its frequency and before its sample, but first in ``kernel``.
    """
    n = axis.length
    frequencies = np.arange(n)
    read = _waves(-frequencies, np.arange(n), n) @ axis.placed
    kernel = _waves(frequencies, axis.dilation * np.arange(axis.window), n)
    write = _waves(np.arange(axis.out_size), frequencies, n) / n
    return Transforms(
        read_only(np.einsum("abns->nabs", _parts(read))),
        read_only(np.einsum("abns->anbs", _parts(kernel))),
        read_only(np.einsum("abon->aonb", _parts(write))),
    )


def with_product(write: np.ndarray) -> np.ndarray:
    """Takes products first: ``(…, frequency, part)`` to ``(part of the kernel, …, frequency, part of the input)``."""
    return np.einsum("...nf,fde->e...nd", write, PRODUCT)


def _parts(z: Any) -> Float[np.ndarray, "2 2 rows columns"]:
    """Multiplication by a complex matrix, on real and imaginary parts."""
    return np.array([[z.real, -z.imag], [z.imag, z.real]])


#: The product of two complex numbers: part of the result, part of the first, part of the second.
PRODUCT = read_only(np.array([[[1.0, 0.0], [0.0, -1.0]], [[0.0, 1.0], [1.0, 0.0]]]))
