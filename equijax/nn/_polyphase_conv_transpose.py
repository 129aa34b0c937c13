"""Transposed convolution that puts samples back at the phase they were taken from."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from equijax.actions import Action
from equijax.actions._kept_parts import kept_by, meet
from equijax.groups import Group
from equijax.nn._conv import window_of
from equijax.nn._conv_transpose import ConvTranspose
from equijax.nn._exactness import Exactness
from equijax.nn._layer import Layer, require_input, sized
from equijax.nn._phases import Choice, strides_of
from equijax.nn._polyphase_upsample import PolyphaseUpsample
from equijax.reps import Representation


class PolyphaseConvTranspose(Layer):
    r"""A transposed convolution whose samples go back to the phase they were taken from: the way up of a decoder.

    .. math:: y[p, b, o] = β[b, o] + \sum_{δ, a, i} κ[δ, a, b, i, o]\; u[p + δ, a, i], \qquad u[s m + i^*] = f[m]

    on a torus: :class:`PolyphaseUpsample` with the choice :math:`i^*`, then a circular convolution, in ``conv``. A sample
    reaches the pixels that the window of a :class:`PolyphaseConv` of this kernel size reads for it, so down and up lead back
    to the grid of the input. It costs as much as the convolution on the fine grid.

    Law: with the choice that was made on the way down, down and up commute with every circular shift; with ``group`` also
    with the elements of its point group.

    At phase 0, ``nnx.ConvTranspose(padding="CIRCULAR")`` of the same kernel gives this result moved by
    ``k - 1 - max(k - s, 0) // 2 - k // 2`` pixels along each axis: by none for 1×1, 2×2 and 4×4 kernels at stride 2, by one
    for 3×3. To take over a 3×3 kernel of Flax without the move, put zeros behind it and use ``kernel_size=(4, 4)``.

    Attributes:
      conv: the :class:`ConvTranspose` at stride 1 that holds kernel and bias, in the shapes of Flax for translations.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      kernel_size: one int per grid axis.
      strides: those of the layer that made the choice; one int per grid axis, or one for all.
      group: as in :class:`Conv`.
      in_fibre: as in :class:`Conv`.
      out_fibre: as in :class:`Conv`.
      rngs: key source.
      **options: further arguments of :class:`ConvTranspose`, except ``padding``.

    Raises:
      TypeError: ``group`` or a fibre is of the wrong kind.
      ValueError: strides of 1, a ``padding``, or an argument that does not fit the group.

    References:
      Chaman and Dokmanić, "Truly shift-equivariant convolutional neural networks with adaptive polyphase upsampling",
      2021.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> down = ej.nn.PolyphaseConv(3, 8, (4, 4), 2, rngs=nnx.Rngs(0))
      >>> up = ej.nn.PolyphaseConvTranspose(8, 3, (4, 4), 2, rngs=nnx.Rngs(1))
      >>> y, choice = down.with_choice(jnp.ones((1, 8, 6, 3)))
      >>> y.shape, up(y, choice).shape
      ((1, 4, 3, 8), (1, 8, 6, 3))
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
        rngs: nnx.Rngs,
        **options: Any,
    ):
        if "padding" in options:
            raise ValueError(f"`padding` is {options['padding']!r}; phases lie on a torus, padding is always CIRCULAR.")
        strides = strides_of(strides, len(window_of(kernel_size, group)), "kernel_size")  # before a key is drawn
        given: dict[str, Any] = {"group": group, "in_fibre": in_fibre, "out_fibre": out_fibre, "rngs": rngs, **options}
        self.conv = ConvTranspose(in_features, out_features, kernel_size, 1, padding="CIRCULAR", **given)
        self.up = PolyphaseUpsample(strides, group=self.conv.group, in_fibre=self.conv.in_fibre)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides, one int per grid axis."""
        return self.up.strides

    @property
    def in_features(self) -> int:
        """Number of input features."""
        return self.conv.in_features

    @property
    def out_features(self) -> int:
        """Number of output features."""
        return self.conv.out_features

    @property
    def in_action(self) -> Action:
        """The action on the input: every ``strides``-th sample of a torus."""
        return self.up.in_action

    def out_action_for(self, in_action: Action, choice: Sequence[int] | None = None) -> Action:
        """Returns the action on the fine grid, where the input sits at the phase ``choice``; None stands for phase 0."""
        return self.conv.out_action_for(self.up.out_action_for(in_action, choice))

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements keep the choice: those that map the input to itself.

        All other shifts are respected too, together with the layer that makes the choice: see the law of the class.
        """
        action = sized(in_action, input_shape)
        fine = self.conv.exactness_for(self.up.out_action_for(action), self.up.out_shape(input_shape))
        return Exactness(action, fine.out_action, meet(kept_by(action, input_shape), fine.kept), fine.reason)

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output, by arithmetic."""
        return self.conv.out_shape(self.up.out_shape(input_shape))

    def __call__(self, inputs: jax.Array, choice: Choice) -> jax.Array:
        """Returns ``(*batch, *sizes · strides, out_fibre, out_features)``.

        Args:
          inputs: ``(*batch, *sizes, in_fibre, in_features)``.
          choice: what the downsampling layer returned.

        Raises:
          TypeError: ``choice`` is no :class:`Choice`.
          ValueError: inputs of another shape, a choice for another batch, or a known phase out of range. A traced one gives
            NaN.
        """
        require_input(inputs.shape, self.in_action, self.in_features)
        return self.conv(self.up(inputs, choice))
