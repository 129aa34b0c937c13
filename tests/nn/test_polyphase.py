"""Phases chosen by the data: exact under every circular shift, to the last bit."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import equijax as ej
from equijax.nn import phases
from tests.helpers import check_message, randn

CASES = [((8,), (2,)), ((9,), (3,)), ((12,), (4,)), ((6,), (2,)), ((6, 8), (2, 2)), ((9, 6), (3, 2)), ((8, 4), (4, 2)),
         ((4, 6, 4), (2, 2, 2)), ((3, 6, 4), (3, 2, 1))]  # fmt: skip


def shifts_of(sizes):
    """Every circular shift, int ``(n, d)``."""
    return jnp.asarray(np.asarray(list(itertools.product(*(range(n) for n in sizes))), np.int32))


def rolled(x, shift, d):
    """x moved by a traced shift along d axes in front of the features."""
    for k in range(d):
        n = x.shape[k - d - 1]
        index = (jnp.arange(n, dtype=jnp.int32) - shift[k]) % n
        x = jnp.take(x, index, axis=k - d - 1)
    return x


def expected(choice, y, shift, strides):
    """The law: where the choice and the output go."""
    moved = choice.phase + jnp.broadcast_to(shift, choice.phase.shape)
    s = jnp.broadcast_to(jnp.asarray(strides, jnp.int32), moved.shape)
    return moved % s, jax.vmap(lambda y, q: rolled(y, q, len(strides)))(y, moved // s)


def layers(strides, scored):
    """The layers that choose a phase, on translations."""
    d, rngs = len(strides), nnx.Rngs(0)
    score = ej.nn.PhaseScore(3, 4, (2,) * d, rngs=rngs, param_dtype=jnp.float64) if scored else None
    return [ej.nn.PolyphaseDownsample(strides, score=score), ej.nn.PolyphaseMaxPool((2,) * d, strides, score=score)]


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize(("sizes", "strides"), CASES)
def test_bitwise_under_every_shift(sizes, strides, scored):
    d, x = len(sizes), randn((2, *sizes, 3))
    for layer in layers(strides, scored):
        y, choice = jax.jit(layer.with_choice)(x)
        every = shifts_of(sizes)
        found, chosen = jax.jit(jax.vmap(lambda k, layer=layer: layer.with_choice(rolled(x, k, d))))(every)
        phase, moved = jax.jit(jax.vmap(lambda k, y=y, c=choice: expected(c, y, k, strides)))(every)
        assert float(choice.margin.min()) > 1e-6
        np.testing.assert_array_equal(chosen.phase, phase)
        np.testing.assert_array_equal(found, moved)


@pytest.mark.parametrize(("sizes", "strides"), [((8,), (2,)), ((6, 9), (2, 3)), ((4, 4, 2), (2, 2, 2))])
def test_strided_convolution(sizes, strides):
    d, x = len(sizes), randn((2, *sizes, 3))
    layer = ej.nn.PolyphaseConv(3, 4, (3,) * d, strides, rngs=nnx.Rngs(0), param_dtype=jnp.float64)
    y, choice = jax.jit(layer.with_choice)(x)
    every = shifts_of(sizes)
    found, chosen = jax.jit(jax.vmap(lambda k: layer.with_choice(rolled(x, k, d))))(every)
    phase, moved = jax.jit(jax.vmap(lambda k: expected(choice, y, k, strides)))(every)
    np.testing.assert_array_equal(chosen.phase, phase)
    np.testing.assert_allclose(found, moved, rtol=0, atol=1e-13)
    picked = phases(layer.conv(x), strides)[jnp.arange(2), ej.nn._phases.phase_number(choice.phase, strides)]
    np.testing.assert_array_equal(y, picked)


def test_plain_strides_are_the_negative_control():
    x = randn((1, 8, 8, 3))
    plain = lambda x: x[:, ::2, ::2].mean((1, 2))  # noqa: E731
    assert np.abs(plain(x) - plain(jnp.roll(x, 1, 1))).max() > 1e-2
    exact = lambda x: ej.nn.PolyphaseDownsample((2, 2))(x).mean((1, 2))  # noqa: E731
    np.testing.assert_allclose(exact(x), exact(jnp.roll(x, 1, 1)), rtol=0, atol=1e-15)


class UNet(nnx.Module):
    """Two levels; every level goes up with the choice of its way down; a strided branch reuses the choice."""

    def __init__(self):
        options = {"padding": "CIRCULAR", "param_dtype": jnp.float64}
        rngs = nnx.Rngs(0)
        self.stem = ej.nn.Conv(3, 4, (3, 3), rngs=rngs, **options)
        self.down = nnx.List([ej.nn.PolyphaseConv(4, 4, (3, 3), 2, rngs=rngs, param_dtype=jnp.float64) for _ in range(2)])
        self.short = nnx.List([ej.nn.PolyphaseDownsample((2, 2)) for _ in range(2)])
        self.up = ej.nn.PolyphaseUpsample((2, 2))
        self.mix = nnx.List([ej.nn.Conv(8, 4, (3, 3), rngs=rngs, **options) for _ in range(2)])

    def __call__(self, x):
        x, kept = jnp.tanh(self.stem(x)), []
        for down, short in zip(self.down, self.short, strict=True):
            y, choice = down.with_choice(x)
            kept.append((x, choice))
            x = jnp.tanh(y) + short(x, choice)
        for mix in self.mix:
            skip, choice = kept.pop()
            x = jnp.tanh(mix(jnp.concatenate([skip, self.up(x, choice)], -1)))
        return x


def test_encoder_and_decoder_commute_with_every_shift():
    net, x = UNet(), randn((2, 8, 12, 3))
    every = shifts_of((8, 12))
    loss = lambda net, x: (net(x) ** 2 * jnp.tanh(net(x))).sum()  # noqa: E731
    for _ in range(2):
        y, gradient = jax.jit(lambda x, net=net: (net(x), jax.grad(lambda x: loss(net, x))(x)))(x)
        found = jax.jit(jax.vmap(lambda k, net=net: net(rolled(x, k, 2))))(every)
        np.testing.assert_allclose(found, jax.jit(jax.vmap(lambda k, y=y: rolled(y, k, 2)))(every), rtol=0, atol=1e-12)
        pulled = jax.jit(jax.vmap(lambda k, net=net: jax.grad(lambda z: loss(net, z))(rolled(x, k, 2))))(every[::7])
        np.testing.assert_allclose(
            pulled, jax.jit(jax.vmap(lambda k, g=gradient: rolled(g, k, 2)))(every[::7]), rtol=0, atol=1e-11
        )
        optimizer = nnx.Optimizer(net, optax.sgd(0.05), wrt=nnx.Param)
        optimizer.update(net, nnx.grad(lambda net: loss(net, x))(net))


@pytest.mark.parametrize("name", ["p4", "p4m"])
def test_point_groups_move_the_choice(name):
    group = ej.wallpaper(name)
    options = {"group": group, "rngs": nnx.Rngs(0), "param_dtype": jnp.float64}
    regular = ej.reps.Regular(group.point_group)
    down = ej.nn.PolyphaseConv(3, 2, (3, 3), 2, out_fibre=regular, **options)
    after = ej.nn.GroupConv(2, 2, (3, 3), padding="CIRCULAR", **options)
    pool = ej.nn.GlobalPool(group=group)
    x, act = randn((2, 8, 8, 3)), ej.GridAction(group)
    net = lambda x: pool(jnp.tanh(after(jnp.tanh(down(x)))))  # noqa: E731
    count = group.point_group.order
    elements = (jnp.asarray([[h, 3 * h + 1] for h in range(count)], jnp.int32), jnp.arange(count, dtype=jnp.int32))
    assert ej.equivariance_error(jax.jit(net), act, pool.out_action, x, elements).max() <= 1e-12


def test_the_output_action_belongs_to_a_choice():
    down, up, x = ej.nn.PolyphaseDownsample((2, 3)), ej.nn.PolyphaseUpsample((2, 3)), randn((6, 9, 2))
    y, choice = down.with_choice(x)
    act = down.in_action
    out = down.out_action_for(act, choice.phase)
    assert out.spacing == (2, 3) and out.origin == tuple(float(i) for i in choice.phase)
    assert up.out_action_for(out, choice.phase) == act
    shift = jnp.asarray([2, 6])
    np.testing.assert_array_equal(down(act(shift, x)), out(shift, y))
    exactness = down.exactness(x.shape)
    assert exactness.shift_steps == (2, 3) if hasattr(exactness, "shift_steps") else exactness is not None


def test_ties_are_reported_and_the_first_phase_wins():
    down = ej.nn.PolyphaseDownsample((2, 2))
    _, choice = down.with_choice(jnp.ones((1, 4, 4, 2), jnp.float64))
    assert float(choice.margin[0]) == 0 and choice.phase.tolist() == [[0, 0]]
    checks = jnp.asarray([[0.0, 1.0], [1.0, 0.0]])[None, :, :, None]  # moved onto itself by (1, 1)
    _, choice = down.with_choice(jnp.tile(checks, (1, 2, 2, 1)))
    assert float(choice.margin[0]) == 0
    _, choice = down.with_choice(randn((1, 4, 4, 2)))
    assert float(choice.margin[0]) > 0


def test_a_learned_choice_is_hard_and_gets_a_gradient():
    score = ej.nn.PhaseScore(3, 4, (3, 3), rngs=nnx.Rngs(1), param_dtype=jnp.float64)
    down, x = ej.nn.PolyphaseDownsample((2, 2), score=score), randn((4, 6, 6, 3))
    y, choice = down.with_choice(x)
    np.testing.assert_array_equal(y, down(x, choice))
    gradient = nnx.grad(lambda down: (down(x) ** 2).sum())(down)
    leaves = jax.tree.leaves(nnx.to_pure_dict(gradient))
    assert all(np.isfinite(leaf).all() for leaf in leaves) and any(np.abs(leaf).max() > 1e-6 for leaf in leaves)


@pytest.mark.parametrize("order", [1, 2, 3.5, np.inf])
def test_norms(order):
    x = randn((3, 6, 4, 2))
    _, choice = ej.nn.PolyphaseDownsample((3, 2), order=order)(x), ej.nn.PolyphaseDownsample((3, 2), order=order).choose(x)
    parts = np.abs(np.asarray(phases(x, (3, 2)))).reshape(3, 6, -1)
    best = np.argmax(parts.max(-1) if order == np.inf else (parts**order).sum(-1), -1)
    assert ej.nn._phases.phase_number(choice.phase, (3, 2)).tolist() == best.tolist()


def test_audit_accuses_nobody():
    class Net(nnx.Module):
        def __init__(self):
            self.down = ej.nn.PolyphaseConv(3, 4, (3, 3), 2, rngs=nnx.Rngs(0), param_dtype=jnp.float64)
            self.pool = ej.nn.PolyphaseMaxPool((2, 2))

        def __call__(self, x):
            return self.pool(jnp.tanh(self.down(x))).mean((1, 2))

    found = ej.audit.explain(Net(), randn((4, 8, 8, 3)), in_action=ej.GridAction(ej.Translation(2)))
    assert found.exact, [(row.name, row.verdict, row.ratio) for row in found.rows]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ej.nn.PolyphaseDownsample((2, 2))(randn((1, 7, 8, 3))), ValueError, ("`inputs`", "(7, 8)", "(8, 8)")),
        (lambda: ej.nn.PolyphaseDownsample((1, 1)), ValueError, ("`strides`", "at least 2")),
        (lambda: ej.nn.PolyphaseDownsample((2,), group=ej.Cyclic(4)), ValueError, ("`group`", "coset_subsample")),
        (lambda: ej.nn.PolyphaseDownsample((2,), order=0), ValueError, ("`order`", "0")),
        (lambda: ej.nn.PolyphaseDownsample((2,), order="ab"), TypeError, ("`order`", "'ab'")),
        (lambda: ej.nn.PolyphaseDownsample((2,)).choose("ab"), TypeError, ("`inputs`", "'ab'")),
        (lambda: ej.nn.PolyphaseUpsample((2,))(jnp.ones((2, 1)), 3), TypeError, ("`choice`", "3", "Choice")),
        (lambda: ej.nn.polyphase_downsample(jnp.ones((4, 1)), (2,), 3), TypeError, ("`choice`", "3", "Choice")),
        (lambda: ej.nn.polyphase_downsample(jnp.ones((4, 1)), (2,), trailing=-1), ValueError, ("`trailing`", "-1")),
        (lambda: ej.nn.from_phases(jnp.ones((3, 2, 1)), (2,)), ValueError, ("`parts`", "(3, 2, 1)", "2 phases")),
        (lambda: ej.nn.phases(jnp.ones((4, 1)), ()), ValueError, ("`strides`", "()")),
        (lambda: ej.nn.PolyphaseConv(1, 1, (3,), (2, 2), rngs=nnx.Rngs(0)), ValueError, ("`strides`", "(2, 2)", "`kernel_size`")),
        (lambda: ej.nn.PolyphaseDownsample((2,), score=3), TypeError, ("`score`", "PhaseScore")),
        (lambda: ej.nn.PolyphaseConv(3, 4, (3,), 2, padding="SAME", rngs=nnx.Rngs(0)), ValueError, ("`padding`", "SAME")),
        (lambda: ej.nn.PolyphaseDownsample((2,))(randn((4, 3)), ej.nn.PolyphaseDownsample((2,)).choose(randn((2, 4, 3)))),
         ValueError, ("`choice`", "batch")),
        (lambda: ej.nn.PolyphaseUpsample((2,))(randn((3, 4, 1)), ej.nn.PolyphaseDownsample((2,)).choose(randn((2, 4, 3)))),
         ValueError, ("`choice`", "made y")),
    ],
)  # fmt: skip
def test_bad_input(call, error, words):
    check_message(call, error, words)
