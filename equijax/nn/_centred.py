"""Strided layers that keep the centre of rotation at every size."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from equijax._arguments import one_of
from equijax._dtypes import widened
from equijax.actions import Action
from equijax.groups import Group
from equijax.nn._conv import Conv, merge_fibre, split_fibre, window_of
from equijax.nn._exactness import Exactness, between_grids
from equijax.nn._layer import Layer, require_input, sized
from equijax.nn._lost import require_kept
from equijax.nn._spatial_pool import AvgPool, MaxPool, lowest
from equijax.nn._windowed import WindowedLayer
from equijax.reps import Representation


@dataclasses.dataclass(frozen=True)
class Fit:
    """How one axis is prepared so that a strided window keeps its centre.

    Attributes:
      pad: samples added on both sides.
      halved: whether neighbours are averaged first, which takes away one sample.
    """

    pad: int
    halved: bool


def centred_fit(size: int, window: int, stride: int) -> Fit:
    r"""Returns the equal pads with which the windows cover an axis and stay centred.

    The last window has to end where the padded axis ends: ``size + 2 · pad - window`` must be a multiple of the stride. With
    an even stride and a window of another parity than the size no pads do that; then neighbours are averaged first.

    Example:
      >>> from equijax.nn._centred import centred_fit
      >>> centred_fit(13, 3, 2), centred_fit(12, 3, 2)
      (Fit(pad=1, halved=False), Fit(pad=1, halved=True))
    """
    near = sorted(range(window), key=lambda pad: (abs(2 * pad - window + stride), -pad))  # as close to "SAME" as can be
    for halved in (False, True):
        length = size - halved
        for pad in near:
            if length + 2 * pad >= window and (length + 2 * pad - window) % stride == 0:
                return Fit(pad, halved)
    raise ValueError(
        f"`inputs` has an axis of {size} samples, on which windows of {window} with stride {stride} can't be centred. Use a "
        "window at least as wide as the stride, and an input at least as wide as the window."
    )


class Centred(Layer):
    """A strided window with equal borders, whatever the size: no point element is lost."""

    inner: WindowedLayer
    fill: float
    allow_inexact: bool

    @property
    def in_action(self) -> Action:
        """The action on the input: an array with borders."""
        return dataclasses.replace(self.inner.in_action, boundary="zero")  # type: ignore[type-var]

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the output; its origin is 0, since arrays with borders turn about their centre."""
        action = self.inner.out_action_for(in_action)
        return dataclasses.replace(action, boundary="zero")  # type: ignore[type-var]

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells that every point element is respected that maps input and output to themselves; shifts are lost.

        Strides that differ along axes that the group mixes lose elements, and so do hexagonal lattices.
        """
        self.out_action_for(in_action)
        action: Any = sized(in_action, input_shape)
        sizes = action.sizes(tuple(input_shape))
        fits, sampling = self._fits(sizes), self.inner.sampling
        shift = tuple((k - 1) / 2 - f.pad + f.halved / 2 for k, f in zip(sampling.extents, fits, strict=True))
        output = action.resampled(sampling.strides, shift, boundary="zero", fibre=self.inner.out_fibre)
        kept = between_grids(action, sizes, output, self._out_sizes(sizes))
        return Exactness(action, output, kept, f"{kept.reason} Shifts are lost: the layer has borders.".strip())

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output, by arithmetic."""
        sizes = self.in_action.sizes(tuple(input_shape))  # type: ignore[attr-defined]
        batch = input_shape[: len(input_shape) - 1 - len(sizes) - len(self.inner.in_fibre.shape)]
        features = getattr(self.inner, "out_features", input_shape[-1])
        return (*batch, *self._out_sizes(sizes), *self.inner.out_fibre.shape, features)

    def _out_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        padded = tuple(n + 2 * fit.pad - fit.halved for n, fit in zip(sizes, self._fits(sizes), strict=True))
        return self.inner.sampling.out_sizes(padded)

    def _require_exact(self, input_shape: tuple[int, ...]) -> None:
        sampling = self.inner.sampling
        what = f"{type(self).__name__} (window {sampling.window}, strides {sampling.strides})"
        remedy = "use equal strides along the axes that the group mixes, on a square lattice"
        require_kept(self, self.exactness(input_shape), input_shape, what, remedy)

    def _fits(self, sizes: tuple[int, ...]) -> list[Fit]:
        sampling = self.inner.sampling
        return [centred_fit(n, k, s) for n, k, s in zip(sizes, sampling.extents, sampling.strides, strict=True)]

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Applies the layer to ``(*batch, *sizes, fibre, features)`` of any size."""
        require_input(inputs.shape, self.in_action, None)
        self._require_exact(inputs.shape)
        action: Any = self.in_action
        fits = self._fits(action.sizes(inputs.shape))
        wide, dtype = widened(inputs)
        x = merge_fibre(wide, self.inner.in_fibre)
        first = x.ndim - 1 - len(fits)
        for k, fit in enumerate(fits, first):
            if fit.halved:
                below, above = (lax.slice_in_dim(x, a, x.shape[k] - 1 + a, axis=k) for a in (0, 1))
                x = (below + above) / jnp.asarray(2, wide.dtype)
        widths = [(0, 0)] * first + [(fit.pad, fit.pad) for fit in fits] + [(0, 0)]
        x = jnp.pad(x.astype(dtype), widths, constant_values=jnp.asarray(lowest(dtype) if self.fill < 0 else 0, dtype))
        return self.inner(split_fibre(x, self.inner.in_fibre))


class CentredConv(Centred):
    """A strided convolution that keeps every point element at every size.

    The input gets equal borders of zeros such that the windows end where it ends; where parity forbids that (even stride,
    odd window, even size), neighbours are averaged first. :class:`Conv` refuses such sizes.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      kernel_size: one int per grid axis.
      strides: one int per grid axis, or one for all; None is 1.
      group: as in :class:`Conv`; None means translations.
      allow_inexact: accept input shapes at which elements of the point group are lost (unequal strides, or sides).
      rngs: key source.
      **options: further arguments of :class:`Conv`, except ``padding``.

    Law: ``layer(in_action(h, x)) == out_action(h, layer(x))`` for every point element h that maps the input to itself.

    Example: 3×3 windows with stride 2 on an even size, exact under quarter turns.
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.CentredConv(3, 8, 3, 2, group=ej.wallpaper("p4"), rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((1, 12, 12, 3))).shape, layer.exactness((1, 12, 12, 3)).keeps_point_group
      ((1, 6, 6, 8), True)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 2,
        *,
        group: Group | None,
        allow_inexact: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        if "padding" in options:
            raise ValueError(f"`padding` is {options['padding']!r}; the layer finds its own. Leave it out, or use Conv.")
        given: dict[str, Any] = {"padding": "VALID", "group": group, "rngs": rngs, "allow_inexact": True, **options}
        self.inner = Conv(in_features, out_features, kernel_size, strides, **given)
        self.allow_inexact = allow_inexact
        self.fill = 0.0

    def _require_exact(self, input_shape: tuple[int, ...]) -> None:
        exactness = self.exactness(input_shape)
        if not self.allow_inexact and not exactness.keeps_point_group:
            raise ValueError(
                f"`inputs` has shape {tuple(input_shape)}, at which this CentredConv keeps only "
                f"{len(exactness.point_elements)} of the {self.inner.in_fibre.group.order} elements of "
                f"{self.inner.in_fibre.group!r}. {exactness.reason} Remedies: use equal sizes and strides along the axes "
                "that the group mixes, on a square lattice; or build the layer with allow_inexact=True and accept the loss."
            )


class CentredPool(Centred):
    """Max or average pooling that keeps every point element at every size; see :class:`CentredConv`.

    Args:
      window_shape: one int per grid axis.
      strides: steps; None is ``window_shape``.
      mode: ``"max"`` or ``"mean"``; borders count as −∞ or 0.
      group: as in :class:`Conv`; None means translations.
      in_fibre: representation of the point group; None is ``Regular`` (``Scalar`` on translations).
      allow_inexact: accept input shapes at which elements of the point group are lost.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.CentredPool(3, 2, group=ej.wallpaper("p4"))(jnp.ones((1, 12, 12, 4, 3))).shape
      (1, 6, 6, 4, 3)
    """

    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        *,
        mode: str = "max",
        group: Group | None,
        in_fibre: Representation | None = None,
        allow_inexact: bool = False,
    ):
        kinds = {"max": MaxPool, "mean": AvgPool}
        one_of(mode, "mode", kinds)
        window_of(window_shape, group, "window_shape")
        steps = window_shape if strides is None else strides
        self.inner = kinds[mode](window_shape, steps, "VALID", group=group, in_fibre=in_fibre, allow_inexact=True)
        self.allow_inexact = allow_inexact
        self.fill = -jnp.inf if mode == "max" else 0.0
