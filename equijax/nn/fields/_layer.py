"""What the layers have in common that act on the fibre of every position alike."""

from typing import Any

import jax
import jax.numpy as jnp

from equijax._dtypes import as_floats
from equijax._numbers import positive_int
from equijax.actions import Action
from equijax.actions._action import require_action
from equijax.actions._fibre import field_action
from equijax.actions._field import require_representation
from equijax.groups import Group
from equijax.groups._group import require_is_group
from equijax.nn._layer import Layer
from equijax.reps import Representation

_BY_FORMS = (
    "Use layers that work by invariant forms: Gate, whose scalars a linear layer makes, and Bilinear; or write the fibre in "
    "a basis in which the group is orthogonal, where there is one."
)


class FieldLayer(Layer):
    """A layer that acts on the fibres over the positions of a field, whatever the positions are.

    Vectors ``(*batch, fibre, features)``, grids ``(*batch, *sizes, fibre, features)`` and everything else whose action has
    a fibre. ``group`` says which of them stands in :attr:`in_action`; behind another layer of a chain it does not matter.

    Attributes:
      in_fibre: representation on the input.
      out_fibre: representation on the output.
      group: the group; its point group moves the fibres.
    """

    in_fibre: Representation
    out_fibre: Representation
    group: Group

    @property
    def in_action(self) -> Action:
        """Fields with the fibre ``in_fibre``."""
        return field_action(self.group, self.in_fibre)

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the same positions with the fibre ``out_fibre``.

        Raises:
          ValueError: the fibre of ``in_action`` is another one.
        """
        require_action(in_action, "in_action")
        vector, own = in_action.vector, self.in_action
        fits = own.fits(in_action) if vector is None else vector.fibre == self.in_fibre
        if not fits:
            raise ValueError(
                f"`in_action` is {in_action!r}, but {type(self).__name__} takes fields with the fibre {self.in_fibre!r}. "
                "Choose the fibres of the neighbours alike."
            )
        field: Any = own if vector is None else in_action.plain
        return field.with_fibre(self.out_fibre)


def require_field(
    fibre: Any, group: Any, name: str = "fibre", beside: Representation | None = None
) -> tuple[Representation, Group]:
    """Returns the fibre and the group of a layer after checking them; None means the group of the fibre.

    The fibre belongs to the point group, or to the whole group where that moves no grid: the homogeneous vectors of
    rigid motions, beside those that translations leave alone.

    Args:
      fibre: the representation.
      group: the group of the layer.
      name: name of the argument.
      beside: the other fibre of the layer, of whose group this one must be too.

    Raises:
      TypeError: the fibre is no representation, or the group is none.
      ValueError: the fibre belongs to another group.
    """
    require_representation(fibre, group, name)
    if group is None:
        return fibre, fibre.group
    require_is_group(group, "group", "it must be a Group, e.g. wallpaper('p4')")
    whole = not group.grid_ndim and fibre.group == group
    if group.point_group != fibre.group and not whole:
        or_itself = "" if group.grid_ndim or group.point_group == group else " or from the group itself"
        raise ValueError(
            f"`{name}` is a representation of {fibre.group!r}, but the point group of {group!r} is {group.point_group!r}. "
            f"Build the fibre from group.point_group{or_itself}."
        )
    if beside is not None and beside.group != fibre.group:
        raise ValueError(
            f"`{name}` is a representation of {fibre.group!r}, but the fibre beside it, {beside!r}, is one of "
            f"{beside.group!r}. Build both from one group, {beside.group!r}."
        )
    return fibre, group.open


def require_orthogonal(fibre: Representation, layer: str) -> None:
    """Raises ``ValueError`` where the group changes the Euclidean lengths of the fibre's vectors."""
    if not fibre.is_orthogonal:
        raise ValueError(
            f"`fibre` is {fibre!r}, whose matrices are not orthogonal, so the group changes the Euclidean lengths that "
            f"{layer} needs. {_BY_FORMS}"
        )


def require_features(num_features: Any) -> int:
    """Returns the number of features of a norm."""
    return positive_int(num_features, "num_features")


def require_fields(inputs: jax.Array, fibre: Representation, ndim: int = 0, features: int | None = None) -> None:
    """Raises ``ValueError`` where an array is no field with this fibre on at least ``ndim`` axes of positions."""
    shape, needed = jnp.shape(inputs), ndim + len(fibre.shape) + 1
    wrong = (
        len(shape) < needed or (fibre.shape and shape[-2] != fibre.dim) or (features is not None and shape[-1] != features)
    )
    if wrong:
        sizes = "".join(f", size_{k}" for k in range(ndim))
        axis = f", {fibre.dim}" if fibre.shape else ""
        raise ValueError(
            f"`inputs` has shape {tuple(shape)}; a field with the fibre {fibre!r} is "
            f"(*batch{sizes if ndim else ', *positions'}{axis}, {'features' if features is None else features})."
        )


def to_vectors(x: jax.Array, fibre: Representation) -> jax.Array:
    """Returns the field with a fibre axis, ``(…, dim, features)``, which the scalar fibre lacks; integers as float32."""
    x = as_floats(x)
    return x if fibre.shape else x[..., None, :]


def from_vectors(x: jax.Array, fibre: Representation) -> jax.Array:
    """Inverse of :func:`to_vectors`."""
    return x if fibre.shape else x[..., 0, :]


def per_block(count: int, features: int) -> tuple[int, ...]:
    """Shape of a parameter with one number for each block (or invariant) and feature; one block has no axis."""
    return (features,) if count == 1 else (count, features)


def broadcast(parameter: jax.Array, ndim: int) -> jax.Array:
    """Returns a parameter ``(count, features)`` or ``(features,)`` with leading axes of length 1, ``ndim`` axes in all."""
    matrix = parameter if parameter.ndim > 1 else parameter[None]
    return matrix.reshape((1,) * (ndim - 2) + matrix.shape)
