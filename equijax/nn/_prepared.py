"""A convolution whose kernel is known beforehand, as one operation of JAX.

Its operands are an input, the kernel written out, and what an algorithm has made of the kernel. Like the operation of
``_trilinear.py`` it is lowered to the algorithm's program on a CPU and to the dense one elsewhere, unless an algorithm is
named. Its derivatives are those of the convolution with the kernel that is written out.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from equijax._cache import bounded
from equijax._dtypes import accumulation_dtype
from equijax.nn._fibrewise import Fibrewise
from equijax.nn._planar import Planar
from equijax.nn._trilinear import Map, trilinear_p

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What is done.

    Attributes:
      form: the convolution.
      algorithm: the algorithm that is named, or fastest on a CPU.
      shape: shape of the output.
    """

    form: Fibrewise | Planar
    algorithm: str
    shape: tuple[int, ...]

    @property
    def of(self) -> Map:
        """The convolution with the kernel written out."""
        return Map(planar_of(self.form), "y", self.shape)

    def on_cpu(self, x: Array, kernel: Array, *kept: Array) -> Array:
        """The program of the algorithm."""
        planar = self.of.form
        if self.algorithm == "group":
            wide = x.astype(accumulation_dtype(x.dtype))
            return self.form.irreps.output(wide, list(kept), self.shape).astype(x.dtype)  # pyright: ignore
        if self.algorithm == "frequency" and kept:
            return planar.output_by_spectrum(x, list(kept), self.shape)  # pyright: ignore
        if self.algorithm == "frequency":
            return planar.program(self.of, "frequency")(x, kernel)
        several = any(k > 1 for k in self.form.sampling.window)
        return planar.on_cpu(self.of)(x, kernel) if several else planar.product(x, kernel)  # pyright: ignore

    def elsewhere(self, x: Array, kernel: Array, *kept: Array) -> Array:
        """The dense program, unless an algorithm is named."""
        return self.of.dense(x, kernel) if self.form.algorithm == "auto" else self.on_cpu(x, kernel, *kept)


def planar_of(form: Fibrewise | Planar) -> Planar:
    """The form with the kernel written out."""
    return form.planar if isinstance(form, Fibrewise) else form


def prepared_convolution(
    x: Array, kernel: Array, kept: Sequence[Array], form: Fibrewise | Planar, algorithm: str, shape: tuple[int, ...]
) -> Array:
    """Convolves by an algorithm, of whose work with the kernel the results are given.

    Args:
      x: ``(batch, *sizes, channels in)``.
      kernel: ``(*window, channels in, channels out)``.
      kept: the matrices irrep by irrep, or both parts of the spectrum, or nothing.
      form: the convolution.
      algorithm: the algorithm.
      shape: shape of the output.
    """
    return prepared_p.bind(x, kernel, *kept, how=Prepared(form, algorithm, shape))


prepared_p = Primitive("equijax_prepared_convolution")


@prepared_p.def_abstract_eval
def _abstract(x: Any, *rest: Any, how: Prepared) -> Any:
    del rest
    return ShapedArray(how.shape, x.dtype)


@prepared_p.def_impl
def _evaluated(*operands: Array, how: Prepared) -> Array:
    return _compiled(how)(*operands)


@bounded
def _compiled(how: Prepared) -> Any:
    return jax.jit(functools.partial(prepared_p.bind, how=how))


def _derivative(primals: Any, tangents: Any, *, how: Prepared) -> tuple[Array, Any]:
    x, kernel, *_ = primals
    dx, dkernel = map(ad.instantiate_zeros, tangents[:2])
    along = trilinear_p.bind(dx, kernel, of=how.of)
    if not isinstance(tangents[1], ad.Zero):
        along = along + trilinear_p.bind(x, dkernel, of=how.of)
    return prepared_p.bind(*primals, how=how), along


ad.primitive_jvps[prepared_p] = _derivative


def _batched(operands: Any, dims: Any, *, how: Prepared) -> tuple[Array, int]:
    """Inputs alone join the batch; with other kernels nothing is prepared."""
    x, kernel, *kept = operands
    if any(d is not None for d in dims[1:]):
        return jax.vmap(functools.partial(trilinear_p.bind, of=how.of), dims[:2])(x, kernel), 0
    x = jnp.moveaxis(x, dims[0], 0)
    count, batch = x.shape[:2]
    shape = (count * batch, *how.shape[1:])
    y = prepared_p.bind(x.reshape(-1, *x.shape[2:]), kernel, *kept, how=dataclasses.replace(how, shape=shape))
    return y.reshape(count, *how.shape), 0


batching.primitive_batchers[prepared_p] = _batched


def _on_cpu(context: Any, *operands: Any, how: Prepared) -> Any:
    return mlir.lower_fun(how.on_cpu, multiple_results=False)(context, *operands)


def _elsewhere(context: Any, *operands: Any, how: Prepared) -> Any:
    return mlir.lower_fun(how.elsewhere, multiple_results=False)(context, *operands)


mlir.register_lowering(prepared_p, _elsewhere)
mlir.register_lowering(prepared_p, _on_cpu, platform="cpu")
