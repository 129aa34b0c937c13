"""Upsampling by interpolation: no parameters."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import shown
from equijax._dtypes import widened
from equijax._numbers import per_axis
from equijax.actions import Action, GridAction
from equijax.actions._grid_motions import mapping_boxes
from equijax.groups import Group
from equijax.nn._conv import window_of
from equijax.nn._exactness import Exactness, between_grids
from equijax.nn._layer import Layer, pool_default, require_group, require_input, require_same_group, resolve_fibre, sized
from equijax.nn._lost import require_kept
from equijax.reps import Representation

_METHODS, _PADDINGS = ("linear", "nearest"), ("EDGE", "CIRCULAR")


class Upsample(Layer):
    r"""Makes a grid finer by interpolation: s samples for each one, placed evenly around it.

    .. math:: y[s i + r] = (1 - |p_r|)\, x[i] + |p_r|\, x[i ± 1], \qquad p_r = \tfrac{r + 1/2}{s} - \tfrac12

    along each axis, where the neighbour is on the side to which :math:`p_r` points (``"linear"``), or :math:`y[s i + r] =
    x[i]` (``"nearest"``). At borders the last sample is repeated, or, with ``"CIRCULAR"``, the array is a torus. With
    ``"EDGE"`` and integer factors the result is that of ``jax.image.resize`` with the method ``"linear"``.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that ``layer.exactness(x.shape)`` names: the point
    elements that map the input to itself, and the shifts by whole samples of the input, on a torus. Boxes of a hexagonal
    lattice are not mapped to boxes, so there only 2 to 4 elements are left.

    Args:
      strides: s, one int per grid axis; an int stands for all axes of ``group``.
      method: ``"linear"`` or ``"nearest"``.
      padding: ``"EDGE"`` (borders) or ``"CIRCULAR"``; ``"nearest"`` reads no neighbour, so there it makes no difference.
      group: ``Translation`` or ``SpaceGroup``; None is the translations of as many axes as ``strides`` has.
      in_fibre: representation of the point group; None is ``Regular`` (``Scalar`` on translations).
      allow_inexact: accept strides and lattices at which elements of the point group are lost.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> up = ej.nn.Upsample((2,))
      >>> up(jnp.asarray([0.0, 4.0])[:, None])[:, 0].tolist()
      [0.0, 1.0, 3.0, 4.0]
      >>> group = ej.wallpaper("p4")
      >>> layer = ej.nn.Upsample(2, padding="CIRCULAR", group=group)
      >>> layer(jnp.ones((6, 6, 4, 3))).shape, layer.exactness((6, 6, 4, 3)).shift_step
      ((12, 12, 4, 3), (2, 2))
    """

    def __init__(
        self,
        strides: int | Sequence[int],
        method: str = "linear",
        padding: str = "EDGE",
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        allow_inexact: bool = False,
    ):
        d = len(window_of(strides, group, "strides"))
        self.group = require_group(group, d, "strides")
        if not d:
            raise ValueError("`strides` is (); upsampling needs a grid.")
        for name, value, known in (("method", method, _METHODS), ("padding", padding, _PADDINGS)):
            if not isinstance(value, str) or value not in known:
                raise ValueError(f"`{name}` is {shown(value)}; use one of {', '.join(known)}.")
        self.in_fibre = resolve_fibre(in_fibre, self.group, pool_default(self.group), "in_fibre")
        self.strides, self.method, self.padding = per_axis(strides, d, "strides"), method, padding
        self.allow_inexact = allow_inexact

    @property
    def wraps(self) -> bool:
        """True where a torus stays a torus."""
        return self.padding == "CIRCULAR" or self.method == "nearest"

    @property
    def in_action(self) -> GridAction:
        """The action on the input, whose samples lie ``strides`` pixels apart."""
        return GridAction(self.group, self.in_fibre, "wrap" if self.wraps else "zero", self.strides)  # pyright: ignore

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the finer grid.

        Raises:
          ValueError: the strides don't divide the spacing.
        """
        require_same_group(self.in_action, in_action)
        return finer(in_action, self.strides, tuple(-(s - 1) / 2 for s in self.strides), self.wraps)

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements map the input and the output to themselves, about one point."""
        action: Any = sized(in_action, input_shape)
        sizes, out_action = action.sizes(tuple(input_shape)), self.out_action_for(action)
        out_sizes = tuple(n * s for n, s in zip(sizes, self.strides, strict=True))
        kept = between_grids(action, sizes, out_action, out_sizes)  # type: ignore[arg-type]
        if max(self.strides) > 1:
            kept = mapping_boxes(kept, "it does not map the boxes of pixels to themselves that are interpolated")
        return Exactness(action, out_action, kept, kept.reason)

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output, by arithmetic."""
        first = len(input_shape) - 1 - len(self.in_fibre.shape) - len(self.strides)
        finer_sizes = [n * s for n, s in zip(input_shape[first:], self.strides, strict=False)]
        return (*input_shape[:first], *finer_sizes, *input_shape[first + len(self.strides) :])

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Interpolates ``(*batch, *sizes, fibre, features)`` to ``(*batch, *sizes · strides, fibre, features)``."""
        require_input(inputs.shape, self.in_action, None)
        what = f"Upsample (strides {self.strides})"
        remedy = "use equal strides along the axes that the group mixes, on a square lattice"
        require_kept(
            self, self.exactness(inputs.shape), inputs.shape, what, remedy, dataclasses.replace(self.in_action, spacing=1)
        )
        first = inputs.ndim - 1 - len(self.in_fibre.shape) - len(self.strides)
        x, dtype = widened(inputs) if self.method == "linear" else (inputs, inputs.dtype)
        for axis, stride in enumerate(self.strides, first):
            if stride > 1:
                x = self._along(x, axis, stride)
        return x.astype(dtype)

    def _along(self, x: jax.Array, axis: int, stride: int) -> jax.Array:
        """Interpolates along one axis."""
        if self.method == "nearest":
            return jnp.repeat(x, stride, axis)
        n = x.shape[axis]
        below, above = np.arange(-1, n - 1), np.arange(1, n + 1)
        mode = "wrap" if self.padding == "CIRCULAR" else "clip"
        neighbours = {-1: jnp.take(x, below, axis, mode=mode), 1: jnp.take(x, above, axis, mode=mode)}
        parts = []
        for r in range(stride):
            place = (r + 0.5) / stride - 0.5
            other = neighbours[1 if place > 0 else -1]
            parts.append(x * np.array(1 - abs(place), x.dtype) + other * np.array(abs(place), x.dtype))
        return jnp.stack(parts, axis + 1).reshape(*x.shape[:axis], n * stride, *x.shape[axis + 1 :])

    def __repr__(self) -> str:
        fields = f"{self.strides}, {self.method!r}, {self.padding!r}, group={self.group!r}, in_fibre={self.in_fibre!r}"
        return f"Upsample({fields})"


def finer(action: Any, strides: tuple[int, ...], shift: tuple[float, ...], wraps: bool) -> GridAction:
    """Returns the action on a grid that is finer by ``strides``, whose first sample is moved by ``shift`` of its pixels."""
    if any(spacing % s for spacing, s in zip(action.spacing, strides, strict=True)):
        raise ValueError(
            f"`in_action` has spacing {action.spacing}, which the strides {strides} of an upsampling layer don't divide. "
            "Start from the action with spacing = strides (the layer's own `in_action`)."
        )
    spacing = tuple(a // s for a, s in zip(action.spacing, strides, strict=True))
    origin = tuple(p + s * k for p, s, k in zip(action.origin, spacing, shift, strict=True))
    boundary = "wrap" if wraps and action.boundary == "wrap" else "zero"
    return GridAction(action.group, action.fibre, boundary, spacing, origin, action.torus)
