"""Every equivariant linear map between tensors on nodes, against the reference layer and formulas written out."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.sharing import bell_number, set_partitions
from equijax.sharing._partitions import stirling_number
from equijax.testing import check_equivariance
from tests.helpers import check_message

ORDERS = [(k, l) for k, l in itertools.product(range(5), repeat=2) if k + l <= 6]
SMALL = [(1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (0, 2), (2, 0)]


def numbers(shape, seed=0):
    """Standard normal numbers; drawn by numpy, which compiles nothing."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def zeros(key, shape, dtype):
    return jnp.asarray(np.zeros(shape), dtype)


def make(k, l, features=(2, 3), **more):
    """A layer with random weights."""
    more = {"param_dtype": jnp.float64, "kernel_init": zeros, "bias_init": zeros} | more
    layer = ej.nn.PermutationEquivariantLinear(k, l, *features, rngs=nnx.Rngs(0), **more)
    for seed, parameter in enumerate((layer.kernel, layer.bias)):
        if parameter is not None:
            parameter[...] = numbers(parameter.shape, seed).astype(layer.param_dtype)
    return layer


def reference(layer, n, x):
    """What the reference layer gives with the same weights."""
    k, l = layer.in_order, layer.out_order
    given = {"param_dtype": jnp.float64, "use_bias": layer.bias is not None, "rngs": nnx.Rngs(0)}
    dense = ej.nn.EquivariantLinear(
        ej.TensorAction(n, k), ej.TensorAction(n, l), 2, 3, kernel_init=zeros, bias_init=zeros, **given
    )
    for name, weights in layer.to_orbit_weights(n).items():
        assert weights.shape == getattr(dense, name).shape
        getattr(dense, name)[...] = weights
    return jax.jit(lambda layer, x: layer(x))(dense, x)


def apply(layer, x, mask=None, n=None):
    return jax.jit(lambda layer, x, mask: layer(x, mask, num_nodes=n))(layer, x, mask)


def error(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).max() / max(1.0, np.abs(np.asarray(b)).max())


def with_basis_kernel(k, l, **more):
    """A layer from one feature to as many features as there are maps, each the output of one map."""
    count = bell_number(k + l)
    layer = make(k, l, (1, count), use_bias=False, **more)
    layer.kernel[...] = jnp.eye(count)[:, None, :]
    return layer


@pytest.mark.parametrize("k, l", ORDERS)
def test_counts(k, l):
    shapes = jax.eval_shape(lambda: nnx.to_pure_dict(nnx.state(make(k, l))))
    assert shapes["kernel"].shape == (bell_number(k + l), 2, 3)
    assert shapes["bias"].shape == (bell_number(l), 3)


@pytest.mark.parametrize("k, l", ORDERS)
def test_equals_the_reference_layer(k, l):
    n = 2 if k + l > 4 else 3
    layer, x = make(k, l, normalization="sum" if k % 2 else "mean"), numbers((2, *(n,) * k, 2), 2)
    expected = reference(layer, n, x)
    assert error(apply(layer, x, n=n), expected) <= 1e-13
    if k + l > 1:
        layer.kernel[...] = np.roll(np.asarray(layer.kernel[...]), 1, axis=0)
        assert error(reference(layer, n, x), expected) > 1e-3


@pytest.mark.parametrize("k, l, n", [(2, 2, 5), (2, 2, 4), (1, 2, 4), (2, 2, 1)])
def test_equals_the_reference_layer_at_other_sizes(k, l, n):
    layer, x = make(k, l, use_bias=False), numbers((*(n,) * k, 2), 2)
    assert set(layer.to_orbit_weights(n)) == {"kernel"}
    assert error(apply(layer, x), reference(layer, n, x)) <= 1e-13


@pytest.mark.parametrize("k, l, n", [(2, 2, 4), (2, 2, 3), (2, 2, 2), (1, 2, 3), (1, 2, 2), (2, 1, 3), (1, 1, 2), (3, 1, 2)])
def test_rank_of_the_operators(k, l, n):
    layer = with_basis_kernel(k, l)
    inputs = jnp.eye(n**k).reshape(n**k, *(n,) * k, 1)
    operators = np.asarray(apply(layer, inputs)).reshape(-1, bell_number(k + l))
    expected = sum(stirling_number(k + l, blocks) for blocks in range(n + 1))
    assert np.linalg.matrix_rank(operators) == expected
    assert (k, l) != (2, 2) or expected == {4: 15, 3: 14, 2: 8}[n]


@pytest.mark.parametrize("k, l", [(2, 2), (4, 0), (0, 4), (3, 2), (2, 4)])
def test_rank_by_orbits(k, l):
    for n in (3, k + l):
        kernel = with_basis_kernel(k, l).to_orbit_weights(n)["kernel"]
        count = sum(stirling_number(k + l, blocks) for blocks in range(n + 1))
        assert kernel.shape[0] == count
        assert np.linalg.matrix_rank(np.asarray(kernel)[:, 0]) == count


def test_numbers_of_the_fifteen_maps():
    """The checkpoint format, against formulas written out."""
    n = 4
    x = np.asarray(numbers((n, n)))
    d, r, c, t, s = np.diag(x), x.mean(1), x.mean(0), np.trace(x) / n, x.mean()
    full, eye = np.ones((n, n)), np.eye(n)
    rows, columns = (lambda v: v[:, None] * full), (lambda v: v[None, :] * full)
    expected = {
        (0, 0, 0, 0): eye * d, (0, 0, 0, 1): eye * r, (0, 0, 1, 0): eye * c, (0, 0, 1, 1): eye * t, (0, 0, 1, 2): eye * s,
        (0, 1, 0, 0): rows(d), (0, 1, 0, 1): x, (0, 1, 0, 2): rows(r), (0, 1, 1, 0): x.T, (0, 1, 1, 1): columns(d),
        (0, 1, 1, 2): columns(r), (0, 1, 2, 0): rows(c), (0, 1, 2, 1): columns(c), (0, 1, 2, 2): t * full, (0, 1, 2, 3): s * full,
    }  # fmt: skip
    y = np.asarray(apply(with_basis_kernel(2, 2), jnp.asarray(x)[..., None]))
    for number, partition in enumerate(set_partitions(4)):
        assert error(y[..., number], expected[partition]) <= 1e-14, partition
    layer = make(2, 2)
    layer.kernel[...] = jnp.zeros_like(layer.kernel[...])
    bias = np.asarray(layer.bias[...])
    assert error(apply(layer, jnp.zeros((n, n, 2))), bias[1] + eye[..., None] * bias[0]) <= 1e-14


@pytest.mark.parametrize("k, l", [(1, 1), (2, 1), (2, 0), (3, 2), (1, 3), pytest.param(4, 2, marks=pytest.mark.slow),
                                  pytest.param(2, 4, marks=pytest.mark.slow), pytest.param(3, 3, marks=pytest.mark.slow)])  # fmt: skip
def test_law_forward_and_gradient(k, l):
    layer = make(k, l, normalization="sum" if l == 1 else "mean")
    check_equivariance(jax.jit(layer), layer.in_action, layer.out_action, numbers((2, *(5 if k + l < 6 else 4,) * k, 2)))


def test_a_broken_layer_is_found():
    layer = make(2, 2)

    def broken(x):
        return layer(x.at[..., 0, 1, :].multiply(1 + 1e-6))

    with pytest.raises(AssertionError):
        check_equivariance(jax.jit(broken), layer.in_action, layer.out_action, numbers((5, 5, 2)), gradient=False)


@pytest.mark.parametrize("k, l", SMALL)
def test_mask_is_the_smaller_tensor(k, l):
    layer = make(k, l, normalization="sum" if k == 3 else "mean")
    masks = np.array([[True, False, True, True, False], [False, True, True, False, True], [False] * 5])
    x = np.asarray(numbers((3, *(5,) * k, 2), 3))

    @jax.jit
    def run(layer, x, mask):
        y, pull = jax.vjp(lambda x: layer(x, mask), x)
        return y, pull(jnp.cos(y))[0]

    padded = x
    for axis in range(k):
        padded = np.where(masks.reshape(3, *(5 if a == axis else 1 for a in range(k)), 1), padded, np.nan)
    y, gradient = map(np.asarray, run(layer, padded, masks))
    assert np.isfinite(y).all() and np.isfinite(gradient).all()
    nodes = [np.flatnonzero(mask) for mask in masks[:2]]
    small = np.stack([x[b][np.ix_(*(m,) * k)] for b, m in enumerate(nodes)])
    small_y, small_gradient = run(layer, small, np.ones((2, 3), bool))
    for b, m in enumerate(nodes):
        inside = y[b][np.ix_(*(m,) * l)]
        assert error(inside, small_y[b]) <= 1e-13
        assert error(gradient[b][np.ix_(*(m,) * k)], small_gradient[b]) <= 1e-13
        assert np.abs(y[b]).sum() == pytest.approx(np.abs(inside).sum())  # zeros elsewhere
    assert l == 0 or not y[2].any()


def test_masks_move_with_the_nodes():
    layer, x, mask = make(2, 1), numbers((4, 4, 2)), np.array([True, True, False, True])
    p = np.array([2, 0, 3, 1])
    back = np.argsort(p)
    moved = apply(layer, x[back][:, back], mask[back])
    assert error(moved, np.asarray(apply(layer, x, mask))[back]) <= 1e-13


@pytest.mark.parametrize("k, l", SMALL)
def test_no_node_and_one_node(k, l):
    @functools.partial(jax.jit, static_argnums=2)
    def run(layer, x, n):
        y, pull = jax.vjp(lambda x: layer(x, num_nodes=n), x)
        return y, pull(y)[0]

    layer = make(k, l)
    for n in (0, 1):
        x = np.ones((3, *(n,) * k, 2))
        y, gradient = run(layer, x, n)
        assert y.shape == (3, *(n,) * l, 3)
        assert np.isfinite(y).all() and np.isfinite(gradient).all()
        assert n or l or error(y[0], layer.bias[0]) <= 1e-14


def test_sums_run_in_float32():
    layer = make(1, 0, (1, 1), param_dtype=jnp.float32, dtype=jnp.bfloat16, use_bias=False)
    layer.kernel[...] = jnp.ones((1, 1, 1), jnp.float32)
    y = layer(np.ones((3000, 1), np.float32))
    assert y.tolist() == [1.0] and y.dtype == jnp.bfloat16


@pytest.mark.parametrize("k, l", [(1, 1), (2, 2), (0, 3), (3, 0)])
def test_kernel_init_sees_the_maps_that_carry_the_variance(k, l):
    seen = []

    def init(key, shape, dtype):
        seen.append(shape)
        return jnp.zeros(shape, dtype)

    make(k, l, kernel_init=init)
    assert set(seen) == {({(1, 1): 1, (2, 2): 4, (0, 3): 1, (3, 0): 1}[k, l], 2, 3)}


def largest_array(jaxpr):
    """Number of elements of the largest intermediate, in the equations and in the programs that they call."""
    sizes = [1]
    for equation in jaxpr.eqns:
        sizes += [int(np.prod(out.aval.shape)) for out in equation.outvars]
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            sizes += [largest_array(inner)] if hasattr(inner, "eqns") else []
    return max(sizes)


@pytest.mark.parametrize("k, l, wide", [(2, 2, 2), (2, 1, 1), (1, 2, 1), (3, 2, 1), (2, 3, 1)])
def test_the_stack_is_never_built(k, l, wide):
    layer, n, batch, features = make(k, l, (4, 4)), 40, 2, 4
    limit = wide * batch * n ** max(k, l) * features
    x = numbers((batch, *(n,) * k, features))
    assert largest_array(jax.make_jaxpr(layer)(x).jaxpr) <= limit
    gradient = jax.grad(lambda layer, x: (layer(x) ** 2).sum(), argnums=(0, 1))
    graph, state = nnx.split(layer)
    program = jax.make_jaxpr(lambda state, x: gradient(nnx.merge(graph, state), x))(state, x)
    assert largest_array(program.jaxpr) <= limit


def test_layers_follow_one_another():
    first, second = make(1, 2, (2, 4)), make(2, 0, (4, 3))
    model = ej.nn.Sequential(first, jax.nn.relu, second)
    assert model.in_action == ej.TensorAction(None, 1)
    assert model.out_action == ej.TensorAction(None, 0)
    check_equivariance(jax.jit(model), model.in_action, model.out_action, numbers((2, 5, 2)))
    assert first.out_action_for(ej.TensorAction(7, 1)) == ej.TensorAction(7, 2)
    with pytest.raises(ValueError, match="order"):
        ej.nn.Sequential(first, first)


BAD = {
    "order 5": (lambda: make(5, 0), ValueError, ["`in_order`", "5", "at most 4"]),
    "order -1": (lambda: make(1, -1), ValueError, ["`out_order`", "-1", "at least 0"]),
    "order 1.0": (lambda: make(1.0, 1), TypeError, ["`in_order`", "1.0"]),
    "sum of orders": (lambda: make(4, 3), ValueError, ["`in_order`", "`out_order`", "877", "at most 6", "two layers"]),
    "normalization": (lambda: make(1, 1, normalization="max"), ValueError, ["`normalization`", "'max'", "'mean' or 'sum'"]),
    "features": (lambda: make(1, 1, (0, 3)), ValueError, ["`in_features`", "0"]),
    "axes": (lambda: make(2, 2)(jnp.ones((5, 2))), ValueError, ["`inputs`", "(5, 2)", "(*batch, n, n, 2)"]),
    "no square": (lambda: make(2, 2)(jnp.ones((5, 4, 2))), ValueError, ["`inputs`", "(5, 4, 2)", "one length n"]),
    "last axis": (lambda: make(2, 2)(jnp.ones((5, 5, 3))), ValueError, ["`inputs`", "(5, 5, 3)", "2"]),
    "mask shape": (
        lambda: make(2, 2)(jnp.ones((3, 5, 5, 2)), jnp.ones((3, 4), bool)), ValueError, ["`mask`", "(3, 4)", "(3, 5)"],
    ),
    "mask dtype": (lambda: make(2, 2)(jnp.ones((5, 5, 2)), jnp.ones(5)), TypeError, ["`mask`", "float", "bool"]),
    "nodes missing": (lambda: make(0, 2)(jnp.ones(2)), ValueError, ["`num_nodes`", "None", "mask"]),
    "nodes contradict": (lambda: make(1, 2)(jnp.ones((5, 2)), num_nodes=4), ValueError, ["`num_nodes`", "4", "5"]),
    "orbit weights": (lambda: make(1, 1).to_orbit_weights(0), ValueError, ["`n`", "0"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_wrong_use(case):
    check_message(*BAD[case])
