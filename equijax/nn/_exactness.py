"""Which group elements a layer respects exactly at a given input size."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions import Action, GridAction
from equijax.actions._motions import Motions, common_motions
from equijax.groups._group import Element
from equijax.groups._space import join_element, point_group_of
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
      centre: the point, in samples of the input, about which the kept elements turn it; None without a grid.
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
        if not isinstance(self.in_action, GridAction):
            return [np.int32(h) for h in self.point_elements if h]
        return self._motions().generators(self.in_action.group)

    def elements(self) -> Element:
        """Returns every kept point element with its translation, stacked along a leading axis."""
        h = jnp.asarray(self.point_elements, jnp.int32)
        if not isinstance(self.in_action, GridAction):
            return h
        t = jnp.asarray(self.translations, jnp.int32).reshape(len(self.translations), self.in_action.ndim)
        return join_element(self.in_action.group, t, h)

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws kept elements uniformly over point elements, and shifts of up to 8 steps; leading axes ``shape``."""
        if not isinstance(self.in_action, GridAction):
            return self.elements()[jax.random.randint(key, shape, 0, len(self.point_elements))]
        return self._motions().sample(self.in_action.group, key, shape)

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
    motions = common_motions(in_action, sizes, in_action, sizes)
    return _from_motions(in_action, out_action, motions, _centre(in_action, sizes, motions), "")


def of_grid(sampling: Sampling, in_action: GridAction, out_fibre: Any, sizes: tuple[int, ...]) -> Exactness:
    """Works out the exactness of a windowed layer at input ``sizes``."""
    resolved: GridAction = in_action.on(sizes).action  # pyright: ignore[reportAssignmentType]
    output = dataclasses.replace(sampling.moved(resolved, sizes), fibre=out_fibre)
    out_sizes = sampling.out_sizes(sizes)
    motions = common_motions(resolved, sizes, output, out_sizes)
    coarse, lengths = (resolved, sizes) if sampling.transposed or output.boundary == "zero" else (output, out_sizes)
    reasons = []
    if None in motions.steps:
        cause = "the padding is not circular" if output.boundary == "zero" else "a stride does not divide the size"
        reasons.append(f"Shifts are lost: {cause}.")
    elif any(step and step > 1 for step in motions.steps) and not sampling.transposed:
        reasons.append("Other shifts fall between the samples of the output.")
    pixel = _centre(coarse, lengths, motions)
    centre = tuple((p - o) / s for p, o, s in zip(pixel, resolved.origin, resolved.spacing, strict=True))
    return _from_motions(resolved, output, motions, centre, " ".join(reasons))


def _centre(action: GridAction, sizes: tuple[int, ...], motions: Motions) -> tuple[float, ...]:
    """The point about which the kept elements turn, in pixels: a sample of the grid where it covers a torus evenly."""
    if action.boundary == "wrap" and not any(map(any, motions.elements.values())):
        return tuple(c / 2 for c in action.doubled_centre(sizes))
    if action.boundary == "wrap" and all(motions.steps):
        return action.origin
    return tuple(p + s * (n - 1) / 2 for p, s, n in zip(action.origin, action.spacing, sizes, strict=True))


def _from_motions(
    in_action: GridAction, out_action: Action, motions: Motions, centre: tuple[float, ...], about_shifts: str
) -> Exactness:
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
        centre,
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
