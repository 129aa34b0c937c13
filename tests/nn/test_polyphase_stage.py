"""Stages of an encoder and decoder: down and up by one choice, so that all of it commutes with every shift."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.helpers import check_message, options, randn, train
from tests.nn.test_polyphase import rolled, shifts_of
from tests.nn.test_polyphase_conv_transpose import applied
from tests.nn.test_polyphase_residual import MODES, conv, made, norm, strided

Stage, Up = ej.nn.PolyphaseStage, ej.nn.PolyphaseConvTranspose


def up(inputs, outputs, window=(3, 3), strides=2, seed=6):
    return made(Up, inputs, outputs, window, strides, seed=seed)


def plain():
    return Stage(strided(3, 4), [jnp.tanh, conv(4, 4), jnp.tanh], up(4, 2))


def nested():
    deep = Stage(ej.nn.PolyphaseMaxPool((2, 2)), [conv(4, 4), jnp.tanh], up(4, 4, (2, 2)))
    return Stage(
        [conv(3, 4), jnp.tanh, ej.nn.PolyphaseMaxPool((2, 2))],
        [jnp.tanh, deep, conv(8, 4)],
        [jnp.tanh, up(4, 3), jnp.tanh],
        "add",
    )


def of_residual_blocks():
    block = ej.nn.PolyphaseResidual(
        [strided(3, 4), jnp.tanh, conv(4, 4)], strided(3, 4, (1, 1), seed=3), activation=jnp.tanh
    )
    return Stage([norm(3), block, conv(4, 4)], jnp.tanh, [conv(4, 3, (1, 1)), ej.nn.PolyphaseUpsample((2, 2)), conv(3, 2)])


def with_a_gate():
    gate = lambda x, y: x * jax.nn.sigmoid(y)  # noqa: E731
    return Stage(ej.nn.PolyphaseDownsample((2, 2)), None, up(3, 3), gate)


def uneven():
    return Stage(strided(3, 4, strides=(1, 4)), [jnp.tanh], nnx.Sequential(up(4, 2, strides=(1, 4)), jnp.tanh))


STAGES = {fn.__name__: fn for fn in (plain, nested, of_residual_blocks, with_a_gate, uneven)}


@pytest.mark.parametrize("name", STAGES)
def test_every_shift_forward_and_gradient(name):
    sizes = (8, 8) if name == "nested" else (4, 8)  # a window as large as the grid would make a tie
    stage, x, every = STAGES[name](), randn((2, *sizes, 3)), shifts_of(sizes)
    slope = jax.grad(lambda x: (stage(x) ** 2 * jnp.tanh(stage(x))).sum())
    for fn in (stage, slope):
        y = jax.jit(fn)(x)
        assert y.shape[:-1] == x.shape[:-1] and np.abs(y).max() > 1e-3
        np.testing.assert_allclose(fn(x), y, rtol=0, atol=1e-12)
        found = jax.jit(jax.vmap(lambda k, fn=fn: fn(rolled(x, k, 2))))(every)
        np.testing.assert_allclose(found, jax.vmap(lambda k, y=y: rolled(y, k, 2))(every), rtol=0, atol=1e-12)
    assert stage.out_shape(x.shape) == stage(x).shape


def test_it_is_what_one_writes_by_hand():
    stage, x = plain(), randn((2, 4, 8, 3))
    y, choice = stage.down[0].with_choice(x)
    y = stage.up[0](jnp.tanh(stage.inside[1](jnp.tanh(y))), choice)
    np.testing.assert_array_equal(stage(x), jnp.concatenate([x, y], -1))


def test_plain_strides_are_the_negative_control():
    x = randn((2, 4, 8, 3))
    down, back = (
        made(nnx.Conv, 3, 4, (3, 3), 2, padding="CIRCULAR"),
        made(nnx.ConvTranspose, 4, 2, (3, 3), 2, padding="CIRCULAR"),
    )
    error = lambda net: np.abs(net(jnp.roll(x, 1, 1)) - jnp.roll(net(x), 1, 1)).max()  # noqa: E731
    assert error(lambda x: back(jnp.tanh(down(x)))) > 1e-2
    padded = Stage(strided(3, 4), made(nnx.Conv, 4, 4, (3, 3)), up(4, 2))
    assert np.abs(padded(jnp.roll(x, 2, 1)) - jnp.roll(padded(x), 2, 1)).max() > 1e-2


@pytest.mark.parametrize("name", ["p4", "p4m"])
@pytest.mark.parametrize("join", ["concatenate", "add"])
def test_point_groups(name, join):
    group = ej.wallpaper(name)
    regular = ej.reps.Regular(group.point_group)
    stage = Stage(
        ej.nn.PolyphaseConv(2, 2, 3, 2, **options(group, out_fibre=regular)),
        [jnp.tanh, ej.nn.GroupConv(2, 2, 3, padding="CIRCULAR", **options(group)), jnp.tanh],
        Up(2, 2, 3, 2, **options(group, in_fibre=regular)), join)  # fmt: skip
    exactness = stage.exactness((2, 8, 8, 2))
    assert exactness.keeps_point_group and exactness.shift_step == (1, 1)
    assert stage.out_action == stage.in_action == ej.GridAction(group)
    count = group.point_group.order
    elements = (jnp.asarray([[h, 3 * h + 1] for h in range(count)], jnp.int32), jnp.arange(count, dtype=jnp.int32))
    act = ej.GridAction(group)
    assert ej.equivariance_error(jax.jit(stage), act, act, randn((2, 8, 8, 2)), elements).max() <= 1e-12


def of_ours(padding="CIRCULAR", join="add", behind=jnp.tanh):
    inside = made(ej.nn.Conv, 4, 4, (3, 3), padding=padding)
    return Stage(strided(3, 4), [jnp.tanh, inside], [up(4, 3), behind], join)


def test_exactness():
    shape = (2, 4, 8, 3)
    assert of_ours().exactness(shape).shift_step == (1, 1) and of_ours().out_action == of_ours().in_action
    whole = ej.nn.Sequential(made(ej.nn.Conv, 3, 3, (3, 3), padding="CIRCULAR"), of_ours(), jnp.tanh)
    assert whole.exactness(shape).shift_step == (1, 1)
    assert ej.nn.Sequential(of_ours(), jnp.tanh).exactness(shape).shift_step == (1, 1)
    around = Stage(strided(3, 3), [of_ours()], up(3, 2))
    assert around.exactness((2, 8, 8, 3)).shift_step == (1, 1)
    block = ej.nn.PolyphaseResidual([strided(3, 4), jnp.tanh, made(ej.nn.Conv, 4, 4, (3, 3))], strided(3, 4, (1, 1)))
    for stage in (
        of_ours("SAME"),
        of_ours(join=lambda x, y: x * y),
        plain(),
        of_ours(behind=conv(3, 3)),
        Stage(block, None, up(4, 2)),
    ):
        exactness = stage.exactness(shape)
        assert not exactness.kept.is_known and exactness.reason
        assert not stage.out_action.is_known or stage is not plain


class UNet(nnx.Module):
    """A U-Net of two stages in single precision, with the parts as users write them."""

    def __init__(self, rngs):
        conv = lambda inputs, outputs: nnx.Conv(inputs, outputs, (3, 3), padding="CIRCULAR", rngs=rngs)  # noqa: E731
        pool, up = ej.nn.PolyphaseMaxPool, ej.nn.PolyphaseConvTranspose
        deep = ej.nn.PolyphaseStage(
            pool((2, 2)), [conv(8, 16), nnx.relu, conv(16, 16), nnx.relu], up(16, 8, (2, 2), rngs=rngs)
        )
        self.stem, self.head = conv(3, 4), conv(8, 3)
        self.net = ej.nn.PolyphaseStage(
            pool((2, 2)), [conv(4, 8), nnx.relu, deep, conv(16, 8), nnx.relu], up(8, 4, (2, 2), rngs=rngs)
        )

    def __call__(self, x):
        return self.head(self.net(nnx.relu(self.stem(x))))


def test_the_audit_finds_it_exact():
    net, x = UNet(nnx.Rngs(0)), randn((4, 16, 16, 3), dtype=jnp.float32)
    act = ej.GridAction(ej.Translation(2))
    found = ej.audit.explain(net, x, in_action=act)
    found.assert_exact()
    assert found.exact
    net.net.inside[2].inside[0] = nnx.Conv(8, 16, (3, 3), rngs=nnx.Rngs(1))
    assert [row.name for row in ej.audit.explain(net, x, in_action=act).accused] == ["net.inside.2.inside.0"]


@pytest.mark.slow
def test_graph_modes_and_training():
    x, expected = randn((4, 8, 8, 3), dtype=jnp.float32), None
    for graph, updates in MODES:
        with nnx.set_graph_mode(graph), nnx.set_graph_updates(updates):
            net = UNet(nnx.Rngs(0))
            y = nnx.jit(lambda net, x: net(x))(net, x)
            expected = y if expected is None else expected
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
            gradient = nnx.grad(lambda net: (net(x) ** 2).sum())(net)
            assert all(np.isfinite(leaf).all() and np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))
            repr(net), nnx.clone(net)
    stage = plain()
    train(stage, randn((2, 4, 8, 3)))
    np.testing.assert_allclose(applied(stage, randn((2, 4, 8, 3))), stage(randn((2, 4, 8, 3))), rtol=0, atol=1e-13)


X = randn((2, 4, 8, 3))
P4 = ej.wallpaper("p4")
REGULAR = ej.reps.Regular(P4.point_group)
WRONG = {
    "none chooses": (lambda: Stage(conv(3, 4), None, up(4, 3)), ValueError, ("`down`", "Conv", "PolyphaseConv")),
    "none takes the choice": (lambda: Stage(strided(3, 4), None, conv(4, 3)), ValueError, ("`up`", "Conv", "PolyphaseUpsample", "`down`")),
    "two take it": (lambda: Stage(strided(3, 4), None, [up(4, 3), up(3, 3)]), ValueError, ("`up`", "2 layers", "`inside`")),
    "one is hidden": (lambda: Stage(strided(3, 4), None, nnx.List([Hidden()])), ValueError, ("`up`", "Hidden", "(x, choice)")),
    "other strides": (lambda: Stage(strided(3, 4), None, up(4, 3, strides=(2, 4))), ValueError, ("`up`", "(2, 4)", "`down`", "(2, 2)")),
    "join": (lambda: Stage(strided(3, 4), None, up(4, 3), "multiply"), ValueError, ("`join`", "'multiply'", "'concatenate'", "'add'")),
    "features": (lambda: Stage(strided(3, 4), None, up(4, 1), "add")(X), ValueError, ("(2, 4, 8, 3)", "(2, 4, 8, 1)", "as many features")),
    "grid": (lambda: Stage(strided(3, 4), made(nnx.Conv, 4, 4, (2, 2), padding="VALID"), up(4, 3))(X), ValueError, ("`inputs`", "(2, 4, 8, 3)", "(2, 2, 6, 3)", "the grid")),
    "sizes": (lambda: plain()(randn((2, 5, 8, 3))), ValueError, ("`inputs`", "(5, 8)", "(6, 8)")),
    "no layer": (lambda: Stage(strided(3, 4), 3, up(4, 3)), TypeError, ("`inside`", "3", "layer")),
    "inputs": (lambda: plain()("ab"), TypeError, ("`inputs`", "'ab'")),
    "fibres": (lambda: Stage(ej.nn.PolyphaseConv(3, 4, 3, 2, **options(P4)), None, Up(4, 3, 3, 2, **options(P4, out_fibre=REGULAR))), ValueError,
               ("`up`", "out_fibre", "`down`")),
    "windows of a group": (lambda: Stage(ej.nn.PolyphaseConv(3, 4, 3, 2, **options(P4)), None, Up(4, 3, 2, 2, **options(P4))), ValueError,
                           ("`up`", "equal sizes")),
    "weights that aren't shared": (lambda: Stage(ej.nn.PolyphaseConv(3, 4, 3, 2, **options(P4)), conv(4, 4), Up(4, 3, 3, 2, **options(P4))),
                                   ValueError, ("`inside`", "nnx.Conv", "equijax.nn.Conv")),
}  # fmt: skip


class Hidden(nnx.Module):
    def __init__(self):
        self.up = up(4, 3)

    def __call__(self, x):
        return x


@pytest.mark.parametrize("name", WRONG)
def test_bad_input(name):
    check_message(*WRONG[name])
