"""The translation case is Flax's layer: same parameters, same bits, same compiled instructions."""

import itertools
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.helpers import AS_USERS_COMPILE, BIAS, randn

SHAPES = {1: (2, 9, 4), 2: (2, 8, 9, 4), 3: (2, 4, 5, 5, 4)}


@pytest.fixture(autouse=True, scope="module")
def optimised():
    """The programs are compared as users compile them, whatever the rest of the suite does and has compiled."""
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
    yield
    jax.config.update("jax_disable_most_optimizations", "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ)
    jax.clear_caches()


def pair(name, ndim, kernel, strides, **more):
    given = {"bias_init": BIAS, **more}
    make = lambda module: getattr(module, name)(4, 6, (kernel,) * ndim, (strides,) * ndim, rngs=nnx.Rngs(0), **given)  # noqa: E731
    return make(nnx), make(ej.nn)


def same_parameters(a, b):
    left, right = nnx.to_pure_dict(nnx.state(a)), nnx.to_pure_dict(nnx.state(b))
    return left.keys() == right.keys() and all((np.asarray(left[k]) == np.asarray(right[k])).all() for k in left)


@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", "REFLECT", 1, "pairs"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_conv_gives_the_same_bits(ndim, padding):
    padding = ((1, 2),) * ndim if padding == "pairs" else padding
    x = randn(SHAPES[ndim], dtype=jnp.float32)
    cases = [
        (3, 1, {}),
        (2, 2, {}),
        (3, 2, {"feature_group_count": 2}),
        (2, 1, {"kernel_dilation": 2}),
    ]
    for kernel, strides, extra in cases if ndim < 3 else cases[:2]:
        flax, ours = pair("Conv", ndim, kernel, strides, padding=padding, **extra)
        assert same_parameters(flax, ours)
        assert (np.asarray(flax(x)) == np.asarray(ours(x))).all()
        other = pair("Conv", ndim, kernel, strides, padding=padding, **extra)[1]
        nnx.update(other, nnx.state(flax))
        assert (np.asarray(flax(x[0])) == np.asarray(other(x[0]))).all()


def test_causal_padding():
    flax, ours = pair("Conv", 1, 3, 1, padding="CAUSAL")
    x = randn(SHAPES[1], dtype=jnp.float32)
    assert (np.asarray(flax(x)) == np.asarray(ours(x))).all()


@pytest.mark.parametrize("padding", ["SAME", "VALID", "CIRCULAR", 1])
@pytest.mark.parametrize("ndim", [1, 2])
def test_conv_transpose_gives_the_same_bits(ndim, padding):
    x = randn(SHAPES[ndim], dtype=jnp.float32)
    for kernel, strides, dilation in itertools.product((2, 3), (1, 2, 3), (None, 2)):
        flax, ours = pair("ConvTranspose", ndim, kernel, strides, padding=padding, kernel_dilation=dilation)
        assert same_parameters(flax, ours)
        assert (np.asarray(flax(x)) == np.asarray(ours(x))).all()


def instructions(module, x):
    """Optimised HLO of a call, without metadata and source tables."""
    graph, state = nnx.split(module)
    lowered = jax.jit(lambda state, x: nnx.merge(graph, state)(x)).lower(state, x)
    text = lowered.compile(AS_USERS_COMPILE).as_text()  # as users compile; see conftest.py
    text = re.sub(r", (metadata|stack_frame_id)=(\{[^}]*\}|\d+)", "", text)
    keep = [
        line
        for line in text.splitlines()
        if not re.match(r"^(\d+ |FileNames|FunctionNames|FileLocations|StackFrames)", line)
    ]
    return [line for line in keep if line.strip()]


@pytest.mark.parametrize(("padding", "strides"), [("SAME", 1), ("SAME", 2), ("VALID", 1), ("CIRCULAR", 1), ("REFLECT", 2)])
def test_conv_compiles_to_the_same_instructions(padding, strides):
    flax, ours = pair("Conv", 2, 3, strides, padding=padding)
    for dtype in (jnp.float32, jnp.float64):
        with jax.numpy_dtype_promotion("standard"):
            x = randn(SHAPES[2], dtype=dtype)
            assert instructions(flax, x) == instructions(ours, x)
    assert instructions(flax, randn(SHAPES[2], dtype=jnp.float32)) != instructions(
        pair("Conv", 2, 2, strides, padding=padding)[1], randn(SHAPES[2], dtype=jnp.float32)
    ), "negative control: another layer compiles to other instructions"


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_pooling_is_flax_pooling(padding):
    x = randn((2, 8, 8, 3), dtype=jnp.float32)
    ours = [
        ej.nn.MaxPool((2, 3), (2, 1), padding)(x),
        ej.nn.AvgPool((2, 3), (2, 1), padding)(x),
        ej.nn.AvgPool((2, 3), (2, 1), padding, count_include_pad=False)(x),
    ]
    with jax.numpy_dtype_promotion("standard"):
        flax = [
            nnx.max_pool(x, (2, 3), (2, 1), padding),
            nnx.avg_pool(x, (2, 3), (2, 1), padding),
            nnx.avg_pool(x, (2, 3), (2, 1), padding, count_include_pad=False),
        ]
    for a, b in zip(ours, flax, strict=True):
        assert np.abs(np.asarray(a) - np.asarray(b)).max() <= 1e-6
