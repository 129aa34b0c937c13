"""Layers on graphs against their equations in numpy, in chunks, at their limits, and with wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.graphs import _sums
from equijax.nn.graphs import _graph_transformer, _messages
from tests.helpers import check_message, randn
from tests.nn.graphs.cases import CASES, FEATURES, world

F = FEATURES


def options(seed=0):
    return {"param_dtype": jnp.float64, "rngs": nnx.Rngs(seed)}


def case(name):
    return next(case for case in CASES if case.name == name)


def array(x):
    return np.asarray(x, np.float64)


def apply(linear, x):
    return x @ array(linear.kernel[...]) + (0.0 if linear.bias is None else array(linear.bias[...]))


def perceptron(network, x):
    x = apply(network.layers[0], x)
    return apply(network.layers[2], x / (1 + np.exp(-x)))


def valid_edges(graph):
    mask = np.asarray(graph.edge_mask)
    return [(e, int(graph.senders[e]), int(graph.receivers[e])) for e in np.flatnonzero(mask)]


def members(graph, k):
    return np.flatnonzero(np.asarray(graph.node_mask) & (np.asarray(graph.node_graph) == k))


def softmax(scores):
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def assert_close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(np.asarray(b)).max()))


def test_message_passing_is_its_equation():
    it, graph = case("MessagePassing of modules")(), world(("edges",))
    x, e = array(graph.nodes), array(graph.edges)
    expected = np.zeros((graph.num_nodes, F))
    for i in np.flatnonzero(np.asarray(graph.node_mask)):
        pairs = [np.concatenate([x[r], x[s], e[k]]) for k, s, r in valid_edges(graph) if r == i]
        m = perceptron(it.message_network, np.array(pairs)) if pairs else np.zeros((1, F))
        expected[i] = perceptron(it.update_network, np.concatenate([x[i], m.mean(0), m.max(0)]))
    assert_close(jax.jit(it)(graph).nodes, expected)


def test_gated_gcn_is_its_equation():
    layer, graph = (
        ej.nn.GatedGCN(F, use_norm=False, bias_init=nnx.initializers.normal(1.0), **options()),
        world(("square edges",)),
    )
    valid = np.asarray(graph.node_mask)[:, None]
    x, e = np.where(valid, array(graph.nodes), 0.0), array(graph.edges)
    total, opened, edges = np.zeros_like(x), np.zeros_like(x), np.zeros_like(e)
    for k, s, r in valid_edges(graph):
        hat = apply(layer.receiver, x[r]) + apply(layer.sender, x[s]) + apply(layer.edge, e[k])
        gate = 1 / (1 + np.exp(-hat))
        total[r] += gate * apply(layer.value, x[s])
        opened[r] += gate
        edges[k] = e[k] + np.maximum(hat, 0)
    nodes = np.where(valid, x + np.maximum(apply(layer.root, x) + total / (opened + layer.epsilon), 0), 0)
    y = jax.jit(layer)(graph)
    assert_close(y.nodes, nodes)
    assert_close(y.edges, edges)


def test_norms_are_their_equations():
    graph = world()
    x = array(graph.nodes)
    norms = {
        ej.nn.GraphNorm(F, use_mean_scale=False, **options()): lambda z: (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5),
        ej.nn.GraphLayerNorm(F, **options()): lambda z: (z - z.mean()) / np.sqrt(z.var() + 1e-5),
        ej.nn.PairNorm(individually=True): lambda z: (
            (z - z.mean(0)) / np.sqrt(((z - z.mean(0)) ** 2).sum(-1, keepdims=True) + 1e-5)
        ),
    }
    for layer, norm in norms.items():
        y = jax.jit(layer)(graph).nodes
        for k in (0, 1):
            assert_close(y[members(graph, k)], norm(x[members(graph, k)]))
    fibre = jnp.stack([graph.nodes, 2 * graph.nodes], 1)
    z = array(fibre)[members(graph, 1)]
    y = jax.jit(ej.nn.GraphNorm(F, **options()))(graph.replace(nodes=fibre)).nodes
    assert_close(y[members(graph, 1)], (z - z.mean((0, 1))) / np.sqrt(z.var((0, 1)) + 1e-5))


def test_pools_are_their_equations():
    graph = world()
    x = array(graph.nodes)
    pooled = jax.jit(ej.nn.GraphPool(("sum", "max")))(graph)
    attention = ej.nn.GraphAttentionPool(F, 6, 2, **options())
    by_attention = jax.jit(attention)(graph)
    for k in (0, 1):
        z = x[members(graph, k)]
        assert_close(pooled[k], np.concatenate([z.sum(0), z.max(0)]))
        weights = softmax(apply(attention.score, z).T)
        assert_close(
            by_attention[k], np.einsum("hi,ihd->hd", weights, apply(attention.value, z).reshape(-1, 2, 3)).reshape(-1)
        )
    assert (np.asarray(pooled[3:]) == 0).all() and (np.asarray(by_attention[3:]) == 0).all()


def test_global_attention_is_its_equation_in_both_layouts(monkeypatch):
    graph = world()
    x = array(graph.nodes)
    expected = np.zeros_like(x)
    make = lambda **more: ej.nn.GraphTransformerBlock(F, 2, use_norm=False, **more, **options())  # noqa: E731
    block = make()
    for k in (0, 1, 2):
        z = x[members(graph, k)]
        q, key, v = (apply(layer, z).reshape(-1, 2, 2) for layer in (block.query, block.key, block.value))
        attended = np.einsum("hij,jhd->ihd", softmax(np.einsum("ihd,jhd->hij", q, key) / np.sqrt(2)), v).reshape(-1, F)
        z = z + apply(block.out, attended)
        expected[members(graph, k)] = z + apply(block.feed_forward.out, np.maximum(apply(block.feed_forward.hidden, z), 0))
    expected[~np.asarray(graph.node_mask)] = 0
    assert_close(jax.jit(block)(graph).nodes, expected)
    assert_close(jax.jit(make(nodes_per_graph=5))(graph).nodes, expected)
    monkeypatch.setattr(_graph_transformer, "_LARGEST_SCORES", 2 * 14 * 3)
    assert_close(jax.jit(lambda graph: make()(graph).nodes)(graph), expected)


def test_room_for_nodes():
    graph = world()
    block = ej.nn.GraphTransformerBlock(F, 2, nodes_per_graph=3, use_norm=False, **options())
    check_message(lambda: block(graph), ValueError, ["max_nodes", "3", "4"])
    y = jax.jit(lambda graph: block(graph).nodes)(graph)
    assert np.isnan(y[members(graph, 0)]).all() and np.isfinite(y[members(graph, 1)]).all()


@pytest.mark.parametrize("name", ["GATv2Conv", "SAGEConv"])
def test_chunks_of_edges_give_the_same(name, monkeypatch):
    """Also inside of Flax's transformations, where a layer's parameters are read in the middle of a scan."""
    it = case(name)
    layer, graph = it(), it.graph()
    loss = lambda layer, x: jnp.square(layer(graph.replace(nodes=x)).nodes).sum()  # noqa: E731
    whole = jax.tree.leaves(nnx.jit(nnx.value_and_grad(loss, argnums=(0, 1)))(layer, graph.nodes))
    for module in (_messages, _sums):
        monkeypatch.setattr(module, "num_chunks", lambda arrays, num_edges: 3)
    chunks = jax.tree.leaves(nnx.jit(nnx.value_and_grad(lambda *a: loss(*a), argnums=(0, 1)))(layer, graph.nodes))
    for ours, expected in zip(chunks, whole, strict=True):
        assert_close(ours, expected)


def test_vmap_over_stacked_graphs():
    it = case("GATConv")
    layer, graphs = it(), [it.graph(seed=seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *graphs)
    both, each = jax.jit(lambda stacked, graphs: (jax.vmap(layer)(stacked).nodes, [layer(g).nodes for g in graphs]))(
        stacked, graphs
    )
    assert_close(both, jnp.stack(each))


def test_attention_of_large_scores_and_one_neighbour():
    graph = ej.Graph(1e4 * randn((4, F)), senders=[0, 1, 2], receivers=[1, 1, 3])
    for layer in (ej.nn.GATConv(F, F, self_loops=False, **options()), ej.nn.TransformerConv(F, F, **options())):
        total = lambda x, layer=layer: layer(graph.replace(nodes=x)).nodes.sum()  # noqa: E731
        y, gradient = jax.jit(jax.value_and_grad(total))(graph.nodes)
        assert np.isfinite(y) and np.isfinite(gradient).all()
    layer = ej.nn.GATConv(F, F, self_loops=False, use_bias=False, **options())
    y = jax.jit(layer)(graph).nodes
    assert_close(y[3], apply(layer.linear, array(graph.nodes))[2])
    assert (np.asarray(y[0]) == 0).all()


def test_a_loop_is_an_edge():
    """The option adds a loop to those that the graph has."""
    graph = ej.Graph(randn((3, F)), senders=[0, 1, 2], receivers=[1, 1, 0])
    loops = ej.Graph(graph.nodes, senders=[0, 1, 2, 0, 1, 2], receivers=[1, 1, 0, 0, 1, 2])
    for kind in (ej.nn.GCNConv, ej.nn.GATConv, ej.nn.GATv2Conv):
        without = kind(F, F, self_loops=False, **options())
        assert_close(jax.jit(kind(F, F, **options()))(graph).nodes, jax.jit(without)(loops).nodes)


def test_gcn_weights_that_cancel():
    graph = ej.Graph(randn((2, F)), senders=[0, 0], receivers=[1, 1], edges=jnp.array([-2.0, 1.0]))
    layer = ej.nn.GCNConv(F, F, edge_weights=True, **options())
    run = lambda edges: layer(graph.replace(edges=edges)).nodes  # noqa: E731
    y, gradient = jax.jit(lambda edges: (run(edges), jax.grad(lambda edges: run(edges).sum())(edges)))(graph.edges)
    assert np.isfinite(gradient).all()
    assert_close(y[1], np.zeros(F))  # d = 1 - 2 + 1 = 0


def test_sign_net_does_not_see_signs():
    layer, graph = case("SignNet")(), world()
    flips = jnp.where(jax.random.bernoulli(jax.random.key(0), shape=(5, F)), 1.0, -1.0)[graph.node_graph]
    run = jax.jit(lambda x: layer(graph.replace(nodes=x)).nodes)
    y = run(graph.nodes)
    assert_close(run(graph.nodes * flips), y)
    assert np.abs(np.asarray(run(2 * graph.nodes) - y)).max() > 1e-3


def test_basis_net_sees_eigenspaces_only():
    ring = [(i, (i + 1) % 5) for i in range(5)]
    pairs = np.array(ring + [(j, i) for i, j in ring] + [(5, 6), (6, 5)])
    graph = ej.Graph(jnp.zeros((7, 1)), pairs[:, 0], pairs[:, 1], node_graph=[0] * 5 + [1] * 2)
    encoding = ej.graphs.laplacian_encoding(graph, k=3)
    assert encoding.groups.tolist() == [[0, 0, -1], [0, -1, -1]]
    layer = ej.nn.BasisNet(3, 4, hidden_features=3, nodes_per_graph=5, **options())
    apply_to = jax.jit(lambda graph: layer(graph, encoding.groups).nodes)
    run = lambda v: apply_to(graph.replace(nodes=v))  # noqa: E731
    y = run(encoding.vectors)
    turn = np.eye(3)
    turn[:2, :2] = [[0.6, 0.8], [0.8, -0.6]]
    turned = jnp.where((graph.node_graph == 0)[:, None], encoding.vectors @ turn, -encoding.vectors)
    assert_close(run(turned), y)
    mixed = encoding.vectors @ jnp.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert np.abs(np.asarray(run(mixed) - y)).max() > 1e-3
    action = ej.GraphAction().for_input(graph)
    g = action.group.sample(jax.random.key(1))
    moved = action(g, graph.replace(nodes=encoding.vectors))
    assert_close(apply_to(moved), action(g, graph.replace(nodes=y)).nodes)


def test_average_degrees_leave_padding_out():
    graph = world()
    d = np.bincount([r for _, _, r in valid_edges(graph)], minlength=14)[np.asarray(graph.node_mask)]
    assert_close(ej.nn.average_degrees([graph, graph]), (d.mean(), np.log(d + 1).mean()))
    with pytest.raises(ValueError, match="no node"):
        ej.nn.average_degrees([])


def test_order_dependent_aggregations_are_refused():
    recurrent = ej.nn.RecurrentAggregation(F, F, rngs=nnx.Rngs(0))
    for make in (
        lambda: ej.nn.MessagePassing(aggregation=recurrent),
        lambda: ej.nn.SAGEConv(F, F, aggregation=recurrent, rngs=nnx.Rngs(0)),
        lambda: ej.nn.EdgeConv(jax.nn.relu, aggregation=recurrent),
        lambda: ej.nn.GraphPool(recurrent),
    ):
        check_message(make, TypeError, ["RecurrentAggregation", "order"])


def bad_arguments():
    """Calls, and the errors they raise; layers are made anew, so that they may be traced."""
    r, graph = {"rngs": nnx.Rngs(0)}, world(("edges",))
    degrees = (1.0, 1.0)
    return [
        (lambda: ej.nn.GATConv(F, 6, 4, **r), ValueError, ["num_heads", "4", "out_features = 6"]),
        (lambda: ej.nn.GATConv(F, F, 2, edge_features=2, **r)(graph), ValueError, ["edges", "(20, 3)", "(20, 2)"]),
        (lambda: ej.nn.GATConv(F, F, 2, edge_features=2, **r)(world()), ValueError, ["no edge features"]),
        (lambda: ej.nn.GCNConv(F + 1, F, **r)(graph), ValueError, ["nodes", "(14, 4)", "in_features = 5"]),
        (lambda: ej.nn.GCNConv(F, F, edge_weights=True, **r)(graph), ValueError, ["edges", "(20, 3)", "(20, 1)"]),
        (lambda: ej.nn.GCNConv(F, F, **r)(graph.replace(nodes=jnp.ones((14, F), int))), TypeError, ["int", "floats"]),
        (lambda: ej.nn.GCNConv(F, F, **r)(graph.replace(nodes={"a": graph.nodes})), TypeError, ["dict", "one array"]),
        (lambda: ej.nn.GINConv(3), TypeError, ["`mlp`"]),
        (lambda: ej.nn.GINEConv(F, jax.nn.relu, edge_features=3), TypeError, ["`rngs`"]),
        (lambda: ej.nn.EdgeConv(None), TypeError, ["`network`"]),
        (lambda: ej.nn.MessagePassing(message="sum"), TypeError, ["`message`"]),
        (lambda: ej.nn.MessagePassing(update=lambda x: x.sum(0))(graph), ValueError, ["`update`", "axis 0"]),
        (
            lambda: ej.nn.MessagePassing(message=jax.nn.relu)(graph.replace(edges=graph.edges[:, 0])),
            ValueError,
            ["`graph.edges`", "(20,)", "edges[:, None]"],
        ),
        (lambda: ej.nn.MessagePassing(aggregation="product"), ValueError, ["product", "sum"]),
        (lambda: ej.nn.PNAConv(F, F, (0.0, 1.0), **r), ValueError, ["average_degrees"]),
        (lambda: ej.nn.PNAConv(F, F, degrees, scalers=("log",), **r), ValueError, ["scalers", "attenuation"]),
        (lambda: ej.nn.PNAConv(F, F, degrees, towers=3, **r), ValueError, ["towers", "3", "out_features = 4"]),
        (lambda: ej.nn.PNAConv(5, F, degrees, towers=2, divide_input=True, **r), ValueError, ["in_features = 5"]),
        (lambda: ej.nn.GraphTransformerBlock(F, 3, **r), ValueError, ["num_heads", "3", "4"]),
        (
            lambda: ej.nn.GraphTransformerBlock(F, 2, **r)(graph.replace(nodes=jnp.ones((14, 2, F)))),
            ValueError,
            ["(14, 2, 4)"],
        ),
        (
            lambda: ej.nn.GraphTransformerBlock(F, 2, local=ej.nn.GCNConv(F, 5, **r), **r)(world()),
            ValueError,
            ["`local`", "(14, 5)", "(14, 4)"],
        ),
        (lambda: ej.nn.SignNet(jax.nn.relu, None), TypeError, ["`rho`"]),
        (lambda: ej.nn.SignNet(jax.nn.relu, jax.nn.relu)(graph.replace(nodes=jnp.ones((14, 2, 2)))), ValueError, ["(N, k)"]),
        (
            lambda: ej.nn.BasisNet(F, F, **r)(graph, jnp.zeros((5, 3), jnp.int32)),
            ValueError,
            ["`groups`", "(5, 3)", "(5, 4)"],
        ),
    ]


def test_bad_arguments():
    """Nothing is compiled: errors are raised while JAX looks at shapes."""
    with jax.numpy_dtype_promotion("standard"):
        for k, (_, error, words) in enumerate(bad_arguments()):
            check_message(lambda k=k: jax.eval_shape(lambda: bad_arguments()[k][0]()), error, words)
