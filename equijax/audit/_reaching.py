"""Elements that reach every layer.

They are longer shifts behind strides, turns with the shifts that the strides leave them, and shifts that bring the border to
where a single place is read.
"""

import jax.numpy as jnp
import numpy as np

from equijax.audit._atoms import Base
from equijax.audit._frame import Frame, Lattice
from equijax.audit._layout import Layout
from equijax.audit._network import Network
from equijax.audit._steps import READS
from equijax.groups._group import Element


def reaching(network: Network) -> Element | None:
    """Returns the elements of an audit, and for every lattice behind a stride elements that act there and not trivially.

    None where there is nothing to add. Of a network that reads a single place (the last of a sequence) the shift that brings
    place 0 there: behind dilations no shorter one need change what is read.

    Of shifts that is one along all axes at once, by the distance of the samples. A turn that moves the lattice between its
    samples is combined with the shift that brings it back.

    Args:
      network: the network, with the elements so far.
    """
    frame: Frame = network.frame
    coarse: dict[Lattice, Layout] = {}
    for layout in network.layouts.values():
        if layout is not None and layout.custom is None and layout.base and max(frame.lattice(layout)[0]) > 1:
            coarse.setdefault(frame.lattice(layout), layout)
    points = sorted({int(h) for h in frame.point if h})
    turns = [next(e for e in range(frame.count) if frame.point[e] == h) for h in points]
    found = [(tuple(t), int(h)) for t, h in zip(frame.shift.tolist(), frame.point, strict=True)]
    shifts = any(frame.is_shift(e) and frame.shift[e].any() for e in range(frame.count))
    for (spacing, _), layout in sorted(coarse.items(), key=lambda pair: max(pair[0][0])):
        step = tuple(int(s) for s in spacing)
        whole = all(s.denominator == 1 for s in spacing)
        goes_round = frame.period is not None and all(t % n == 0 for t, n in zip(step, frame.period, strict=True))
        if shifts and whole and not goes_round:
            found.append((step, 0))
        for e in turns:
            found += [(tuple((frame.shift[e] + t).tolist()), int(frame.point[e])) for t in frame.beyond(e, layout)[:1]]
    found += [(t, 0) for t in _read(network) if shifts and any(t)]
    pairs = list(dict.fromkeys(found))
    if len(pairs) == frame.count:
        return None
    t, h = np.array([t for t, _ in pairs], np.int32), np.array([h for _, h in pairs], np.int32)
    return frame.group.join(jnp.asarray(t), jnp.asarray(h))  # type: ignore[attr-defined]


def _read(network: Network) -> list[tuple[int, ...]]:
    """Returns how far the single places that a network reads lie from the first one, along each axis of the grid."""
    period, result = network.frame.period, []
    for equation in network.equations:  # more readings of one activation are a loop
        before, after = (network.layouts.get(v) for v in (equation.inputs[0], equation.outputs[0]))
        if not 0 < network.readings[equation.inputs[0]] < READS or before is None or after is None or period is None:
            continue
        place = [0] * len(period)
        for whole, read in zip(before.axes, after.axes, strict=True):
            for a, b in zip(whole, read, strict=False):
                if isinstance(a, Base) and isinstance(b, Base) and b.size == 1 < a.size:
                    distance = b.origin - a.origin
                    place[a.axis] = int(distance) % period[a.axis] if distance.denominator == 1 else 0
        result.append(tuple(place))
    return result
