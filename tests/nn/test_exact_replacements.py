"""Cosets, blurring, Fourier layers, symmetrised functions, canonical forms, centred strides."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.helpers import KERNEL, check_message, randn

S3 = ej.FiniteGroup.from_permutations([[1, 0, 2], [1, 2, 0]])
TORUS = ej.FiniteGroup.from_permutations(  # p4 on a torus of 3 × 3 pixels, acting on its pixels and corners
    [[int(np.ravel_multi_index((((i + 1) % 3), j), (3, 3))) + 9 * k for k in range(4) for i in range(3) for j in range(3)],
     [int(np.ravel_multi_index(((-j) % 3, i), (3, 3))) + 9 * ((k + 1) % 4) for k in range(4) for i in range(3) for j in range(3)]]
)  # fmt: skip
GROUPS = [
    (ej.Cyclic(4), [2]), (ej.Dihedral(4), [4]), (ej.Dihedral(4), [1]), (ej.Cyclic(8), [4]), (ej.Cyclic(8), [2]), (S3, [1]),
    (TORUS, [1]),
]  # fmt: skip


@pytest.mark.parametrize(("group", "generators"), GROUPS, ids=lambda value: str(value)[:30])
def test_coset_subsampling_under_every_element(group, generators):
    subgroup = group.subgroup(generators)
    x, act = randn((group.order, 2)), ej.FibreAction(ej.reps.Regular(group))
    y, p = ej.nn.coset_subsample(x, subgroup)
    every = jnp.arange(group.order, dtype=jnp.int32)
    moved, where = jax.jit(jax.vmap(lambda u: ej.nn.coset_subsample(act(u, x), subgroup)))(every)
    table, inverse = np.asarray(group.table), np.asarray(group.inverses)
    first, coset_of = np.asarray(subgroup.cosets)[:, 0], np.asarray(subgroup.coset_of)
    small = ej.FibreAction(ej.reps.Regular(subgroup.as_group()))
    for u in range(group.order):
        goal = coset_of[table[u, first[int(p)]]]
        assert int(where[u]) == goal
        kappa = table[inverse[first[goal]], table[u, first[int(p)]]]
        np.testing.assert_array_equal(moved[u], small(jnp.int32(subgroup.elements.index(int(kappa))), y))
    back = ej.nn.coset_unpool(y, subgroup, p)
    again = jax.jit(jax.vmap(lambda y, p: ej.nn.coset_unpool(y, subgroup, p)))(moved, where)
    np.testing.assert_array_equal(again, jax.jit(jax.vmap(lambda u: act(u, back)))(every))
    assert len(set(np.asarray(where).tolist())) == subgroup.index


def test_polyphase_sampling_is_the_translation_case():
    group, x = ej.Cyclic(12), randn((2, 12, 3))
    y, p = ej.nn.coset_subsample(x, group.subgroup([3]))
    z, choice = ej.nn.polyphase_downsample(x, (3,))
    np.testing.assert_array_equal(y, z)
    np.testing.assert_array_equal(p, choice.phase[:, 0])
    np.testing.assert_array_equal(ej.nn.coset_unpool(y, group.subgroup([3]), p), ej.nn.polyphase_upsample(z, choice, (3,)))


@pytest.mark.parametrize("padding", ["CIRCULAR", "REFLECT", "SAME", "VALID"])
@pytest.mark.parametrize(("d", "size"), [(1, 3), (2, 4), (3, 3)])
def test_blurring_is_the_filter_of_numpy(d, size, padding):
    sizes, x = (8, 6, 8)[:d], randn((2, *(8, 6, 8)[:d], 2))
    layer = ej.nn.BlurPool(size, (2,) * d, padding)
    pads = [((size - 1) // 2, size // 2)] * d if padding in ("CIRCULAR", "REFLECT") else layer.sampling.pads(sizes)
    mode = {"CIRCULAR": "wrap", "REFLECT": "reflect"}.get(padding, "constant")
    padded = np.pad(np.asarray(x), ((0, 0), *pads, (0, 0)), mode=mode)
    taps = np.poly1d([0.5, 0.5]) ** (size - 1)
    for k in range(d):
        padded = np.apply_along_axis(lambda row: np.convolve(row, taps.coeffs, "valid")[::2], k + 1, padded)
    np.testing.assert_allclose(jax.jit(layer)(x), padded, rtol=0, atol=1e-14)


def test_blurring_helps_and_is_not_exact():
    x = randn((4, 16, 16, 3))
    act = ej.GridAction(ej.Translation(2))
    shifts = jnp.asarray([[1, 0], [0, 1]])
    error = lambda fn: ej.equivariance_error(lambda x: fn(x).max((1, 2)), act, ej.TrivialAction(act.group), x, shifts).max()  # noqa: E731
    plain, blurred = error(lambda x: x[:, ::2, ::2]), error(ej.nn.BlurPool(5, (2, 2)))
    assert 1e-3 < blurred and error(ej.nn.PolyphaseDownsample((2, 2))) < 1e-15 and plain > 1e-3


@pytest.mark.parametrize("sizes", [(8,), (9,), (8, 12), (9, 6), (4, 6, 8)])
def test_fourier_shifts(sizes):
    d, x = len(sizes), randn((2, *sizes, 2))
    whole = tuple(range(1, d + 1))
    shift = jax.jit(ej.nn.fourier_shift, static_argnums=1)
    rolled = np.roll(x, whole, tuple(range(1, d + 1)))
    np.testing.assert_allclose(shift(x, whole), rolled, rtol=0, atol=1e-13)
    smooth = jax.jit(lambda x: ej.nn.low_pass(x, (1,) * d))(x)  # without the highest frequency
    halves = shift(shift(smooth, (0.3,) * d), (0.7,) * d)
    np.testing.assert_allclose(halves, np.roll(smooth, (1,) * d, whole), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("sizes", "strides"), [((8,), (2,)), ((12, 9), (2, 3)), ((8, 6, 4), (2, 2, 2))])
def test_fourier_layers_commute_with_fractional_shifts(sizes, strides):
    d, x = len(sizes), randn((2, *sizes, 3))
    tau = (0.37, -1.21, 0.5)[:d]
    shift = jax.jit(ej.nn.fourier_shift, static_argnums=1)
    down = jax.jit(ej.nn.FourierDownsample(strides))
    coarse = tuple(t / s for t, s in zip(tau, strides, strict=True))
    np.testing.assert_allclose(down(shift(x, tau)), shift(down(x), coarse), rtol=0, atol=1e-12)
    smooth = jax.jit(lambda x: ej.nn.low_pass(x, (1,) * d))(x)
    layer = jax.jit(ej.nn.FilteredActivation(3, d, param_dtype=jnp.float64))
    np.testing.assert_allclose(layer(shift(smooth, tau)), shift(layer(smooth), tau), rtol=0, atol=1e-12)
    relu = [np.abs(np.asarray(act(shift(smooth, tau))) - np.asarray(shift(act(smooth), tau))).max()
            for act in (nnx.relu, jax.jit(ej.nn.FilteredActivation(3, d, activation=nnx.relu, factor=4)))]  # fmt: skip
    assert relu[0] > 1e-2 and 1e-6 < relu[1] < relu[0]


def lopsided(x):
    """A function with no symmetry."""
    return jnp.tanh(x * jnp.arange(x.size, dtype=x.dtype).reshape(x.shape) / 10)


@pytest.mark.parametrize("name", ["p4", "p4m"])
def test_symmetrised_functions(name):
    group = ej.wallpaper(name)
    act, x = ej.GridAction(group), randn((5, 5, 2))
    every = ej.nn._symmetrize._all_elements(group)
    assert ej.equivariance_error(lopsided, act, act, x, every).max() > 1e-2
    layer = ej.nn.Symmetrize(lopsided, group, act, act)
    assert ej.equivariance_error(jax.jit(layer), act, act, x, every).max() <= 1e-14
    assert nnx.split(layer)[0] == nnx.split(ej.nn.Symmetrize(lopsided, group, act, act))[0]


def test_symmetrised_linear_maps_are_projections():
    group = ej.Dihedral(3)
    fibre = ej.FibreAction(ej.reps.Regular(group))
    weight = randn((6, 6))
    layer = ej.nn.Symmetrize(lambda x: weight @ x, group, fibre, fibre)
    sharing = ej.sharing.LinearSharing(fibre.on(), fibre.on())
    np.testing.assert_allclose(layer(jnp.eye(6)), sharing.project(np.asarray(weight)), rtol=0, atol=1e-14)


def test_symmetrised_modules_and_samples():
    group = ej.Permutation(4)
    act = ej.SetAction(4)
    net = nnx.Linear(8, 3, rngs=nnx.Rngs(0), param_dtype=jnp.float64)

    class Flat(nnx.Module):
        def __init__(self):
            self.net = net

        def __call__(self, x):
            return self.net(x.reshape(*x.shape[:-2], -1))

    exact = ej.nn.Symmetrize(Flat(), group, act, ej.TrivialAction(group), elements=ej.nn._symmetrize._all_elements(group))
    x = randn((4, 2))
    found = [exact(x[jnp.asarray(p)]) for p in ([0, 1, 2, 3], [2, 0, 3, 1])]
    np.testing.assert_allclose(*found, rtol=0, atol=1e-14)
    assert len(jax.tree.leaves(nnx.state(exact))) == 2
    drawn = ej.nn.Symmetrize(Flat(), group, act, ej.TrivialAction(group), samples=4000 // 100)
    assert np.abs(drawn(x, key=jax.random.key(0)) - exact(x)).max() < np.abs(net(x.reshape(-1)) - exact(x)).max() + 1


def test_canonical_forms():
    group = ej.wallpaper("p4m")
    act, x = ej.GridAction(group), randn((6, 6, 2))
    weights = randn((6, 6, 2), 3)
    score = lambda x: (x * weights).sum()  # noqa: E731
    upright, g = ej.nn.canonicalize(x, act, score)
    np.testing.assert_array_equal(act(g, upright), x)
    for h in range(8):
        element = (jnp.zeros(2, jnp.int32), jnp.int32(h))
        other, u = ej.nn.canonicalize(act(element, x), act, score)
        np.testing.assert_array_equal(other, upright)
        assert bool(group.isclose(u, group.compose(element, g)))


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("d", [2, 3])
def test_frame_averages(d, special):
    x, (turn, _) = randn((5, 7, d)), np.linalg.qr(np.asarray(randn((d, d), 4)))
    if special and np.linalg.det(turn) < 0:
        turn[:, 0] *= -1
    frames, _ = ej.nn.pca_frames(x, special=special)
    assert frames.shape == (2 ** (d - special), 5, d, d)
    np.testing.assert_allclose(np.abs(np.linalg.det(frames)), 1, atol=1e-12)
    if special:
        np.testing.assert_allclose(np.linalg.det(frames), 1, atol=1e-12)
    moved = x @ turn.T + 3.0
    weight = randn((7, 7), 6)
    functions = {"scalars": lambda x: jnp.tanh(x[..., 0]).sum(-1), "vectors": lambda x: jnp.tanh(weight @ x)}
    for output, fn in {**functions, "points": functions["vectors"]}.items():
        average = jax.jit(functools.partial(ej.nn.frame_average, fn, output=output, special=special))
        before, after = average(x), average(moved)
        goal = {"scalars": lambda y: y, "vectors": lambda y: y @ turn.T, "points": lambda y: y @ turn.T + 3.0}[output](
            before
        )
        np.testing.assert_allclose(after, goal, rtol=0, atol=1e-12)
    assert np.abs(functions["scalars"](x) - functions["scalars"](moved)).max() > 1e-2


@pytest.mark.parametrize("size", range(12, 18))
@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2), (3, 3), (4, 3)])
def test_centred_layers_keep_every_point_element(size, window, stride):
    group = ej.wallpaper("p4m")
    given = {"kernel_init": KERNEL, "rngs": nnx.Rngs(0), "param_dtype": jnp.float64}
    conv = ej.nn.CentredConv(2, 2, window, stride, group=group, **given)
    scalar = ej.reps.Scalar(group.point_group)
    for layer in (conv, ej.nn.CentredPool(window, stride, group=group, in_fibre=scalar)):
        assert layer.exactness((1, size, size, 2)).keeps_point_group
        if size in (12, 13):
            x = randn((1, size, size, 2))
            elements = (jnp.zeros((8, 2), jnp.int32), jnp.arange(8, dtype=jnp.int32))
            act = layer.in_action
            assert ej.equivariance_error(jax.jit(layer), act, layer.out_action, x, elements).max() <= 1e-14


def test_centred_sizes_are_close_to_the_stride():
    layer = ej.nn.CentredConv(2, 2, 3, 2, group=ej.wallpaper("p4"), rngs=nnx.Rngs(0), param_dtype=jnp.float64)
    assert [layer(jnp.ones((1, n, n, 2))).shape[1] for n in (12, 13, 14, 15)] == [6, 7, 7, 8]
    other = ej.nn.Conv(2, 2, 3, 2, group=ej.wallpaper("p4"), rngs=nnx.Rngs(0))
    check_message(lambda: other(jnp.ones((1, 12, 12, 2))), ValueError, ("`inputs`", "keeps only"))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ej.nn.coset_subsample(randn((5, 2)), ej.Cyclic(4).subgroup([2])), ValueError, ("`x`", "(5, 2)", "4")),
        (lambda: ej.nn.coset_unpool(randn((3, 2)), ej.Cyclic(4).subgroup([2]), 0), ValueError, ("`y`", "(3, 2)")),
        (lambda: ej.nn.BlurPool(3, 2, group=ej.wallpaper("p6")), ValueError, ("`group`", "box")),
        (lambda: ej.nn.BlurPool(0, (2,)), ValueError, ("`size`", "0")),
        (lambda: ej.nn.coset_subsample(randn((4, 2)), ej.Cyclic(4)), TypeError, ("`subgroup`",)),
        (lambda: ej.nn.coset_unpool(randn((2, 2)), ej.Cyclic(4).subgroup([2]), "ab"), TypeError, ("`coset`", "'ab'")),
        (lambda: ej.nn.coset_pool("ab", ej.Cyclic(4).subgroup([2])), TypeError, ("`x`", "'ab'")),
        (lambda: ej.nn.fourier_shift(randn((4, 1)), (float("nan"),)), ValueError, ("`shift`", "nan")),
        (lambda: ej.nn.fourier_shift(randn((4,)), (0.5,)), ValueError, ("`x`", "(4,)")),
        (lambda: ej.nn.low_pass("ab", (2,)), TypeError, ("`x`", "'ab'")),
        (lambda: ej.nn.frame_determined("ab"), TypeError, ("`points`", "'ab'")),
        (lambda: ej.nn.frame_average(3, randn((3, 2))), TypeError, ("`fn`", "3")),
        (lambda: ej.nn.canonicalize(randn((4, 1)), 3, jnp.sum), TypeError, ("`action`", "3")),
        (lambda: ej.nn.CentredConv(1, 1, None, group=ej.wallpaper("p4"), rngs=nnx.Rngs(0)), TypeError, ("`kernel_size` is None",)),
        (lambda: ej.nn.FourierDownsample((2,))(randn((7, 1))), ValueError, ("`inputs`", "7", "8")),
        (lambda: ej.nn.FilteredActivation(3, 2, factor=1), ValueError, ("`factor`", "1")),
        (lambda: ej.nn.FilteredActivation(3, 2)(randn((4, 3))), ValueError, ("`inputs`", "(4, 3)")),
        (lambda: ej.nn.Symmetrize(3, ej.Cyclic(2), None, None), TypeError, ("`fn`", "3")),
        (lambda: ej.nn.Symmetrize(jnp.sin, ej.Cyclic(2), None, None), ValueError, ("`in_action`", "None")),
        (lambda: ej.nn.Symmetrize(jnp.sin, ej.Permutation(9), ej.SetAction(9), ej.SetAction(9)), ValueError, ("elements", "samples")),
        (lambda: ej.nn.Symmetrize(jnp.sin, ej.Permutation(3), ej.SetAction(3), ej.SetAction(3), samples=2)(randn((3, 1))),
         ValueError, ("`key`", "jax.random.key")),
        (lambda: ej.nn.pca_frames(randn((3,))), ValueError, ("`points`", "(3,)")),
        (lambda: ej.nn.frame_average(jnp.sin, randn((3, 2)), output="matrix"), ValueError, ("`output`", "matrix")),
        (lambda: ej.nn.CentredConv(1, 1, 3, group=ej.wallpaper("p4"), padding="SAME", rngs=nnx.Rngs(0)), ValueError, ("`padding`", "Conv")),
        (lambda: ej.nn.CentredPool(3, mode="sum", group=ej.wallpaper("p4")), ValueError, ("`mode`", "sum")),
    ],
)  # fmt: skip
def test_bad_input(call, error, words):
    check_message(call, error, words)
