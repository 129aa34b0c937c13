"""Any function made equivariant: averages over a group, and canonical forms."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import function, shown
from equijax._numbers import positive_int
from equijax.actions import Action
from equijax.actions._acting import require_elements
from equijax.groups import Group
from equijax.groups._group import Element, require_is_group
from equijax.nn._given import checked

#: Groups up to this order are averaged over without being asked.
LARGEST = 1024


@checked
class Symmetrize(nnx.Module):
    r"""Makes any function equivariant by averaging over a group.

    .. math:: \bar f(x) = \frac{1}{|G|} \sum_g ρ_{out}(g)^{-1} f(ρ_{in}(g) x)

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g of the group that is averaged over. With
    ``samples`` it holds on average only.

    Args:
      fn: the function; a module, or anything that can be called.
      group: the group. Of a ``SpaceGroup`` the point group is averaged over (most functions commute with translations
        already), of translations and other groups name the ``elements``.
      in_action: action on the input.
      out_action: action on the output; ``TrivialAction(group)`` for invariant functions.
      elements: elements that form a group, stacked along a leading axis; None is the whole (point) group.
      samples: number of elements drawn at every call, which then needs a ``key``; None averages over all.

    Raises:
      ValueError: the group is infinite, or has more than 1024 elements, and neither ``elements`` nor ``samples`` is given.

    References:
      Murphy et al., "Janossy pooling", ICLR 2019 (permutations); Yarotsky, "Universal approximations of invariant maps by
      neural networks", 2018, section 2.

    Example: the first pixel, made invariant under quarter turns, is the mean of the corners.
      >>> import equijax as ej, jax.numpy as jnp
      >>> group = ej.wallpaper("p4")
      >>> corner = lambda x: x[..., 0, 0, :]
      >>> layer = ej.nn.Symmetrize(corner, group, ej.GridAction(group), ej.TrivialAction(group))
      >>> layer(jnp.asarray([[1.0, 2.0], [3.0, 6.0]])[..., None]).tolist()
      [3.0]
    """

    def __init__(
        self,
        fn: Callable[[Any], Any],
        group: Group,
        in_action: Action,
        out_action: Action,
        *,
        elements: Element | None = None,
        samples: int | None = None,
    ):
        function(fn, "fn", "a module or function of one argument")
        require_is_group(group, "group")
        for name, action in (("in_action", in_action), ("out_action", out_action)):
            if getattr(action, "group", None) != group:
                raise ValueError(f"`{name}` is {shown(action)}; it must be an action of `group` {group!r}.")
        samples = None if samples is None else positive_int(samples, "samples")
        if elements is not None:
            require_elements(group, elements)
        self.fn = fn
        self.group, self.in_action, self.out_action, self.samples = group, in_action, out_action, samples
        self.listed = None if samples is not None else _Listed(_all_elements(group) if elements is None else elements)

    def __call__(self, x: Any, *, key: jax.Array | None = None) -> Any:
        """Returns the average.

        Args:
          x: what ``in_action`` moves.
          key: for the random elements; needed where ``samples`` was given.
        """
        if self.listed is None:
            if key is None:
                raise ValueError("`key` is None, but the layer draws random elements. Pass key=jax.random.key(...).")
            drawn = self.group.sample(key, (self.samples or 1,))
            elements = [jax.tree.map(lambda leaf, i=i: leaf[i], drawn) for i in range(self.samples or 1)]
        else:
            elements = self.listed.each()
        total = None
        for g in elements:
            moved = self.out_action(self.group.inverse(g), self.fn(self.in_action(g, x)))
            total = moved if total is None else jax.tree.map(jnp.add, total, moved)
        return jax.tree.map(lambda leaf: leaf / np.array(len(elements), leaf.dtype), total)


class _Listed:
    """Elements as a static attribute of a module: compared by value."""

    def __init__(self, elements: Element):
        leaves, self.structure = jax.tree.flatten(elements)
        self.leaves = tuple(np.asarray(leaf) for leaf in leaves)
        self.key = (self.structure, tuple((leaf.shape, leaf.tobytes()) for leaf in self.leaves))

    def each(self) -> list[Element]:
        """Returns the elements one by one."""
        return [jax.tree.unflatten(self.structure, [leaf[i] for leaf in self.leaves]) for i in range(len(self.leaves[0]))]

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, _Listed) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"{len(self.leaves[0])} elements"


def _all_elements(group: Group) -> Element:
    with jax.ensure_compile_time_eval():
        return group.averaged_elements(LARGEST)


def canonicalize(
    x: Any, action: Action, score: Callable[[Any], jax.Array], elements: Element | None = None
) -> tuple[Any, Element]:
    r"""Moves an input to its canonical place, and tells from where.

    .. math:: g^* = \operatorname{argmax}_g\; q(g^{-1} · x), \qquad x_{can} = g^{*-1} · x

    Law: ``canonicalize(h·x)`` is ``(x_can, h g*)``, if the largest score is not shared: so ``f(x_can)`` is invariant for any
    f, and ``out_action(g*, f(x_can))`` equivariant. It jumps where the winner changes.

    Args:
      x: one sample (``jax.vmap`` over a batch): array or pytree that ``action`` moves.
      action: the action of a finite group, or of a group with ``elements``.
      score: function that gives one number for each moved input, such as a small network.
      elements: elements that form a group, stacked along a leading axis; None is the whole (point) group.

    Returns:
      The canonical input, and g*, so that ``action(g*, x_can) == x``. The first winner is taken where several are equal.

    References:
      Kaba et al., "Equivariance with learned canonicalization functions", ICML 2023.

    Example: images are turned until the top left corner is the brightest one.
      >>> import equijax as ej, jax.numpy as jnp
      >>> act = ej.GridAction(ej.wallpaper("p4"))
      >>> x = jnp.asarray([[1.0, 2.0], [3.0, 6.0]])[..., None]
      >>> upright, g = ej.nn.canonicalize(x, act, lambda x: x[0, 0, 0])
      >>> upright[..., 0].tolist(), bool((act(g, upright) == x).all())
      ([[6.0, 3.0], [2.0, 1.0]], True)
    """
    group = action.group
    listed = _all_elements(group) if elements is None else elements
    listed = jax.tree.map(jnp.asarray, listed)
    moved = jax.vmap(lambda g: action(group.inverse(g), x))(listed)
    best = jnp.argmax(jax.vmap(score)(moved))
    take = lambda leaf: leaf[best]  # noqa: E731
    return jax.tree.map(take, moved), jax.tree.map(take, listed)


def pca_frames(points: jax.Array, *, special: bool = False) -> tuple[jax.Array, jax.Array]:
    r"""Returns the frames of a point cloud: its principal axes with all signs, and its centre.

    .. math:: F(X) = \{ (±u_1, …, ±u_d) \}, \qquad F(XR^T + t) = R F(X)

    The eigenvalues of the covariance have to differ; where two are equal, the axes between them are arbitrary.

    Args:
      points: ``(*batch, n, d)``.
      special: keep the frames with determinant 1 only (rotations, SO(d)); False is O(d).

    Returns:
      Frames ``(2^d or 2^(d-1), *batch, d, d)`` whose columns are the axes, and the centre ``(*batch, 1, d)``.

    References:
      Puny et al., "Frame averaging for invariant and equivariant network design", ICLR 2022, section 3.1.

    Example:
      >>> import equijax as ej, jax
      >>> frames, centre = ej.nn.pca_frames(jax.random.normal(jax.random.key(0), (7, 3)))
      >>> frames.shape, centre.shape
      ((8, 3, 3), (1, 3))
    """
    if points.ndim < 2:
        raise ValueError(f"`points` has shape {points.shape}; a cloud of n points in d dimensions is (*batch, n, d).")
    d = points.shape[-1]
    centre = points.mean(-2, keepdims=True)
    offset = points - jnp.broadcast_to(centre, points.shape)
    covariance = jnp.einsum("...ni,...nj->...ij", offset, offset)
    _, axes = jnp.linalg.eigh(covariance)
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=d)))
    every = jnp.asarray(signs, points.dtype).reshape(len(signs), *(1,) * (axes.ndim - 1), d)
    shape = (len(signs), *axes.shape)
    frames = jnp.broadcast_to(axes[None], shape) * jnp.broadcast_to(every, shape)
    if not special:
        return frames, centre
    flips = jnp.asarray(signs.prod(-1)).reshape(-1, *(1,) * (axes.ndim - 2))
    positive = jnp.broadcast_to(flips, frames.shape[:-2]).astype(points.dtype) * jnp.linalg.det(axes)[None] > 0
    order = jnp.argsort(~positive, axis=0, stable=True)[: len(signs) // 2]
    return jnp.take_along_axis(frames, order[..., None, None], axis=0), centre


def frame_average(
    fn: Callable[[jax.Array], jax.Array], points: jax.Array, *, output: str = "scalars", special: bool = False
) -> jax.Array:
    r"""Makes a function of a point cloud equivariant under motions, by averaging over the frames of :func:`pca_frames`.

    .. math:: \bar f(X) = \frac{1}{|F|} \sum_{U ∈ F(X)} U f\big((X - \bar X) U\big)

    Law: for ``X' = X Rᵀ + t`` scalars stay, vectors turn with R, points turn and move.

    Args:
      fn: function of ``(*batch, n, d)``; for vectors and points its last axis has length d.
      points: ``(*batch, n, d)``.
      output: ``"scalars"``, ``"vectors"`` or ``"points"``.
      special: rotations only, not reflections.

    Example: the largest coordinate becomes an invariant.
      >>> import equijax as ej, jax.numpy as jnp
      >>> x = jnp.asarray([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
      >>> largest = lambda x: x.max((-2, -1))
      >>> turned = jnp.stack([-x[:, 1], x[:, 0]], -1) + 7.0
      >>> values = [ej.nn.frame_average(largest, cloud) for cloud in (x, turned)]
      >>> bool(jnp.allclose(*values, atol=1e-5))
      True
    """
    if output not in ("scalars", "vectors", "points"):
        raise ValueError(f"`output` is {output!r}; it must be 'scalars', 'vectors' or 'points'.")
    frames, centre = pca_frames(points, special=special)
    offset = points - jnp.broadcast_to(centre, points.shape)
    total = None
    for frame in frames:
        value = fn(jnp.einsum("...ni,...ij->...nj", offset, frame))
        if output != "scalars":
            value = jnp.einsum("...ij,...nj->...ni", frame, value)
        total = value if total is None else total + value
    mean = jnp.asarray(total) / np.array(len(frames), jnp.asarray(total).dtype)
    return mean + jnp.broadcast_to(centre, mean.shape) if output == "points" else mean
