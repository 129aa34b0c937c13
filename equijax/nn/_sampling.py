"""How a windowed layer reads a grid: window, strides, dilation, padding. Sizes and positions, no arrays."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from equijax._arguments import shown
from equijax._numbers import positive_int
from equijax.actions import GridAction

Padding = str | int | Sequence[int | tuple[int, int]]
Pairs = tuple[tuple[int, int], ...]

FORWARD_MODES = ("SAME", "VALID", "CIRCULAR", "REFLECT", "CAUSAL")
TRANSPOSED_MODES = ("SAME", "VALID", "CIRCULAR")


def canonical_padding(padding: Any, ndim: int, modes: tuple[str, ...]) -> str | Pairs:
    """Returns a padding mode, or one pair ``(before, after)`` for each axis.

    Raises:
      ValueError: an unknown mode, or entries that are neither ints nor pairs, one for each axis.
    """
    if isinstance(padding, str):
        if padding not in modes or (padding == "CAUSAL" and ndim != 1):
            causal = " CAUSAL needs one grid axis." if padding == "CAUSAL" else ""
            raise ValueError(f"`padding` is {padding!r}; use one of {', '.join(modes)}, an int, or pairs.{causal}")
        return padding
    entries = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * ndim
    pairs = tuple(tuple(p) if isinstance(p, (tuple, list)) else (p, p) for p in entries)
    try:
        pairs = tuple(tuple(positive_int(n, "padding", 0) for n in p) for p in pairs)
    except (TypeError, ValueError):
        pairs = ()
    if len(pairs) != ndim or any(len(p) != 2 for p in pairs):
        raise ValueError(
            f"`padding` is {shown(padding)}; give a mode ({', '.join(modes)}), an int ≥ 0, or one int or pair (before, "
            f"after) for each of the {ndim} grid axes."
        )
    return pairs  # pyright: ignore[reportReturnType]


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The geometry of a convolution or pooling window.

    Attributes:
      window: sizes of the window.
      strides: steps between outputs (or, transposed, between inputs).
      dilation: steps between the window's samples.
      padding: a mode or pairs, as :func:`canonical_padding` returns it.
      transposed: True for a transposed convolution.
    """

    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str | Pairs
    transposed: bool = False

    @property
    def extents(self) -> tuple[int, ...]:
        """Sizes of the dilated window."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.window, self.dilation, strict=True))

    @property
    def wraps(self) -> bool:
        """True where a torus stays a torus: circular padding, or a window of one sample that reads no padding."""
        one_sample = all(k == 1 for k in self.window) and (
            self.padding in ("SAME", "VALID", "REFLECT", "CAUSAL") or not any(map(any, self.padding))  # pyright: ignore
        )
        return self.padding == "CIRCULAR" or (one_sample and not self.transposed)

    @property
    def moves_grid(self) -> bool:
        """True where outputs do not sit on the inputs one by one: strides above 1, or an even circular window."""
        return any(s > 1 for s in self.strides) or any(self.shift())

    def pads(self, sizes: tuple[int, ...] | None = None) -> Pairs:
        """Returns the samples added before and after each axis (transposed: of the dilated input).

        With ``"SAME"`` and strides they depend on the input ``sizes``; None stands for sizes that the strides divide.
        """
        if not isinstance(self.padding, str):
            return self.padding
        rule = _transposed_pad if self.transposed else _forward_pad
        sizes = self.strides if sizes is None else sizes
        return tuple(rule(self.padding, k, s, n) for k, s, n in zip(self.extents, self.strides, sizes, strict=True))

    def out_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the sizes of the output grid.

        Raises:
          ValueError: the padded input is smaller than the window.
        """
        if self.transposed and self.padding == "CIRCULAR":
            return tuple(n * s for n, s in zip(sizes, self.strides, strict=True))
        result = []
        for n, k, s, (low, high) in zip(sizes, self.extents, self.strides, self.pads(sizes), strict=True):
            length = (n - 1) * s + 1 if self.transposed else n
            step = 1 if self.transposed else s
            if n < 1 or length + low + high < k:
                raise ValueError(
                    f"`inputs` has grid sizes {sizes}, smaller than the window of {self.extents} pixels with padding "
                    f"{self.padding!r}. Use a larger input, a smaller window, or padding='SAME'."
                )
            result.append((length + low + high - k) // step + 1)
        return tuple(result)

    def shift(self, sizes: tuple[int, ...] | None = None) -> tuple[float, ...]:
        """Returns where output 0 sits: κ = (k − 1)/2 − pad, in input samples (transposed: in output pixels)."""
        return tuple((k - 1) / 2 - low for k, (low, _) in zip(self.extents, self.pads(sizes), strict=True))

    @property
    def own_grid(self) -> dict[str, Any]:
        """Boundary and spacing of the input action of a layer with this geometry."""
        return {"boundary": "wrap" if self.wraps else "zero", "spacing": self.strides if self.transposed else 1}

    def moved(self, action: GridAction, sizes: tuple[int, ...] | None = None, **changes: Any) -> GridAction:
        """Returns the action on the output grid, given the one on the input grid (and its sizes where known).

        Other attributes, such as the fibre, can be changed at the same time.

        Raises:
          ValueError: transposed strides don't divide the spacing.
        """
        boundary = "wrap" if self.wraps and action.boundary == "wrap" else "zero"
        if not self.transposed:
            return action.resampled(self.strides, self.shift(sizes), boundary=boundary, **changes)
        if any(spacing % s for spacing, s in zip(action.spacing, self.strides, strict=True)):
            raise ValueError(
                f"`in_action` has spacing {action.spacing}, which the strides {self.strides} of the transposed layer don't "
                "divide. Start from the action with spacing = strides (the layer's own `in_action`)."
            )
        spacing = tuple(a // s for a, s in zip(action.spacing, self.strides, strict=True))
        origin = tuple(p + s * k for p, s, k in zip(action.origin, spacing, self.shift(sizes), strict=True))
        return dataclasses.replace(action, spacing=spacing, origin=origin, boundary=boundary, **changes)


def _forward_pad(mode: str, extent: int, stride: int, size: int) -> tuple[int, int]:
    if mode == "SAME":
        total = max((math.ceil(size / stride) - 1) * stride + extent - size, 0)
        return total // 2, total - total // 2
    if mode in ("CIRCULAR", "REFLECT"):
        return (extent - 1) // 2, extent // 2
    return (extent - 1, 0) if mode == "CAUSAL" else (0, 0)


def _transposed_pad(mode: str, extent: int, stride: int, size: int) -> tuple[int, int]:
    del size
    if mode == "SAME":
        total = extent + stride - 2
        low = extent - 1 if stride > extent - 1 else math.ceil(total / 2)
        return low, total - low
    overlap = max(extent - stride, 0)
    low = extent - 1 - (overlap // 2 if mode == "CIRCULAR" else 0)
    return low, extent + stride - 2 + overlap - low
