"""The algorithms of a convolution are one map: outputs, derivatives of every kind, transformations, and what the compiler gets."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import equijax as ej
from equijax.nn import _tiles
from equijax.nn._convolve import ALGORITHMS, convolve
from equijax.nn._dense import dense, dense_on_cpu
from equijax.nn._sampling import Sampling
from equijax.reps import Quotient, Regular, Scalar
from tests.contract.cases import P4M
from tests.helpers import QUATERNIONS, options, randn

GEOMETRIES = [  # grid axes, padding, window, dilation, groups
    (1, "SAME", 3, 1, 2),
    (1, "CAUSAL", 4, 2, 1),
    (2, "SAME", 3, 1, 1),
    (2, "CIRCULAR", 4, 1, 1),
    (2, "VALID", 2, 2, 3),
    (2, ((3, 0), (1, 2)), 2, 1, 1),
    (2, "REFLECT", 3, 1, 2),
    (3, "SAME", 3, 1, 1),
]
TRANSFORMED = ["grad", "jvp", "hessian", "forward_over_reverse", "reverse_over_reverse", "linearize", "vmap_x", "vmap_w"]
TRANSFORMED += ["vmap_both", "vmap_twice", "gradients_of_samples", "remat", "scan"]


def relative(a, b):
    """The largest difference, relative to the largest entry of each array."""
    wide = lambda tree: [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]  # noqa: E731
    pairs = zip(wide(a), wide(b), strict=True)
    return max(float(np.max(np.abs(p - q)) / np.max(np.abs(p))) for p, q in pairs)


def planar(ndim, padding, window, dilation, groups, algorithm="dense", dtype=jnp.float64, batch=2):
    """A convolution as a function of input and kernel, and both."""
    sampling = Sampling((window,) * ndim, (1,) * ndim, (dilation,) * ndim, padding)
    x = randn((batch, *(6, 5, 4)[:ndim], 2 * groups), 1, dtype)
    w = randn((*(window,) * ndim, 2, 3 * groups), 2, dtype)
    return functools.partial(convolve, sampling=sampling, feature_group_count=groups, algorithm=algorithm), x, w


def transformed(name, f, x, w):
    """One derivative or transformation of a convolution."""
    loss = lambda x, w: jnp.sum(jnp.sin(f(x, w)) * jnp.arange(1.0, 4.0)[-1])  # noqa: E731
    both, grads = (x, w), jax.grad(loss, (0, 1))
    along = lambda g: jnp.vdot(g[0], jnp.cos(both[0])) + jnp.vdot(g[1], jnp.sin(both[1]))  # noqa: E731
    xs, ws = jnp.stack([x, 2 * x, jnp.sin(x)]), jnp.stack([w, -w, jnp.cos(w)])
    programs = {
        "grad": lambda: grads(*both),
        "jvp": lambda: jax.jvp(f, both, (jnp.cos(x), jnp.sin(w))),
        "hessian": lambda: jax.hessian(loss, 1)(*both),
        "forward_over_reverse": lambda: jax.jvp(grads, both, (jnp.cos(x), jnp.sin(w))),
        "reverse_over_reverse": lambda: jax.grad(lambda x, w: along(grads(x, w)), (0, 1))(*both),
        "linearize": lambda: jax.linearize(f, *both)[1](jnp.cos(x), w),
        "vmap_x": lambda: jax.vmap(f, (0, None))(xs, w),
        "vmap_w": lambda: jax.vmap(f, (None, 0))(x, ws),
        "vmap_both": lambda: jax.vmap(grads)(xs, ws),
        "vmap_twice": lambda: jax.vmap(jax.vmap(f, (0, None), 1), (None, 0), 2)(xs, ws),
        "gradients_of_samples": lambda: jax.vmap(grads, (0, None))(xs, w),
        "remat": lambda: jax.grad(jax.checkpoint(loss))(*both),
        "scan": lambda: jax.grad(lambda ws: jax.lax.scan(lambda c, w: (c + loss(x, w), None), 0.0, ws)[0])(ws),
    }
    return programs[name]()


@pytest.mark.parametrize("name", TRANSFORMED)
def test_every_derivative_and_transformation_agrees(name):
    for geometry in GEOMETRIES if name in ("grad", "forward_over_reverse") else GEOMETRIES[:1] + GEOMETRIES[2:4]:
        plain, x, w = planar(*geometry)
        fast, *_ = planar(*geometry, algorithm="frequency")
        expected = transformed(name, plain, x, w)
        assert relative(expected, transformed(name, fast, x, w)) <= 1e-13, geometry
        assert relative(expected, jax.jit(functools.partial(transformed, name, fast))(x, w)) <= 1e-13, geometry


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_single_precision_is_as_good_as_dense(geometry):
    exact, x, w = planar(*geometry, batch=5)
    fast, *_ = planar(*geometry, algorithm="frequency")
    expected = jax.vjp(exact, x, w)
    y = randn(expected[0].shape, 3)
    low = [a.astype(jnp.float32) for a in (x, w, y)]
    found = jax.vjp(fast, *low[:2])
    (dx, dw), (fx, fw) = expected[1](y), found[1](low[2])
    assert relative(expected[0], found[0]) <= 3e-6
    assert relative(dx, fx) <= 3e-6
    assert relative(dw, fw) <= 1e-5


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("pads", [((3, 1),), ((3, 1), (1, 1)), ((4, 0), (3, 2))])
def test_padding_longer_than_the_window_reaches(pads, transposed):
    """XLA computes the gradient wrongly on a CPU, from float32 memory that nobody wrote, if it is left to do so."""
    ones, twos = ((n,) * len(pads) for n in (1, 2))
    sampling = Sampling((3,) * len(pads), twos if transposed else ones, ones, pads, transposed)
    x, w = randn((3, *(8, 7)[: len(pads)], 8), 1, jnp.float32), randn((*sampling.window, 8, 8), 2, jnp.float32)
    program = lambda x, w: jax.grad(lambda x: jnp.sum(jnp.sin(convolve(x, w, sampling))))(x)  # noqa: E731
    expected = jax.jit(program)(*(a.astype(jnp.float64) for a in (x, w)))
    junk = [jnp.full(1 << 16, 1e30, jnp.float32) + k for k in np.arange(4, dtype=np.float32)]
    del junk
    assert relative(expected, jax.jit(program)(x, w)) <= 3e-6


@pytest.mark.parametrize("mean", [10.0, 1e3, 1e4])
def test_large_means_lose_no_more_than_the_dense_algorithm(mean):
    exact, x, w = planar(2, "SAME", 3, 1, 1, batch=4)
    low = [(x + mean).astype(jnp.float32), w.astype(jnp.float32)]
    true = exact(*(a.astype(jnp.float64) for a in low))
    errors = {name: relative(true, planar(2, "SAME", 3, 1, 1, name)[0](*low)) for name in ("dense", "frequency")}
    assert errors["frequency"] <= max(3e-6, errors["dense"])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_accumulates_in_single(dtype):
    exact, x, w = planar(2, "SAME", 3, 1, 1)
    x, w = x.astype(dtype), w.astype(dtype)
    y = planar(2, "SAME", 3, 1, 1, "frequency")[0](x, w)
    assert y.dtype == dtype
    assert relative(exact(x.astype(jnp.float64), w.astype(jnp.float64)), y) <= float(jnp.finfo(dtype).eps)


FIBRES = [
    ("p4", 1, ej.wallpaper("p4"), {}, (3, 3)),
    ("p4m", 1, ej.wallpaper("p4m"), {}, (3, 3)),
    ("p6", 1, ej.wallpaper("p6"), {}, (3, 3)),
    ("cube", 1, ej.SpaceGroup(ej.Octahedral()), {}, (2, 2, 2)),
    ("quaternions", (), QUATERNIONS, {}, ()),
    (
        "quotients",
        1,
        P4M,
        {"in_fibre": Quotient(P4M.point_group.subgroup([4])), "out_fibre": Regular(P4M.point_group)},
        (3, 3),
    ),
    ("line windows", 3, ej.SpaceGroup(ej.Reflection(1)), {"padding": "REFLECT"}, (5,)),
    ("p4m windows", 3, P4M, {"padding": "SAME"}, (4, 4)),
    ("p6 windows", 3, ej.wallpaper("p6"), {"padding": "CIRCULAR", "kernel_dilation": 2}, (6, 6)),
    ("cube windows", 2, ej.SpaceGroup(ej.Octahedral()), {"padding": "VALID"}, (3, 3, 3)),
    ("sums", 1, P4M, {"in_fibre": Regular(P4M.point_group) + Scalar(P4M.point_group)}, (3, 3)),
]


@pytest.mark.parametrize(("kernel_size", "group", "fibres", "sizes"), [f[1:] for f in FIBRES], ids=[f[0] for f in FIBRES])
def test_irrep_by_irrep_is_the_same_map(kernel_size, group, fibres, sizes):
    layer = ej.nn.GroupConv(2, 3, kernel_size, use_bias=False, **options(group, **fibres))
    graph, state = nnx.split(layer)
    x = randn((2, *sizes, *layer.in_fibre.shape, 2), 5)

    def run(algorithm):
        def apply(kernel, x):
            model = nnx.merge(graph, state)
            model.set_attributes(algorithm=algorithm)
            model.kernel = nnx.Param(kernel)
            return model(x)

        return apply

    dense, fast = run("dense"), run("group")
    kernel, kernels, xs = layer.kernel[...], jnp.stack([layer.kernel[...], -layer.kernel[...]]), jnp.stack([x, jnp.sin(x)])
    for name in ("grad", "jvp", "forward_over_reverse", "reverse_over_reverse", "linearize"):
        assert relative(transformed(name, dense, kernel, x), transformed(name, fast, kernel, x)) <= 1e-13, name
    for axes, arguments in (((0, None), (kernels, x)), ((None, 0), (kernel, xs)), ((0, 0), (kernels, xs))):
        expected, found = (jax.jit(jax.vmap(f, axes))(*arguments) for f in (dense, fast))
        assert relative(expected, found) <= 1e-13, axes
        expected, found = (
            jax.vmap(lambda k, x, f=f: jax.grad(lambda k: jnp.sum(jnp.sin(f(k, x))))(k), axes)(*arguments)
            for f in (dense, fast)
        )
        assert relative(expected, found) <= 1e-13, axes
    low = [a.astype(jnp.float32) for a in (kernel, x)]
    assert relative(dense(kernel, x), fast(*low)) <= 3e-6


def test_irrep_by_irrep_on_other_platforms_is_the_dense_program():
    layer = ej.nn.GroupConv(2, 3, 1, group=P4M, rngs=nnx.Rngs(0))
    text = {}
    for algorithm in ("auto", "dense"):
        layer.set_attributes(algorithm=algorithm)
        graph, state = nnx.split(layer)
        loss = lambda state, x, graph=graph: jnp.sum(jnp.sin(nnx.merge(graph, state)(x)))  # noqa: E731
        run = jax.jit(jax.grad(loss, (0, 1))).trace(state, jnp.ones((2, 5, 5, 8, 2), jnp.float32))
        found = re.findall(r"stablehlo\.\w+", run.lower(lowering_platforms=("cuda",)).as_text())
        text[algorithm] = set(found), found.count("stablehlo.convolution"), found.count("stablehlo.dot_general")
    assert text["auto"] == text["dense"]  # the gradient writes the weights out a second time, which compilers merge


@pytest.mark.parametrize(("window", "most"), [(1, "OF_PIXELS"), (3, "OF_WINDOWS")])
def test_rows_that_fill_no_whole_tile(window, most, monkeypatch):
    monkeypatch.setattr(_tiles, most, 40960)
    layer = ej.nn.GroupConv(3, 5, window, **options(P4M))
    x = randn((7, 5, 5, 8, 3))
    found = []
    for algorithm in ("dense", "group"):
        layer.set_attributes(algorithm=algorithm)
        found.append((layer(x), nnx.grad(lambda layer, x: jnp.sum(jnp.sin(layer(x))))(layer, x)))
    assert relative(*found) <= 1e-13


def test_a_wrong_kernel_would_be_seen():
    """The negative control: a kernel that is not shared breaks the law under this algorithm, too."""
    layer = ej.nn.Conv(2, 3, 3, padding="CIRCULAR", **options(ej.Translation(2), algorithm="frequency"))
    p4 = ej.nn.Conv(2, 3, 3, padding="CIRCULAR", **options(ej.wallpaper("p4"), algorithm="frequency"))
    x = randn((2, 5, 5, 2))
    with pytest.raises(AssertionError):
        ej.testing.check_equivariance(layer, p4.in_action, p4.out_action, x)


def test_translations_are_dense_by_default_and_other_groups_choose():
    plain, turned = (ej.nn.Conv(1, 1, 3, **options(group)) for group in (ej.Translation(2), ej.wallpaper("p4")))
    assert (plain.algorithm, turned.algorithm) == ("dense", "auto")
    flax = nnx.Conv(1, 1, (3, 3), rngs=nnx.Rngs(0), param_dtype=jnp.float64)
    nnx.update(plain, nnx.state(flax))
    x = randn((64, 8, 8, 1))
    assert jnp.array_equal(plain(x), flax(x))


def test_a_switch_after_the_first_call_is_seen_by_jit():
    layer = ej.nn.LiftingConv(2, 3, 5, **options(ej.wallpaper("p4"), padding="CIRCULAR", algorithm="frequency"))
    model = ej.nn.Sequential(layer, ej.nn.FibrePool(group=ej.wallpaper("p4")))
    run, x = nnx.jit(lambda model, x: model(x)), randn((4, 6, 6, 2))
    first = run(model, x)
    model.set_attributes(algorithm="dense")
    second = run(model, x)
    assert not jnp.array_equal(first, second)
    np.testing.assert_allclose(first, second, atol=1e-13)
    fresh = jax.jit(lambda x: model(x))(x)
    assert jnp.array_equal(second, fresh)


@pytest.mark.parametrize("given", ["fast", "", 3])
def test_an_unknown_algorithm_is_named(given):
    with pytest.raises(ValueError, match="`algorithm` is .*must be one of"):
        ej.nn.Conv(1, 1, 3, group=ej.wallpaper("p4"), algorithm=given, rngs=nnx.Rngs(0))
    layer = ej.nn.Conv(1, 1, 3, group=ej.wallpaper("p4"), rngs=nnx.Rngs(0))
    layer.set_attributes(algorithm=given)
    with pytest.raises(ValueError, match="`algorithm` is .*must be one of"):
        layer(jnp.ones((5, 5, 1), jnp.float32))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 2), (0, 1))])
def test_other_platforms_get_the_dense_program(platform, padding):
    def program(algorithm):
        f, x, w = planar(2, padding, 3, 1, 1, algorithm, jnp.float32)
        both = lambda x, w: (f(x, w), jax.grad(lambda x, w: jnp.sum(jnp.sin(f(x, w))), (0, 1))(x, w))  # noqa: E731
        text = jax.jit(both).trace(x, w).lower(lowering_platforms=(platform,)).as_text()
        return re.sub(r"[@%]\w+", "name", text)

    assert program("auto") == program("dense")
    assert program("frequency") != program("dense")


@pytest.mark.parametrize("padding", ["CIRCULAR", "REFLECT"])
def test_other_platforms_get_the_dense_program_once_what_is_written_twice_is_merged(padding):
    """The gradient pads its input a second time, which every compiler merges: here that of the CPU, told to be another."""

    def operations(algorithm):
        f, x, w = planar(2, padding, 3, 1, 1, algorithm, jnp.float32)
        both = lambda x, w: (f(x, w), jax.grad(lambda x, w: jnp.sum(jnp.sin(f(x, w))), (0, 1))(x, w))  # noqa: E731
        text = jax.jit(both).trace(x, w).lower(lowering_platforms=("cuda",)).as_text()
        return sorted(set(re.findall(r"stablehlo\.\w+", text))), len(re.findall(r"stablehlo\.convolution", text))

    assert operations("auto") == operations("dense")


def lowered(f, *shapes):
    """The text of a program for a CPU, from shapes alone."""
    return jax.jit(f).lower(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)).as_text()


@pytest.mark.parametrize(
    ("x", "w", "is_dense"),
    [
        ((64, 28, 28, 64), (5, 5, 64, 64), False),
        ((64, 7, 7, 128), (5, 5, 128, 256), False),
        ((4, 14, 14, 14, 8), (5, 5, 5, 8, 16), False),
        ((64, 28, 28, 1), (5, 5, 1, 64), True),
        ((1, 7, 7, 8), (3, 3, 8, 8), True),
        ((64, 100, 64), (5, 64, 64), True),
    ],
)
def test_on_a_cpu_shapes_decide(x, w, is_dense):
    sampling = Sampling(w[:-2], (1,) * len(w[:-2]), (1,) * len(w[:-2]), "SAME")
    text = lowered(lambda x, w: convolve(x, w, sampling, algorithm="auto"), x, w)
    assert ("stablehlo.convolution" in text) is is_dense


def test_the_gradient_of_several_layers_needs_hardly_more_memory():
    conv = planar(2, "SAME", 3, 1, 1, "frequency", jnp.float32)[0]
    sizes = {}
    for algorithm in ("dense", "frequency"):
        loss = lambda ws, x, a=algorithm: functools.reduce(lambda x, w: jnp.sin(conv(x, w, algorithm=a)), ws, x).sum()  # noqa: E731
        ws, x = [jax.ShapeDtypeStruct((3, 3, 32, 32), jnp.float32)] * 3, jax.ShapeDtypeStruct((32, 28, 28, 32), jnp.float32)
        sizes[algorithm] = jax.jit(jax.grad(loss)).lower(ws, x).compile().memory_analysis().temp_size_in_bytes
    assert sizes["frequency"] <= 1.1 * sizes["dense"]


def test_the_batch_of_a_vmap_counts():
    sampling = Sampling((5, 5), (1, 1), (1, 1), "SAME")
    one = lambda x, w: convolve(x[None], w, sampling, algorithm="auto")[0]  # noqa: E731
    assert "stablehlo.convolution" not in lowered(jax.vmap(one, (0, None)), (64, 28, 28, 64), (5, 5, 64, 64))


@pytest.mark.parametrize("padding", ["VALID", "CIRCULAR", "REFLECT"])
@pytest.mark.skipif(jax.__version_info__ >= (0, 11), reason="it is not used there")
def test_the_spare_column_changes_no_bit(padding):
    sampling = Sampling((3, 4), (1, 1), (2, 1), padding)
    x, w = randn((2, 8, 7, 2), 1), randn((3, 4, 2, 3), 2)
    assert jnp.array_equal(dense_on_cpu(x, w, sampling, 1, None), dense(x, w, sampling, 1, None))


def test_an_exported_program_serves_two_platforms_and_open_sizes():
    f, x, w = planar(2, "SAME", 3, 1, 1, "auto")
    expected = f(x, w)
    program = export.export(jax.jit(f), platforms=("cpu", "cuda"))(x, w)
    np.testing.assert_allclose(program.call(x, w), expected, atol=1e-12)
    batch = jax.ShapeDtypeStruct(export.symbolic_shape("b, 6, 5, 2"), x.dtype)
    for g in (f, lambda x, w: jax.vmap(lambda x: f(x[None], w)[0])(x)):
        np.testing.assert_allclose(export.export(jax.jit(g))(batch, w).call(x, w), expected, atol=1e-12)


def test_a_batch_on_four_devices():
    f, x, w = planar(2, "SAME", 3, 1, 1, "frequency", batch=8)
    loss = lambda x, w: jnp.sum(jnp.sin(f(x, w)))  # noqa: E731
    run = jax.jit(lambda x, w: (f(x, w), jax.grad(loss, (0, 1))(x, w)))
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    over = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    y, grads = run(jax.device_put(x, over), w)
    assert y.sharding.is_equivalent_to(over, y.ndim)
    assert relative(run(x, w), (y, grads)) <= 1e-13


@pytest.mark.parametrize("axis_type", ["Explicit", "Manual"])
def test_meshes_that_ask_for_more_get_the_dense_program(axis_type):
    f, x, w = planar(2, "SAME", 3, 1, 1, "frequency", batch=8)
    plain, *_ = planar(2, "SAME", 3, 1, 1)
    spec = jax.sharding.PartitionSpec
    kind = getattr(jax.sharding.AxisType, axis_type if axis_type == "Explicit" else "Auto")
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(kind,))
    if axis_type == "Manual":
        run = jax.shard_map(f, mesh=mesh, in_specs=(spec("batch"), spec()), out_specs=spec("batch"))
        np.testing.assert_allclose(jax.jit(run)(x, w), plain(x, w), atol=1e-12)
        return
    with jax.set_mesh(mesh):
        x = jax.device_put(x, spec("batch"))
        np.testing.assert_allclose(jax.jit(f)(x, w), plain(x, w), atol=1e-12)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_an_algorithm_does_not_cover_is_dense(algorithm):
    for sampling, x, w in (
        (Sampling((3, 3), (2, 2), (1, 1), "SAME"), randn((2, 6, 6, 2)), randn((3, 3, 2, 3))),
        (Sampling((1, 1), (1, 1), (1, 1), "SAME"), randn((2, 6, 6, 2)), randn((1, 1, 2, 3))),
        (Sampling((3, 3), (1, 1), (1, 1), "SAME"), randn((0, 6, 6, 2)), randn((3, 3, 2, 3))),
        (
            Sampling((3, 3), (1, 1), (1, 1), "SAME"),
            randn((2, 6, 6, 2)).astype(complex) * 1j,
            randn((3, 3, 2, 3)).astype(complex),
        ),
        (Sampling((), (), (), "SAME"), randn((5, 2)), randn((2, 3))),
    ):
        assert jnp.array_equal(convolve(x, w, sampling, algorithm=algorithm), convolve(x, w, sampling))


def test_a_transform_spreads_what_is_not_finite_over_its_own_image_alone():
    f, x, w = planar(2, "SAME", 3, 1, 1, "frequency")
    y = f(x.at[0, 0, 0, 0].set(jnp.nan), w)
    assert bool(jnp.isnan(y[0]).all())
    assert bool(jnp.isfinite(y[1]).all())


def test_the_audit_reads_the_dense_program():
    """Under every algorithm a report finds the same: a border lost by zero padding is named, and nothing is spread."""
    rows = []
    for algorithm in ("dense", "frequency"):
        net = nnx.Sequential(
            ej.nn.Conv(1, 2, (3, 3), algorithm=algorithm, rngs=nnx.Rngs(0)), nnx.relu,
            ej.nn.Conv(2, 2, (3, 3), padding="CIRCULAR", algorithm=algorithm, rngs=nnx.Rngs(1)),
        )  # fmt: skip
        report = ej.audit.explain(net, randn((2, 6, 6, 1), dtype=jnp.float32), in_action=ej.GridAction(ej.Translation(2)))
        rows.append([(row.name, row.verdict, row.causes) for row in report.rows])
    assert rows[0] == rows[1]
