"""The layout that a rule gives an output moves it like the input: checked on the operation itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.audit._explain import prepare
from equijax.nn._jaxpr import evaluate
from tests.helpers import randn

SHIFTS = jnp.asarray([[1, 0], [0, 3], [2, 2], [4, 0]])
TURNS = (jnp.zeros((3, 2), jnp.int32), jnp.asarray([1, 2, 4]))
GRID, SQUARE, SET = ej.GridAction(ej.Translation(2)), ej.GridAction(ej.wallpaper("p4m")), ej.SetAction(6)
IMAGE, POINTS = randn((2, 8, 8, 3)), randn((2, 6, 4))


class Function(nnx.Module):
    """A function as a module."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return self.function(x)


def layout_law(function, action, x, elements, out_action=None):
    """Returns the layout of the output, and the elements for which it moves the output like the input."""
    subject = prepare(Function(function), x, action, elements=elements, out_action=out_action)
    network, frame = subject.network, subject.network.frame
    (v,) = network.trace.result_variables
    layout = network.layouts[v]
    clean = np.asarray(function(x))
    obeys = []
    for e in range(frame.count):
        if not frame.acts(e, layout):
            obeys.append(None)
            continue
        moved, known = frame.move(e, clean, layout)
        other = np.asarray(function(subject.moved[e][0]))
        known = np.ones(clean.shape, bool) if known is None else known
        obeys.append(bool(np.allclose(np.where(known, moved, 0), np.where(known, other, 0), atol=1e-12)))
    return str(layout), obeys


def with_token(x):
    """Pixels behind a class token that is computed from them."""
    return jnp.concatenate([x.mean((1, 2))[:, None], x.reshape(2, 64, 3)], 1)


def windows(x):
    """Windows of 2×2: (batch, windows, places, features)."""
    return x.reshape(2, 4, 2, 4, 2, 3).swapaxes(2, 3).reshape(2, 16, 4, 3)


def scores(x):
    """The products of all places in the same window."""
    return jnp.einsum("bwic,bwjc->bwij", x, x)


def image_of(x):
    """Puts windows of 2×2 together again."""
    return x.reshape(2, 4, 4, 2, 2, 3).swapaxes(2, 3).reshape(2, 8, 8, 3)


def within_windows(x):
    """Attention within windows."""
    return image_of(jnp.einsum("bwij,bwjc->bwic", nnx.softmax(scores(windows(x))), windows(x)))


def shuffled(x):
    """Pixel shuffle by 2."""
    x = jnp.concatenate([x, x[..., :1]], -1).reshape(2, 8, 8, 2, 2, 1)
    return x.swapaxes(2, 3).reshape(2, 16, 16, 1)


def folded(x):
    """What zero padding adds on both sides is put on top of the other side, as by a circular transposed convolution."""
    wide = jnp.pad(x, ((0, 0), (8, 8), (0, 0), (0, 0))) + jnp.pad(x, ((0, 0), (7, 9), (0, 0), (0, 0)))
    return wide.reshape(2, 3, 8, 8, 3).sum(1)


CASES = {
    "elementwise": (lambda x: jnp.tanh(x) * 2 + x, "8×8", [True] * 4),
    "transpose": (lambda x: x.transpose(3, 2, 0, 1), "8×8", [True] * 4),
    "flatten": (lambda x: x.reshape(2, -1), "8×8", [True] * 4),
    "flatten pixels": (lambda x: x.reshape(2, 64, 3).transpose(0, 2, 1), "8×8", [True] * 4),
    "flatten and back": (lambda x: x.reshape(2, -1).reshape(2, 64, 3).reshape(2, 8, 8, 3), "8×8", [True] * 4),
    "space to depth": (lambda x: x.reshape(2, 4, 2, 4, 2, 3).transpose(0, 1, 3, 2, 4, 5), "8×8 every 2", [True] * 4),
    "global mean": (lambda x: x.mean((1, 2)), "invariant", [True] * 4),
    "one axis": (lambda x: x.max(1), "8", [True] * 4),
    "keepdims": (lambda x: x - jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape), "8×8", [True] * 4),
    "mean over a split axis": (lambda x: x.reshape(2, 4, 2, 8, 3).mean(2), "4×8 every 2", [None, True, True, True]),
    "strided slice": (lambda x: x[:, ::2, ::2], "4×4 every 2", [None, None, True, True]),
    "strided slice, phase 1": (lambda x: x[:, 1::2, 1::2], "4×4 every 2", [None, None, True, True]),
    "crop": (lambda x: x[:, 1:-1, 2:], "6×6", [True, True, True, True]),
    "wrapped window": (
        lambda x: nnx.max_pool(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap"), (3, 3)), "8×8", [True] * 4,
    ),
    "a window that goes around three times": (
        lambda x: nnx.max_pool(jnp.pad(x, ((0, 0), (12, 12), (0, 0), (0, 0)), mode="wrap"), (25, 1)), "8×8", [True] * 4,
    ),
    "unpadded window": (lambda x: nnx.max_pool(x, (3, 3)), "6×6", [True] * 4),
    "stack": (lambda x: jnp.stack([x, -x], 1), "8×8", [True] * 4),
    "concatenate features": (lambda x: jnp.concatenate([x, x**2], -1), "8×8", [True] * 4),
    "roll": (lambda x: jnp.roll(x, 3, 1), "8×8", [True] * 4),
    "reverse": (lambda x: x[:, ::-1], "8×8", [True] * 4),
    "take": (lambda x: jnp.take(x, jnp.arange(0, 8, 4), axis=2), "8×2 every 4", [True, None, None, True]),
    "nearest": (lambda x: jnp.repeat(jnp.repeat(x[:, ::2, ::2], 2, 1), 2, 2), "8×8", [False, False, True, True]),
    "outer product": (lambda x: jnp.einsum("bijc,bklc->bijkl", x, x), "8×8, 8×8", [True] * 4),
    "attention": (
        lambda x: jnp.einsum("bij,bjc->bic", nnx.softmax(jnp.einsum("bic,bjc->bij", *(2 * [x.reshape(2, 64, 3)]))),
                             x.reshape(2, 64, 3)), "8×8", [True] * 4,
    ),
    "token before pixels": (with_token, "8×8", [True] * 4),
    "pixels behind a token": (lambda x: with_token(x)[:, 1:].reshape(2, 8, 8, 3), "8×8", [True] * 4),
    "the token": (lambda x: with_token(x)[:, 0], "invariant", [True] * 4),
    "attention with a token": (
        lambda x: jnp.einsum("bij,bjc->bic", nnx.softmax(jnp.einsum("bic,bjc->bij", *(2 * [with_token(x)]))), with_token(x)),
        "8×8", [True] * 4,
    ),
    "windows and back": (lambda x: image_of(windows(x)), "8×8", [True] * 4),
    "products within windows": (lambda x: scores(windows(x)), "4×4 every 2, 2×2, 2×2", [None, None, True, True]),
    "attention within windows": (within_windows, "8×8", [False, False, True, True]),
    "pixel shuffle": (shuffled, "16×16 every 1/2", [True] * 4),
    "a window behind pixel shuffle": (lambda x: nnx.max_pool(shuffled(x), (3, 3)), "14×14 every 1/2", [True] * 4),
    "folded around the torus": (folded, "8×8", [True] * 4),
    "split": (lambda x: jnp.split(x, 3, axis=-1)[1], "8×8", [True] * 4),
    "tile features": (lambda x: jnp.tile(x, (1, 1, 1, 2)), "8×8", [True] * 4),
    "top k of features": (lambda x: jax.lax.top_k(x, 2)[0], "8×8", [True] * 4),
    "argmax of features": (lambda x: jnp.argmax(x, -1), "8×8", [True] * 4),
    "set a border": (lambda x: x.at[:, 0].set(0.0), "8×8", [False, True, False, False]),  # shifts along it respect it
    "cumulative sum": (lambda x: jnp.cumsum(x, 1), "8×8", [False, True, False, False]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_shifts(name):
    function, layout, obeys = CASES[name]
    found = layout_law(function, GRID, IMAGE, SHIFTS)
    assert found == (layout, obeys)


@pytest.mark.parametrize(
    ("name", "obeys"),
    [
        ("flatten", [True] * 3),
        ("space to depth", [True] * 3),
        ("transpose", [True] * 3),
        ("one axis", [None, True, True]),
        ("strided slice", [None, None, None]),
        ("mean over a split axis", [None, True, True]),
        ("crop", [True] * 3),
        ("unpadded window", [True] * 3),
        ("outer product", [True] * 3),
        ("reverse", [True] * 3),
        ("token before pixels", [True] * 3),
        ("attention with a token", [True] * 3),
        ("windows and back", [True] * 3),
        ("products within windows", [True] * 3),
        ("attention within windows", [True] * 3),
        ("pixel shuffle", [False] * 3),
    ],
)
def test_turns(name, obeys):
    function, _, _ = CASES[name]
    assert layout_law(function, SQUARE, IMAGE, TURNS)[1] == obeys


def distances(x):
    """Squared distances of all pairs of points."""
    return ((x[:, :, None] - x[:, None]) ** 2).sum(-1)


def nearest(x):
    """The two nearest neighbours of every point, and the point itself."""
    return jax.lax.top_k(-distances(x), 3)[1]


@pytest.mark.parametrize(
    ("function", "layout"),
    [
        (lambda x: jnp.einsum("bic,bjc->bij", x, x), "6, 6"),
        (lambda x: jnp.sort(x, 1), "invariant"),
        (lambda x: x.max(1), "invariant"),
        (lambda x: x - jnp.broadcast_to(x.mean(1, keepdims=True), x.shape), "6"),
        (lambda x: x.reshape(2, 24), "6"),
        (lambda x: jnp.einsum("bic,bjc->bij", x, x).sum(2), "6"),
        (lambda x: jax.lax.top_k(jnp.einsum("bic,bjc->bij", x, x), 3)[0], "6"),
        (lambda x: jnp.take_along_axis(x[:, None], nearest(x)[..., None], 2), "6"),
        (lambda x: jax.vmap(lambda x, i: x[i])(x, jnp.argsort(distances(x), -1)[..., 1:3]), "6"),
        (lambda x: jax.vmap(lambda x, i: x[i])(x, jnp.argmax(distances(x), -1)), "6"),
    ],
)
def test_sets(function, layout):
    permutations = jax.vmap(lambda key: jax.random.permutation(key, 6))(jax.random.split(jax.random.key(0), 3))
    assert layout_law(function, SET, POINTS, permutations) == (layout, [True] * 3)


def test_unknown_operations_have_no_layout():
    subject = prepare(
        Function(lambda x: jnp.fft.fft2(x, axes=(1, 2)).real),
        IMAGE,
        GRID,
        elements=SHIFTS,
        out_action=ej.TrivialAction(GRID.group),
    )
    (fourier,) = [eq for eq in subject.network.equations if eq.name == "fft"]
    assert subject.network.layouts[fourier.outputs[0]] is None


def test_padding_leaves_no_cut_where_a_place_is_held_twice():
    subject = prepare(Function(lambda x: nnx.max_pool(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3))), IMAGE, GRID)
    (step,) = subject.network.steps
    assert {eq.name for eq in step.equations} == {"pad", "reduce_window_max"}


def test_evaluating_step_by_step_is_the_function():
    subject = prepare(Function(CASES["attention"][0]), IMAGE, GRID)
    network = subject.network
    values = {**network.statics(network.trace.state), **dict(zip(network.trace.x_variables, subject.x, strict=True))}
    evaluate(network.equations, values)
    assert np.array_equal(values[network.trace.result_variables[0]], network.trace.program(*subject.x)[0])
