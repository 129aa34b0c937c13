"""Initial values made without a program for each shape are those of JAX, bit by bit; elsewhere JAX is asked."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.nn import _initial
from equijax.nn._conv import default_bias_init, default_kernel_init
from equijax.nn._initial import kept, quick_values, split
from equijax.sharing import KernelSharing

SHAPES = [(1, 1), (5, 7, 11, 13), (72, 32, 16)]
FLOAT32, ROWS = jnp.float32, [None, np.array([3, 0, 5])]


@pytest.fixture(autouse=True, scope="module")
def own_programs():
    """None stays that was compiled in another way than those that it is compared with."""
    jax.clear_caches()
    yield


@pytest.fixture(params=["quickly compiled", "as users compile"])
def compiled(request):
    jax.config.update("jax_disable_most_optimizations", request.param == "quickly compiled")
    jax.clear_caches()
    yield
    jax.config.update("jax_disable_most_optimizations", "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ)
    jax.clear_caches()


def same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.committed == b.committed and np.array_equal(a, b)


def test_default_kernels_have_the_bits_of_flax(compiled):
    for shape in SHAPES:
        for seed in (0, 12345, 2**63 + 17):
            key = jax.random.fold_in(jax.random.key(np.uint64(seed)), 3)
            made = quick_values(default_kernel_init, key, shape, FLOAT32)
            assert made is not None and same(made, nnx.initializers.lecun_normal()(key, shape, FLOAT32)), shape


def test_every_scale_has_the_bits_of_flax():
    for fan_in in range(1, 2000):
        theirs = jnp.sqrt(jnp.array(1.0 / fan_in, FLOAT32)) / jnp.array(0.87962566103423978, FLOAT32)
        assert _initial._deviation(fan_in) == theirs, fan_in


def test_every_bit_pattern_that_a_number_is_made_of(compiled):
    """The program sees 23 of the 32 bits, so that all its values can be compared with those of JAX's operations."""
    bits = np.arange(0, 1 << 32, 509 << 9, dtype=np.uint32)
    uniform = lambda b: (jax.lax.bitcast_convert_type((b >> 9) | jnp.uint32(0x3F800000), FLOAT32) - 1).astype("float64")  # noqa: E731
    low, high = jax.scipy.special.erf(np.array([-2.0, 2.0]) / np.sqrt(2.0))
    exact = np.sqrt(2.0) * jax.scipy.special.erfinv(uniform(bits) * (high - low) + low)
    np.testing.assert_allclose(_initial._truncated_normal(bits), exact, rtol=3e-6, atol=3e-7)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64, jnp.complex64, jnp.int32])
def test_constants_of_every_dtype(dtype):
    for init in (default_bias_init, nnx.initializers.ones_init()):
        made = quick_values(init, jax.random.key(0), (3, 2), dtype)
        assert made is not None and same(made, init(jax.random.key(0), (3, 2), dtype))


@pytest.mark.parametrize("number", [1, 2, 7, 100])
def test_keys_are_split_as_jax_does(number):
    key = jax.random.key(5)
    ours, theirs = split(key, number), jax.random.split(key, number)
    assert len(ours) == number and all(a.dtype == key.dtype and a.shape == () for a in ours)
    np.testing.assert_array_equal(np.stack([jax.random.key_data(a) for a in ours]), jax.random.key_data(theirs))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64])
def test_rows_are_kept_as_in_one_program(dtype):
    parts = [jnp.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(dtype), jnp.ones((6, 4, 5), dtype)]
    assert same(kept(parts, ROWS), jax.jit(lambda p: kept(p, ROWS))(parts))
    assert kept(jax.device_put(parts, jax.devices()[1]), ROWS).devices() == {jax.devices()[1]}


def test_elsewhere_jax_is_asked():
    key, shape = jax.random.key(0), (4, 3)
    asks = lambda *given: quick_values(*given) is None  # noqa: E731
    assert not asks(default_kernel_init, key, shape, FLOAT32)
    assert not asks(nnx.initializers.lecun_normal(), key, shape, FLOAT32)
    assert asks(nnx.initializers.lecun_normal(in_axis=0), key, shape, FLOAT32)
    assert asks(nnx.initializers.he_normal(), key, shape, FLOAT32)
    assert asks(lambda *given: default_kernel_init(*given), key, shape, FLOAT32)
    assert asks(default_kernel_init, key, shape, jnp.bfloat16)
    assert asks(default_kernel_init, key, (4,), FLOAT32)
    assert asks(default_kernel_init, key, (0, 4), FLOAT32)
    assert asks(default_kernel_init, key, (1 << 12, 1 << 12), FLOAT32)
    assert asks(default_kernel_init, jax.random.PRNGKey(0), shape, FLOAT32)
    assert asks(default_kernel_init, jax.random.key(0, impl="rbg"), shape, FLOAT32)
    assert asks(default_kernel_init, jax.device_put(key, jax.devices()[1]), shape, FLOAT32)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,), devices=jax.devices()[:2])
    with jax.set_mesh(mesh):
        assert asks(default_kernel_init, key, shape, FLOAT32) and asks(default_bias_init, key, shape, FLOAT32)
    with jax.disable_jit():
        assert asks(default_kernel_init, key, shape, FLOAT32)
    with jax.threefry_partitionable(False):
        assert asks(default_kernel_init, key, shape, FLOAT32)
    with jax.default_device(jax.devices()[1]):  # where the values go then
        made = quick_values(default_kernel_init, key, shape, FLOAT32)
        assert same(made, default_kernel_init(key, shape, FLOAT32)) and made.devices() == {jax.devices()[1]}


@pytest.mark.parametrize("raw", ["raw", "rbg", "committed"])
def test_layers_take_any_key(raw):
    key = {"raw": jax.random.PRNGKey(3), "rbg": jax.random.key(3, impl="rbg"), "committed": None}[raw]
    key = jax.device_put(jax.random.key(3), jax.devices()[1]) if key is None else key
    ours, theirs = (module.Conv(4, 6, (3, 3), rngs=nnx.Rngs(key)) for module in (ej.nn, nnx))
    assert same(ours.kernel[...], theirs.kernel[...]) and same(ours.bias[...], theirs.bias[...])


def layer(rngs):
    return ej.nn.GroupConv(3, 4, (3, 3), group=ej.wallpaper("p4m"), rngs=rngs)


def test_transformations_trace_as_ever():
    key = jax.random.key(7)
    eager = nnx.to_pure_dict(nnx.state(layer(nnx.Rngs(key))))
    traced = jax.jit(lambda key: nnx.to_pure_dict(nnx.state(layer(nnx.Rngs(key)))))(key)
    closed = jax.jit(lambda: nnx.to_pure_dict(nnx.state(layer(nnx.Rngs(key)))))()
    for made in (traced, closed):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), made, eager)
    shapes = nnx.eval_shape(lambda: layer(nnx.Rngs(0)))
    assert jax.tree.map(jnp.shape, nnx.to_pure_dict(nnx.state(shapes))) == jax.tree.map(jnp.shape, eager)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(nnx.state(shapes)))
    several = nnx.split_rngs(splits=2)(nnx.vmap(layer, in_axes=0, out_axes=0))(nnx.Rngs(0))
    assert several.kernel.shape == (2, *eager["kernel"].shape)
    assert not np.array_equal(several.kernel[0], several.kernel[1])
    jaxpr = str(jax.make_jaxpr(lambda: quick_values(default_bias_init, key, (3,), FLOAT32))())
    assert jaxpr == str(jax.make_jaxpr(lambda: None)()) or "device_put" in jaxpr


def test_values_can_be_donated():
    made = layer(nnx.Rngs(0)).kernel[...]
    copy = np.array(made)
    np.testing.assert_array_equal(jax.jit(lambda a: a + 1, donate_argnums=0)(made), copy + 1)


def test_a_network_is_built_with_one_program_of_ours():
    """Layers of other shapes compile nothing."""
    layer(nnx.Rngs(0))
    rngs, made = nnx.Rngs(1), []
    listen = lambda event, duration, **more: made.append(more) if event.endswith("backend_compile_duration") else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    for features in (5, 6, 7):
        ej.nn.LiftingConv(2, features, 5, group=ej.wallpaper("p4"), rngs=rngs)
        ej.nn.GroupConv(features, 9, 3, group=ej.wallpaper("p4"), rngs=rngs)
    jax.monitoring.unregister_event_duration_listener(listen)
    assert made == []


def test_users_initialisers_are_called():
    seen = []

    def mine(key, shape, dtype):
        seen.append(shape)
        return jnp.full(shape, 2, dtype)

    group = ej.wallpaper("p4")
    made = ej.nn.GroupConv(3, 4, (3, 3), group=group, kernel_init=mine, bias_init=mine, rngs=nnx.Rngs(0))
    assert seen == [(9, 4, 3, 4), (4,)] and (made.kernel[...] == 2).all() and (made.bias[...] == 2).all()
    assert isinstance(made.sharing, KernelSharing)
