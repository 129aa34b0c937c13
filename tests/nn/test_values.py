"""What layers add up, square and choose: right for every dtype, at the ends of its range, and at borders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.helpers import check_message, randn

nn = ej.nn
P6 = ej.wallpaper("p6")
SUMS = {
    "AvgPool of bfloat16": (lambda x: nn.AvgPool((32, 32))(x), (32, 32, 1), jnp.bfloat16, 1, 1),
    "AvgPool of float16": (lambda x: nn.AvgPool((32, 32))(x), (32, 32, 1), jnp.float16, 300, 300),
    "AvgPool of int8": (lambda x: nn.AvgPool((2, 2))(x), (2, 2, 1), jnp.int8, 100, 100),
    "BlurPool of uint8": (lambda x: nn.BlurPool(3, (2,))(x), (4, 1), jnp.uint8, 255, 255),
    "Upsample of bool": (lambda x: nn.Upsample((2,))(x), (4, 1), jnp.bool_, True, 1),
    "Upsample of float16": (lambda x: nn.Upsample((3,))(x), (4, 1), jnp.float16, 65504, 65504),
    "CentredPool of float16": (lambda x: nn.CentredPool(3, 2, group=ej.wallpaper("p4"), in_fibre=ej.reps.Scalar(ej.Cyclic(4)))(x),
                               (4, 4, 1), jnp.float16, 65504, 65504),
    "FibrePool of uint8": (lambda x: nn.FibrePool("sum", group=ej.Cyclic(4))(x), (4, 1), jnp.uint8, 100, 400),
    "coset_pool of float16": (lambda x: nn.coset_pool(x, ej.Cyclic(4).subgroup([2]), "mean"), (4, 1), jnp.float16, 65504, 65504),
    "MaxPool of bool": (lambda x: nn.MaxPool((2,), 1, 1)(x), (2, 1), jnp.bool_, False, False),
    "MaxPool of float8": (lambda x: nn.MaxPool((2,), 1, 1)(x), (2, 1), jnp.float8_e4m3fn, -2, -2),
    "low_pass of int8": (lambda x: nn.low_pass(x, (2,)), (4, 1), jnp.int8, 100, 100),
    "Symmetrize of int8": (lambda x: nn.Symmetrize(abs, ej.Cyclic(4), ej.FibreAction(ej.reps.Regular(ej.Cyclic(4))),
                                                   ej.FibreAction(ej.reps.Regular(ej.Cyclic(4))))(x), (4, 1), jnp.int8, 100, 100),
}  # fmt: skip


@pytest.mark.parametrize("name", SUMS)
def test_sums_have_room(name):
    layer, shape, dtype, entry, expected = SUMS[name]
    y = layer(jnp.full(shape, entry, dtype))
    assert (np.asarray(y, np.float64) == expected).all()
    kept = jnp.issubdtype(dtype, jnp.inexact) or name.startswith("MaxPool")
    assert y.dtype == (dtype if kept else jnp.float32)


def test_neighbour_sums_refuse_what_has_no_room():
    graph = ej.Graph(jnp.ones((3, 1)), senders=[0, 1], receivers=[2, 2])
    sums = {
        "values": lambda x: ej.graphs.neighbour_sum(x, graph),
        "fn": lambda x: ej.graphs.message_reduce(lambda s, r, e: s, graph, x),
    }
    for name, fn in sums.items():
        for dtype in (jnp.int8, jnp.uint16, jnp.bool_):
            check_message(
                lambda fn=fn, dtype=dtype: fn(jnp.ones((3, 1), dtype)), TypeError, [name, jnp.dtype(dtype).name, "int32"]
            )
        for dtype in (jnp.int32, jnp.float8_e4m3fn):
            y = fn(jnp.full((3, 1), 100, dtype))
            assert y.dtype == dtype and np.asarray(y, np.float64)[2, 0] == np.float64(
                jnp.asarray(2 * np.float64(jnp.asarray(100, dtype)), dtype)
            )


def test_complex_numbers_are_told_how_to_stay_whole():
    z = jnp.ones((3, 2), jnp.complex64)
    for layer in (nn.SetPool(), nn.SetLinear(2, 3, rngs=nnx.Rngs(0))):
        check_message(lambda layer=layer: layer(z), TypeError, ["complex64", ".real", ".imag"])


def _softmaxes():
    ends = np.random.default_rng(5).integers(0, 12, (2, 40))
    graph = lambda x: ej.Graph(x, *ends)  # noqa: E731
    options = {"param_dtype": jnp.float32}
    block, narrow = (nn.MultiheadAttentionBlock(4, heads, rngs=nnx.Rngs(0), **options) for heads in (2, 4))
    gat, gat2, transformer, pool = (
        kind(4, 4, 2, rngs=nnx.Rngs(0), **options)
        for kind in (nn.GATConv, nn.GATv2Conv, nn.TransformerConv, nn.GraphAttentionPool)
    )
    computed = lambda x: x * np.float32(1.1) + x[::-1] * np.float32(0.7)  # noqa: E731  (in the program, twice if XLA likes)
    return {
        "sets": lambda x: block(x, x),
        "sets, one feature a head": lambda x: narrow(x, x),
        "GATConv": lambda x: gat(graph(x)).nodes,
        "GATv2Conv": lambda x: gat2(graph(x)).nodes,
        "TransformerConv": lambda x: transformer(graph(x)).nodes,
        "GraphAttentionPool": lambda x: pool(graph(x)),
        "LogSumExp": lambda x: nn.LogSumExp().over_axis(computed(x), axis=0),
        "LogSumExp of segments": lambda x: nn.LogSumExp().over_segments(computed(x), jnp.arange(12) % 3, 3),
    }


def test_compiled_softmaxes_of_large_numbers_keep_their_largest():
    """Rounded twice in two ways, the largest of scores of 1e9 or more is not the largest, and all that is left is 0 / 0."""
    layers = _softmaxes()
    sizes = np.array([1e6, 1e12, 1e15], np.float32)[:, None, None]
    given = sizes * np.random.default_rng(0).normal(size=(3, 12, 4)).astype(np.float32)
    compiled = jax.device_get(jax.lax.map(lambda x: {name: layer(x) for name, layer in layers.items()}, given))
    for name, layer in layers.items():
        for x, found in zip(given, compiled[name], strict=True):
            expected = np.asarray(layer(jnp.asarray(x)))
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("heads", [2, 4])
def test_attention_to_nobody_is_nothing(heads):
    block, x = nn.MultiheadAttentionBlock(4, heads, param_dtype=jnp.float64, rngs=nnx.Rngs(0)), jnp.ones((3, 4))
    padded = block(x, jnp.zeros((2, 4)), y_mask=jnp.zeros(2, bool))
    np.testing.assert_array_equal(block(x, jnp.zeros((0, 4))), padded)


def test_gradients_of_softmaxes_are_those_without_a_program():
    layers, x = _softmaxes(), np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    loss = lambda x, name: jnp.square(layers[name](x)).sum()  # noqa: E731
    for name, found in jax.jit(lambda x: {each: jax.grad(loss)(x, each) for each in layers})(x).items():
        direction = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
        up, down = (loss(jnp.asarray(x + t * direction), name) for t in (5e-3, -5e-3))
        slope = float(up - down) / 1e-2
        np.testing.assert_allclose(np.vdot(found, direction), slope, rtol=5e-3, atol=5e-3, err_msg=name)


@pytest.mark.parametrize(("dtype", "scale"), [
    (jnp.float16, 60), (jnp.float16, 1e4), (jnp.float32, 1e30), (jnp.float32, 1e-30), (jnp.float64, 1e200), (jnp.float64, 1e-200)])  # fmt: skip
def test_phases_are_chosen_at_the_ends_of_the_range(dtype, scale):
    """The law holds, and the choice is the one that numbers of middling size get."""
    x = jnp.clip(randn((8, 6, 2)), -3, 3)
    layer = nn.PolyphaseDownsample((2, 2))
    expected = layer.choose(x)
    for shift in (0, 1):
        found = layer.choose(jnp.roll((x * scale).astype(dtype), shift, 0))
        assert found.phase.tolist() == [(int(expected.phase[0]) + shift) % 2, int(expected.phase[1])]
        np.testing.assert_allclose(found.margin, expected.margin, rtol=2e-2)
    group = ej.Cyclic(4)
    kept, coset = nn.coset_subsample((x[:4, 0] * scale).astype(dtype), group.subgroup([2]))
    moved = nn.coset_subsample(jnp.roll((x[:4, 0] * scale).astype(dtype), 1, 0), group.subgroup([2]))
    assert int(moved[1]) == 1 - int(coset) and kept.dtype == dtype


def test_scores_of_middling_size_keep_their_bits():
    parts = randn((3, 4, 6, 2), dtype=jnp.float32)
    for order in (1, 2, 2.5):
        plain = jnp.sort((jnp.abs(parts) ** order).sum(-1), -1).sum(-1)
        np.testing.assert_array_equal(nn._phases.norm_scores(parts, 1, 1, order), plain)


def test_phases_of_integers():
    for dtype in (jnp.int8, jnp.uint8, jnp.bool_):
        x = jnp.asarray([0, 1, 0, 1], dtype)[:, None]
        y, choice = nn.PolyphaseDownsample((2,)).with_choice(x)
        assert y.dtype == dtype and y[:, 0].tolist() == [1, 1] and choice.phase.tolist() == [1]


MARKS = [(jnp.float32, np.nan), (jnp.int8, -128), (jnp.uint8, 255), (jnp.bool_, False)]


@pytest.mark.parametrize(("dtype", "mark"), MARKS)
def test_traced_choices_out_of_range_are_marked(dtype, mark):
    x, group = jnp.ones((2, 4, 1), dtype), ej.Cyclic(4).subgroup([2])
    wrong = nn.Choice(jnp.asarray([[7], [-1]]), jnp.ones(2))
    up, down = nn.PolyphaseUpsample((2,)), nn.PolyphaseDownsample((2,))
    calls = [
        lambda c: up(x, c), lambda c: down(x, c), lambda c: nn.coset_subsample(x, group, c.phase[:, 0])[0],
        lambda c: nn.coset_unpool(x[:, :2], group, c.phase[:, 0]),
    ]  # fmt: skip
    for y in jax.jit(lambda c: [call(c) for call in calls])(wrong):
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, np.full(y.shape, mark))
    for call in calls:
        check_message(lambda call=call: call(wrong), ValueError, ["holds 7", "below"])
        wrapping = wrong._replace(phase=np.array([[2**32], [0]]))  # 0 in 32 bits
        check_message(lambda call=call, choice=wrapping: call(choice), ValueError, ["4294967296", "32 bits"])
        check_message(lambda call=call: call(wrong._replace(phase=jnp.ones((2, 1)))), TypeError, ["float64", "integers"])


BORDERS = {
    "MaxPool": (lambda: nn.MaxPool(2, 1, 2)(jnp.ones((4, 1))), ["`padding`", "((2, 2),)", "no sample", "MaxPool"]),
    "MaxPool with strides": (lambda: nn.MaxPool(2, 2, [(0, 2)])(jnp.ones((4, 1))), ["no sample"]),
    "AvgPool": (lambda: nn.AvgPool(2, 1, 2, count_include_pad=False)(jnp.ones((4, 1))), ["no sample", "AvgPool"]),
    "hexagonal MaxPool": (
        lambda: nn.MaxPool(3, 1, 2, group=P6, in_fibre=ej.reps.Scalar(P6.point_group), allow_inexact=True)(jnp.ones((4, 4, 1))),
        ["no sample"]),
    "stride 0": (lambda: nn.phases(jnp.ones((4, 1)), (0,)), ["`strides`", "(0,)", "positive"]),
    "stride -1": (lambda: nn.from_phases(jnp.ones((2, 2, 1)), (-2,)), ["`strides`", "(-2,)"]),
    "factor -2": (lambda: nn.low_pass(jnp.ones((4, 1)), (-2,)), ["`factors`", "(-2,)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BORDERS)
def test_windows_and_steps_of_nothing(name):
    call, words = BORDERS[name]
    check_message(call, ValueError, words)


def test_padding_below_the_window_is_taken():
    x = jnp.arange(4.0)[:, None]
    assert nn.MaxPool(2, 1, 1)(x)[:, 0].tolist() == [0, 1, 2, 3, 3]
    assert nn.AvgPool(2, 1, 1, count_include_pad=False)(x)[:, 0].tolist() == [0, 0.5, 1.5, 2.5, 3]
    assert nn.AvgPool(2, 1, 2)(x)[:, 0].tolist() == [0, 0, 0.5, 1.5, 2.5, 1.5, 0]
