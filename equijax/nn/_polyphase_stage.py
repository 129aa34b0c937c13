"""A stage of an encoder and decoder: down by a choice of the data, and up again to where the samples were."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._arguments import shown
from equijax.actions import Action, Kept, Nothing
from equijax.actions._kept_parts import kept_by, meet
from equijax.actions._unknown import UnknownAction
from equijax.groups._elements import numeric
from equijax.groups._space import point_group_of
from equijax.nn._chain import exactness_of_chain, fold, is_layer
from equijax.nn._choosing import (
    Parted,
    applied,
    as_chain,
    chooses,
    parted,
    require_shared,
    shape_behind,
    takes_choice,
    together,
)
from equijax.nn._exactness import Exactness
from equijax.nn._layer import sized
from equijax.nn._part import Part
from equijax.nn._passing import name_of, unknown

_JOINS = ("concatenate", "add")


class PolyphaseStage(Part):
    r"""One stage of a U-Net: down, what is inside, up with the choice that was made on the way down, joined with the input.

    .. math:: y = \mathrm{join}\big(x, \mathrm{up}(\mathrm{inside}(d), i^*)\big), \qquad (d, i^*) = \mathrm{down}(x)

    What is inside may hold another stage: nested, stages are the whole network.

    Law: ``stage(act(k, x)) == act(k, stage(x))`` for every circular shift k, not only for multiples of the strides, if
    ``inside`` and the other layers commute with every shift of their grids.

    Args:
      down: layers and functions that are applied one after the other, or one layer; one of them chooses a phase:
        :class:`PolyphaseConv`, :class:`PolyphaseMaxPool`, :class:`PolyphaseDownsample` or :class:`PolyphaseResidual`.
      inside: layers that keep the coarse grid, or one; None is nothing.
      up: layers, one of which takes the choice and has the strides of ``down``: :class:`PolyphaseUpsample` or
        :class:`PolyphaseConvTranspose`.
      join: ``"concatenate"`` (input first, along the features), ``"add"``, or a function or module of the input and of what
        came up, such as an attention gate.

    Raises:
      TypeError: an entry that can't be called.
      ValueError: ``down`` holds no layer that chooses a phase, ``up`` none that takes a choice, or one of them several;
        their strides differ, or ``join`` is another word.

    References:
      Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI 2015,
      arXiv:1505.04597, Figure 1. Chaman and Dokmanić, "Truly shift-equivariant convolutional neural networks with adaptive
      polyphase upsampling", 2021.

    Example: a U-Net of two stages commutes with a shift by one.
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> rngs, nn = nnx.Rngs(0), ej.nn
      >>> conv = lambda a, b: nn.Conv(a, b, (3, 3), padding="CIRCULAR", rngs=rngs)
      >>> deep = nn.PolyphaseStage(
      ...     nn.PolyphaseMaxPool((2, 2)), [conv(8, 16), nnx.relu], nn.PolyphaseConvTranspose(16, 8, (2, 2), rngs=rngs))
      >>> net = nn.PolyphaseStage(
      ...     nn.PolyphaseMaxPool((2, 2)), [conv(4, 8), nnx.relu, deep, conv(16, 8), nnx.relu],
      ...     nn.PolyphaseConvTranspose(8, 4, (2, 2), rngs=rngs))
      >>> x = jax.random.normal(jax.random.key(0), (1, 8, 8, 4))
      >>> net(x).shape
      (1, 8, 8, 8)
      >>> bool(jnp.allclose(net(jnp.roll(x, 1, axis=1)), jnp.roll(net(x), 1, axis=1), atol=1e-5))
      True
    """

    def __init__(
        self,
        down: Any,
        inside: Any,
        up: Any,
        join: str | Callable[[jax.Array, jax.Array], jax.Array] = "concatenate",
    ):
        self.down = as_chain(down, "down")
        self.inside = as_chain([] if inside is None else inside, "inside", can_be_empty=True)
        self.up = as_chain(up, "up")
        if not (callable(join) and not isinstance(join, type)) and not (isinstance(join, str) and join in _JOINS):
            raise ValueError(
                f"`join` is {shown(join)}; it must be 'concatenate', 'add', or a function of the input and what came up."
            )
        if self._up.strides != self._down.strides:
            raise ValueError(
                f"`up` holds a {name_of(self._up.layer)} with the strides {self._up.strides}, but the strides of "
                f"{name_of(self._down.layer)} in `down` are {self._down.strides}. Give both the same."
            )
        given: Any = join
        self.join = given
        if any(is_layer(entry) for entry in self._down.entries):
            for name, layers in (("down", self.down), ("inside", self.inside), ("up", self.up)):
                require_shared(layers, name, self.in_action)
            self.out_action_for(self.in_action)

    @property
    def _down(self) -> Parted:
        return parted(self.down, "down", chooses)

    @property
    def _up(self) -> Parted:
        return parted(self.up, "up", takes_choice)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the way down and of the way up, one int per grid axis."""
        return self._down.strides

    @property
    def in_action(self) -> Action:
        """The action on the input: that of ``down``."""
        return self._down.in_action

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the output, which lies on the grid of the input.

        Where a layer can't be followed, it is an action whose use raises ``ValueError`` and says why.

        Raises:
          ValueError: a layer does not fit its predecessor.
        """
        action = self._down.out_action_for(in_action)
        action = fold(self.inside, action) if action.is_known else action
        return self._joined(in_action, self._up.out_action_for(action) if action.is_known else action)

    def _joined(self, in_action: Action, action: Action) -> Action:
        """The action on what is joined, given those on the input and on what came up."""
        if not action.is_known:
            return action
        both = together(action, in_action)
        if both is None:
            raise ValueError(
                f"`up` gives what is moved by {action!r}, but the input is moved by {in_action!r}; these can't be joined. "
                "Choose out_fibre of `up` as in_fibre of `down`, padding='CIRCULAR', and windows of both with equal sizes."
            )
        return both if isinstance(self.join, str) else unknown(in_action, "join", "it is a function of two arrays")

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the stage respects: all that map the input to itself, if each layer does so on its grid.

        A phase that changes is no loss here. Where a layer loses something, nothing is claimed.
        """
        action = in_action = sized(in_action, input_shape)
        shape, down, up = tuple(input_shape), self._down, self._up
        for layers, one in (
            (down.before, down.layer),
            ([*down.behind, *self.inside, *up.before], up.layer),
            (up.behind, None),
        ):
            found = exactness_of_chain(layers, action, shape)
            reason = _lost(found, kept_by(action, shape))
            action, shape = found.out_action, shape_behind(layers, shape)
            if one is not None and not reason:
                reason, action, shape = _through(one, action, shape)
            if reason:
                return Exactness(in_action, UnknownAction(in_action.group, reason), Nothing(in_action.group), reason)
        out_action: Any = self._joined(in_action, action)
        if not out_action.is_known:
            return Exactness(in_action, out_action, Nothing(in_action.group), out_action.reason)
        return Exactness(in_action, out_action, kept_by(in_action, input_shape), "")

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Applies the stage.

        Args:
          inputs: ``(*batch, *sizes, fibre, features)``; the strides divide the sizes.

        Returns:
          ``(*batch, *sizes, fibre, features)`` on the grid of the input: the features of the input and of what came up one
          behind the other, or their sum, in the dtype that both promote to.

        Raises:
          ValueError: a size that the strides don't divide, or what came up does not fit the input.
        """
        inputs = numeric(inputs, "inputs")
        y, choice = self._down.with_choice(inputs)
        up = self._up
        y = applied([*self.inside, *up.before], y)
        y = applied(up.behind, up.layer(y, choice))
        leading = choice.phase.ndim - 1 + len(up.strides)
        if self.join == "add" and y.shape != inputs.shape:
            self._refuse(inputs, y, "as many features as the input, or take join='concatenate'")
        if y.shape[:leading] != inputs.shape[:leading]:
            self._refuse(inputs, y, "the grid: inside and behind the way up use stride 1 and padding='CIRCULAR'")
        if self.join == "concatenate":
            if y.shape[:-1] != inputs.shape[:-1]:
                self._refuse(inputs, y, "the fibre of the input")
            return jnp.concatenate([inputs, y], -1)
        return inputs + y if self.join == "add" else self.join(inputs, y)

    def _refuse(self, inputs: jax.Array, y: jax.Array, remedy: str) -> None:
        raise ValueError(
            f"`inputs` has shape {inputs.shape}, but what comes up has {y.shape}; join={shown(self.join)} needs both alike. "
            f"Keep {remedy}."
        )


def _lost(found: Exactness, whole: Kept) -> str:
    """Says why not all elements are kept that act on an input; empty where they are."""
    both = meet(whole, found.kept)
    if not both.is_known:
        return found.reason or "Nothing is known of a layer."
    if (both.point_elements, both.shift_step) == (whole.point_elements, whole.shift_step):
        return ""
    return f"Nothing is claimed of a stage in which a layer loses elements. {found.reason}".strip()


def _through(layer: Any, action: Action, shape: tuple[int, ...]) -> tuple[str, Action, tuple[int, ...]]:
    """Goes through the layer that chooses a phase or takes a choice, at phase 0; says why something is lost, if it is."""
    if not is_layer(layer):
        return f"Nothing is known of {name_of(layer)}, which is no layer of equijax.", action, shape
    found, behind = layer.exactness_for(action, shape), layer.out_shape(shape)
    if point_group_of(action.group).order > 1 and any(
        getattr(m, "allow_inexact", False) for _, m in nnx.iter_modules(layer)
    ):
        return f"Nothing is claimed of a {name_of(layer)} with allow_inexact=True.", action, shape
    if not chooses(layer):
        return _lost(found, kept_by(action, shape)), found.out_action, behind
    # Point elements change the phase, which is no loss; all shifts of the coarse grid have to be kept.
    steps = kept_by(found.out_action, behind).shift_step if found.kept.is_known else None
    if steps is None or None in steps or steps != found.kept.shift_step:
        return f"Nothing is claimed behind {name_of(layer)}. {found.reason}".strip(), action, shape
    return "", found.out_action, behind
