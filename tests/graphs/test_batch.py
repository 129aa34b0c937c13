"""Batches and budgets: exact round trips, one trace, padding where it belongs, nothing lost."""

import dataclasses
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import equijax as ej
from equijax.graphs import GraphBudget, batch, batches, complete_graph, unbatch
from tests.graphs.random_graphs import assert_equal, in_numpy, random_graph, relabelled, with_nan
from tests.helpers import check_message

SIZES = ((3, 4), (0, 0), (5, 9), (1, 0), (2, 3))
GRAPHS = [random_graph(k, n, e) for k, (n, e) in enumerate(SIZES)]
BUDGET = GraphBudget(nodes=14, edges=20, graphs=7)


def test_a_batch_as_written_in_a_loop():
    flat = in_numpy(batch(GRAPHS, BUDGET))
    first, first_edge = 0, 0
    for k, graph in enumerate(map(in_numpy, GRAPHS)):
        nodes, edges = slice(first, first + graph.num_nodes), slice(first_edge, first_edge + graph.num_edges)
        assert np.array_equal(flat.nodes[nodes], graph.nodes)
        assert np.array_equal(flat.positions[nodes], graph.positions)
        assert np.array_equal(flat.edges["b"][edges], graph.edges["b"])
        assert np.array_equal(flat.senders[edges], graph.senders + first)
        assert np.array_equal(flat.receivers[edges], graph.receivers + first)
        assert (flat.node_graph[nodes] == k).all()
        assert np.array_equal(flat.globals[k : k + 1], graph.globals)
        first, first_edge = nodes.stop, edges.stop
    assert flat.node_mask.tolist() == [True] * 11 + [False] * 3
    assert flat.edge_mask.tolist() == [True] * 16 + [False] * 4
    assert flat.graph_mask.tolist() == [True] * 5 + [False] * 2
    assert (flat.node_graph[11:] == 5).all()
    assert (flat.senders[16:] == 11).all()
    assert (flat.receivers[16:] == 11).all()
    assert not np.any(flat.nodes[11:])


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), min_size=1, max_size=5),
    st.integers(0, 2**31),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_unbatch_inverts_batch(sizes, seed, spare):
    graphs = [random_graph(seed + k, n, e) for k, (n, e) in enumerate(sizes)]
    nodes, edges, count = (sum(getattr(g, f"num_{name}") for g in graphs) for name in ("nodes", "edges", "graphs"))
    for flat in (batch(graphs), batch(graphs, GraphBudget(nodes + 1 + spare[0], edges + spare[1], count + 1))):
        parts = unbatch(with_nan(flat))
        assert len(parts) == len(graphs)
        for part, graph in zip(parts, graphs, strict=True):
            assert_equal(part, graph)


def test_unbatch_of_nodes_in_any_order():
    moved, (p, _) = relabelled(with_nan(batch(GRAPHS, BUDGET)))
    nodes, first = np.argsort(p), 0
    for part, graph in zip(map(in_numpy, unbatch(moved)), map(in_numpy, GRAPHS), strict=True):
        own = [i for i in nodes if first <= i < first + graph.num_nodes]
        assert np.array_equal(part.nodes, graph.nodes[np.array(own, int) - first])
        expected = sorted(zip(*(graph.edges["b"].tolist(), graph.nodes[graph.senders].tolist()), strict=True))
        assert sorted(zip(part.edges["b"].tolist(), part.nodes[part.senders].tolist(), strict=True)) == expected
        first += graph.num_nodes


def test_batches_of_batches_and_their_padding():
    inner = batch(GRAPHS[:2], GraphBudget(6, 8, 4))
    flat = batch([inner, inner])
    assert (flat.num_nodes, flat.num_edges, flat.num_graphs) == (12, 16, 8)
    assert flat.node_graph.tolist() == [0] * 3 + [2] * 3 + [4] * 3 + [6] * 3
    for part, graph in zip(unbatch(flat), GRAPHS[:2] * 2, strict=True):
        assert_equal(part, graph)


def test_a_full_budget_needs_no_padding():
    assert batch(GRAPHS, GraphBudget(11, 16, 5)).graph_mask.all()
    check_message(
        lambda: batch(GRAPHS, GraphBudget(11, 17, 5)), ValueError, ["`budget.nodes`", "11", "one is needed for padding"]
    )
    check_message(
        lambda: batch(GRAPHS, GraphBudget(12, 16, 5)), ValueError, ["`budget.graphs`", "5", "one is needed for padding"]
    )


def test_a_budget_is_a_value():
    budget = GraphBudget.of(GRAPHS, 2, tables=True)
    assert budget == GraphBudget.of(GRAPHS, 2, tables=True)
    assert hash(budget) == hash(pickle.loads(pickle.dumps(budget)))
    assert budget != GraphBudget.of(GRAPHS, 2)
    assert repr(dataclasses.replace(budget, table=None)) == "GraphBudget(nodes=9, edges=13, graphs=3)"


def test_how_large_a_budget_is():
    sizes = np.array(SIZES)
    for count, spread in ((2, 0.0), (3, 1.0), (1, 2.0), (9, 2.0), (4, math.inf)):
        budget = GraphBudget.of(GRAPHS, count, spread=spread)
        for k, got in enumerate((budget.nodes - 1, budget.edges)):
            largest = np.sort(sizes[:, k])[-count:].sum()
            wanted = largest if spread == math.inf else count * sizes[:, k].mean() + spread * count**0.5 * sizes[:, k].std()
            assert got == max(sizes[:, k].max(), min(largest, math.ceil(wanted - 1e-9)))
        assert budget.graphs == min(count, 5) + 1
    worst = GraphBudget.of(GRAPHS, 2, spread=math.inf)
    for a in GRAPHS:
        for b in GRAPHS:
            if a is not b:
                batch([a, b], worst)


def test_every_graph_appears_once_in_one_trace():
    graphs = [random_graph(k, 1 + k % 7, 3 * (k % 5), globals=np.full((1, 1), float(k))) for k in range(40)]
    budget = GraphBudget.of(graphs, 6, tables=True)
    traces = []

    @jax.jit
    def total(graph):
        traces.append(1)
        return (
            jnp.sum(jnp.where(graph.graph_mask[:, None], graph.globals, 0.0))
            + ej.graphs.neighbour_sum(graph.nodes, graph)[0, 0]
        )

    for key in (None, jax.random.key(0), jax.random.key(1)):
        seen = []
        for flat in batches(graphs, budget, key=key):
            total(flat)
            assert flat.table.shapes == budget.table
            seen += np.asarray(flat.globals)[np.asarray(flat.graph_mask), 0].astype(int).tolist()
        assert sorted(seen) == list(range(40))
        assert (seen == list(range(40))) == (key is None)
    assert len(traces) == 1
    report = budget.report(graphs)
    whole = list(batches(graphs, budget))
    assert report.batches == len(whole)
    assert np.isclose(report.nodes, np.mean([np.mean(flat.node_mask) for flat in whole]))
    assert np.isclose(report.edges, np.mean([np.mean(flat.edge_mask) for flat in whole]))
    assert 0 < report.slots < 1
    assert "slots" in str(report)
    assert list(batches([], budget)) == []


def test_the_last_batch_is_left_out_where_it_is_not_full():
    budget = GraphBudget.of([PAIR] * 4, batch_size=2)
    for count, kept in ((0, 0), (3, 1), (4, 2)):
        assert len(list(batches([PAIR] * count, budget, drop_last=True))) == kept


PAIR = complete_graph(2)
WRONG = {
    "nodes": (lambda: batch(GRAPHS, GraphBudget(8, 20, 7)), ValueError, ["`budget.nodes` is 8", "has 11", "larger budget"]),
    "edges": (lambda: batch(GRAPHS, GraphBudget(14, 9, 7)), ValueError, ["`budget.edges` is 9", "has 16", "batches()"]),
    "graphs": (lambda: batch(GRAPHS, GraphBudget(14, 20, 4)), ValueError, ["`budget.graphs` is 4", "has 5"]),
    "one graph": (lambda: batches(GRAPHS, GraphBudget(5, 20, 4)), ValueError, ["`budget.nodes` is 5", "graph 2 has 5", "padding"]),
    "shuffled": (
        lambda: batches(GRAPHS, GraphBudget(5, 20, 4), key=jax.random.key(0)), ValueError, ["`budget.nodes` is 5", "graph 2 has 5"]),
    "rows": (
        lambda: batch([complete_graph(5)], dataclasses.replace(GraphBudget.of([PAIR], 9, tables=True), nodes=9, edges=20)),
        ValueError, ["`budget.table`", "rows", "GraphBudget.of"]),
    "no graph": (lambda: batch([]), ValueError, ["`graphs` is empty"]),
    "no data": (lambda: GraphBudget.of([], 2), ValueError, ["`graphs` is empty"]),
    "an array": (lambda: batch([PAIR, jnp.ones(3)]), TypeError, ["`graphs[1]`", "Graph("]),
    "other fields": (lambda: batch([PAIR, GRAPHS[0]]), ValueError, ["`graphs[1].nodes`", "None", "same fields"]),
    "other features": (lambda: batch([GRAPHS[0], random_graph(features=3)]), ValueError, ["`graphs[1].nodes`", "[5, 3]", "[3, 2]"]),
    "other dtype": (
        lambda: batch([PAIR.replace(nodes=jnp.ones((2, 1))), PAIR.replace(nodes=jnp.ones((2, 1), jnp.float32))]),
        ValueError, ["`graphs[1].nodes`", "float32", "float64"]),
    "traced": (lambda: jax.jit(lambda graph: batch([graph]))(PAIR), ValueError, ["`graph` is traced", "batch", "outside of jit"]),
    "traced, back": (lambda: jax.jit(unbatch)(PAIR), ValueError, ["`graph` is traced", "unbatch"]),
    "valid in padding": (lambda: unbatch(PAIR.replace(graph_mask=[False])), ValueError, ["node 0 is valid", "graph_mask"]),
    "batch size": (lambda: GraphBudget.of(GRAPHS, 0), ValueError, ["`batch_size`"]),
    "spread": (lambda: GraphBudget.of(GRAPHS, 2, spread=-1), ValueError, ["`spread` is -1"]),
    "spread of words": (lambda: GraphBudget.of(GRAPHS, 2, spread="ab"), TypeError, ["`spread`", "'ab'"]),  # pyright: ignore
    "spread of nothing": (lambda: GraphBudget.of(GRAPHS, 2, spread=float("nan")), ValueError, ["`spread` is nan"]),
    "tables": (lambda: GraphBudget.of(GRAPHS, 2, tables=1), TypeError, ["`tables`", "True or False"]),  # pyright: ignore
    "one graph alone": (lambda: batch(PAIR), TypeError, ["`graphs`", "list of graphs"]),  # pyright: ignore
    "a list of lists": (lambda: batch([[PAIR]], GraphBudget(9, 9, 9)), TypeError, ["`graphs[0]` is a list"]),  # pyright: ignore
    "no key": (lambda: batches(GRAPHS, GraphBudget(14, 20, 7), key=3), TypeError, ["`key`", "3"]),  # pyright: ignore
    "no permutation": (
        lambda: GraphBudget(9, 9, 3).pack(np.ones((2, 3), int), np.array([0, 0])), ValueError, ["`order`", "permutation"]),
    "sizes": (lambda: GraphBudget(9, 9, 3).pack(np.ones((2, 2), int)), ValueError, ["`sizes`", "(2, 2)", "(n, 3)"]),
    "no nodes": (lambda: GraphBudget(0, 1, 1), ValueError, ["`nodes`"]),
    "table": (lambda: GraphBudget(1, 1, 1, table=3), TypeError, ["`table`", "TableShapes"]),
    "a tuple": (lambda: batch(GRAPHS, budget=(9, 9, 9)), TypeError, ["`budget` is a tuple", "GraphBudget.of"]),
    "a tuple for batches": (lambda: batches(GRAPHS, (9, 9, 9)), TypeError, ["`budget` is a tuple", "GraphBudget.of"]),
    "huge": (lambda: GraphBudget(2**40, 1, 1), ValueError, ["`nodes`", str(2**40), "32 bits"]),
    "huge, several types": (
        lambda: ej.graphs.HeteroBudget({"a": 2**40}, {}, 1), ValueError, ["`nodes['a']`", str(2**40), "32 bits"]),
    "broken number": (lambda: GraphBudget(9.0, 1, 1), TypeError, ["`nodes` is 9.0"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])
