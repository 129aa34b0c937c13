"""Attention weights, their dropout, and noise in messages: against loops over edges, in chunks, and jitted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.graphs import _sums
from equijax.nn.graphs import _messages
from tests.helpers import check_message
from tests.nn.graphs.cases import FEATURES as F
from tests.nn.graphs.cases import world

N = ej.nn
OPTIONS = {"param_dtype": jnp.float64, "dropout_rate": 0.5}
KEY = nnx.Rngs(dropout=3).dropout()


def drawn():
    return nnx.Rngs(dropout=3)


def noise(key, number, heads):
    """What dropout multiplies the weights of one row by."""
    return np.asarray(jax.random.bernoulli(jax.random.fold_in(key, number), 0.5, (heads,))) / 0.5


def attention(kind):
    """A layer, its values and the term that has no attention; the loops of GATConv have keys of their own."""
    if kind == "GATConv":
        layer = N.GATConv(F, 6, 2, rngs=nnx.Rngs(0), **OPTIONS)
        return layer, lambda x: (layer.linear(x), 0), jax.random.split(KEY)
    if kind == "GATv2Conv":
        layer = N.GATv2Conv(F, 6, 2, self_loops=False, rngs=nnx.Rngs(0), **OPTIONS)
        return layer, lambda x: (layer.sender(x), 0), jax.random.split(KEY)
    layer = N.TransformerConv(F, 6, 2, rngs=nnx.Rngs(0), **OPTIONS)
    return layer, lambda x: (layer.value(x), layer.root(x)), (KEY, None)


@pytest.mark.parametrize("kind", ["GATConv", "GATv2Conv", "TransformerConv"])
def test_weights_and_their_dropout_are_those_of_a_loop(kind):
    layer, parts, (key, loops) = attention(kind)
    graph = world()
    run = jax.jit(
        lambda graph, rngs: (layer(graph, rngs=rngs, return_attention_weights=True), layer(graph, deterministic=True))
    )
    (out, weights), plain = run(graph, drawn())
    valid, senders, receivers = map(np.asarray, (graph.edge_mask, graph.senders, graph.receivers))
    assert weights.shape == (20, 2)
    assert (np.asarray(weights)[~valid] == 0).all()
    values, root = (np.asarray(part) for part in parts(jnp.where(graph.node_mask[:, None], graph.nodes, 0)))
    expected, kept = np.zeros((14, 2, 3)), np.zeros((14, 2, 3))
    left = np.ones((14, 2)) if kind == "GATConv" else np.zeros((14, 2))
    values = values.reshape(14, 2, 3)
    for e in np.flatnonzero(valid):
        share = np.asarray(weights)[e][:, None] * values[senders[e]]
        expected[receivers[e]] += share
        kept[receivers[e]] += noise(key, e, 2)[:, None] * share
        if kind == "GATConv":
            left[receivers[e]] -= np.asarray(weights)[e]
    for i in range(14):
        expected[i] += left[i][:, None] * values[i]
        kept[i] += 0 if loops is None else noise(loops, i, 2)[:, None] * left[i][:, None] * values[i]
    mask = np.asarray(graph.node_mask)[:, None]
    for got, total in ((plain, expected), (out, kept)):
        np.testing.assert_allclose(got.nodes, (total.reshape(14, 6) + root) * mask, rtol=1e-11, atol=1e-12)
    if kind != "GATConv":  # without loops the weights of all edges that arrive sum to 1
        sums = np.bincount(receivers[valid], np.asarray(weights)[valid, 0], 14)
        np.testing.assert_allclose(sums[np.asarray(graph.in_degrees()) > 0], 1, rtol=1e-12)


def test_attention_pool_and_fibres():
    pool = N.GraphAttentionPool(F, 6, 2, rngs=nnx.Rngs(0), **OPTIONS)
    graph = world()
    plain, weights = pool(graph, deterministic=True, return_attention_weights=True)
    out = pool(graph, rngs=drawn())
    value = np.asarray(pool.value(graph.nodes)).reshape(14, 2, 3)
    owner, mask = np.asarray(graph.node_graph), np.asarray(graph.node_mask)
    for got, factors in ((plain, np.ones((14, 2))), (out, [noise(KEY, i, 2) for i in range(14)])):
        expected = np.zeros((5, 2, 3))
        for i in np.flatnonzero(mask):
            expected[owner[i]] += (factors[i] * np.asarray(weights)[i])[:, None] * value[i]
        np.testing.assert_allclose(got, expected.reshape(5, 6), rtol=1e-11, atol=1e-12)
    wide = graph.replace(nodes=jnp.stack([graph.nodes] * 3, 1))
    layer = N.GATConv(F, 6, 2, rngs=nnx.Rngs(0), **OPTIONS)
    shape = jax.eval_shape(lambda: layer(wide, deterministic=True, return_attention_weights=True)[1]).shape
    assert shape == (20, 3, 2)


@pytest.mark.parametrize("most", [None, 4], ids=["all pairs", "dense"])
def test_transformer_block_drops(most, monkeypatch):
    local = N.GATConv(F, F, 2, rngs=nnx.Rngs(1), **OPTIONS)
    block = N.GraphTransformerBlock(F, 2, local=local, nodes_per_graph=most, rngs=nnx.Rngs(0), **OPTIONS)
    graph = world()
    seen = nnx.view(block, deterministic=True)
    run = lambda rngs: (block(graph, rngs=rngs).nodes, block(graph, deterministic=True).nodes, seen(graph).nodes)  # noqa: E731
    y, quiet, view = jax.jit(run)(drawn())
    assert not np.allclose(quiet, y)
    np.testing.assert_allclose(quiet, view)
    if most is None:  # in portions of two queries
        monkeypatch.setattr("equijax.nn.graphs._graph_transformer._LARGEST_SCORES", 2 * 14 * 2)
        np.testing.assert_allclose(jax.jit(lambda rngs: block(graph, rngs=rngs).nodes)(drawn()), y, rtol=1e-11, atol=1e-12)
    check_message(lambda: jax.eval_shape(lambda: block(graph)), ValueError, ["`rngs`", "nnx.Rngs(dropout=0)"])


class Jolted(ej.nn.MessagePassing):
    """A user's message with noise of its own."""

    def message(self, senders, receivers, edges, rngs=None):
        jolt = 0.0 if rngs is None else jax.random.normal(rngs.noise(), senders.shape)
        return jnp.tanh(senders + jolt)


def network():
    """Two dropouts, which must not draw the same noise."""
    rngs = nnx.Rngs(0)
    first, last = (
        nnx.Linear(2 * F, 8, param_dtype=jnp.float64, rngs=rngs),
        nnx.Linear(8, 8, param_dtype=jnp.float64, rngs=rngs),
    )
    return nnx.Sequential(first, nnx.Dropout(0.5), jnp.tanh, last, nnx.Dropout(0.5))


LAYERS = {
    "network": lambda: N.MessagePassing(message=network(), update=nnx.Dropout(0.5), aggregation=("sum", "mean")),
    "median": lambda: N.MessagePassing(message=network(), aggregation="median"),
    "subclass": lambda: Jolted(),
    "EdgeConv": lambda: N.EdgeConv(network(), aggregation="max"),
}


some = [pytest.param(name, marks=pytest.mark.slow if name in ("median", "EdgeConv") else ()) for name in LAYERS]


@pytest.mark.parametrize("name", some)
def test_noise_of_messages_does_not_depend_on_chunks(name, monkeypatch):
    layer, graph = LAYERS[name](), world()

    def value(nodes, key):
        return (layer(graph.replace(nodes=nodes), rngs=nnx.Rngs(dropout=key)).nodes ** 2).sum()

    key = jax.random.key(3)
    whole = jax.jit(jax.value_and_grad(value))(graph.nodes, key)
    again, other = value(graph.nodes, key), value(graph.nodes, jax.random.key(4))
    np.testing.assert_allclose(again, whole[0], rtol=1e-12)
    assert abs(float(other - again)) > 1e-3
    for module in (_messages, _sums):
        monkeypatch.setattr(module, "num_chunks", lambda arrays, num_edges: 3)
    chunked = jax.jit(jax.value_and_grad(jax.checkpoint(lambda nodes, key: value(nodes, key))))(graph.nodes, key)
    for a, b in zip(chunked, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_noise_of_messages_is_that_of_a_loop():
    """Noise belongs to an edge: its key is that of the call, folded with the number of the edge."""
    graph, layer = world(), Jolted()
    rngs = drawn()
    got = np.asarray(jax.jit(lambda graph, rngs: layer(graph, rngs=rngs).nodes)(graph, rngs))
    expected = np.zeros((14, F))
    for e in np.flatnonzero(graph.edge_mask):
        own = nnx.Rngs(jax.random.fold_in(KEY, e))
        jolt = jax.random.normal(own.noise(), (1, F))[0]
        expected[graph.receivers[e]] += np.tanh(np.asarray(graph.nodes[graph.senders[e]] + jolt))
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    by_key = layer(graph, rngs=jax.random.key(0)).nodes
    assert not np.allclose(by_key, got)
    layer(graph, rngs=rngs)
    assert int(rngs.dropout.count[...]) == 1  # one key for each call that is not jitted


def test_options_reach_the_layers_of_chains_and_relations():
    graph = world()
    gat = lambda **more: N.GATConv(F, F, 2, rngs=nnx.Rngs(0), **{**OPTIONS, **more})  # noqa: E731
    chain = N.Sequential(gat(), N.MapNodes(jnp.tanh), N.MessagePassing(message=network()))
    alone = N.MessagePassing(message=network())(gat()(graph, rngs=(r := drawn())).map_nodes(jnp.tanh), rngs=r)
    np.testing.assert_allclose(chain(graph, rngs=drawn()).nodes, alone.nodes, rtol=1e-12, atol=1e-12)
    kind = ("a", "to", "a")
    types = ej.graphs.HeteroGraph({"a": graph.nodes[:3]}, {kind: ([0, 1], [1, 2])})
    flat = ej.Graph(graph.nodes[:3], [0, 1], [1, 2])
    conv = N.HeteroConv({kind: gat()})
    np.testing.assert_allclose(conv(types, rngs=drawn()).nodes["a"], gat()(flat, rngs=drawn()).nodes, rtol=1e-12)
    check_message(lambda: conv(types, rng=drawn()), TypeError, ["`rng`", "HeteroConv"])
    check_message(lambda: gat(dropout_rate=1.5), ValueError, ["`dropout_rate`", "1.5", "probability"])


def test_without_noise_nothing_is_changed_and_noise_belongs_to_the_numbers_of_edges():
    graph = world()
    noisy, plain = (N.GATv2Conv(F, F, 2, rngs=nnx.Rngs(0), **{**OPTIONS, "dropout_rate": rate}) for rate in (0.5, 0.0))
    swapped = graph.replace(senders=graph.senders[::-1], receivers=graph.receivers[::-1], edge_mask=graph.edge_mask[::-1])

    @jax.jit
    def run(graph, swapped, key):
        both = [noisy(g, rngs=key).nodes for g in (graph, swapped)]
        return nnx.view(noisy, deterministic=True)(graph).nodes, plain(graph, rngs=key).nodes, *both

    quiet, without, one, other = run(graph, swapped, jax.random.key(0))
    np.testing.assert_array_equal(quiet, without)
    assert np.abs(one - other).max() > 1e-3
