"""Fields on grids: images, volumes, sequences, with any fibre over each pixel."""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import real_number, shown
from equijax._cache import bounded
from equijax._numbers import per_axis
from equijax.actions._action import require_known
from equijax.actions._field import FieldAction, require_fibre
from equijax.actions._finite import FiniteAction
from equijax.actions._lattice_fibre import lattice_fibre
from equijax.actions._resample import resampled
from equijax.groups import Motions, PointGroup, SpaceGroup, Subgroup, Translation
from equijax.groups._elements import concrete, integers, known_where, numeric, poison
from equijax.groups._group import Element, require_is_group
from equijax.groups._point import has_matrices
from equijax.groups._subgroup import require_is_subgroup
from equijax.reps import Representation, Scalar


@dataclasses.dataclass(frozen=True)
class GridAction(FieldAction):
    r"""Translations and point symmetries that move a field on a grid, ``(*batch, *sizes, fibre, features)``.

    .. math:: (g·f)(x) = ρ(h)\, f(g^{-1} x), \qquad g = (t, h): p ↦ h(p - c) + c + t

    Sample y of the array sits at ``p = origin + spacing · y``, in pixels of the group. With boundary ``"wrap"`` the array
    is a torus of ``N = spacing · size`` pixels; c is its centre ``(N - 1) / 2``, or the lattice point ``N // 2`` for
    groups with ``is_lattice_centred`` (hexagonal ones). With ``"zero"`` c is the centre of the array, only the
    elements ``(0, h)`` that map the array to itself act as a group, and shifts move zeros in, which serves measurement.

    An element that does not map the grid to itself (a shift that is no multiple of the spacing, a quarter turn of a
    rectangle) is a ``ValueError``. Under jit, where ``g`` is not known, the result is NaN (or the
    smallest integer, the largest unsigned one, or False).

    Of the group ``Motions(H)`` only the lattice part maps samples to samples, and it is exact. Another element is
    **resampled** by a windowed sinc (12 samples along each axis, a floor of about 0.1 % for waves longer than three pixels;
    integers become floats): for pictures and audits. It turns about the same centre c; a torus that is turned by another
    angle than the lattice's has seams, an array with zeros outside loses its corners.

    Args:
      group: a ``Translation``, ``SpaceGroup`` or ``Motions``. A period that it has must be that of the array.
      fibre: representation of the point group on each pixel, by permutations or any other matrices; None is the scalar
        fibre, which has no axis.
      boundary: ``"wrap"`` or ``"zero"``.
      spacing: pixels between samples, positive integers, one for each axis (an int stands for all).
      origin: position of sample 0, multiples of ½, one for each axis (a number stands for all).
      torus: size of the torus in pixels; None is the group's period, or else ``spacing · size``.

    Example: a quarter turn of an image is ``numpy.rot90``.
      >>> import numpy as np, equijax as ej
      >>> act = ej.GridAction(ej.wallpaper("p4"))
      >>> image = np.arange(9.0).reshape(3, 3, 1)
      >>> bool((act(([0, 0], 1), image)[..., 0] == np.rot90(image[..., 0])).all())
      True
    """

    group: Translation | SpaceGroup | Motions
    fibre: Representation = None  # type: ignore[assignment]
    boundary: Literal["wrap", "zero"] = "wrap"
    spacing: tuple[int, ...] = 1  # type: ignore[assignment]
    origin: tuple[float, ...] = 0.0  # type: ignore[assignment]
    torus: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        hint = f" Use SpaceGroup({self.group!r})." if has_matrices(self.group) else ""
        require_is_group(self.group, "group", "a grid is moved by a Translation, SpaceGroup or Motions")
        if not self.group.grid_ndim:
            raise TypeError(f"`group` is {self.group!r}; a grid is moved by a Translation, SpaceGroup or Motions.{hint}")
        if self.fibre is None:
            object.__setattr__(self, "fibre", Scalar(self.point_group))
        require_fibre(self.fibre, self.point_group, "fibre")
        if not isinstance(self.boundary, str) or self.boundary not in ("wrap", "zero"):
            raise ValueError(f"`boundary` is {shown(self.boundary)}; it must be 'wrap' or 'zero'.")
        object.__setattr__(self, "spacing", per_axis(self.spacing, self.ndim, "spacing"))
        object.__setattr__(self, "origin", _positions(self.origin, self.ndim, "origin"))
        if self.torus is not None:
            object.__setattr__(self, "torus", per_axis(self.torus, self.ndim, "torus"))

    @property
    def ndim(self) -> int:
        """Number of grid axes."""
        return self.group.ndim

    @property
    def point_group(self) -> Any:
        """The group that acts on the fibre."""
        return self.group.point_group

    @property
    def lattice_group(self) -> PointGroup:
        """The part of the point group that maps the lattice to itself, in its coordinates; usually all of it."""
        return self.group.lattice_part.point_group  # pyright: ignore[reportReturnType]  # of translations it is Trivial

    @property
    def _resamples(self) -> bool:
        """Whether the group has elements that the lattice has not."""
        return self.group.lattice_part is not self.group

    @property
    def on_lattice(self) -> "GridAction":
        """The action of ``group.lattice_part`` on the same arrays; itself where that is the whole group."""
        if not self._resamples:
            return self
        fibre = lattice_fibre(self.group, self.fibre)
        return dataclasses.replace(self, group=self.group.lattice_part, fibre=fibre)

    @property
    def open(self) -> "GridAction":
        """The action on arrays of every size, spacing, origin and boundary."""
        return _open(self)

    def grid(self, shape: tuple[int, ...]) -> "tuple[GridAction, tuple[int, ...]]":
        """Returns the action and the sizes of the grid of an array of the given shape."""
        return self, self.sizes(shape)

    def period(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the size of the torus in pixels: ``torus``, the group's own period, or ``spacing · size``."""
        if self.torus is not None:
            return self.torus
        if self.group.period is not None:
            return self.group.period
        return tuple(s * n for s, n in zip(self.spacing, sizes, strict=True))

    def doubled_centre(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Returns twice the point about which the point group turns, in pixels."""
        if self.boundary == "zero":
            return tuple(round(2 * p) + s * (n - 1) for p, s, n in zip(self.origin, self.spacing, sizes, strict=True))
        on_lattice = self.lattice_group.is_lattice_centred
        return tuple(2 * (n // 2) if on_lattice else n - 1 for n in self.period(sizes))

    def acts(self, g: Element, shape: tuple[int, ...]) -> bool:
        """Tells whether the concrete element ``g`` maps the samples of arrays of this shape to each other."""
        if self._resamples:
            self._require_one(g)
            require_known(g)
            g = self.group.to_lattice(g)  # pyright: ignore[reportAttributeAccessIssue]
            return g is not None and self.on_lattice.acts(g, shape)
        sizes = self.sizes(shape)
        t, h = self._one(g)
        _, inside, acts = self._sources(np, sizes, t, h)
        return bool(acts) and (self.boundary == "wrap" or bool(inside.all()))

    def coarsen(self, strides: Any) -> "GridAction":
        """Returns the same action on the grid subsampled by ``strides`` (sample 0 stays)."""
        return self.resampled(strides, (0.0,) * self.ndim)

    def resampled(self, strides: Any, shift: tuple[float, ...], **changes: Any) -> "GridAction":
        """Returns the action on every ``strides``-th sample, counted from position ``shift`` (in samples).

        Other attributes, such as the fibre, can be changed at the same time.
        """
        strides = per_axis(strides, self.ndim, "strides")
        shift = _numbers(shift, self.ndim, "shift")
        origin = tuple(p + s * k for p, s, k in zip(self.origin, self.spacing, shift, strict=True))
        spacing = tuple(s * k for s, k in zip(self.spacing, strides, strict=True))
        return dataclasses.replace(self, spacing=spacing, origin=origin, **changes)

    def with_fibre(self, fibre: Representation) -> "GridAction":
        """Returns the action on fields over the same grid with another fibre."""
        return dataclasses.replace(self, fibre=fibre)

    def restrict(self, subgroup: Subgroup) -> "GridAction":
        """Returns the action of the translations and a subgroup of the point group."""
        require_is_subgroup(subgroup)
        fibre = self.fibre.restrict(subgroup)
        group: Any = self.group.with_point_group(fibre.group)
        if group.lattice_part.point_group.is_lattice_centred != self.lattice_group.is_lattice_centred:
            raise ValueError(
                f"`subgroup` {subgroup!r} would turn a torus about another point than the whole group does. Write the group "
                "in the basis of its lattice, PointGroup.from_matrices(generators, basis=HEXAGONAL)."
            )
        return dataclasses.replace(self, group=group, fibre=fibre)

    def on(self, shape: tuple[int, ...] = ()) -> FiniteAction:
        """Returns the action on a grid of the given sizes.

        With ``"wrap"`` the group becomes that of the torus, unless the torus is longer along one axis than along another
        that the group mixes with it: then the group stays infinite, and only some of its elements act.
        """
        sizes = per_axis(() if shape is None else shape, self.ndim, "shape")
        action = self
        if self.boundary == "wrap":
            torus = self.period(sizes)
            equal = all(len({torus[k] for k in block}) == 1 for block in self._mixed_axes)
            group: Any = self.group.on_torus(torus) if equal else self.group
            action = dataclasses.replace(self, group=group, torus=torus)
        return FiniteAction(action, (*sizes, *self.fibre.shape))

    def sources(self, g: Element, shape: tuple[int, ...]) -> np.ndarray:
        """Returns which entry moves to each entry, flat int ``(base · fibre,)``, for a concrete element; in numpy."""
        if self._resamples:
            if not self.acts(g, shape):
                raise ValueError(f"`g` does not map the samples of an array of shape {shape} to each other.")
            return self.on_lattice.sources(self.group.to_lattice(g), shape)  # pyright: ignore[reportAttributeAccessIssue]
        t, h = self._one(g)
        source, _, _ = self._sources(np, self.sizes(shape), t, h)
        back = self.fibre.sources(h)
        return (source[:, None] * self.fibre.dim + back[None, :]).reshape(-1)

    def __call__(self, g: Element, x: Any) -> jax.Array:
        """Returns ``g · x``.

        Args:
          g: one element, concrete or traced: t int ``(d,)`` for a ``Translation``, ``(t, h)`` for a ``SpaceGroup``.
          x: array ``(*batch, *sizes, fibre, features)`` of any dtype.

        Returns:
          Array of the same shape and dtype (floating where a fibre of matrices meets integers).

        Raises:
          ValueError: ``x`` has the wrong shape, or a concrete ``g`` does not map it to itself.
        """
        x = numeric(x, "x")
        sizes = self.sizes(x.shape)
        if self._resamples:
            return self._moved_in_space(g, x, sizes)
        self.require_acts(g, x.shape)
        t, h = self.group.split(g)
        t, h = integers(t, "g", (self.ndim,)), integers(h, "g")
        if t.shape != (self.ndim,) or h.shape != ():
            raise ValueError(
                f"`g` has shapes {t.shape} and {h.shape}; one element of {self.group!r} has a translation of shape "
                f"({self.ndim},). For many elements use jax.vmap(action, (0, None))(g, x)."
            )
        known = concrete((t, h)) is not None
        t, h = (t, h) if known else (jnp.asarray(t), jnp.asarray(h))
        source, inside, acts = self._sources(np if known else jnp, sizes, t, h)
        first = x.ndim - 1 - self._moved
        flat = x.reshape(*x.shape[:first], math.prod(sizes), *x.shape[first + self.ndim :])
        moved = jnp.take(flat, source, axis=first, mode="clip")
        if self.fibre.shape:
            moved = self.fibre.act(h, moved, axis=moved.ndim - 2)
        if self.boundary == "zero":
            inside = inside.reshape((-1,) + (1,) * (moved.ndim - first - 1))
            moved = jnp.where(jnp.broadcast_to(inside, moved.shape), moved, jnp.zeros((), moved.dtype))
        if not known:
            acts &= (h >= 0) & (h < self.point_group.order)
            moved = known_where(acts, moved)
        return moved.reshape(x.shape)

    def _moved_in_space(self, g: Element, x: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
        """Moves an array by an element of ``Motions``: sample by sample where the lattice has it, else resampled."""
        self._require_one(g)
        self.require_acts(g, x.shape)
        group: Any = self.group
        found = group.to_lattice(g)
        if found is not None:
            return self.on_lattice(found, x)
        t, h = group.split(g)
        wide = jnp.result_type(float)
        basis = jnp.asarray(group.basis, wide)
        spacing, origin = (jnp.asarray(row, wide)[None] for row in (self.spacing, self.origin))
        inverse = jnp.linalg.inv(basis)
        back = inverse @ jnp.swapaxes(jnp.asarray(group.point_group.matrix(h), wide), -1, -2) @ basis
        centre = jnp.asarray(self.doubled_centre(sizes), wide)[None] / 2
        shift = (inverse @ jnp.asarray(t, wide))[None]
        here = jnp.asarray(_samples(sizes), wide) * spacing + origin
        points = ((here - shift - centre) @ back.T + centre - origin) / spacing
        first = x.ndim - 1 - self._moved
        rows = jnp.moveaxis(x.reshape(math.prod(x.shape[:first]), *x.shape[first:]), 0, -1)
        values = resampled(rows.reshape(*sizes, -1), points, self.boundary).reshape(rows.shape)
        moved = jnp.moveaxis(values, -1, 0).reshape(x.shape)
        return self.fibre.act(h, moved, axis=moved.ndim - 2) if self.fibre.shape else moved

    def _require_one(self, g: Element) -> None:
        """Raises where ``g`` is no element of ``Motions``, or several."""
        batch = np.shape(self.group.split(g)[0])[:-1]
        if batch:
            raise ValueError(
                f"`g` has leading axes {batch}; this asks for one element of {self.group!r}. For many elements use "
                "jax.vmap(action, (0, None))(g, x)."
            )

    def require_acts(self, g: Element, shape: tuple[int, ...]) -> None:
        """Raises ``ValueError`` where a known element does not map arrays of this shape to themselves."""
        self.group.require_element(g)
        if self._resamples:
            found = self.group.to_lattice(g)  # pyright: ignore[reportAttributeAccessIssue]
            if found is not None:
                self.on_lattice.require_acts(found, shape)
            return
        known = concrete(self.group.split(g))
        if known is None or known[0].shape != (self.ndim,) or known[1].shape != ():
            return
        t, h = known
        sizes = self.sizes(shape)
        _, _, acts = self._sources(np, sizes, t, h)
        if not acts:
            raise ValueError(
                f"`g` = (t = {t.tolist()}, h = {int(h)}) does not map an array of shape {shape} with spacing {self.spacing} "
                f"and origin {self.origin} to itself. Use shifts by multiples of the spacing and sizes that are equal along "
                "the axes that the element mixes."
            )

    def _one(self, g: Element) -> tuple[np.ndarray, np.ndarray]:
        """The parts of one element that is known."""
        self.group.require_element(g)
        require_known(g)
        t, h = (np.asarray(part) for part in self.group.split(g))
        if t.ndim != 1 or h.ndim:
            raise ValueError(f"`g` has leading axes {t.shape[:-1]}; this asks for one element of {self.group!r}.")
        return t.astype(np.int32), h

    def _sources(self, xp: Any, sizes: tuple[int, ...], t: Any, h: Any) -> tuple[Any, Any, Any]:
        """Computes, in doubled integers, which sample moves to each sample.

        Returns:
          Flat index of the source of every sample, int ``(samples,)``; whether it lies inside the array, bool
          ``(samples,)``; whether the element maps the grid to itself, bool.
        """
        t, known = self._near(xp, sizes, t)
        backward, may_mix = _matrices(self.lattice_group, self._equal_sizes(sizes))
        back, fits = xp.asarray(backward)[h], xp.asarray(may_mix)[h]
        spacing, origin = (xp.asarray(row, np.int32)[None] for row in (self.spacing, np.rint(2 * np.array(self.origin))))
        centre = xp.asarray(self.doubled_centre(sizes), np.int32)[None]
        here = xp.asarray(_samples(sizes)) * (2 * spacing) + origin
        offset = turned(back, centre, here - 2 * t[None]) - origin
        if self.boundary == "wrap":
            offset = offset % (2 * xp.asarray(self.period(sizes), np.int32)[None])
        index, rest = offset // (2 * spacing), offset % (2 * spacing)
        length = xp.asarray(sizes, np.int32)[None]
        inside = ((index >= 0) & (index < length)).all(1)
        acts = known & fits & (rest == 0).all() & (inside.all() if self.boundary == "wrap" else True)
        place = xp.asarray(np.cumprod((1, *sizes[:0:-1]))[::-1].astype(np.int32))[None]
        return (index * place).sum(1), inside, acts

    def _near(self, xp: Any, sizes: tuple[int, ...], t: Any) -> tuple[Any, Any]:
        """Returns a short translation that moves the grid as ``t`` does, so that nothing wraps; and whether t is known."""
        known = (t != poison(np.int32)).all()
        if self.boundary == "wrap":
            return t % xp.asarray(self.period(sizes), np.int32), known
        steps = math.lcm(*self.spacing)
        longest = max(n * s for n, s in zip(sizes, self.spacing, strict=True))
        far = steps * math.ceil(4 * (max(map(abs, self.origin)) + longest))
        return xp.where(t > far, far + t % steps, xp.where(t < -far, t % steps - far, t)), known

    def _equal_sizes(self, sizes: tuple[int, ...]) -> tuple[tuple[bool, ...], ...]:
        lengths = list(zip(self.spacing, sizes, self.period(sizes), strict=True))
        return tuple(tuple(a == b for b in lengths) for a in lengths)

    @property
    def _mixed_axes(self) -> tuple[tuple[int, ...], ...]:
        return self.lattice_group.mixed_axes


def turned(matrix: Any, centre: Any, points: Any) -> Any:
    """Returns ``h(p - c) + c``, points turned about a centre: the geometry of grids, in any unit.

    Args:
      matrix: of h, int ``(d, d)``.
      centre: int ``(d,)``, or ``(1, d)`` for traced arrays.
      points: int ``(…, d)``.
    """
    return (points - centre) @ matrix.T + centre


def _positions(value: Any, ndim: int, name: str) -> tuple[float, ...]:
    """Returns one multiple of ½ for each axis; a number stands for all."""
    values = _numbers(value, ndim, name)
    for v in values:
        if 2 * v != np.rint(2 * v):
            raise ValueError(f"`{name}` holds {v!r}; positions are multiples of ½ pixel.")
    return values


def _numbers(value: Any, ndim: int, name: str) -> tuple[float, ...]:
    """Returns one finite number for each axis; a number stands for all."""
    several = isinstance(value, (tuple, list)) or getattr(value, "ndim", 0) == 1
    values = tuple(value) if several else (value,) * ndim
    if len(values) != ndim:
        raise ValueError(f"`{name}` is {shown(value)}; give one number for each of the {ndim} grid axes.")
    return tuple(float(real_number(v, name, -(2.0**24), 2.0**24)) for v in values)


@bounded
def _open(action: GridAction) -> GridAction:
    return GridAction(action.group.open, action.fibre)  # pyright: ignore[reportArgumentType]


@bounded
def _samples(sizes: tuple[int, ...]) -> np.ndarray:
    return np.indices(sizes, np.int32).reshape(len(sizes), -1).T.copy()


@bounded
def _matrices(point_group: PointGroup, equal: tuple[tuple[bool, ...], ...]) -> tuple[np.ndarray, np.ndarray]:
    """Inverse matrices, int32 ``(order, d, d)``, and which elements mix only axes of equal sizes, bool ``(order,)``."""
    matrices = point_group.integer_matrices
    mixes_unequal = (matrices != 0) & ~np.array(equal)[None]
    return matrices[point_group.inverses], ~mixes_unequal.any((1, 2))
