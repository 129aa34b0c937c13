"""A function whose symmetry the user vouches for."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from equijax.actions import Action, GridAction
from equijax.actions._action import require_action
from equijax.nn._exactness import Exactness, between_grids, of_points
from equijax.nn._layer import Layer, require_same_group, sized, traced_shape


class Declared(Layer):
    """A function or Flax module in a chain, with the actions between which it is equivariant.

    Nothing is checked here: ``ej.testing.check_equivariance`` and the audit measure it.

    Law: ``fn(in_action(g, x)) == out_action(g, fn(x))`` for every g, as its author says.

    Args:
      fn: function or module of one array.
      in_action: how the input is moved.
      out_action: how the output is moved; None is ``in_action``. Between grids spacing and origin say where the samples of
        the output lie among those of the input.

    Example: a resize to twice the size by a function of JAX.
      >>> import equijax as ej, jax, jax.numpy as jnp
      >>> act = ej.GridAction(ej.wallpaper("p4"), boundary="zero", spacing=2)
      >>> fine = ej.GridAction(ej.wallpaper("p4"), boundary="zero", origin=-0.5)
      >>> double = lambda x: jax.image.resize(x, (*x.shape[:-3], 2 * x.shape[-3], 2 * x.shape[-2], x.shape[-1]), "linear")
      >>> layer = ej.nn.Declared(double, act, fine)
      >>> layer(jnp.ones((1, 5, 5, 3))).shape, layer.out_action.spacing
      ((1, 10, 10, 3), (1, 1))
    """

    def __init__(self, fn: Callable, in_action: Action, out_action: Action | None = None):
        if not callable(fn):
            raise TypeError(f"`fn` is {fn!r}; it must be a function or module of one array.")
        out_action = in_action if out_action is None else out_action
        for name, action in (("in_action", in_action), ("out_action", out_action)):
            require_action(action, name)
        if in_action.group.open != out_action.group.open:
            raise ValueError(
                f"`out_action` belongs to {out_action.group!r}, but `in_action` to {in_action.group!r}. Both sides are "
                "moved by the same element; TrivialAction(group) is the action that does nothing."
            )
        self.fn = fn
        self.declared = (in_action, out_action)

    @property
    def in_action(self) -> Action:
        """The action on the input."""
        return self.declared[0]

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the declared action on the output, on the grid and torus that ``in_action`` brings.

        Raises:
          ValueError: the grid of the output would have no whole spacing.
        """
        into, out = self.declared
        require_same_group(into, in_action)
        if not (isinstance(in_action, GridAction) and isinstance(into, GridAction) and isinstance(out, GridAction)):
            return out if in_action == into else _on_group(out, in_action.group)
        spacing, origin = [], []
        for k, (brought, start) in enumerate(zip(in_action.spacing, in_action.origin, strict=True)):
            unit = brought // math.gcd(brought, into.spacing[k]), into.spacing[k] // math.gcd(brought, into.spacing[k])
            step, rest = divmod(out.spacing[k] * unit[0], unit[1])
            if rest:
                raise ValueError(
                    f"`in_action` has spacing {in_action.spacing}; the declared actions have {into.spacing} and "
                    f"{out.spacing}, which would give parts of a pixel. Start from a spacing of {into.spacing}."
                )
            spacing.append(step)
            origin.append(start + (out.origin[k] - into.origin[k]) * unit[0] / unit[1])
        ends = "zero" in (in_action.boundary, out.boundary)
        return dataclasses.replace(
            in_action,
            fibre=out.fibre,
            boundary="zero" if ends else "wrap",
            spacing=tuple(spacing),
            origin=tuple(origin),
        )

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements map input and output to themselves; of these the author of ``fn`` vouches for the law."""
        action = sized(in_action, input_shape)
        out_action: Any = self.out_action_for(action)
        grid = action.grid(input_shape) if isinstance(input_shape, tuple) else None
        if grid is None or not isinstance(out_action, GridAction):
            return of_points(action, out_action, input_shape)
        kept = between_grids(*grid, out_action, out_action.sizes(self.out_shape(input_shape)))
        return Exactness(action, out_action, kept, kept.reason)

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output, by tracing ``fn``."""
        return traced_shape(self.fn, input_shape)

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Applies the function; ``options`` are handed on."""
        return self.fn(inputs, **options)


def _on_group(action: Action, group: Any) -> Action:
    """The same action of the group with its sizes, where it has none of its own."""
    return dataclasses.replace(action, group=group) if "group" in _fields(action) else action  # pyright: ignore


def _fields(action: Action) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(action)) if dataclasses.is_dataclass(action) else ()
