"""Layers on graphs of several types: the law, a plain loop, padding, wrong use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.graphs import HeteroGraph
from equijax.testing import check_equivariance
from tests.graphs.test_hetero import KNOWS, SAW, example
from tests.helpers import check_message, randn

LIKES = ("film", "likes", "film")


class Neighbours(ej.nn.GraphLayer):
    """W x plus the sum of the neighbours, written in jax.numpy alone."""

    def __init__(self, seed):
        self.kernel = nnx.Param(randn((3, 2), seed))

    def __call__(self, graph):
        x = jnp.where(graph.node_mask[:, None], graph.nodes, 0.0) @ self.kernel[...]
        messages = jnp.where(graph.edge_mask[:, None], x[graph.senders], 0.0)
        return graph.replace(nodes=x + jax.ops.segment_sum(messages, graph.receivers, graph.num_nodes))


def make(aggregation="sum"):
    return ej.nn.HeteroConv({SAW: Neighbours(0), KNOWS: Neighbours(1), ("user", "met", "user"): Neighbours(2)}, aggregation)


def social():
    """The example with a second relation between users."""
    graph = example()
    return graph.replace(edges={**graph.edges, ("user", "met", "user"): ([2, 0, 0], [2, 0, 1])})


def test_as_written_in_a_loop():
    graph, layer = social(), make("mean")
    out = layer(graph)
    users = np.where(np.asarray(graph.node_mask["user"])[:, None], graph.nodes["user"], 0)
    films = np.where(np.asarray(graph.node_mask["film"])[:, None], graph.nodes["film"], 0)
    kernel = {kind: np.asarray(one.kernel[...]) for kind, one in zip(layer.edge_types, layer.layers, strict=True)}
    expected = films @ kernel[SAW]
    for s, r in ((0, 0), (1, 0), (1, 0), (2, 1)):
        expected[r] += users[s] @ kernel[SAW]
    assert np.allclose(out.nodes["film"], expected, rtol=0, atol=1e-14)
    parts = []
    for kind, pairs in ((KNOWS, ((0, 1), (1, 1))), (("user", "met", "user"), ((2, 2), (0, 0), (0, 1)))):
        part = users @ kernel[kind]
        for s, r in pairs:
            part[r] += users[s] @ kernel[kind]
        parts.append(part)
    assert np.allclose(out.nodes["user"], np.mean(parts, 0), rtol=0, atol=1e-14)
    assert not out.nodes["user"][3].any()


@pytest.mark.parametrize("name", ["own", "library"])
def test_equivariance(name):
    if name == "own":
        layer = make()
    else:
        options = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
        first = ej.nn.HeteroMap({"user": nnx.Linear(3, 3, **options), "film": nnx.Linear(3, 3, **options)})
        relations = {SAW: ej.nn.GCNConv(3, 3, **options), KNOWS: ej.nn.SAGEConv(3, 3, **options)}
        layer = ej.nn.Sequential(first, ej.nn.HeteroConv(relations), ej.nn.HeteroMap({"user": jax.nn.silu}))
    apply = nnx.jit(layer)
    clean = jax.tree.map(lambda x: jnp.nan_to_num(x) if x.dtype == jnp.float64 else x, social())
    check_equivariance(apply, layer.in_action, layer.out_action, clean)
    dirty, plain = apply(social()), apply(clean)
    for kind in ("user", "film"):
        assert np.array_equal(dirty.nodes[kind], plain.nodes[kind])


def test_a_layer_that_looks_at_the_order_is_found():
    def ordered(graph):
        return graph.replace(nodes=graph.nodes * jnp.arange(graph.num_nodes)[:, None].astype(graph.nodes.dtype))

    layer = ej.nn.HeteroConv({SAW: ordered})
    graph = HeteroGraph({"user": randn((3, 2)), "film": randn((4, 2))}, {SAW: ([0], [1])})
    with pytest.raises(AssertionError, match="fails"):
        check_equivariance(layer, layer.in_action, layer.out_action, graph, gradient=False)


def test_types_that_receive_nothing_keep_their_features():
    graph = example()
    out = ej.nn.HeteroConv({SAW: Neighbours(0)})(graph)
    assert out.nodes["user"] is graph.nodes["user"] or np.array_equal(out.nodes["user"], graph.nodes["user"], equal_nan=True)
    assert out.nodes["film"].shape == (3, 2)


def test_parameters_train():
    layer, graph = make(), social()
    gradient = nnx.jit(nnx.grad(lambda layer: jnp.sum(layer(graph).nodes["user"] ** 2)))(layer)
    leaves = jax.tree.leaves(gradient)
    assert len(leaves) == 3
    assert all(np.isfinite(leaf).all() for leaf in leaves)


WRONG = {
    "no mapping of layers": (lambda: ej.nn.HeteroConv(3), TypeError, ["`layers`", "3", "dictionary"]),  # pyright: ignore
    "no mapping of functions": (lambda: ej.nn.HeteroMap([jax.nn.relu]), TypeError, ["`fns`", "dictionary"]),  # pyright: ignore
    "numbered functions": (lambda: ej.nn.HeteroMap({0: jax.nn.relu}), TypeError, ["`fns`", "0", "word"]),  # pyright: ignore
    "degrees of no graph": (lambda: ej.nn.average_degrees([3]), TypeError, ["`graphs[0]`", "int"]),  # pyright: ignore
    "traced degrees": (
        lambda: jax.jit(ej.nn.average_degrees)(ej.graphs.complete_graph(2)), ValueError, ["`graph` is traced", "average_degrees"]),
    "empty": (lambda: ej.nn.HeteroConv({}), ValueError, ["`layers` is empty"]),
    "key": (lambda: ej.nn.HeteroConv({"saw": Neighbours(0)}), TypeError, ["`layers`", "'saw'", "relation"]),
    "not callable": (lambda: ej.nn.HeteroConv({SAW: 3}), TypeError, ["`layers`", "3"]),
    "unequal features": (lambda: ej.nn.HeteroConv({SAW: Neighbours(0)})(example(features=5)), ValueError, ["different features", "HeteroMap"]),
    "missing": (lambda: ej.nn.HeteroConv({LIKES: Neighbours(0)})(example()), ValueError, ["`edge_type`", "likes"]),
    "missing node type": (lambda: ej.nn.HeteroMap({"play": jax.nn.relu})(example()), ValueError, ["'play'", "'film'"]),
    "a flat graph": (lambda: make()(example().relation(SAW)), TypeError, ["`graph`", "HeteroGraph"]),
    "no graph back": (lambda: ej.nn.HeteroConv({SAW: lambda g: g.nodes})(example()), TypeError, ["returns", "Graph"]),
    "another action": (lambda: make().out_action_for(ej.GraphAction()), TypeError, ["`in_action`", "HeteroGraphAction"]),
    "few entries": (lambda: ej.actions.HeteroGraphAction()(([0],), example()), ValueError, ["`g` has 1 entries", "4"]),
    "wrong length": (
        lambda: ej.actions.HeteroGraphAction()(([0], [0], [0], [0]), example()), ValueError, ["(1,)", "'film'", "3"]),
    "no permutation": (
        lambda: ej.actions.HeteroGraphAction()(([0, 0, 1], [0, 1, 2, 3], [0, 1, 2], [0, 1, 2, 3]), example()),
        ValueError, ["permutation", "[0, 0, 1]"]),
    "moves a graph": (lambda: ej.actions.HeteroGraphAction()((), jnp.ones(3)), TypeError, ["HeteroGraph"]),
    "axes": (lambda: ej.actions.HeteroGraphAction().axes(2), ValueError, ["axes(2)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])
