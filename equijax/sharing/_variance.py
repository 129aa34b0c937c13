"""Scaling a basis of maps so that outputs have variance 1 under every initialiser of Flax."""

import numpy as np

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
    if not basis.size:
        return basis
    maps = basis.reshape(len(basis), basis.shape[1], -1, basis.shape[-1])
    if in_form is None or out_form is None:
        variance = np.einsum("kowi,kowi->o", maps, maps) / len(maps)
        reached = variance > _NULL * variance.max()
        return (maps / np.sqrt(variance[reached].mean())).reshape(basis.shape)
    into, out = _root(in_form), _root(out_form)
    maps = np.einsum("po,kowi,ij->kpwj", out, maps, np.linalg.inv(into), optimize=True)
    values, vectors = np.linalg.eigh(np.einsum("kowi,kpwi->op", maps, maps, optimize=True) / len(maps))
    kept = values > _NULL * values[-1]
    power = (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
    maps = np.einsum("po,kowi,ij->kpwj", np.linalg.inv(out) @ power, maps, into, optimize=True)
    size = np.abs(maps).max((0, 2, 3))
    maps[:, size < _NULL * size.max()] = 0
    return maps.reshape(basis.shape)


def _root(form: np.ndarray) -> np.ndarray:
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(form)
    return (vectors * np.sqrt(values)) @ vectors.T
