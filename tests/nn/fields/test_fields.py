"""Layers on fields whose fibre is no permutation: laws, what they agree with, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import Regular, Scalar
from tests.helpers import BIAS, KERNEL, check_message, randn
from tests.nn.fields.fibres import D4, MIXED, OBLIQUE, PLANE, REGULAR, SCALAR, SKEW
from tests.nn.fields.laws import Law, trained

TOLERANCE = 1e-12
NORMS = ("FieldBatchNorm", "FieldLayerNorm", "FieldRMSNorm", "FieldGroupNorm")
FIBRES = {"mixed": MIXED, "plane": PLANE, "regular": REGULAR, "scalar": SCALAR}


def options(**more):
    return {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0), **more}


def build(kind, fibre, features=4, **more):
    """A layer with parameters that are neither 0 nor 1."""
    if kind == "InvariantPool":
        return ej.nn.InvariantPool(fibre)
    if kind == "Bilinear":
        return ej.nn.Bilinear(features, 3, fibre, **options(kernel_init=KERNEL, **more))
    if kind == "NormNonlinearity":
        return ej.nn.NormNonlinearity(features, fibre, **options(bias_init=BIAS, **more))
    groups = (2,) if kind == "FieldGroupNorm" else ()
    inits = {"scale_init": BIAS} if kind == "FieldRMSNorm" else {"scale_init": BIAS, "bias_init": BIAS}
    return getattr(ej.nn, kind)(features, *groups, fibre, **options(**inits, **more))


@pytest.mark.parametrize("fibre", FIBRES.values(), ids=FIBRES)
def test_law_before_and_after_training(fibre):
    kinds = ["NormNonlinearity", "Bilinear", *NORMS]
    if fibre is PLANE:  # no product of two vectors of the plane is a vector: the half turn keeps it
        kinds.remove("Bilinear")
    layers = [build(kind, fibre) for kind in kinds]
    x = randn((3, *fibre.shape, 4))
    pool = ej.nn.InvariantPool(fibre)
    law = Law([(layer, layer.out_fibre) for layer in (*layers, pool)], fibre, range(8))
    assert law.errors(x).max() <= TOLERANCE
    trained(layers, x)
    assert law.errors(x).max() <= TOLERANCE


def test_products_need_no_lengths():
    layer = ej.nn.Bilinear(4, 3, OBLIQUE, **options())
    law = Law([(layer, OBLIQUE)], OBLIQUE, range(8))
    x = randn((3, 5, 4))
    assert law.errors(x).max() <= TOLERANCE
    trained([layer], x)
    assert law.errors(x).max() <= TOLERANCE


def test_negative_controls():
    x = randn((3, 2, 4))
    assert Law([(jax.nn.relu, PLANE)], PLANE, range(8)).errors(x).min() > 0.01
    by_length = lambda x: x / jnp.sqrt(1 + (x**2).sum(-2, keepdims=True))  # noqa: E731
    assert Law([(by_length, SKEW)], SKEW, range(8)).errors(x).min() > 0.01


def test_zero_vectors_have_finite_values_and_gradients():
    layers = [build(kind, MIXED) for kind in ("NormNonlinearity", "InvariantPool", *NORMS)]
    x = jnp.zeros((3, MIXED.dim, 4))

    @jax.jit
    def derivatives(x):
        total = lambda x: sum(nnx.merge(*nnx.split(layer), copy=True)(x).sum() for layer in layers)  # noqa: E731
        return *jax.value_and_grad(total)(x), jax.jvp(jax.grad(total), (x,), (jnp.ones_like(x),))[1]

    assert all(np.isfinite(found).all() for found in derivatives(x))


@pytest.mark.parametrize("fibre", [SCALAR, REGULAR], ids=["scalar", "regular"])
def test_norms_agree_with_what_exists_on_one_orbit(fibre):
    x = 2 + 3 * randn((4, 5, 5, *fibre.shape, 4))
    ours, theirs = (build("FieldBatchNorm", fibre), nnx.BatchNorm(4, **options(use_fast_variance=False)))
    theirs.scale[...], theirs.bias[...] = ours.scale[...], ours.bias[...]
    theirs.mean, theirs.var = (nnx.BatchStat(jnp.asarray(s[...], jnp.float64)) for s in (theirs.mean, theirs.var))
    with jax.numpy_dtype_promotion("standard"):  # Flax joins the dtype of x with float32
        np.testing.assert_allclose(ours(x), theirs(x), rtol=0, atol=1e-12)
    for name in ("mean", "var"):
        np.testing.assert_allclose(getattr(ours, name)[...], getattr(theirs, name)[...], rtol=1e-12)
    np.testing.assert_allclose(ours(x, use_running_average=True), theirs(x, use_running_average=True), rtol=0, atol=1e-12)
    grid = ej.wallpaper("p4m")
    ours, theirs = build("FieldGroupNorm", fibre, group=grid), ej.nn.GroupNorm(4, 2, **options(group=grid, in_fibre=fibre))
    theirs.scale[...], theirs.bias[...] = ours.scale[...], ours.bias[...]
    np.testing.assert_allclose(ours(x), theirs(x), rtol=0, atol=1e-12)


def test_norms_agree_with_flax_on_scalars():
    x = 2 + 3 * randn((4, 5, 4), dtype=jnp.float32)
    ours, theirs = (
        build("FieldLayerNorm", SCALAR, param_dtype=jnp.float32),
        nnx.LayerNorm(4, **options(param_dtype=jnp.float32, use_fast_variance=False)),
    )
    theirs.scale[...], theirs.bias[...] = ours.scale[...], ours.bias[...]
    np.testing.assert_allclose(ours(x), theirs(x), rtol=0, atol=1e-5)
    ours, theirs = (
        build("FieldRMSNorm", SCALAR, param_dtype=jnp.float32),
        nnx.RMSNorm(4, **options(param_dtype=jnp.float32, use_fast_variance=False)),
    )
    theirs.scale[...] = ours.scale[...]
    np.testing.assert_allclose(ours(x), theirs(x), rtol=0, atol=1e-5)


def test_batch_norm_gives_unit_blocks_and_keeps_averages():
    norm = ej.nn.FieldBatchNorm(4, MIXED, momentum=0.0, **options())
    x = 5 + 3 * randn((400, MIXED.dim, 4))
    y = norm(x)
    for block in (slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 8), slice(8, 10)):
        np.testing.assert_allclose((y[:, block] ** 2).mean((0, 1)), 1.0, rtol=1e-4)
    np.testing.assert_allclose(norm(x, use_running_average=True), y, rtol=0, atol=1e-12)
    view = nnx.view(norm, use_running_average=True)
    np.testing.assert_array_equal(view(x), norm(x, use_running_average=True))
    assert jax.tree.map(jnp.shape, nnx.to_pure_dict(nnx.state(norm))) == {
        "bias": (3, 4), "mean": (3, 4), "scale": (5, 4), "var": (5, 4)
    }  # fmt: skip
    bare = ej.nn.FieldBatchNorm(4, PLANE, **options())
    assert set(nnx.to_pure_dict(nnx.state(bare))) == {"scale", "var"}


def test_batch_norm_counts_what_the_mask_keeps():
    norm = ej.nn.FieldBatchNorm(4, MIXED, **options())
    x = 5 + 3 * randn((6, 7, MIXED.dim, 4))
    mask = jnp.arange(7)[None] < jnp.arange(2, 8)[:, None]
    y = norm(x, mask=mask)
    other = ej.nn.FieldBatchNorm(4, MIXED, **options())
    np.testing.assert_allclose(y[mask], other(x[mask]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(norm.mean[...], other.mean[...], rtol=1e-12)
    np.testing.assert_allclose(norm.var[...], other.var[...], rtol=1e-12)
    graph, state = nnx.split(norm)
    masked = lambda x: nnx.merge(graph, state, copy=True)(x, mask=mask)  # noqa: E731
    law = Law([(masked, MIXED)], MIXED, range(8))
    assert law.errors(x).max() <= TOLERANCE
    check_message(lambda: norm(x, mask=mask[0]), ValueError, ["`mask`", "(7,)", "(6, 7)"])
    check_message(lambda: norm(x, mask=mask.astype(int)), TypeError, ["`mask`", "bool"])


def test_batch_norm_over_a_mapped_axis():
    whole, split = (ej.nn.FieldBatchNorm(4, MIXED, axis_name=name, **options()) for name in (None, "devices"))
    x = 5 + 3 * randn((2, 6, MIXED.dim, 4))
    graph, state = nnx.split(split)

    def run(x):
        norm = nnx.merge(graph, state, copy=True)
        return norm(x), nnx.state(norm, nnx.BatchStat)

    found, stats = jax.vmap(run, axis_name="devices", out_axes=(0, None))(x)
    np.testing.assert_allclose(found, whole(x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(stats["mean"][...], whole.mean[...], rtol=1e-12)
    np.testing.assert_allclose(stats["var"][...], whole.var[...], rtol=1e-12)


def test_gate():
    gate = ej.nn.Gate(REGULAR)
    x = randn((3, 8, 4))
    assert gate.in_fibre == REGULAR
    np.testing.assert_allclose(gate(x), jax.nn.silu(x), rtol=1e-15)


def test_dropout_drops_whole_fields():
    p4m = ej.wallpaper("p4m")
    dropout = ej.nn.FieldDropout(0.5, MIXED, group=p4m)
    x = 1 + jnp.abs(randn((6, 5, 5, MIXED.dim, 4)))
    y = dropout(x, rngs=nnx.Rngs(dropout=0))
    dropped = y == 0
    assert 0.3 < float(dropped.mean()) < 0.7
    np.testing.assert_allclose(jnp.where(dropped, 0, 2 * x), y)
    assert (dropped == dropped[:, :1, :1]).all()
    assert (dropped[..., 1:3, :] == dropped[..., 1:2, :]).all()
    assert (dropped[..., 4:8, :] == dropped[..., 4:5, :]).all()
    assert not (dropped[..., 1, :] == dropped[..., 8, :]).all()
    assert (dropout(x, deterministic=True) == x).all()
    assert (nnx.view(dropout, deterministic=True)(x) == x).all()
    assert (jax.jit(lambda x, key: dropout(x, rngs=key))(x, jax.random.key(0)) != x).any()
    drop = lambda x: ej.nn.FieldDropout(0.5, MIXED)(x, rngs=nnx.Rngs(dropout=0))  # noqa: E731
    assert Law([(drop, MIXED)], MIXED, range(8)).errors(randn((3, MIXED.dim, 4))).max() <= TOLERANCE


def test_pool_on_the_regular_fibre_is_mean_and_deviation():
    x = randn((3, 8, 4))
    y = ej.nn.InvariantPool(REGULAR, epsilon=0.0)(x).reshape(3, 2, 4)
    np.testing.assert_allclose(y[:, 0], x.mean(1), rtol=1e-12)
    np.testing.assert_allclose(y[:, 1], np.sqrt(8) * x.std(1), rtol=1e-12)
    assert ej.nn.InvariantPool(MIXED).count == 3 + 3


def test_bilinear_spans_all_products():
    layer = ej.nn.Bilinear(1, 1, PLANE, SCALAR, **options())
    x = randn((20, 2, 1))
    y = layer(x)
    square = (x**2).sum(-2)
    np.testing.assert_allclose(y / square, jnp.broadcast_to(y[0] / square[0], y.shape), rtol=1e-12)


def test_bfloat16_and_split():
    make = lambda kind, **more: build(kind, MIXED, param_dtype=jnp.float32, **more)  # noqa: E731
    x = randn((3, MIXED.dim, 4), dtype=jnp.float32)
    kinds = ("NormNonlinearity", "Bilinear", *NORMS)
    narrow = [nnx.split(make(kind, dtype=jnp.bfloat16)) for kind in kinds]
    found = jax.jit(lambda x: [nnx.merge(*parts, copy=True)(x) for parts in narrow])(x)
    wanted = jax.jit(lambda x: [nnx.merge(*nnx.split(make(kind)), copy=True)(x) for kind in kinds])(x)
    for kind, (graph, _), y, wide in zip(kinds, narrow, found, wanted, strict=True):
        assert y.dtype == jnp.bfloat16
        assert float(jnp.abs(y.astype(jnp.float32) - wide).max() / jnp.abs(wide).max()) < 0.05
        assert hash(graph) == hash(nnx.split(make(kind, dtype=jnp.bfloat16))[0])


def test_bad_input_is_explained():
    o = options()
    refused = [
        lambda: ej.nn.NormNonlinearity(4, OBLIQUE, **o),
        lambda: ej.nn.InvariantPool(OBLIQUE),
        *(lambda kind=kind: build(kind, OBLIQUE) for kind in NORMS),
    ]
    for call in refused:
        check_message(call, ValueError, ["not orthogonal", "Gate", "Bilinear"])
    check_message(lambda: ej.nn.InvariantPool(SKEW, lengths=False), ValueError, ["invariant", "Bilinear"])
    check_message(lambda: ej.nn.NormNonlinearity(4, "v", **o), TypeError, ["`fibre`", "representation"])
    check_message(lambda: ej.nn.Gate(MIXED, group=ej.wallpaper("p4")), ValueError, ["`fibre`", "point_group"])
    check_message(lambda: ej.nn.Gate(MIXED, group=4), TypeError, ["`group`"])
    check_message(lambda: ej.nn.Bilinear(4, 4, PLANE, **o), ValueError, ["reaches", "Scalar"])
    check_message(lambda: ej.nn.Bilinear(4, 4, PLANE, Scalar(ej.Cyclic(4)), **o), ValueError, ["`out_fibre`"])
    check_message(lambda: ej.nn.FieldGroupNorm(4, 3, MIXED, **o), ValueError, ["`num_groups`"])
    check_message(lambda: ej.nn.FieldDropout(1.5, MIXED), ValueError, ["`rate`"])
    check_message(lambda: ej.nn.FieldDropout(0.5, MIXED)(jnp.ones((10, 4))), ValueError, ["`rngs`"])
    check_message(lambda: ej.nn.InvariantPool(MIXED)(jnp.ones((9, 4))), ValueError, ["`inputs`", "10"])
    check_message(lambda: build("FieldLayerNorm", MIXED)(jnp.ones((10, 3))), ValueError, ["`inputs`", "4"])
    regular = Regular(ej.Cyclic(3))
    check_message(lambda: ej.nn.Gate(regular).out_action_for(ej.FibreAction(REGULAR)), ValueError, ["fibre"])


def test_actions_on_a_grid():
    p4m = ej.wallpaper("p4m")
    norm = ej.nn.FieldBatchNorm(4, REGULAR, group=p4m, **options())
    assert norm.out_action == ej.GridAction(p4m, REGULAR)
    pool = ej.nn.InvariantPool(REGULAR)
    assert pool.out_action_for(ej.GridAction(p4m, REGULAR)) == ej.GridAction(p4m)
    assert D4 == p4m.point_group


FIELD_LAYERS = {
    **{kind: lambda kind=kind, **o: build(kind, REGULAR, param_dtype=jnp.float32, **o) for kind in NORMS},
    "NormNonlinearity": lambda **o: build("NormNonlinearity", REGULAR, param_dtype=jnp.float32, **o),
    "NormNonlinearity without bias": lambda: build("NormNonlinearity", REGULAR, param_dtype=jnp.float32, use_bias=False),
    "Bilinear": lambda **o: build("Bilinear", REGULAR, param_dtype=jnp.float32, **o),
    "Bilinear of several blocks": lambda **o: build("Bilinear", MIXED, param_dtype=jnp.float32, **o),
    "InvariantPool": lambda: ej.nn.InvariantPool(REGULAR),
    "InvariantPool of several blocks": lambda: ej.nn.InvariantPool(MIXED),
    "FourierNonlinearity": lambda: ej.nn.FourierNonlinearity(REGULAR),
    "FourierNonlinearity of a circle": lambda: ej.nn.FourierNonlinearity(ej.reps.band_limited(ej.SO(2), 2), jax.nn.elu),
    "Gate": lambda: ej.nn.Gate(MIXED),
    "Gate of a permutation": lambda: ej.nn.Gate(REGULAR),
    "FieldDropout": lambda: ej.nn.FieldDropout(0.5, REGULAR),
    "FieldDropout of nothing": lambda: ej.nn.FieldDropout(0.0, REGULAR),
}


def _applied(layer, x):
    return layer(x, rngs=jax.random.key(0)) if isinstance(layer, ej.nn.FieldDropout) else layer(x)


@pytest.mark.parametrize("name", FIELD_LAYERS)
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.bool_], ids=lambda dtype: dtype.__name__)
def test_integers_are_taken_as_floats(name, dtype):
    """Under the promotion that JAX has by default; where it is strict, Flax refuses integers beside float parameters."""
    layer, again = FIELD_LAYERS[name](), FIELD_LAYERS[name]()
    x = np.arange(3 * layer.in_fibre.dim * 4).reshape(3, *layer.in_fibre.shape, 4) % 5
    with jax.numpy_dtype_promotion("standard"):
        y = _applied(layer, jnp.asarray(x, dtype))
    wanted = _applied(again, jnp.asarray(x, dtype).astype(jnp.float32))
    assert y.dtype == jnp.float32 and jnp.abs(y).max() > 0
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("name", FIELD_LAYERS)
def test_an_empty_batch_gives_an_empty_result(name):
    layer = FIELD_LAYERS[name]()
    if isinstance(layer, ej.nn.FieldBatchNorm):
        layer = nnx.view(layer, use_running_average=True)
    shape = (*layer.in_fibre.shape, 4)
    assert _applied(layer, jnp.ones((0, *shape), jnp.float32)).shape == (
        0,
        *_applied(layer, jnp.ones(shape, jnp.float32)).shape,
    )
