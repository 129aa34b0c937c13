"""Scaling a basis of maps so that outputs have variance 1 under every initialiser of Flax."""

import math
from collections.abc import Sequence

import numpy as np

from equijax.groups._elements import known_reals

_NULL = 1e-9


def normalised(basis: np.ndarray, in_form: np.ndarray | None, out_form: np.ndarray | None) -> np.ndarray:
    r"""Returns a basis of the same space under which an initialiser called with ``(count, in, out)`` sees the true fan-in.

    In orthonormal coordinates of invariant inner products :math:`D = \frac1r \sum_k W_k W_k^T` commutes with the group,
    and is the variance of the outputs. With :math:`D^{-1/2} W_k` it becomes 1 where the input reaches the output, and
    stays 0 elsewhere: null directions of D are left out, and the rows of coordinates that nothing reaches are 0 exactly.
    Without an inner product D commutes with nothing, so that the whole basis is divided by one number: the variance is 1
    on average over the coordinates that are reached.

    Args:
      basis: linearly independent maps, float64 ``(count, output points, [window], input points)``.
      in_form: invariant inner product of the input, float64 ``(in, in)``, or None where there is none.
      out_form: that of the output.

    Returns:
      float64 array of the shape of ``basis``.
    """
    basis = known_reals(basis, "basis")
    if basis.ndim < 3 or not basis.size or not np.isfinite(basis).all():
        raise ValueError(
            f"`basis` has shape {basis.shape}; it must hold finite maps, (count, output points, …, input points)."
        )
    in_form, out_form = _form(in_form, "in_form", basis.shape[-1]), _form(out_form, "out_form", basis.shape[1])
    return normalised_parts([[basis]], [1], [1], [in_form], [out_form])[0][0]


def _form(value: object, name: str, size: int) -> np.ndarray | None:
    if value is None:
        return None
    form = known_reals(value, name)
    if form.shape != (size, size) or not np.isfinite(form).all() or np.linalg.eigvalsh(form).min() <= 0:
        raise ValueError(
            f"`{name}` has shape {form.shape}; as `basis` is, it must be a symmetric positive matrix, ({size}, {size})."
        )
    return form


def normalised_parts(
    bases: Sequence[Sequence[np.ndarray]],
    out_copies: Sequence[int],
    in_copies: Sequence[int],
    in_forms: Sequence[np.ndarray | None],
    out_forms: Sequence[np.ndarray | None],
) -> list[list[np.ndarray]]:
    """Returns :func:`normalised` of the maps between sums of parts, for which D is block diagonal.

    Args:
      bases: for each part of the output and each of the input the maps between them, ``(rank, out, [window], in)``.
      out_copies: how often each part of the output occurs.
      in_copies: how often each part of the input occurs.
      in_forms: invariant inner product of each part of the input, or None.
      out_forms: that of each part of the output.
    """
    flat = [
        [maps.reshape(len(maps), maps.shape[1], math.prod(maps.shape[2:-1]), maps.shape[-1]) for maps in row]
        for row in bases
    ]
    count = sum(m * n * len(b) for m, row in zip(out_copies, flat, strict=True) for n, b in zip(in_copies, row, strict=True))
    if any(form is None for form in (*in_forms, *out_forms)):
        scaled = _by_one_number(flat, out_copies, in_copies, count)
    else:
        roots = [_root(form) for form in in_forms]  # type: ignore[arg-type]
        scaled = [_by_variance(row, in_copies, roots, _root(form), count) for row, form in zip(flat, out_forms, strict=True)]  # type: ignore[arg-type]
    return [
        [maps.reshape(old.shape) for maps, old in zip(new, row, strict=True)] for new, row in zip(scaled, bases, strict=True)
    ]


def _by_variance(
    row: Sequence[np.ndarray], copies: Sequence[int], in_roots: Sequence[np.ndarray], out_root: np.ndarray, count: int
) -> list[np.ndarray]:
    """The maps to one part of the output, each ``(rank, out, window, in)``, times D^-1/2."""
    straight = [
        np.einsum("po,kowi,ij->kpwj", out_root, maps, np.linalg.inv(root), optimize=True)
        for maps, root in zip(row, in_roots, strict=True)
    ]
    total = sum(n * np.einsum("kowi,kpwi->op", maps, maps, optimize=True) for n, maps in zip(copies, straight, strict=True))
    values, vectors = np.linalg.eigh(total / max(count, 1))
    kept = values > _NULL * values[-1]
    power = np.linalg.inv(out_root) @ (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
    scaled = [
        np.einsum("po,kowi,ij->kpwj", power, maps, root, optimize=True)
        for maps, root in zip(straight, in_roots, strict=True)
    ]
    size = np.max([np.abs(maps).max((0, 2, 3), initial=0.0) for maps in scaled], axis=0)
    for maps in scaled:
        maps[:, size <= _NULL * size.max()] = 0
    return scaled


def _by_one_number(
    flat: Sequence[Sequence[np.ndarray]], out_copies: Sequence[int], in_copies: Sequence[int], count: int
) -> list[list[np.ndarray]]:
    """All maps divided by one number, so that the mean variance over the coordinates that are reached is 1."""
    variance = np.concatenate(
        [
            np.tile(sum(n * np.einsum("kowi,kowi->o", maps, maps) for n, maps in zip(in_copies, row, strict=True)), copies)
            for copies, row in zip(out_copies, flat, strict=True)
        ]
    ) / max(count, 1)
    reached = variance > _NULL * variance.max()
    scale = np.sqrt(variance[reached].mean()) if reached.any() else 1.0
    return [[maps / scale for maps in row] for row in flat]


def _root(form: np.ndarray) -> np.ndarray:
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(form)
    return (vectors * np.sqrt(values)) @ vectors.T
