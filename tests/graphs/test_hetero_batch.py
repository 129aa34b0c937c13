"""Batches of graphs of several types: round trips, budgets, tables, points in space; padding never leaks."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.graphs import EdgeSet, GraphBudget, HeteroBudget, HeteroGraph, batch, batches, complete_graph, unbatch
from equijax.testing import check_action
from tests.graphs.random_graphs import assert_equal, in_numpy
from tests.helpers import check_message

SAW, KNOWS = ("user", "saw", "film"), ("user", "knows", "user")
SPACE = ej.actions.HeteroGraphAction(space=ej.E(3))


def social(seed, users, films, saw, knows):
    """One graph with features, points and shifts everywhere."""
    rng = np.random.default_rng(seed)
    ends = lambda n, m, count: (rng.integers(0, max(n, 1), count), rng.integers(0, max(m, 1), count))  # noqa: E731
    return HeteroGraph(
        {"user": rng.normal(size=(users, 3)), "film": rng.normal(size=(films, 3))},
        {
            SAW: EdgeSet(*ends(users, films, saw), rng.normal(size=(saw, 2)), shifts=rng.normal(size=(saw, 3))),
            KNOWS: ends(users, users, knows),
        },
        globals=rng.normal(size=(1, 2)),
        positions={"user": rng.normal(size=(users, 3)), "film": rng.normal(size=(films, 3))},
    )


SIZES = ((3, 2, 4, 5), (1, 0, 0, 1), (2, 3, 3, 0), (4, 1, 2, 6))
GRAPHS = [social(k, *sizes) for k, sizes in enumerate(SIZES)]
BUDGET = HeteroBudget({"user": 13, "film": 8}, {SAW: 12, KNOWS: 15}, 6)


def spoiled(graph):
    """The graph with NaN in all floating features of its padding."""
    fill = lambda tree, mask: jax.tree.map(  # noqa: E731
        lambda x: jnp.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), x, jnp.nan) if x.dtype == jnp.float64 else x, tree
    )
    edges = {
        kind: one._replace(edges=fill(one.edges, one.edge_mask), shifts=fill(one.shifts, one.edge_mask))
        for kind, one in graph.edges.items()
    }
    of_nodes = lambda trees: {name: fill(tree, graph.node_mask[name]) for name, tree in trees.items()}  # noqa: E731
    return graph.replace(nodes=of_nodes(graph.nodes), positions=of_nodes(graph.positions), edges=edges)


def test_a_batch_as_written_in_a_loop():
    flat, count = in_numpy(batch(GRAPHS, BUDGET)), len(GRAPHS)
    first = dict.fromkeys(("user", "film", SAW, KNOWS), 0)
    for k, graph in enumerate(map(in_numpy, GRAPHS)):
        own = {key: slice(first[key], first[key] + n) for key, n in (graph.num_nodes | graph.num_edges).items()}
        for name in ("user", "film"):
            assert np.array_equal(flat.nodes[name][own[name]], graph.nodes[name])
            assert np.array_equal(flat.positions[name][own[name]], graph.positions[name])
            assert (flat.node_graph[name][own[name]] == k).all()
        for kind in (SAW, KNOWS):
            assert np.array_equal(flat.edges[kind].senders[own[kind]], graph.edges[kind].senders + first[kind[0]])
            assert np.array_equal(flat.edges[kind].receivers[own[kind]], graph.edges[kind].receivers + first[kind[2]])
        assert np.array_equal(flat.edges[SAW].edges[own[SAW]], graph.edges[SAW].edges)
        assert np.array_equal(flat.edges[SAW].shifts[own[SAW]], graph.edges[SAW].shifts)
        assert np.array_equal(flat.globals[k : k + 1], graph.globals)
        first = {key: own[key].stop for key in first}
    assert {name: int(mask.sum()) for name, mask in flat.node_mask.items()} == {"user": 10, "film": 6}
    assert (flat.node_graph["user"][10:] == count).all()
    assert not flat.nodes["film"][6:].any()
    assert (flat.edges[SAW].senders[9:] == 10).all()
    assert (flat.edges[SAW].receivers[9:] == 6).all()
    assert not flat.edges[KNOWS].edge_mask[12:].any()
    assert flat.graph_mask.tolist() == [True] * 4 + [False] * 2


@pytest.mark.parametrize("budget", [None, BUDGET], ids=["exact", "budget"])
def test_unbatch_inverts_batch_in_any_order(budget):
    flat = batch(GRAPHS, budget)
    for part, graph in zip(unbatch(spoiled(flat)), GRAPHS, strict=True):
        assert_equal(part, graph)
    action = ej.actions.HeteroGraphAction().for_input(flat)
    moved = action(action.group.draw(jax.random.key(0)), flat)
    for part, graph in zip(unbatch(moved), GRAPHS, strict=True):
        for name in ("user", "film"):
            rows = lambda graph: sorted(map(tuple, np.asarray(graph.nodes[name]).tolist()))  # noqa: B023, E731
            assert rows(part) == rows(graph)
        seen = lambda graph: sorted(  # noqa: E731
            np.column_stack([graph.edges[SAW].edges, graph.nodes["user"][graph.edges[SAW].senders]]).tolist()
        )
        assert seen(part) == seen(graph)


def test_each_graph_has_its_results_in_one_trace(monkeypatch):
    """With tables, and whatever padding holds."""
    monkeypatch.setattr("equijax.graphs._sums.TABLE_BYTES", 0)
    options = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    layer = ej.nn.HeteroConv(
        {SAW: ej.nn.EGNN(3, 3, edge_features=2, **options), KNOWS: ej.nn.GCNConv(3, 3, **options)}, aggregation="mean"
    )
    budget = HeteroBudget.of(GRAPHS, 2, spread=0, tables=True)
    static, state = nnx.split(layer)
    traces, seen = [], 0

    @jax.jit
    def run(graph):
        traces.append(1)
        return nnx.merge(static, state)(graph)

    alone = [unbatch(run(batch([graph], budget)))[0].nodes for graph in GRAPHS]
    for name, nodes in layer(GRAPHS[0]).nodes.items():
        np.testing.assert_allclose(nodes, alone[0][name], rtol=0, atol=1e-12)
    for flat in batches(GRAPHS, budget):
        assert {kind: one.table.shapes for kind, one in flat.edges.items()} == dict(budget.table)
        for part in unbatch(run(spoiled(flat))):
            for name in ("user", "film"):
                np.testing.assert_allclose(part.nodes[name], alone[seen][name], rtol=0, atol=1e-12)
            seen += 1
    assert (len(traces), seen) == (1, 4)
    assert budget.report(GRAPHS).batches >= 2
    assert 0 < budget.report(GRAPHS).slots < 1
    assert list(batches([], budget)) == []


def test_a_budget_is_a_value():
    budget = HeteroBudget.of(GRAPHS, 2, tables=True)
    again = pickle.loads(pickle.dumps(budget))
    assert budget == again == dataclasses.replace(budget) == HeteroBudget.of(GRAPHS, 2, tables=True)
    assert hash(budget) == hash(again)
    assert budget != HeteroBudget.of(GRAPHS, 2)
    flipped = HeteroBudget({"film": 8, "user": 13}, {KNOWS: 15, SAW: 12}, 6)
    assert flipped == BUDGET and hash(flipped) == hash(BUDGET)
    assert (
        repr(BUDGET)
        == "HeteroBudget(nodes={'film': 8, 'user': 13}, edges={'user-knows-user': 15, 'user-saw-film': 12}, graphs=6)"
    )
    widest = HeteroBudget.of(GRAPHS, 2, spread=np.inf)
    assert [batch([a, b], widest).num_graphs for a in GRAPHS for b in GRAPHS if a is not b] == [3] * 12


def test_points_and_shifts_enter_relations_and_flat_graphs():
    graph = GRAPHS[0].replace(edges={kind: one._replace(edges=None) for kind, one in GRAPHS[0].edges.items()})
    saw, flat = graph.relation(SAW), graph.to_flat()
    assert np.array_equal(saw.positions, np.concatenate([graph.positions["user"], graph.positions["film"]]))
    assert np.array_equal(saw.shifts, graph.edges[SAW].shifts)
    assert graph.relation(KNOWS).shifts is None
    assert np.array_equal(flat.shifts[:5], np.zeros((5, 3)))
    assert np.array_equal(ej.graphs.edge_vectors(flat)[5:], ej.graphs.edge_vectors(saw))
    partial = graph.replace(positions={"user": graph.positions["user"]})
    assert partial.relation(SAW).positions is None and partial.relation(KNOWS).positions is not None
    assert graph.replace(positions=None).to_flat().positions is None


PADDED = batch(GRAPHS[:1], HeteroBudget({"user": 4, "film": 3}, {SAW: 5, KNOWS: 6}, 2)).with_table()


@pytest.mark.slow
def test_the_law_of_the_action():
    check_action(SPACE, PADDED, samples=1)


def test_the_action_moves_points_shifts_and_tables():
    graph = PADDED
    g = SPACE.for_input(graph).group.draw(jax.random.key(1))
    moved, relabelled = SPACE(g, graph), ej.actions.HeteroGraphAction()(g[:-1], graph)
    moved.replace(edges=moved.edges)  # checks that the tables belong to the edges
    assert_equal(relabelled.edges[SAW].table, moved.edges[SAW].table)
    p, (t, R) = np.asarray(g[1]), g[-1]
    valid = np.asarray(graph.node_mask["user"])[:, None]
    assert np.allclose(moved.positions["user"][p], graph.positions["user"] @ R.T + np.where(valid, t, 0), atol=1e-6)
    assert np.allclose(moved.edges[SAW].shifts[np.asarray(g[3])], graph.edges[SAW].shifts @ R.T, atol=1e-6)


ONE = GRAPHS[0]
PLAIN = {"user": jnp.ones((2, 4)), "film": jnp.ones((3, 4))}
WRONG = {
    "two words": (lambda: HeteroGraph(PLAIN, {("user", "film"): ([0], [0])}), TypeError, ["`edges`", "('user', 'film')", "three words"]),
    "one word": (lambda: HeteroGraph(PLAIN, {"saw": ([0], [0])}), TypeError, ["`edges`", "'saw'", "three words"]),
    "numbered": (lambda: HeteroGraph({0: jnp.ones((2, 4))}, {}), TypeError, ["`nodes`", "0", "word"]),
    "relation": (lambda: ONE.relation(("user", "film")), TypeError, ["`edge_type`", "three words"]),
    "layer": (lambda: ej.nn.HeteroConv({("user", "film"): ej.nn.PairNorm()}), TypeError, ["`layers`", "three words"]),
    "points": (lambda: HeteroGraph(PLAIN, {}, positions={"user": jnp.ones((3, 3))}), ValueError, ["'user'", "`positions`", "(3, 3)"]),
    "two spaces": (
        lambda: HeteroGraph(PLAIN, {}, positions={"user": jnp.ones((2, 3)), "film": jnp.ones((3, 2))}),
        ValueError, ["`positions`", "'film'", "'user'", "one space"]),
    "points of nobody": (lambda: HeteroGraph(PLAIN, {}, positions={"play": jnp.ones((2, 3))}), ValueError, ["`positions`", "'play'"]),
    "shifts": (
        lambda: HeteroGraph(PLAIN, {SAW: EdgeSet([0], [0], shifts=[[0, 0, 1]])}), TypeError, ["'saw'", "`shifts`", "numbers @ cell"]),
    "another's table": (
        lambda: ONE.replace(edges=ONE.edges | {SAW: ONE.edges[SAW]._replace(table=ONE.with_table().edges[KNOWS].table)}),
        ValueError, ["'saw'", "`table`"]),
    "nodes": (lambda: ONE.replace(nodes={"user": jnp.ones((9, 3)), "film": ONE.nodes["film"]}), ValueError, ["'user'", "(9, 3)"]),
    "traced": (lambda: jax.jit(lambda graph: batch([graph]))(ONE), ValueError, ["`graph` is traced", "batch"]),
    "other types": (lambda: batch([ONE, ONE.replace(edges={})]), ValueError, ["`graphs[1]`", "'user', 'knows', 'user'", "no edges"]),
    "mixed": (lambda: batch([ONE, complete_graph(2)]), TypeError, ["`graphs[1]` is a Graph", "HeteroGraph"]),
    "mixed, flat first": (lambda: batch([complete_graph(2), ONE]), TypeError, ["`graphs[1]` is a HeteroGraph"]),
    "other features": (
        lambda: batch([ONE, ONE.replace(nodes={"user": jnp.ones((3, 5)), "film": ONE.nodes["film"]})]),
        ValueError, ["`graphs[1].nodes['user']`", "[3, 5]", "[3, 3]"]),
    "flat budget": (lambda: batch([ONE], GraphBudget(9, 9, 9)), TypeError, ["`budget` is a GraphBudget", "HeteroBudget.of"]),
    "hetero budget": (lambda: batch([complete_graph(2)], BUDGET), TypeError, ["`budget` is a HeteroBudget", "GraphBudget.of"]),
    "flat budget of batches": (lambda: batches([ONE], GraphBudget(9, 9, 9)), TypeError, ["`graphs[0]` is a HeteroGraph"]),
    "room": (
        lambda: batch(GRAPHS, HeteroBudget({"user": 9, "film": 8}, {SAW: 12, KNOWS: 15}, 6)),
        ValueError, ["`budget.nodes['user']` is 9", "10", "HeteroBudget.of"]),
    "padding of one end": (
        lambda: batch(GRAPHS, HeteroBudget({"user": 11, "film": 6}, {SAW: 10, KNOWS: 12}, 6)),
        ValueError, ["`budget.nodes['film']` is 6", "one is needed for padding"]),
    "budget types": (lambda: batch([ONE], HeteroBudget({"user": 9}, {}, 2)), ValueError, ["`graphs[0]`", "the budget", "'film'"]),
    "budget end": (lambda: HeteroBudget({"user": 9}, {SAW: 3}, 2), ValueError, ["`edges`", "'film'", "'user'"]),
    "budget number": (lambda: HeteroBudget(9, {}, 2), TypeError, ["`nodes`", "int", "each type"]),
    "budget size": (lambda: HeteroBudget({"user": 0}, {}, 2), ValueError, ["`nodes['user']`", "0"]),
    "budget table": (lambda: HeteroBudget({"user": 9}, {KNOWS: 3}, 2, table={}), TypeError, ["`table`", "TableShapes"]),
    "valid in padding": (lambda: unbatch(ONE.replace(graph_mask=[True]).replace(node_mask=ONE.node_mask, graph_mask=[False])), ValueError, ["padding"]),
    "space": (lambda: ej.actions.HeteroGraphAction(space=3), TypeError, ["`space`", "E(3)"]),
    "no motion": (lambda: SPACE(([0],), ONE), ValueError, ["`g` has 1 entries", "5", "motion"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])
