"""Every layer keeps its law, and every habit of Flax works with it."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import equijax as ej
from equijax.testing import check_equivariance
from tests.contract.cases import CASES, POOLS
from tests.helpers import compiled, randn, stack

MODES = [(True, True), (True, False), (False, False)]
#: One of each kind of program and of state: what Flax and JAX do with them does not depend on the group. The laws run for
#: every layer; the habits for these, and for all the others among the slow tests.
KINDS = [
    "Conv on translations",
    "GroupConv p4m",
    "Conv two orbits",
    "EquivariantLinear",
    "GroupNorm",
    "Sequential",
    "SetConv",
]
KINDS += ["PermutationEquivariantLinear 1 to 2", "FibrePool", "PolyphaseDownsample", "AttentionPool"]
KINDS += ["Conv vectors", "EquivariantLinear SO(3)"]

#: Layers that are not one linear map, whose variance their own tests measure.
NOT_LINEAR = ["GroupNorm", "BatchNorm", "Sequential", "SetAttentionBlock", "MatrixProductBlock", "EMLP"]
NOT_LINEAR += ["PolyphaseResidual", "PolyphaseStage"]
NOT_LINEAR += ["NormNonlinearity", "FieldLayerNorm", "FieldRMSNorm", "FieldGroupNorm", "Bilinear"]

#: Layers whose law the tests of ``tests/nn`` show too, and takes long to compile.
SLOW_LAWS = ["EMLP", "EquivariantLinear vectors", "EquivariantLinear Lorentz", "LiftingConv irrep", "FieldGroupNorm"]


def _marked(cases, slow=lambda case: False):
    """The scope puts all tests of one layer behind each other, in one process that has compiled its programs."""
    marked = [pytest.param(case, marks=pytest.mark.slow if slow(case) else ()) for case in cases]
    return pytest.mark.parametrize("case", marked, ids=lambda case: case.name, scope="module")


every_layer, every_pool = _marked(CASES), _marked(CASES + POOLS)

each_kind_of_layer = _marked(CASES, lambda case: case.name not in KINDS)
each_kind = _marked(CASES + POOLS, lambda case: case.name not in KINDS)
each_law = _marked(CASES + POOLS, lambda case: case.name in SLOW_LAWS)


def trained(case):
    """The names of the parameters: all but stored averages, for which ``nnx.grad`` has gradients too where there are no graph updates."""
    return tuple(name for name in case.names if name not in ("['mean']", "['var']"))


def batch(case, size=4, dtype=jnp.float64, seed=0):
    return randn((size, *case.shape), seed, dtype)


@functools.cache
def built(case, **more):
    """The description of a layer and its state: those of the layers that are built alike, which are drawn once."""
    return nnx.split(case(**more))


def like(case, **more):
    """A new layer as the case builds it."""
    definition, state = built(case, **more)
    return nnx.merge(definition, jax.tree.map(lambda leaf: leaf, state))  # with variables of its own


@functools.cache
def drawn_elements(kept):
    """Elements that are kept: all that are listed, and a few that are drawn by one program."""
    return stack(kept.elements(), jax.jit(lambda key: kept.sample(key, (3,)))(jax.random.key(2)))


def waves(key, shape, dtype):
    """Other numbers for another key, which compile quickly."""
    phase = (jax.random.key_data(key)[..., -1] % 1024).astype(dtype)
    return jnp.cos(jnp.arange(math.prod(shape), dtype=dtype) + phase).reshape(shape) / max(1, math.prod(shape[:-1])) ** 0.5


def kept_elements(layer, x):
    exactness = layer.exactness(x.shape)
    assert exactness.keeps_point_group
    return exactness, drawn_elements(exactness.kept)


def check_law(layer, x, **more):
    if isinstance(layer, (ej.nn.EquivariantLinear, ej.nn.EMLP)):  # no grid: all of the group, by elements that are drawn
        check_equivariance(compiled(layer), layer.in_action, layer.out_action, x, **more)
    else:
        exactness, elements = kept_elements(layer, x)
        check_equivariance(compiled(layer), exactness.in_action, exactness.out_action, x, elements, **more)


def close(a, b, tolerance=1e-13):
    return all(
        np.abs(np.asarray(x) - np.asarray(y)).max() <= tolerance * max(1.0, np.abs(np.asarray(y)).max())
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@each_law
def test_law_forward_and_gradient(case):
    check_law(like(case), batch(case, 2))


@each_kind_of_layer
def test_law_after_ten_optimizer_steps(case):
    layer, x = like(case), batch(case)
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(layer)))
    optimizer = nnx.Optimizer(layer, optax.sgd(0.02), wrt=nnx.Param)
    target = randn(jax.eval_shape(layer, x).shape, 9)

    @nnx.jit
    def step(layer, optimizer):
        loss, gradient = nnx.value_and_grad(lambda layer: jnp.mean((layer(x) - target) ** 2))(layer)
        optimizer.update(layer, gradient)
        return loss

    losses = [float(step(layer, optimizer)) for _ in range(10)]
    assert losses[-1] < losses[0]
    assert not close(before, nnx.to_pure_dict(nnx.state(layer)), 1e-4)
    check_law(layer, x, gradient=False)


@each_kind
def test_float32_and_strict_promotion(case):
    layer = like(case, param_dtype=jnp.float32)
    x = batch(case, 2, jnp.float32)
    assert jax.eval_shape(layer, x).dtype == jnp.float32
    check_law(layer, x, tolerance=1e-5, gradient=False)


@each_kind_of_layer
def test_bfloat16(case):
    layer = case(param_dtype=jnp.float32, dtype=jnp.bfloat16)
    reference = like(case, param_dtype=jnp.float32)
    x = batch(case, 2, jnp.float32)
    y = jax.jit(layer)(x)
    assert y.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(nnx.state(layer)))
    assert close(y.astype(jnp.float32), compiled(reference)(x), 0.1)


@each_kind_of_layer
def test_dtype_none_promotes(case):
    layer = like(case, param_dtype=jnp.float32)
    with jax.numpy_dtype_promotion("standard"):
        for given, result in ((jnp.bfloat16, jnp.float32), (jnp.float64, jnp.float64)):
            assert jax.eval_shape(layer, jax.ShapeDtypeStruct((2, *case.shape), given)).dtype == result


@each_kind
def test_jit_equals_eager_and_vmap_and_batch_axes(case):
    layer, x = like(case), batch(case, 6)
    y = layer(x)

    @jax.jit
    def ways(x):
        return layer(x), jax.vmap(layer)(x), layer(x[0]), layer(x.reshape(2, 3, *case.shape))

    jitted, mapped, one, by_pairs = ways(x)
    y = np.asarray(y)
    assert close(jitted, y)
    assert close(mapped, y)
    assert close(one, y[0])
    assert close(by_pairs, y.reshape(2, 3, *y.shape[1:]))


@each_kind_of_layer
def test_three_graph_modes(case):
    x = batch(case, 2)
    expected = compiled(like(case))(x)
    for graph, updates in MODES:
        with nnx.set_graph_mode(graph), nnx.set_graph_updates(updates):
            layer = case()

            @nnx.jit
            def call(layer, x):
                return layer(x), nnx.grad(lambda layer: (layer(x) ** 2).sum())(layer)

            y, gradient = call(layer, x)
            assert close(y, expected)
            assert len(jax.tree.leaves(gradient)) == len(trained(case) if updates else case.names)
            gradient = nnx.state(gradient, nnx.Param) if trained(case) != case.names else gradient
            optimizer = nnx.Optimizer(layer, optax.sgd(0.1), wrt=nnx.Param)
            optimizer.update(layer, gradient)
            assert not close(call(layer, x)[0], expected, 1e-6)


@each_kind_of_layer
def test_split_merge_clone_and_hash(case):
    layer, x = like(case), batch(case, 2)
    graph, state = nnx.split(layer)
    other, _ = nnx.split(case())
    assert hash(graph) == hash(other)
    assert graph == other
    expected = compiled(layer)(x)
    merged, clone = nnx.merge(graph, state), nnx.clone(layer)
    for y in jax.jit(lambda x: (merged(x), clone(x)))(x):
        assert close(y, expected)
    assert isinstance(repr(layer), str)


@each_kind_of_layer
def test_equal_instances_share_one_trace(case):
    x, traces = batch(case, 2), []

    @nnx.jit
    def apply(layer, x):
        traces.append(1)
        return layer(x)

    apply(case(), x)
    apply(case(seed=3) if case.name != "Sequential" else case(), x)
    assert len(traces) == 1


@each_kind_of_layer
def test_remat(case):
    layer, x = like(case), batch(case, 2)

    def loss(layer, call):
        return (call(layer, x) ** 2).sum()

    # Two programs: in one, the compiler may compute what is equal once.
    plain = nnx.jit(nnx.grad(lambda layer: loss(layer, lambda layer, x: layer(x))))(layer)
    remat = nnx.jit(nnx.grad(lambda layer: loss(layer, nnx.remat(lambda layer, x: layer(x)))))(layer)
    assert close(plain, remat)


@each_kind_of_layer
def test_scan_over_layers(case):
    square = {"features": (4, 4)} if case.name == "GroupConv p4 two groups" else {"features": (2, 2)}
    if jax.eval_shape(like(case), jax.ShapeDtypeStruct((1, *case.shape), jnp.float64)).shape[1:-1] != case.shape[:-1]:
        pytest.skip("input and output differ in shape, so it can't be stacked")
    features = square["features"][0]

    @nnx.jit
    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs):
        return case(**square, kernel_init=waves, bias_init=waves, rngs=rngs)

    stacked = make(nnx.Rngs(0))
    x = randn((2, *case.shape[:-1], features))
    graph, state = nnx.split(stacked)
    y, _ = jax.lax.scan(lambda x, state: (nnx.merge(graph, state)(x), None), x, state)
    z = x
    for k in range(3):
        z = compiled(nnx.merge(graph, jax.tree.map(lambda leaf, k=k: jnp.asarray(np.asarray(leaf)[k]), state)))(z)
    assert close(y, z)
    with_nnx = nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, stacked)
    assert close(with_nnx, z)


@every_pool
def test_golden_state_names(case):
    tree = nnx.to_pure_dict(built(case)[1])
    names = {jax.tree_util.keystr(path) for path, _ in jax.tree.flatten_with_path(tree)[0]}
    assert names == set(case.names)


@each_kind_of_layer
def test_orbax_round_trip(case, tmp_path):
    layer, x = like(case), batch(case, 2)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.state(layer))
        checkpointer.wait_until_finished()
        abstract = nnx.eval_shape(case)
        restored = checkpointer.restore(tmp_path / "state", nnx.state(abstract))
    nnx.update(abstract, restored)
    assert (np.asarray(compiled(abstract)(x)) == np.asarray(compiled(layer)(x))).all()


@each_kind_of_layer
def test_export(case):
    layer = like(case, param_dtype=jnp.float32)
    size = jax.export.symbolic_shape("b")
    shape = jax.ShapeDtypeStruct((*size, *case.shape), jnp.float32)
    blob = jax.export.export(jax.jit(layer), platforms=["cpu"])(shape).serialize()
    x = batch(case, 3, jnp.float32)
    assert close(jax.export.deserialize(blob).call(x), compiled(layer)(x), 1e-6)


@each_kind_of_layer
def test_linen_bridge(case):
    x = batch(case, 2)
    module = nnx.bridge.to_linen(lambda rngs: case(rngs=rngs))
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    assert set(variables) == ({"params"} if trained(case) == case.names else {"params", "batch_stats"})
    assert jax.eval_shape(module.apply, variables, x).shape == jax.eval_shape(like(case), x).shape


@each_kind_of_layer
def test_data_parallel_equals_one_device(case):
    x = batch(case, 8)
    layer, parallel = like(case), like(case)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    put = lambda tree, spec: jax.device_put(tree, NamedSharding(mesh, spec))  # noqa: E731
    nnx.update(parallel, put(nnx.state(parallel), P()))

    @nnx.jit
    def step(layer, x):
        return nnx.value_and_grad(lambda layer: (layer(x) ** 2).mean())(layer)

    loss, gradient = step(layer, x)
    shared_loss, shared_gradient = step(parallel, put(x, P("data")))
    assert close(shared_loss, loss, 1e-12)
    assert close(shared_gradient, gradient, 1e-12)


@every_layer
def test_variance_at_initialisation(case):
    if case.name in NOT_LINEAR:
        pytest.skip("not one linear map")
    variances = []
    apply = jax.jit(lambda definition, state, x: nnx.merge(definition, state)(x), static_argnums=0)
    for seed in range(2):
        layer = case(
            features=(32, 64), seed=seed, use_bias=False, kernel_init=nnx.initializers.lecun_normal()
        )  # the default
        x = randn((4, *case.shape[:-1], 32), seed)
        alike = {"SetLinear": 1, "SetConv": 1, "ExchangeableLinear": 2}.get(case.name)
        if alike:  # the mean of equal elements is as large as they are
            x = np.asarray(randn((32, *(1,) * alike, *case.shape[alike:-1], 32), seed))
            x = np.broadcast_to(x, (32, *case.shape[:-1], 32))
        y = np.asarray(apply(*nnx.split(layer), x))
        if case.name.startswith("ConvTranspose"):
            y = y * np.sqrt(4.0)  # every output meets 1 / strides² of the window
        variances.append(y.var())
    assert abs(np.mean(variances) - 1.0) <= 0.1, variances


def test_names_and_shapes_of_the_checkpoint_format():
    """Golden shapes: a change here breaks users' checkpoints."""
    shapes = {
        case.name: {k: v.shape for k, v in _flat(nnx.eval_shape(case)).items()} for case in CASES if case.name in GOLDEN
    }
    assert shapes == GOLDEN


GOLDEN = {
    "Conv on translations": {"bias": (3,), "kernel": (3, 3, 2, 3)},
    "LiftingConv line": {"bias": (3,), "kernel": (4, 2, 3)},
    "GroupConv p4m": {"bias": (3,), "kernel": (72, 2, 3)},
    "GroupConv p4 two groups": {"bias": (4,), "kernel": (36, 1, 4)},
    "GroupConv p6 hexagonal": {"bias": (3,), "kernel": (42, 2, 3)},
    "LiftingConv cube": {"bias": (3,), "kernel": (27, 2, 3)},
    "ProjectionConv p4": {"bias": (3,), "kernel": (9, 2, 3)},
    "DepthwiseConv p4m": {"bias": (2,), "kernel": (9, 1, 2)},
    "LiftingConv DNA": {"bias": (3,), "kernel": (20, 2, 3)},
    "GroupConv quaternions": {"bias": (3,), "kernel": (8, 2, 3)},
    "Conv two orbits": {"bias": (2, 3), "kernel": (9, 2, 3)},
    "EquivariantLinear": {"bias": (3,), "kernel": (36, 2, 3)},
    "Conv vectors": {"bias": (1, 3), "kernel": (21, 2, 3)},
    "ExchangeableLinear": {"bias": (3,), "kernel": (2, 3), "pool_kernel": (3, 2, 3)},
    "PermutationEquivariantLinear 1 to 2": {"bias": (2, 3), "kernel": (5, 2, 3)},
    "PermutationEquivariantLinear 2 to 2": {"bias": (2, 3), "kernel": (15, 2, 3)},
}


def _flat(layer):
    return {re.sub(r"[\[\]']", "", k): v for k, v in nnx.to_pure_dict(nnx.state(layer)).items()}
