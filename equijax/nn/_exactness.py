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


def of_grid(sampling: Sampling, in_action: GridAction, out_fibre: Any, sizes: tuple[int, ...]) -> Exactness:
    """Works out the exactness of a windowed layer at input ``sizes``."""
    resolved = in_action.on(sizes).action
    output = dataclasses.replace(sampling.moved(resolved, sizes), fibre=out_fibre)  # pyright: ignore
    motions = common_motions(resolved, sizes, output, sampling.out_sizes(sizes))  # pyright: ignore
    return _from_motions(resolved, output, motions, sizes, sampling.out_sizes(sizes), sampling)  # pyright: ignore


def _from_motions(
    in_action: GridAction,
    out_action: GridAction,
    motions: Motions,
    sizes: tuple[int, ...],
    out_sizes: tuple[int, ...],
    sampling: Sampling,
) -> Exactness:
    whole = out_action.boundary == "wrap" and all(motions.steps)
    if whole:
        coarse = in_action if sampling.transposed else out_action
        pixel = np.array(coarse.origin)
    else:
        grid, lengths = (out_action, out_sizes) if out_action.boundary == "wrap" else (in_action, sizes)
        pixel = np.array(grid.origin) + np.array(grid.spacing) * (np.array(lengths) - 1) / 2
    centre = tuple(((pixel - np.array(in_action.origin)) / np.array(in_action.spacing)).tolist())
    reasons = []
    if motions.lost:
        h, why = next(iter(motions.lost.items()))
        reasons.append(f"Point element {h} is lost: {why}.")
    if None in motions.steps:
        cause = "the padding is not circular" if out_action.boundary == "zero" else "a stride does not divide the size"
        reasons.append(f"Shifts are lost: {cause}.")
    elif any(step and step > 1 for step in motions.steps) and not sampling.transposed:
        reasons.append("Other shifts fall between the samples of the output.")
    return Exactness(
        in_action,
        out_action,
        tuple(motions.elements),
        tuple(motions.elements.values()),
        motions.steps,
        centre,
        " ".join(reasons),
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
