"""The maps of a convolution of fibres irrep by irrep: the output, and the gradients of the input and of the free weights."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from equijax.nn._dense import by_mirrored_window, pad
from equijax.nn._isotypic import Isotypic, isotypic, transposed
from equijax.nn._sampling import Sampling
from equijax.nn._tiles import Tiles, tiles_of_pixels, tiles_of_windows
from equijax.sharing import KernelSharing

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class ByIrrep:
    """A convolution of ``(batch, *sizes, fibre · in)`` with free weights ``(count, in, out)``, without strides.

    Attributes:
      sharing: the weights that are shared: with a window of one sample, or between regular fibres.
      sampling: window, dilation and padding.
      precision: precision of the products.
    """

    sharing: KernelSharing
    sampling: Sampling
    precision: Any

    def matrices(self, w: Array) -> list[Array]:
        """The matrices of each part: ``(copies of the input, copies of the output, offsets · in, out)``."""
        return self._matrices(isotypic(self.sharing), w)

    def output(self, x: Array, matrices: list[Array], shape: tuple[int, ...]) -> Array:
        """The output, of a shape."""
        return self._output(self._padded(x), matrices, isotypic(self.sharing), shape)

    def _output(self, x: Array, matrices: list[Array], found: Isotypic, shape: tuple[int, ...]) -> Array:
        """The output of an input that has its border."""
        tiles = self._tiles(x, found, shape)
        read, write = jnp.asarray(found.read, x.dtype), jnp.asarray(found.write, x.dtype)

        def of_tile(tile: Array) -> Array:
            seen, begin, made = tiles.read(read, tile), 0, []
            for part, matrix in zip(found.parts, matrices, strict=True):
                mine, begin = _copies(seen, begin, part.size, matrix.shape[0])
                made += [self._sum(mine, matrix[:, k]).reshape(part.size, seen.shape[1], -1) for k in range(matrix.shape[1])]
            return self._dot("bn,npo->pbo", write, jnp.concatenate(made))

        return tiles.join(_over(of_tile, tiles.of_tile)).reshape(shape)

    def kernel_gradient(self, x: Array, y: Array, shape: tuple[int, ...]) -> Array:
        """The gradient of the free weights."""
        x, found, fibre = self._padded(x), isotypic(self.sharing), self.sharing.out_fibre.dim
        tiles, free = self._tiles(x, found, y.shape), jax.ShapeDtypeStruct(shape, x.dtype)
        read, write = jnp.asarray(found.read, x.dtype), jnp.asarray(found.write, x.dtype)

        def of_tile(tile: Array, y: Array) -> list[Array]:
            seen, made = tiles.read(read, tile), self._dot("bn,pbo->npo", write, y)
            sums, begin, end = [], 0, 0
            for part in found.parts:
                into, out, _ = part.weights.shape
                mine, begin = _copies(seen, begin, part.size, into)
                theirs, end = _copies(made, end, part.size, out)
                rows = [[self._dot("ri,ro->io", mine[j], theirs[k]) for k in range(out)] for j in range(into)]
                sums.append(jnp.stack([jnp.stack(row) for row in rows]))
            return sums

        sums = _total(of_tile, tiles.of_tile, tiles.split(y, fibre))
        return jax.linear_transpose(functools.partial(self._matrices, found), free)(sums)[0]

    def input_gradient(self, w: Array, y: Array, shape: tuple[int, ...]) -> Array:
        """The gradient of the input: the convolution of y with the window mirrored, and the border folded back."""
        found = transposed(self.sharing)
        matrices = self._matrices(found, jnp.swapaxes(w, 1, 2))
        if self.sharing.offsets == 1:
            return self._output(y, matrices, found, shape)
        return by_mirrored_window(lambda y, shape: self._output(y, matrices, found, shape), y, self.sampling, shape)

    def _padded(self, x: Array) -> Array:
        """An input with its border."""
        return pad(x, self.sampling) if self.sharing.offsets > 1 else x

    def _tiles(self, x: Array, found: Isotypic, out_shape: tuple[int, ...]) -> Tiles:
        if self.sharing.offsets > 1:
            return tiles_of_windows(x, self.sharing, self.sampling.dilation, out_shape[1:-1], self._dot)
        return tiles_of_pixels(x, found.read.shape[1], out_shape[-1], self._dot)

    def _matrices(self, found: Isotypic, w: Array) -> list[Array]:
        w = w[found.slots] if self.sharing.offsets > 1 else w[None]
        made = [self._dot("jku,euio->jkeio", jnp.asarray(part.weights, w.dtype), w) for part in found.parts]
        return [m.reshape(*m.shape[:2], -1, m.shape[-1]) for m in made]

    def _sum(self, x: Array, matrices: Array) -> Array:
        """The sum over copies of the products of each with its matrix; one after another, so that no copy is moved."""
        total = self._dot("ri,io->ro", x[0], matrices[0])
        for j in range(1, x.shape[0]):
            total = total + self._dot("ri,io->ro", x[j], matrices[j])
        return total

    def _dot(self, rule: str, *operands: Array) -> Array:
        return jnp.einsum(rule, *operands, precision=self.precision)


def _copies(seen: Array, begin: int, size: int, copies: int) -> tuple[Array, int]:
    """The coordinates of a part as ``(copies, size · pixels, features)``, and where the next part begins."""
    end = begin + copies * size
    return seen[begin:end].reshape(copies, size * seen.shape[1], seen.shape[2]), end


def _over(function: Callable[[Array], Array], tiles: Array) -> Array:
    """The results of a function of tiles, one after another."""
    return function(tiles[0])[None] if tiles.shape[0] == 1 else lax.map(function, tiles)


def _total(function: Callable[..., Any], *tiles: Array) -> Any:
    """The sum of a function of tiles."""
    first = function(*(t[0] for t in tiles))
    if tiles[0].shape[0] == 1:
        return first
    add = lambda total, here: (jax.tree.map(jnp.add, total, function(*here)), None)  # noqa: E731
    return lax.scan(add, first, tuple(t[1:] for t in tiles))[0]
