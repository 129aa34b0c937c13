"""Any function made equivariant: averages over a group, and canonical forms; over frames in ``_frames.py``."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from equijax._arguments import function, shown
from equijax._dtypes import widened
from equijax._numbers import positive_int
from equijax.actions import Action
from equijax.actions._acting import require_elements, require_stacked
from equijax.actions._action import require_action
from equijax.groups import Group
from equijax.groups._elements import known_where
from equijax.groups._group import Element, require_is_group
from equijax.nn._given import checked
from equijax.nn._listed import Listed, is_closed, listed_or_none, no_group, require_closed
from equijax.nn._returned import require_returned, require_scores

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
      TypeError: ``fn`` can't be called, or returns no arrays.
      ValueError: the group is infinite, or has more than 1024 elements, and neither ``elements`` nor ``samples`` is given;
        ``elements`` is empty, or they form no group as they act (shifts of a torus modulo its periods, which only the
        input tells); ``fn`` returns a shape that ``out_action`` does not move.

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
        if elements is not None:
            require_elements(group, elements)
        self.fn = fn
        self.group, self.in_action, self.out_action = group, in_action, out_action
        self.samples = None if samples is None else positive_int(samples, "samples")
        self.listed = None if samples is not None else Listed(_all_elements(group) if elements is None else elements)
        self._closed = self.listed is None or elements is None or is_closed(group, self.listed)
        if not self._closed and not _may_wrap(group):
            raise no_group(self.listed, group, "in_action")  # pyright: ignore[reportArgumentType]

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
        if not self._closed:
            require_closed(self.listed, self.in_action, x, "in_action")  # pyright: ignore[reportArgumentType]
        total, value = None, None
        for g in elements:
            value = self._require_arrays(self.fn(self.in_action(g, x)))
            if total is None and not self._closed:
                require_closed(self.listed, self.out_action, value, "out_action")  # pyright: ignore[reportArgumentType]
            moved = jax.tree.map(lambda leaf: widened(leaf)[0], self._moved_back(g, value))
            total = moved if total is None else jax.tree.map(jnp.add, total, moved)
        count = len(elements)
        return jax.tree.map(lambda sum, leaf: (sum / np.array(count, sum.dtype)).astype(widened(leaf)[1]), total, value)

    def _require_arrays(self, value: Any) -> Any:
        for path, leaf in jax.tree.leaves_with_path(value):
            require_returned(leaf, jnp.shape(leaf), f"fn(…){jax.tree_util.keystr(path)}", "arrays that `out_action` moves")
        return value

    def _moved_back(self, g: Element, value: Any) -> Any:
        try:
            return self.out_action(self.group.inverse(g), value)
        except ValueError as error:
            shapes = jax.tree.map(jnp.shape, value)
            raise ValueError(f"`fn` returned shape {shapes}, which `out_action` can't move. {error}") from error


def _may_wrap(group: Group) -> bool:
    """Tells whether elements that are no group may act as one on a torus, whose periods only the input tells."""
    return group.order == math.inf and (bool(group.grid_ndim) or group.factors is not None)


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

    Raises:
      TypeError: ``action`` is none, or ``score`` no function or returns no real number.
      ValueError: ``score`` returns an array with axes; ``elements`` is empty, or known and no group as they act.

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
    require_action(action, "action", "it must be an Action, for example GridAction(group)")
    function(score, "score", "a function of what `action` moves")
    group = action.group
    if elements is not None:
        require_stacked(group, elements)
    listed = _all_elements(group) if elements is None else elements
    known = None if elements is None else listed_or_none(elements)
    if known is not None and not is_closed(group, known):
        require_closed(known, action, x, "action")
    listed = jax.tree.map(jnp.asarray, listed, is_leaf=lambda leaf: isinstance(leaf, list))
    moved = jax.vmap(lambda g: action(group.inverse(g), x))(listed)
    scores = jax.vmap(lambda x: require_scores(score(x), (), "score"))(moved)
    best, scored = jnp.argmax(scores), (scores == scores).all()
    upright, g = jax.tree.map(lambda leaf: leaf[best], (moved, listed))
    return jax.tree.map(lambda leaf: known_where(scored, leaf), upright), g
