"""What theory says of every layer of the gallery, measured on the layer alone, with ``jnp.roll`` and without the audit."""

import contextlib
import itertools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from equijax import Graph, SetAction
from equijax.audit import explain
from tests.audit.gallery.parts import CROPPED, WINDOWS, Last, Pool, Positions, Sinusoids
from tests.audit.gallery.table import TABLE
from tests.audit.gallery.turns import P4M
from tests.helpers import randn

#: Classes of the modules that are measured, and what it is called when they don't commute with whole shifts.
WATCHED = {nnx.Conv: "border", nnx.ConvTranspose: "border", Pool: "border", Positions: "position", Sinusoids: "position",
           Last: "position"}  # fmt: skip


ENTRIES = [pytest.param(entry, id=entry.name, marks=[pytest.mark.slow] * entry.slow) for entry in TABLE]


def met(model, x):
    """Returns path → (module, shape of its input) for every watched module that the network calls."""
    paths = {id(module): ".".join(map(str, path)) for path, module in nnx.iter_modules(model)}
    found = {}

    def recording(original):
        def call(module, x):
            found[paths[id(module)]] = (module, x.shape)
            return original(module, x)

        return call

    with contextlib.ExitStack() as stack:
        for kind in WATCHED:
            stack.enter_context(mock.patch.object(kind, "__call__", recording(kind.__call__)))
        model(x)
    return found


def near(a, b):
    """Tells whether two arrays are equal but for rounding."""
    return bool(jnp.linalg.norm(a - b) <= 1e-9 * jnp.linalg.norm(b))


def cropped(f, shape):
    """Returns ``{"border"}`` if a layer sees where its input ends: two overlapping parts of a signal differ where both are known."""
    long = randn((shape[0], shape[1] + 1, *shape[2:]), 7)
    one, two = f(long[:, :-1]), f(long[:, 1:])
    agree = near(one, two) if one.ndim < long.ndim else near(one[:, 1:], two[:, :-1])
    return set() if agree else {"border"}


def within_windows(f, shape):
    """Returns what a layer within windows of 2×2 breaks: shifts by whole windows, shifts by 1.

    What breaks whole windows is a fault of the windows at the end. In the others a shift by 1 has to change nothing: those at
    the beginning are looked at.
    """
    x = randn(shape, 7)
    y, far, near_by = f(x), f(jnp.roll(x, 2, (1, 2))), f(jnp.roll(x, 1, (1, 2)))
    kinds = set() if near(far, jnp.roll(y, 2, (1, 2))) else {"position"}
    inside = (slice(None), slice(1, -2), slice(1, -2))
    return kinds | (set() if near(near_by[inside], jnp.roll(y, 1, (1, 2))[inside]) else {"phase"})


def unpadded(f, shape):
    """Returns what a layer on a line breaks where it reads no padding: parts of a signal are compared where both are known."""
    size, stride = shape[1], f.strides[0]
    long = randn((shape[0], size + stride, *shape[2:]), 7)
    y, unit, whole = (f(long[:, start : start + size]) for start in (0, 1, stride))
    kinds = set() if near(whole[:, :-1], y[:, 1:]) else {"border"}
    return kinds | ({"phase"} if stride > 1 and not near(unit, y) and not near(unit[:, :-1], y[:, 1:]) else set())


def looks_back(f, x, axis):
    """Tells whether a layer is causal along an axis: later places change no earlier ones of its output, but earlier ones later ones."""
    y, size = f(x), x.shape[axis]
    if y.ndim < x.ndim or y.shape[axis] != size:
        return False
    places = jnp.arange(size).reshape(-1, *(1,) * (x.ndim - axis - 1))
    other = randn(x.shape, 8)

    def part(y, start, end):
        return jnp.moveaxis(y, axis, 0)[start:end]

    causal = all(near(part(f(jnp.where(places >= t, other, x)), 0, t), part(y, 0, t)) for t in range(1, size))
    return causal and not near(part(f(jnp.where(places == 0, other, x)), 1, size), part(y, 1, size))


def measured(f, shape, word):
    """Returns what a layer breaks.

    What does not move with its input is called ``"order"`` instead of ``word`` where the layer is causal along that axis.

    A layer with stride s has to move its output by 1 when its input moves by s, else it is called ``word``; a convolution that
    leaves one place, from which nothing can move, is looked at with stride 1. And when its input moves by 1, its output has to stay or move by a whole number, else its samples depend on the phase of the grid. A layer
    whose output is s times as large has to move its output by s. Without a grid in the output it has to stay.
    """
    if word in (CROPPED, WINDOWS):
        return {CROPPED: cropped, WINDOWS: within_windows}[word](f, shape)
    x = randn(shape, 7)
    y = f(x)
    kinds = set()
    for axis in range(1, x.ndim - 1):
        if y.ndim < x.ndim:
            kinds |= set() if near(f(jnp.roll(x, 1, axis)), y) else {word}
            continue
        stride, growth = max(1, x.shape[axis] // y.shape[axis]), max(1, y.shape[axis] // x.shape[axis])
        assert x.shape[axis] * growth == y.shape[axis] * stride
        if not near(f(jnp.roll(x, stride, axis)), jnp.roll(y, growth, axis)):
            kinds.add("order" if looks_back(f, x, axis) else word)
        if stride == x.shape[axis] > 1 and isinstance(f, nnx.Conv):
            fine = nnx.clone(f)
            fine.strides = (1,) * (x.ndim - 2)
            kinds |= set() if near(fine(jnp.roll(x, 1, axis)), jnp.roll(fine(x), 1, axis)) else {word}
        unit = f(jnp.roll(x, 1, axis))
        if stride > 1 and not any(near(unit, jnp.roll(y, t, axis)) for t in range(y.shape[axis])):
            kinds.add("phase")
    return kinds


def turned(layer, features):
    """Returns ``{"kernel"}`` if a layer does something else to an image that is turned or reflected.

    The image is zero but for its middle, so that no padding is seen, and no sample is left out; the window of the layer may lie
    beside the middle of its output.
    """
    x = jnp.zeros((1, 12, 12, features)).at[:, 4:8, 4:8].set(randn((1, 4, 4, features), 7))
    strided = not isinstance(layer, nnx.ConvTranspose)
    with mock.patch.object(layer, "strides", (1, 1)) if strided else contextlib.nullcontext():
        y = layer(x)
        for move in (lambda x: jnp.rot90(x, 1, (1, 2)), lambda x: jnp.flip(x, 1)):
            image, own = move(y), layer(move(x))
            if not any(near(own, jnp.roll(image, t, (1, 2))) for t in itertools.product((-1, 0, 1), repeat=2)):
                return {"kernel"}
    return set()


def of_graph(model, graph):
    """Returns what a whole network on graphs breaks: the order of nodes and edges, padding, other graphs beside these."""
    own = {
        name: np.asarray(getattr(graph, name))
        for name in ("nodes", "senders", "receivers", "node_graph", "node_mask", "edge_mask")
    }

    def changed(**new):
        return model(Graph(**{**own, **new}))

    y, count, graphs = changed(), graph.num_nodes, graph.num_graphs
    nodes, edges = np.random.default_rng(0).permutation(count), np.random.default_rng(1).permutation(graph.num_edges)
    place = np.argsort(nodes)
    relabelled = changed(
        nodes=own["nodes"][nodes],
        node_graph=own["node_graph"][nodes],
        node_mask=own["node_mask"][nodes],
        senders=place[own["senders"]],
        receivers=place[own["receivers"]],
    )
    reordered = changed(**{name: own[name][edges] for name in ("senders", "receivers", "edge_mask")})
    more = {name: np.concatenate([own[name], [count]]) for name in ("senders", "receivers")}
    more |= {"nodes": np.concatenate([own["nodes"], 3 + own["nodes"][:1]])}

    def grown(real):
        masks = {name: np.concatenate([own[name], [real]]) for name in ("node_mask", "edge_mask")}
        return changed(**more, **masks, node_graph=np.concatenate([own["node_graph"], [graphs if real else graphs - 1]]))

    kinds = set() if near(relabelled, y) and near(reordered, y) else {"order"}
    return kinds | (set() if near(grown(False), y) else {"mask"}) | (set() if near(grown(True)[:graphs], y) else {"batch"})


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_derived_list_is_what_is_measured(entry):
    model = entry.make()
    found = {}
    with jax.numpy_dtype_promotion("standard"):
        if isinstance(entry.x, Graph):
            assert of_graph(model, entry.x) == set().union(*entry.expected.values())
            return
        if isinstance(entry.action, SetAction):
            assert near(model(jnp.roll(entry.x, 1, 1)), model(entry.x)) == (not entry.expected)
        for path, (module, shape) in met(model, entry.x).items():
            word = next(word for kind, word in WATCHED.items() if isinstance(module, kind))
            loses = isinstance(module, nnx.Conv) and module.padding == "VALID"
            found[path] = unpadded(module, shape) if loses else measured(module, shape, word)
            found[path] |= turned(module, shape[-1]) if entry.action == P4M else set()
        for name, (f, shape, word) in entry.also.items():
            found.setdefault(name.split(" (")[0], set()).update(measured(lambda x, f=f: f(model, x), shape, word))
    assert {name: kinds for name, kinds in found.items() if kinds} == dict(entry.expected)


def test_a_turn_comes_back_to_coarse_places_with_a_shift():
    labels = np.arange(64).reshape(8, 8)
    kept, turned = set(labels[::4, ::4].ravel()), np.rot90(labels)
    assert not kept & set(turned[::4, ::4].ravel())
    assert kept in [set(np.roll(turned, 1, axis)[::4, ::4].ravel()) for axis in (0, 1)]
    down, last = (nnx.Conv(2, 2, (3, 3), strides=2, padding=1, param_dtype=float, rngs=nnx.Rngs(k)) for k in (0, 1))
    report = explain(nnx.Sequential(down, jnp.tanh, last), randn((2, 8, 8, 2)), in_action=P4M)
    shifts = {"shift (1, 0)", "shift (0, 1)", "shift (2, 2)", "shift (4, 4)"}
    turns = {"quarter turn 1", "reflection 4", "quarter turn 1, shift (1, 0)", "reflection 4, shift (0, 1)"}
    assert set(report.elements) == shifts | turns
