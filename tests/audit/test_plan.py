"""Plans: mends that are tried by replay, and networks that are rebuilt from them."""

import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.audit.networks import Chain, conv, linear, mean

SHIFTS = ej.GridAction(ej.Translation(2))
P4 = ej.wallpaper("p4")
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16, 16, 3)))


class Block(nnx.Module):
    """Two convolutions beside a short cut, all as a residual network has them."""

    def __init__(self, inputs, outputs, strides, rngs):
        given = {"use_bias": False, "param_dtype": float, "rngs": rngs}
        self.first = nnx.Conv(inputs, outputs, (3, 3), strides=strides, padding=1, **given)
        self.second = nnx.Conv(outputs, outputs, (3, 3), padding=1, **given)
        self.short = nnx.Conv(inputs, outputs, (1, 1), strides=strides, **given)

    def __call__(self, x):
        return nnx.relu(self.second(nnx.relu(self.first(x))) + self.short(x))


class Residual(nnx.Module):
    """A stem, a max pooling, two blocks of which one has a stride, the mean, a dense layer."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.stem = nnx.Conv(3, 4, (7, 7), strides=2, padding=3, use_bias=False, param_dtype=float, rngs=rngs)
        self.blocks = nnx.List([Block(4, 4, 1, rngs), Block(4, 8, 2, rngs)])
        self.head = nnx.Linear(8, 3, param_dtype=float, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.stem(x)), (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


class MendedBlock(nnx.Module):
    """The strided block after the plan: the short cut takes the choice of the first convolution."""

    def __init__(self, old, strides):
        inputs, outputs, rngs = old.first.in_features, old.first.out_features, nnx.Rngs(1)
        given = {"use_bias": False, "param_dtype": float, "rngs": rngs}
        self.strided = strides > 1
        if self.strided:
            self.first = ej.nn.PolyphaseConv(inputs, outputs, (3, 3), (2, 2), **given)
            self.short = ej.nn.PolyphaseConv(inputs, outputs, (1, 1), (2, 2), **given)
        else:
            self.first = nnx.Conv(inputs, outputs, (3, 3), padding="CIRCULAR", **given)
            self.short = nnx.Conv(inputs, outputs, (1, 1), **given)
        self.second = nnx.Conv(outputs, outputs, (3, 3), padding="CIRCULAR", **given)

    def __call__(self, x):
        if not self.strided:
            return nnx.relu(self.second(nnx.relu(self.first(x))) + self.short(x))
        y, choice = self.first.with_choice(x)
        return nnx.relu(self.second(nnx.relu(y)) + self.short(x, choice))


class Mended(nnx.Module):
    """The residual network after the plan."""

    def __init__(self, old):
        self.stem = ej.nn.PolyphaseConv(3, 4, (7, 7), (2, 2), use_bias=False, param_dtype=float, rngs=nnx.Rngs(2))
        self.pool = ej.nn.PolyphaseMaxPool((3, 3), (2, 2))
        self.blocks = nnx.List([MendedBlock(block, k + 1) for k, block in enumerate(old.blocks)])
        self.head = old.head

    def __call__(self, x):
        x = self.pool(nnx.relu(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


def residual(size=32):
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, size, size, 3)))
    return Residual(), x


def test_a_residual_network_is_rebuilt_from_its_plan():
    model, x = residual()
    found = ej.audit.explain(model, x, in_action=SHIFTS)
    border = {"stem", "reduce_window_max", *(f"blocks.{k}.{name}" for k in (0, 1) for name in ("first", "second"))}
    phase = {"stem", "reduce_window_max", "blocks.1.first", "blocks.1.short"}
    key = lambda name: "reduce_window_max" if "reduce_window_max" in name else name  # noqa: E731
    for kind, names in (("border", border), ("phase", phase)):
        assert {key(row.name) for row in found.accused if kind in {cause.kind for cause in row.causes}} == names
    plan = found.plan
    assert plan.complete and not plan.remaining and plan.error < 1e-14 < 1e-2 < plan.errors[0]
    code = {key(mend.name): mend.code for mend in plan.mends}
    assert code["blocks.0.first"] == "nnx.Conv(4, 4, (3, 3), padding='CIRCULAR', use_bias=False, rngs=rngs)"
    assert code["stem"] == "ej.nn.PolyphaseConv(3, 4, (7, 7), (2, 2), use_bias=False, rngs=rngs)"
    assert code["reduce_window_max"] == "ej.nn.PolyphaseMaxPool((3, 3), (2, 2))(x)"
    assert code["blocks.1.short"].endswith("with the choice of `blocks.1.first`")
    shares = [mend.share for mend in plan.mends]
    assert shares == sorted(shares, reverse=True)

    mended = Mended(model)
    shifts = jnp.asarray([[1, 0], [0, 1], [3, 2], [-1, 7]])
    error = ej.equivariance_error(jax.jit(mended), SHIFTS, ej.TrivialAction(SHIFTS.group), x, shifts)
    assert error.max() <= 1e-10
    ej.audit.explain(mended, x, in_action=SHIFTS).assert_exact()


class UNet(nnx.Module):
    """Two poolings, two transposed convolutions, skips that are concatenated, zero padding."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        given = {"param_dtype": float, "rngs": rngs}
        plain = lambda a, b: nnx.Conv(a, b, (3, 3), padding="SAME", **given)  # noqa: E731
        up = lambda a, b: nnx.ConvTranspose(a, b, (2, 2), strides=2, padding="VALID", **given)  # noqa: E731
        self.in1, self.in2, self.bottom = plain(3, 4), plain(4, 8), plain(8, 8)
        self.up2, self.out2, self.up1, self.out1 = up(8, 8), plain(16, 8), up(8, 4), plain(8, 4)

    def __call__(self, x):
        a = nnx.relu(self.in1(x))
        b = nnx.relu(self.in2(nnx.max_pool(a, (2, 2), strides=(2, 2))))
        y = nnx.relu(self.bottom(nnx.max_pool(b, (2, 2), strides=(2, 2))))
        y = nnx.relu(self.out2(jnp.concatenate([self.up2(y), b], -1)))
        return self.out1(jnp.concatenate([self.up1(y), a], -1))


class MendedUNet(nnx.Module):
    """The same after the plan: both decoders are told the choices."""

    def __init__(self):
        given = {"padding": "CIRCULAR", "param_dtype": float, "rngs": nnx.Rngs(1)}
        plain = lambda a, b, n=3: nnx.Conv(a, b, (n, n), **given)  # noqa: E731
        self.in1, self.in2, self.bottom = plain(3, 4), plain(4, 8), plain(8, 8)
        self.pool, self.up = ej.nn.PolyphaseMaxPool((2, 2), (2, 2)), ej.nn.PolyphaseUpsample((2, 2))
        self.up2, self.out2, self.up1, self.out1 = plain(8, 8, 2), plain(16, 8), plain(8, 4, 2), plain(8, 4)

    def __call__(self, x):
        a = nnx.relu(self.in1(x))
        y, first = self.pool.with_choice(a)
        b = nnx.relu(self.in2(y))
        y, second = self.pool.with_choice(b)
        y = self.up2(self.up(nnx.relu(self.bottom(y)), second))
        y = nnx.relu(self.out2(jnp.concatenate([y, b], -1)))
        return self.out1(jnp.concatenate([self.up1(self.up(y, first)), a], -1))


@pytest.mark.parametrize("action", [SHIFTS, ej.GridAction(P4, ej.reps.Scalar(P4.point_group))], ids=["shifts", "p4"])
def test_the_plan_of_a_decoder_hands_the_choices_on(action):
    found = ej.audit.explain(UNet(), IMAGE, in_action=action)
    plan = found.plan
    assert plan.complete and plan.error < 1e-14
    mends = {mend.name: set(mend.kinds) for mend in plan.mends}
    assert "choice" in mends["up1"] and "choice" in mends["up2"]
    if action is SHIFTS:  # it has no fault of its own
        assert not {row.name for row in found.accused} & {"up1", "up2"}
        assert [mend.name for mend in plan.mends][-2:] == ["up2", "up1"]
        first, second = (mend.name for mend in sorted(plan.mends, key=lambda mend: mend.name) if "max" in mend.name)
        code = {mend.name: mend.code for mend in plan.mends}
        told = "(2, 2), (2, 2), rngs=rngs)(x, choice), with the choice of"
        assert code["up1"] == f"ej.nn.PolyphaseConvTranspose(8, 4, {told} `{first}`"
        assert code["up2"] == f"ej.nn.PolyphaseConvTranspose(8, 8, {told} `{second}`"


def test_a_decoder_is_rebuilt_from_its_plan():
    model = MendedUNet()
    shifts = jnp.asarray([[1, 0], [0, 1], [2, 2], [3, -2]])
    assert ej.equivariance_error(jax.jit(model), SHIFTS, SHIFTS, IMAGE, shifts).max() <= 1e-10
    ej.audit.explain(model, IMAGE, in_action=SHIFTS).assert_exact()


class PartsUNet(nnx.Module):
    """The same of the parts that the plan names."""

    def __init__(self):
        given = {"param_dtype": float, "rngs": nnx.Rngs(1)}
        plain = lambda a, b: nnx.Conv(a, b, (3, 3), padding="CIRCULAR", **given)  # noqa: E731
        up = lambda a, b: ej.nn.PolyphaseConvTranspose(a, b, (2, 2), (2, 2), **given)  # noqa: E731
        pool, relu = ej.nn.PolyphaseMaxPool((2, 2), (2, 2)), nnx.relu
        deep = ej.nn.PolyphaseStage(pool, [plain(8, 8), relu], up(8, 8))
        self.first, self.last = plain(3, 4), plain(8, 4)
        self.stage = ej.nn.PolyphaseStage(pool, [plain(4, 8), relu, deep, plain(16, 8), relu], up(8, 4))

    def __call__(self, x):
        return self.last(self.stage(nnx.relu(self.first(x))))


def test_the_plan_names_parts_that_make_the_decoder_exact():
    ej.audit.explain(PartsUNet(), IMAGE, in_action=SHIFTS).assert_exact()


def test_a_transposed_convolution_is_mended_with_its_own_sizes():
    up = nnx.ConvTranspose(3, 4, (4, 4), strides=2, padding="SAME", use_bias=False, param_dtype=float, rngs=nnx.Rngs(0))
    plan = ej.audit.explain(Chain("up", jnp.tanh, up=up), IMAGE, in_action=SHIFTS).plan
    code = "ej.nn.ConvTranspose(3, 4, (4, 4), padding='CIRCULAR', strides=(2, 2), use_bias=False, rngs=rngs)"
    assert plan.complete and [mend.code for mend in plan.mends] == [code]
    mended = eval(code, {"ej": ej, "rngs": nnx.Rngs(1)})
    mended.kernel = up.kernel
    assert jnp.abs(mended(jnp.roll(IMAGE, 1, 1)) - jnp.roll(mended(IMAGE), 2, 1)).max() <= 1e-10


def test_where_features_are_neighbours_the_phase_is_chosen_before():
    def patches(x):
        return jnp.concatenate([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)

    plan = ej.audit.explain(Chain(patches, "mix", jnp.tanh, mean, mix=conv(12, 4)), IMAGE, in_action=SHIFTS).plan
    assert plan.complete and [mend.kinds for mend in plan.mends] == [("phase",)]
    assert plan.mends[0].code.endswith("stride 1, then down(y, choice), with choice = down.choose(x)")
    neighbours = jnp.concatenate([jnp.roll(IMAGE, (-i, -j), (1, 2)) for i in (0, 1) for j in (0, 1)], -1)
    down = ej.nn.PolyphaseDownsample((2, 2))
    assert down.choose(neighbours).margin.max() < 1e-10 < 1e-3 < down.choose(IMAGE).margin.min()


def test_what_stays_is_named_with_the_error_that_is_left():
    model = Chain("bad", jnp.tanh, lambda x: jnp.cumsum(x, 1) / 8, jnp.tanh, mean, bad=conv(3, 4, padding="SAME"))
    plan = ej.audit.explain(model, IMAGE, in_action=SHIFTS).plan
    assert [mend.name for mend in plan.mends] == ["bad"] and not plan.complete
    assert len(plan.remaining) == 1 and "cumsum" in plan.remaining[0]
    assert plan.error > 1e-3
    assert "not exact" in str(plan) and "No mend removes" in str(plan)


def test_a_plan_is_made_once_and_kept():
    report = ej.audit.explain(Chain("bad", mean, bad=conv(3, 4, padding="SAME")), IMAGE, in_action=SHIFTS)
    assert report.plan is report.plan
    again = pickle.loads(pickle.dumps(report))
    assert str(again.plan) == str(report.plan) and again.plan.complete
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert json.loads(text)["plan"]["complete"] is True
    assert max(map(len, str(report.plan).splitlines())) <= 80


def test_nothing_to_mend():
    report = ej.audit.explain(Chain("a", jnp.tanh, mean, "head", a=conv(3, 4), head=linear(4, 2)), IMAGE, in_action=SHIFTS)
    assert str(report.plan) == "Nothing to mend." and report.plan.complete and report.exact
