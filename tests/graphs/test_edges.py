"""Edges made from points, from sizes, and from other edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.graphs import GraphBudget, add_self_loops, batch, complete_graph, radius_graph, reverse, undirected
from tests.graphs.random_graphs import random_graph
from tests.helpers import check_message, randn

GRAPH = batch([random_graph(0, 4, 7)], GraphBudget(6, 9, 2))


def pairs(graph):
    """The valid edges, sorted."""
    ends = np.stack([graph.senders, graph.receivers], 1)[np.asarray(graph.edge_mask)]
    return sorted(map(tuple, ends.tolist()))


def test_self_loops():
    looped = jax.jit(add_self_loops, static_argnums=1)(GRAPH, 3)
    assert pairs(looped) == sorted(pairs(GRAPH) + [(i, i) for i in range(4)])
    assert looped.num_edges == 15
    assert np.array_equal(np.asarray(looped.edges["a"])[:9], GRAPH.edges["a"])
    assert (np.asarray(looped.edges["b"])[9:] == 3).all()


def test_reverse_keeps_a_table_valid():
    graph = GRAPH.with_table()
    back = reverse(graph)
    assert pairs(back) == sorted((r, s) for s, r in pairs(graph))
    fresh = back.replace(table=None).with_table()
    for one, other in zip(jax.tree.leaves(back.table), jax.tree.leaves(fresh.table), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("seed", range(3))
def test_undirected(seed):
    graph = batch([random_graph(seed, 4, 12, shifts=None)], GraphBudget(6, 15, 2))
    both = undirected(graph)
    counts = {pair: pairs(both).count(pair) for pair in pairs(both)}
    before = {pair: pairs(graph).count(pair) for pair in counts}
    for s, r in counts:
        expected = before[s, r] if s == r else max(before[s, r], before.get((r, s), 0))
        assert counts[s, r] == expected
    assert np.array_equal(np.asarray(both.senders)[:15], graph.senders)

    def rows(graph):
        return np.stack([graph.senders, graph.receivers, graph.edges["b"]], 1).tolist()

    for s, r, b in rows(both)[15:]:
        assert [r, s, b] in rows(graph)
    assert undirected(both).num_edges == both.num_edges


@pytest.mark.parametrize("dimension", [1, 3])
def test_points_within_a_radius(dimension):
    points, owner = np.array(randn((20, dimension))), np.arange(20) % 3
    points[1] = points[4]  # coincident, in one graph
    graph = radius_graph(points, 0.8, node_graph=owner, nodes=np.ones((20, 1)))
    expected = [
        (s, r) for r in range(20) for s in range(20)
        if s != r and owner[s] == owner[r] and np.linalg.norm(points[s] - points[r]) <= 0.8
    ]  # fmt: skip
    assert list(zip(graph.senders.tolist(), graph.receivers.tolist(), strict=True)) == expected
    assert (1, 4) in expected
    assert graph.num_graphs == 3
    assert np.array_equal(graph.positions, points)


def test_no_points_and_no_pairs():
    assert radius_graph(np.zeros((0, 3)), 1.0).num_edges == 0
    assert radius_graph(np.zeros((1, 3)), 1.0).num_nodes == 1


def test_all_pairs():
    assert pairs(complete_graph(3)) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert (complete_graph(1).num_edges, complete_graph(0).num_nodes) == (0, 0)


def test_known_points_are_joined_inside_jit():
    joined = jax.jit(lambda nodes: radius_graph([[0.0], [1.0], [9.0]], 1.5, nodes=nodes).in_degrees())(jnp.ones((3, 1)))
    assert joined.tolist() == [1, 1, 0]


def test_points_of_bfloat16_are_real_numbers():
    assert radius_graph(jnp.asarray([[0.0], [1.0]], jnp.bfloat16), 1.5).num_edges == 2


WRONG = {
    "radius": (lambda: radius_graph(randn((3, 2)), 0.0), ValueError, ["`radius` is 0.0", "positive", "complete_graph"]),
    "infinite": (lambda: radius_graph(randn((3, 2)), jnp.inf), ValueError, ["`radius` is inf", "finite", "complete_graph"]),
    "fill": (
        lambda: add_self_loops(complete_graph(2).replace(edges=jnp.ones((2, 1), int)), 0.5),
        TypeError, ["`fill` is 0.5", "int64", "map_edges"]),
    "traced fill": (
        lambda: jax.jit(add_self_loops)(complete_graph(2).replace(edges=jnp.ones((2, 1), bool)), 0.0),
        TypeError, ["`fill`", "bool"]),
    "fill without features": (lambda: add_self_loops(complete_graph(2), "ab"), TypeError, ["`fill`", "'ab'"]),  # pyright: ignore
    "radius of words": (lambda: radius_graph(randn((3, 2)), "ab"), TypeError, ["`radius`", "'ab'"]),  # pyright: ignore
    "bools": (lambda: radius_graph(np.ones((3, 2), bool), 1.0), TypeError, ["`positions`", "real numbers"]),
    "traced points": (lambda: jax.jit(lambda x: radius_graph(x, 1.0).nodes)(jnp.ones((3, 2))), TypeError, ["`positions`", "traced"]),
    "batch axes": (lambda: radius_graph(randn((2, 3, 2)), 1.0), ValueError, ["`positions`", "(2, 3, 2)", "(N, d)"]),
    "NaN": (lambda: radius_graph(jnp.full((2, 2), jnp.nan), 1.0), ValueError, ["`positions`", "not finite"]),
    "owners": (lambda: radius_graph(randn((3, 2)), 1.0, node_graph=[0, 0]), ValueError, ["`node_graph`", "3 nodes"]),
    "too many": (lambda: complete_graph(2**20), ValueError, ["`num_nodes * (num_nodes - 1)`", "32 bits"]),
    "an array": (lambda: reverse(jnp.ones(3)), TypeError, ["`graph`", "reverse"]),
    "negative": (lambda: complete_graph(-1), ValueError, ["`num_nodes`"]),
    "traced": (lambda: jax.jit(undirected)(GRAPH), ValueError, ["traced", "undirected"]),
    "no graph": (lambda: undirected(3), TypeError, ["`graph`", "undirected"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])


def test_loops_fit_the_layers():
    assert ej.graphs.neighbour_sum(jnp.ones((6, 1)), add_self_loops(GRAPH))[:4].min() >= 1
