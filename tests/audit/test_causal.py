"""Causal layers read the sequence in order: by their padding, or by a triangular mask; masks of large negative constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.audit.claims import contradictions
from tests.audit.networks import IMAGE, LINE, POINTS, SET, SHIFT1, SHIFT2, Case, Chain, MaskedSet, conv, linear, mean
from tests.helpers import randn

N = 12
TRIANGLE = np.tril(np.ones((N, N), bool))
WINDOWS = np.equal.outer(np.arange(N) // 4, np.arange(N) // 4)  # as in a Swin transformer
OFFSET = np.subtract.outer(np.arange(N), np.arange(N))


class Attention(nnx.Module):
    """Attention over a line or a set; ``masked`` changes the scores."""

    def __init__(self, masked, heads=1):
        self.query, self.key, self.value = (linear(4, 4, seed) for seed in range(3))
        self.masked, self.heads = masked, heads

    def __call__(self, x, *more):
        split = lambda y: y.reshape(*y.shape[:-1], self.heads, -1)  # noqa: E731
        scores = jnp.einsum("bihc,bjhc->bhij", split(self.query(x)), split(self.key(x)))
        weights = nnx.softmax(self.masked(scores, *more))
        return jnp.einsum("bhij,bjhc->bihc", weights, split(self.value(x))).reshape(x.shape)


def attending(masked, heads=1):
    return lambda: Chain("stem", jnp.tanh, "bad", jnp.tanh, mean, stem=linear(3, 4), bad=Attention(masked, heads))


def added(allowed, value):
    return lambda s: s + jnp.broadcast_to(jnp.where(allowed, 0.0, value), s.shape)


def chosen(allowed, value):
    return lambda s: jnp.where(jnp.broadcast_to(allowed, s.shape), s, jnp.asarray(value, s.dtype))


LARGE = {"-inf": -jnp.inf, "-1e9": -1e9, "finfo.min": float(jnp.finfo(jnp.float64).min), "float32": -0.7 * 3.4e38}
ALLOWED = {"triangle": (TRIANGLE, {"order"}), "windows": (WINDOWS, {"position"})}


def line(name, make, expected, x=LINE, action: ej.Action = SHIFT1, **options):
    return Case(name, make, x, action, {"bad": expected}, options)


MASKS = [
    line(f"{kind} {how.__name__} {name}", attending(how(allowed, value)), expected)
    for kind, (allowed, expected) in ALLOWED.items()
    for how in (added, chosen)
    for name, value in LARGE.items()
]
DECAY = np.where(TRIANGLE, 0.9 ** np.maximum(OFFSET, 0), 0.0)
MORE = [
    line("heads", attending(added(TRIANGLE, -jnp.inf), 2), {"order"}),
    line("some earlier places", attending(chosen(TRIANGLE & (OFFSET < 4), -jnp.inf)), {"order"}),
    line("slopes", attending(lambda s: s + jnp.where(TRIANGLE, -0.1 * OFFSET, -jnp.inf)[None, None]), {"order"}),
    line("decay", attending(lambda s: s * jnp.broadcast_to(DECAY, s.shape)), {"order"}),
    line("one minus mask", attending(lambda s: s - jnp.broadcast_to(1e9 * (1 - TRIANGLE), s.shape)), {"order"}),
    line("learned too", attending(lambda s: s + (randn((N, N)) + jnp.where(TRIANGLE, 0.0, -jnp.inf))[None, None]),
         {"order", "position"}),
    line("a prefix that all see", attending(chosen(TRIANGLE | (np.arange(N) < 3), -jnp.inf)), {"position"}),
    line("near places", attending(chosen(abs(OFFSET) < 3, -jnp.inf)), {"position"}),
    line("a set", attending(added(TRIANGLE[:6, :6], -jnp.inf)), {"order"}, POINTS, SET),
]  # fmt: skip


def begun(x, low):
    """Zeros, and what comes behind them."""
    return jnp.concatenate([jnp.zeros_like(x[:, :low]), x], 1)


class Shifted(nnx.Module):
    """Adds to each place the one before it, as RWKV does."""

    def __init__(self, shift):
        self.stem, self.mix, self.shift = linear(3, 4), linear(4, 4), shift

    def __call__(self, x):
        x = jnp.tanh(self.stem(x))
        y = self.shift(x)
        return jnp.tanh(self.mix(x + y)).mean(1)


class Begun(nnx.Module):
    """A convolution behind zeros."""

    def __init__(self, low):
        self.stem, self.valid, self.low = linear(3, 4), conv(4, 4, d=1, padding="VALID"), low

    def __call__(self, x):
        return jnp.tanh(self.valid(begun(jnp.tanh(self.stem(x)), self.low))).mean(1)


def padded(x, low, high=0):
    return jnp.pad(x, ((0, 0), (low, high), (0, 0)))


def of_conv(k=3, d=1, **more):
    return lambda: Chain("stem", jnp.tanh, "bad", jnp.tanh, mean, stem=conv(3, 4, d=1), bad=conv(4, 4, k=k, d=d, **more))


def by_hand(low, high=0, k=3):
    return lambda: Chain("stem", jnp.tanh, lambda x: padded(x, low, high), "valid", jnp.tanh, mean, stem=conv(3, 4, d=1),
                         valid=conv(4, 4, k=k, d=1, padding="VALID"))  # fmt: skip


def on_image(padding):
    return lambda: Chain("stem", jnp.tanh, "bad", jnp.tanh, mean, stem=conv(3, 4), bad=conv(4, 4, padding=padding))


OURS = lambda: Chain("stem", jnp.tanh, "bad", jnp.tanh, mean, stem=conv(3, 4, d=1),  # noqa: E731
                     bad=ej.nn.Conv(4, 4, (3,), padding="CAUSAL", param_dtype=float, rngs=nnx.Rngs(1)))  # fmt: skip


def pool(window):
    def bad(x):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 1), (1, 1, 1), window)

    return lambda: Chain("stem", jnp.tanh, bad, jnp.tanh, mean, stem=conv(3, 4, d=1))


def named(case, name):
    return Case(case.name, case.make, case.x, case.action, {name: case.expected["bad"]}, case.options)


PADDED = [
    line("CAUSAL", of_conv(padding="CAUSAL"), {"order"}),
    line("dilated", of_conv(padding="CAUSAL", kernel_dilation=2), {"order"}),
    line("pairs", of_conv(padding=[(2, 0)]), {"order"}),
    line("pairs of a dilated one", of_conv(padding=[(4, 0)], kernel_dilation=2), {"order"}),
    line("one place behind", of_conv(padding=[(3, -1)]), {"order"}),
    line("strided", of_conv(padding="CAUSAL", strides=2), {"order", "phase"}),
    line("ours", OURS, {"order"}),
    line("not far enough", of_conv(padding=[(1, 0)], k=3), {"border"}),
    line("at the end", of_conv(padding=[(0, 2)]), {"border"}),
    line("an even window", of_conv(padding="SAME", k=2), {"border"}),
    line("one axis of two", on_image([(2, 0), (1, 1)]), {"order", "border"}, IMAGE, SHIFT2),
    line("both axes", on_image([(2, 0), (2, 0)]), {"order"}, IMAGE, SHIFT2),
    named(line("by hand", by_hand(2), {"order"}), "pad"),
    named(line("by hand, centred", by_hand(1, 1), {"border"}), "pad"),
    named(line("not far enough, by hand", by_hand(1), {"border"}), "pad"),
    named(line("shifted by one", lambda: Shifted(lambda x: padded(x, 1)[:, :-1]), {"order"}), "pad"),
    named(line("shifted by one, put together", lambda: Shifted(lambda x: begun(x[:, :-1], 1)), {"order"}), "concatenate"),
    named(line("zeros in front", lambda: Begun(2), {"order"}), "concatenate"),
    named(line("largest of earlier ones", pool([(0, 0), (2, 0), (0, 0)]), {"order"}), "reduce_window_max"),
    named(line("largest", pool([(0, 0), (1, 1), (0, 0)]), {"border"}), "reduce_window_max"),
]  # fmt: skip


def accused(report):
    return {cause.kind for row in report.accused for cause in row.causes}


@pytest.mark.parametrize("case", [*MASKS, *MORE, *PADDED], ids=lambda case: case.name)
def test_both_ways_of_reading_agree(case):
    report = case.audit()
    (key,) = case.expected
    assert accused(report) == case.expected[key], [(row.name, row.causes) for row in report.accused]
    cropped = ["reduce_sum"] if case.name.startswith("not far enough") else []  # the mean of what is left sees where it ends
    assert all({key, *cropped} & {row.path, *row.name.split()} for row in report.accused)
    assert all(np.isfinite(row.local_error) for row in report.rows) and np.isfinite(report.error).all()
    static = ej.audit.static(case.make(), case.x.shape, in_action=case.action, dtype=case.x.dtype)
    assert {cause.kind for row in static.rows for cause in row.causes} == case.expected[key]
    assert contradictions(case, report) == []
    plan = report.plan
    if "order" in case.expected[key]:
        assert plan.remaining == tuple(row.name for row in report.accused) and not plan.mends
        assert "CIRCULAR" not in (str(report) if case.expected[key] == {"order"} else str(plan))
        (advice,) = {cause.replacement for row in report.accused for cause in row.causes if cause.kind == "order"}
        assert "causal" in advice
    else:
        assert plan.complete or cropped, plan


class Padded(nnx.Module):
    """Attention of a set whose mask comes with the points; the mean over the points that are there."""

    def __init__(self, masked, heads=1):
        self.stem, self.bad = linear(3, 4), Attention(masked, heads)

    def __call__(self, x):
        valid = x["mask"]
        y = jnp.tanh(self.bad(jnp.tanh(self.stem(x["x"])), valid))
        return jnp.where(valid[..., None], y, 0.0).sum(1) / valid.sum(1, keepdims=True).astype(y.dtype)


def at_keys(value):
    return lambda s, valid: jnp.where(valid[:, None, None], s, jnp.asarray(value, s.dtype))


def at_both(value):
    return lambda s, valid: jnp.where(valid[:, None, :, None] & valid[:, None, None], s, jnp.asarray(value, s.dtype))


def added_keys(value):
    return lambda s, valid: s + jnp.where(valid, 0.0, value)[:, None, None]


VALID = jnp.arange(6)[None] < jnp.asarray([4, 5, 2, 6])[:, None]
#: As many samples as heads: the axes of the scores are told apart by what they are.
PAIR = {"x": POINTS[:2], "mask": VALID[:2]}


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("how", [at_keys, added_keys])
@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_masks_of_the_input_are_kept(how, value, heads):
    for x in ({"x": POINTS, "mask": VALID}, PAIR):
        report = ej.audit.explain(Padded(how(value), heads), x, in_action=MaskedSet())
        report.assert_exact()
        assert report.leaks == {}


def test_rows_without_a_place_to_attend_to_are_undefined():
    """A softmax of infinities only is no number, also where it does not reach the output."""
    x = {"x": POINTS, "mask": VALID.at[2].set(False)}
    report = ej.audit.explain(Padded(at_keys(-jnp.inf)), x, in_action=MaskedSet())
    assert report.undefined and not report.exact and "NaN or infinities" in str(report)
    assert "border" not in accused(report)
    with pytest.raises(AssertionError, match="undefined"):
        report.assert_exact()


def test_large_constants_leave_the_error_of_other_layers_alone():
    def make():
        return Chain("first", jnp.tanh, "bad", jnp.tanh, mean, first=conv(3, 4, d=1, padding="SAME"),
                     bad=Attention(chosen(TRIANGLE, jnp.finfo(jnp.float64).min)))  # fmt: skip

    report = ej.audit.explain(make(), LINE, in_action=SHIFT1)
    assert {row.path: {c.kind for c in row.causes} for row in report.accused} == {"first": {"border"}, "bad": {"order"}}
    assert abs(sum(row.share or 0.0 for row in report.rows) - 1) <= 1e-6
