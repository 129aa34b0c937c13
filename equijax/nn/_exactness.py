"""Which group elements a layer respects exactly at a given input size."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions import Action, GridAction
from equijax.actions._motions import Grid, Motions, common_motions
from equijax.groups import FiniteGroup, SpaceGroup, Translation
from equijax.groups._group import Element
from equijax.groups._space import point_group_of
from equijax.nn._sampling import Sampling


@dataclasses.dataclass(frozen=True)
class Exactness:
    """The elements for which ``layer(in_action(g, x)) == out_action(g, layer(x))`` holds up to rounding.

    It is index arithmetic: no array is touched. Use its own ``in_action`` and ``out_action``, which know the size of the
    torus; where the strides divide the size they agree with the layer's.

    Attributes:
      in_action: how the group moves the input of this size.
      out_action: how it moves the output.
      point_elements: numbers of the elements of the point group that are kept.
      translations: for each of them the translation with which it is kept, int tuples.
      shift_step: for each grid axis the step, in pixels, of the shifts that are kept; None where none is.
      centre: a point, in samples of the input, about which the kept elements turn it, up to kept shifts; None without a
        grid.
      reason: one sentence why the rest is lost; empty where nothing is.
    """

    in_action: Action
    out_action: Action
    point_elements: tuple[int, ...]
    translations: tuple[tuple[int, ...], ...]
    shift_step: tuple[int | None, ...]
    centre: tuple[float, ...] | None
    reason: str

    @property
    def keeps_point_group(self) -> bool:
        """True where every element of the point group is kept (perhaps together with a shift)."""
        return len(self.point_elements) == _point_order(self.in_action)

    def generators(self) -> list[Element]:
        """Returns group elements that generate everything that is kept."""
        group = self.in_action.group
        if isinstance(self.in_action, GridAction):
            return self._motions().generators(group)
        return [self._vector_element(h) for h in self.point_elements if h] if self._has_points else list(group.generators)

    def elements(self) -> Element:
        """Returns every kept point element with its translation, stacked along a leading axis.

        Without a point group (permutations of a set) these are the generators of the group.
        """
        group = self.in_action.group
        if not self._has_points:
            return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(a) for a in leaves]), *group.generators)
        h = jnp.asarray(self.point_elements, jnp.int32)
        if not isinstance(self.in_action, GridAction):
            return self._vector_element(h)
        t = jnp.asarray(self.translations, jnp.int32).reshape(len(self.translations), self.in_action.ndim)
        return group.join(t, h)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws kept elements uniformly over point elements, and shifts of up to 8 steps; leading axes ``shape``."""
        group = self.in_action.group
        if isinstance(self.in_action, GridAction):
            return self._motions().sample(group, key, shape)
        return group.sample(key, shape)

    @property
    def _has_points(self) -> bool:
        return isinstance(self.in_action.group, (FiniteGroup, SpaceGroup, Translation))

    def _vector_element(self, h: Any) -> Element:
        """An element without translation, for what has no grid any more."""
        group = self.in_action.group
        ndim = group.ndim if isinstance(group, (SpaceGroup, Translation)) else 0
        return group.join(jnp.zeros((*np.shape(h), ndim), jnp.int32), h)

    def _motions(self) -> Motions:
        kept = dict(zip(self.point_elements, self.translations, strict=True))
        return Motions(self.shift_step, kept, {})

    def __str__(self) -> str:
        total = _point_order(self.in_action)
        about = "" if self.centre is None else f" about {self.centre} of the input"
        shifts = _shift_sentence(self.shift_step)
        return f"{len(self.point_elements)} of {total} point elements{about}{shifts}. {self.reason}".strip()


def everything(in_action: Action, out_action: Action) -> Exactness:
    """Returns the exactness of a layer that respects the whole group, such as one without a grid."""
    order = _point_order(in_action)
    return Exactness(in_action, out_action, tuple(range(order)), ((),) * order, (), None, "")


def of_points(in_action: GridAction, out_action: Action, sizes: tuple[int, ...]) -> Exactness:
    """Returns the exactness of a layer that treats every grid point alike: all elements that act on the input."""
    grid = (in_action, sizes)
    return from_motions(grid, out_action, common_motions(grid), grid, "")


def of_grid(sampling: Sampling, in_action: GridAction, out_fibre: Any, sizes: tuple[int, ...]) -> Exactness:
    """Works out the exactness of a windowed layer at input ``sizes``."""
    resolved: GridAction = in_action.on(sizes).action  # pyright: ignore[reportAssignmentType]
    output = dataclasses.replace(sampling.moved(resolved, sizes), fibre=out_fibre)
    before, behind = (resolved, sizes), (output, sampling.out_sizes(sizes))
    motions = common_motions(before, behind)
    shifts = ""
    if None in motions.steps:
        cause = "the padding is not circular" if output.boundary == "zero" else "a stride does not divide the size"
        shifts = f"Shifts are lost: {cause}."
    elif any(step and step > 1 for step in motions.steps) and not sampling.transposed:
        shifts = "Other shifts fall between the samples of the output."
    return from_motions(before, output, motions, before if sampling.transposed else behind, shifts)


def from_motions(before: Grid, out_action: Action, motions: Motions, coarse: Grid, about_shifts: str) -> Exactness:
    """Puts the exactness together from the motions that are kept and the coarsest grid, about which they turn."""
    in_action, sizes = before
    grid, lengths = before if None in motions.steps and coarse[0].boundary == "zero" else coarse
    if not any(map(any, motions.elements.values())):
        pixel = tuple(c / 2 for c in in_action.doubled_centre(sizes))
    elif None not in motions.steps:
        pixel = grid.origin
    else:
        pixel = tuple(p + s * (n - 1) / 2 for p, s, n in zip(grid.origin, grid.spacing, lengths, strict=True))
    lost = ""
    if motions.lost:
        h, why = next(iter(motions.lost.items()))
        lost = f"Point element {h} is lost: {why}."
    return Exactness(
        in_action,
        out_action,
        tuple(motions.elements),
        tuple(motions.elements.values()),
        motions.steps,
        tuple((p - o) / s for p, o, s in zip(pixel, in_action.origin, in_action.spacing, strict=True)),
        f"{lost} {about_shifts}".strip(),
    )


def _point_order(action: Action) -> int:
    try:
        return point_group_of(action.group).order
    except TypeError:
        return 1


def _shift_sentence(steps: tuple[int | None, ...]) -> str:
    if not steps:
        return ""
    if all(step is None for step in steps):
        return ", no shifts"
    return f", shifts by multiples of {tuple('none' if step is None else step for step in steps)}"
