"""The flat graph: what the constructor fills in, what it refuses, what changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from tests.helpers import check_message, randn


def path(**more):
    return ej.Graph(randn((4, 3)), senders=[0, 1, 2], receivers=[1, 2, 3], **more)


def test_defaults():
    graph = path()
    assert (graph.num_nodes, graph.num_edges, graph.num_graphs) == (4, 3, 1)
    assert graph.senders.dtype == graph.receivers.dtype == graph.node_graph.dtype == jnp.int32
    assert graph.node_mask.all()
    assert graph.edge_mask.all()
    assert graph.graph_mask.all()
    assert graph.edges is None
    assert graph.in_degrees().tolist() == [0, 1, 1, 1]
    assert graph.out_degrees().tolist() == [1, 1, 1, 0]


def test_the_number_of_graphs_comes_from_ids_globals_or_mask():
    assert path(node_graph=[0, 0, 0, 0], globals=jnp.ones((5, 2))).num_graphs == 5
    assert ej.Graph(jnp.ones((3, 1)), [0], [1], node_graph=[2, 2, 0]).num_graphs == 3
    assert path(graph_mask=[True, False]).num_graphs == 2
    assert ej.Graph(jnp.ones((0, 1)), [], []).num_graphs == 1


def test_nodes_may_be_a_tree_or_missing():
    tree = {"charge": jnp.ones((4, 1)), "kind": jnp.zeros((4, 2, 3))}
    assert ej.Graph(tree, [0], [1]).num_nodes == 4
    assert ej.Graph(None, [0], [1], positions=jnp.ones((2, 3))).num_nodes == 2
    assert ej.Graph(None, [0], [1], node_mask=[True, True, False]).num_nodes == 3


def test_nested_lists_of_numbers_are_arrays_and_lists_of_arrays_are_trees():
    assert ej.Graph([[1.0], [2.0]], [0], [1]).nodes.shape == (2, 1)
    tree = [jnp.ones((3, 2)), jnp.ones((3, 4))]
    assert [leaf.shape for leaf in ej.Graph(tree, [0], [1]).nodes] == [(3, 2), (3, 4)]


def test_it_is_a_pytree_that_jits_maps_and_stacks():
    graph = path(positions=randn((4, 2)), edges=randn((3, 5)))
    doubled = jax.jit(lambda graph: graph.map_nodes(lambda x: 2 * x).map_edges(lambda x: -x))(graph)
    assert np.allclose(doubled.nodes, 2 * graph.nodes)
    assert np.allclose(doubled.edges, -graph.edges)
    stacked = jax.tree.map(lambda a: jnp.stack([a, a]), graph)
    sums = jax.vmap(lambda graph: graph.map_nodes(lambda x: x.sum(1, keepdims=True)).nodes)(stacked)
    assert sums.shape == (2, 4, 1)
    paths = [jax.tree_util.keystr(key) for key, _ in jax.tree.leaves_with_path(graph)]
    assert ".nodes" in paths
    assert ".senders" in paths


def test_building_inside_jit_skips_only_what_is_not_known():
    @jax.jit
    def build(senders):
        return ej.Graph(jnp.ones((4, 1)), senders, senders)

    assert build(jnp.array([0, 3])).num_edges == 2
    wrapped = build(jnp.array([0, 2**32 + 1]))  # dropped, and not taken for node 1
    assert wrapped.in_degrees().tolist() == [1, 0, 0, 0]
    with pytest.raises(TypeError, match="indices must be integers"):
        build(jnp.array([0.0, 3.0]))


def test_replace_checks_and_drops_a_stale_table():
    graph = path().with_table()
    assert graph.table is not None
    assert graph.replace(nodes=jnp.ones((4, 7))).table is not None
    assert graph.replace(senders=[3, 1, 2]).table is None
    check_message(lambda: graph.replace(nodes=jnp.ones((5, 7))), ValueError, ["`nodes`", "(5, 7)", "4 nodes", "flat"])
    check_message(lambda: graph.replace(senders=[4, 1, 2]), ValueError, ["`senders`", "holds 4", "4 nodes"])


def test_a_table_of_other_edges_is_refused():
    graph = path().with_table()
    other = path().replace(senders=[2, 1, 0]).with_table()
    check_message(lambda: graph.replace(table=other.table), ValueError, ["`table`", "other edges", "with_table()"])
    check_message(lambda: path(table=other.table), ValueError, ["`table`", "other edges"])
    check_message(lambda: path(table=3), TypeError, ["`table`", "NeighbourTable"])
    moved = ej.GraphAction()(([1, 0, 2, 3], [2, 0, 1]), graph)
    moved.table.require_fits(moved.senders, moved.receivers, moved.edge_mask, 4)
    masked = path(edge_mask=[True, False, True]).with_table()
    check_message(lambda: path(table=masked.table), ValueError, ["`table`", "other edges"])
    larger = ej.Graph(jnp.ones((6, 3)), senders=[0, 1, 2], receivers=[1, 2, 3])  # the same edges between more nodes
    for wrong in (
        lambda: larger.replace(table=graph.table),
        lambda: jax.jit(lambda g: larger.replace(table=g.table))(graph),
    ):
        check_message(wrong, ValueError, ["`table`", "4 nodes", "6", "with_table()"])


def test_lists_are_arrays_for_replace_as_for_the_constructor():
    assert path().replace(nodes=[[1.0], [2.0], [3.0], [4.0]]).nodes.shape == (4, 1)


def test_repr_is_short():
    assert repr(path(edges=jnp.ones((3, 5)))) == "Graph(4 nodes, 3 edges, 1 graph; nodes float64[4,3], edges float64[3,5])"


WRONG = {
    "float index": (lambda: ej.Graph(jnp.ones((2, 1)), [0.0], [1]), TypeError, ["`senders`", "float", "integers"]),
    "out of range": (lambda: ej.Graph(jnp.ones((2, 1)), [0], [2]), ValueError, ["`receivers`", "holds 2", "2 nodes"]),
    "negative": (lambda: ej.Graph(jnp.ones((2, 1)), [-1], [1]), ValueError, ["`senders`", "holds -1", "entry 0"]),
    "batch axis of indices": (lambda: ej.Graph(jnp.ones((2, 1)), [[0]], [[1]]), ValueError, ["`senders`", "(1, 1)", "vmap"]),
    "batch axis of edges": (lambda: path(edges=jnp.ones((2, 3, 1))), ValueError, ["`edges`", "(2, 3, 1)", "3 edges", "vmap"]),
    "unequal ends": (lambda: ej.Graph(jnp.ones((2, 1)), [0, 1], [1]), ValueError, ["`receivers`", "1 entries", "2 senders"]),
    "mask shape": (lambda: path(node_mask=[True] * 5), ValueError, ["`node_mask`", "(5,)", "(4,)"]),
    "mask dtype": (lambda: path(edge_mask=[1, 0, 1]), TypeError, ["`edge_mask`", "int", "bool"]),
    "node_graph length": (lambda: path(node_graph=[0, 0]), ValueError, ["`node_graph`", "2 entries", "4 nodes"]),
    "node_graph range": (lambda: path(node_graph=[0, 0, 0, 7], graph_mask=[True]), ValueError, ["`node_graph`", "7", "1 graphs"]),
    "edge between graphs": (lambda: path(node_graph=[0, 0, 1, 1]), ValueError, ["edge 1", "nodes 1 and 2", "one graph"]),
    "edge to padding": (lambda: path(node_mask=[True, True, True, False]), ValueError, ["`edge_mask`", "edge 2", "padding"]),
    "no number of nodes": (lambda: ej.Graph(None, [0], [1]), ValueError, ["`nodes`", "node_mask"]),
    "positions": (lambda: path(positions=jnp.ones(4)), ValueError, ["`positions`", "(N, d)"]),
    "velocities": (lambda: path(positions=jnp.ones((4, 3)), velocities=jnp.ones((4, 2))), ValueError, ["`velocities`", "(4, 2)", "(4, 3)"]),
    "node of a padding graph": (lambda: path(graph_mask=[False]), ValueError, ["`node_mask`", "node 0", "graph_mask", "padding"]),
    "far out of range": (lambda: ej.Graph(jnp.ones((2, 1)), np.array([2**32]), [1]), ValueError, ["`senders`", "4294967296", "2 nodes"]),
    "too many graphs": (lambda: path(node_graph=[0, 0, 0, 2**40]), ValueError, ["`node_graph`", str(2**40), "32 bits"]),
    "a word": (lambda: ej.Graph("ab", [0], [1]), TypeError, ["`nodes`", "'ab'", "array of numbers"]),
    "a word in a tree": (lambda: ej.Graph({"a": "ab"}, [0], [1]), TypeError, ["`nodes['a']`", "'ab'"]),
    "bools in space": (lambda: path(positions=jnp.ones((4, 3), bool)), TypeError, ["`positions`", "bool", "real"]),
    "ragged": (lambda: ej.Graph(jnp.ones((2, 1)), [[0], [0, 1]], [1]), TypeError, ["`senders`", "integers"]),
    "no function": (lambda: path().map_nodes(3), TypeError, ["`fn`", "3"]),  # pyright: ignore[reportArgumentType]
    "replaced by a word": (lambda: path().replace(nodes="ab"), TypeError, ["`nodes`", "'ab'"]),
    "globals": (lambda: path(globals=jnp.ones((2, 1)), graph_mask=[True]), ValueError, ["`globals`", "(2, 1)", "1 graph"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])
