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


def test_integers_meet_floats():
    halves, numbers = jnp.full((3, 1), 1.5, jnp.bfloat16), jnp.ones((3, 1), jnp.int32)
    y = _messages.side_by_side(numbers, halves, jnp.full((3, 1), 0.25, jnp.float32))
    assert y.dtype == jnp.float32 and y[0].tolist() == [1.0, 1.5, 0.25]
    assert _messages.side_by_side(halves, numbers).dtype == jnp.bfloat16
    with pytest.raises(TypeError, match="astype"):
        _messages.side_by_side(numbers, numbers)


def test_means_of_half_precision_do_not_overflow():
    n = 64
    graph = ej.Graph(jnp.full((n, 1), 4e3, jnp.float16), senders=np.arange(n), receivers=np.zeros(n, int))
    graph = graph.replace(edges=graph.nodes)
    for layer in (
        ej.nn.MessagePassing(aggregation="mean"),
        ej.nn.MessagePassing(message=lambda z: z[:, :1], aggregation=("mean", "max")),
    ):
        y = layer(graph).nodes
        assert y.dtype == jnp.float16 and (y[0] == 4e3).all()


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
def test_unit_vectors_of_any_size(size):
    graph = ej.Graph(jnp.full((2, 1), size, jnp.float32) * jnp.array([[3.0, 4.0]], jnp.float32), [0], [1])
    layer = ej.nn.SAGEConv(2, 2, normalize=True, use_bias=False, rngs=nnx.Rngs(0))
    layer.root.kernel[...] = jnp.eye(2, dtype=jnp.float32)
    run = lambda x: layer(graph.replace(nodes=x)).nodes[0]  # noqa: E731
    np.testing.assert_allclose(run(graph.nodes), [0.6, 0.8] if size else [0.0, 0.0], rtol=1e-6)
    assert np.isfinite(jax.grad(lambda x: run(x)[0])(graph.nodes)).all()


def test_a_new_kind_of_sum_is_used_as_it_is():
    class Twice(ej.nn.Sum):
        def reduce(self, members, x):
            return 2 * super().reduce(members, x)

    graph = world()
    twice, once = (ej.nn.MessagePassing(aggregation=kind)(graph).nodes for kind in (Twice(), ej.nn.Sum()))
    assert_close(twice, 2 * once)


class OwnModule(nnx.Module):
    """A module that takes the mask."""

    def __init__(self, norm):
        self.norm = norm

    def __call__(self, x, mask):
        return self.norm(x, mask=mask[..., None])


def test_padding_stays_out_of_batch_statistics():
    """On nodes with a fibre too; the graph without its padding gives the same numbers."""
    norm = lambda features=F: nnx.BatchNorm(features, momentum=0.0, rngs=nnx.Rngs(0))  # noqa: E731
    makers = {
        "map": lambda: ej.nn.MapNodes(norm()),
        "chain": lambda: ej.nn.MapNodes(nnx.Sequential(jax.nn.relu, nnx.Sequential(norm(), jax.nn.relu))),
        "own module": lambda: ej.nn.MapNodes(OwnModule(norm())),
        "GIN": lambda: ej.nn.GINConv(nnx.Sequential(nnx.Linear(F, F, rngs=nnx.Rngs(0)), norm())),
        "update": lambda: ej.nn.MessagePassing(update=norm(2 * F)),
    }
    graph = world()
    graph = graph.replace(nodes=jnp.stack([graph.nodes, graph.nodes**2], 1).astype(jnp.float32))
    there, edges = np.flatnonzero(graph.node_mask), np.asarray(graph.edge_mask)
    place = np.cumsum(np.asarray(graph.node_mask)) - 1
    small = ej.Graph(graph.nodes[there], place[graph.senders[edges]], place[graph.receivers[edges]])
    for name, make in makers.items():
        layers = make(), make()
        y, expected = layers[0](graph).nodes[there], layers[1](small).nodes
        assert np.abs(y - expected).max() < 1e-5, name
        for ours, theirs in zip(*(jax.tree.leaves(nnx.state(layer, nnx.BatchStat)) for layer in layers), strict=True):
            assert_close(ours, theirs, 1e-6)


def bad_arguments():
    """Calls, and the errors they raise; layers are made anew, so that they may be traced."""
    r, graph = options(), world(("edges",))
    ints = jnp.ones((14, F), jnp.int32)
    dropout, norm = nnx.Dropout(0.5, rngs=nnx.Rngs(0)), nnx.Sequential(nnx.BatchNorm(2 * F, rngs=nnx.Rngs(0)))
    degrees = (1.0, 1.0)
    return [
        (lambda: ej.nn.GATConv(F, 6, 4, **r), ValueError, ["num_heads", "4", "out_features = 6"]),
        (lambda: ej.nn.GATConv(F, F, 2, edge_features=2, **r)(graph), ValueError, ["edges", "(20, 3)", "(20, 2)"]),
        (lambda: ej.nn.GATConv(F, F, 2, edge_features=2, **r)(world()), ValueError, ["no edge features"]),
        (lambda: ej.nn.GCNConv(F + 1, F, **r)(graph), ValueError, ["nodes", "(14, 4)", "in_features = 5"]),
        (lambda: ej.nn.GCNConv(F, F, edge_weights=True, **r)(graph), ValueError, ["edges", "(20, 3)", "(20, 1)"]),
        (lambda: ej.nn.GCNConv(F, F, **r)(graph.replace(nodes=jnp.ones((14, F), int))), TypeError, ["int", "floats"]),
        (lambda: ej.nn.GCNConv(F, F, **r)(graph.replace(nodes={"a": graph.nodes})), TypeError, ["dict", "one array"]),
        (lambda: ej.nn.GATConv(F, F, dropout=0.5, **r), TypeError, ["GATConv", "dropout"]),
        (lambda: ej.nn.GATv2Conv(F, F, head=2, **r), TypeError, ["GATConv", "head"]),
        (lambda: ej.nn.GINConv(jax.nn.relu, epsilon=0.5)(graph.replace(nodes=ints)), TypeError, ["int32", "astype"]),
        (lambda: ej.nn.PairNorm()(graph.replace(nodes=ints)), TypeError, ["int32", "astype", "Embed"]),
        (lambda: ej.nn.MessagePassing()(graph.replace(nodes=graph.nodes[:, 0])), ValueError, ["(14,)", "nodes[:, None]"]),
        (
            lambda: ej.nn.MessagePassing(message=lambda z: z[:, 0], update=jax.nn.relu)(graph),
            ValueError,
            ["`message`", "(20,)", "x[:, None]"],
        ),
        (lambda: ej.nn.MessagePassing(message=lambda z: z > 0)(graph), TypeError, ["`message`", "bool", "astype"]),
        (lambda: ej.nn.MessagePassing(message=dropout), TypeError, ["`message`", "rngs", "edges"]),
        (lambda: ej.nn.EdgeConv(norm), TypeError, ["`network`", "layers.0.mean", "LayerNorm"]),
        (lambda: ej.nn.MapNodes(nnx.Sequential(lambda x: x.sum(0)))(graph), ValueError, ["14 rows", "axis 0"]),
        (
            lambda: ej.nn.GatedGCN(F, **r)(world(("square edges",)).replace(nodes=jnp.ones((14, 2, F)))),
            ValueError,
            ["(14, 2, 4)", "(N, 4)"],
        ),
        (lambda: ej.nn.GINConv(3), TypeError, ["`mlp`"]),
        (lambda: ej.nn.GINEConv(F, jax.nn.relu, edge_features=3), TypeError, ["`rngs`"]),
        (lambda: ej.nn.EdgeConv(None), TypeError, ["`network`"]),
        (lambda: ej.nn.MessagePassing(message="sum"), TypeError, ["`message`"]),
        (lambda: ej.nn.MessagePassing(update=lambda x: x.sum(0))(graph), ValueError, ["(8,)", "14 rows", "axis 0"]),
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
    for k, (_, error, words) in enumerate(bad_arguments()):
        check_message(lambda k=k: jax.eval_shape(lambda: bad_arguments()[k][0]()), error, words)
