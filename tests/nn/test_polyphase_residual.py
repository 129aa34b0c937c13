"""Residual blocks with a stride: both ways keep one choice, so the block commutes with every shift."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.helpers import check_message, options, randn, train
from tests.nn.test_polyphase import expected, rolled, shifts_of
from tests.nn.test_polyphase_conv_transpose import applied

MODES = [(True, True), (True, False), (False, False)]
Residual, Polyphase = ej.nn.PolyphaseResidual, ej.nn.PolyphaseConv


def made(kind, *arguments, seed=0, **more):
    given = options(None, seed, **more)
    given.pop("group")
    return kind(*arguments, **given)


def conv(inputs, outputs, window=(3, 3), seed=1, kind=nnx.Conv):
    return made(kind, inputs, outputs, window, seed=seed, padding="CIRCULAR")


def strided(inputs, outputs, window=(3, 3), strides=2, seed=2):
    return made(Polyphase, inputs, outputs, window, strides, seed=seed)


def norm(features):
    return ej.nn.GroupNorm(features, 1, group=ej.Translation(2), param_dtype=jnp.float64, rngs=nnx.Rngs(0))


def basic():
    return Residual(
        main=[strided(3, 4), norm(4), jnp.tanh, conv(4, 4)], short=strided(3, 4, (1, 1), seed=3), activation=jax.nn.silu
    )


def before_activation():
    return Residual(
        main=[norm(3), jnp.tanh, strided(3, 4), norm(4), jnp.tanh, conv(4, 4)], short=[strided(3, 4, (1, 1), seed=3)]
    )


def bottleneck():
    return Residual(
        main=[conv(3, 2, (1, 1)), jnp.tanh, strided(2, 2), jnp.tanh, conv(2, 4, (1, 1))],
        short=[ej.nn.PolyphaseDownsample((2, 2)), conv(3, 4, (1, 1), seed=4)],
    )


def without_short():
    return Residual([conv(3, 3), jnp.tanh, ej.nn.PolyphaseDownsample((2, 2)), conv(3, 3, seed=5)], activation=jnp.tanh)


def pooled():
    return Residual(nnx.Sequential(conv(3, 4), jnp.tanh, ej.nn.PolyphaseMaxPool((2, 2))), strided(3, 4, (1, 1)))


def of_a_block():
    return Residual([conv(3, 3), basic(), jnp.tanh, conv(4, 4)], [basic()], activation=jnp.tanh)


def uneven():
    return Residual([strided(3, 4, strides=(3, 1)), jnp.tanh, conv(4, 4)], strided(3, 4, (1, 1), (3, 1)))


def chain():
    lift = ej.nn.Sequential(conv(3, 4, kind=ej.nn.Conv), jnp.tanh, strided(4, 4))
    return Residual([lift, jnp.tanh, conv(4, 3, kind=ej.nn.Conv)])


BLOCKS = {fn.__name__: fn for fn in (basic, before_activation, bottleneck, without_short, pooled, of_a_block, uneven, chain)}


@pytest.mark.parametrize("name", BLOCKS)
def test_every_shift_forward_and_gradient(name):
    block, x, every = BLOCKS[name](), randn((2, 6, 4, 3)), shifts_of((6, 4))
    s = block.strides
    y, choice = jax.jit(block.with_choice)(x)
    assert float(choice.margin.min()) > 1e-6 and y.shape == block.out_shape(x.shape) == (
        2,
        6 // s[0],
        4 // s[1],
        y.shape[-1],
    )
    found, chosen = jax.jit(jax.vmap(lambda k: block.with_choice(rolled(x, k, 2))))(every)
    phase, moved = jax.jit(jax.vmap(lambda k: expected(choice, y, k, s)))(every)
    np.testing.assert_array_equal(chosen.phase, phase)
    np.testing.assert_allclose(found, moved, rtol=0, atol=1e-12)
    slope = jax.grad(lambda x: (block(x).mean((1, 2)) ** 3).sum())
    pulled = jax.jit(jax.vmap(lambda k: slope(rolled(x, k, 2))))(every)
    gradient = jax.jit(slope)(x)
    assert np.abs(gradient).max() > 1e-6
    np.testing.assert_allclose(pulled, jax.vmap(lambda k: rolled(gradient, k, 2))(every), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", BLOCKS)
def test_jitted_equals_eager_and_a_given_choice_is_used(name):
    block, x = BLOCKS[name](), randn((2, 6, 4, 3))
    y, choice = block.with_choice(x)
    np.testing.assert_allclose(applied(block, x), y, rtol=0, atol=1e-13)
    np.testing.assert_allclose(applied(block, x, choice), y, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(block.choose(x).phase, choice.phase)
    other = choice._replace(phase=(choice.phase + 1) % jnp.asarray(block.strides, jnp.int32)[None])
    z, same = block.with_choice(x, other)
    assert same is other and np.abs(z - y).max() > 1e-3


def test_it_is_what_one_writes_by_hand():
    block, x = basic(), randn((2, 6, 4, 3))
    first, normed, _, second = block.main
    y, choice = first.with_choice(x)
    y = jax.nn.silu(second(jnp.tanh(normed(y))) + block.short[0](x, choice))
    np.testing.assert_array_equal(block(x), y)


def test_without_short_the_samples_of_the_input_are_added():
    block, x = without_short(), randn((2, 6, 4, 3))
    y, choice = block.with_choice(x)
    main = block.main[3](block.main[2](jnp.tanh(block.main[0](x)), choice))
    np.testing.assert_array_equal(y, jnp.tanh(main + ej.nn.polyphase_downsample(x, (2, 2), choice)[0]))
    regular = ej.reps.Regular(ej.Cyclic(4))
    group = ej.wallpaper("p4")
    turned = Residual(ej.nn.PolyphaseConv(2, 2, 3, 2, **options(group, in_fibre=regular, out_fibre=regular)))
    assert turned(randn((1, 4, 4, 4, 2))).shape == (1, 2, 2, 4, 2)


def test_plain_strides_are_the_negative_control():
    main, short = (
        nnx.Sequential(made(nnx.Conv, 3, 4, (3, 3), 2, padding="CIRCULAR"), jnp.tanh),
        made(nnx.Conv, 3, 4, (1, 1), 2),
    )
    plain = lambda x: (main(x) + short(x)).mean((1, 2))  # noqa: E731
    x = randn((2, 6, 4, 3))
    assert np.abs(plain(x) - plain(jnp.roll(x, 1, 1))).max() > 1e-2
    block = basic()
    apart = lambda x: (block.main[0](x) + block.short[0](x)).mean((1, 2))  # noqa: E731  # each with a choice of its own
    phases = [block.main[0].choose(x).phase, block.short[0].choose(x).phase]
    assert (phases[0] != phases[1]).any() and np.abs(apart(x) - block(x).mean((1, 2))).max() > 1e-3
    padded = Residual([strided(3, 4), made(nnx.Conv, 4, 4, (3, 3), padding="SAME")], strided(3, 4, (1, 1)))
    assert np.abs(padded(x).mean((1, 2)) - padded(jnp.roll(x, 2, 1)).mean((1, 2))).max() > 1e-4


@pytest.mark.parametrize("group", ["p4", "p4m"])
def test_point_groups(group):
    group = ej.wallpaper(group)
    regular = ej.reps.Regular(group.point_group)
    kernel, one = ([2, 2, size, 2] for size in (3, 1))
    block = Residual(
        main=[ej.nn.PolyphaseConv(*kernel, **options(group, out_fibre=regular)), jnp.tanh,
              ej.nn.GroupConv(2, 2, 3, padding="CIRCULAR", **options(group))],
        short=ej.nn.PolyphaseConv(*one, **options(group, out_fibre=regular)),
        activation=jnp.tanh)  # fmt: skip
    pool = ej.nn.GlobalPool(group=group)
    count = group.point_group.order
    elements = (jnp.asarray([[h, 3 * h + 1] for h in range(count)], jnp.int32), jnp.arange(count, dtype=jnp.int32))
    net = jax.jit(lambda x: pool(block(x)))
    assert ej.equivariance_error(net, block.in_action, pool.out_action, randn((2, 8, 8, 2)), elements).max() <= 1e-12


def test_actions_and_exactness():
    block = Residual([conv(3, 3, kind=ej.nn.Conv), strided(3, 4), jnp.tanh], strided(3, 4, (1, 1)), activation=jnp.tanh)
    assert block.out_action == ej.GridAction(ej.Translation(2), spacing=(2, 2))
    assert block.out_action_for(block.in_action, (1, 0)).origin == (1.0, 0.0)
    exactness = block.exactness((2, 6, 4, 3))
    assert exactness.shift_step == (2, 2) and exactness.kept.is_known
    x = randn((2, 6, 4, 3))
    assert ej.equivariance_error(block, exactness.in_action, exactness.out_action, x, exactness.elements()).max() <= 1e-12
    followed = ej.nn.Sequential(conv(3, 3, kind=ej.nn.Conv), block, conv(4, 4, kind=ej.nn.Conv))
    assert followed.exactness((2, 6, 4, 3)).shift_step == (2, 2)
    unknown = basic()  # whose convolution of Flax can't be followed
    assert not unknown.exactness((2, 6, 4, 3)).kept.is_known
    assert not unknown.out_action.is_known
    with pytest.raises(ValueError, match="Nothing is claimed"):
        unknown.out_action(jnp.zeros(2, jnp.int32), unknown(randn((2, 6, 4, 3))))


class Network(nnx.Module):
    """A small ResNet in single precision, with the parts as users write them."""

    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 4, (3, 3), padding="CIRCULAR", rngs=rngs)
        self.blocks = nnx.List([
            ej.nn.PolyphaseResidual(
                main=[
                    ej.nn.PolyphaseConv(4, 4, (3, 3), 2, rngs=rngs), nnx.BatchNorm(4, rngs=rngs), nnx.relu,
                    nnx.Conv(4, 4, (3, 3), padding="CIRCULAR", rngs=rngs), nnx.BatchNorm(4, rngs=rngs),
                ],
                short=[ej.nn.PolyphaseConv(4, 4, (1, 1), 2, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)],
                activation=nnx.relu,
            )
            for _ in range(2)
        ])  # fmt: skip
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


def test_the_audit_finds_it_exact():
    net = Network(nnx.Rngs(0))
    x = randn((4, 16, 16, 3), dtype=jnp.float32)
    net(x)
    net.eval()
    found = ej.audit.explain(net, x, in_action=ej.GridAction(ej.Translation(2)))
    found.assert_exact()
    assert found.exact
    net.blocks[1].main[3] = nnx.Conv(4, 4, (3, 3), rngs=nnx.Rngs(1))
    blamed = ej.audit.explain(net, x, in_action=ej.GridAction(ej.Translation(2)))
    assert [row.name for row in blamed.accused] == ["blocks.1.main.3"]


@pytest.mark.slow
def test_graph_modes_training_and_statistics():
    x = randn((4, 8, 8, 3), dtype=jnp.float32)
    expected = None
    for graph, updates in MODES:
        with nnx.set_graph_mode(graph), nnx.set_graph_updates(updates):
            net = Network(nnx.Rngs(0))
            net.eval()
            y = nnx.jit(lambda net, x: net(x))(net, x)
            expected = y if expected is None else expected
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
            gradient = nnx.grad(lambda net: (net(x) ** 2).sum())(net)
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
            repr(net), nnx.clone(net)
    train(basic(), randn((2, 6, 4, 3)))


class Hidden(nnx.Module):
    def __init__(self):
        self.down = strided(3, 4)

    def __call__(self, x):
        return self.down(x)


class ByHand(nnx.Module):
    """A user's own part that shares its choice."""

    def __init__(self):
        self.down, self.strides = strided(3, 4), (2, 2)

    def with_choice(self, x, choice=None):
        y, choice = self.down.with_choice(x, choice)
        return jnp.tanh(y), choice

    def __call__(self, x, choice=None):
        return self.with_choice(x, choice)[0]


def test_a_part_of_the_user_may_choose():
    block, x = Residual(ByHand(), strided(3, 4, (1, 1))), randn((2, 6, 4, 3))
    y, choice = block.with_choice(x)
    moved, _ = block.with_choice(jnp.roll(x, 1, 1))
    np.testing.assert_allclose(jnp.sort(y.ravel()), jnp.sort(moved.ravel()), rtol=0, atol=1e-13)
    assert Residual([ByHand(), conv(4, 3)])(x).shape == (2, 3, 2, 3) and choice.phase.shape == (2, 2)
    check_message(lambda: block.in_action, ValueError, ("`main`", "no layer of equijax"))


X = randn((2, 6, 4, 3))
PLAIN = made(nnx.Conv, 3, 4, (3, 3), 2)
P4 = ej.wallpaper("p4")
WRONG = {
    "none chooses": (lambda: Residual([PLAIN, nnx.relu]), ValueError, ("`main`", "Conv", "relu", "PolyphaseConv")),
    "one is hidden": (lambda: Residual([Hidden(), nnx.relu]), ValueError, ("`main`", "Hidden", "list", "with_choice(x, choice=None)")),
    "two choose": (lambda: Residual([strided(3, 4), jnp.tanh, ej.nn.PolyphaseMaxPool((2, 2))]), ValueError,
                   ("`main`", "PolyphaseConv (layer 0)", "PolyphaseMaxPool (layer 2)", "one behind the other")),
    "short does not choose": (lambda: Residual(strided(3, 4), conv(3, 4, (1, 1))), ValueError, ("`short`", "Conv", "PolyphaseConv")),
    "other strides": (lambda: Residual(strided(3, 4), strided(3, 4, (1, 1), (2, 1))), ValueError, ("`short`", "(2, 1)", "`main`", "(2, 2)")),
    "features": (lambda: Residual(strided(3, 4))(X), ValueError, ("`main`", "(2, 3, 2, 4)", "`short`", "(2, 3, 2, 3)", "PolyphaseConv(3, 4, (1, 1), (2, 2)")),
    "features that broadcast": (lambda: Residual(strided(3, 4), strided(3, 1, (1, 1)))(X), ValueError, ("(2, 3, 2, 4)", "(2, 3, 2, 1)", "as many features")),
    "a grid that broadcasts": (lambda: Residual([strided(3, 3), conv(3, 3), lambda x: x.mean((1, 2), keepdims=True)])(X), ValueError, ("(2, 1, 1, 3)", "stride 1")),
    "another grid before": (lambda: Residual([made(nnx.Conv, 3, 3, (2, 3), padding="VALID"), strided(3, 4, strides=(1, 2))])(X), ValueError,
                            ("`main`", "(2, 6, 4)", "(2, 5, 2)", "keep the grid")),
    "nothing": (lambda: Residual([]), ValueError, ("`main`", "at least one layer")),
    "no layer": (lambda: Residual([strided(3, 4), 3]), TypeError, ("`main`", "3", "layer")),
    "a class": (lambda: Residual(nnx.Linear), TypeError, ("`main`", "Linear")),
    "activation": (lambda: Residual(strided(3, 4), activation=3), TypeError, ("`activation`", "3")),
    "choice": (lambda: basic()(X, 3), TypeError, ("`choice`", "3", "Choice")),
    "inputs": (lambda: basic().with_choice("ab"), TypeError, ("`inputs`", "'ab'")),
    "sizes": (lambda: basic()(randn((2, 5, 4, 3))), ValueError, ("`inputs`", "(5, 4)", "(6, 4)")),
    "fibres": (lambda: Residual(ej.nn.PolyphaseConv(3, 4, 3, 2, **options(P4, out_fibre=ej.reps.Regular(P4.point_group)))), ValueError,
               ("`short`", "`main`", "out_fibre")),
    "windows of a group": (lambda: Residual(ej.nn.PolyphaseConv(3, 3, 2, 2, **options(P4))), ValueError, ("`short`", "odd", "even")),
    "weights that aren't shared": (lambda: Residual([ej.nn.PolyphaseConv(3, 3, 3, 2, **options(P4)), conv(3, 3)]), ValueError,
                                   ("`main`", "nnx.Conv", "equijax.nn.Conv")),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_bad_input(name):
    check_message(*WRONG[name])
