"""How much changes that must not: the sizes of leaks."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from equijax.audit._error import gap, widened
from equijax.audit._walker import relative

#: What lets through what must not matter: masked entries, other samples. Or a call changes the model's state.
LeakKind = Literal["mask", "batch", "state"]

#: Clean activation, changed one, and where both have to agree.
Pair = tuple[Any, Any, np.ndarray]


@dataclasses.dataclass
class Leaks:
    """What one exchange changes.

    Attributes:
      sizes: number of a finding → change behind it of what must not change, relative to it.
      total: the same at the output, where nothing was set right in between; 0.0 where ``sizes`` is empty.
    """

    sizes: dict[int, float] = dataclasses.field(default_factory=dict)
    total: float = 0.0


def change(pairs: Iterable[Pair]) -> float:
    """Returns ``‖changed - clean‖ / ‖clean‖`` over all entries that have to agree; infinite where one of them becomes NaN.

    Entries that are NaN without the change don't count.
    """
    gaps, scales = [], []
    for clean, changed, own in pairs:
        before = widened(clean)
        counted = np.broadcast_to(own, before.shape) & ~np.isnan(before)
        gaps.append(np.where(counted, gap(changed, before), 0.0).reshape(-1))
        scales.append(np.where(counted, before, 0.0).reshape(-1))
    if not gaps:
        return 0.0
    size = relative(np.concatenate(gaps), np.concatenate(scales))
    return np.inf if np.isnan(size) else size
