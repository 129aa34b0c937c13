"""Convolution by small Fourier transforms: one matrix product over the channels for each frequency.

A convolution of stride 1 is trilinear in its input x, its kernel w and a covector y of its output. The three maps below are
its derivatives: the output from x and w, and the gradients of x and of w. Each is a transform along the first axis, a loop
over its frequencies that transforms along the other axes, multiplies and transforms back, and a transform back along the
first axis. The data of one frequency stay in the cache, and no array is larger than input or output by more than the ratio
of N to their sizes.

Inside the loop arrays have the axes (frequencies of the axes done, part, axes to be done, batch, groups, channels), without
that of groups where there is one. Every transform is a matrix from the left on leading axes, so nothing is moved in memory.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from equijax.nn._spectrum import Axis, complex_transforms, real_transforms, with_product

Array = jax.Array


class Spectrum(NamedTuple):
    """Transforms of all axes of a convolution, in numpy.

    Attributes:
      first: ``read``, ``kernel`` and ``write`` of the first axis, between real numbers and half of the frequencies.
      rest: those of the other axes, between complex numbers.
      product: ``write`` of the last axis, for each part of the kernel after the product with it.
      precision: precision of all matrix products.
    """

    first: Any
    rest: tuple[Any, ...]
    product: np.ndarray
    precision: Any


def spectrum(axes: tuple[Axis, ...], precision: Any = None) -> Spectrum:
    """Returns the transforms of a convolution."""
    first, rest = real_transforms(axes[0]), tuple(map(complex_transforms, axes[1:]))
    return Spectrum(first, rest, with_product((rest[-1] if rest else first).write), precision)


def output(s: Spectrum, x: Array, w: Array) -> Array:
    """The convolution ``(*outs, batch, groups, out)`` of ``(*sizes, batch, groups, in)`` by ``(*window, groups, in, out)``.

    Where there is one group, its axis is left out of all arrays, here and below.
    """

    def at(x: Array, along_first: Array) -> Array:
        return _product(s, x, _kernel(s, _apply(s, along_first, w)))

    made = _over_frequencies(s, at, _apply(s, s.first.read, x), jnp.asarray(s.first.kernel, w.dtype))
    return _apply(s, s.first.write, made, 2) if s.rest else made


def kernel_spectrum(s: Spectrum, w: Array) -> list[Array]:
    """Both parts of the transform of ``(*window, groups, in, out)``, at all frequencies."""
    return _over_frequencies(s, lambda m: _kernel(s, _apply(s, m, w)), jnp.asarray(s.first.kernel, w.dtype))


def output_by_spectrum(s: Spectrum, x: Array, parts: list[Array]) -> Array:
    """The convolution, given the transform of the kernel; see :func:`output`."""
    made = _over_frequencies(s, lambda x, *parts: _product(s, x, parts), _apply(s, s.first.read, x), *parts)
    return _apply(s, s.first.write, made, 2) if s.rest else made


def _product(s: Spectrum, x: Array, parts: Iterable[Array]) -> Array:
    """The output at one frequency of the first axis, back on the other axes."""
    a = _read(s, x)
    return _write(s, [_mix(s, "fdbgi,fgio->fdbgo", a, b) for b in parts])


def input_gradient(s: Spectrum, w: Array, y: Array) -> Array:
    """The gradient of the input, as x, from ``(*window, groups, in, out)`` and ``(*outs, batch, groups, out)``."""
    w = jnp.swapaxes(w, -1, -2)

    def at(y: Array, along_first: Array) -> Array:
        pairs = zip(_write_back(s, y), _kernel(s, _apply(s, along_first, w)), strict=True)
        return _read_back(s, _total([_mix(s, "fdbgo,fgoi->fdbgi", c, b) for c, b in pairs]))

    y = _apply(s, _back(s.first.write, 1), y) if s.rest else y
    made = _over_frequencies(s, at, y, jnp.asarray(s.first.kernel, w.dtype))
    return _apply(s, _back(s.first.read, 2), made, 2)


def kernel_gradient(s: Spectrum, x: Array, y: Array) -> Array:
    """The gradient of the kernel, as w, from ``(*sizes, batch, groups, in)`` and ``(*outs, batch, groups, out)``."""

    def at(x: Array, y: Array) -> Array:
        a = _read(s, x)
        return _kernel_back(s, [_mix(s, "fbgi,fbgo->fgio", _rows(a), _rows(c)) for c in _write_back(s, y)])

    y = _apply(s, _back(s.first.write, 1), y) if s.rest else y
    made = _over_frequencies(s, at, _apply(s, s.first.read, x), y)
    return _apply(s, _back(s.first.kernel, 2), made, 2)


def _over_frequencies(s: Spectrum, at: Callable, *arrays: Array) -> Any:
    """Applies a function for each frequency of the first axis; where that is the only axis, for all at once."""
    if not s.rest:
        return at(*arrays)
    count, known = arrays[0].shape[0], sum(a[(0,) * a.ndim] for a in arrays)
    made = jax.eval_shape(at, *(jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in arrays))
    # Arrays of zeros, such as `lax.scan` begins with, would depend on nothing: XLA makes those of all layers at once.
    begun = jax.tree.map(lambda m: jnp.broadcast_to(known, (count, *m.shape)), made)

    def step(k: Array, made: Any) -> Any:
        new = at(*(lax.dynamic_index_in_dim(a, k, keepdims=False) for a in arrays))
        return jax.tree.map(lambda all_made, one: lax.dynamic_update_index_in_dim(all_made, one, k, 0), made, new)

    return lax.fori_loop(0, count, step, begun)


def _apply(s: Spectrum, matrix: Any, x: Array, count: int = 1) -> Array:
    """Contracts the last ``count`` axes of a matrix with the first of an array; the others come first in the result."""
    of_matrix = tuple(range(matrix.ndim - count, matrix.ndim))
    dims = ((of_matrix, tuple(range(count))), ((), ()))
    return lax.dot_general(jnp.asarray(matrix, x.dtype), x, dims, precision=s.precision)


def _apply_each(s: Spectrum, matrix: np.ndarray, x: Array, count: int = 2) -> Array:
    """Does the same for each entry of the first axis of an array."""
    if x.shape[0] == 1:
        return _apply(s, matrix, x[0], count)[None]
    of_matrix = tuple(range(1 + matrix.ndim - count, 1 + matrix.ndim))
    dims = ((of_matrix, tuple(range(1, 1 + count))), ((0,), (0,)))
    spread = jnp.broadcast_to(jnp.asarray(matrix, x.dtype), (x.shape[0], *matrix.shape))
    return lax.dot_general(spread, x, dims, precision=s.precision)


def _back(matrix: np.ndarray, outputs: int) -> np.ndarray:
    """The transposed matrix, of which the first ``outputs`` axes are those of the result."""
    return np.moveaxis(matrix, range(outputs), range(matrix.ndim - outputs, matrix.ndim))


def _merged(x: Array) -> Array:
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _rows(x: Array) -> Array:
    """Both parts of all samples as rows of one matrix."""
    return x.reshape(x.shape[0], -1, *x.shape[3:])


def _split(x: Array, last: int) -> Array:
    return x.reshape(x.shape[0] // last, last, *x.shape[1:])


def _mix(s: Spectrum, rule: str, a: Array, b: Array) -> Array:
    """A product over channels, in the order (frequencies, rows, columns); there need not be an axis of groups."""
    if rule.index(",") != a.ndim:
        rule = rule.replace("g", "")
    return jnp.einsum(rule, a, b, precision=s.precision)


def _total(parts: list[Array]) -> Array:
    return parts[0] + parts[1]


def _read(s: Spectrum, x: Array) -> Array:
    """``(part, *sizes, …)`` to ``(frequencies, part, …)``; in one dimension the frequencies are there already."""
    if not s.rest:
        return x
    x = x[None]
    for t in s.rest:
        x = _merged(_apply_each(s, t.read, x))
    return x


def _read_back(s: Spectrum, x: Array) -> Array:
    if not s.rest:
        return x
    for t in reversed(s.rest):
        x = _apply_each(s, _back(t.read, 2), _split(x, t.read.shape[0]))
    return x[0]


def _kernel(s: Spectrum, w: Array) -> list[Array]:
    """``(part, *window, groups, in, out)`` to the two parts, each ``(frequencies, groups, in, out)``."""
    if not s.rest:
        return [w[:, 0], w[:, 1]]
    w = w[None]
    for t in s.rest[:-1]:
        w = _merged(_apply_each(s, np.moveaxis(t.kernel, 0, 1), w))
    return [_merged(_apply_each(s, part, w)) for part in s.rest[-1].kernel]


def _kernel_back(s: Spectrum, parts: list[Array]) -> Array:
    if not s.rest:
        return jnp.stack(parts, 1)
    t = s.rest[-1]
    pairs = zip(t.kernel, parts, strict=True)
    w = _total([_apply_each(s, _back(matrix, 1), _split(part, matrix.shape[0]), 1) for matrix, part in pairs])
    for t in reversed(s.rest[:-1]):
        matrix = np.moveaxis(t.kernel, 0, 1)
        w = _apply_each(s, _back(matrix, 2), _split(w, matrix.shape[0]))
    return w[0]


def _write(s: Spectrum, made: list[Array]) -> Array:
    """Transforms the products with both parts of the kernel back along the axes of the loop."""
    if not s.rest:
        return _total([_apply(s, matrix, part, 2) for matrix, part in zip(s.product, made, strict=True)])
    pairs = zip(s.product, made, strict=True)
    y = _total([_apply_each(s, matrix, _split(part, matrix.shape[2])) for matrix, part in pairs])
    for t in reversed(s.rest[:-1]):
        y = _apply_each(s, t.write, _split(y, t.write.shape[2]))
    return y[0]


def _write_back(s: Spectrum, y: Array) -> list[Array]:
    if not s.rest:
        return [_apply(s, _back(matrix, 1), y) for matrix in s.product]
    y = y[None]
    for t in s.rest[:-1]:
        y = _merged(_apply_each(s, _back(t.write, 2), y))
    return [_merged(_apply_each(s, _back(matrix, 2), y)) for matrix in s.product]
