"""Phases of a grid: the samples that a stride can keep, which of them to keep, and putting them back."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import real_number, shown
from equijax._dtypes import unit_for_powers, widened
from equijax._exported import exported
from equijax._extrema import largest
from equijax._numbers import each_positive, per_axis, positive_int
from equijax.groups._elements import integers, known_where, numeric
from equijax.nn._choices import require_numbers
from equijax.nn._layer import require_group


@exported
class Choice(NamedTuple):
    """Which phase was kept.

    Attributes:
      phase: position of the first sample that is kept along every axis, int32 ``(*batch, d)``, each below the stride.
      margin: by how much the score of the chosen phase exceeds that of the second best, relative to it; ``(*batch,)``.
        Where it is 0 there was a tie, the first phase was taken, and a shifted input may get another one.
    """

    phase: jax.Array
    margin: jax.Array


def phases(x: jax.Array, strides: Sequence[int], trailing: int = 1) -> jax.Array:
    r"""Splits a grid into its phases.

    .. math:: P_i(x)[m] = x[s m + i], \qquad i ∈ \mathbb{Z}_{s_1} × … × \mathbb{Z}_{s_d}

    Args:
      x: ``(*batch, *sizes, *rest)`` with ``trailing`` axes behind the grid.
      strides: one int for each axis of the grid.
      trailing: number of axes behind the grid (features, or fibre and features).

    Returns:
      ``(*batch, phases, *sizes / strides, *rest)``, phases in C order.

    Raises:
      TypeError: a stride is no integer.
      ValueError: a stride is not positive, or does not divide a size.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.phases(jnp.arange(6)[:, None], (2,))[..., 0].tolist()
      [[0, 2, 4], [1, 3, 5]]
    """
    x, strides, trailing = _as_grid(x, "x", strides, trailing)
    d = len(strides)
    sizes = require_divided(x.shape, strides, trailing, "x")
    first = x.ndim - trailing - d
    split = [n for size, s in zip(sizes, strides, strict=True) for n in (size // s, s)]
    parts = x.reshape(*x.shape[:first], *split, *x.shape[first + d :])
    coarse = [first + 2 * k for k in range(d)]
    fine = [first + 2 * k + 1 for k in range(d)]
    rest = range(first + 2 * d, parts.ndim)
    parts = parts.transpose(*range(first), *fine, *coarse, *rest)
    return parts.reshape(*parts.shape[:first], math.prod(strides), *parts.shape[first + d :])


def from_phases(parts: jax.Array, strides: Sequence[int], trailing: int = 1) -> jax.Array:
    """Inverse of :func:`phases`.

    Raises:
      TypeError: ``parts`` is no array of numbers, or a stride no integer.
      ValueError: ``parts`` has not as many phases as the strides make.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> x = jnp.arange(12).reshape(4, 3, 1)
      >>> bool((ej.nn.from_phases(ej.nn.phases(x, (2, 3)), (2, 3)) == x).all())
      True
    """
    parts, strides, trailing = _as_grid(parts, "parts", strides, trailing)
    d, count = len(strides), math.prod(strides)
    first = parts.ndim - trailing - d - 1
    if first < 0 or parts.shape[first] != count:
        raise ValueError(
            f"`parts` has shape {parts.shape}; it must be (*batch, {count} phases, {d} axes of the grid, "
            f"{trailing} behind them)."
        )
    coarse = parts.shape[first + 1 : first + 1 + d]
    split = parts.reshape(*parts.shape[:first], *strides, *parts.shape[first + 1 :])
    order = [axis for k in range(d) for axis in (first + d + k, first + k)]
    split = split.transpose(*range(first), *order, *range(first + 2 * d, split.ndim))
    sizes = [n * s for n, s in zip(coarse, strides, strict=True)]
    return split.reshape(*split.shape[:first], *sizes, *split.shape[first + 2 * d :])


def norm_scores(parts: jax.Array, d: int, trailing: int = 1, order: float = 2) -> jax.Array:
    r"""Returns the norm of every phase, :math:`\sum |P_i(x)|^p` (``order`` p, or ``inf``), shape ``(*batch, phases)``.

    The terms are sorted before they are added: a shift permutes them, and floating-point sums depend on the order. So the
    score of a shifted phase is the same to the last bit. All phases of a sample are divided by one unit, so that powers of
    huge and tiny numbers stay in the range; the scores are in at least float32.
    """
    require_order(order)
    sizes = jnp.abs(widened(parts)[0])
    rest = tuple(range(parts.ndim - trailing, parts.ndim))
    grid = tuple(range(parts.ndim - trailing - d, parts.ndim - trailing))
    if order == np.inf:
        return largest(sizes, (*grid, *rest))
    unit = unit_for_powers(sizes.max((grid[0] - 1, *grid, *rest), keepdims=True, initial=0), order)
    powers = (sizes / jnp.broadcast_to(unit, sizes.shape)) ** order
    terms = jnp.sort(powers, axis=-2) if trailing > 1 else powers
    return sorted_sum(terms.sum(rest), d)


def sorted_sum(terms: jax.Array, d: int) -> jax.Array:
    """Adds the last ``d`` axes in increasing order of the terms, so that the sum does not depend on how they stood."""
    flat = terms.reshape(*terms.shape[: terms.ndim - d], -1)
    return jnp.sort(flat, axis=-1).sum(-1)


def choice_of(scores: jax.Array, strides: Sequence[int]) -> Choice:
    """Returns the phase with the largest score, the first one where several are equal."""
    best = jnp.argmax(scores, axis=-1)
    index = jnp.stack(jnp.unravel_index(best, tuple(strides)), axis=-1).astype(jnp.int32)
    if scores.shape[-1] < 2:
        return Choice(index, jnp.ones(best.shape, scores.dtype))
    top = jax.lax.top_k(scores, 2)[0]
    size = jnp.maximum(jnp.abs(top[..., 0]), jnp.finfo(scores.dtype).tiny)
    return Choice(index, (top[..., 0] - top[..., 1]) / size)


def phase_number(phase: jax.Array, strides: Sequence[int]) -> jax.Array:
    """Returns the number of a phase in C order."""
    places = jnp.asarray(np.cumprod((1, *tuple(strides)[:0:-1]))[::-1].copy(), jnp.int32)
    return (phase.astype(jnp.int32) * jnp.broadcast_to(places, phase.shape)).sum(-1)


def polyphase_downsample(
    x: jax.Array, strides: Sequence[int], choice: Choice | None = None, *, trailing: int = 1, order: float = 2
) -> tuple[jax.Array, Choice]:
    r"""Keeps the phase with the largest norm.

    .. math:: y = P_{i^*}(x), \qquad i^* = \operatorname{argmax}_i \sum |P_i(x)|^p

    Law: for a circular shift by k the choice becomes ``(i* + k) mod s`` and y moves by ``floor((i* + k) / s)``, to the last
    bit, as long as the margin is not 0.

    Args:
      x: ``(*batch, *sizes, *rest)``.
      strides: one int for each axis of the grid; they divide the sizes.
      choice: a choice that was made before, on another branch; None makes one for every sample. A phase that is out of
        range is an error where it is known; where it is traced, the sample is NaN (the smallest number of a signed integer,
        the largest of an unsigned one, False of a boolean, which may be values of their own).
      trailing: number of axes behind the grid.
      order: p of the norm, or ``inf``.

    Returns:
      ``(*batch, *sizes / strides, *rest)``, and the choice.

    Raises:
      TypeError: ``x`` is no array of numbers, ``choice`` no :class:`Choice`, a stride no integer, or ``order`` no number.
      ValueError: a stride does not divide a size, ``order`` is not positive, or the choice is one for another batch.

    References:
      Chaman and Dokmanić, "Truly shift-invariant convolutional neural networks", CVPR 2021.

    Example: the phase that holds the large numbers is kept, wherever it stands.
      >>> import equijax as ej, jax.numpy as jnp
      >>> x = jnp.asarray([0.0, 5.0, 1.0, 6.0])[:, None]
      >>> y, choice = ej.nn.polyphase_downsample(x, (2,))
      >>> y[:, 0].tolist(), choice.phase.tolist()
      ([5.0, 6.0], [1])
      >>> y, choice = ej.nn.polyphase_downsample(jnp.roll(x, 1, 0), (2,))
      >>> y[:, 0].tolist(), choice.phase.tolist()
      ([6.0, 5.0], [0])
    """
    x, strides, trailing = _as_grid(x, "x", strides, trailing)
    parts, order = phases(x, strides, trailing), require_order(order)
    if choice is not None:
        return given_phase(parts, choice, strides, trailing), choice
    choice = choice_of(norm_scores(parts, len(strides), trailing, order), strides)
    return taken_phase(parts, choice, strides, trailing), choice


def taken_phase(parts: jax.Array, choice: Choice, strides: Sequence[int], trailing: int) -> jax.Array:
    """Returns the chosen phase of every sample."""
    axis = parts.ndim - trailing - len(tuple(strides)) - 1
    if choice.phase.shape != (*parts.shape[:axis], len(tuple(strides))):
        raise ValueError(
            f"`choice` has phases of shape {choice.phase.shape}; an input with batch axes {parts.shape[:axis]} needs "
            f"{(*parts.shape[:axis], len(tuple(strides)))}. Choose on an array with the same batch axes."
        )
    number = phase_number(choice.phase, strides)
    index = number.reshape(*number.shape, *(1,) * (parts.ndim - axis))
    return jnp.take_along_axis(parts, index, axis=axis, mode="clip").squeeze(axis)


def given_phase(parts: jax.Array, choice: Choice, strides: Sequence[int], trailing: int) -> jax.Array:
    """Returns the phase of every sample that a caller chose; see :func:`equijax.groups._elements.known_where`."""
    choice = require_choice(choice, len(strides))
    return known_where(_known(choice, strides), taken_phase(parts, choice, strides, trailing))


def polyphase_upsample(y: jax.Array, choice: Choice, strides: Sequence[int], *, trailing: int = 1) -> jax.Array:
    r"""Puts the samples back where they were taken from, zeros elsewhere.

    .. math:: U(y, i)[s m + i] = y[m]

    Law: ``U(T_q y, (i + k) mod s) = T_k U(y, i)`` with ``q = floor((i + k) / s)``: down and up with one choice commute with
    every circular shift. A phase that is out of range is treated as in :func:`polyphase_downsample`.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> y, choice = ej.nn.polyphase_downsample(jnp.asarray([[0.0], [5.0], [1.0], [6.0]]), (2,))
      >>> ej.nn.polyphase_upsample(y, choice, (2,))[:, 0].tolist()
      [0.0, 5.0, 0.0, 6.0]
    """
    y, strides, trailing = _as_grid(y, "y", strides, trailing)
    choice = require_choice(choice, len(strides))
    axis = y.ndim - trailing - len(strides)
    if axis < 0 or choice.phase.shape != (*y.shape[:axis], len(strides)):
        raise ValueError(
            f"`choice` has phases of shape {choice.phase.shape}, but `y` of shape {y.shape} needs "
            f"{(*y.shape[: max(axis, 0)], len(strides))}. Pass the choice that made y."
        )
    known = _known(choice, strides)
    number = phase_number(choice.phase, strides)
    own = number[..., None] == jnp.arange(math.prod(strides), dtype=number.dtype).reshape(*(1,) * number.ndim, -1)
    own = own.reshape(*own.shape, *(1,) * (y.ndim - axis))
    spread = jnp.expand_dims(y, axis)
    shape = (*y.shape[:axis], math.prod(strides), *y.shape[axis:])
    parts = jnp.where(jnp.broadcast_to(own, shape), jnp.broadcast_to(spread, shape), jnp.zeros((), y.dtype))
    return known_where(known, from_phases(parts, strides, trailing))


def _known(choice: Choice, strides: Sequence[int]) -> jax.Array:
    """Returns whether there is the phase of every sample, bool ``(*batch,)``."""
    limits = np.array(tuple(strides), np.int32)
    phase = require_numbers(choice.phase, limits, "choice.phase")
    return ((phase >= 0) & (phase < jnp.broadcast_to(limits, phase.shape))).all(-1)


def _as_grid(x: Any, name: str, strides: Any, trailing: Any) -> tuple[jax.Array, tuple[int, ...], int]:
    """Returns what functions of a grid are given, after checking each by itself."""
    return numeric(x, name), each_positive(strides, "strides"), positive_int(trailing, "trailing", 0)


def require_order(order: Any) -> float:
    """Returns the power of a norm, a positive number or infinity.

    Raises:
      TypeError: it is no number.
      ValueError: it is not positive.
    """
    if isinstance(order, (float, np.floating)) and order == math.inf:
        return math.inf
    return real_number(order, "order", positive=True, what="power of a norm, math.inf or a finite number")


def require_choice(choice: Any, d: int) -> Choice:
    """Returns a choice of phases of a grid of ``d`` axes, a numpy array where they are known.

    Raises:
      TypeError: it is none, or its phases are no integers.
      ValueError: its phases have another number of axes.
    """
    if not isinstance(choice, Choice):
        raise TypeError(
            f"`choice` is {shown(choice)}; it must be a Choice, as the layer or function that kept a phase gives it."
        )
    return choice._replace(phase=integers(choice.phase, "choice.phase", (d,)))


def require_divided(
    shape: tuple[int, ...], strides: tuple[int, ...], trailing: int, name: str = "inputs"
) -> tuple[int, ...]:
    """Returns the sizes of the grid, after checking that the strides divide them."""
    d = len(strides)
    sizes = tuple(shape[max(len(shape) - trailing - d, 0) : max(len(shape) - trailing, 0)])
    if len(sizes) != d or any(n % s for n, s in zip(sizes, strides, strict=True)):
        nearest = tuple(-(-n // s) * s for n, s in zip(sizes, strides, strict=False))
        raise ValueError(
            f"`{name}` has shape {shape}, whose grid sizes {sizes} the strides {strides} don't divide. Phases need sizes "
            f"that are multiples of the strides, for example {nearest}."
        )
    return sizes


def subsampled_shape(shape: tuple[int, ...], strides: tuple[int, ...], trailing: int) -> tuple[int, ...]:
    """Returns the shape after every ``strides``-th sample was taken; ``trailing`` axes stand behind the grid."""
    first = len(shape) - trailing - len(strides)
    sizes = [n // s for n, s in zip(require_divided(tuple(shape), strides, trailing), strides, strict=True)]
    return (*shape[:first], *sizes, *shape[first + len(strides) :])


def group_for(strides: Any, group: Any) -> Any:
    """Returns the group of a layer with these strides; None stands for translations of as many axes as a tuple has."""
    ndim = len(strides) if group is None and isinstance(strides, (tuple, list)) else None
    return require_group(group, ndim, "strides")


def strides_of(strides: Any, ndim: int, of: str = "") -> tuple[int, ...]:
    """Returns one stride for each axis, after checking that at least one is larger than 1."""
    result = per_axis(strides, ndim, "strides", of)
    if max(result, default=1) < 2:
        raise ValueError(f"`strides` is {shown(strides)}; subsampling needs a stride of at least 2 along one axis.")
    return result
