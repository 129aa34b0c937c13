"""A chain of layers whose actions fit."""

import dataclasses
import weakref
from typing import Any

from flax import nnx

from equijax._arguments import shown
from equijax.actions import Action, GridAction
from equijax.graphs import Graph
from equijax.nn._chain import exactness_of_chain, fold, is_layer, start_of_chain
from equijax.nn._exactness import Exactness
from equijax.nn._layer import Layer, required_shape, traced_shape
from equijax.nn._mask import keep_nodes, require_mask
from equijax.nn._options import accepted_options
from equijax.nn._passing import require_no_convolution
from equijax.nn._restrict import Restrict
from equijax.nn._windowed import WindowedLayer
from equijax.nn.products._element import ElementLayer

#: Chains → the entries with which they were found to fit, so that a call looks again only after a change.
_FITTING: "weakref.WeakKeyDictionary[Any, tuple]" = weakref.WeakKeyDictionary()


class Sequential(Layer):
    """Applies layers one after the other, after checking that each takes what the one before it gives.

    Layers of equijax are checked by group and fibre; boundary, spacing and origin are carried along. Functions and Flax
    modules are *followed*: their program is read, and where it treats all points alike (``jax.nn.relu``, ``nnx.Linear``,
    ``nnx.BatchNorm``) or pools over all of them (a mean), that is what the chain reckons with. What can't be followed may
    be :class:`Declared`; otherwise nothing is claimed behind it: the chain runs, ``exactness`` says that nothing is known,
    and ``out_action`` raises. On a fibre that does not permute, pointwise functions and modules with a bias or mean for
    each coordinate are refused. Keyword arguments of a call go to every entry that accepts them; what is said of a function
    is said of it without them, on float32.

    ``in_action`` has the smallest spacing with which every grid of the chain has a whole one (2 in front of an upsampling
    by 2), and shifts are counted in pixels of the finest grid. Where layers on a torus are followed by layers with borders,
    its origin is such that the group turns the torus about the centre of the first array with borders.

    Law: ``model(in_action(g, x)) == out_action(g, model(x))`` for every g that ``model.exactness(x.shape)`` names, with the
    actions that it names.

    Args:
      *layers: equijax layers, Flax modules, functions.

    Raises:
      ValueError: a layer does not fit its predecessor; the message names both. Layers that are changed later are checked at
        the next call.

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
                several = isinstance(layer, (list, tuple, nnx.List))
                given = f"a {type(layer).__name__}" if several else shown(layer)
                remedy = " Unpack it: Sequential(*layers)." if several else ""
                raise TypeError(f"`layers` holds {given}, which can't be called.{remedy}")
        if not any(map(is_layer, layers)):
            raise ValueError("`layers` holds no equijax layer, so no action is known. Use nnx.Sequential.")
        self.layers = nnx.List(layers)
        self._require_fitting()

    def _require_fitting(self) -> list[Any]:
        """Returns all entries, after checking those that were not there at the last check."""
        entries = self._entries()
        known = _FITTING.get(self, ())
        if len(known) != len(entries) or any(a is not b for a, b in zip(known, entries, strict=True)):
            for entry in entries:
                require_no_convolution(entry)
            self._fold(self._whole_in_action)
            _FITTING[self] = tuple(entries)
        return entries

    def _entries(self) -> list[Any]:
        """All layers, with those of nested chains in their places."""
        return [entry for layer in self.layers for entry in (layer._entries() if isinstance(layer, Sequential) else [layer])]

    @property
    def _whole_in_action(self) -> Action:
        return start_of_chain(self._entries())

    @property
    def in_action(self) -> Action:
        """The action on the input: that of the first layer, restricted where a later ``Restrict`` forgets elements."""
        action = self._whole_in_action
        for entry in self._entries():
            if isinstance(entry, Restrict) and action.group.open == entry.group.open:
                action = action.plain.restrict(entry.subgroup)  # type: ignore[attr-defined]
        return action

    def out_action_for(self, in_action: Action) -> Action:
        """Folds an action through all layers: one of the first layer's group, or of the smaller group that is left.

        Raises:
          ValueError: a layer does not fit its predecessor, or nothing is known of the output.
        """
        action = self._fold(self._of_whole_group(in_action))
        if not action.is_known:
            raise ValueError(action.reason)  # pyright: ignore[reportAttributeAccessIssue]
        return action

    def _of_whole_group(self, in_action: Action) -> Action:
        """The action of the first layer's group, where one of the smaller group that is left is given."""
        whole: Any = self._whole_in_action
        if in_action.group.open == whole.group.open or in_action.group.open != self.in_action.group.open:
            return in_action
        carried = ("boundary", "spacing", "origin", "torus") if isinstance(whole, GridAction) else ()
        return dataclasses.replace(whole, **{name: getattr(in_action, name) for name in carried})

    def _fold(self, action: Action) -> Action:
        entries = self._entries()
        if action.moves is Graph:
            self._require_graphs(entries, action)
        return fold(entries, action)

    def _require_graphs(self, entries: list[Any], action: Action) -> None:
        """Raises where a function of arrays follows a graph."""
        before = "the input"
        for k, entry in enumerate(entries):
            if action.moves is Graph and _takes_arrays(entry):
                raise ValueError(
                    f"layer {k} ({getattr(entry, '__name__', type(entry).__name__)}) takes arrays, but {before} is a graph. "
                    "Wrap it: MapNodes(…) for the features of the nodes, MapEdges(…) for those of the edges."
                )
            if isinstance(entry, Layer):
                action, before = fold([entry], action), f"layer {k} ({type(entry).__name__})"

    def exactness(self, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements every step of the chain keeps, and how they move input and output.

        Use the ``in_action`` that is named: on a torus in front of arrays with borders its origin depends on the size.
        Functions and Flax modules are followed; behind what can't be followed nothing is claimed.
        """
        shape = required_shape(input_shape)
        return exactness_of_chain(self._entries(), start_of_chain(self._entries(), shape), shape)

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements every step of the chain keeps when ``in_action`` moves its input."""
        shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else input_shape
        return exactness_of_chain(self._entries(), self._of_whole_group(in_action), shape)

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output for an input of this shape."""
        for entry in self._entries():
            input_shape = entry.out_shape(input_shape) if isinstance(entry, Layer) else traced_shape(entry, input_shape)
        return input_shape

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
        entries = self._require_fitting()
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
            if "mask" in options and isinstance(entry, Layer) and _ends_invariant(entry):
                options = {name: value for name, value in options.items() if name != "mask"}
        return accepted

    def _without_padding(self, inputs: Any, mask: Any) -> Any:
        """Puts zeros where the mask of elements is False, since functions and Flax modules know nothing of it."""
        action = self._whole_in_action
        if mask is None or not action.sets or action.group.factors is not None:
            return inputs
        order = len(action.sets)
        return keep_nodes(inputs, require_mask(mask, inputs.shape[: inputs.ndim - order]), order)

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
        if exactness.kept.is_known and not exactness.keeps_point_group:
            raise ValueError(
                f"`inputs` has shape {inputs.shape}, at which this Sequential keeps only {len(exactness.point_elements)} "
                f"elements of the point group: {exactness.reason} Use one kind of padding "
                "throughout, circular or not; or build a layer with allow_inexact=True and accept the loss."
            )


def _ends_invariant(layer: Layer) -> bool:
    """Tells whether nothing moves the output of a layer any more."""
    try:
        return not layer.out_action.moved_axes
    except (NotImplementedError, ValueError):  # a chain behind whose function nothing is known
        return False


def _takes_arrays(entry: Any) -> bool:
    """Tells whether an entry is a function or module of JAX or Flax itself, which know nothing of graphs."""
    module = getattr(entry if not isinstance(entry, nnx.Module) else type(entry), "__module__", None) or ""
    return module.split(".")[0] in ("jax", "flax")


def _on_one(entry: Any) -> Any:
    """What an entry does to one element of a set of fields."""
    return entry.element if isinstance(entry, ElementLayer) else entry
