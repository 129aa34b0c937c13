"""Pooling over the fibre, to cosets, and over the whole grid."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from equijax._arguments import one_of
from equijax._dtypes import require_real, widened
from equijax._extrema import largest
from equijax.actions import Action, TrivialAction
from equijax.actions._fibre import FibreAction, field_action
from equijax.groups import Group, Subgroup
from equijax.groups._elements import numeric
from equijax.groups._space import point_group_of
from equijax.groups._subgroup import require_is_subgroup
from equijax.nn._layer import (
    Layer,
    pool_default,
    require_group,
    require_input,
    require_permuted,
    require_same_group,
    resolve_fibre,
)
from equijax.reps import Quotient, Regular, Representation, Scalar

_MODES: dict[str, Callable] = {"max": largest, "mean": jnp.mean, "sum": jnp.sum}


def _reduced(x: jax.Array, mode: str, axis: int | tuple[int, ...], name: str = "inputs") -> jax.Array:
    """Reduces along axes: maxima as they are, means and sums in at least float32."""
    if mode == "max":
        return largest(require_real(x, name, "a maximum"), axis)
    wide, dtype = widened(x)
    return _MODES[mode](wide, axis=axis).astype(dtype)


def coset_pool(
    x: Float[Array, "*batch order features"], subgroup: Subgroup, mode: str = "max"
) -> Float[Array, "*batch cosets features"]:
    r"""Pools a function on a group over the left cosets of a subgroup.

    .. math:: y(gK) = \max_{k ∈ K} f(gk)

    Law: ``(u·f)`` goes to ``u·y``, a function on cosets. Values that are the maximum together share its gradient equally, so
    that the law holds for the gradient too.

    Args:
      x: ``(*batch, |G|, features)``.
      subgroup: K, made by ``group.subgroup(elements)``.
      mode: ``"max"``, ``"mean"`` or ``"sum"``.

    Returns:
      ``(*batch, |G| / |K|, features)``, cosets numbered by their smallest elements.

    Raises:
      TypeError: ``x`` is no array of numbers, or ``subgroup`` none.
      ValueError: the axis -2 is not a function on the group, or the mode is unknown.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> half_turns = ej.Cyclic(4).subgroup([2])
      >>> ej.nn.coset_pool(jnp.array([[1.0], [2.0], [3.0], [4.0]]), half_turns)[:, 0].tolist()
      [3.0, 4.0]
    """
    require_mode(mode)
    require_is_subgroup(subgroup)
    x, order = numeric(x, "x"), subgroup.group.order
    if x.ndim < 2 or x.shape[-2] != order:
        raise ValueError(
            f"`x` has shape {x.shape}; pooling over cosets of {subgroup!r} needs functions on the group, "
            f"(*batch, {order}, features)."
        )
    return _reduced(jnp.take(x, jnp.asarray(subgroup.cosets), axis=-2), mode, -2, "x")


class CosetPool(Layer):
    """Pools functions on the point group over the cosets of a subgroup; :func:`coset_pool` as a layer.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g.

    Args:
      subgroup: the subgroup K of the point group.
      mode: ``"max"``, ``"mean"`` or ``"sum"``.
      group: the group of the layer; its point group contains K.

    Raises:
      ValueError: K is a subgroup of another group, or the mode is unknown.

    Example: from eight symmetries to the four quarter turns of a mirror-symmetric feature.
      >>> import equijax as ej, jax.numpy as jnp
      >>> group = ej.wallpaper("p4m")
      >>> pool = ej.nn.CosetPool(group.point_group.subgroup([4]), group=group)
      >>> pool(jnp.ones((2, 9, 9, 8, 3))).shape
      (2, 9, 9, 4, 3)
    """

    def __init__(self, subgroup: Subgroup, mode: str = "max", *, group: Group):
        require_is_subgroup(subgroup)
        if subgroup.group != point_group_of(group):
            raise ValueError(
                f"`subgroup` belongs to {subgroup.group!r}, but the point group of the layer is {point_group_of(group)!r}."
            )
        require_mode(mode)
        self.subgroup, self.mode, self.group = subgroup, mode, require_group(group, None)

    @property
    def in_action(self) -> Action:
        """Fields of functions on the point group."""
        return field_action(self.group, Regular(self.subgroup.group))

    def out_action_for(self, in_action: Action) -> Action:
        """Fields of functions on the cosets, on the same grid."""
        require_same_group(self.in_action, in_action, any_base=True)
        return with_fibre(in_action, Quotient(self.subgroup))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Pools ``(*batch, *sizes, |H|, features)`` to ``(*batch, *sizes, |H| / |K|, features)``."""
        return coset_pool(inputs, self.subgroup, self.mode)


class FibrePool(Layer):
    r"""Pools over the whole fibre: from functions on the group to scalars.

    .. math:: y[x, i] = \max_a f[x, a, i]

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g. Values that are the maximum together share its
    gradient equally, so that the law holds for the gradient too.

    Args:
      mode: ``"max"``, ``"mean"`` or ``"sum"``.
      group: the group of the layer.
      in_fibre: representation of the point group on the input; None is ``Regular`` (``Scalar`` on translations).

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.FibrePool(group=ej.wallpaper("p4"))(jnp.ones((2, 9, 9, 4, 3))).shape
      (2, 9, 9, 3)
    """

    def __init__(self, mode: str = "max", *, group: Group, in_fibre: Representation | None = None):
        require_mode(mode)
        self.mode, self.group = mode, require_group(group, None)
        self.in_fibre = resolve_fibre(in_fibre, group, pool_default(group), "in_fibre")
        if not self.in_fibre.shape:
            raise ValueError("`in_fibre` is Scalar, which has no axis to pool over. Leave the layer out.")
        require_permuted(self.in_fibre, "in_fibre", f"the {mode} over the fibre")

    @property
    def in_action(self) -> Action:
        """Fields with the fibre ``in_fibre``."""
        return field_action(self.group, self.in_fibre)

    def out_action_for(self, in_action: Action) -> Action:
        """Scalar fields on the same grid; without a grid nothing moves any more."""
        require_same_group(self.in_action, in_action, any_base=True)
        if not in_action.plain.ndim:  # type: ignore[attr-defined]
            return TrivialAction(in_action.group)
        return with_fibre(in_action, Scalar(self.in_fibre.group))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Pools ``(*batch, *sizes, fibre, features)`` to ``(*batch, *sizes, features)``."""
        if inputs.ndim < 2 or inputs.shape[-2] != self.in_fibre.dim:
            raise ValueError(
                f"`inputs` has shape {inputs.shape}; FibrePool needs the fibre on axis -2, "
                f"(…, {self.in_fibre.dim}, features)."
            )
        return _reduced(inputs, self.mode, -2)


class GlobalPool(Layer):
    """Pools over all grid axes and leaves fibre and features.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g that permutes the pixels; translations do
    nothing to the output, and on a scalar fibre nothing moves it at all. Values that are the maximum together share its
    gradient equally, so that the law holds for the gradient too.

    Args:
      mode: ``"mean"``, ``"max"`` or ``"sum"``.
      group: a ``Translation`` or ``SpaceGroup``.
      in_fibre: representation of the point group on the input; None is ``Regular`` (``Scalar`` on translations).

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> ej.nn.GlobalPool(group=ej.wallpaper("p4"))(jnp.ones((2, 9, 9, 4, 3))).shape
      (2, 4, 3)
    """

    def __init__(self, mode: str = "mean", *, group: Group, in_fibre: Representation | None = None):
        require_mode(mode)
        self.mode, self.group = mode, require_group(group, None)
        self.in_fibre = resolve_fibre(in_fibre, group, pool_default(group), "in_fibre")
        if mode == "max":
            require_permuted(self.in_fibre, "in_fibre", "the maximum over the grid")
        if not self.group.grid_ndim:
            raise ValueError(f"`group` is {group!r}, which moves no grid. Use FibrePool to pool over the fibre.")

    @property
    def in_action(self) -> Action:
        """Fields on the grid."""
        return field_action(self.group, self.in_fibre)

    def out_action_for(self, in_action: Action) -> Action:
        """One vector of the fibre, or nothing that moves where the fibre is scalar."""
        require_same_group(self.in_action, in_action)
        if not self.in_fibre.shape:
            return TrivialAction(in_action.group)
        return FibreAction(self.in_fibre, in_action.group)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Pools ``(*batch, *sizes, fibre, features)`` to ``(*batch, fibre, features)``."""
        require_input(inputs.shape, self.in_action, None)
        last = inputs.ndim - 1 - len(self.in_fibre.shape)
        axes = tuple(range(last - self.in_action.ndim, last))  # type: ignore[attr-defined]
        return _reduced(inputs, self.mode, axes)


def require_mode(mode: str) -> None:
    """Raises ``ValueError`` where no reduction is called ``mode``."""
    one_of(mode, "mode", _MODES)


def with_fibre(action: Action, fibre: Representation) -> Action:
    """Returns the same action on fields with another fibre."""
    return action.plain.with_fibre(fibre)  # type: ignore[attr-defined]
