"""A transposed convolution at the phase of a choice: Flax's at phase 0, and down and up commute with every shift."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.helpers import check_message, options, randn
from tests.nn.test_polyphase import rolled, shifts_of

P4, P4M = ej.wallpaper("p4"), ej.wallpaper("p4m")
SHAPES = [((4, 3), (1, 1), (2, 2)), ((4, 3), (2, 2), (2, 2)), ((3, 4), (3, 3), (2, 2)), ((3, 3), (4, 4), (2, 2)),
          ((5,), (5,), (2,)), ((3,), (6,), (2,)), ((4,), (3,), (3,)), ((3, 2), (3, 2), (3, 2)), ((2, 2, 3), (3, 3, 3), (2, 2, 1))]  # fmt: skip


def layers(window, strides, **more):
    given = options(None, **more)
    given.pop("group")
    down = ej.nn.PolyphaseConv(2, 3, window, strides, **given)
    return down, ej.nn.PolyphaseConvTranspose(3, 2, window, strides, **given)


@functools.partial(jax.jit, static_argnums=0)
def program(graph, state, *arguments):
    return nnx.merge(graph, state)(*arguments)


def applied(layer, *arguments):
    return program(*nnx.split(layer), *arguments)


def choice_of(phase, batch=2):
    return ej.nn.Choice(jnp.tile(jnp.asarray(phase, jnp.int32), (batch, 1)), jnp.ones(batch))


@pytest.mark.parametrize(("sizes", "window", "strides"), SHAPES)
def test_at_phase_zero_it_is_the_transposed_convolution_of_flax(sizes, window, strides):
    _, up = layers(window, strides)
    flax = nnx.ConvTranspose(3, 2, window, strides, padding="CIRCULAR", param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    assert up.conv.kernel.shape == flax.kernel.shape and up.conv.bias.shape == flax.bias.shape
    flax.kernel[...], flax.bias[...] = up.conv.kernel[...], up.conv.bias[...]
    y = randn((2, *sizes, 3))
    moved = tuple(k - 1 - max(k - s, 0) // 2 - k // 2 for k, s in zip(window, strides, strict=True))
    found = jnp.roll(applied(up, y, choice_of((0,) * len(sizes))), moved, range(1, 1 + len(sizes)))
    np.testing.assert_allclose(found, applied(flax, y), rtol=0, atol=1e-14)


def test_by_how_much_it_is_moved_is_said():
    moves = {(k, s): k - 1 - max(k - s, 0) // 2 - k // 2 for k in (1, 2, 3, 4) for s in (2,)}
    assert moves == {(1, 2): 0, (2, 2): 0, (3, 2): 1, (4, 2): 0}
    text = ej.nn.PolyphaseConvTranspose.__doc__
    assert "1×1, 2×2 and 4×4 kernels at stride 2" in text and "3×3" in text


def test_a_kernel_of_three_is_taken_over_with_zeros_behind():
    flax = nnx.ConvTranspose(3, 2, (3, 3), (2, 2), padding="CIRCULAR", param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    _, up = layers((4, 4), (2, 2))
    up.conv.kernel[...] = jnp.pad(flax.kernel[...], ((0, 1), (0, 1), (0, 0), (0, 0)))
    up.conv.bias[...] = flax.bias[...]
    y = randn((2, 4, 3, 3))
    np.testing.assert_allclose(applied(up, y, choice_of((0, 0))), applied(flax, y), rtol=0, atol=1e-14)


@pytest.mark.parametrize("phase", list(itertools.product(range(2), range(3))))
def test_a_phase_moves_the_output_by_as_many_pixels(phase):
    _, up = layers((3, 2), (2, 3))
    y = randn((2, 3, 2, 3))
    plain, found = applied(up, y, choice_of((0, 0))), applied(up, y, choice_of(phase))
    np.testing.assert_allclose(found, np.roll(plain, phase, (1, 2)), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("sizes", "window", "strides"), [((8,), (3,), (2,)), ((9,), (2,), (3,)), ((8, 6), (3, 3), (2, 2)), ((6, 6), (4, 3), (2, 3))])  # fmt: skip
def test_down_and_up_commute_with_every_shift(sizes, window, strides):
    d, x = len(sizes), randn((2, *sizes, 2))
    down, up = layers(window, strides)

    def net(x):
        y, choice = down.with_choice(x)
        return up(jnp.tanh(y), choice)

    def slope(x):
        return jax.grad(lambda x: (net(x) ** 2 * jnp.tanh(net(x))).sum())(x)

    every = shifts_of(sizes)
    for fn in (net, slope):
        y = jax.jit(fn)(x)
        np.testing.assert_allclose(fn(x), y, rtol=0, atol=1e-12)
        found = jax.jit(jax.vmap(lambda k, fn=fn: fn(rolled(x, k, d))))(every)
        np.testing.assert_allclose(found, jax.vmap(lambda k, y=y: rolled(y, k, d))(every), rtol=0, atol=1e-12)


def test_plain_strides_are_the_negative_control():
    x, given = randn((1, 8, 8, 2)), {"padding": "CIRCULAR", "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    down = nnx.Conv(2, 3, (3, 3), strides=2, **given)
    up = nnx.ConvTranspose(3, 2, (3, 3), (2, 2), **given)
    net = lambda x: up(jnp.tanh(down(x)))  # noqa: E731
    assert np.abs(net(jnp.roll(x, 1, 1)) - jnp.roll(net(x), 1, 1)).max() > 1e-2
    exact, back = layers((3, 3), (2, 2))
    _, choice = exact.with_choice(x)
    _, other = exact.with_choice(jnp.roll(x, 1, 1))
    stale = back(exact(jnp.roll(x, 1, 1), other), choice)  # up again at the phase of another input
    assert np.abs(stale - jnp.roll(back(exact(x, choice), choice), 1, 1)).max() > 1e-2


@pytest.mark.parametrize("group", [P4, P4M], ids=["p4", "p4m"])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_point_groups_lead_back_to_the_grid_of_the_input(group, size):
    regular = ej.reps.Regular(group.point_group)
    down = ej.nn.PolyphaseConv(2, 2, size, 2, **options(group, out_fibre=regular))
    up = ej.nn.PolyphaseConvTranspose(2, 1, size, 2, **options(group, in_fibre=regular))
    act = ej.GridAction(group)
    for phase in ((0, 0), (1, 0), (1, 1)):
        assert up.out_action_for(down.out_action_for(act, phase), phase) == act

    def net(x):
        y, choice = down.with_choice(x)
        return up(jnp.tanh(y), choice)

    count = group.point_group.order
    elements = (jnp.asarray([[h, 3 * h + 1] for h in range(count)], jnp.int32), jnp.arange(count, dtype=jnp.int32))
    assert ej.equivariance_error(jax.jit(net), act, act, randn((2, 8, 8, 2)), elements).max() <= 1e-12


def test_exactness_and_shapes():
    _, up = layers((3, 3), (2, 3))
    assert up.out_shape((5, 4, 3, 3)) == (5, 8, 9, 2) and up.strides == (2, 3)
    exactness = up.exactness((5, 4, 3, 3))
    assert exactness.shift_step == (2, 3) and exactness.out_action.spacing == up.out_action.spacing == (1, 1)
    y, elements = randn((2, 4, 3, 3)), exactness.elements()
    net = lambda y: up(y, choice_of((1, 2)))  # noqa: E731
    out_action = up.out_action_for(exactness.in_action, (1, 2))
    assert ej.equivariance_error(net, exactness.in_action, out_action, y, elements).max() <= 1e-12
    assert up.in_features == 3 and up.out_features == 2


def test_dtypes():
    _, up = layers((3,), (2,), param_dtype=jnp.float32)
    y = randn((2, 4, 3), dtype=jnp.float32)
    assert up(y, choice_of((1,))).dtype == jnp.float32
    _, half = layers((3,), (2,), param_dtype=jnp.float32, dtype=jnp.bfloat16)
    assert half(y, choice_of((1,))).dtype == jnp.bfloat16


RNGS = nnx.Rngs(0)
WRONG = {
    "padding": (lambda: ej.nn.PolyphaseConvTranspose(3, 2, (3,), 2, padding="SAME", rngs=RNGS), ValueError, ("`padding`", "SAME", "CIRCULAR")),
    "strides of 1": (lambda: ej.nn.PolyphaseConvTranspose(3, 2, (3,), 1, rngs=RNGS), ValueError, ("`strides`", "1", "at least 2")),
    "another window": (lambda: ej.nn.PolyphaseConvTranspose(3, 2, (3,), (2, 2), rngs=RNGS), ValueError, ("`strides`", "(2, 2)", "`kernel_size`")),
    "no choice": (lambda: layers((3,), (2,))[1](randn((2, 4, 3)), 3), TypeError, ("`choice`", "3", "Choice")),
    "another batch": (lambda: layers((3,), (2,))[1](randn((3, 4, 3)), choice_of((0,))), ValueError, ("`choice`", "made y")),
    "a phase out of range": (lambda: layers((3,), (2,))[1](randn((2, 4, 3)), choice_of((2,))), ValueError, ("`choice.phase`", "2")),
    "features": (lambda: layers((3,), (2,))[1](randn((2, 4, 5)), choice_of((0,))), ValueError, ("`inputs`", "in_features = 3")),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_bad_input(name):
    check_message(*WRONG[name])
