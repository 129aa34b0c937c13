"""Batch normalisation has the numbers and the state of Flax's, all derivatives, and loses no digits to a large mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.helpers import randn

P4 = ej.wallpaper("p4")
SHAPE = (3, 5, 5, 4, 6)
MASK = jnp.asarray(np.arange(75).reshape(3, 5, 5, 1, 1) % 3 > 0)


def normal(key, shape, dtype):
    return jax.random.normal(key, shape, dtype)


class Flax(nnx.BatchNorm):
    """Strict promotion would refuse how it joins dtypes."""

    def __call__(self, *given, **more):
        with jax.numpy_dtype_promotion("standard"):
            return super().__call__(*given, **more)


def pair(features=6, group=P4, dtype=jnp.float64, **more):
    given = {"param_dtype": dtype, "momentum": 0.9, "scale_init": normal, "bias_init": normal, **more}
    ours = ej.nn.BatchNorm(features, group=group, rngs=nnx.Rngs(3), **given)
    flax = Flax(features, rngs=nnx.Rngs(3), **given)
    for stat in ("mean", "var"):  # Flax keeps float32, whatever it computes in
        for layer in (ours, flax):
            setattr(layer, stat, nnx.BatchStat((randn((features,), 5) ** 2).astype(dtype)))
    return ours, flax


def inputs(shape=SHAPE, dtype=jnp.float64):
    return (randn(shape, 1) * 3 + 2).astype(dtype)


def close(a, b, tolerance=1e-12):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(left, float), np.asarray(right, float), rtol=tolerance, atol=tolerance)


def pure(layer):
    """The layer as a function of its parameters and the input, which gives its averages too."""
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    def run(params, x, **more):
        copy = nnx.merge(graph, params, rest, copy=True)
        return copy(x, **more), copy.mean[...], copy.var[...]

    return run, params


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("without", [(), ("use_scale",), ("use_bias",), ("use_scale", "use_bias")])
def test_numbers_are_those_of_flax(without, mask):
    ours, flax = pair(**dict.fromkeys(without, False))
    assert nnx.to_pure_dict(nnx.state(ours)).keys() == nnx.to_pure_dict(nnx.state(flax)).keys()
    for _ in range(2):
        close(ours(inputs(), mask=mask), flax(inputs(), mask=mask))
        close(nnx.to_pure_dict(nnx.state(ours)), nnx.to_pure_dict(nnx.state(flax)))
    close(ours(inputs(), use_running_average=True), flax(inputs(), use_running_average=True))


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("stored", [False, True], ids=["of the batch", "stored"])
def test_derivatives_are_those_of_flax(stored, mask):
    layers, x, weights = pair(), inputs(), randn(SHAPE, 2)
    direction, gradients, tangents, seconds = randn(SHAPE, 4), [], [], []
    for layer in layers:
        run, params = pure(layer)

        def loss(params, x, run=run):
            y, _, _ = run(params, x, use_running_average=stored, mask=mask)
            return (jnp.sin(y) * weights).sum()

        gradient = jax.grad(loss, (0, 1))
        gradients.append(jax.jit(gradient)(params, x))
        tangents.append(jax.jvp(lambda x, loss=loss, params=params: loss(params, x), (x,), (direction,)))
        seconds.append(jax.jvp(lambda x, g=gradient, params=params: g(params, x), (x,), (direction,)))
        along = lambda x, g=gradient, params=params: (g(params, x)[1] * direction).sum()  # noqa: E731
        seconds[-1] += (jax.grad(along)(x), jax.grad(jax.checkpoint(along))(x))
        seconds[-1] += (jax.vmap(gradient, (None, 0))(params, jnp.stack([x, 2 * x])),)
    for ours, flax in (gradients, tangents, seconds):
        close(ours, flax, 1e-9)


def test_hessian_is_that_of_flax_and_of_finite_differences():
    layers, x, found = pair(features=2, group=ej.Cyclic(4)), inputs((2, 4, 2)), []
    for layer in layers:
        run, params = pure(layer)
        loss = lambda x, run=run, params=params: (run(params, x)[0] ** 3).sum()  # noqa: E731
        found.append([jax.jit(d)(x) for d in (jax.hessian(loss), jax.jacrev(jax.grad(loss)), jax.jacfwd(jax.jacfwd(loss)))])
        close(found[-1], [found[-1][0]] * 3, 1e-9)
    close(*found, 1e-9)
    step = 1e-5 * randn(x.shape, 8)
    difference = (jax.grad(loss)(x + step) - jax.grad(loss)(x - step)) / 2
    close(jnp.tensordot(found[0][0], step, x.ndim), difference, 1e-8)


def test_third_derivatives():
    found = []
    for layer in pair(features=1, group=ej.Cyclic(2)):
        run, params = pure(layer)
        loss = lambda x, run=run, params=params: (run(params, x)[0] ** 4).sum()  # noqa: E731
        found.append(jax.jit(jax.jacfwd(jax.hessian(loss)))(inputs((2, 2, 1))))
    close(*found, 1e-8)


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4])
def test_a_large_mean_costs_no_digits(mean):
    """Against float64 on the same float32 numbers; the mean itself is as exact as float32 can say it."""
    x = jnp.asarray(np.random.default_rng(0).normal(mean, 1, (64, 7, 7, 4, 3)), jnp.float32)
    weights = randn(x.shape, 3, jnp.float32)
    found = []
    for dtype in (jnp.float32, jnp.float64):
        ours, _ = pair(3, dtype=dtype, momentum=0.0, scale_init=nnx.initializers.ones, bias_init=nnx.initializers.zeros)
        run, params = pure(ours)
        loss = lambda params, x, run=run: ((w := run(params, x))[0] * weights.astype(x.dtype)).sum() + 0 * w[1].sum()  # noqa: E731
        y, average, var = run(params, x.astype(dtype))
        found.append((y, var, average / max(mean, 1.0), jax.grad(loss, (0, 1))(params, x.astype(dtype))))
    (y, var, average, gradient), exact = found
    close(var, exact[1], 1e-5)
    close(average, exact[2], 1e-6)
    rounding = 1e-6 * max(1.0, mean)  # of the mean: half a unit in its last place is 5e-4 at 1e4
    close(y, exact[0], 1e-5 + rounding)
    close(gradient[1], exact[3][1], 1e-4)
    scales = [np.asarray(g["scale"][...], float) for g in (gradient[0], exact[3][0])]
    np.testing.assert_allclose(*scales, rtol=1e-3, atol=1e-3 * np.sqrt(x.size / 3) * max(1.0, rounding * 10))


def test_an_outlier_at_the_first_place_costs_no_digits():
    x = np.random.default_rng(0).normal(0, 1, (64, 4, 3)).astype(np.float32)
    x[0, 0] = 1e4
    layer = ej.nn.BatchNorm(3, group=ej.Cyclic(4), momentum=0.0, rngs=nnx.Rngs(0))
    layer(jnp.asarray(x))
    close(layer.var[...], x.astype(np.float64).var((0, 1)), 1e-6 * 4e5)
    np.testing.assert_allclose(layer.var[...], x.astype(np.float64).var((0, 1)), rtol=1e-6)


def test_masked_values_reach_nothing():
    ours, _ = pair()
    run, params = pure(ours)
    loss = lambda params, x: (jnp.where(MASK, run(params, x, mask=MASK)[0], 0.0) ** 2 * randn(SHAPE, 2)).sum()  # noqa: E731
    clean = jnp.where(MASK, inputs(), 0.0)
    wanted, averages = jax.grad(loss, (0, 1))(params, clean), run(params, clean, mask=MASK)[1:]
    for bad in (jnp.nan, jnp.inf):
        dirty = jnp.where(MASK, clean, bad)
        y, *found = run(params, dirty, mask=MASK)
        assert jnp.isfinite(y).all()
        close(found, list(averages), 0)
        close(jax.grad(loss, (0, 1))(params, dirty), wanted, 0)
        second = jax.jvp(jax.grad(lambda x: loss(params, x)), (dirty,), (randn(SHAPE, 7),))
        assert all(jnp.isfinite(leaf).all() for leaf in second)


def test_where_nothing_counts_the_averages_stay():
    ours, _ = pair()
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(ours)))
    y = ours(inputs(), mask=jnp.zeros((3, 1, 1, 1, 1), bool))
    assert jnp.isfinite(y).all()
    assert ours(jnp.zeros((0, *SHAPE[1:]))).shape == (0, *SHAPE[1:])
    close(nnx.to_pure_dict(nnx.state(ours)), before, 0)
    run, params = pure(ours)
    gradient = jax.grad(lambda x: run(params, x, mask=jnp.zeros(SHAPE, bool))[0].sum())(inputs())
    assert jnp.isfinite(gradient).all()


def test_train_and_eval():
    for layer in pair():
        layer.eval()
        before = np.array(layer.mean[...])
        stored = layer(inputs())
        np.testing.assert_array_equal(layer.mean[...], before)
        layer.train()
        assert not np.allclose(layer(inputs()), stored)
        assert not np.allclose(layer.mean[...], before)
        layer.set_attributes(use_running_average=True)
        assert layer.use_running_average
        view = nnx.view(layer, use_running_average=False)
        assert not view.use_running_average and layer.use_running_average
    close(*[layer(inputs()) for layer in pair(use_running_average=True)])


def test_an_axis_of_vmap_counts_too():
    x = inputs((4, *SHAPE))
    whole, _ = pair()
    y = whole(x.reshape(-1, *SHAPE[1:])).reshape(x.shape)
    for layer in pair(axis_name="devices"):
        run, params = pure(layer)
        each = jax.vmap(lambda x, run=run, params=params: run(params, x), axis_name="devices")
        found, mean, var = each(x)
        close((found, mean[0], var[3]), (y, whole.mean[...], whole.var[...]))
    ours, _ = pair(axis_name="devices")
    run, params = pure(ours)
    mask = jnp.arange(4 * 3).reshape(4, 3, 1, 1, 1, 1) % 5 != 0  # unequal counts: every entry weighs the same
    found, mean, _ = jax.vmap(lambda x, mask: run(params, x, mask=mask), axis_name="devices")(x, mask)
    whole, _ = pair()
    close(found, whole(x.reshape(-1, *SHAPE[1:]), mask=mask.reshape(-1, 1, 1, 1, 1)).reshape(x.shape))
    close(mean[2], whole.mean[...])


def test_gradient_over_an_axis_of_vmap():
    x, weights, found = inputs((2, 3, 4, 2)), randn((2, 3, 4, 2), 3), []
    for layer in pair(features=2, group=ej.Cyclic(4), axis_name="devices"):
        run, params = pure(layer)
        each = jax.vmap(lambda x, run=run, params=params: run(params, x)[0], axis_name="devices")
        found.append(jax.grad(lambda x, each=each: (each(x) * weights).sum())(x))
    close(*found, 1e-9)


def test_groups_of_an_axis():
    """Two groups of two devices, as in ``jax.lax.psum``."""
    mesh = jax.make_mesh((4,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
    x, found = inputs((4, 3, 4, 2)), []
    for layer in pair(features=2, group=ej.Cyclic(4), axis_name="devices", axis_index_groups=[[0, 1], [2, 3]]):
        run, params = pure(layer)
        spec = jax.sharding.PartitionSpec("devices")
        each = jax.shard_map(
            lambda x, run=run, params=params: run(params, x)[0], mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
        )
        found.append(jax.jit(each)(x))
    close(*found)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_counts_in_float32(dtype):
    ours, flax = pair(dtype=jnp.float32)
    ours.dtype = flax.dtype = dtype
    x = inputs(dtype=dtype)
    y = ours(x)
    wanted = flax(x)
    assert y.dtype == dtype and ours.mean.dtype == ours.var.dtype == jnp.float32
    close(y, wanted, 2e-2)
    exact = np.asarray(x, np.float64)
    alone = ej.nn.BatchNorm(6, group=P4, momentum=0.0, dtype=dtype, rngs=nnx.Rngs(0))
    alone(x)
    close((alone.mean[...], alone.var[...]), (exact.mean((0, 1, 2, 3)), exact.var((0, 1, 2, 3))), 1e-5)


def test_integers_are_floats():
    layer = ej.nn.BatchNorm(6, group=P4, rngs=nnx.Rngs(0))
    with jax.numpy_dtype_promotion("standard"):
        assert layer(jnp.arange(600, dtype=jnp.int32).reshape(5, 5, 4, 6)).dtype == jnp.float32


@pytest.mark.parametrize("shape", [(5, 5, 4, 6), SHAPE, (2, *SHAPE)])
def test_any_number_of_batch_axes(shape):
    close(*[layer(inputs(shape)) for layer in pair()])


def test_states_are_exchanged_with_flax():
    ours, flax = pair(dtype=jnp.float32)
    flax(inputs(dtype=jnp.float32))
    nnx.update(ours, nnx.state(flax))
    close(ours(inputs(dtype=jnp.float32), True), flax(inputs(dtype=jnp.float32), True), 1e-6)


def test_wrong_inputs_are_named():
    layer, _ = pair()
    with pytest.raises(TypeError, match="`inputs` has dtype complex128; BatchNorm needs real numbers"):
        layer(inputs().astype(jnp.complex128))
    with pytest.raises(ValueError, match="features"):
        layer(inputs((3, 5, 5, 4, 7)))
    with pytest.raises(TypeError, match="`mask` has dtype float64; it must be bool"):
        layer(inputs(), mask=jnp.ones(SHAPE))
    for shape in ((3,), (2, *SHAPE), (3, 5, 5)):
        with pytest.raises(ValueError, match="`mask` has shape .* broadcast"):
            layer(inputs(), mask=jnp.ones(shape, bool))
    for groups, error in (
        (3, TypeError),
        ([0, 1], TypeError),
        ([[0, 0]], ValueError),
        ([[0], []], ValueError),
        ([[1]], ValueError),
    ):
        with pytest.raises(error, match="`axis_index_groups` is .*such as"):
            pair(axis_name="devices", axis_index_groups=groups)
    with pytest.raises(ValueError, match="`axis_name` is None"):
        pair(axis_index_groups=[[0, 1]])
    with pytest.raises(ValueError, match="mixes its coordinates"):
        ej.nn.BatchNorm(2, group=P4, in_fibre=ej.reps.Irrep(P4.point_group, 1), rngs=nnx.Rngs(0))


def test_equivariance():
    act = ej.GridAction(P4, ej.reps.Regular(P4.point_group))
    layer, _ = pair()
    ej.check_equivariance(lambda x: pure(layer)[0](pure(layer)[1], x)[0], act, act, inputs((2, 5, 5, 4, 6)))
