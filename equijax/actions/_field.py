"""The contract of actions on fields: arrays with a fibre over every point."""

import abc
from typing import TYPE_CHECKING, Any

from equijax._arguments import as_shape, shown
from equijax._numbers import positive_int
from equijax.actions._action import Action, Axis, require_axis, require_ndim
from equijax.groups import Group
from equijax.groups._group import Element
from equijax.reps import Representation

if TYPE_CHECKING:
    from equijax.actions._fibre import FibreAction


class FieldAction(Action):
    r"""An action on fields ``(*batch, *base, fibre, features)``: one element moves the points and the fibre over each.

    .. math:: (g·f)(x) = ρ(g)\, f(g^{-1} x)

    The fibre is a representation of the group itself or of its ``point_group``, to which translations do nothing. A vector
    is a field over one point (``ndim`` 0, :class:`FibreAction`), an image one over a grid (:class:`GridAction`).

    Attributes:
      fibre: the representation over each point.
    """

    fibre: Representation

    @property
    @abc.abstractmethod
    def ndim(self) -> int:
        """Number of base axes."""

    @abc.abstractmethod
    def with_fibre(self, fibre: Representation) -> "FieldAction":
        """Returns the action on fields over the same points with another fibre."""

    @abc.abstractmethod
    def restrict(self, subgroup: Any) -> "FieldAction":
        """Returns the action of a smaller group.

        Args:
          subgroup: a ``Subgroup`` of the point group; where there are no translations of a grid also any group whose
            elements embed by their matrices.
        """

    def resampled(self, strides: Any, shift: tuple[float, ...]) -> "FieldAction":
        """Returns the action on every ``strides``-th sample, counted from position ``shift`` (in samples).

        Raises:
          ValueError: the action has no grid.
        """
        raise ValueError(f"{self!r} moves no grid, so it can't be resampled with `strides` {shown(strides)}.")

    @property
    def permutes(self) -> bool:
        """True where the fibre permutes its coordinates."""
        return self.fibre.is_permutation

    @property
    def is_orthogonal(self) -> bool:
        """As the fibre: points are permuted."""
        return self.fibre.is_orthogonal

    @property
    def vector(self) -> "FibreAction":
        """The action on one vector of the fibre: what is left of the field when its points are pooled."""
        from equijax.actions._fibre import FibreAction

        return FibreAction(self.fibre, self.group)

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the sizes of the base axes of an array of the given shape, after checking that it fits."""
        shape = as_shape(shape)
        require_ndim(self, shape, self._moved + 1, self._layout)
        if self.fibre.shape:
            require_axis(f"fibre {self.fibre!r}", shape, len(shape) - 2, self.fibre.dim, self._layout)
        start = len(shape) - 1 - self._moved
        return tuple(shape[start : start + self.ndim])

    def axes(self, ndim: int) -> tuple[Axis, ...]:
        """Batch axes, the base axes, the fibre axis (unless scalar), the features."""
        ndim = positive_int(ndim, "ndim", 0)
        batch = ndim - self._moved - 1
        require_ndim(self, (0,) * ndim, self._moved + 1, self._layout)
        base = tuple(Axis("base", k) for k in range(self.ndim))
        return (*(Axis("batch"),) * batch, *base, *(Axis("fibre"),) * len(self.fibre.shape), Axis("feature"))

    def _on_fibre(self, g: Element) -> Element:
        """The element by which ``g`` moves the fibre."""
        return g if self.fibre.group == self.group else self.group.split(g)[1]

    @property
    def _moved(self) -> int:
        return self.ndim + len(self.fibre.shape)

    @property
    def _layout(self) -> str:
        sizes = "".join(f", size_{k}" for k in range(self.ndim))
        fibre = f", {self.fibre.dim}" if self.fibre.shape else ""
        return f"(*batch{sizes}{fibre}, features)"


def require_representation(fibre: Any, group: Group | None, name: str) -> None:
    """Raises ``TypeError`` where ``fibre`` is no representation, of whatever group."""
    if not isinstance(fibre, Representation):
        made = "" if group is None else f" Write {fibre.__name__}({group!r})." if isinstance(fibre, type) else ""
        raise TypeError(
            f"`{name}` is {shown(fibre)}; it must be a representation of {group!r} from equijax.reps, such as the "
            f"permutation representations Scalar, Regular, Quotient or PermutationRepresentation.{made}"
        )


def require_fibre(fibre: Any, group: Group, name: str) -> None:
    """Raises where ``fibre`` is no representation of ``group``."""
    require_representation(fibre, group, name)
    if fibre.group != group:
        raise ValueError(
            f"`{name}` is a representation of {fibre.group!r}, but fields here need one of {group!r}. "
            "Build the fibre from the point group of the layer's or action's group."
        )
