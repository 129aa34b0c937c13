"""Products of vectors: the nonlinearity that needs no length."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.nnx.nn import dtypes

from equijax._dtypes import widened
from equijax._numbers import positive_int
from equijax.groups import Group
from equijax.nn._conv import default_kernel_init
from equijax.nn._initial import split
from equijax.nn._parameters import drawn, read
from equijax.nn.fields._blocks import block_count, block_numbers
from equijax.nn.fields._layer import FieldLayer, from_vectors, require_field, require_fields, to_vectors
from equijax.nn.fields._products import Output, Product, products_into
from equijax.nn.fields._taken import taken
from equijax.reps import Representation

_MAX_TERMS = 128
"""Maps with more entries than this are applied as matrices."""


class Bilinear(FieldLayer):
    r"""Multiplies two linear images of each vector in every way that commutes with the group.

    .. math:: y_c = \sum_{a, b, k} θ_{abk}\; B^k_{abc}(l_a, r_b), \qquad l = v L, \quad r = v R

    L and R mix the features of each block of the fibre, a summand of a direct sum (an orbit of coordinates where the group
    permutes them). The maps :math:`B^k_{abc}` are a basis of the equivariant bilinear maps of blocks a, b of the input to
    the block c of the output (Clebsch–Gordan tensors): dot and cross products, contractions, products with scalars.
    Feature i of the output is made of feature i of l and r alone, with its own θ, and where a block has several copies each
    copy of the output takes one pair of copies, in turn: the cost grows linearly with the copies.

    Law: ``layer(in_action(g, x)) == out_action(g, layer(x))`` for every g, for every group: no length is taken, so the
    fibres need not be orthogonal. The output is a polynomial of degree 2.

    Range: squares overflow beyond about 1e18 in float32 (half precision is squared in it) and 1e150 in float64.

    Attributes:
      left: Param L, ``(in_features, out_features)``, or ``(blocks, in_features, out_features)`` for several blocks.
      right: Param R, likewise.
      kernel: Param θ, ``(paths, out_features)``.

    Args:
      in_features: number of input features.
      out_features: number of output features.
      in_fibre: any representation whose blocks are small; decompose what is large.
      out_fibre: representation of the output; None is ``in_fibre``.
      group: the group of the layer; None is the group of the fibres.
      largest: triples of blocks whose dimensions have a larger product are left out.
      dtype: dtype of the computation; None promotes inputs and parameters.
      param_dtype: dtype in which the parameters are stored.
      precision: as in ``jax.lax.dot_general``.
      kernel_init: initialiser of L and R of one block, ``(in_features, out_features)``, and of the θ of the copies of one
        block of the output, ``(paths into one copy, copies · out_features)``.
      rngs: key source, used at construction only.
      kernel_metadata: metadata of the three Params.

    Raises:
      ValueError: the fibres belong to different groups, or nothing of the input reaches a block of the output.

    Example: the products of two functions on a group of two elements.
      >>> import equijax as ej, jax.numpy as jnp
      >>> from flax import nnx
      >>> layer = ej.nn.Bilinear(3, 8, ej.reps.Regular(ej.Cyclic(2)), rngs=nnx.Rngs(0))
      >>> layer.kernel.shape, layer(jnp.ones((5, 2, 3))).shape
      ((4, 8), (5, 2, 8))

    References:
      Finzi, Welling and Wilson, "A Practical Method for Constructing Equivariant Multilayer Perceptrons for Arbitrary
      Matrix Groups", ICML 2021, arXiv:2104.09459, section 6.
      Kondor, Lin and Trivedi, "Clebsch–Gordan Nets", NeurIPS 2018, arXiv:1806.09231.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        in_fibre: Representation,
        out_fibre: Representation | None = None,
        *,
        group: Group | None = None,
        largest: int = 1024,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: Any = default_kernel_init,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        self.in_fibre, self.group = require_field(in_fibre, group, "in_fibre")
        out_fibre = in_fibre if out_fibre is None else out_fibre
        self.out_fibre, _ = require_field(out_fibre, self.group, "out_fibre", in_fibre)
        self.largest = positive_int(largest, "largest")
        self.dtype, self.param_dtype, self.precision = dtype, param_dtype, precision
        outputs = products_into(self.in_fibre, self.out_fibre, self.largest)
        _require_reached(outputs, self.in_fibre, self.out_fibre, self.largest)
        draw = lambda key, *shape: drawn(kernel_init, key, shape, param_dtype, "kernel_init")  # noqa: E731
        blocks = block_count(self.in_fibre)
        each_block = jax.vmap(lambda key: draw(key, in_features, out_features))
        mixers = [each_block(jax.random.split(rngs.params(), blocks)) for _ in range(2)]
        self.left, self.right = (nnx.Param(m[0] if blocks == 1 else m, **kernel_metadata) for m in mixers)
        keys = split(rngs.params(), len(outputs))
        rows = [
            draw(key, output.fan_in, len(output.coordinates) * out_features).reshape(-1, out_features)
            for key, output in zip(keys, outputs, strict=True)
        ]
        self.kernel = nnx.Param(jnp.concatenate(rows), **kernel_metadata)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps ``(*batch, *positions, in fibre, in_features)`` to ``(*batch, *positions, out fibre, out_features)``."""
        require_fields(inputs, self.in_fibre, features=self.in_features)
        outputs = products_into(self.in_fibre, self.out_fibre, self.largest)
        x, left, right, kernel = dtypes.promote_dtype((inputs, *self._parameters(outputs)), dtype=self.dtype)
        v = to_vectors(x, self.in_fibre)
        l, r = (widened(self._mixed(v, matrices))[0] for matrices in (left, right))  # noqa: E741
        kernel = kernel.astype(l.dtype)
        found = []
        for output in outputs:
            terms = [self._term(l, r, product, kernel) for product in output.products]
            total = sum(terms[1:], terms[0])
            found.append(total.reshape(*total.shape[:-3], output.coordinates.size, total.shape[-1]))
        place = np.argsort(np.concatenate([output.coordinates.reshape(-1) for output in outputs]))
        y = found[0] if len(found) == 1 else jnp.concatenate(found, axis=-2)
        if (place != np.arange(len(place))).any():
            y = taken(y, place)
        return from_vectors(y.astype(x.dtype), self.out_fibre)

    def _parameters(self, outputs: Sequence[Output]) -> tuple[jax.Array, jax.Array, jax.Array]:
        """L, R and θ, after checking their shapes."""
        blocks = block_count(self.in_fibre)
        mixer = (*((blocks,) if blocks > 1 else ()), self.in_features, self.out_features)
        paths = sum(output.fan_in * len(output.coordinates) for output in outputs)
        named = (self.left, "left", mixer), (self.right, "right", mixer), (self.kernel, "kernel", (paths, self.out_features))
        left, right, kernel = (read(*each) for each in named)
        return left, right, kernel

    def _mixed(self, v: jax.Array, matrices: jax.Array) -> jax.Array:
        """The features of each block mixed by its matrix."""
        if matrices.ndim == 2:
            return jnp.matmul(v, matrices, precision=self.precision)
        each = taken(matrices, block_numbers(self.in_fibre), axis=0)
        return jnp.einsum("...di,dio->...do", v, each, precision=self.precision)

    def _term(self, l: jax.Array, r: jax.Array, product: Product, kernel: jax.Array) -> jax.Array:  # noqa: E741
        """One product for all copies of the output, ``(…, copies, out part, features)``."""
        left, right = (taken(x, at) for x, at in ((l, product.left), (r, product.right)))
        paths, copies = len(product.basis), len(product.left)
        weights = kernel[product.rows : product.rows + paths * copies].reshape(paths, copies, -1)
        if np.count_nonzero(product.basis) <= _MAX_TERMS:
            return _by_entries(left, right, product.basis, weights)
        pairs = left[..., :, None, :] * right[..., None, :, :]
        maps = jnp.asarray(product.basis, pairs.dtype)
        each = jnp.einsum("kzxy,...cxyf->...kczf", maps, pairs, precision=self.precision)
        return jnp.einsum("...kczf,kcf->...czf", each, weights, precision=self.precision)


def _by_entries(left: jax.Array, right: jax.Array, basis: np.ndarray, weights: jax.Array) -> jax.Array:
    """The products entry by entry, for maps that are mostly zeros: the gradient of a fused sum is ten times faster."""
    l, r = ([x[..., k, :] for k in range(x.shape[-2])] for x in (left, right))  # noqa: E741
    weights = weights.reshape(-1, *(1,) * (l[0].ndim - 2), *weights.shape[1:])
    rows = []
    for z in range(basis.shape[1]):
        terms = []
        for path, weight in zip(basis[:, z], weights, strict=True):
            entries = [l[x] * r[y] * np.asarray(path[x, y], left.dtype) for x, y in np.argwhere(path).tolist()]
            if entries:
                terms.append(sum(entries[1:], entries[0]) * weight)
        rows.append(sum(terms[1:], terms[0]) if terms else jnp.zeros_like(l[0] * r[0]))
    return jnp.stack(rows, axis=-2)


def _require_reached(outputs: tuple[Output, ...], in_fibre: Representation, out_fibre: Representation, largest: int) -> None:
    for output in outputs:
        if not output.fan_in:
            raise ValueError(
                f"nothing of `in_fibre` {in_fibre!r} reaches coordinates {output.coordinates[0].tolist()} of `out_fibre` "
                f"{out_fibre!r}: no two of its blocks have an equivariant product there with at most `largest` = {largest} "
                "entries. Leave that block out, add a Scalar to in_fibre, or decompose large blocks."
            )
