"""Depthwise and separable convolutions: their law, what they are composed of, and how a CPU computes them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.nn import _depthwise
from equijax.nn._convolve import convolve
from equijax.nn._sampling import Sampling
from equijax.reps import Irrep, Quotient, Regular, Scalar, Vector
from equijax.testing import check_equivariance
from tests.helpers import QUATERNIONS, check_message, compiled, options, randn, stack, train
from tests.nn.test_algorithms import TRANSFORMED, relative, transformed

P4, P4M, P6 = (ej.wallpaper(name) for name in ("p4", "p4m", "p6"))
LINE, CUBE = ej.SpaceGroup(ej.Reflection(1)), ej.SpaceGroup(ej.Octahedral())
FOUR, EIGHT = Regular(P4.point_group), Regular(P4M.point_group)
EDGES = Quotient(P4M.point_group.subgroup([4]))
SUM = Scalar(P4M.point_group) + EDGES + EIGHT

#: Group, window, fibre, sizes, strides and padding.
DEPTHWISE = {
    "p4": (P4, 3, None, (5, 5), 1, "CIRCULAR"),
    "p4 even window": (P4, 2, None, (4, 4), 1, "CIRCULAR"),
    "p4m": (P4M, 3, None, (4, 4), 1, "CIRCULAR"),
    "p4m quotient, zeros": (P4M, 3, EDGES, (5, 5), 1, "SAME"),
    "p4m sum, strides": (P4M, 3, SUM, (5, 5), 2, "SAME"),
    "p4m strides on a torus": (P4M, 3, None, (6, 6), 2, "CIRCULAR"),
    "p4 scalar, reflected": (P4, 3, Scalar(P4.point_group), (5, 5), 1, "REFLECT"),
    "p4 inside": (P4, 2, None, (5, 5), 1, "VALID"),
    "p6": (P6, 3, None, (4, 4), 1, "CIRCULAR"),
    "line": (LINE, 5, None, (7,), 1, "CIRCULAR"),
    "cube": (CUBE, 3, Quotient(CUBE.point_group.subgroup([1])), (3, 3, 3), 1, "CIRCULAR"),
    "quaternions": (QUATERNIONS, (), None, (), 1, "SAME"),
}
every_case = pytest.mark.parametrize("name", DEPTHWISE)


def depthwise(name, features=2, **more):
    group, window, fibre, sizes, strides, padding = DEPTHWISE[name]
    layer = ej.nn.DepthwiseConv(features, window, strides, **options(group, fibre=fibre, padding=padding, **more))
    return layer, (*sizes, *layer.in_fibre.shape, features)


def separable(name, features=(2, 3), **more):
    group, window, fibre, sizes, strides, padding = DEPTHWISE[name]
    given = options(group, **({"in_fibre": fibre, "out_fibre": fibre, "padding": padding} | more))
    layer = ej.nn.SeparableConv(*features, window, strides, **given)
    return layer, (*sizes, *layer.in_fibre.shape, features[0])


def check_law(layer, x):
    """All elements that the layer names, which are the whole point group, forward and gradient, in one program and without."""
    exactness = layer.exactness(x.shape)
    assert exactness.keeps_point_group, str(exactness)
    elements = stack(exactness.elements(), exactness.kept.sample(jax.random.key(2), (3,)))
    check_equivariance(compiled(layer), exactness.in_action, exactness.out_action, x, elements)


def matches(a, b, tolerance=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize("build", [depthwise, separable])
@every_case
def test_law_before_and_after_training(name, build):
    layer, shape = build(name)
    x = randn((2, *shape))
    check_law(layer, x)
    train(layer, x, steps=1)
    check_law(layer, x)
    matches(compiled(layer)(x), layer(x), 1e-14)
    assert layer.out_shape(x.shape) == layer(x).shape


def test_vectors_to_a_regular_fibre():
    """What stands in front may mix its coordinates."""
    mixed = Vector(P4.point_group) + Irrep(P4.point_group, 0) + Irrep(P4.point_group, 2)
    layer = ej.nn.SeparableConv(2, 3, 3, **options(P4, in_fibre=mixed, padding="CIRCULAR"))
    x = randn((2, 5, 5, 4, 2))
    assert layer(x).shape == (2, 5, 5, 4, 3)
    check_law(layer, x)


@pytest.mark.parametrize("build", [depthwise, separable])
def test_weights_that_are_not_shared_are_noticed(build):
    """Negative control: the weights of translations break the law of p4."""
    layer, shape = build("p4")
    inner = layer if build is depthwise else layer.depthwise
    expanded = np.array(inner.sharing.expand(inner.kernel[...]))
    expanded[0, 0, 0, 0] += 0.01
    wrong = Sampling((3, 3), (1, 1), (1, 1), "CIRCULAR")

    def broken(x):
        z = x if build is depthwise else layer.pointwise(x)
        y = convolve(z.reshape(*z.shape[:-2], -1), jnp.asarray(expanded), wrong, feature_group_count=expanded.shape[-1])
        return y.reshape(*y.shape[:-1], 4, -1)

    exactness = layer.exactness((2, *shape))
    with pytest.raises(AssertionError):
        check_equivariance(
            jax.jit(broken), exactness.in_action, exactness.out_action, randn((2, *shape)), exactness.elements()
        )


@every_case
def test_it_is_the_convolution_whose_kernel_is_diagonal(name):
    layer, shape = depthwise(name)
    group, window, _, _, strides, padding = DEPTHWISE[name]
    fibre, n = layer.in_fibre, layer.in_fibre.dim
    full = ej.nn.Conv(
        2, 2, window, strides, **options(group, in_fibre=fibre, out_fibre=fibre, padding=padding, algorithm="dense")
    )
    own = np.asarray(layer.kernel[...]).reshape(-1, 1, 2)[layer.sharing.table[..., 0]]  # (fibre, offsets, 1, features)
    wide = np.zeros((*full.sharing.shape, 2, 2))
    for b in range(n):
        wide[b, :, b] = own[b] * np.eye(2)
    rows = np.unique(full.sharing.table, return_index=True)[1]
    full.kernel[...] = jnp.asarray(wide.reshape(-1, 2, 2)[rows]).reshape(full.kernel.shape)
    full.bias[...] = layer.bias[...]
    x = randn((2, *shape))
    matches(layer(x), full(x), 1e-14)


@pytest.mark.parametrize("name", ["p4", "p4m", "p6", "line", "p4m strides on a torus", "p4 inside"])
def test_it_is_the_group_convolution_of_the_composed_kernel(name):
    """ψ[δ, o] φ[a, i, o]; forward and gradient of the input."""
    layer, shape = separable(name)
    group, window, _, _, strides, padding = DEPTHWISE[name]
    full = ej.nn.GroupConv(2, 3, window, strides, **options(group, padding=padding, algorithm="dense"))
    pointwise = np.asarray(layer.pointwise.kernel[...])[layer.pointwise.sharing.table[:, 0, :]]  # (b, a, in, out)
    spatial = np.asarray(layer.depthwise.kernel[...])[layer.depthwise.sharing.table[..., 0], 0]  # (b, offsets, out)
    composed = np.einsum("baio,bko->bkaio", pointwise, spatial)
    assert full.sharing.defect(composed) <= 1e-15
    rows = np.unique(full.sharing.table, return_index=True)[1]
    full.kernel[...] = jnp.asarray(composed.reshape(-1, 2, 3)[rows])
    full.bias[...] = layer.depthwise.bias[...]
    x = randn((2, *shape))
    matches(layer(x), full(x), 1e-13)
    y = randn(layer(x).shape, 4)
    matches(*(jax.vjp(call, x)[1](y)[0] for call in (layer, full)), 1e-13)


def test_on_translations_it_is_that_of_flax():
    own = ej.nn.DepthwiseConv(4, (3, 2), 1, padding="SAME", rngs=nnx.Rngs(0))
    flax = nnx.Conv(4, 4, (3, 2), feature_group_count=4, rngs=nnx.Rngs(0))
    x = randn((2, 6, 5, 4), dtype=jnp.float32)
    assert own.kernel.shape == flax.kernel.shape and jnp.array_equal(own.kernel[...], flax.kernel[...])
    assert jnp.array_equal(own(x), flax(x))
    both = ej.nn.SeparableConv(4, 6, 3, group=ej.Translation(2), rngs=nnx.Rngs(0))
    assert both(x).shape == (2, 6, 5, 6) and both.depthwise.kernel.shape == (3, 3, 1, 6)


def test_parameters_and_variance():
    layer = ej.nn.SeparableConv(32, 64, 3, group=P4M, padding="CIRCULAR", rngs=nnx.Rngs(0))
    full = ej.nn.GroupConv(32, 64, 3, group=P4M, padding="CIRCULAR", rngs=nnx.Rngs(0))
    assert layer.pointwise.kernel.shape == (8, 32, 64) and layer.depthwise.kernel.shape == (9, 1, 64)
    assert layer.pointwise.bias is None and layer.depthwise.bias.shape == (64,)
    assert full.kernel.shape == (72, 32, 64)
    x = randn((4, 8, 8, 8, 32), dtype=jnp.float32)
    assert abs(float(jnp.var(layer.pointwise(x))) - 1) <= 0.1
    assert abs(float(jnp.var(layer(x))) - 1) <= 0.2
    wide = ej.nn.DepthwiseConv(512, 3, group=P4M, fibre=SUM, padding="CIRCULAR", rngs=nnx.Rngs(0))
    x = randn((4, 6, 6, SUM.dim, 512), dtype=jnp.float32)
    per_orbit = np.asarray(wide(x)).var((0, 1, 2, 4))
    assert np.abs(per_orbit - 1).max() <= 0.15 and wide.bias.shape == (3, 512)


def test_a_network_is_exact_under_the_audit():
    net = ej.nn.Sequential(
        ej.nn.LiftingConv(1, 3, 3, padding="CIRCULAR", **options(P4M)),
        jnp.tanh,
        ej.nn.SeparableConv(3, 4, 3, padding="CIRCULAR", **options(P4M)),
        ej.nn.GroupNorm(4, 2, group=P4M, param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
        jnp.tanh,
        ej.nn.DepthwiseConv(4, 3, padding="CIRCULAR", **options(P4M)),
        ej.nn.FibrePool(group=P4M),
    )
    x = randn((2, 6, 6, 1))
    report = ej.audit.explain(net, x, in_action=net.in_action)
    assert report.exact and not report.accused and max(row.ratio for row in report.rows) <= 10
    assert {"layers.2", "layers.5"} <= {row.name for row in report.rows}
    assert net.exactness(x.shape).keeps_point_group


def test_a_border_is_no_torus_and_a_chain_says_so():
    chain = [ej.nn.SeparableConv(2, 2, 3, 2, **options(P4, padding="SAME")), ej.nn.DepthwiseConv(2, 3, **options(P4))]
    net = ej.nn.Sequential(*chain)
    assert net.exactness((9, 9, 4, 2)).keeps_point_group
    check_law(net, randn((2, 9, 9, 4, 2)))
    assert "CIRCULAR" not in str(chain[0].exactness((9, 9, 4, 2)).in_action)


WRONG = [
    (lambda: ej.nn.DepthwiseConv(2, 3, **options(P4, fibre=Vector(P4.point_group))), ["`fibre`", "mixes", "Regular"]),
    (
        lambda: ej.nn.SeparableConv(2, 2, 3, **options(P4, out_fibre=Vector(P4.point_group))),
        ["`out_fibre`", "mixes", "depthwise", "Regular"],
    ),
    (lambda: ej.nn.DepthwiseConv(2, (3, 5), **options(P4)), ["`kernel_size`", "exchanges axes"]),
    (lambda: ej.nn.DepthwiseConv(2, 2, **options(P6)), ["`kernel_size`", "hexagonal"]),
    (lambda: ej.nn.SeparableConv(2, 2, 3, **options(P4, kernel_dilation=(1, 2))), ["`kernel_dilation`", "mixes axes"]),
    (lambda: ej.nn.DepthwiseConv(2, 3, **options(ej.Cyclic(4))), ["`group`", "SpaceGroup"]),
    (lambda: ej.nn.SeparableConv(2, 3, 3, **options(P4, feature_group_count=2)), ["`feature_group_count`"]),
    (lambda: ej.nn.DepthwiseConv(2, 3, **options(P4, algorithm="fast")), ["`algorithm`"]),
    (lambda: ej.nn.DepthwiseConv(2, 3, **options(P4))(randn((2, 5, 5, 4, 3))), ["`inputs`", "in_features = 2"]),
    (lambda: ej.nn.SeparableConv(2, 3, 3, **options(P4))(randn((2, 5, 5, 8, 2))), ["`inputs`", "fibre axis"]),
    (
        lambda: ej.nn.SeparableConv(2, 3, 3, 2, **options(P4))(randn((2, 6, 6, 4, 2))),
        ["SeparableConv", "keeps only", "Remedies", "allow_inexact"],
    ),
    (lambda: ej.nn.DepthwiseConv(2, 2, **options(P4))(randn((2, 5, 5, 4, 2))), ["DepthwiseConv", "keeps only", "Remedies"]),
]


@pytest.mark.parametrize(("call", "words"), WRONG)
def test_wrong_uses_are_answered(call, words):
    check_message(call, ValueError, words)


def test_what_is_lost_can_be_accepted():
    layer = ej.nn.SeparableConv(2, 3, 3, 2, **options(P4, allow_inexact=True))
    assert layer(randn((2, 6, 6, 4, 2))).shape == (2, 3, 3, 4, 3)
    assert not layer.exactness((2, 6, 6, 4, 2)).keeps_point_group


# ------------------------------------------------------------------------------------------- how a CPU computes them

SHAPES = [  # grid axes, padding, window, dilation
    (1, "CAUSAL", 4, 2),
    (2, "SAME", 3, 1),
    (2, "CIRCULAR", 4, 1),
    (2, "VALID", 2, 2),
    (2, ((5, 0), (1, 7)), 2, 1),
    (2, "REFLECT", 3, 1),
    (3, "SAME", 3, 1),
]


def problem(ndim, padding, window, dilation, channels=16, sizes=(5, 34, 6), dtype=jnp.float64):
    """A depthwise convolution by a named algorithm, its input and its kernel."""
    sampling = Sampling((window,) * ndim, (1,) * ndim, (dilation,) * ndim, padding)
    sizes = sizes[-ndim:] if ndim == 1 else sizes[:ndim]
    x, w = randn((2, *sizes, channels), 1, dtype), randn((*sampling.window, 1, channels), 2, dtype)
    make = lambda algorithm: functools.partial(  # noqa: E731
        convolve, sampling=sampling, feature_group_count=channels, algorithm=algorithm
    )
    return make, x, w


@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_over_the_window_are_the_same_map(shape, channels):
    make, x, w = problem(*shape, channels)
    expected, pull = jax.vjp(make("dense"), x, w)
    found, other = jax.vjp(make("auto"), x, w)
    y = randn(expected.shape, 3)
    assert relative((expected, pull(y)), (found, other(y))) <= 1e-13
    assert relative(pull(y), jax.jit(other)(y)) <= 1e-13


@pytest.mark.parametrize("name", TRANSFORMED)
def test_every_derivative_and_transformation_agrees(name):
    make, x, w = problem(2, "SAME", 3, 1, 16, (4, 3))
    expected = transformed(name, make("dense"), x, w)
    assert relative(expected, transformed(name, make("auto"), x, w)) <= 1e-13
    assert relative(expected, jax.jit(functools.partial(transformed, name, make("auto")))(x, w)) <= 1e-13


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 3e-6), (jnp.bfloat16, 2**-8), (jnp.float16, 2**-10)])
def test_lower_precisions_are_accumulated_in_single(dtype, tolerance):
    make, x, w = problem(2, "CIRCULAR", 3, 1)
    x, w = x.astype(dtype), w.astype(dtype)
    y = randn(x.shape, 3).astype(dtype)
    wide = [a.astype(jnp.float64) for a in (x, w, y)]
    expected, pull = jax.vjp(make("dense"), *wide[:2])
    found, other = jax.vjp(make("auto"), x, w)
    assert found.dtype == dtype
    assert relative((expected, pull(wide[2])), (found, other(y))) <= tolerance


def text(make, x, w, platform):
    both = lambda x, w: jax.grad(lambda x, w: jnp.sum(jnp.sin(make(x, w))), (0, 1))(x, w)  # noqa: E731
    return jax.jit(both).trace(x, w).lower(lowering_platforms=(platform,)).as_text()


def test_a_cpu_adds_shifts_and_other_platforms_convolve():
    make, x, w = problem(2, "SAME", 3, 1, dtype=jnp.float32)
    assert "stablehlo.convolution" not in text(make("auto"), x, w, "cpu")
    assert "stablehlo.convolution" in text(make("dense"), x, w, "cpu")
    counts = [text(make(algorithm), x, w, "cuda").count("stablehlo.convolution") for algorithm in ("auto", "dense")]
    assert counts[0] == counts[1] > 0
    few, x, w = problem(2, "SAME", 3, 1, 3, dtype=jnp.float32)
    assert text(few("auto"), x, w, "cpu").count("stablehlo.convolution") == 1, "few channels: the kernel's gradient"


def test_large_windows_are_not_written_out():
    assert _depthwise.is_depthwise("y", (8, 8, 1, 4), 4) and not _depthwise.is_depthwise("y", (9, 9, 1, 4), 4)
    assert not _depthwise.is_depthwise("y", (3, 3, 1, 8), 4) and not _depthwise.is_depthwise("y", (3, 3, 2, 4), 2)
    make, x, w = problem(2, "SAME", 9, 1, dtype=jnp.float32)
    assert "stablehlo.convolution" in text(make("auto"), x, w, "cpu")


def test_a_convolution_with_as_many_groups_as_features_gains_too():
    layer = ej.nn.Conv(16, 16, 3, feature_group_count=16, **options(ej.Translation(2), algorithm="auto"))
    plain = ej.nn.Conv(16, 16, 3, feature_group_count=16, **options(ej.Translation(2)))
    x = randn((2, 6, 5, 16))
    matches(layer(x), plain(x), 1e-14)
    assert "stablehlo.convolution" not in jax.jit(lambda x: layer(x)).lower(x).as_text()
