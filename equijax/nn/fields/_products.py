"""Bilinear maps between the blocks of fibres that commute with the group."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from equijax._arrays import FrozenArray, read_only
from equijax._cache import bounded
from equijax.nn.fields._blocks import block_count, block_numbers
from equijax.reps import Representation
from equijax.reps._solver import solve

_ZERO = 1e-13


@dataclasses.dataclass(frozen=True)
class Piece:
    """A block of a fibre, as the matrices that move it; copies of one representation have equal pieces.

    Attributes:
      dim: number of coordinates.
      generators: matrices of the discrete generators.
      algebra: derivatives along the Lie algebra.
    """

    dim: int
    generators: tuple[FrozenArray, ...]
    algebra: tuple[FrozenArray, ...]


class Product(NamedTuple):
    """The products of copies of two blocks that give copies of a third.

    Attributes:
      basis: B, float64 ``(paths, out block, left block, right block)``; from variance 1 a path makes variance 1.
      left: coordinates of the left factor of each copy of the output, int ``(copies, left block)``.
      right: those of the right factor.
      rows: the first row of its weights in the kernel.
    """

    basis: np.ndarray
    left: np.ndarray
    right: np.ndarray
    rows: int


class Output(NamedTuple):
    """All products that give the copies of one block of the output.

    Attributes:
      coordinates: where the copies lie in the output, int ``(copies, block)``.
      products: the products.
      fan_in: number of paths into one copy.
    """

    coordinates: np.ndarray
    products: tuple[Product, ...]
    fan_in: int


@bounded
def products_into(in_fibre: Representation, out_fibre: Representation, largest: int) -> tuple[Output, ...]:
    """Returns the products of two vectors of ``in_fibre`` that give vectors of ``out_fibre``, by the blocks of the output.

    Copy c of a block of the output takes its left factor from copy c mod m and its right one from copy (c + ⌊c / lcm(m, n)⌋)
    mod n, where m and n count the copies in the input: each pair in turn, equal numbers first. Triples of more than
    ``largest`` entries are left out.
    """
    into, found, rows = pieces_of(in_fibre), [], 0
    for out_piece, coordinates in pieces_of(out_fibre):
        copies, products, fan_in = np.arange(len(coordinates)), [], 0
        for left_piece, left in into:
            for right_piece, right in into:
                if left_piece.dim * right_piece.dim * out_piece.dim > largest:
                    continue
                basis = bilinear_maps(left_piece, right_piece, out_piece)
                if len(basis):
                    lcm = math.lcm(len(left), len(right))
                    pair = left[copies % len(left)], right[(copies + copies // lcm) % len(right)]
                    products.append(Product(basis, read_only(pair[0]), read_only(pair[1]), rows + fan_in * len(copies)))
                    fan_in += len(basis)
        rows += fan_in * len(copies)
        found.append(Output(coordinates, tuple(products), fan_in))
    return tuple(found)


@bounded
def bilinear_maps(left: Piece, right: Piece, out: Piece) -> np.ndarray:
    r"""Returns a basis of the maps B with :math:`ρ(g) B(x, y) = B(ρ(g) x, ρ(g) y)`, float64 ``(paths, out, left, right)``.

    Each is scaled so that coordinates of variance 1 give, in the mean, coordinates of variance 1. Read-only.
    """
    pairs = [np.kron(a.array, b.array) for a, b in zip(left.generators, right.generators, strict=True)]
    one, other = np.eye(left.dim), np.eye(right.dim)
    along = [np.kron(a.array, other) + np.kron(one, b.array) for a, b in zip(left.algebra, right.algebra, strict=True)]
    generators, algebra = ([m.array for m in matrices] for matrices in (out.generators, out.algebra))
    maps = solve(pairs, generators, along, algebra, in_dim=left.dim * right.dim, out_dim=out.dim)
    maps = np.where(np.abs(maps) < _ZERO, 0.0, maps)  # without the rounding of the solver
    return read_only(np.sqrt(out.dim) * maps.reshape(len(maps), out.dim, left.dim, right.dim))


@bounded
def pieces_of(fibre: Representation) -> tuple[tuple[Piece, np.ndarray], ...]:
    """Returns the different blocks of a fibre and the coordinates of their copies, int ``(copies, block)``."""
    numbers = block_numbers(fibre)
    found: dict[Piece, list[np.ndarray]] = {}
    for k in range(block_count(fibre)):
        at = np.flatnonzero(numbers == k)
        cut = [tuple(FrozenArray(m[np.ix_(at, at)], np.float64) for m in ms) for ms in (fibre.generators, fibre.algebra)]
        found.setdefault(Piece(len(at), *cut), []).append(at)
    return tuple((piece, read_only(np.stack(at))) for piece, at in found.items())
