"""Which program of a convolution is expected to be the faster one on a CPU.

Both times are modelled as sums of products, bytes and a constant, with rates fitted to measured times of about a hundred
shapes on two cores (``tests/benchmarks/algorithms.py``). Only their comparison matters: it holds on machines whose products
and memory are faster or slower together.
"""

import math
from typing import NamedTuple

import jax

from equijax.nn._spectrum import Axis
from equijax.sharing import KernelSharing

Shapes = dict[str, tuple[int, ...]]


class Dense(NamedTuple):
    """Milliseconds of ``jax.lax.conv_general_dilated``.

    Attributes:
      product: for 10⁹ operations, a product and a sum each counted.
      thin_out: the same, times 32 / (channels of the result): few of them fill no vector.
      thin_in: the same, times 16 / (channels of the other array).
      byte: for 10⁶ bytes of input and output.
      kernel: for 10⁶ bytes of the kernel.
      call: for a call.
    """

    product: float
    thin_out: float
    thin_in: float
    byte: float
    kernel: float
    call: float


class Frequency(NamedTuple):
    """Milliseconds of the transforms.

    Attributes:
      mix: for 10⁹ operations of the products over channels.
      transform: for 10⁹ operations of the transforms of input and output.
      kernel: for 10⁹ operations of the transform of the kernel.
      byte: for 10⁶ bytes of input and output.
      spectrum: for 10⁶ bytes of their transforms.
      call: for a call.
      spilled: for 10⁶ bytes of the kernel's transform that leave the cache, in each turn of the loop.
    """

    mix: float
    transform: float
    kernel: float
    byte: float
    spectrum: float
    call: float
    spilled: float


#: By number of axes and role of the result. XLA computes narrow results faster since jaxlib 0.11.
DENSE = {
    (2, "y"): Dense(5.03, 0, 0.099, 0.102, 0.349, 0.106),
    (2, "w"): Dense(4.85, 1.35, 0, 0.377, 0.431, 0.096),
    (2, "x"): Dense(5.19, 0.216, 0, 0.075, 0.222, 0.178),
    (3, "y"): Dense(5.18, 25.5, 0.523, 0, 0.199, 0.352),
    (3, "w"): Dense(3.43, 34.5, 0, 0, 1.46, 4.46),
    (3, "x"): Dense(0, 45.6, 0, 0.302, 3.46, 0),
}
if jax.__version_info__ < (0, 11):
    DENSE = {
        (2, "y"): Dense(4.88, 2.89, 0.337, 0.12, 0.242, 0.043),
        (2, "w"): Dense(4.77, 4.82, 0, 0.175, 0.447, 0.019),
        (2, "x"): Dense(4.76, 2.81, 0.02, 0.079, 0.66, 0.108),
        (3, "y"): Dense(4.14, 23.7, 0, 0.242, 0.293, 0.195),
        (3, "w"): Dense(2.16, 27.1, 1.34, 0, 1.82, 4.1),
        (3, "x"): Dense(0, 41.4, 0.346, 0.208, 4.96, 0),
    }
FREQUENCY = {
    (2, "y"): Frequency(7.93, 11.3, 14.7, 0.302, 0.094, 0.071, 0.087),
    (2, "w"): Frequency(7.28, 13.8, 17.7, 0.23, 0, 0.097, 0.08),
    (2, "x"): Frequency(8.54, 10.6, 15.3, 0.087, 0.241, 0.092, 0.055),
    (3, "y"): Frequency(8.6, 16.4, 16.2, 0, 0.099, 0.26, 0.227),
    (3, "w"): Frequency(0, 13.5, 15.9, 0.47, 0, 0.541, 0.341),
    (3, "x"): Frequency(0.24, 14.8, 16.5, 0, 0.242, 0.289, 0.28),
}


class Pointwise(NamedTuple):
    """Milliseconds of maps at every pixel, for 10⁹ operations and for 10⁶ bytes of arrays that leave the cache."""

    product: float
    byte: float


GROUP, WRITTEN_OUT = Pointwise(8.0, 0.32), Pointwise(4.9, 0.02)


class Windows(NamedTuple):
    """Milliseconds of maps irrep by irrep with a window of several samples.

    Attributes:
      product: for 10⁹ operations of the products.
      transform: for 10⁹ operations of the transforms of the fibres.
      byte: for 10⁶ bytes of what the windows read.
      call: for a call.
    """

    product: float
    transform: float
    byte: float
    call: float


#: By role of the result.
WINDOWS = {"y": Windows(3.8, 5.7, 0.43, 9.7), "x": Windows(3.8, 5.7, 0.43, 9.7), "w": Windows(8.7, 15.6, 0.43, 9.4)}
#: Milliseconds below which nothing but the dense program is worth its compilation.
SHORT = 0.15
#: The share of the dense time below which another program is taken: the model is not exact, and dense is what is known.
MARGIN = 0.95
#: How much longer irreps with a window are taken to last than the model says, which is the least exact there.
DOUBT = 1.15
#: What stays in the cache, in 10⁶ bytes.
CACHED = 4.0
#: The part of a kernel's transform that stays there for one turn of the loop over frequencies.
TURN = 8.0


def frequency_is_faster(wanted: str, axes: tuple[Axis, ...], groups: int, shapes: Shapes) -> bool:
    """Whether Fourier transforms of the grid are expected to be faster than the dense program.

    In one dimension they never were: there a window of k samples saves too little.

    Args:
      wanted: the role of the result.
      axes: the axes of the grid.
      groups: number of feature groups, each a convolution of its own.
      shapes: shapes of input, kernel and output by role.
    """
    if len(axes) not in (2, 3):
        return False
    dense = dense_time(DENSE[len(axes), wanted], wanted, groups, shapes)
    return dense > SHORT and frequency_time(FREQUENCY[len(axes), wanted], axes, shapes) < MARGIN * dense


def dense_time(rates: Dense, wanted: str, groups: int, shapes: Shapes) -> float:
    """Milliseconds that the dense program is expected to take."""
    batch, *sizes, channels_out = shapes["y"]
    into, out = shapes["x"][-1] // groups, channels_out // groups
    thin_out, thin_in = (into, out) if wanted == "x" else (out, into)
    giga = 2e-9 * batch * math.prod(sizes) * math.prod(shapes["w"][:-1]) * channels_out
    arrays = 4e-6 * (math.prod(shapes["x"]) + math.prod(shapes["y"]))
    slowness = rates.product + 32 * rates.thin_out / thin_out + 16 * rates.thin_in / thin_in
    return giga * slowness + rates.byte * arrays + rates.kernel * 4e-6 * math.prod(shapes["w"]) + rates.call


def frequency_time(rates: Frequency, axes: tuple[Axis, ...], shapes: Shapes) -> float:
    """Milliseconds that the transforms are expected to take."""
    batch, into, out = shapes["x"][0], shapes["x"][-1], shapes["y"][-1]
    frequencies = (axes[0].length // 2 + 1) * math.prod(axis.length for axis in axes[1:])
    columns = math.prod(shapes["w"][-2:])
    mix = 8e-9 * frequencies * batch * columns
    transform = _transforms(axes, shapes["x"][1:-1]) * batch * into + _transforms(axes, shapes["y"][1:-1]) * batch * out
    kernel = _transforms(axes, shapes["w"][:-2]) * columns
    arrays = 4e-6 * (math.prod(shapes["x"]) + math.prod(shapes["y"]))
    spectra = 8e-6 * frequencies * batch * (into + out)
    products = rates.mix * mix + 1e-9 * (rates.transform * transform + rates.kernel * kernel)
    turns = axes[0].length // 2 + 1  # of the loop
    spilled = turns * max(8e-6 * (frequencies // turns) * columns - TURN, 0)
    return products + rates.byte * arrays + rates.spectrum * spectra + rates.spilled * spilled + rates.call


def _transforms(axes: tuple[Axis, ...], sizes: tuple[int, ...]) -> int:
    """Operations that transform one channel of a grid of these sizes, axis after axis."""
    done = axes[0].length // 2 + 1
    total = 4 * done * math.prod(sizes)
    for k, axis in enumerate(axes[1:], 1):
        total += 8 * done * axis.length * math.prod(sizes[k:])
        done *= axis.length
    return total


class Costs(NamedTuple):
    """Milliseconds that each program of a convolution of fibres is expected to take."""

    dense: float
    group: float
    frequency: float = math.inf

    @property
    def fastest(self) -> str:
        """The algorithm to take; the dense one where nothing else is worth its compilation."""
        times = {**self._asdict(), "dense": MARGIN * self.dense}
        return "dense" if self.dense <= SHORT else min(times, key=times.__getitem__)


def costs_of_fibres(
    wanted: str, sharing: KernelSharing, products: int, transform: int, axes: tuple[Axis, ...], shapes: Shapes
) -> Costs:
    """Returns what a convolution of fibres is expected to cost.

    Args:
      wanted: the role of the result.
      sharing: fibres and window.
      products: products irrep by irrep, for each pixel, offset and pair of features.
      transform: entries of the matrices that transform the fibres.
      axes: the axes of the grid where the window has several samples, else none.
      shapes: shapes of input, free weights and output by role.
    """
    out_fibre, offsets, in_fibre = sharing.shape
    _, into, out = shapes["w"]
    rows = math.prod(shapes["y"][:-1])
    if axes:
        if len(axes) not in (2, 3):
            return Costs(0, math.inf)
        expanded = {**shapes, "w": (*sharing.kernel_size, in_fibre * into, out_fibre * out)}
        dense = dense_time(DENSE[len(axes), wanted], wanted, 1, expanded)
        frequency = frequency_time(FREQUENCY[len(axes), wanted], axes, expanded)
        read, made = (out, into) if wanted == "x" else (into, out)
        rates, giga = WINDOWS[wanted], 2e-9 * rows * offsets * products * into * out
        turned = 1e-9 * rows * transform * (offsets * read + made)
        group = rates.product * giga + rates.transform * turned + rates.byte * 4e-6 * rows * in_fibre * offsets * read
        return Costs(dense, DOUBT * (group + rates.call), frequency)
    arrays = max(4e-6 * (math.prod(shapes["x"]) + math.prod(shapes["y"])) - CACHED, 0)
    passes = products / math.sqrt(in_fibre * out_fibre)  # every copy of an irrep adds to all copies in the result
    written_out = 2e-9 * rows * in_fibre * out_fibre * into * out
    by_irrep = 2e-9 * rows * (products * into * out + transform * max(into, out))
    dense = WRITTEN_OUT.product * written_out + WRITTEN_OUT.byte * arrays
    return Costs(dense, GROUP.product * by_irrep + GROUP.byte * passes * arrays)
