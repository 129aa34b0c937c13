"""A chain of layers whose actions fit."""

import dataclasses
from typing import Any

from flax import nnx

from equijax.actions import Action, GraphAction, GridAction, TensorAction, TrivialAction
from equijax.groups import bare
from equijax.nn._chain import exactness_of_chain
from equijax.nn._exactness import Exactness, everything
from equijax.nn._layer import Layer, sized
from equijax.nn._mask import keep_nodes, require_mask
from equijax.nn._options import accepted_options
from equijax.nn._restrict import Restrict
from equijax.nn._windowed import WindowedLayer
from equijax.nn.products._element import ElementLayer, SetExactness


class Sequential(Layer):
    """Applies layers one after the other, after checking that each takes what the one before it gives.

    Layers of equijax are checked by group and fibre; boundary, spacing and origin are carried along. Functions and Flax
    modules pass the action on as it is (``jax.nn.relu``, ``nnx.Linear``, ``nnx.BatchNorm``); keyword arguments of a call
    go to every entry that accepts them.

    Law: ``model(in_action(g, x)) == out_action(g, model(x))`` for every g that ``model.exactness(x.shape)`` names, if the
    functions and Flax modules act on each point alike.

    Args:
      *layers: equijax layers, Flax modules, functions.

    Raises:
      ValueError: a layer does not fit its predecessor; the message names both.

    Example:
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> group, rngs = ej.wallpaper("p4"), nnx.Rngs(0)
      >>> model = ej.nn.Sequential(
      ...     ej.nn.LiftingConv(1, 8, 3, group=group, rngs=rngs), jax.nn.relu,
      ...     ej.nn.GroupConv(8, 8, 3, group=group, rngs=rngs), jax.nn.relu,
      ...     ej.nn.FibrePool(group=group), ej.nn.GlobalPool(group=group, in_fibre=ej.reps.Scalar(group.point_group)),
      ...     nnx.Linear(8, 10, rngs=rngs))
      >>> model(jnp.ones((2, 15, 15, 1))).shape, model.out_action
      ((2, 10), TrivialAction(group=SpaceGroup(Cyclic(4))))
    """

    def __init__(self, *layers: Any):
        if not layers:
            raise ValueError("`layers` is empty; give at least one equijax layer.")
        for layer in layers:
            if not callable(layer):
                raise TypeError(f"`layers` holds {layer!r}, which can't be called.")
        if not any(isinstance(layer, Layer) for layer in layers):
            raise ValueError("`layers` holds no equijax layer, so no action is known. Use nnx.Sequential.")
        for layer in layers:
            if isinstance(layer, (nnx.Conv, nnx.ConvTranspose)):
                raise ValueError(
                    f"`layers` holds an nnx.{type(layer).__name__}, which does not share weights under the group and would "
                    f"read the fibre as a grid axis. Use equijax.nn.{type(layer).__name__}."
                )
        self.layers = nnx.List(layers)
        self.out_action_for(self._whole_in_action)

    def _entries(self) -> list[Any]:
        """All layers, with those of nested chains in their places."""
        return [entry for layer in self.layers for entry in (layer._entries() if isinstance(layer, Sequential) else [layer])]

    @property
    def _whole_in_action(self) -> Action:
        return next(entry for entry in self._entries() if isinstance(entry, Layer)).in_action

    @property
    def in_action(self) -> Action:
        """The action on the input: that of the first layer, restricted where a later ``Restrict`` forgets elements."""
        action = self._whole_in_action
        for entry in self._entries():
            if isinstance(entry, Restrict) and bare(action.group) == bare(entry.group):
                action = action.restrict(entry.subgroup)  # type: ignore[attr-defined]
        return action

    def out_action_for(self, in_action: Action) -> Action:
        """Folds an action through all layers: one of the first layer's group, or of the smaller group that is left.

        Raises:
          ValueError: a layer does not fit its predecessor.
        """
        whole = self._whole_in_action
        if bare(in_action.group) != bare(whole.group) and bare(in_action.group) == bare(self.in_action.group):
            carried = ("boundary", "spacing", "origin", "torus") if isinstance(whole, GridAction) else ()
            in_action = dataclasses.replace(whole, **{name: getattr(in_action, name) for name in carried})  # type: ignore[type-var]
        action, before = in_action, "the input"
        for k, entry in enumerate(self._entries()):
            if isinstance(action, GraphAction) and _takes_arrays(entry):
                raise ValueError(
                    f"layer {k} ({getattr(entry, '__name__', type(entry).__name__)}) takes arrays, but {before} is a graph. "
                    "Wrap it: MapNodes(…) for the features of the nodes, MapEdges(…) for those of the edges."
                )
            if isinstance(entry, Layer):
                try:
                    action = entry.out_action_for(action)
                except (TypeError, ValueError) as error:
                    raise type(error)(f"layer {k} ({type(entry).__name__}) does not fit {before}: {error}") from None
                before = f"layer {k} ({type(entry).__name__})"
        return action

    def exactness(self, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements map every grid of the chain to itself.

        A chain that mixes circular and zero padding can lose elements that each layer keeps, about different points.
        Functions and Flax modules are taken to respect everything.
        """
        entries = self._entries()
        if any(isinstance(entry, ElementLayer) for entry in entries):
            points = sized(self.in_action, input_shape).factors[0]  # type: ignore[attr-defined]
            return SetExactness.of(points, Sequential(*map(_on_one, entries)).exactness(input_shape))
        if not isinstance(self._whole_in_action, GridAction):
            action = sized(self.in_action, input_shape)
            return everything(action, self.out_action_for(action))
        return exactness_of_chain(entries, tuple(input_shape))

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        """Returns one layer, or a ``Sequential`` of several that shares their parameters: ``model[:3]``."""
        if isinstance(index, slice):
            return Sequential(*list(self.layers)[index])
        return self.layers[index]

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Applies all layers to an array, or to a graph; ``options`` go to every entry whose call accepts them.

        A ``mask`` of set elements or nodes, bool ``(*batch, n)``, goes to every entry up to the pool over them;
        ``nnx.BatchNorm`` leaves padding out of its statistics.

        Raises:
          TypeError: no entry accepts an option.
          ValueError: the shape does not fit a layer, or loses an element of the point group.
        """
        entries = self._entries()
        self._require_exact(entries, inputs)
        accepted = self._accepted(entries, options)
        unknown = set(options).difference(*accepted)
        if unknown:
            raise TypeError(f"`{sorted(unknown)[0]}` is accepted by no layer of this Sequential. Check the spelling.")
        x = self._without_padding(inputs, options.get("mask"))
        for entry, given in zip(entries, accepted, strict=True):
            x = entry(x, **given)
        return x

    @staticmethod
    def _accepted(entries: list[Any], options: dict[str, Any]) -> list[dict[str, Any]]:
        """The options of each entry; a mask of elements has nothing to say behind a pool over them."""
        accepted = []
        for entry in entries:
            accepted.append(accepted_options(entry, options) if options else {})
            if "mask" in options and isinstance(entry, Layer) and isinstance(entry.out_action, TrivialAction):
                options = {name: value for name, value in options.items() if name != "mask"}
        return accepted

    def _without_padding(self, inputs: Any, mask: Any) -> Any:
        """Puts zeros where the mask of elements is False, since functions and Flax modules know nothing of it."""
        action = self._whole_in_action
        if mask is None or not isinstance(action, TensorAction) or not action.order:
            return inputs
        return keep_nodes(inputs, require_mask(mask, inputs.shape[: inputs.ndim - action.order]), action.order)

    def _require_exact(self, entries: list[Any], inputs: Any) -> None:
        """Raises where layers keep the point group one by one, but about different points.

        That can happen only where a torus meets an array with borders; every other loss a layer notices by itself.
        """
        windowed = [entry for entry in map(_on_one, entries) if isinstance(entry, WindowedLayer) and entry.sampling.window]
        moved = [entry for entry in windowed if entry.sampling.wraps and entry.sampling.moves_grid]
        mixed = bool(moved) and not all(entry.sampling.wraps for entry in windowed)
        if not mixed or any(entry.allow_inexact for entry in windowed) or moved[0].in_fibre.group.order == 1:
            return
        exactness = self.exactness(inputs.shape)
        if not exactness.keeps_point_group:
            raise ValueError(
                f"`inputs` has shape {inputs.shape}, at which this Sequential keeps only {len(exactness.point_elements)} "
                f"elements of the point group, although each layer keeps all: {exactness.reason} Use one kind of padding "
                "throughout, circular or not; or build a layer with allow_inexact=True and accept the loss."
            )


def _takes_arrays(entry: Any) -> bool:
    """Tells whether an entry is a function or module of JAX or Flax itself, which know nothing of graphs."""
    module = getattr(entry if not isinstance(entry, nnx.Module) else type(entry), "__module__", None) or ""
    return module.split(".")[0] in ("jax", "flax")


def _on_one(entry: Any) -> Any:
    """What an entry does to one element of a set of fields."""
    return entry.element if isinstance(entry, ElementLayer) else entry
