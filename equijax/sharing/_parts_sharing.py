"""Sharing between sums of parts: a small basis for each pair of parts, repeated over their copies."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equijax._arrays import digest, read_only
from equijax.reps import Representation
from equijax.sharing._basis_sharing import BasisSharing
from equijax.sharing._inner_product import invariant_form_of
from equijax.sharing._sharing import flat_weight, require_rows
from equijax.sharing._variance import normalised_parts


class PartsSharing(BasisSharing):
    r"""The sharing between two sums of representations: W has a block for each pair of parts.

    .. math:: W_{(m, o), (n, i)} = \sum_k B^{pq}_k[o, i] \; θ_{m, n, k}

    Here m counts the copies of part p of the output, n those of part q of the input. The maps are those of
    :class:`BasisSharing`, in the order of ``intertwiners``, and the zeros around the blocks are not stored.

    Args:
      bases: for each part of the output and each of the input the maps between them, ``(rank, out, [window], in)``.
      out_copies: how often each part of the output occurs, one after another.
      in_copies: how often each part of the input occurs.
      out_invariants: basis of the outputs that nothing moves, float ``(k, output points)``.
    """

    def __init__(
        self,
        bases: Sequence[Sequence[np.ndarray]],
        out_copies: Sequence[int],
        in_copies: Sequence[int],
        out_invariants: np.ndarray,
    ):
        self._bases = tuple(tuple(read_only(np.array(maps, np.float64)) for maps in row) for row in bases)
        self._copies = tuple(out_copies), tuple(in_copies)
        self._out_invariants = read_only(np.array(out_invariants, np.float64))
        window = self._bases[0][0].shape[2:-1]
        out = sum(m * row[0].shape[1] for m, row in zip(out_copies, self._bases, strict=True))
        into = sum(n * maps.shape[-1] for n, maps in zip(in_copies, self._bases[0], strict=True))
        self._shape = (out, *window, into)
        self._count = sum(m * self._row_size(row) for m, row in zip(out_copies, self._bases, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one map, ``(output points, [window], input points)``."""
        return self._shape

    @property
    def count(self) -> int:
        """Number of maps."""
        return self._count

    @property
    def basis(self) -> np.ndarray:
        """The maps with their zeros, float64 ``(count, *shape)``; made when asked for."""
        return np.moveaxis(self._write(np, np.eye(self.count)), -1, 0)

    @property
    def out_invariants(self) -> np.ndarray:
        """Basis of the outputs that nothing moves, float64 ``(k, output points)``. Read-only."""
        return self._out_invariants

    @property
    def reached(self) -> int:
        """Dimension of the outputs that the maps reach."""
        ranks = [np.linalg.matrix_rank(np.concatenate([_rows(maps) for maps in row], axis=1)) for row in self._bases]
        return sum(m * int(rank) for m, rank in zip(self._copies[0], ranks, strict=True))

    def weights(self, theta: jax.Array, axes: tuple[int, ...] | None = None) -> jax.Array:
        """Multiplies the maps with their weights block by block, in 32 bits at least."""
        require_rows(theta, self.count)
        real = jnp.issubdtype(theta.dtype, jnp.inexact)
        wide = theta.dtype if real and jnp.finfo(theta.dtype).bits >= 32 else jnp.float32
        flat = self._write(jnp, theta.astype(wide).reshape(self.count, math.prod(theta.shape[1:])), precision="highest")
        full = flat.reshape(*self.shape, *theta.shape[1:])
        if axes is not None:
            full = jnp.transpose(full, (*axes, *range(len(self.shape), full.ndim)))
        return full.astype(theta.dtype) if real else full

    def _write(self, xp: Any, theta: Any, **options: Any) -> Any:
        """The map ``(*shape, features)`` of weights ``(count, features)``, in numpy or jax."""
        rows, first = [], 0
        for m, row in zip(self._copies[0], self._bases, strict=True):
            size = self._row_size(row)
            chunk = theta[first : first + m * size].reshape(m, size, theta.shape[1])
            first, start, blocks = first + m * size, 0, []
            for n, maps in zip(self._copies[1], row, strict=True):
                rank, out, *window, into = maps.shape
                part = chunk[:, start : start + n * rank].reshape(m, n, rank, theta.shape[1])
                start += n * rank
                maps = xp.asarray(maps.reshape(rank, out, math.prod(window), into).astype(theta.dtype))
                block = xp.einsum("mnkf,kowi->mownif", part, maps, **options)
                blocks.append(block.reshape(m * out, math.prod(window), n * into, theta.shape[1]))
            rows.append(xp.concatenate(blocks, axis=2))
        return xp.concatenate(rows, axis=0).reshape(*self.shape, theta.shape[1])

    def project(self, weight: np.ndarray) -> np.ndarray:
        """Returns the nearest map in the span of the maps; float64."""
        out, *window, into = self.shape
        nearest = flat_weight(weight, self.shape).reshape(out, math.prod(window), into, -1).copy()
        row_start = 0
        for m, row in zip(self._copies[0], self._bases, strict=True):
            start, rows = 0, slice(row_start, row_start + m * row[0].shape[1])
            row_start = rows.stop
            for n, maps in zip(self._copies[1], row, strict=True):
                columns = slice(start, start + n * maps.shape[-1])
                start = columns.stop
                block = nearest[rows, :, columns].reshape(m, maps.shape[1], math.prod(window), n, maps.shape[-1], -1)
                size = math.prod(maps.shape[1:])
                span = np.linalg.qr(maps.reshape(len(maps), size).T)[0].reshape(*block.shape[1:3], block.shape[4], len(maps))
                kept = np.einsum("mownif,owik->mnkf", block, span, optimize=True)
                block = np.einsum("mnkf,owik->mownif", kept, span, optimize=True)
                nearest[rows, :, columns] = block.reshape(nearest[rows, :, columns].shape)
        return nearest.reshape(np.shape(weight))

    def _row_size(self, row: Sequence[np.ndarray]) -> int:
        """Number of weights of one copy of a part of the output."""
        return sum(n * len(maps) for n, maps in zip(self._copies[1], row, strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PartsSharing):
            return NotImplemented
        same = self._copies == other._copies and self._shape == other._shape and len(self._bases) == len(other._bases)
        return same and all(
            np.array_equal(a, b) for p, q in zip(self._bases, other._bases, strict=True) for a, b in zip(p, q, strict=True)
        )

    def __hash__(self) -> int:
        return hash(("PartsSharing", self._copies, *(digest(maps) for row in self._bases for maps in row)))

    def __reduce__(self) -> tuple:
        return (PartsSharing, (self._bases, *self._copies, self.out_invariants))

    def __repr__(self) -> str:
        return f"PartsSharing({self.count} maps of shape {self.shape})"


def parts_sharing(
    in_rep: Representation, out_rep: Representation, solve: Callable[[Representation, Representation], np.ndarray]
) -> BasisSharing:
    """Returns the sharing between two representations, scaled to variance 1; blocks where one of them has parts.

    Args:
      in_rep: representation on the input.
      out_rep: representation on the output.
      solve: gives the maps between one part of the input and one of the output, ``(rank, out, [window], in)``.
    """
    into, out = ([(part, len(list(run))) for part, run in groupby(rep.parts)] for rep in (in_rep, out_rep))
    bases = [[solve(a, b) for a, _ in into] for b, _ in out]
    in_copies, out_copies = [n for _, n in into], [m for _, m in out]
    in_forms, out_forms = ([invariant_form_of(part) for part, _ in side] for side in (into, out))
    scaled = normalised_parts(bases, out_copies, in_copies, in_forms, out_forms)
    if len(in_rep.parts) == len(out_rep.parts) == 1:
        return BasisSharing(scaled[0][0], out_rep.invariants)
    return PartsSharing(scaled, out_copies, in_copies, out_rep.invariants)


def _rows(maps: np.ndarray) -> np.ndarray:
    """The maps ``(rank, out, …)`` as a matrix with a row for each output point."""
    return np.moveaxis(maps, 1, 0).reshape(maps.shape[1], len(maps) * math.prod(maps.shape[2:]))
