"""The convolution with a window of one sample as a trilinear form: by ``jax.lax``, or irrep by irrep."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from equijax._dtypes import accumulation_dtype
from equijax.nn._cost import group_is_faster
from equijax.nn._dense import dense
from equijax.nn._isotypic import isotypic
from equijax.nn._sampling import Sampling
from equijax.nn._trilinear import Form, Map, Program
from equijax.sharing import KernelSharing

Array = jax.Array
#: The bytes of input and output that are worked through at a time, so that they stay in the cache.
TILE = 1 << 23


@dataclasses.dataclass(frozen=True)
class Fibrewise(Form):
    """A map between fibres at every pixel: ``(batch, *sizes, fibre · in)`` and free weights ``(count, in, out)``.

    Attributes:
      sharing: the weights that are shared.
      sampling: a window of one sample, or none, without strides and padding.
      precision: precision of the products.
      algorithm: ``"auto"`` or ``"group"``.
    """

    sharing: KernelSharing
    sampling: Sampling
    precision: Any
    algorithm: str

    def dense(self, x: Array, w: Array) -> Array:
        """The map with the weights written out."""
        return dense(x, self.sharing.expand(w), self.sampling, 1, self.precision)

    def dense_on_cpu(self, x: Array, w: Array) -> Array:
        """The same as one matrix product, which XLA computes up to three times as fast as a convolution with one sample."""
        kernel = self.sharing.expand(w)
        rows = x.reshape(-1, x.shape[-1])
        return self._dot("ri,io->ro", rows, kernel.reshape(kernel.shape[-2:])).reshape(*x.shape[:-1], kernel.shape[-1])

    def parts(self, role: str) -> int:
        """The fibre of the input or output."""
        return {"x": self.sharing.in_fibre.dim, "y": self.sharing.out_fibre.dim, "w": 1}[role]

    def in_groups(self, count: int) -> None:
        """There is none."""

    def is_faster(self, of: Map, shapes: dict[str, tuple[int, ...]]) -> bool:
        """Whether irreps are faster on a CPU."""
        fibres = self.sharing.in_fibre.dim, self.sharing.out_fibre.dim
        found = isotypic(self.sharing)
        return group_is_faster(fibres, found.read.size + found.write.size, found.products, shapes)

    def fast(self, of: Map) -> Program:
        """A map irrep by irrep; half precision is transformed and accumulated in float32."""
        return of.by(self._output)

    def _output(self, x: Array, w: Array) -> Array:
        wide, (into, out) = accumulation_dtype(x.dtype), (self.sharing.in_fibre.dim, self.sharing.out_fibre.dim)
        found, w = isotypic(self.sharing), w.astype(wide)
        read, write = jnp.asarray(found.read, wide), jnp.asarray(found.write, wide)
        matrices = [self._dot("jkc,cio->jkio", jnp.asarray(part.weights, wide), w) for part in found.parts]

        def of_tile(x: Array) -> Array:
            seen = self._dot("na,pai->npi", read, x)
            made, begin = [], 0
            for part, matrix in zip(found.parts, matrices, strict=True):
                copies = matrix.shape[0]
                mine = seen[begin : begin + copies * part.size].reshape(copies, part.size * x.shape[0], x.shape[2])
                begin += copies * part.size
                made += [self._sum(mine, matrix[:, k]).reshape(part.size, x.shape[0], -1) for k in range(matrix.shape[1])]
            return self._dot("bn,npo->pbo", write, jnp.concatenate(made))

        rows = x.reshape(-1, into, x.shape[-1] // into).astype(wide)
        y = _in_tiles(of_tile, rows, TILE // (rows.itemsize * (rows[0].size + out * w.shape[-1])))
        return y.reshape(*x.shape[:-1], out * w.shape[-1]).astype(x.dtype)

    def _sum(self, x: Array, matrices: Array) -> Array:
        """The sum over copies of the products of each with its matrix; one after another, so that no copy is moved."""
        total = self._dot("ri,io->ro", x[0], matrices[0])
        for j in range(1, x.shape[0]):
            total = total + self._dot("ri,io->ro", x[j], matrices[j])
        return total

    def _dot(self, rule: str, *operands: Array) -> Array:
        return jnp.einsum(rule, *operands, precision=self.precision)


def _in_tiles(function: Callable[[Array], Array], x: Array, size: int) -> Array:
    """Applies a function of independent rows to tiles of at most so many of them."""
    count = -(-x.shape[0] // max(size, 1))
    if count <= 1:
        return function(x)
    size = -(-x.shape[0] // count)
    padded = jnp.pad(x, [(0, count * size - x.shape[0]), *((0, 0),) * (x.ndim - 1)])
    y = lax.map(function, padded.reshape(count, size, *x.shape[1:]))
    return y.reshape(count * size, *y.shape[2:])[: x.shape[0]]
