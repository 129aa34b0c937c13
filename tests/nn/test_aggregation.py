"""Aggregations against plain numpy, along an axis and over segments; padding, empty sets, ties, dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.helpers import check_message, randn

REFERENCE = {
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(0),
    "max": lambda x: x.max(0),
    "min": lambda x: x.min(0),
    "logsumexp": lambda x: np.log(np.exp(x).sum(0)),
    "var": lambda x: x.var(0),
    "std": lambda x: x.std(0),
    "median": lambda x: np.median(x, axis=0),
}
OBJECTS = {
    ej.nn.Quantiles((0.0, 0.3, 1.0)): lambda x: np.quantile(x, (0.0, 0.3, 1.0), axis=0).reshape(-1),
    ej.nn.OrderStatistics((1, -1, 5)): lambda x: np.concatenate(
        [np.sort(x, axis=0)[k] if k < len(x) else np.zeros(x.shape[1]) for k in (1, -1, 5)]
    ),
    ej.nn.as_aggregation(("mean", "max")): lambda x: np.concatenate([x.mean(0), x.max(0)]),
}
EVERY = [(ej.nn.as_aggregation(word), fn) for word, fn in REFERENCE.items()] + list(OBJECTS.items())
every = pytest.mark.parametrize(("aggregation", "reference"), EVERY, ids=[repr(kind) for kind, _ in EVERY])

# Sets of 4, 0 and 3 elements, NaN in the padding; the same elements as rows in another order.
MASK = np.array([[1, 0, 1, 1, 0, 1], [0] * 6, [0, 1, 1, 0, 1, 0]], bool)
SETS = np.where(MASK[..., None], np.asarray(randn((3, 6, 2))), np.nan)
ORDER = np.random.RandomState(0).permutation(18)
ROWS, ROW_MASK = SETS.reshape(18, 2)[ORDER], MASK.reshape(18)[ORDER]
IDS = np.repeat(np.arange(3), 6)[ORDER]


def loss(fn):
    return lambda x: (fn(x) ** 2).sum()


def with_gradient(fn, x):
    """The value and the gradient of the loss, in one program."""
    return jax.jit(lambda x: (fn(x), jax.grad(loss(fn))(x)))(x)


@every
def test_axis_and_segments_against_numpy(aggregation, reference):
    expected = np.stack(
        [reference(x[m]) if m.any() else np.zeros(aggregation.out_features(2)) for x, m in zip(SETS, MASK, strict=True)]
    )
    along = lambda x: aggregation.over_axis(x, MASK)  # noqa: E731
    rows = lambda x: aggregation.over_segments(x, IDS, 3, ROW_MASK)  # noqa: E731
    y, gradient = map(np.asarray, with_gradient(along, jnp.asarray(SETS)))
    y_rows, gradient_rows = with_gradient(rows, jnp.asarray(ROWS))
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(y_rows, expected, rtol=1e-12, atol=1e-13)
    assert np.isfinite(gradient).all() and (gradient[~MASK] == 0).all()
    np.testing.assert_allclose(gradient_rows, gradient.reshape(18, 2)[ORDER], rtol=1e-12, atol=1e-12)


@every
def test_nothing_at_all_and_equal_members(aggregation, reference):
    width = aggregation.out_features(2)
    assert (aggregation.over_axis(jnp.zeros((3, 0, 2))) == jnp.zeros((3, width))).all()
    assert (aggregation.over_segments(jnp.zeros((0, 2)), jnp.zeros(0, int), 3) == jnp.zeros((3, width))).all()
    y, gradient = map(np.asarray, with_gradient(aggregation.over_axis, jnp.asarray(np.full((1, 4, 2), 0.1))))
    np.testing.assert_allclose(y[0], reference(np.full((4, 2), 0.1)), rtol=1e-12, atol=1e-12)
    assert np.isfinite(gradient).all()


@every
def test_what_is_not_a_number_stays_so(aggregation, reference):
    """In the set that holds it, in its feature, and nowhere else."""
    x = SETS.copy()
    x[0, 2, 1] = np.nan
    expected = np.zeros((3, aggregation.out_features(2) // 2, 2), bool)
    expected[0, :, 1] = True
    along = aggregation.over_axis(jnp.asarray(x), MASK)
    rows = aggregation.over_segments(jnp.asarray(x.reshape(18, 2)[ORDER]), IDS, 3, ROW_MASK)
    for found in (along, rows):
        assert np.array_equal(np.isnan(found).reshape(3, -1, 2), expected)


def test_equal_members_share_the_gradient_of_an_extreme():
    x = jnp.array([[1.0], [2.0], [2.0], [0.0]])
    for word, expected in (("max", [0, 0.5, 0.5, 0]), ("min", [0, 0, 0, 1])):
        kind = ej.nn.as_aggregation(word)
        assert jax.grad(lambda x, kind=kind: kind.over_axis(x).sum())(x)[:, 0].tolist() == expected
        over = lambda x, kind=kind: kind.over_segments(x, jnp.zeros(4, int), 1).sum()  # noqa: E731
        assert jax.grad(over)(x)[:, 0].tolist() == expected


def test_far_from_zero():
    """Two passes: the variance keeps its digits; the exponential neither overflows nor reaches the padding."""
    x = jnp.array([[1e8], [1e8 + 1], [1e8 + 2]])
    assert ej.nn.Variance().over_axis(x).tolist() == [2 / 3]
    low = jnp.array([[-1e4], [-1e4], [0.0]])
    mask = jnp.array([True, True, False])
    log = lambda x: ej.nn.LogSumExp().over_axis(x, mask).sum()  # noqa: E731
    assert float(log(low)) == pytest.approx(-1e4 + np.log(2))
    assert jax.grad(log)(low)[:, 0].tolist() == [0.5, 0.5, 0.0]


def test_sums_of_bfloat16_are_formed_in_float32():
    x = jnp.ones((1000, 1), jnp.bfloat16)
    assert ej.nn.Sum().over_axis(x).tolist() == [1000.0]
    segments = ej.nn.Mean().over_segments(x, jnp.zeros(1000, jnp.int32), 1)
    assert segments.dtype == jnp.bfloat16 and segments.tolist() == [[1.0]]


def test_other_axes_and_segments_with_more_axes():
    x = randn((2, 5, 3, 4, 2))
    mask = jnp.array([[True, True, False, True, False]] * 2)
    expected = np.asarray(x)[:, [0, 1, 3]]
    np.testing.assert_allclose(ej.nn.Mean().over_axis(x, mask, axis=1), expected.mean(1), atol=1e-14)
    np.testing.assert_allclose(ej.nn.Quantiles((0.5,)).over_axis(x, mask, axis=-4), np.median(expected, axis=1), atol=1e-14)
    rows = x.reshape(10, 3, 4, 2)
    ids = jnp.repeat(jnp.arange(2), 5)
    for kind in (ej.nn.Max(), ej.nn.OrderStatistics((-1,))):
        np.testing.assert_array_equal(kind.over_segments(rows, ids, 2, mask.reshape(10)), expected.max(1))


def test_infinite_members():
    inf = jnp.inf
    for word, members, expected in (
        ("logsumexp", (-inf, -inf), -inf),
        ("logsumexp", (-inf, 1.0), 1.0),
        ("logsumexp", (inf, 1.0), inf),
        (ej.nn.Quantiles((0.0,)), (1.0, inf), 1.0),
        ("median", (-inf, -inf), -inf),
    ):
        kind, x = ej.nn.as_aggregation(word), jnp.array(members)[:, None]
        assert kind.over_axis(x).tolist() == [expected]
        assert kind.over_segments(x, jnp.zeros(2, int), 1).tolist() == [[expected]]


def test_threshold_of_the_standard_deviation():
    x = jnp.array([[0.0], [1e-4]])
    kind = ej.nn.StandardDeviation(1e-5)
    assert kind.over_axis(x).tolist() == [0.0]
    assert jax.grad(lambda x: kind.over_axis(x).sum())(x).tolist() == [[0.0], [0.0]]
    assert hash(ej.nn.StandardDeviation(jnp.ones(()))) == hash(ej.nn.StandardDeviation(1))


def test_order_is_a_different_type():
    ordered = ej.nn.RecurrentAggregation(2, 3, rngs=nnx.Rngs(0))
    assert not isinstance(ordered, ej.nn.Aggregation)
    for given in (ordered, ("mean", ordered)):
        check_message(lambda given=given: ej.nn.as_aggregation(given), TypeError, ["order", "JanossyPool", "Quantiles"])


def test_recurrent_aggregation_reads_in_order_and_passes_over_what_is_missing():
    layer = ej.nn.RecurrentAggregation(2, 3, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    x = randn((4, 2))
    state = jnp.zeros((3,))
    for k in (0, 2):
        state, _ = layer.cell(state, x[k])
    mask = jnp.array([True, False, True, False])
    padded = jnp.where(mask[:, None], x, jnp.nan)
    np.testing.assert_allclose(layer(padded, mask), state, rtol=1e-13)
    assert not np.allclose(layer(x), layer(x[::-1]))
    assert np.isfinite(jax.grad(loss(lambda x: layer(x, mask)))(padded)).all()
    assert (layer(x, jnp.zeros(4, bool)) == jnp.zeros(3)).all()
    half = ej.nn.RecurrentAggregation(2, 3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert half(x.astype(jnp.float32)).dtype == jnp.bfloat16
    check_message(lambda: layer(randn((4, 5))), ValueError, ["(*batch, n, 2)"])


BAD = [
    (lambda: ej.nn.as_aggregation("lstm"), ValueError, ["`aggregation`", "lstm", "logsumexp"]),
    (lambda: ej.nn.as_aggregation(ej.nn.Sum), TypeError, ["Write Sum()"]),
    (lambda: ej.nn.as_aggregation(3), TypeError, ["3", "'mean'"]),
    (lambda: ej.nn.Several(()), ValueError, ["`parts`"]),
    (lambda: ej.nn.StandardDeviation(-1.0), ValueError, ["`threshold` is -1.0", "at least 0"]),
    (lambda: ej.nn.StandardDeviation("ab"), TypeError, ["`threshold`", "'ab'"]),
    (lambda: ej.nn.Quantiles(("ab",)), TypeError, ["`probabilities`", "'ab'"]),
    (lambda: ej.nn.Quantiles((True,)), TypeError, ["`probabilities`", "True"]),
    (lambda: ej.nn.Quantiles((1.5,)), ValueError, ["`probabilities`", "0 to 1"]),
    (lambda: ej.nn.Quantiles(0.5), ValueError, ["`probabilities`"]),
    (lambda: ej.nn.OrderStatistics(()), ValueError, ["`ranks`"]),
    (lambda: ej.nn.OrderStatistics((0.5,)), TypeError, ["`ranks`"]),
    (lambda: ej.nn.Sum().over_axis(jnp.ones((3, 2), int)), TypeError, ["int", "astype"]),
    (lambda: ej.nn.Sum().over_axis(jnp.ones((3, 2)), axis=-1), ValueError, ["`axis`", "features"]),
    (lambda: ej.nn.Sum().over_axis(jnp.ones((3, 2)), jnp.ones((2,), bool)), ValueError, ["`mask`", "(3,)"]),
    (lambda: ej.nn.Sum().over_axis(jnp.ones((3, 2)), jnp.ones((3,))), TypeError, ["`mask`", "bool"]),
    (lambda: ej.nn.Sum().over_segments(jnp.ones((3, 2)), jnp.ones(3), 2), TypeError, ["`segment_ids`", "integers"]),
    (lambda: ej.nn.Sum().over_segments(jnp.ones((3, 2)), jnp.ones(4, int), 2), ValueError, ["(rows,)"]),
    (lambda: ej.nn.Sum().over_segments(jnp.ones((3, 2)), jnp.ones(3, int), -1), ValueError, ["`num_segments`"]),
    (lambda: ej.nn.Sum().over_segments(jnp.ones((3, 2)), jnp.array([0, 1, 2]), 2), ValueError, ["`segment_ids`", "2"]),
    (lambda: ej.nn.Sum().over_segments(jnp.ones((3, 2)), [0, 1, 2**32 + 1], 2), ValueError, ["`segment_ids`", "4294967297"]),
    (lambda: in_32_bits(np.array([0, 1, 2**32 + 1])), ValueError, ["`segment_ids`", "4294967297"]),
    (lambda: ej.nn.Sum().over_segments(jnp.ones((3, 2)), [0, 1, 0.5], 2), TypeError, ["`segment_ids`", "float64"]),
    (lambda: ej.nn.Sum().over_segments(jnp.ones((3, 2)), [0, 1, 1], 2**40), ValueError, ["`num_segments`", "32 bits"]),
]


def in_32_bits(ids):
    """As most users run: JAX would cut the ids to 32 bits."""
    with jax.enable_x64(False):
        return ej.nn.Sum().over_segments(jnp.ones((3, 2)), ids, 2)


@pytest.mark.parametrize("dtype", [np.int8, np.uint32, np.int64, np.uint64])
def test_traced_ids_that_do_not_fit_are_dropped_and_do_not_wrap(dtype):
    ids = np.array([0, 1, 2**32 + 1 if dtype(0).itemsize == 8 else 120], dtype)
    summed = jax.jit(lambda ids: ej.nn.Sum().over_segments(jnp.ones((3, 1)), ids, 2))(ids)
    assert summed[:, 0].tolist() == [1, 1]


@pytest.mark.parametrize("case", range(len(BAD)))
def test_bad_input(case):
    check_message(*BAD[case])
