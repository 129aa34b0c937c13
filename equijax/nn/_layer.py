"""What every layer has: the action on its input, the action on its output, and what it respects exactly."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from equijax._arguments import as_shape, shape_or_value
from equijax.actions import Action, ProductAction
from equijax.actions._action import require_action
from equijax.actions._field import require_fibre
from equijax.groups import Group, Translation
from equijax.groups._group import require_is_group
from equijax.groups._point import has_matrices
from equijax.groups._space import point_group_of
from equijax.nn._exactness import Exactness, of_points
from equijax.nn._given import checked
from equijax.reps import Regular, Representation, Scalar


class Layer(nnx.Module):
    r"""An equivariant map ``in_action → out_action``.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that :meth:`exactness` names, up to rounding.
    Both sides are moved by the *same* group element.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
            checked(cls)

    @property
    @abc.abstractmethod
    def in_action(self) -> Action:
        """The action on the input."""

    @abc.abstractmethod
    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the output when ``in_action`` moves the input: spacing and origin are carried along."""

    @property
    def out_action(self) -> Action:
        """The action on the output."""
        return self.out_action_for(self.in_action)

    def exactness(self, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the layer respects exactly at this input shape.

        What is no single array, such as a graph, is given itself instead of its shape.
        """
        return self.exactness_for(self.in_action, required_shape(input_shape))

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the layer respects when ``in_action`` moves its input: those that map the input to itself.

        A layer that loses some of them overrides this. In a chain ``in_action`` is what the layers before have made.
        """
        action = sized(in_action, input_shape)
        return of_points(action, self.out_action_for(action), input_shape)

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output for an input of this shape; nothing is computed."""
        return traced_shape(self, input_shape)


def required_shape(input_shape: Any) -> Any:
    """Returns the shape of an input, or what is no single array itself, after checking that there is an axis of features."""
    shape = shape_or_value(input_shape, "input_shape")
    if isinstance(shape, tuple) and not shape:
        raise ValueError("`input_shape` is (); give the full shape of an input, features included.")
    return shape


def traced_shape(fn: Any, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape that a function or Flax module makes of a float array, without running it.

    Raises:
      TypeError: the result is not one array.
    """
    x = jax.ShapeDtypeStruct(as_shape(input_shape, "input_shape"), jnp.float32)
    with jax.numpy_dtype_promotion("standard"):
        if isinstance(fn, nnx.Module):
            graph, state = nnx.split(fn)
            result = jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, x)
        else:
            result = jax.eval_shape(fn, x)
    if not hasattr(result, "shape"):
        raise TypeError(f"`fn` gives {jax.tree.structure(result)}; a chain hands one array from layer to layer.")
    return result.shape


def sized(action: Action, input_shape: Any) -> Action:
    """Returns the action for an input of this shape, with the size of the torus; a graph is given itself."""
    if not isinstance(input_shape, (tuple, list)):
        return action.for_input(input_shape)
    shape = tuple(input_shape)
    return _on_tori(action.for_input(jax.ShapeDtypeStruct(shape, jnp.float32)), shape)


def _on_tori(action: Action, shape: tuple[int, ...]) -> Action:
    grid, parts = action.grid(shape), action.parts(shape)
    if grid is not None:
        return grid[0].on(grid[1]).action
    if parts is None:
        return action
    factors = [_on_tori(factor, view) for factor, view in parts]
    return action if all(a is b for a, (b, _) in zip(factors, parts, strict=True)) else ProductAction(*factors)


def require_group(group: Any, kernel_ndim: int | None, name: str = "kernel_size") -> Group:
    """Returns the group of a layer with windows on ``kernel_ndim`` axes, so many as ``name`` has; None is the translations.

    Raises:
      TypeError: not a group.
      ValueError: a bare point group with a window, or another number of axes.
    """
    if group is None:
        if not kernel_ndim:
            raise ValueError(
                f"`group` is None, which means translations, but `{name}` does not say of how many axes. Give a group, or a "
                f"tuple as `{name}`."
            )
        return Translation(kernel_ndim)
    require_is_group(group, "group", "it must be a Group, e.g. wallpaper('p4m')")
    if group.grid_ndim:
        if group != group.open:
            raise ValueError(
                f"`group` is {group!r}, but the torus of a layer is as large as its input. "
                f"Leave the period out: {group.open!r}."
            )
        if kernel_ndim and group.grid_ndim != kernel_ndim:
            raise ValueError(
                f"`{name}` has {kernel_ndim} entries, but {group!r} has {group.grid_ndim} grid axes. Give one for each."
            )
        return group
    point_group_of(group)
    if kernel_ndim:
        in_space = has_matrices(group)
        remedy = f"Write group=SpaceGroup({group!r})" if in_space else f"Use {name}=()"
        raise ValueError(
            f"`group` is {group!r}, which has no translations, but the layer has a window on {kernel_ndim} axes. {remedy}"
            f"{f', or {name}=() for functions on the group itself' if in_space else ''}."
        )
    return group


def resolve_fibre(fibre: Any, group: Group, default: type, name: str) -> Representation:
    """Returns ``fibre`` after checking it, or the default representation of the group's point group."""
    point_group = point_group_of(group)
    if fibre is None:
        return default(point_group)
    require_fibre(fibre, point_group, name)
    return fibre


def require_permuted(fibre: Representation, name: str, what: str) -> None:
    """Raises ``ValueError`` where ``fibre`` mixes its coordinates in front of what treats each one on its own."""
    if not fibre.is_permutation:
        raise ValueError(
            f"`{name}` is {fibre!r}, which mixes its coordinates; {what} treats each coordinate on its own, which commutes "
            "with permutations alone. Use a permutation fibre (Scalar, Regular, Quotient, PermutationRepresentation), or "
            "map to one by a linear layer first."
        )


def pool_default(group: Group) -> type[Any]:
    """Returns the usual fibre of pooling layers: ``Scalar`` on translations, else ``Regular``."""
    translations = group.grid_ndim and group.open == Translation(group.grid_ndim)
    return Scalar if translations else Regular


def require_input(shape: tuple[int, ...], action: Action, features: int | None) -> None:
    """Raises ``ValueError`` where an input does not fit a layer's action or feature count; names the fix."""
    fibre: Representation = action.fibre  # type: ignore[attr-defined]
    layout = [f"size_{k}" for k in range(action.ndim)]  # type: ignore[attr-defined]
    layout += [str(fibre.dim)] if fibre.shape else []
    layout.append("features" if features is None else str(features))
    expected = f"(*batch, {', '.join(layout)})"
    if features is not None and (not shape or shape[-1] != features):
        raise ValueError(
            f"`inputs` has shape {shape}, whose last axis is not in_features = {features}; the layer needs {expected}."
        )
    if len(shape) < len(layout):
        raise ValueError(f"`inputs` has shape {shape}, which has too few axes; the layer needs {expected}.")
    if fibre.shape and shape[-2] != fibre.dim:
        remedy = " For images without a fibre axis use LiftingConv first." if fibre.is_permutation else ""
        raise ValueError(
            f"`inputs` has shape {shape}: the fibre axis -2 has length {shape[-2]}, but {fibre!r} needs {fibre.dim}. "
            f"The layer needs {expected}.{remedy}"
        )


def require_same_group(own: Action, in_action: Action, *, any_base: bool = False) -> None:
    """Raises ``ValueError`` where an action of another group or fibre is handed to a layer.

    With ``any_base`` it does not matter whether the action has a grid.
    """
    require_action(in_action, "in_action", "it must be an Action, for example layer.in_action")
    mine, theirs = own.group.open, in_action.group.open
    if mine != theirs:
        raise ValueError(
            f"`in_action` belongs to {theirs!r}, but the layer to {mine!r}. Build both layers for one group, or put "
            "Restrict(subgroup) between them."
        )
    wanted, given = own.vector, in_action.vector
    if own.fits(in_action) or (any_base and wanted is not None and given is not None and wanted.fits(given)):
        return
    lifts = wanted is not None and given is not None and wanted.fibre.shape and not given.fibre.shape
    raise ValueError(
        f"`in_action` is {in_action!r}, but the layer takes what is moved by {own!r}. "
        f"{'Put a LiftingConv first.' if lifts else 'Choose in_fibre and out_fibre of the neighbours alike.'}"
    )
