"""The rows of fibres that a map reads, tile by tile, so that what is written of them stays small."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from equijax.sharing import KernelSharing
from equijax.sharing._window import window

Array = jax.Array
#: The bytes that are worked through at a time: input and output at one pixel after another, …
OF_PIXELS = 1 << 23
#: … or all that the windows of a tile read.
OF_WINDOWS = 1 << 24


class Tiles(NamedTuple):
    """The rows of an array of fibres in tiles; the last one is filled up.

    Attributes:
      rows: number of rows; a row is a pixel, or where there is a window, all pixels along the grid axes after the first.
      number: number of tiles.
      of_tile: what a tile is read by, along the first axis.
      read: the coordinates ``(n, pixels, offsets · features)`` of a tile, by a matrix ``(n, fibre)``.
    """

    rows: int
    number: int
    of_tile: Array
    read: Callable[[Array, Array], Array]

    def split(self, y: Array, fibre: int) -> Array:
        """Cuts an array with as many rows: ``(number, pixels, fibre, features)``, filled with zeros."""
        y = y.reshape(self.rows, -1, fibre, y.shape[-1] // fibre)
        missing = self.number * -(-self.rows // self.number) - self.rows
        y = jnp.pad(y, [(0, missing), (0, 0), (0, 0), (0, 0)])
        return y.reshape(self.number, -1, *y.shape[2:])

    def join(self, y: Array) -> Array:
        """Undoes :meth:`split`, up to the shape."""
        return y.reshape(self.number * -(-self.rows // self.number), -1)[: self.rows]


def tiles_of_pixels(x: Array, fibre: int, out_channels: int, dot: Callable) -> Tiles:
    """Tiles of pixels, for a window of one sample.

    Args:
      x: ``(…, fibre · features)``.
      fibre: dimension of the fibre.
      out_channels: number of channels that are made of a pixel.
      dot: ``jnp.einsum`` with a precision.
    """
    rows = math.prod(x.shape[:-1])
    count = _count(rows, x.dtype.itemsize * (x.shape[-1] + out_channels), OF_PIXELS)
    tiles = Tiles(rows, count, x, lambda read, tile: dot("na,pai->npi", read, tile))
    return tiles._replace(of_tile=tiles.split(x, fibre))


def tiles_of_windows(
    x: Array, sharing: KernelSharing, dilation: tuple[int, ...], out_sizes: tuple[int, ...], dot: Callable
) -> Tiles:
    """Tiles of rows of the output, for a window that each entry of a regular fibre reads turned by itself.

    Args:
      x: ``(batch, *sizes, fibre · features)``, with its border.
      sharing: window and fibre.
      dilation: steps between the samples of the window.
      out_sizes: sizes of the output.
      dot: ``jnp.einsum`` with a precision.
    """
    places, images = window(sharing.point_group, sharing.kernel_size)
    order, (batch, *sizes), features = len(images), x.shape[:-1], x.shape[-1] // len(images)
    steps = np.array([order * math.prod(sizes[k + 1 :]) for k in range(len(sizes))])
    offsets = np.stack(np.unravel_index(places, sharing.kernel_size), -1) * np.array(dilation) @ steps
    along = np.indices(out_sizes[1:]).reshape(len(sizes) - 1, math.prod(out_sizes[1:])).T @ steps[1:]
    within = offsets[images][:, None, None, :] + np.arange(order)[:, None, None, None] + along[None, None, :, None]
    begins = (np.arange(batch)[:, None] * sizes[0] + np.arange(out_sizes[0])).reshape(-1) * steps[0]

    rows = len(begins)
    count = _count(rows, x.dtype.itemsize * within.size * features, OF_WINDOWS)
    begins = np.resize(begins, (count, -(-rows // count)))
    entries, inside = x.reshape(-1, features), jnp.asarray(within, jnp.int32)

    def read(matrix: Array, begins: Array) -> Array:
        found = entries.at[inside + begins[None, :, None, None]].get(mode="promise_in_bounds")
        found = dot("na,ar->nr", matrix, found.reshape(order, -1))
        return found.reshape(len(matrix), len(begins) * len(along), len(places) * features)

    return Tiles(rows, count, jnp.asarray(begins, jnp.int32), read)


def _count(rows: int, size: int, most: int) -> int:
    """The number of tiles for rows of a size in bytes."""
    return -(-rows // max(most // size, 1))
