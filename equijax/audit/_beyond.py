"""Following an element behind a stride that it does not respect.

A stride keeps the samples of one lattice, and an element that moves this lattice onto another one has no action on what is
kept. The moved copy goes on all the same. Where it holds the samples that the element brings there, every activation behind
is that of the input, moved by the element and a *further* shift that brings the samples back to the lattice. A layer that
chooses its samples by the data does that of itself, with a shift for every member of the batch; behind any other layer these
samples are put in the place of what it kept.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from equijax.audit._error import gap, widened
from equijax.audit._frame import Frame, Lattice
from equijax.audit._layout import Layout, batch_size


class Beyond:
    """What one element does to the lattices on which it has no action.

    Args:
      frame: the elements and their space.
      e: the number of the element.
    """

    def __init__(self, frame: Frame, e: int):
        self.frame, self.e = frame, e
        self.further: dict[Lattice, list[tuple[int, ...]]] = {}

    def follows(self, layout: Layout) -> bool:
        """Tells whether the element acts on such arrays, alone or with a further shift."""
        return self.frame.acts(self.e, layout) or bool(self.frame.beyond(self.e, layout))

    def enter(self, layout: Layout, clean: Any, run: Any, bound: float) -> None:
        """Finds the further shift of every member of the batch on a lattice that is met for the first time.

        Args:
          layout: layout of an activation on which the element does not act.
          clean: the activation.
          run: that of the moved copy.
          bound: the largest relative difference that is rounding.
        """
        if self.frame.acts(self.e, layout) or self.frame.lattice(layout) in self.further:
            return
        choices = self.frame.beyond(self.e, layout)
        found = [self._shortest(choices)] * _members(layout, clean)
        members = len(found)
        size = float(np.linalg.norm(widened(clean))) / members**0.5
        for choice in choices:
            image, known = self.frame.move(self.e, clean, layout, choice)
            off = gap(run, image, known)
            fits = np.linalg.norm(off.reshape(members, -1), axis=1) <= bound * (size or 1.0)
            found = [choice if fit else old for fit, old in zip(fits, found, strict=True)]
        self.further[self.frame.lattice(layout)] = found

    def nearest(self, layout: Layout, clean: Any) -> list[tuple[int, ...]]:
        """Returns the further shifts on a lattice, and where it is new takes those that move its samples least."""
        if self.frame.lattice(layout) not in self.further:
            shortest = self._shortest(self.frame.beyond(self.e, layout))
            self.further[self.frame.lattice(layout)] = [shortest] * _members(layout, clean)
        return self.known(layout)

    def known(self, layout: Layout) -> list[tuple[int, ...]]:
        """Returns the further shifts of all members of the batch on a lattice that was met."""
        return self.further[self.frame.lattice(layout)]

    def _shortest(self, choices: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        shift = self.frame.shift[self.e]
        return min(choices, key=lambda t: int(np.abs(shift + np.array(t)).sum()))

    def move(self, value: Any, layout: Layout) -> tuple[np.ndarray, np.ndarray | None]:
        """Moves an array, as :meth:`Frame.move` does; behind a stride with the further shift of each member of the batch."""
        if self.frame.acts(self.e, layout):
            return self.frame.move(self.e, value, layout)
        found = self.further[self.frame.lattice(layout)]
        images = {t: self.frame.move(self.e, value, layout, t) for t in dict.fromkeys(found)}
        if len(images) == 1:
            return images[found[0]]
        parts = [images[t] for t in found]
        known = [np.ones(image.shape[1:], bool) if mask is None else mask[n] for n, (image, mask) in enumerate(parts)]
        return np.stack([image[n] for n, (image, _) in enumerate(parts)]), np.stack(known)


def _members(layout: Layout, value: Any) -> int:
    """Returns the number of members of a batch that may be moved differently; 1 where all are moved alike."""
    shape = np.shape(value)
    return shape[0] if shape and batch_size(layout, shape[0]) else 1
