"""What is kept of products of groups, of an action, and by two maps together."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax

from equijax._arguments import shape_or_value
from equijax.actions._acting import repeated
from equijax.actions._action import require_action
from equijax.actions._grid_motions import GridMotions, common, motions_kept
from equijax.actions._kept import Everything, Kept, Listed, Nothing
from equijax.actions._kept_matrices import ListedMatrices
from equijax.actions._motions import common_motions
from equijax.groups._group import Element, Group

if TYPE_CHECKING:
    from equijax.actions._action import Action


@dataclasses.dataclass(frozen=True)
class KeptProduct(Kept):
    """What is kept of each factor of a product of groups.

    Attributes:
      group: the product.
      factors: one part for each factor.
    """

    group: Group
    factors: tuple[Kept, ...]

    @property
    def is_known(self) -> bool:
        """True where every part is known."""
        return all(part.is_known for part in self.factors)

    @property
    def is_everything(self) -> bool:
        """True where every part is everything."""
        return all(part.is_everything for part in self.factors)

    @property
    def keeps_point_group(self) -> bool:
        """True where every part keeps its point group."""
        return all(part.keeps_point_group for part in self.factors)

    def generators(self) -> list[Element]:
        """Returns the generators of each part, with identities elsewhere."""
        group: Any = self.group
        return [group.embed(i, g) for i, part in enumerate(self.factors) for g in part.generators()]

    def elements(self) -> Element:
        """Returns tuples in which each element of each part appears."""
        each = [part.elements() for part in self.factors]
        count = max(len(jax.tree.leaves(elements)[0]) for elements in each)
        return tuple(repeated(elements, count) for elements in each)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws each part independently."""
        keys = jax.random.split(key, len(self.factors))
        return tuple(part.sample(k, shape) for part, k in zip(self.factors, keys, strict=True))

    @property
    def point_elements(self) -> tuple[int, ...]:
        """Those of the last part that has some: of the fields of a set."""
        return self._last.point_elements

    @property
    def translations(self) -> tuple[tuple[int, ...], ...]:
        """Those of the same part."""
        return self._last.translations

    @property
    def shift_step(self) -> tuple[int | None, ...]:
        """Those of the same part."""
        return self._last.shift_step

    @property
    def centre(self) -> tuple[float, ...] | None:
        """That of the same part."""
        return self._last.centre

    @property
    def _last(self) -> Kept:
        return next((part for part in reversed(self.factors) if part.point_elements), self.factors[-1])

    def __str__(self) -> str:
        text = "; of each, ".join(map(str, self.factors))
        return text[:1].upper() + text[1:]


def kept_by(action: "Action", shape: Any) -> Kept:
    """Returns the elements of an action's group that map arrays of this (full) shape to themselves.

    On a grid it is index arithmetic; a product is taken apart; every other action moves whatever it takes.
    """
    require_action(action, "action")
    shape = shape_or_value(shape, "shape")
    if not isinstance(shape, tuple):
        return Everything(action.group)
    grid, parts = action.grid(tuple(shape)), action.parts(tuple(shape))
    if grid is not None:
        return motions_kept(grid, common_motions(grid), grid)
    if parts is not None:
        return KeptProduct(action.group, tuple(kept_by(factor, view) for factor, view in parts))
    return Everything(action.group)


def meet(a: Kept, b: Kept) -> Kept:
    """Returns the elements that both values hold; nothing is known of parts that can't be compared."""
    if not a.is_known or not b.is_known:
        return Nothing(a.group)
    if isinstance(b, Everything):
        return a
    if isinstance(a, Everything):
        return b
    if isinstance(a, KeptProduct) and isinstance(b, KeptProduct) and len(a.factors) == len(b.factors):
        return KeptProduct(a.group, tuple(map(meet, a.factors, b.factors)))
    if isinstance(a, GridMotions) and isinstance(b, GridMotions):
        return common(a, b)
    if isinstance(a, ListedMatrices) and isinstance(b, ListedMatrices):
        return a.common(b)
    numbers = [h for h in a.point_elements if h in b.point_elements]
    if isinstance(a, Listed) and isinstance(b, Listed):
        return Listed(a.group, tuple(numbers))
    for motions, other in ((a, b), (b, a)):
        if isinstance(motions, GridMotions) and isinstance(other, Listed):
            return dataclasses.replace(motions, moves=tuple(m for m in motions.moves if m[0] in numbers))
    return Nothing(a.group)


def restricted(kept: Kept, subgroup: Any, group: Group) -> Kept:
    """Returns what is kept of a smaller group: translations, if there are any, and a subgroup of the point group."""
    if isinstance(kept, Everything):
        return Everything(group)
    number = {h: k for k, h in enumerate(subgroup.elements)}
    if isinstance(kept, GridMotions):
        moves = tuple(sorted((number[h], t) for h, t in kept.moves if h in number))
        lost = tuple((number[h], why) for h, why in kept.lost if h in number)
        return dataclasses.replace(kept, group=group, moves=moves, lost=lost)
    if isinstance(kept, Listed):
        return Listed(group, tuple(sorted(number[h] for h in kept.numbers if h in number)))
    return Nothing(group)
