"""Subsampling that commutes with every circular shift: the phase is chosen by the data."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import shown
from equijax._dtypes import as_floats
from equijax._extrema import largest
from equijax.actions import Action, GridAction
from equijax.actions._kept_parts import kept_by
from equijax.groups import Group
from equijax.groups._elements import numeric
from equijax.groups._space import grid_ndim
from equijax.nn._choices import places_of
from equijax.nn._conv import Conv, window_of
from equijax.nn._exactness import Exactness, between_grids
from equijax.nn._layer import Layer, require_input, require_permuted, require_same_group, resolve_fibre, sized
from equijax.nn._phases import (
    Choice,
    choice_of,
    given_phase,
    group_for,
    norm_scores,
    phases,
    require_divided,
    require_order,
    strides_of,
    subsampled_shape,
    taken_phase,
)
from equijax.nn._returned import require_scores
from equijax.nn._spatial_pool import MaxPool
from equijax.reps import Representation, Scalar


class Polyphase(Layer):
    """What the layers that choose a phase have in common."""

    group: Any
    in_fibre: Representation
    strides: tuple[int, ...]
    order: float
    score: Callable[[jax.Array], jax.Array] | None
    allow_inexact: bool

    def _define(self, strides: Any, group: Any, in_fibre: Any, order: float, score: Any, allow_inexact: bool) -> None:
        self.allow_inexact = allow_inexact
        self.group = group_for(strides, group)
        d = grid_ndim(self.group)
        if not d:
            raise ValueError(f"`group` is {self.group!r}, which moves no grid. Use coset_subsample for plain finite groups.")
        order = require_order(order)
        if score is not None and not callable(score):
            raise TypeError(
                f"`score` is {shown(score)}; it must be a module or function of one phase, such as PhaseScore(...)."
            )
        self.in_fibre = resolve_fibre(in_fibre, self.group, Scalar, "in_fibre")
        if score is None and not (order == 2 and self.in_fibre.is_orthogonal):
            require_permuted(self.in_fibre, "in_fibre", f"the norm of order {order}, by which the phase is chosen,")
        self.strides, self.order = strides_of(strides, d), order
        given: Any = score
        self.score = given

    @property
    def trailing(self) -> int:
        """Number of axes behind the grid."""
        return 1 + len(self.in_fibre.shape)

    @abc.abstractmethod
    def full(self, inputs: jax.Array) -> jax.Array:
        """Returns the output before subsampling."""

    @property
    def in_action(self) -> Action:
        """The action on the input: a torus."""
        return GridAction(self.group, self.in_fibre)

    def out_action_for(self, in_action: Action, choice: Sequence[int] | None = None) -> Action:
        """Returns the action on the output where the phase ``choice`` was kept.

        Args:
          in_action: the action on the input.
          choice: ``choice.phase`` of one sample, as numbers; None stands for phase 0.

        Returns:
          The action on every ``strides``-th sample. An element that changes the phase does not act on it: it moves the
          output for one choice to the output for another.
        """
        require_same_group(self.in_action, in_action)
        return self._resampled(in_action, choice)

    def _resampled(self, action: Any, choice: Sequence[int] | None) -> Action:
        offset = tuple(map(float, places_of(choice, self.strides)))
        return action.resampled(self.strides, offset)

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements keep the choice: the shifts by multiples of the strides.

        All other shifts (and point elements) are respected too, but change the choice: see the law of the class.
        """
        action: Any = sized(in_action, input_shape)
        sizes = action.sizes(tuple(input_shape))
        coarse: Any = self.out_action_for(action)
        found = between_grids(action, sizes, coarse, tuple(n // s for n, s in zip(sizes, self.strides, strict=True)))
        changed = "it changes the phase that is kept"
        lost = tuple((h, changed) for h in range(1, action.point_group.order))
        kept = dataclasses.replace(found, moves=found.moves[:1], lost=lost)
        return Exactness(action, coarse, kept, kept.reason)

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output, by arithmetic."""
        *rest, features = subsampled_shape(input_shape, self.strides, self.trailing)
        out_fibre: Any = self.out_action.fibre  # type: ignore[attr-defined]
        return (*rest[: len(rest) + 1 - self.trailing], *out_fibre.shape, self._out_features(features))

    def _out_features(self, features: int) -> int:
        return features

    def _require_exact(self, input_shape: tuple[int, ...]) -> None:
        """Raises where a point element maps the input to itself, but not one phase to another."""
        if self.allow_inexact or self.in_fibre.group.order == 1:
            return
        action: Any = sized(self.in_action, input_shape)
        matrices = action.point_group.integer_matrices
        steps = np.array(self.strides)
        for h in kept_by(action, input_shape).point_elements:
            if ((matrices[h] != 0) & (steps[:, None] != steps[None])).any():
                raise ValueError(
                    f"`inputs` has shape {tuple(input_shape)}, but element {h} of {action.point_group!r} exchanges axes "
                    f"with the strides {self.strides}, so no phase of this {type(self).__name__} goes to another. Use equal "
                    "strides along these axes; or build the layer with allow_inexact=True and accept the loss."
                )

    def choose(self, inputs: jax.Array) -> Choice:
        """Returns the choice for ``(*batch, *sizes, fibre, features)``: phases int32 ``(*batch, d)``, and margins."""
        return self.with_choice(inputs)[1]

    def with_choice(self, inputs: jax.Array, choice: Choice | None = None) -> tuple[jax.Array, Choice]:
        """Returns the output and the choice; a given choice is used instead of making one.

        Args:
          inputs: ``(*batch, *sizes, fibre, features)``; the strides divide the sizes.
          choice: from a parallel branch, for the same batch. Phases out of range are an error where they are known, and
            give marked samples where they are traced: see :func:`polyphase_downsample`.

        Raises:
          TypeError: ``inputs`` are no array of numbers, or ``score`` returned no floats.
          ValueError: a size that the stride does not divide, a choice for another batch or out of range, or a ``score`` that
            does not return one number for each phase.
        """
        inputs = numeric(inputs, "inputs")
        require_input(inputs.shape, self.in_action, None)
        require_divided(inputs.shape, self.strides, self.trailing)
        self._require_exact(inputs.shape)
        fields = self.full(inputs)
        trailing = fields.ndim - inputs.ndim + self.trailing
        parts = phases(fields, self.strides, trailing)
        if choice is not None:
            return given_phase(parts, choice, self.strides, trailing), choice
        scores = self._scores(parts, trailing)
        choice = choice_of(scores, self.strides)
        y = taken_phase(parts, choice, self.strides, trailing)
        if self.score is not None and jnp.issubdtype(y.dtype, jnp.inexact):
            # The factor is 1 in the forward pass; its gradient trains the score.
            weights = jax.nn.softmax(scores)
            kept = largest(weights, -1)
            through = 1 + (kept - jax.lax.stop_gradient(kept))
            y = y * through.astype(y.dtype).reshape(*through.shape, *(1,) * (y.ndim - through.ndim))
        return y, choice

    def _scores(self, parts: jax.Array, trailing: int) -> jax.Array:
        if self.score is None:
            return norm_scores(parts, len(self.strides), trailing, self.order)
        lead = parts.shape[: parts.ndim - trailing - len(self.strides)]
        return as_floats(require_scores(self.score(parts), lead, "score"))

    def __call__(self, inputs: jax.Array, choice: Choice | None = None) -> jax.Array:
        """Returns ``(*batch, *sizes / strides, fibre, features)``; see :meth:`with_choice`."""
        return self.with_choice(inputs, choice)[0]


class PolyphaseDownsample(Polyphase):
    r"""Keeps every s-th sample, of the phase that the data choose.

    .. math:: y[m] = x[s m + i^*], \qquad i^* = \operatorname{argmax}_i q(P_i(x))

    q is the norm of the phase, or a learned score. The choice is hard in training too, so that training and use agree; a
    learned score gets its gradient straight through.

    Law: for every circular shift by k the choice becomes ``(i* + k) mod s`` and the output moves by
    ``floor((i* + k) / s)``. A global pool behind it is exactly invariant; :class:`PolyphaseUpsample` with the same choice is
    exactly equivariant. It needs circular padding everywhere, strides that divide the sizes, and a margin above 0:
    an input that a smaller shift maps to itself has no phase of its own.

    Args:
      strides: one int per grid axis; an int stands for all axes of ``group``.
      group: ``Translation`` or ``SpaceGroup``; None is the translations of as many axes as ``strides`` has.
      in_fibre: representation of the point group on the input; None is ``Scalar``.
      order: p of the norm, or ``inf``.
      score: module or function of one phase ``(…, *sizes, fibre, features)`` that returns ``(…)`` and does not change under
        shifts, such as :class:`PhaseScore`; None is the norm.
      allow_inexact: accept strides that differ along axes that the group mixes, so that point elements are lost.

    Raises:
      TypeError: a ``score`` that returns no numbers.
      ValueError: strides of 1, a group without a grid, or a ``score`` that does not return one number for each phase.

    References:
      Chaman and Dokmanić, CVPR 2021 (norms); Rojas-Gomez et al., "Learnable polyphase sampling", NeurIPS 2022 (scores).

    Example: the mean behind it does not change when the input is shifted by one.
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> down = ej.nn.PolyphaseDownsample((2, 2))
      >>> x = jax.random.normal(jax.random.key(0), (1, 6, 8, 3))
      >>> down(x).shape
      (1, 3, 4, 3)
      >>> bool(jnp.allclose(down(x).mean(), down(jnp.roll(x, 1, axis=1)).mean(), rtol=1e-5))
      True
    """

    def __init__(
        self,
        strides: int | Sequence[int],
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        order: float = 2,
        score: Callable[[jax.Array], jax.Array] | None = None,
        allow_inexact: bool = False,
    ):
        self._define(strides, group, in_fibre, order, score, allow_inexact)

    def full(self, inputs: jax.Array) -> jax.Array:
        """Returns the input."""
        return inputs


class PolyphaseMaxPool(Polyphase):
    """Circular max pooling at stride 1, then :class:`PolyphaseDownsample`: max pooling that commutes with every shift.

    Args:
      window_shape: one int per grid axis.
      strides: steps; None is ``window_shape``.
      group: as in :class:`PolyphaseDownsample`.
      in_fibre: as in :class:`PolyphaseDownsample`.
      order: as in :class:`PolyphaseDownsample`.
      score: as in :class:`PolyphaseDownsample`.
      allow_inexact: as in :class:`PolyphaseDownsample`.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.PolyphaseMaxPool((2, 2))(jnp.ones((1, 8, 6, 3))).shape
      (1, 4, 3, 3)
    """

    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        order: float = 2,
        score: Callable[[jax.Array], jax.Array] | None = None,
        allow_inexact: bool = False,
    ):
        window_of(window_shape, group, "window_shape")
        self._define(window_shape if strides is None else strides, group, in_fibre, order, score, allow_inexact)
        options: dict[str, Any] = {"padding": "CIRCULAR", "group": self.group, "in_fibre": self.in_fibre}
        options["allow_inexact"] = allow_inexact
        self.pool = MaxPool(window_shape, **options)

    def full(self, inputs: jax.Array) -> jax.Array:
        """Returns the maxima over all windows."""
        return self.pool(inputs)


class PolyphaseConv(Polyphase):
    """A circular convolution at stride 1, then :class:`PolyphaseDownsample`: an exact strided convolution.

    It costs as much as the convolution at stride 1. The parameters are those of :class:`Conv`, in ``conv``.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      kernel_size: one int per grid axis.
      strides: one int per grid axis, or one for all.
      group: as in :class:`Conv`.
      in_fibre: as in :class:`Conv`.
      out_fibre: as in :class:`Conv`.
      order: as in :class:`PolyphaseDownsample`; the norm is that of the output.
      score: as in :class:`PolyphaseDownsample`, of phases of the output.
      allow_inexact: as in :class:`PolyphaseDownsample`.
      rngs: key source.
      **options: further arguments of :class:`Conv`, except ``padding``.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.PolyphaseConv(3, 8, (3, 3), 2, rngs=nnx.Rngs(0))
      >>> y, choice = layer.with_choice(jnp.ones((1, 8, 6, 3)))
      >>> y.shape, choice.phase.shape
      ((1, 4, 3, 8), (1, 2))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 2,
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
        out_fibre: Representation | None = None,
        order: float = 2,
        score: Callable[[jax.Array], jax.Array] | None = None,
        allow_inexact: bool = False,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        if "padding" in options:
            raise ValueError(
                f"`padding` is {options['padding']!r}; phases are chosen on a torus, padding is always CIRCULAR."
            )
        strides_of(strides, len(window_of(kernel_size, group)), "kernel_size")  # before a key is drawn
        require_order(order)
        given: dict[str, Any] = {"group": group, "in_fibre": in_fibre, "out_fibre": out_fibre, "rngs": rngs, **options}
        given["allow_inexact"] = allow_inexact
        self.conv = Conv(in_features, out_features, kernel_size, padding="CIRCULAR", **given)
        self._define(strides, self.conv.group, in_fibre, order, score, allow_inexact)

    @property
    def in_action(self) -> Action:
        """The action on the input: that of the convolution."""
        return self.conv.in_action

    def out_action_for(self, in_action: Action, choice: Sequence[int] | None = None) -> Action:
        """Returns the action on the output where the phase ``choice`` was kept."""
        return self._resampled(self.conv.out_action_for(in_action), choice)

    def _out_features(self, features: int) -> int:
        return self.conv.out_features

    def full(self, inputs: jax.Array) -> jax.Array:
        """Returns the convolution at stride 1."""
        return self.conv(inputs)
