"""What convolutions and spatial pooling have in common: a window that reads a grid."""

import dataclasses
import functools
from typing import Any

from equijax._cache import bounded
from equijax.actions import Action, GridAction, kept_by
from equijax.actions._fibre import FibreAction
from equijax.groups import PointGroup
from equijax.nn._exactness import Exactness, everything, of_grid
from equijax.nn._layer import Layer, require_same_group
from equijax.nn._sampling import Sampling
from equijax.reps import Representation
from equijax.sharing._window import require_window


class WindowedLayer(Layer):
    """A layer whose outputs read a window of a grid (or, on a plain finite group, no grid at all).

    Subclasses set ``group``, ``in_fibre``, ``out_fibre``, ``sampling`` and ``allow_inexact``.
    """

    group: Any
    in_fibre: Representation
    out_fibre: Representation
    sampling: Sampling
    allow_inexact: bool

    @property
    def needs_square(self) -> bool:
        """Whether a shape that the point group does not map to itself is refused: by convolutions that read neighbours.

        Pools, and windows of one sample, lose only what is lost between their input and their output.
        """
        return any(k > 1 for k in self.sampling.window)

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between outputs; of a transposed layer, between inputs."""
        return self.sampling.strides

    @property
    def padding(self) -> Any:
        """The padding mode, or pairs."""
        return self.sampling.padding

    @property
    def kernel_dilation(self) -> tuple[int, ...]:
        """Steps between the samples of the window."""
        return self.sampling.dilation

    @property
    def in_action(self) -> Action:
        """The action on the input: fields with the fibre ``in_fibre``, on a torus where the padding is circular."""
        if not self.sampling.window:
            return FibreAction(self.in_fibre, self.group)
        return GridAction(self.group, self.in_fibre, **self.sampling.own_grid)

    def out_action_for(self, in_action: Action) -> Action:
        """Returns the action on the output: spacing and origin move as the window reads the grid."""
        require_same_group(self.in_action, in_action)
        if not isinstance(in_action, GridAction):
            return FibreAction(self.out_fibre, in_action.group)
        return self.sampling.moved(in_action, fibre=self.out_fibre)

    def exactness_for(self, in_action: Action, input_shape: tuple[int, ...]) -> Exactness:
        """Tells which elements the layer respects exactly at this input shape, about which centre, and why not more.

        Args:
          in_action: how the input is moved.
          input_shape: shape of the input, ``(*batch, *sizes, fibre, features)``.

        Returns:
          An :class:`Exactness`, found by index arithmetic.
        """
        out_action, grid = self.out_action_for(in_action), in_action.grid(tuple(input_shape))
        if grid is None:
            return everything(in_action, out_action)
        return _exactness(self.sampling, grid[0], self.out_fibre, grid[1])

    def out_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of the output, by arithmetic, also where a call would be refused."""
        grid = self.in_action.grid(tuple(input_shape))
        if grid is None:
            return super().out_shape(input_shape)
        batch = input_shape[: len(input_shape) - 1 - len(grid[1]) - len(self.in_fibre.shape)]
        features = getattr(self, "out_features", input_shape[-1])
        return (*batch, *self.sampling.out_sizes(grid[1]), *self.out_fibre.shape, features)

    def _require_exact(self, input_shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where this shape loses an element of the point group."""
        if self.allow_inexact or self.in_fibre.group.order == 1 or not self.sampling.window:
            return
        exactness = self.exactness(input_shape)
        if exactness.keeps_point_group:
            return
        if not self.needs_square:
            acting = kept_by(exactness.in_action, input_shape).point_elements
            if set(acting) <= set(exactness.point_elements):
                return
        sizes = self.in_action.sizes(tuple(input_shape))  # type: ignore[attr-defined]
        remedies = _remedies(self.sampling, self.in_action, self.out_fibre, sizes)  # pyright: ignore[reportArgumentType]
        kept, total = len(exactness.point_elements), self.in_fibre.group.order
        raise ValueError(
            f"`inputs` has grid sizes {sizes}, at which this {type(self).__name__} (window {self.sampling.window}, strides "
            f"{self.sampling.strides}, padding {self.sampling.padding!r}) keeps only {kept} of the {total} elements of "
            f"{self.in_fibre.group!r}. {exactness.reason} Remedies: {'; '.join(remedies)}; or build the layer with "
            "allow_inexact=True and accept the loss."
        )


@bounded
def _exactness(sampling: Sampling, action: GridAction, out_fibre: Any, sizes: tuple[int, ...]) -> Exactness:
    return of_grid(sampling, action.on(sizes).action, out_fibre, sizes)  # pyright: ignore[reportArgumentType]


def _keeps(sampling: Sampling, action: GridAction, out_fibre: Any, sizes: tuple[int, ...]) -> bool:
    try:
        action = dataclasses.replace(action, **sampling.own_grid)
        return _exactness(sampling, action, out_fibre, sizes).keeps_point_group
    except ValueError:
        return False


def _remedies(sampling: Sampling, action: GridAction, out_fibre: Any, sizes: tuple[int, ...]) -> list[str]:
    """Tries the nearest changes and names those that keep the whole point group."""
    keeps = functools.partial(_keeps, action=action, out_fibre=out_fibre)
    found = []
    largest = max(sizes)
    reach = max(sampling.strides) + 1
    for size in sorted(range(max(1, largest - reach), largest + reach + 1), key=lambda n: (abs(n - largest), -n)):
        if keeps(sampling, sizes=(size,) * len(sizes)):
            found.append(f"crop or pad the input to {(size,) * len(sizes)}")
            break
    for change in (1, -1):
        window = tuple(k + change for k in sampling.window)
        other = dataclasses.replace(sampling, window=window)
        if min(window) > 0 and _fits(action, window) and keeps(other, sizes=sizes):
            found.append(f"use a window of {window}")
    for mode in ("CIRCULAR", "SAME", "VALID"):
        if mode != sampling.padding and keeps(dataclasses.replace(sampling, padding=mode), sizes=sizes):
            found.append(f"use padding={mode!r}")
    if not found:
        found.append("use equal sizes, strides and padding along the axes that the group mixes")
    return found


def _fits(action: GridAction, window: tuple[int, ...]) -> bool:
    try:
        require_window(action.point_group, window)
    except ValueError:
        return False
    return isinstance(action.point_group, PointGroup)
