"""Chains in which one layer chooses a phase, or takes a choice: found, applied, and checked."""

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from equijax._arguments import shown
from equijax._numbers import each_positive
from equijax.actions import Action
from equijax.groups._space import point_group_of
from equijax.nn._chain import fold, grid_in, is_layer, start_of_chain, with_grid
from equijax.nn._layer import traced_shape
from equijax.nn._passing import name_of, require_no_convolution
from equijax.nn._phases import Choice
from equijax.nn._sequential import Sequential


def chooses(layer: Any) -> bool:
    """Tells whether a layer chooses a phase and hands out its choice."""
    return callable(getattr(layer, "with_choice", None))


def takes_choice(layer: Any) -> bool:
    """Tells whether the call of a layer takes a choice that was made before.

    Of a call that hands on whatever it is given, ``(*args)``, the one that it overrides is asked.
    """
    if chooses(layer):
        return False
    calls = [vars(cls)["__call__"] for cls in type(layer).__mro__ if "__call__" in vars(cls)]
    for call in calls if isinstance(layer, nnx.Module) else [layer]:
        try:
            parameters = inspect.signature(call).parameters
        except (TypeError, ValueError):  # a function of C
            return False
        if not any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values()):
            return "choice" in parameters
    return False


def as_chain(layers: Any, name: str, *, can_be_empty: bool = False) -> nnx.List:
    """Returns the layers of an argument, which is one layer or a list of them.

    Raises:
      TypeError: one can't be called.
      ValueError: there is none.
    """
    entries = list(layers) if isinstance(layers, (list, tuple, nnx.List)) else [layers]
    for entry in entries:
        if not callable(entry) or isinstance(entry, type):
            raise TypeError(f"`{name}` holds {shown(entry)}; it must be a layer or function, or a list of them.")
    if not entries and not can_be_empty:
        raise ValueError(f"`{name}` is empty; give at least one layer.")
    return nnx.List(entries)


@dataclasses.dataclass(frozen=True)
class Parted:
    """A chain, parted at the one layer that chooses a phase or takes a choice.

    Attributes:
      name: the argument that the chain was given as.
      before: what stands before that layer.
      layer: the layer.
      behind: what stands behind it.
    """

    name: str
    before: list[Any]
    layer: Any
    behind: list[Any]

    @property
    def strides(self) -> tuple[int, ...]:
        """Its strides."""
        return each_positive(getattr(self.layer, "strides", None), f"{self.name}.strides")

    @property
    def entries(self) -> list[Any]:
        """All layers in their order."""
        return [*self.before, self.layer, *self.behind]

    @property
    def in_action(self) -> Action:
        """The action on the input.

        Raises:
          ValueError: no layer says what it is.
        """
        if not any(is_layer(entry) for entry in self.entries):
            names = ", ".join(map(name_of, self.entries))
            raise ValueError(f"`{self.name}` holds no layer of equijax but {names}, so no action on its input is known.")
        return start_of_chain(self.entries)

    def out_action_for(self, in_action: Action, choice: Sequence[int] | None = None) -> Action:
        """Carries an action through the chain; behind what can't be followed it is unknown."""
        action = fold(self.before, in_action)
        if not action.is_known:
            return action
        if not is_layer(self.layer):
            return fold([self.layer], action)
        given: dict[str, Any] = {} if choice is None else {"choice": choice}
        action = self.layer.out_action_for(action, **given)
        return fold(self.behind, action) if action.is_known else action

    def with_choice(self, inputs: jax.Array, choice: Choice | None = None) -> tuple[jax.Array, Choice]:
        """Applies a chain that chooses a phase.

        Raises:
          ValueError: layers before the one that chooses change the grid.
        """
        x = applied(self.before, inputs)
        y, choice = self.layer.with_choice(x, choice)
        leading = np.ndim(choice.phase) - 1 + len(self.strides)  # pyright: ignore[reportOptionalMemberAccess]
        if x.shape[:leading] != inputs.shape[:leading]:
            raise ValueError(
                f"`{self.name}` turns batch and grid {inputs.shape[:leading]} of `inputs` into {x.shape[:leading]} before "
                f"{name_of(self.layer)} chooses a phase, which would be none of `inputs`. Layers before it have to keep the "
                "grid: stride 1 and padding='CIRCULAR'."
            )
        return applied(self.behind, y), choice  # pyright: ignore[reportReturnType]


def parted(layers: nnx.List, name: str, wanted: Callable[[Any], bool] = chooses) -> Parted:
    """Returns a chain in the parts before and behind its one layer that chooses a phase, or takes a choice.

    Raises:
      ValueError: there is none, or more than one.
    """
    entries = list(_entries(layers, wanted))
    places = [k for k, entry in enumerate(entries) if wanted(entry)]
    if len(places) == 1:
        k = places[0]
        return Parted(name, entries[:k], entries[k], entries[k + 1 :])
    takes = wanted is takes_choice
    verb = "takes a choice" if takes else "chooses a phase"
    listed = ", ".join(map(name_of, entries))
    if places:
        found = " and ".join(f"{name_of(entries[k])} (layer {k})" for k in places)
        remedy = "Put one stage into the `inside` of another" if takes else "Make a block of each, one behind the other"
        raise ValueError(f"`{name}` holds {len(places)} layers of which each {verb}, {found}; it must be one. {remedy}.")
    hidden = [entry for entry in entries if _hides(entry, wanted)]
    if hidden:
        remedy = f"One is inside {name_of(hidden[0])}: give its layers in a list, " + (
            "or let its call take (x, choice)" if takes else "or give it a method with_choice(x, choice=None)"
        )
    elif takes:
        remedy = "Put a PolyphaseUpsample or PolyphaseConvTranspose with the strides of `down` in it"
    else:
        remedy = "Put a PolyphaseConv, PolyphaseMaxPool or PolyphaseDownsample in the place of the layer with the stride"
    raise ValueError(f"`{name}` holds no layer that {verb}, but {listed}. {remedy}.")


def _entries(layers: Any, wanted: Callable[[Any], bool]) -> Iterator[Any]:
    """The layers of a chain; those of a chain inside it in its place, where the layer that is wanted is among them."""
    for layer in layers:
        if isinstance(layer, (nnx.Sequential, Sequential)) and any(map(wanted, _entries(layer.layers, wanted))):
            yield from _entries(layer.layers, wanted)
        else:
            yield layer


def _hides(entry: Any, wanted: Callable[[Any], bool]) -> bool:
    return isinstance(entry, nnx.Module) and any(wanted(module) for _, module in nnx.iter_modules(entry))


def applied(layers: Sequence[Any], x: jax.Array) -> jax.Array:
    """Applies layers one after the other."""
    for layer in layers:
        x = layer(x)
    return x


def require_shared(entries: Sequence[Any], name: str, action: Action) -> None:
    """Raises ``ValueError`` for a convolution of Flax among the layers of an argument, where a point group acts."""
    if point_group_of(action.group).order == 1:
        return
    for entry in entries:
        try:
            require_no_convolution(entry)
        except ValueError as error:
            raise ValueError(str(error).replace("`layers`", f"`{name}`")) from None


def shape_behind(layers: Sequence[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape of the output of layers, one after the other; nothing is computed."""
    for layer in layers:
        shape = layer.out_shape(shape) if is_layer(layer) else traced_shape(layer, shape)
    return shape


def together(a: Action, b: Action) -> Action | None:
    """Returns the action on what is put together from two fields, a sum for example; None where they don't fit.

    A shift moves grids alike whose first samples differ; where one of them has a border, so has what is put together.
    """
    if a == b or not a.is_known or not b.is_known:
        return b if a.is_known else a
    first, second = grid_in(a), grid_in(b)
    if first is None or second is None or first.point_group.order > 1:
        return None
    if with_grid(a, origin=second.origin, boundary=second.boundary) != b:
        return None
    return a if first.boundary == "zero" else b
