"""Averages over principal axes: invariant and differentiable where the cloud determines them, NaN where it does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from tests.helpers import randn

TURN = jnp.asarray(np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0])
LINE = jnp.asarray([[-1.0, 0, 0], [0, 0, 0], [1, 0, 0]])
TRIANGLE = jnp.asarray([[1.0, 0, 0], [-0.5, 3**0.5 / 2, 0], [-0.5, -(3**0.5) / 2, 0]])
#: Clouds of three points, and whether their axes are determined as far as it matters.
CLOUDS = {
    "straight": (LINE, True),
    "straight, turned and moved": (LINE @ TURN.T + 2, True),
    "uneven": (jnp.asarray([[-1.0, 0, 0], [0.2, 0, 0], [1, 0, 0]]) @ TURN.T, True),
    "flat": (jnp.asarray([[-1.0, 0, 0], [0, 2, 0], [1, 0.3, 0]]) @ TURN.T, True),
    "one place": (jnp.ones((3, 3)), True),
    "equilateral": (TRIANGLE, False),
    "equilateral, turned": (TRIANGLE @ TURN.T, False),
    "general": (randn((3, 3)), True),
}


def growth(x):
    """A function of no symmetry."""
    return jnp.sum(jnp.exp(0.3 * (x @ jnp.asarray([1.0, 2.0, 3.0]))), -1)


STACK = jnp.stack([cloud for cloud, _ in CLOUDS.values()])


@pytest.mark.parametrize("special", [False, True])
def test_the_gradient_is_that_of_central_differences(special):
    average = lambda x: ej.nn.frame_average(growth, x, special=special)  # noqa: E731
    found = np.asarray(jax.jit(jax.vmap(jax.grad(average)))(STACK))
    steps = jnp.asarray(1e-5 * np.eye(9).reshape(9, 1, 3, 3))
    stacks = jnp.broadcast_to(STACK[None], (9, *STACK.shape))
    both = jax.jit(average)(jnp.stack([stacks + jnp.broadcast_to(s, stacks.shape) for s in (steps, -steps)]))
    slopes = np.asarray((both[0] - both[1]) / 2e-5).T.reshape(STACK.shape)
    for k, (name, (_, known)) in enumerate(CLOUDS.items()):
        if known:
            np.testing.assert_allclose(found[k], slopes[k], atol=1e-8, err_msg=name)
        else:
            assert np.isnan(found[k]).all(), name
    assert abs(found[0, 2, 0]) == pytest.approx(0.92387, abs=1e-4)


def test_single_atoms_and_half_precision():
    atom = jnp.full((1, 3), 0.3)
    average = lambda x: ej.nn.frame_average(growth, x)  # noqa: E731
    np.testing.assert_array_equal(jax.grad(average)(atom), np.zeros((1, 3)))
    for dtype in (jnp.bfloat16, jnp.float16):
        found = ej.nn.frame_average(lambda x: x.max((-2, -1)), (300 * randn((3, 3))).astype(dtype))
        expected = ej.nn.frame_average(lambda x: x.max((-2, -1)), (300 * randn((3, 3))).astype(dtype).astype(jnp.float64))
        assert found.dtype == dtype and float(found) == pytest.approx(float(expected), rel=2e-2)


def test_huge_and_tiny_clouds_have_axes():
    axes = lambda scale: ej.nn.pca_frames(scale * randn((5, 3)))[0]  # noqa: E731
    for scale in (2.0**600, 2.0**-600):
        np.testing.assert_allclose(axes(scale), axes(1.0), atol=1e-12)


def test_vectors_of_straight_clouds_have_no_gradient():
    """A function may treat the two empty axes differently, so that none exists; the value is determined."""
    fn = lambda x: jnp.sin(x) * jnp.asarray([[1.0, 2.0, 3.0]])  # noqa: E731
    average = lambda x: ej.nn.frame_average(fn, x, output="vectors")  # noqa: E731
    turned = LINE @ TURN.T
    np.testing.assert_allclose(average(turned), average(LINE) @ TURN.T, atol=1e-12)
    assert np.isnan(jax.grad(lambda x: average(x).sum())(LINE)).any()


def test_second_derivatives_of_general_clouds():
    average = lambda x: ej.nn.frame_average(growth, x)  # noqa: E731
    x, step = randn((4, 3)), randn((4, 3), 1)
    slope = lambda t: jnp.sum(jax.grad(average)(x + t * step) * step)  # noqa: E731
    second = jax.grad(slope)(0.0)
    assert float(second) == pytest.approx(float(slope(1e-5) - slope(-1e-5)) / 2e-5, rel=1e-6)


def test_frame_determined():
    found = ej.nn.frame_determined(STACK)
    assert found.shape == (len(CLOUDS),) and found.tolist() == [known for _, known in CLOUDS.values()]
    square = jnp.asarray([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert [bool(ej.nn.frame_determined(square.astype(dtype))) for dtype in (jnp.float32, jnp.bfloat16)] == [False, False]
    first = lambda x: growth(jnp.pad(x, ((0, 0), (0, 1))))  # noqa: E731
    quarter = jnp.stack([square[:, 0] + 0.5 * square[:, 1], square[:, 1] - 0.5 * square[:, 0]], -1) / 1.25**0.5
    assert abs(ej.nn.frame_average(first, square) - ej.nn.frame_average(first, quarter)) > 1e-3  # and so no invariant
