"""Which group elements a layer respects exactly at a given input size."""

import dataclasses
from typing import Any

import jax

from equijax.actions import Action, GridAction
from equijax.actions._grid_motions import GridMotions, motions_kept
from equijax.actions._kept import Everything, Kept
from equijax.actions._kept_parts import kept_by
from equijax.actions._motions import common_motions
from equijax.groups._group import Element
from equijax.nn._sampling import Sampling


@dataclasses.dataclass(frozen=True)
class Exactness:
    """The elements for which ``layer(in_action(g, x)) == out_action(g, layer(x))`` holds up to rounding.

    It is index arithmetic: no array is touched. Use its own ``in_action`` and ``out_action``, which know the size of the
    torus; where the strides divide the size they agree with the layer's.

    Attributes:
      in_action: how the group moves the input of this size.
      out_action: how it moves the output. Where nothing is known of it, a call of it raises with the remedy.
      kept: the elements, a value of ``equijax.actions``: motions of a grid, all of the group, a listed subgroup, a product
        of such, or nothing.
      reason: one sentence why the rest is lost; empty where nothing is.

    Example:
      >>> import equijax as ej
      >>> from flax import nnx
      >>> layer = ej.nn.Conv(1, 1, 3, 2, padding="CIRCULAR", group=ej.wallpaper("p4"), rngs=nnx.Rngs(0))
      >>> exactness = layer.exactness((8, 8, 1))
      >>> exactness.kept.is_everything, exactness.keeps_point_group, exactness.shift_step
      (False, True, (2, 2))
    """

    in_action: Action
    out_action: Action
    kept: Kept
    reason: str

    @property
    def point_elements(self) -> tuple[int, ...]:
        """Numbers of the elements of a finite point group that are kept."""
        return self.kept.point_elements

    @property
    def translations(self) -> tuple[tuple[int, ...], ...]:
        """For each of them the translation with which it is kept, int tuples."""
        return self.kept.translations

    @property
    def shift_step(self) -> tuple[int | None, ...]:
        """For each grid axis the step, in pixels, of the shifts that are kept; None where none is."""
        return self.kept.shift_step

    @property
    def centre(self) -> tuple[float, ...] | None:
        """A point, in samples of the input, about which the kept elements turn it, up to shifts; None without a grid."""
        return self.kept.centre

    @property
    def keeps_point_group(self) -> bool:
        """True where every element of the point group is kept (perhaps together with a shift)."""
        return self.kept.keeps_point_group

    def generators(self) -> list[Element]:
        """Returns group elements that generate everything that is kept."""
        return self.kept.generators()

    def elements(self) -> Element:
        """Returns every kept point element with its translation, stacked along a leading axis.

        Without a point group (permutations of a set) these are the generators of the group.
        """
        return self.kept.elements()

    def sample(self, key: jax.Array, shape: tuple[int, ...] = ()) -> Element:
        """Draws kept elements with leading axes ``shape``, on a grid with shifts of up to 8 steps.

        Uniformly where there is a Haar measure, else near every component, as ``group.draw`` does.
        """
        return self.kept.sample(key, shape)

    def __str__(self) -> str:
        return f"{self.kept}. {self.reason}".strip()


def everything(in_action: Action, out_action: Action) -> Exactness:
    """Returns the exactness of a layer that respects the whole group, such as one without a grid."""
    return Exactness(in_action, out_action, Everything(in_action.group), "")


def of_points(in_action: Action, out_action: Action, shape: Any) -> Exactness:
    """Returns the exactness of a layer that treats every point alike: all elements that act on an input of this shape."""
    return Exactness(in_action, out_action, kept_by(in_action, shape), "")


def of_grid(sampling: Sampling, in_action: GridAction, out_fibre: Any, sizes: tuple[int, ...]) -> Exactness:
    """Works out the exactness of a windowed layer at input ``sizes``; ``in_action`` knows the size of its torus."""
    output = sampling.moved(in_action, sizes).with_fibre(out_fibre)
    kept = between_grids(in_action, sizes, output, sampling.out_sizes(sizes))
    shifts = ""
    if None in kept.steps:
        cause = "the padding is not circular" if output.boundary == "zero" else "a stride does not divide the size"
        shifts = f"Shifts are lost: {cause}."
    elif any(step and step > 1 for step in kept.steps) and not sampling.transposed:
        shifts = "Other shifts fall between the samples of the output."
    return Exactness(in_action, output, kept, f"{kept.reason} {shifts}".strip())


def between_grids(
    in_action: GridAction, sizes: tuple[int, ...], out_action: GridAction, out_sizes: tuple[int, ...]
) -> GridMotions:
    """Returns the motions that map input and output grid to themselves; behind a border both are arrays with borders."""
    grids = [(in_action, sizes), (out_action, out_sizes)]
    if out_action.boundary == "zero" and in_action.boundary == "wrap":
        grids.insert(1, (dataclasses.replace(in_action, boundary="zero"), sizes))
    return motions_kept(grids[0], common_motions(*grids), grids[-1])
