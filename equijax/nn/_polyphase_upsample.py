"""Putting samples back at the phase they were taken from."""

from collections.abc import Sequence
from typing import Any

import jax

from equijax.actions import Action, GridAction
from equijax.groups import Group
from equijax.groups._space import grid_ndim
from equijax.nn._choices import places_of
from equijax.nn._layer import Layer, require_input, require_same_group, resolve_fibre
from equijax.nn._phases import Choice, group_for, polyphase_upsample, strides_of
from equijax.reps import Representation, Scalar


class PolyphaseUpsample(Layer):
    """Puts samples back on the fine grid at the phase they were taken from, zeros elsewhere.

    Law: with the choice that was made on the way down, down and up commute with every circular shift.

    Args:
      strides: those of the layer that made the choice.
      group: as in :class:`PolyphaseDownsample`.
      in_fibre: as in :class:`PolyphaseDownsample`.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> down, up = ej.nn.PolyphaseDownsample((2,)), ej.nn.PolyphaseUpsample((2,))
      >>> y, choice = down.with_choice(jnp.asarray([[0.0], [5.0], [1.0], [6.0]]))
      >>> up(y, choice)[:, 0].tolist()
      [0.0, 5.0, 0.0, 6.0]
    """

    def __init__(
        self,
        strides: int | Sequence[int],
        *,
        group: Group | None = None,
        in_fibre: Representation | None = None,
    ):
        self.group = group_for(strides, group)
        self.in_fibre = resolve_fibre(in_fibre, self.group, Scalar, "in_fibre")
        self.strides = strides_of(strides, grid_ndim(self.group))

    @property
    def in_action(self) -> Action:
        """The action on the input: every ``strides``-th sample of a torus."""
        return GridAction(self.group, self.in_fibre, spacing=self.strides)  # pyright: ignore[reportArgumentType]

    def out_action_for(self, in_action: Action, choice: Sequence[int] | None = None) -> Action:
        """Returns the action on the fine grid, where the input sits at the phase ``choice``."""
        require_same_group(self.in_action, in_action)
        grid: Any = in_action
        offset = places_of(choice, self.strides)
        spacing = tuple(a // s for a, s in zip(grid.spacing, self.strides, strict=True))
        origin = tuple(p - a * i for p, a, i in zip(grid.origin, spacing, offset, strict=True))
        return GridAction(grid.group, grid.fibre, grid.boundary, spacing, origin, grid.torus)

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output, by arithmetic."""
        first = len(input_shape) - 1 - len(self.in_fibre.shape) - len(self.strides)
        sizes = [n * s for n, s in zip(input_shape[first:], self.strides, strict=False)]
        return (*input_shape[:first], *sizes, *input_shape[first + len(self.strides) :])

    def __call__(self, inputs: jax.Array, choice: Choice) -> jax.Array:
        """Returns ``(*batch, *sizes · strides, fibre, features)``.

        Args:
          inputs: ``(*batch, *sizes, fibre, features)``.
          choice: what the downsampling layer returned.

        Raises:
          ValueError: a choice for another batch, or a known phase out of range. A traced one gives marked samples: NaN for
            floats, see :func:`polyphase_downsample`.
        """
        require_input(inputs.shape, self.in_action, None)
        return polyphase_upsample(inputs, choice, self.strides, trailing=1 + len(self.in_fibre.shape))
