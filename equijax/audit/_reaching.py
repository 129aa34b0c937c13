"""Elements that reach the layers behind strides: longer shifts, and turns with the shifts that the strides leave them."""

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np

from equijax.audit._frame import Frame, Lattice
from equijax.audit._layout import Layout
from equijax.groups._group import Element


def reaching(frame: Frame, layouts: Iterable[Layout | None]) -> Element | None:
    """Returns the elements of an audit, and for every lattice behind a stride elements that act there and not trivially.

    None where there is nothing to add.

    Of shifts that is one along all axes at once, by the distance of the samples. A turn that moves the lattice between its
    samples is combined with the shift that brings it back.

    Args:
      frame: the elements so far.
      layouts: of the activations.
    """
    coarse: dict[Lattice, Layout] = {}
    for layout in layouts:
        if layout is not None and layout.custom is None and layout.base and max(frame.lattice(layout)[0]) > 1:
            coarse.setdefault(frame.lattice(layout), layout)
    points = sorted({int(h) for h in frame.point if h})
    turns = [next(e for e in range(frame.count) if frame.point[e] == h and not frame.shift[e].any()) for h in points]
    found = [(tuple(t), int(h)) for t, h in zip(frame.shift.tolist(), frame.point, strict=True)]
    shifts = any(frame.is_shift(e) and frame.shift[e].any() for e in range(frame.count))
    for (spacing, _), layout in sorted(coarse.items(), key=lambda pair: max(pair[0][0])):
        step = tuple(int(s) for s in spacing)
        whole = all(s.denominator == 1 for s in spacing)
        goes_round = frame.period is not None and all(t % n == 0 for t, n in zip(step, frame.period, strict=True))
        if shifts and whole and not goes_round:
            found.append((step, 0))
        found += [(t, int(frame.point[e])) for e in turns for t in frame.beyond(e, layout)[:1]]
    pairs = list(dict.fromkeys(found))
    if len(pairs) == frame.count:
        return None
    t, h = np.array([t for t, _ in pairs], np.int32), np.array([h for _, h in pairs], np.int32)
    return frame.group.join(jnp.asarray(t), jnp.asarray(h))  # type: ignore[attr-defined]
