"""A residual block with a stride that commutes with every shift: both ways keep the samples of one choice."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from equijax._arguments import shown
from equijax.actions import Action
from equijax.actions._kept_parts import meet
from equijax.groups._elements import numeric
from equijax.nn._chain import exactness_of_chain, fold, grid_in, is_layer
from equijax.nn._choosing import Parted, as_chain, parted, require_shared, shape_behind, together
from equijax.nn._exactness import Exactness
from equijax.nn._part import Part
from equijax.nn._passing import name_of
from equijax.nn._phases import Choice
from equijax.nn._polyphase import PolyphaseDownsample


class PolyphaseResidual(Part):
    r"""A residual block with a stride, in which ``short`` keeps the samples that ``main`` has chosen.

    .. math:: y = σ\big(\mathrm{main}(x) + \mathrm{short}(x, i^*)\big), \qquad i^* \text{ chosen in } \mathrm{main}

    One layer of ``main`` chooses the phase :math:`i^*`: a :class:`PolyphaseConv`, :class:`PolyphaseMaxPool` or
    :class:`PolyphaseDownsample` in any place, or another ``PolyphaseResidual``. Layers before it keep the grid (stride 1,
    circular padding); layers behind it act on the samples that are kept.

    Law: for every circular shift by k the choice becomes ``(i* + k) mod s`` and the output moves by
    ``floor((i* + k) / s)``, as in :class:`PolyphaseDownsample`, if every other layer commutes with the shifts of its grid.

    Args:
      main: layers and functions that are applied one after the other, or one layer; ``nnx.Sequential`` is looked into.
      short: layers likewise, one of which has the strides of ``main`` and takes its choice, such as a 1×1
        ``PolyphaseConv``; None keeps the chosen samples of the input.
      activation: function of the sum; None is none.

    Raises:
      TypeError: an entry that can't be called.
      ValueError: ``main`` or ``short`` holds no layer that chooses a phase, or several; their strides differ, or the fields
        that they give can't be added.

    References:
      Chaman and Dokmanić, "Truly shift-invariant convolutional neural networks", CVPR 2021.

    Example: the strided block of a ResNet; the mean behind it does not change when the input is shifted by one.
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> block = ej.nn.PolyphaseResidual(
      ...     main=[ej.nn.PolyphaseConv(4, 8, (3, 3), 2, rngs=rngs), nnx.relu,
      ...           ej.nn.Conv(8, 8, (3, 3), padding="CIRCULAR", rngs=rngs)],
      ...     short=ej.nn.PolyphaseConv(4, 8, (1, 1), 2, rngs=rngs),
      ...     activation=nnx.relu)
      >>> x = jax.random.normal(jax.random.key(0), (1, 8, 6, 4))
      >>> block(x).shape
      (1, 4, 3, 8)
      >>> bool(jnp.allclose(block(x).mean((1, 2)), block(jnp.roll(x, 1, axis=1)).mean((1, 2)), rtol=1e-4))
      True
    """

    def __init__(
        self,
        main: Any,
        short: Any = None,
        *,
        activation: Callable[[jax.Array], jax.Array] | None = None,
    ):
        self.main = as_chain(main, "main")
        strides = self._main.strides
        self.short = as_chain(self._samples(strides) if short is None else short, "short")
        if self._short.strides != strides:
            raise ValueError(
                f"`short` holds a {name_of(self._short.layer)} with the strides {self._short.strides}, but the strides of "
                f"{name_of(self._main.layer)} in `main` are {strides}. Give both the same."
            )
        given: Any = activation
        self.activation = given
        self.is_short_given = short is not None
        if any(is_layer(entry) for entry in self._main.entries):
            for way in (self._main, self._short):
                require_shared(way.entries, way.name, self.in_action)
            self.out_action_for(self.in_action)

    @property
    def _main(self) -> Parted:
        return parted(self.main, "main")

    @property
    def _short(self) -> Parted:
        return parted(self.short, "short")

    def _samples(self, strides: tuple[int, ...]) -> PolyphaseDownsample:
        """The layer that keeps samples of the input."""
        grid = grid_in(self.in_action) if any(is_layer(entry) for entry in self._main.entries) else None
        if grid is None:
            return PolyphaseDownsample(strides)
        inexact = bool(getattr(self._main.layer, "allow_inexact", False))
        return PolyphaseDownsample(strides, group=grid.group.open, in_fibre=grid.fibre, allow_inexact=inexact)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides, one int per grid axis."""
        return self._main.strides

    @property
    def in_action(self) -> Action:
        """The action on the input: that of ``main``."""
        return self._main.in_action

    def out_action_for(self, in_action: Action, choice: Sequence[int] | None = None) -> Action:
        """Returns the action on the output where the phase ``choice`` was kept.

        Args:
          in_action: the action on the input.
          choice: ``choice.phase`` of one sample, as numbers; None stands for phase 0.

        Returns:
          The action; where a layer can't be followed, one whose use raises ``ValueError`` and says why.

        Raises:
          ValueError: a layer does not fit its predecessor, or ``short`` does not fit ``main``.
        """
        action, other = (way.out_action_for(in_action, choice) for way in (self._main, self._short))
        both = together(action, other)
        if both is None:
            raise ValueError(
                f"`short` gives what is moved by {other!r}, but `main` what is moved by {action!r}; these can't be added. "
                "Choose out_fibre of both alike, padding='CIRCULAR', and windows that are odd or even on both ways."
            )
        return fold(self._behind, both)

    @property
    def _behind(self) -> list[Any]:
        return [] if self.activation is None else [self.activation]

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements both ways keep with their choice: shifts by multiples of the strides at most.

        All other shifts are respected too, but change the choice: see the law of the class.
        """
        main = exactness_of_chain([*self._main.entries, *self._behind], in_action, input_shape)
        short = exactness_of_chain([*self._short.entries, *self._behind], in_action, input_shape)
        known = main if not main.kept.is_known else short if not short.kept.is_known else None
        if known is not None:
            return known
        reasons = dict.fromkeys(reason for reason in (main.reason, short.reason) if reason)
        return Exactness(main.in_action, main.out_action, meet(main.kept, short.kept), " ".join(reasons))

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output for an input of this shape."""
        return shape_behind(self._main.entries, tuple(input_shape))

    def choose(self, inputs: jax.Array) -> Choice:
        """Returns the choice for ``(*batch, *sizes, fibre, features)``: phases int32 ``(*batch, d)``, and margins."""
        return self.with_choice(inputs)[1]

    def with_choice(self, inputs: jax.Array, choice: Choice | None = None) -> tuple[jax.Array, Choice]:
        """Returns the output and the choice; a given choice is used instead of making one.

        Args:
          inputs: ``(*batch, *sizes, fibre, features)``; the strides divide the sizes.
          choice: from a parallel branch, for the same batch.

        Returns:
          ``(*batch, *sizes / strides, fibre, features)``, in the dtype of the sum; and the choice.

        Raises:
          TypeError: ``inputs`` are no array of numbers, or ``choice`` is no :class:`Choice`.
          ValueError: a size that the stride does not divide, a choice for another batch or out of range; or ``main`` and
            ``short`` give arrays of different shapes.
        """
        inputs = numeric(inputs, "inputs")
        y, choice = self._main.with_choice(inputs, choice)
        other, _ = self._short.with_choice(inputs, choice)
        if getattr(y, "shape", None) != getattr(other, "shape", None):
            raise ValueError(self._shapes_differ(inputs, y, other))
        y = y + other
        return y if self.activation is None else self.activation(y), choice

    def _shapes_differ(self, inputs: jax.Array, y: Any, other: Any) -> str:
        shapes = [value.shape if hasattr(value, "shape") else shown(value) for value in (y, other)]
        text = f"`main` gives the shape {shapes[0]} and `short` {shapes[1]}, for `inputs` of shape {inputs.shape}; one "
        text += "is added to the other, so they must be equal. "
        if not self.is_short_given and shapes[0][:-1] == shapes[1][:-1]:
            ones = (1,) * len(self.strides)
            layer = f"ej.nn.PolyphaseConv({inputs.shape[-1]}, {shapes[0][-1]}, {ones}, {self.strides}, rngs=rngs)"
            return f"{text}Without `short` the features stay as they are: give short={layer}."
        return f"{text}Behind the layer that chooses use stride 1 and padding='CIRCULAR', and as many features on both ways."

    def __call__(self, inputs: jax.Array, choice: Choice | None = None) -> jax.Array:
        """Returns ``(*batch, *sizes / strides, fibre, features)``; see :meth:`with_choice`."""
        return self.with_choice(inputs, choice)[0]
