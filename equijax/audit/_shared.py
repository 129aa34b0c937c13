"""The nearest weights that a group leaves alone, from the library's sharing."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from equijax.actions import FibreAction
from equijax.audit._atoms import Atom, Axes, Base, Fibre, Still
from equijax.audit._frame import Frame, embedded
from equijax.audit._layout import Layout
from equijax.reps import Representation, Scalar
from equijax.reps._solver import solve
from equijax.sharing import BasisSharing, KernelSharing, LinearSharing, OrbitSharing, Sharing, orbits
from equijax.sharing._orbits import pair_orbits
from equijax.sharing._window import window

Elements = Sequence[int]


def is_shared(weight: Any, nearest: np.ndarray) -> bool:
    """Tells whether weights are the nearest shared ones, up to rounding."""
    array = np.asarray(weight).astype(np.float64)
    size = float(np.linalg.norm(array)) or 1.0
    eps = float(jnp.finfo(np.asarray(weight).dtype).eps) if jnp.issubdtype(np.asarray(weight).dtype, jnp.floating) else 1e-12
    return float(np.linalg.norm(nearest - array)) <= 100 * eps * size


def mixes(layout: Layout | None) -> bool:
    """Tells whether the group mixes the coordinates of a fibre of such arrays."""
    return layout is not None and any(isinstance(a, Fibre) and not a.fibre.is_permutation for a in layout.atoms)


def nearest_dense(frame: Frame, elements: Elements, weight: Any, into: Axes, out: Axes) -> np.ndarray | None:
    """Returns the nearest matrix, bias or scale that commutes with some elements.

    Where the group mixes a fibre and nothing else is moved, it commutes with the whole group.

    Args:
      frame: the elements and their space.
      elements: the numbers of the elements.
      weight: ``(*into, *out)``.
      into: the axes that the weight reads; none for a bias.
      out: the axes that it writes.

    Returns:
      float64 array of the same shape; None where such weights can't be solved for.
    """
    sides = [[atom for axis in axes for atom in axis] for axes in (into, out)]
    atoms = [*sides[0], *sides[1]]
    places = [k for k, atom in enumerate(atoms) if not isinstance(atom, Still)]
    read, written = ([k for k in places if (k < len(sides[0])) == first] for first in (True, False))
    order = [*written, *read, *(k for k in range(len(atoms)) if k not in places)]
    array = np.asarray(weight, np.float64)
    moved = np.transpose(array.reshape([a.size for a in atoms]), order)
    sharing = _between(frame, elements, [atoms[k] for k in read], [atoms[k] for k in written])
    if sharing is None:
        return None
    nearest = sharing.project(moved.reshape(*sharing.shape, -1)).reshape(moved.shape)
    return np.transpose(nearest, np.argsort(order)).reshape(array.shape)


def _between(frame: Frame, elements: Elements, into: list[Atom], out: list[Atom]) -> Sharing | None:
    """The sharing of the maps from some moved atoms to others; None where there are too many to solve for."""
    if not mixes(Layout((tuple(into), tuple(out)))):
        return _along_orbits(frame, elements, into, out)
    try:
        if all(isinstance(a, Fibre) for a in (*into, *out)) and len(into) <= 1 and len(out) <= 1:
            group = (*into, *out)[0].fibre.group  # pyright: ignore[reportAttributeAccessIssue]
            fibres = [side[0].fibre if side else Scalar(group) for side in (into, out)]  # pyright: ignore[reportAttributeAccessIssue]
            return LinearSharing(FibreAction(fibres[0]).on(), FibreAction(fibres[1]).on())
        sizes = [math.prod(a.size for a in side) for side in (into, out)]
        kept = [e for e in elements if _maps(frame, e, into) and _maps(frame, e, out)]
        read, written = ([_matrix(frame, e, side) for e in kept] for side in (into, out))
        basis = solve(read, written, (), (), in_dim=sizes[0], out_dim=sizes[1])
        return BasisSharing(basis, np.zeros((0, sizes[1])))
    except (ValueError, ArithmeticError):
        return None


def _along_orbits(frame: Frame, elements: Elements, into: list[Atom], out: list[Atom]) -> OrbitSharing:
    """The sharing between permutations; where an element has no action on these places, each is like every other."""
    sizes = [math.prod(a.size for a in side) for side in (into, out)]
    still = [np.arange(n) for n in sizes]
    images: list[tuple[np.ndarray, np.ndarray]] = []
    for e in elements:
        if _maps(frame, e, into) and _maps(frame, e, out):
            images.append((_images(frame, e, into), _images(frame, e, out)))
        else:
            images += [(np.roll(still[0], 1), still[1]), (still[0], np.roll(still[1], 1))]
    read, written = ([pair[k] for pair in images] for k in (0, 1))
    return OrbitSharing(pair_orbits(written, read, sizes[1], sizes[0]), orbits(written, sizes[1]))


def _maps(frame: Frame, e: int, atoms: list[Atom]) -> bool:
    return frame.maps(e, Layout(tuple((a,) for a in atoms)))


def _images(frame: Frame, e: int, atoms: list[Atom]) -> np.ndarray:
    """Where an element sends the points of some atoms, in C order."""
    layout = Layout(tuple((a,) for a in atoms))
    return np.argsort(frame.move(e, np.arange(math.prod(layout.shape)).reshape(layout.shape), layout)[0].reshape(-1))


def _matrix(frame: Frame, e: int, atoms: list[Atom]) -> np.ndarray:
    """The matrix by which an element moves the points of some atoms, float64."""
    shape = [a.size for a in atoms]
    size = math.prod(shape)
    layout = Layout((*((a,) for a in atoms), (Still(size),)))
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return np.asarray(frame.move(e, np.eye(size).reshape(*shape, size), layout)[0], np.float64).reshape(size, size)


class Kernel(NamedTuple):
    """The weights of a convolution, and what is known of their axes.

    Attributes:
      spec: places of the output channels, the input channels and the window among the axes, as JAX counts them.
      order: for each axis of the window the axis of the space.
      dilation: for each axis of the window the distance of its samples.
      into: the input channels.
      out: the output channels.
    """

    spec: Sequence[int]
    order: Sequence[int]
    dilation: Sequence[int]
    into: tuple[Atom, ...]
    out: tuple[Atom, ...]


def nearest_kernel(frame: Frame, elements: Elements, weight: Any, kernel: Kernel) -> np.ndarray | None:
    """Returns the nearest kernel that is shared under some elements, 0 where its orbits leave the window; float64.

    None where the point parts of the elements do not move a window of these axes.
    """
    array = np.asarray(weight, np.float64)
    axes = [kernel.spec[0], *(kernel.spec[2:][k] for k in np.argsort(kernel.order)), kernel.spec[1]]
    ordered = np.transpose(array, axes)
    rows = _channels(kernel.out, ordered.shape[0])
    columns = _channels(kernel.into, ordered.shape[-1])
    fibres = [side.fibre for side in (columns, rows)]
    group, ends = _point_part(frame, elements, fibres)
    if group is None:
        return None
    result = np.zeros_like(ordered)
    dilation = [kernel.dilation[k] for k in np.argsort(kernel.order)]
    box = _largest_window(group, ordered.shape[1:-1], dilation)
    if box is not None:
        sizes = tuple(b.stop - b.start for b in box)
        inner = ordered[(slice(None), *box)]
        split = inner.reshape(*rows.shape, math.prod(sizes), *columns.shape)
        (a, b, c), n, (d, e, f) = rows.shape, split.shape[3], columns.shape
        points = split.transpose(1, 3, 5, 0, 2, 4, 6)
        places, _ = window(group, sizes)
        nearest = np.zeros_like(points)
        nearest[:, places] = KernelSharing(group, sizes, *ends).project(points[:, places])
        back = nearest.reshape(b, n, e, a, c, d, f).transpose(3, 0, 4, 1, 5, 2, 6)
        result[(slice(None), *box)] = back.reshape(inner.shape)
    return np.transpose(result, np.argsort(axes))


class _Channels(NamedTuple):
    """Channels as ``(outer features, fibre, inner features)``."""

    fibre: Representation | None
    shape: tuple[int, int, int]


def _channels(atoms: tuple[Atom, ...], count: int) -> _Channels:
    """Finds the fibre among the atoms of as many channels as a kernel has; outer groups of channels are left out."""
    places = [k for k, a in enumerate(atoms) if isinstance(a, Fibre)]
    if len(places) == 1 and not any(isinstance(a, Base) for a in atoms):
        k = places[0]
        fibre = atoms[k].fibre  # pyright: ignore[reportAttributeAccessIssue]
        before, after = (math.prod(a.size for a in part) for part in (atoms[:k], atoms[k + 1 :]))
        for outer in (before, 1):
            if outer * fibre.dim * after == count:
                return _Channels(fibre, (outer, fibre.dim, after))
    return _Channels(None, (1, 1, count))


def _point_part(
    frame: Frame, elements: Elements, fibres: Sequence[Representation | None]
) -> tuple[Any, list[Representation]]:
    """The group that the point parts of some elements generate, and fibres as its representations; None without one."""
    own: Any = frame.group.point_group
    home: Any = next((fibre.group for fibre in fibres if fibre is not None), own)
    if home.order == math.inf:
        return None, []
    found = [h if home == own else embedded(own, h, home) for h in map(int, frame.point[list(elements)])]
    if any(h is None for h in found) or any(fibre is not None and fibre.group != home for fibre in fibres):
        return None, []
    part = home.subgroup([int(h) for h in found])  # pyright: ignore[reportArgumentType]
    group = part.as_group()
    return group, [Scalar(group) if fibre is None else fibre.restrict(part) for fibre in fibres]


def _largest_window(group: Any, sizes: tuple[int, ...], dilation: Sequence[int]) -> list[slice] | None:
    """The largest box in the middle of a window whose axes are equally long where the group exchanges them."""
    kept = list(sizes)
    exchanged = (np.abs(group.integer_matrices) > 0).any(0)
    for _ in kept:  # until nothing changes
        for i, j in np.argwhere(exchanged):
            if (kept[i] - kept[j]) % 2:
                return None  # no offset of one axis is one of the other
            kept[i] = kept[j] = min(kept[i], kept[j]) if dilation[i] == dilation[j] else 2 - kept[i] % 2
            if dilation[i] != dilation[j] and not kept[i] % 2:
                return None
    if group.is_lattice_centred and any(n % 2 == 0 for n in kept):
        return None
    return [slice((n - m) // 2, (n + m) // 2) for n, m in zip(sizes, kept, strict=True)]


def part_means(fibre: Representation, scale: np.ndarray) -> np.ndarray:
    """Returns a scale of the coordinates ``(dim, …)`` that is one number on each part of the fibre: it commutes."""
    result, start = np.array(scale), 0
    for part in fibre.parts:
        rows = slice(start, start + part.dim)
        result[rows] = result[rows].mean(0, keepdims=True)
        start = rows.stop
    return result
