"""Layers that commute with shifts by parts of a pixel: ideal low-pass filters and filtered activations."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import listed, real_number
from equijax._dtypes import require_real, widened
from equijax._numbers import each_positive, positive_int
from equijax.actions import Action, GridAction
from equijax.actions._grid_motions import mapping_boxes
from equijax.actions._kept import Nothing
from equijax.actions._kept_parts import kept_by
from equijax.groups import Group
from equijax.groups._elements import numeric
from equijax.groups._space import grid_ndim
from equijax.nn._exactness import Exactness, between_grids
from equijax.nn._given import checked
from equijax.nn._layer import Layer, require_input, require_same_group, resolve_fibre, sized
from equijax.nn._lost import require_kept
from equijax.nn._parameters import read
from equijax.nn._phases import group_for, require_divided, strides_of, subsampled_shape
from equijax.nn._pointwise import claimed
from equijax.nn._returned import require_pointwise
from equijax.reps import Representation, Scalar


def fourier_shift(x: jax.Array, shift: Sequence[float], trailing: int = 1) -> jax.Array:
    r"""Shifts a periodic signal by any parts of a pixel.

    .. math:: \hat y[k] = \hat x[k]\, e^{-2πi k τ / n}

    For whole shifts it is ``jnp.roll``. The highest frequency of an even grid has no version that is shifted by a part of a
    pixel; it is multiplied by the cosine.

    Args:
      x: real, ``(*batch, *sizes, *rest)``.
      shift: τ, one number for each axis of the grid, in samples.
      trailing: number of axes behind the grid.

    Raises:
      TypeError: ``x`` is no array of real numbers, or a shift no number.
      ValueError: ``x`` has too few axes, or a shift is not finite.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> wave = jnp.sin(2 * jnp.pi * jnp.arange(8.0) / 8)[:, None]
      >>> bool(jnp.allclose(ej.nn.fourier_shift(wave, (2,)), jnp.roll(wave, 2, 0), atol=1e-6))
      True
    """
    steps = [real_number(step, "shift") for step in listed(shift, "shift", "numbers, one for each axis of the grid")]
    x = numeric(x, "x")
    axes = _grid_axes(x, len(steps), positive_int(trailing, "trailing", 0))
    x, dtype = _wide(x, "x", "fourier_shift")
    for axis, step in zip(axes, steps, strict=True):
        n = x.shape[axis]
        factor = np.exp(-2j * np.pi * np.fft.rfftfreq(n) * step)
        if n % 2 == 0:
            factor[-1] = factor[-1].real
        spectrum = jnp.fft.rfft(x, axis=axis)
        shape = [1] * x.ndim
        shape[axis] = len(factor)
        factors = jnp.broadcast_to(jnp.asarray(factor.reshape(shape), spectrum.dtype), spectrum.shape)
        x = jnp.fft.irfft(spectrum * factors, n, axis=axis)
    return x.astype(dtype)


def low_pass(x: jax.Array, factors: Sequence[int], trailing: int = 1) -> jax.Array:
    """Zeroes every frequency from n / (2 · factor) on along the grid, the highest one of an even grid too.

    Args:
      x: real, ``(*batch, *sizes, *rest)``.
      factors: one positive int for each axis of the grid.
      trailing: number of axes behind the grid.

    Raises:
      TypeError: a factor is no integer, or ``x`` is complex.
      ValueError: a factor is not positive, or ``x`` has too few axes.
    """
    factors, trailing = each_positive(factors, "factors"), positive_int(trailing, "trailing", 0)
    x, dtype = _wide(numeric(x, "x"), "x", "low_pass")
    for axis, factor in zip(_grid_axes(x, len(factors), trailing), factors, strict=True):
        n = x.shape[axis]
        kept = (np.arange(n // 2 + 1) < n / (2 * factor)).reshape([-1 if k == axis else 1 for k in range(x.ndim)])
        spectrum = jnp.fft.rfft(x, axis=axis)
        kept = jnp.broadcast_to(jnp.asarray(kept, spectrum.dtype), spectrum.shape)
        x = jnp.fft.irfft(spectrum * kept, n, axis=axis)
    return x.astype(dtype)


def _finer(x: jax.Array, factor: int, axes: Sequence[int]) -> jax.Array:
    """Returns trigonometric interpolation on a grid that is finer by a factor along some axes."""
    for axis in axes:
        n = x.shape[axis]
        spectrum = jnp.fft.rfft(x, axis=axis)
        if n % 2 == 0:  # the highest frequency has no phase: it is dropped
            mask = np.ones(n // 2 + 1)
            mask[-1] = 0
            mask = mask.reshape([-1 if k == axis else 1 for k in range(x.ndim)])
            spectrum = spectrum * jnp.broadcast_to(jnp.asarray(mask, spectrum.dtype), spectrum.shape)
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, n * factor // 2 + 1 - spectrum.shape[axis])
        x = jnp.fft.irfft(jnp.pad(spectrum, widths), n * factor, axis=axis) * np.array(factor, x.dtype)
    return x


def _wide(x: jax.Array, name: str, what: str) -> tuple[jax.Array, Any]:
    """Returns real numbers in at least float32, as Fourier transforms need them, and the dtype of the result."""
    return widened(require_real(x, name, what))


def _grid_axes(x: jax.Array, d: int, trailing: int) -> range:
    if x.ndim < trailing + d:
        raise ValueError(f"`x` has shape {x.shape}; it must have {d} axes of a grid, and {trailing} behind them.")
    return range(x.ndim - trailing - d, x.ndim - trailing)


class FourierDownsample(Layer):
    r"""Ideal low-pass filter, then every s-th sample: commutes with every shift, by parts of a pixel too.

    .. math:: y[m] = (h * x)[s m], \qquad \hat h[k] = 1 \text{ for } |k| < n / (2 s), \quad 0 \text{ elsewhere}

    Law: ``layer(fourier_shift(x, τ)) == fourier_shift(layer(x), τ / s)``.

    Args:
      strides: one int per grid axis; an int stands for all axes of ``group``.
      group: ``Translation`` or ``SpaceGroup``; None is the translations of as many axes as ``strides`` has.
      in_fibre: representation of the point group; None is ``Scalar``.
      allow_inexact: accept strides and lattices at which elements of the point group are lost.

    References:
      Karras et al., "Alias-free generative adversarial networks", NeurIPS 2021, section 2.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.FourierDownsample((2, 2))(jnp.ones((1, 8, 6, 3))).shape
      (1, 4, 3, 3)
    """

    def __init__(
        self,
        strides: int | Sequence[int],
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        allow_inexact: bool = False,
    ):
        self.allow_inexact = allow_inexact
        self.group = group_for(strides, group)
        self.in_fibre = resolve_fibre(in_fibre, self.group, Scalar, "in_fibre")
        self.strides = strides_of(strides, grid_ndim(self.group))

    @property
    def in_action(self) -> Action:
        """The action on the input: a torus."""
        return GridAction(self.group, self.in_fibre)  # pyright: ignore[reportArgumentType]

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on every ``strides``-th sample."""
        require_same_group(self.in_action, in_action)
        return in_action.coarsen(self.strides)

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements map the input and the output to themselves; shifts by parts of a stride are respected too.

        The frequencies that pass are a box, which a hexagonal group does not map to itself.
        """
        action: Any = sized(in_action, input_shape)
        sizes = action.sizes(tuple(input_shape))
        out_action: Any = self.out_action_for(action)
        kept = between_grids(action, sizes, out_action, tuple(n // s for n, s in zip(sizes, self.strides, strict=True)))
        kept = mapping_boxes(kept, "the box of frequencies that pass is not mapped to itself")
        return Exactness(action, out_action, kept, kept.reason)

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output, by arithmetic."""
        return subsampled_shape(input_shape, self.strides, 1 + len(self.in_fibre.shape))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Filters and subsamples real ``(*batch, *sizes, fibre, features)``."""
        require_input(inputs.shape, self.in_action, None)
        trailing = 1 + len(self.in_fibre.shape)
        require_divided(inputs.shape, self.strides, trailing)
        remedy = "use equal strides along the axes that the group mixes, on a square lattice"
        what = f"FourierDownsample (strides {self.strides})"
        require_kept(self, self.exactness(inputs.shape), inputs.shape, what, remedy)
        x = low_pass(require_real(inputs, "inputs", "FourierDownsample"), self.strides, trailing)
        first = x.ndim - trailing - len(self.strides)
        return x[(slice(None),) * first + tuple(slice(None, None, s) for s in self.strides)]


@checked
class FilteredActivation(nnx.Module):
    r"""An activation on a finer grid, filtered before it is sampled again: no aliasing.

    .. math:: y = \mathrm{down}(h * σ(\mathrm{up}(x)))

    Polynomials of degree up to ``2 · factor − 1`` commute exactly with shifts by any part of a pixel; other functions (ReLU,
    GELU) nearly, and better the larger the factor is. The default is the polynomial
    ``a_0 + a_1 x + a_2 x²`` with learned coefficients for each feature.

    Args:
      features: number of features; needed for the polynomial only.
      ndim: number of grid axes.
      activation: a pointwise function; None is the polynomial.
      factor: how much finer the grid is.
      fibre: whether a fibre axis stands between grid and features.
      param_dtype: dtype of the coefficients.

    Attributes:
      coefficients: Param ``(3, features)``, or None.

    Law: ``layer(fourier_shift(x, τ)) == fourier_shift(layer(x), τ)``; on permutation fibres all point elements too.

    References:
      Michaeli et al., "Alias-free convnets: fractional shift invariance via polynomial activations", CVPR 2023.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.FilteredActivation(3, 2)(jnp.ones((1, 8, 6, 3))).shape
      (1, 8, 6, 3)
    """

    def __init__(
        self,
        features: int,
        ndim: int,
        *,
        activation: Callable[[jax.Array], jax.Array] | None = None,
        factor: int = 2,
        fibre: bool = False,
        param_dtype: Any = jnp.float32,
    ):
        factor = positive_int(factor, "factor", 2)
        features, ndim = positive_int(features, "features"), positive_int(ndim, "ndim")
        start = np.array([[0.01694], [0.5], [0.30784]]) * np.ones((1, features))
        self.coefficients = nnx.Param(jnp.asarray(start, param_dtype)) if activation is None else nnx.data(None)
        self.activation: Any = activation
        self.features = features
        self.ndim, self.factor, self.trailing = ndim, factor, 2 if fibre else 1

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the input, which is that on the output."""
        return in_action

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements are respected: those that map the input, and a box of frequencies, to themselves.

        Nothing is claimed where the fibre is not permuted, where there is no grid of ``ndim`` axes, or where ``activation``
        is no pointwise function.
        """
        grid = in_action.grid(tuple(input_shape))
        if grid is None or in_action.permutes is not True or grid[0].ndim != self.ndim:
            return Exactness(
                in_action, in_action, Nothing(in_action.group), "A filtered activation needs a grid that permutes."
            )
        own: Any = kept_by(in_action, input_shape)
        kept = mapping_boxes(own, "the box of frequencies is not mapped to itself")
        found = Exactness(in_action, in_action, kept, kept.reason)
        if self.activation is None:
            return found
        axes = range(len(input_shape) - self.trailing - self.ndim, len(input_shape) - self.trailing)
        fine = tuple(self.factor * n if k in axes else n for k, n in enumerate(input_shape))
        return claimed(found, self.activation, "activation", fine, len(fine) - 1)

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the input."""
        return input_shape

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Applies the activation to real ``(*batch, *sizes, fibre, features)``."""
        if inputs.ndim < self.ndim + self.trailing:
            raise ValueError(
                f"`inputs` has shape {inputs.shape}; the layer needs (*batch, {self.ndim} grid axes, "
                f"{'fibre, ' if self.trailing == 2 else ''}features)."
            )
        axes = _grid_axes(inputs, self.ndim, self.trailing)
        wide, dtype = _wide(inputs, "inputs", "FilteredActivation")
        x = _finer(wide, self.factor, axes)
        if self.activation is not None:
            x = require_pointwise(self.activation(x), x, "activation")
        elif self.coefficients is not None:
            a = [
                jnp.broadcast_to(row.astype(x.dtype), x.shape)
                for row in read(self.coefficients, "coefficients", (3, self.features))
            ]
            x = a[0] + a[1] * x + a[2] * x * x
        x = low_pass(x, (self.factor,) * self.ndim, self.trailing)
        step = tuple(slice(None, None, self.factor) if k in axes else slice(None) for k in range(x.ndim))
        return x[step].astype(dtype)
