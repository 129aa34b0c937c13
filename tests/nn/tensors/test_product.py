"""The matrix-product block: its equation, its law, masks, and what it can tell apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.testing import check_equivariance
from tests.helpers import check_message


def numbers(shape, seed=0):
    """Standard normal numbers; drawn by numpy, which compiles nothing."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def draw(key, shape, dtype):
    return numbers(shape, sum(shape)).astype(dtype)


def make(features=(2, 5), **more):
    more = {"param_dtype": jnp.float64, "kernel_init": draw, "bias_init": draw} | more
    return ej.nn.MatrixProductBlock(*features, rngs=nnx.Rngs(0), **more)


@pytest.mark.parametrize("normalization, divisor", [("mean", 4.0), ("sqrt", 2.0), ("sum", 1.0)])
def test_the_equation(normalization, divisor):
    layer = make(normalization=normalization, product_features=3)
    x = numbers((4, 4, 2))

    def perceptron(part):
        first, second = (
            tuple(np.asarray(p) for p in (m.kernel[...], m.bias[...])) for m in (part.layers[0], part.layers[2])
        )
        return np.maximum(np.asarray(x) @ first[0] + first[1], 0) @ second[0] + second[1]

    left, right, beside = (perceptron(part) for part in (layer.left, layer.right, layer.beside))
    product = np.stack([left[..., f] @ right[..., f] for f in range(3)], axis=-1) / divisor
    y = np.asarray(jax.jit(layer)(x))
    assert np.abs(y - np.concatenate([beside, product], axis=-1)).max() <= 1e-13


def test_law_forward_and_gradient():
    layer = make(activation=jax.nn.silu)
    check_equivariance(jax.jit(layer), layer.in_action, layer.out_action, numbers((2, 5, 5, 2)))


@pytest.mark.parametrize("normalization", ["mean", "sqrt"])
def test_mask_is_the_smaller_graph(normalization):
    layer, x = make(normalization=normalization), np.asarray(numbers((2, 5, 5, 2)))
    mask = np.array([[True, False, True, True, False], [False] * 5])
    pair = mask[:, :, None] & mask[:, None, :]

    @jax.jit
    def run(x, mask):
        y, pull = jax.vjp(lambda x: layer(x, mask), x)
        return y, pull(jnp.cos(y))[0]

    y, gradient = map(np.asarray, run(np.where(pair[..., None], x, np.nan), mask))
    nodes = np.ix_(*(np.flatnonzero(mask[0]),) * 2)
    small_y, small_gradient = run(x[0][nodes], np.ones(3, bool))
    assert np.abs(y[0][nodes] - small_y).max() <= 1e-12
    assert np.abs(gradient[0][nodes] - small_gradient).max() <= 1e-12
    assert not y[~pair].any() and not gradient[~pair].any()


def test_no_node():
    layer = make()
    assert layer(jnp.ones((3, 0, 0, 2))).shape == (3, 0, 0, 5)


def test_tells_two_triangles_from_a_hexagon():
    """Message passing cannot: in both graphs every node has two neighbours, and so have these."""
    ring, triangle = np.roll(np.eye(6), 1, axis=0), np.ones((3, 3)) - np.eye(3)
    graphs = np.stack([ring + ring.T, np.kron(np.eye(2), triangle)])[..., None]
    first, second = make((1, 4), activation=jax.nn.silu), make((4, 4), activation=jax.nn.silu)
    y = np.asarray(jax.jit(lambda x: second(first(x)).sum(axis=(1, 2)))(graphs))
    assert np.abs(y[0] - y[1]).max() > 1e-3
    mean = np.asarray(jax.jit(lambda x: first(x).sum(axis=(1, 2)))(graphs))
    assert np.abs(mean[0] - mean[1]).max() <= 1e-12  # one product alone counts paths of length two


BAD = {
    "one feature": (lambda: make((2, 1)), ValueError, ["`out_features`", "1", "at least 2"]),
    "all product": (lambda: make(product_features=5), ValueError, ["`product_features`", "5", "smaller"]),
    "normalization": (lambda: make(normalization="max"), ValueError, ["`normalization`", "'max'", "'sqrt'"]),
    "no square": (lambda: make()(jnp.ones((4, 5, 2))), ValueError, ["`inputs`", "(4, 5, 2)", "(*batch, n, n, 2)"]),
    "mask": (lambda: make()(jnp.ones((5, 5, 2)), jnp.ones(4, bool)), ValueError, ["`mask`", "(4,)", "(5,)"]),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_use(case):
    check_message(*BAD[case])
