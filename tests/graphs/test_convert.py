"""Graphs of other libraries, there and back."""

import sys

import ase.build
import jax
import jax.numpy as jnp
import jraph
import networkx as nx
import numpy as np
import pytest
import scipy.sparse

import equijax as ej
from equijax.graphs import (
    GraphBudget,
    batch,
    complete_graph,
    from_ase,
    from_jraph,
    from_networkx,
    from_scipy,
    to_jraph,
    to_networkx,
    to_scipy,
    unbatch,
)
from tests.graphs.random_graphs import assert_equal, in_numpy, random_graph, relabelled, simple_graph, with_nan
from tests.helpers import check_message, randn

GRAPHS = [random_graph(k, n, e, positions=None) for k, (n, e) in enumerate(((3, 4), (1, 0), (4, 6)))]
PADDED = with_nan(batch(GRAPHS, GraphBudget(10, 12, 5)))


def edges_of(graph):
    return list(zip(graph.senders.tolist(), graph.receivers.tolist(), strict=True))


def test_networkx_undirected_has_both_directions():
    graph = nx.Graph()
    graph.add_node("b", x=1.0, y=[2.0, 3.0], at=[0.0, 0.0])
    graph.add_node("a", x=4.0, y=[5.0, 6.0], at=[1.0, 0.0])
    graph.add_edge("a", "b", w=7.0)
    graph.add_edge("a", "a", w=8.0)
    flat = from_networkx(graph, nodes=("x", "y"), edges="w", positions="at")
    assert flat.nodes.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert edges_of(flat) == [(0, 1), (1, 0), (1, 1)]
    assert flat.edges.tolist() == [[7], [7], [8]]
    assert flat.positions.tolist() == [[0, 0], [1, 0]]


def test_networkx_directed_and_parallel():
    assert edges_of(from_networkx(nx.DiGraph([(0, 1), (1, 2)]))) == [(0, 1), (1, 2)]
    assert edges_of(from_networkx(nx.MultiDiGraph([(0, 1), (0, 1)]))) == [(0, 1), (0, 1)]
    assert sorted(edges_of(from_networkx(nx.MultiGraph([(0, 1), (0, 1)])))) == [(0, 1), (0, 1), (1, 0), (1, 0)]
    assert from_networkx(nx.Graph()).num_nodes == 0


def test_networkx_round_trip():
    graph = random_graph(3, 5, 8, edges=randn((8, 2)))
    there = to_networkx(batch([graph], GraphBudget(7, 9, 2)))
    assert np.array_equal(there.graph["features"], graph.globals[0])
    back = from_networkx(there, nodes="features", edges="features", positions="positions")
    host, again = in_numpy(graph), in_numpy(back)
    assert np.array_equal(again.nodes, host.nodes)
    assert np.array_equal(again.positions, host.positions)

    def rows(graph):
        return np.stack([graph.senders, graph.receivers, *graph.edges.T], 1).tolist()

    assert sorted(rows(again)) == sorted(rows(host))


def test_networkx_undirected_round_trip():
    graph = simple_graph(1)
    there = to_networkx(graph, directed=False)
    assert not there.is_directed()
    assert there.number_of_edges() == graph.num_edges // 2
    assert sorted(edges_of(from_networkx(there))) == sorted(edges_of(graph))


def test_scipy():
    matrix = scipy.sparse.coo_array(([2.0, 3.0, 4.0], ([0, 0, 2], [1, 1, 2])), shape=(3, 3))
    graph = from_scipy(matrix, nodes=np.ones((3, 2)))
    assert edges_of(graph) == [(0, 1), (0, 1), (2, 2)]
    assert graph.edges.tolist() == [[2], [3], [4]]
    assert to_scipy(graph, graph.edges[:, 0]).toarray().tolist() == [[0, 5, 0], [0, 0, 0], [0, 0, 4]]
    dense = np.zeros((10, 10))
    host = in_numpy(PADDED)
    for s, r, valid in zip(host.senders, host.receivers, host.edge_mask, strict=True):
        dense[s, r] += valid
    assert np.array_equal(to_scipy(PADDED).toarray(), dense)


def test_jraph_round_trips():
    flat = batch(GRAPHS)
    there = to_jraph(PADDED)
    assert there.n_node.tolist() == [3, 1, 4]
    assert there.n_edge.tolist() == [4, 0, 6]
    assert_equal(from_jraph(there, padded=False), flat)
    padded = to_jraph(PADDED, padded=True)
    assert (len(padded.nodes), len(padded.senders), len(padded.n_node)) == (10, 12, 5)
    again = from_jraph(padded, padded=True)
    with jax.numpy_dtype_promotion("standard"):
        assert np.array_equal(again.graph_mask, jraph.get_graph_padding_mask(padded))
        assert np.array_equal(again.node_mask, jraph.get_node_padding_mask(padded))
        assert np.array_equal(again.edge_mask, jraph.get_edge_padding_mask(padded))
    for part, graph in zip(unbatch(again), GRAPHS, strict=True):
        assert_equal(part, graph)


def test_jraph_orders_the_nodes_by_graph():
    moved, _ = relabelled(PADDED)
    there = from_jraph(to_jraph(moved), padded=False)
    assert (np.diff(there.node_graph) >= 0).all()
    for part, other in zip(unbatch(there), unbatch(moved), strict=True):
        assert_equal(part, other)


def test_ase_molecules_and_crystals():
    water = from_ase(ase.build.molecule("H2O"), 1.2)
    assert water.nodes.tolist() == [8, 1, 1]
    assert sorted(edges_of(water)) == [(0, 1), (0, 2), (1, 0), (2, 0)]
    difference = (
        np.asarray(water.positions)[np.asarray(water.senders)] - np.asarray(water.positions)[np.asarray(water.receivers)]
    )
    assert np.allclose(np.linalg.norm(difference, axis=1), water.edges[:, 0])
    copper = from_ase(ase.build.bulk("Cu"), 2.6)  # one atom in the cell, with twelve neighbours that are its images
    assert edges_of(copper) == [(0, 0)] * 12


TRIANGLE = complete_graph(3)
WRONG = {
    "node attribute": (lambda: from_networkx(nx.path_graph(2), nodes="x"), ValueError, ["`x`", "node 0"]),
    "edge attribute": (lambda: from_networkx(nx.path_graph(2), edges=["w"]), ValueError, ["`w`", "edge (0, 1)"]),
    "ragged": (
        lambda: from_networkx(nx.Graph([(0, 1, {"w": [1, 2]}), (1, 2, {"w": 1})]), edges="w"), ValueError, ["`w`", "between 1 and 2"]),
    "several graphs": (lambda: to_networkx(batch([TRIANGLE] * 2)), ValueError, ["2 graphs", "unbatch"]),
    "one way": (lambda: to_networkx(ej.Graph(jnp.ones((2, 1)), [0], [1]), directed=False), ValueError, ["`directed`", "undirected"]),
    "dense": (lambda: from_scipy(np.eye(2)), TypeError, ["`adjacency`", "csr_array"]),
    "not square": (lambda: from_scipy(scipy.sparse.csr_array((2, 3))), ValueError, ["`adjacency`", "(2, 3)"]),
    "weights": (lambda: to_scipy(TRIANGLE, np.ones(5)), ValueError, ["`weights`", "(5,)", "(6,)"]),
    "positions": (lambda: to_jraph(random_graph()), ValueError, ["`graph.positions`", "Put it among the nodes"]),
    "full": (lambda: to_jraph(batch(GRAPHS), padded=True), ValueError, ["no padding node", "padded=False"]),
    "no tuple": (lambda: from_jraph(3, padded=False), TypeError, ["`graph`", "3", "GraphsTuple"]),
    "no networkx": (lambda: from_networkx(3), TypeError, ["`graph`", "3", "networkx"]),
    "no name": (lambda: from_networkx(nx.path_graph(2), nodes=3), TypeError, ["`nodes`", "3", "attribute"]),  # pyright: ignore
    "no atoms": (lambda: from_ase(3, 1.0), TypeError, ["`atoms`", "3", "ase.Atoms"]),
    "cutoff": (lambda: from_ase(ase.build.molecule("H2O"), -1.0), ValueError, ["`cutoff`", "-1.0"]),
    "words as weights": (lambda: to_scipy(TRIANGLE, "ab"), TypeError, ["`weights`", "'ab'"]),
    "counts": (lambda: from_jraph(to_jraph(TRIANGLE)._replace(n_edge=np.array([5])), padded=False), ValueError, ["`graph.n_edge`", "5"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])


@pytest.mark.parametrize(("name", "call"), [
    ("networkx", lambda: to_networkx(TRIANGLE)), ("jraph", lambda: to_jraph(TRIANGLE)), ("ase", lambda: from_ase(None, 1.0)),
])  # fmt: skip
def test_a_missing_library_is_named(name, call, monkeypatch):
    for module in [*sys.modules]:
        if module.split(".")[0] == name:
            monkeypatch.setitem(sys.modules, module, None)
    check_message(call, ImportError, [f"`{name}`", f"pip install {name}"])
