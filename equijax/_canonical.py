"""One basis of a subspace that is the same on every machine."""

import numpy as np

_TIE = 1e-6


def canonical_basis(vectors: np.ndarray, rank: int | None = None) -> np.ndarray:
    r"""Chooses an orthonormal basis of a subspace that depends on the subspace alone.

    An eigensolver returns some basis of a degenerate space; which one depends on the machine. The orthogonal projector
    :math:`P = V V^T` does not. Its columns are taken greedily: the longest residual first, where lengths whose squares
    agree to 1e-6 tie and the smallest index wins, then Gram–Schmidt; the entry at the pivot is positive. Only the rows of
    V are needed, since column j of P is V times row j of V.

    Args:
      vectors: orthonormal columns V that span the subspace, float64 ``(n, r)``, or its projector, ``(n, n)``.
      rank: the dimension of the subspace; None for the number of columns. A projector needs it.

    Returns:
      Orthonormal columns, float64 ``(n, rank)``.

    Example: the plane x + y + z = 0, from two bases of it.
      >>> import numpy as np
      >>> one, _ = np.linalg.qr(np.array([[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]]))
      >>> bool(np.allclose(canonical_basis(one), canonical_basis(one[:, ::-1])))
      True
      >>> (canonical_basis(np.eye(3) - np.full((3, 3), 1 / 3), rank=2).round(3) + 0.0).tolist()
      [[0.816, 0.0], [-0.408, 0.707], [-0.408, -0.707]]
    """
    n, columns = vectors.shape
    rank = int(columns) if rank is None else rank
    directions = np.zeros((columns, rank))
    lengths = np.einsum("ij,ij->i", vectors, vectors)
    basis = np.zeros((n, rank))
    for k in range(rank):
        pivot = int(np.argmax(lengths >= lengths.max() * (1 - _TIE)))
        chosen = directions[:, :k]
        direction = vectors[pivot] - chosen @ basis[pivot, :k]
        direction = direction - chosen @ (chosen.T @ direction)
        direction /= np.linalg.norm(direction)
        directions[:, k] = direction
        basis[:, k] = vectors @ direction
        lengths = lengths - basis[:, k] ** 2
    return basis
