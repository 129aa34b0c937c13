"""Max and average pooling on grids, with the geometry and the honesty of a convolution."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from equijax._dtypes import require_real, widened
from equijax._extrema import largest
from equijax._numbers import per_axis
from equijax.groups import Group
from equijax.nn._conv import merge_fibre, split_fibre, window_of
from equijax.nn._convolve import flatten_batch, restore_batch
from equijax.nn._dense import pad
from equijax.nn._layer import pool_default, require_group, require_input, require_permuted, resolve_fibre
from equijax.nn._sampling import Padding, Sampling, canonical_padding
from equijax.nn._windowed import WindowedLayer
from equijax.reps import Representation
from equijax.sharing._window import require_window, window

_POOL_MODES = ("SAME", "VALID", "CIRCULAR", "REFLECT")


class SpatialPool(WindowedLayer):
    """What :class:`MaxPool` and :class:`AvgPool` have in common."""

    _by_coordinate = False

    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: Padding = "VALID",
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        allow_inexact: bool = False,
    ):
        sizes = window_of(window_shape, group, "window_shape")
        self.group = require_group(group, len(sizes), "window_shape")
        if not sizes:
            raise ValueError("`window_shape` is (); spatial pooling needs a grid. FibrePool pools over the fibre.")
        self.in_fibre = resolve_fibre(in_fibre, self.group, pool_default(self.group), "in_fibre")
        if self._by_coordinate:
            require_permuted(self.in_fibre, "in_fibre", f"the maximum of {type(self).__name__}")
        self.out_fibre = self.in_fibre
        self.sampling = Sampling(
            sizes,
            per_axis(strides, len(sizes), "strides", "window_shape"),
            (1,) * len(sizes),
            canonical_padding(padding, len(sizes), _POOL_MODES),
        )
        require_window(self.in_fibre.group, sizes, "window_shape")
        self.allow_inexact = allow_inexact

    @property
    def needs_square(self) -> bool:
        """False: what the shape had lost before is not refused by a pool."""
        return False

    def _prepare(self, inputs: jax.Array) -> tuple[jax.Array, tuple[int, ...] | None]:
        require_input(inputs.shape, self.in_action, None)
        self._require_exact(inputs.shape)
        return flatten_batch(merge_fibre(inputs, self.in_fibre), len(self.sampling.window))

    def _finish(self, y: jax.Array, batch: tuple[int, ...] | None) -> jax.Array:
        return split_fibre(restore_batch(y, batch), self.in_fibre)

    def _require_samples(self, sizes: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a window lies in the padding as a whole: of nothing there is no maximum or mean."""
        if not fewest_samples(self.in_fibre.group, self.sampling, sizes):
            raise ValueError(
                f"`padding` is {self.sampling.padding!r}, with which a window {self.sampling.window} of this "
                f"{type(self).__name__} holds no sample of an input with grid sizes {sizes}. Pad by less than the window, "
                "or pad the input with values of your own."
            )

    def _reduce(self, x: jax.Array, start: float, combine: Callable) -> jax.Array:
        """Combines the samples of every window; ``start`` is the neutral element, with which zero borders are filled."""
        sampling = self.sampling
        pads = sampling.pads(x.shape[1:-1])
        if sampling.padding in ("CIRCULAR", "REFLECT"):
            x, pads = pad(x, sampling), ((0, 0),) * len(pads)
        initial = np.array(start, x.dtype)
        places, _ = window(self.in_fibre.group, sampling.window)
        if len(places) == math.prod(sampling.window):
            combine_with = lax.max if combine is jnp.maximum else lax.add
            return lax.reduce_window(
                x, initial, combine_with, (1, *sampling.window, 1), (1, *sampling.strides, 1), ((0, 0), *pads, (0, 0))
            )
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=initial)
        out = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], sampling.window, sampling.strides, strict=True)]
        shifted = []
        for place in places:
            offset = np.unravel_index(place, sampling.window)
            stops = [o + (m - 1) * s + 1 for o, m, s in zip(offset, out, sampling.strides, strict=True)]
            starts = [int(o) for o in offset]
            shifted.append(
                lax.slice(x, (0, *starts, 0), (x.shape[0], *map(int, stops), x.shape[-1]), (1, *sampling.strides, 1))
            )
        return largest(jnp.stack(shifted), 0) if combine is jnp.maximum else functools.reduce(combine, shifted)

    def __repr__(self) -> str:
        s = self.sampling
        fields = f"{s.window}, {s.strides}, {s.padding!r}, group={self.group!r}, in_fibre={self.in_fibre!r}"
        return f"{type(self).__name__}({fields})"


@functools.lru_cache(maxsize=1024)
def fewest_samples(point_group: Any, sampling: Sampling, sizes: tuple[int, ...]) -> int:
    """Returns the smallest number of samples of the input, padding left out, that a window holds."""
    places, _ = window(point_group, sampling.window)
    pads = sampling.pads(sizes)
    if sampling.padding in ("CIRCULAR", "REFLECT") or not any(map(any, pads)):
        return len(places)
    there = np.pad(np.ones(sizes, np.int32), pads)
    held: Any = 0
    for place in places:
        first = np.unravel_index(place, sampling.window)
        steps = zip(first, sampling.out_sizes(sizes), sampling.strides, strict=True)
        held = held + there[tuple(slice(o, o + (m - 1) * s + 1, s) for o, m, s in steps)]
    return int(np.min(held))


def lowest(dtype: Any) -> Any:
    """Returns the smallest value of a dtype, which no maximum sees: −∞, the smallest number, or False."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return -np.inf if jnp.finfo(dtype).bits >= 16 else jnp.finfo(dtype).min  # not all floats of 8 bits have −∞
    return False if dtype == jnp.bool_ else jnp.iinfo(dtype).min


class MaxPool(SpatialPool):
    """Maximum over a window of the grid, for each fibre index and feature.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that ``layer.exactness(x.shape)`` names. A call
    whose shape loses an element of the point group is a ``ValueError`` unless ``allow_inexact=True``. On hexagonal
    lattices the window is the hexagonal neighbourhood.

    Where several values of a window are its maximum, the first in the array gets the whole gradient, as in
    ``nnx.max_pool``: the law holds for the gradient except at such ties. In hexagonal windows they share it equally.

    Args:
      window_shape: one int per grid axis; an int stands for all axes of ``group``.
      strides: steps; None is 1, as in ``nnx.max_pool``.
      padding: ``"VALID"``, ``"SAME"``, ``"CIRCULAR"``, ``"REFLECT"``, an int, or pairs; zero borders count as −∞.
      group: as in :class:`Conv`; None means translations.
      in_fibre: representation of the point group; None is ``Regular`` (``Scalar`` on translations).
      allow_inexact: accept input shapes at which elements of the point group are lost.

    Raises:
      TypeError: complex inputs.
      ValueError: a window that lies in the padding as a whole.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> pool = ej.nn.MaxPool(2, 2, group=ej.wallpaper("p4m"))
      >>> pool(jnp.ones((2, 28, 28, 8, 3))).shape
      (2, 14, 14, 8, 3)
      >>> print(pool.exactness((2, 28, 28, 8, 3)))
      8 of 8 point elements about (13.5, 13.5) of the input, no shifts. Shifts are lost: the padding is not circular.
    """

    _by_coordinate = True

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Pools ``(*batch, *sizes, fibre, features)``; any number of batch axes."""
        x, batch = self._prepare(require_real(inputs, "inputs", "a maximum"))
        self._require_samples(x.shape[1:-1])
        return self._finish(self._reduce(x, lowest(x.dtype), jnp.maximum), batch)


class AvgPool(SpatialPool):
    """Mean over a window of the grid, for each fibre index and feature.

    Law, arguments and errors as in :class:`MaxPool`. With zero borders the padded zeros count
    (``count_include_pad=True``, Flax's default), or don't: then a window of padding alone is refused. On hexagonal lattices
    the mean runs over the neighbourhood.

    Args:
      window_shape: one int per grid axis; an int stands for all axes of ``group``.
      strides: steps; None is 1, as in ``nnx.avg_pool``.
      padding: as in :class:`MaxPool`; zero borders count as 0.
      group: as in :class:`Conv`; None means translations.
      in_fibre: representation of the point group; None is ``Regular`` (``Scalar`` on translations).
      count_include_pad: divide by the size of the window everywhere, also at borders.
      allow_inexact: accept input shapes at which elements of the point group are lost.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> pool = ej.nn.AvgPool(2, 2, "CIRCULAR", group=ej.wallpaper("p4"))
      >>> pool(jnp.ones((2, 28, 28, 4, 3))).shape, pool.exactness((2, 28, 28, 4, 3)).shift_step
      ((2, 14, 14, 4, 3), (2, 2))
    """

    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: Padding = "VALID",
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        count_include_pad: bool = True,
        allow_inexact: bool = False,
    ):
        super().__init__(window_shape, strides, padding, group=group, in_fibre=in_fibre, allow_inexact=allow_inexact)
        self.count_include_pad = count_include_pad

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Pools ``(*batch, *sizes, fibre, features)``; any number of batch axes."""
        wide, dtype = widened(inputs)
        x, batch = self._prepare(wide)
        if self.count_include_pad:
            count: Any = len(window(self.in_fibre.group, self.sampling.window)[0])
            return self._finish(self._reduce(x, 0.0, jnp.add) / count, batch).astype(dtype)
        self._require_samples(x.shape[1:-1])
        total = self._reduce(x, 0.0, jnp.add)
        count = self._reduce(jnp.ones((1, *x.shape[1:-1], 1), x.dtype), 0.0, jnp.add)
        return self._finish(total / jnp.broadcast_to(count, total.shape), batch).astype(dtype)
