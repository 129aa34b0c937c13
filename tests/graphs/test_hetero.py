"""Graphs of several types: what the constructor fills in and refuses, flat forms, relabelling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.graphs import HeteroGraph
from tests.helpers import check_message, randn

SAW, KNOWS = ("user", "saw", "film"), ("user", "knows", "user")


def example(features=3, **more):
    """Four users and three films in two graphs, with padding that holds NaN."""
    fields = dict(
        nodes={"user": randn((4, 3)).at[3].set(jnp.nan), "film": randn((3, features), 1).at[2].set(jnp.nan)},
        edges={
            SAW: ej.graphs.EdgeSet([0, 1, 1, 2], [0, 0, 0, 1], randn((4, 2), 2)),
            KNOWS: ej.graphs.EdgeSet([0, 1, 3], [1, 1, 3], randn((3, 2), 3).at[2].set(jnp.nan), [True, True, False]),
        },
        node_graph={"user": [0, 0, 1, 1], "film": [0, 1, 1]},
        node_mask={"user": [True, True, True, False], "film": [True, True, False]},
    )
    return HeteroGraph(**(fields | more))


def test_what_is_filled_in():
    graph = HeteroGraph({"user": jnp.ones((2, 4)), "film": jnp.ones((3, 8))}, {SAW: ([0, 1], [2, 0])})
    assert graph.node_types == ("film", "user")
    assert graph.edge_types == (SAW,)
    assert graph.num_nodes == {"film": 3, "user": 2}
    assert graph.num_edges == {SAW: 2}
    assert graph.num_graphs == 1
    assert graph.node_mask["film"].all()
    assert graph.edges[SAW].senders.dtype == jnp.int32
    assert graph.edges[SAW].edge_mask.all()
    assert example().num_graphs == 2
    assert "4 user" in repr(example())
    assert "3 user-knows-user" in repr(example())


def test_it_is_a_pytree():
    graph = example()
    doubled = jax.jit(lambda graph: graph.replace(nodes=jax.tree.map(lambda x: 2 * x, graph.nodes)))(graph)
    assert np.array_equal(doubled.nodes["user"], 2 * graph.nodes["user"], equal_nan=True)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(graph)]
    assert ".nodes['film']" in paths


def test_relations_and_the_flat_form():
    graph = example()
    saw = graph.relation(SAW)
    assert saw.senders.tolist() == [0, 1, 1, 2]
    assert saw.receivers.tolist() == [4, 4, 4, 5]
    assert saw.node_graph.tolist() == [0, 0, 1, 1, 0, 1, 1]
    assert np.array_equal(saw.nodes, np.concatenate([graph.nodes["user"], graph.nodes["film"]]), equal_nan=True)
    knows = graph.relation(KNOWS)
    assert (knows.num_nodes, knows.edge_mask.tolist()) == (4, [True, True, False])
    flat = graph.to_flat()
    assert flat.nodes["type"].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert flat.edges["type"].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert flat.senders.tolist() == [3, 4, 6, 3, 4, 4, 5]
    assert flat.receivers.tolist() == [4, 4, 6, 0, 0, 0, 1]
    assert flat.edges["features"].shape == (7, 2)
    assert flat.node_mask.tolist() == [True, True, False, True, True, True, False]
    ej.Graph(
        **{name: getattr(flat, name) for name in ("nodes", "senders", "receivers", "node_graph", "node_mask", "edge_mask")}
    )


def test_no_edges_at_all():
    graph = HeteroGraph({"a": jnp.ones((2, 1))}, {})
    assert graph.to_flat().num_edges == 0


TWO = {"user": jnp.ones((2, 4)), "film": jnp.ones((3, 8))}
WRONG = {
    "no mapping": (lambda: HeteroGraph(3, {}), TypeError, ["`nodes`", "3", "dictionary"]),
    "an array of masks": (lambda: HeteroGraph(TWO, {}, node_mask=jnp.ones(2, bool)), TypeError, ["`node_mask`", "dictionary"]),
    "no edges": (lambda: HeteroGraph(TWO, {SAW: 3}), TypeError, ["`edges[('user', 'saw', 'film')]`", "3", "EdgeSet"]),
    "tables of no types": (lambda: HeteroGraph(TWO, {}).with_table(3), TypeError, ["`shapes`", "3"]),  # pyright: ignore
    "unknown type": (lambda: HeteroGraph(TWO, {("user", "saw", "play"): ([0], [0])}), ValueError, ["`edges`", "'play'", "'film'"]),
    "unknown mask": (lambda: HeteroGraph(TWO, {}, node_mask={"play": [True]}), ValueError, ["'play'"]),
    "sender range": (lambda: HeteroGraph(TWO, {SAW: ([2], [0])}), ValueError, ["'saw'", "`senders` holds 2", "2 nodes 'user'"]),
    "receiver range": (lambda: HeteroGraph(TWO, {SAW: ([0], [3])}), ValueError, ["'saw'", "`receivers` holds 3", "3 nodes 'film'"]),
    "floats": (lambda: HeteroGraph(TWO, {SAW: ([0.0], [1])}), TypeError, ["'saw'", "`senders`", "integers"]),
    "mask": (lambda: HeteroGraph(TWO, {}, node_mask={"user": [True]}), ValueError, ["'user'", "`node_mask`", "(1,)"]),
    "edge to padding": (
        lambda: HeteroGraph(TWO, {SAW: ([0], [1])}, node_mask={"film": [True, False, True]}), ValueError, ["'saw'", "`edge_mask`"]),
    "two graphs": (
        lambda: HeteroGraph(TWO, {SAW: ([0], [1])}, node_graph={"film": [0, 1, 1]}), ValueError, ["'saw'", "`node_graph`"]),
    "batch axes": (lambda: HeteroGraph(TWO, {SAW: ([[0]], [[1]])}), ValueError, ["'saw'", "`senders`", "vmap"]),
    "features": (lambda: HeteroGraph(TWO, {SAW: ([0], [1])}).relation(SAW), ValueError, ["'user'", "'film'", "HeteroMap"]),
    "no relation": (lambda: HeteroGraph(TWO, {}).relation(SAW), ValueError, ["`edge_type`", "'saw'"]),
    "traced": (
        lambda: jax.jit(lambda ids: HeteroGraph(TWO, {}, node_graph={"user": ids}).num_graphs)(jnp.zeros(2, int)),
        ValueError, ["`node_graph` is traced", "graph_mask"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])
