"""Subsampling a function on a finite group to one coset, which the data choose, and back."""

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arguments import real_number
from equijax._dtypes import unit_for_powers, widened
from equijax.groups import Subgroup
from equijax.groups._elements import known_where, numeric
from equijax.groups._subgroup import require_is_subgroup
from equijax.nn._choices import require_numbers
from equijax.nn._phases import sorted_sum


def coset_subsample(
    x: jax.Array, subgroup: Subgroup, coset: jax.Array | None = None, *, order: float = 2
) -> tuple[jax.Array, jax.Array]:
    r"""Keeps a function on a group on the left coset where it is largest.

    .. math:: p = \operatorname{argmax}_{gK} \sum_{k ∈ K} |f(gk)|^q, \qquad y(k) = f(s(p)\, k)

    Here s(p) is the smallest element of the coset p. Polyphase sampling is the case G = Z_n, K = s Z_n.

    Law: ``(p, y)`` moves with ``u``: p goes to ``u p``, and y to ``κ · y`` with ``κ = s(u p)⁻¹ u s(p)`` in K.

    Args:
      x: ``(*batch, |G|, features)``.
      subgroup: K.
      coset: a choice that was made before, int ``(*batch,)``; None makes one for each sample. The first of equal cosets is
        taken: a function that an element outside K leaves alone has no coset of its own. A number that is out of range is
        an error where it is known; where it is traced, the sample is marked as in :func:`polyphase_downsample`.
      order: the power q.

    Returns:
      ``(*batch, |K|, features)``, elements of K in increasing order; and the coset's number, int32 ``(*batch,)``.

    Raises:
      TypeError: ``x`` is no array of numbers, ``subgroup`` none, or ``coset`` no integers.
      ValueError: the axis -2 is not a function on the group, or ``coset`` has another shape or is out of range.

    References:
      Xu et al., "Group equivariant subsampling", NeurIPS 2021, section 4.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> even = ej.Cyclic(4).subgroup([2])
      >>> y, p = ej.nn.coset_subsample(jnp.asarray([[0.0], [5.0], [1.0], [6.0]]), even)
      >>> y[:, 0].tolist(), int(p)
      ([5.0, 6.0], 1)
    """
    require_is_subgroup(subgroup)
    x, order = numeric(x, "x"), real_number(order, "order", positive=True)
    group = subgroup.group
    if x.ndim < 2 or x.shape[-2] != group.order:
        raise ValueError(
            f"`x` has shape {x.shape}; subsampling to cosets of {subgroup!r} needs functions on the group, "
            f"(*batch, {group.order}, features)."
        )
    given = None
    if coset is not None:
        coset, given = _known(subgroup, coset, x.shape[:-2], "x")
    else:
        sizes = jnp.abs(widened(x)[0])
        unit = unit_for_powers(sizes.max((-2, -1), keepdims=True, initial=0), order)
        terms = ((sizes / jnp.broadcast_to(unit, sizes.shape)) ** order).sum(-1)
        own = jnp.take(terms, jnp.asarray(subgroup.cosets), axis=-1)
        coset = jnp.argmax(sorted_sum(own, 1), axis=-1).astype(jnp.int32)
    places = jnp.take(jnp.asarray(_places(subgroup)), coset, axis=0, mode="clip")
    kept = jnp.take_along_axis(x, places[..., None], axis=-2, mode="clip")
    return kept if given is None else known_where(given, kept), coset


def coset_unpool(y: jax.Array, subgroup: Subgroup, coset: jax.Array) -> jax.Array:
    r"""Puts a function on a subgroup back on the coset it came from, zeros elsewhere.

    .. math:: f(g) = y(s(p)^{-1} g) \text{ for } g ∈ s(p) K, \quad 0 \text{ elsewhere}

    Law: down and up with the same coset commute with every element of the group.

    Args:
      y: ``(*batch, |K|, features)``.
      subgroup: K.
      coset: int ``(*batch,)``, from :func:`coset_subsample`; out of range it is treated as there.

    Returns:
      ``(*batch, |G|, features)``.

    Example:
      >>> import equijax as ej, jax.numpy as jnp
      >>> even = ej.Cyclic(4).subgroup([2])
      >>> ej.nn.coset_unpool(jnp.asarray([[5.0], [6.0]]), even, jnp.int32(1))[:, 0].tolist()
      [0.0, 5.0, 0.0, 6.0]
    """
    require_is_subgroup(subgroup)
    y = numeric(y, "y")
    if y.ndim < 2 or y.shape[-2] != subgroup.order:
        raise ValueError(f"`y` has shape {y.shape}; a function on {subgroup!r} is (*batch, {subgroup.order}, features).")
    places = _places(subgroup)
    back = np.full((len(places), subgroup.group.order), -1, np.int32)
    for p, row in enumerate(places):
        back[p, row] = np.arange(len(row))
    coset, known = _known(subgroup, coset, y.shape[:-2], "y")
    index = jnp.take(jnp.asarray(back), coset, axis=0, mode="clip")[..., None]
    taken = jnp.take_along_axis(y, jnp.maximum(index, 0), axis=-2, mode="clip")
    return known_where(known, jnp.where(jnp.broadcast_to(index >= 0, taken.shape), taken, jnp.zeros((), y.dtype)))


def _known(subgroup: Subgroup, coset: jax.Array, batch: tuple[int, ...], of: str) -> tuple[jax.Array, jax.Array]:
    """Returns the cosets, and whether there is that of every sample, bool ``(*batch,)``, after checking what is known."""
    count = len(subgroup.cosets)
    numbers = require_numbers(coset, np.array(count, np.int32), "coset")
    if numbers.shape != batch:
        raise ValueError(f"`coset` has shape {numbers.shape}; with `{of}` it must have one number for each sample, {batch}.")
    return numbers, (numbers >= 0) & (numbers < count)


def _places(subgroup: Subgroup) -> np.ndarray:
    """Returns s(p) k for every coset p and element k, int32 ``(cosets, |K|)``."""
    first = np.asarray(subgroup.cosets)[:, 0]
    return np.asarray(subgroup.group.table)[first[:, None], np.asarray(subgroup.elements)[None, :]].astype(np.int32)
