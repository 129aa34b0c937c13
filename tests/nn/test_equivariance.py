"""Exactness of every convolution: all elements, float64 and float32, forward and gradient, before and after training."""

import functools
import itertools
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import Regular
from equijax.testing import check_equivariance
from tests.helpers import compiled, options, randn, stack

KINDS = ["Conv", "LiftingConv", "GroupConv", "ProjectionConv", "ConvTranspose"]  # [2::2] go from fibre to fibre
LINE = ej.SpaceGroup(ej.Reflection(1))
CUBIC = {
    "rotations": ej.SpaceGroup(ej.Octahedral()),
    "all": ej.SpaceGroup(ej.Octahedral(inversion=True)),
    "mirror": ej.SpaceGroup(ej.Reflection(3, axis=1)),
}


def build(kind, group, kernel, strides=1, padding="CIRCULAR", features=(1, 1), **more):
    given = options(group, padding=padding, **more)
    if kind == "ConvTranspose":
        regular = Regular(group.point_group)
        given |= {"in_fibre": regular, "out_fibre": regular}
    return getattr(ej.nn, kind)(*features, kernel, strides, **given)


def in_shape(layer, sizes):
    return (*sizes, *layer.in_fibre.shape, layer.in_features)


@functools.partial(jax.jit, static_argnums=0)
def applied(definitions, states, inputs):
    """Several layers, each to its input, as one program."""
    return [nnx.merge(*pair)(x) for *pair, x in zip(definitions, states, inputs, strict=True)]


def dense_matrices(layers, sizes):
    """The matrices of several layers on grids of one size."""
    definitions, states = zip(*map(nnx.split, layers), strict=True)
    shapes = [in_shape(layer, sizes) for layer in layers]
    units = [np.eye(math.prod(shape) + 1, math.prod(shape)).reshape(-1, *shape) for shape in shapes]
    outputs = map(np.asarray, applied(definitions, states, units))
    return [(y[:-1] - y[-1]).reshape(len(y) - 1, -1).T for y in outputs]  # the last input is zero


def weight_error(layer, sizes):
    """Largest relative error of ``W·P_in(g) = P_out(g)·W`` over all point elements with their shifts and one more step."""
    return weight_errors([layer], sizes)


def weight_errors(layers, sizes):
    """The largest of these errors among several layers, which are one program."""
    return np.max([_weight_error(*pair, sizes) for pair in zip(layers, dense_matrices(layers, sizes), strict=True)])


def _weight_error(layer, matrix, sizes):
    shape = in_shape(layer, sizes)
    exactness = layer.exactness(shape)
    assert exactness.keeps_point_group, str(exactness)
    out_sizes = layer.sampling.out_sizes(sizes)
    into, out = exactness.in_action.on(sizes), exactness.out_action.on(out_sizes)
    worst = 0.0
    for g in moved_by_steps(exactness):
        a, b = into.permutation(g), out.permutation(g)
        worst = max(worst, np.abs(matrix[np.ix_(b, a)] - matrix).max())
    return worst / np.abs(matrix).max()


def moved_by_steps(exactness):
    """Every kept point element with its translation, and the same moved by one step along every axis."""
    action = exactness.in_action
    for h, t in zip(exactness.point_elements, exactness.translations, strict=True):
        for k in (0, 1):
            steps = [k * (step or 0) for step in exactness.shift_step]
            shift = np.add(t, steps).astype(np.int32)
            yield shift if isinstance(action.group, ej.Translation) else (shift, np.int32(h))


#: Groups of every kind: turns, mirrors along the axes and diagonals, centred and hexagonal lattices. The others run among the slow.
FEW = ("pm", "cmm", "p4m", "p6", "p31m", "line", "mirror")


def few(name, *more):
    """A parameter set, slow unless its group is one of the few."""
    return pytest.param(name, *more, marks=() if name in FEW else pytest.mark.slow)


def square_cases():
    for name in ej.groups.WALLPAPER_NAMES:
        hexagonal = ej.wallpaper(name).point_group.is_lattice_centred
        yield from (
            few(name, *case) for case in ([(3, 4), (3, 5), (5, 6)] if hexagonal else [(2, 4), (2, 5), (3, 5), (4, 4)])
        )


@pytest.mark.parametrize(("name", "kernel", "size"), list(square_cases()))
def test_wallpaper_groups_in_weight_space(name, kernel, size):
    kinds = KINDS if (kernel, size) == (2, 4) else KINDS[2::2]
    assert weight_errors([build(kind, ej.wallpaper(name), kernel) for kind in kinds], (size, size)) <= 1e-12


@pytest.mark.parametrize("name", ["p4m", "cmm"])
def test_strides_and_borders_in_weight_space(name):
    group = ej.wallpaper(name)
    for kernel, padding, size in [(3, "CIRCULAR", 4), (2, "CIRCULAR", 4), (2, "SAME", 4), (3, "VALID", 5)]:
        assert weight_errors([build(kind, group, kernel, 2, padding) for kind in KINDS[:-1]], (size, size)) <= 1e-12
    cases = [(2, "SAME"), (4, "VALID"), (3, "CIRCULAR"), (2, "CIRCULAR")]
    transposed = [build("ConvTranspose", group, kernel, 2, padding) for kernel, padding in cases]
    assert weight_errors(transposed, (3, 3)) <= 1e-12


@pytest.mark.parametrize("padding", ["CIRCULAR", "SAME", "VALID", "REFLECT"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_line_in_weight_space(kernel, padding):
    for kind, size in itertools.product(KINDS[1:-1], (6, 7)):
        layer = build(kind, LINE, (kernel,), 1, padding, allow_inexact=True)
        if layer.exactness(in_shape(layer, (size,))).keeps_point_group:
            assert weight_error(layer, (size,)) <= 1e-12
        else:
            assert padding in ("SAME", "REFLECT") and kernel % 2 == 0


@pytest.mark.parametrize(("kernel", "size"), [(3, 3), (2, 3), (2, 4)])
@pytest.mark.parametrize("name", CUBIC)
def test_cubic_groups_in_weight_space(name, kernel, size):
    order = CUBIC[name].point_group.order
    kinds = KINDS if order <= 2 else ("Conv", "LiftingConv", "ProjectionConv")
    assert weight_errors([build(kind, CUBIC[name], kernel) for kind in kinds], (size,) * 3) <= 1e-12


@pytest.fixture
def optimised():
    """Programs that run long and often are compiled as users compile them, whatever the rest of the suite does."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ)
    jax.clear_caches()  # no program stays that rounds in another way than the rest of the suite


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("kind", ["GroupConv", "ConvTranspose"])
@pytest.mark.parametrize("name", ["rotations", "all"])
def test_cubic_groups_from_regular_to_regular(name, kind):
    layer = build(kind, CUBIC[name], 3 if kind == "GroupConv" else 2, 1 if kind == "GroupConv" else 2)
    shape = in_shape(layer, (3, 3, 3))
    exactness = layer.exactness(shape)
    elements = stack(exactness.elements(), exactness.sample(jax.random.key(5), (2,)))
    check_equivariance(compiled(layer), exactness.in_action, exactness.out_action, randn(shape), elements, gradient=False)


def train(layer, x, steps=10):
    """Ten steps of gradient descent towards a random target; returns how far the parameters moved."""
    graph, start = nnx.split(layer)
    target = randn(jax.eval_shape(layer, x).shape, seed=7)

    @jax.jit
    def descend(state):
        gradient = jax.grad(lambda state: jnp.mean((nnx.merge(graph, state)(x) - target) ** 2))
        return jax.lax.fori_loop(0, steps, lambda _, s: jax.tree.map(lambda p, g: p - 0.1 * g, s, gradient(s)), state)

    end = descend(start)
    moves = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), start, end)
    nnx.update(layer, end)
    return np.max(jax.tree.leaves(moves))


def gradient_matrix(layer, shape):
    """Matrix of the vector-Jacobian product, ``(inputs, outputs)``."""
    out_shape = jax.eval_shape(layer, np.zeros(shape)).shape
    size = int(np.prod(out_shape))
    pull = jax.jit(lambda v: jax.vjp(layer, jnp.zeros((size, *shape)))[1](v)[0])
    return np.asarray(pull(np.eye(size).reshape(size, *out_shape))).reshape(size, -1).T


GROUPS = {"line": LINE, **CUBIC, **{name: ej.wallpaper(name) for name in ej.groups.WALLPAPER_NAMES}}


@pytest.mark.parametrize("name", [few(name) for name in GROUPS])
def test_every_element_forward_and_gradient_before_and_after_training(name):
    """In weight space: W commutes with every element before and after, and the gradient is its transpose."""
    group = GROUPS[name]
    sizes = {1: (6,), 2: (4, 4), 3: (3, 3, 3)}[group.ndim]
    kinds = KINDS if group.ndim < 3 or group.point_group.order <= 2 else ["LiftingConv", "ProjectionConv"]
    layers = [build(kind, group, 3) for kind in kinds]
    assert weight_errors(layers, sizes) <= 1e-12
    moves = [train(layer, randn((2, *in_shape(layer, sizes)))) for layer in layers]
    assert np.min(moves) > 1e-4
    assert weight_errors(layers, sizes) <= 1e-12
    if group.point_group.order <= 12:
        for layer, matrix in zip(layers, dense_matrices(layers, sizes), strict=True):
            gradient = gradient_matrix(layer, in_shape(layer, sizes))
            assert np.abs(gradient - matrix.T).max() <= 1e-12 * np.abs(matrix).max()


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("kind", ["GroupConv", "ConvTranspose"])
@pytest.mark.parametrize("name", ["rotations", "all"])
def test_cubic_groups_with_gradients_before_and_after_training(name, kind):
    """All 24 and 48 elements from regular to regular fields, as `exactness` lists them."""
    layer = build(kind, CUBIC[name], 3 if kind == "GroupConv" else 2, 1 if kind == "GroupConv" else 2)
    x = randn((1, *in_shape(layer, (3, 3, 3) if kind == "GroupConv" else (2, 2, 2))))
    exactness = layer.exactness(x.shape)
    elements = exactness.elements()
    check_equivariance(compiled(layer), exactness.in_action, exactness.out_action, x, elements)
    assert train(layer, x) > 1e-5
    check_equivariance(compiled(layer), exactness.in_action, exactness.out_action, x, elements)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["p4m", "p6", "line"])
def test_arrays_and_gradients_move_as_the_actions_say(name, kind):
    """On arrays, with batch axes and several features, for every point element combined with shifts."""
    group = GROUPS[name]
    layer = build(kind, group, 3, 2 if kind == "ConvTranspose" else 1, features=(2, 3))
    x = randn((2, *in_shape(layer, (6,) if group.ndim == 1 else (5, 5))))
    exactness = layer.exactness(x.shape)
    elements = stack(exactness.sample(jax.random.key(1), (3,)), exactness.elements())
    check_equivariance(compiled(layer), exactness.in_action, exactness.out_action, x, elements)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["p4m", "p6m"])
def test_float32(name, kind):
    layer = build(kind, ej.wallpaper(name), 3, features=(4, 4), param_dtype=jnp.float32)
    x = randn((2, *in_shape(layer, (6, 6))), dtype=jnp.float32)
    exactness = layer.exactness(x.shape)
    assert layer(x).dtype == jnp.float32
    check_equivariance(compiled(layer), exactness.in_action, exactness.out_action, x, exactness.elements(), tolerance=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_layer_fails(kind):
    """Negative control: one weight of the expanded kernel, changed on its own, is noticed."""
    layer = build(kind, ej.wallpaper("p4"), 3)

    class Broken(type(layer)):
        def _expand(self, kernel):
            full = super()._expand(kernel)
            return full.at[(0,) * full.ndim].add(0.1)

    layer.__class__ = Broken
    layer.set_attributes(algorithm="dense")  # irreps never write a kernel out
    assert weight_error(layer, (5, 5)) > 1e-3
    x = randn((2, *in_shape(layer, (5, 5))))
    exactness = layer.exactness(x.shape)
    with pytest.raises(AssertionError, match="fails for"):
        check_equivariance(layer, exactness.in_action, exactness.out_action, x, exactness.elements())


@pytest.mark.parametrize("kind", KINDS[:-1])
@pytest.mark.parametrize(
    "group", [ej.Dihedral(5), ej.Cyclic(7), ej.FiniteGroup.from_permutations([[1, 2, 0, 3], [1, 0, 3, 2]])]
)
def test_plain_finite_groups(group, kind):
    subgroup = group.subgroup([group.order - 1])
    more = {"in_fibre": ej.reps.Quotient(subgroup)} if kind in ("LiftingConv", "Conv") else {}
    layer = getattr(ej.nn, kind)(2, 3, (), **options(group, **more))
    x = randn((2, *layer.in_fibre.shape, 2))
    check_equivariance(compiled(layer), layer.in_action, layer.out_action, x)
    train(layer, x)
    check_equivariance(compiled(layer), layer.in_action, layer.out_action, x)
