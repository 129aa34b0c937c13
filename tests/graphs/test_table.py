"""Neighbour tables: every valid edge has its slot in the row of its owner, in shapes that may be fixed beforehand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.graphs import NeighbourTable, RowShapes, TableShapes, table_shapes
from tests.helpers import check_message


def random_edges(nodes, edges, seed=0, power=0.0):
    rng = np.random.default_rng(seed)
    p = 1 / np.arange(1, nodes + 1) ** power
    return tuple(rng.permutation(nodes)[rng.choice(nodes, edges, p=p / p.sum())].astype(np.int32) for _ in range(2))


def edges_by_owner(rows):
    """The set of (owner, neighbour, edge) of all slots that are not empty."""
    nodes, edges = rows.shapes.nodes, len(rows.places)
    row_owner = np.concatenate([np.arange(nodes), rows.owners])
    owner = np.broadcast_to(row_owner, rows.edges.shape).ravel()
    neighbour, edge = np.ravel(rows.neighbours), np.ravel(rows.edges)
    full = edge < edges
    assert np.all(neighbour[~full] == nodes)
    np.testing.assert_array_equal(np.asarray(rows.places)[edge[full]], np.flatnonzero(full))
    assert len(np.unique(edge[full])) == full.sum()
    return set(zip(owner[full].tolist(), neighbour[full].tolist(), edge[full].tolist(), strict=True))


def check(table, senders, receivers, mask):
    valid = np.flatnonzero(mask)
    assert edges_by_owner(table.incoming) == {(receivers[e], senders[e], e) for e in valid}
    assert edges_by_owner(table.outgoing) == {(senders[e], receivers[e], e) for e in valid}
    for rows in (table.incoming, table.outgoing):
        assert np.all(np.asarray(rows.places)[~mask] == rows.shapes.num_slots)


@pytest.mark.parametrize("nodes, edges, power", [(40, 200, 0.0), (300, 5000, 1.2), (5, 0, 0.0), (0, 0, 0.0), (1, 300, 0.0)])
def test_every_valid_edge_has_its_slot(nodes, edges, power):
    senders, receivers = random_edges(nodes, edges, power=power) if edges else np.zeros((2, 0), int)
    mask = np.random.default_rng(1).random(edges) < 0.8
    check(NeighbourTable.build(senders, receivers, nodes, mask), senders, receivers, mask)
    everything = np.ones(edges, bool)
    check(NeighbourTable.build(senders, receivers, nodes), senders, receivers, everything)


@pytest.mark.parametrize("power", [0.0, 0.75, 1.2])
def test_tables_hold_few_empty_slots(power):
    senders, receivers = random_edges(3000, 48_000, power=power)
    shapes = NeighbourTable.build(senders, receivers, 3000).shapes
    for rows in (shapes.incoming, shapes.outgoing):
        assert rows.num_slots <= 1.6 * 48_000 and rows.splits <= 48_000 / 8


def test_tables_are_padded_to_shapes():
    senders, receivers = random_edges(100, 700, power=0.8)
    for width in (1, 3, 128):
        shapes = RowShapes(width, 100, 900)
        table = NeighbourTable.build(senders, receivers, 100, shapes=TableShapes(shapes, shapes))
        assert table.shapes == TableShapes(shapes, shapes)
        check(table, senders, receivers, np.ones(700, bool))


def test_what_does_not_fit_is_named():
    wide, narrow = RowShapes(128, 9, 0), RowShapes(2, 9, 1)
    edges = [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 2]
    with pytest.raises(
        ValueError, match=r"`shapes.incoming` is RowShapes\(width=2, .*; this graph has 9 nodes and needs 2 splits"
    ):
        NeighbourTable.build(*edges, 9, shapes=TableShapes(narrow, wide))
    with pytest.raises(ValueError, match=r"`shapes.outgoing` is"):
        NeighbourTable.build(*edges[::-1], 9, shapes=TableShapes(wide, narrow))
    with pytest.raises(ValueError, match="this graph has 8 nodes"):
        NeighbourTable.build(*edges, 8, shapes=TableShapes(wide, wide))


build = NeighbourTable.build
WRONG = {
    "floats": (lambda: build([0.5], [1], 3), TypeError, ["`senders`", "float64", "integers"]),
    "out of range": (lambda: build([0], [3], 3), ValueError, ["`receivers` holds 3", "3 nodes"]),
    "far out of range": (lambda: build(np.array([2**32]), [1], 3), ValueError, ["`senders` holds 4294967296"]),
    "lengths": (lambda: build([0, 1], [1], 3), ValueError, ["(2,)", "(1,)", "(E,)"]),
    "mask": (lambda: build([0, 1], [1, 2], 3, [1, 0]), ValueError, ["`edge_mask`", "int64", "bool"]),
    "nodes": (lambda: build([0], [1], 2**40), ValueError, ["`num_nodes`", "32 bits"]),
    "shapes": (lambda: build([0], [1], 3, shapes=(9, 9)), TypeError, ["`shapes` is a tuple", "TableShapes"]),
    "rows": (lambda: RowShapes(8, 2**30, 0), ValueError, ["`width * (nodes + splits)`", "32 bits"]),
    "broken rows": (lambda: RowShapes(8, 3.0, 0), TypeError, ["`nodes` is 3.0"]),
    "no rows": (lambda: TableShapes(3, 3), TypeError, ["`incoming`", "3", "RowShapes"]),  # pyright: ignore
    "no triples": (lambda: table_shapes([3], 9, 9), TypeError, ["`graphs[0]`", "3", "triple"]),  # pyright: ignore
    "no permutation": (lambda: build([0], [1], 2).relabelled([0, 0], [0]), ValueError, ["`p`", "permutation"]),  # pyright: ignore
    "shapes of floats": (lambda: table_shapes([([0.5], [1], 2)], 9, 9), TypeError, ["`senders`", "float64"]),
    "shapes of others": (lambda: table_shapes([([0], [2], 2)], 9, 9), ValueError, ["`receivers` holds 2", "2 nodes"]),
    "huge shapes": (lambda: table_shapes([([0], [1], 2)], 2**40, 9), ValueError, ["`num_nodes`", "32 bits"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])


def test_traced_edges_make_no_table():
    with pytest.raises(TypeError, match="`senders` are traced; a table is built on the host"):
        jax.jit(lambda s: NeighbourTable.build(s, s, 3))(jnp.arange(3))


def test_relabelled_tables():
    senders, receivers = random_edges(50, 400, power=1.0)
    mask = np.random.default_rng(1).random(400) < 0.8
    p, q = np.random.default_rng(2).permutation(50), np.random.default_rng(3).permutation(400)
    table = jax.jit(NeighbourTable.relabelled)(NeighbourTable.build(senders, receivers, 50, mask), p, q)
    moved = [np.zeros_like(x) for x in (senders, receivers, mask)]
    moved[0][q], moved[1][q], moved[2][q] = p[senders], p[receivers], mask
    check(table, *moved)
    assert table.incoming.neighbours.dtype == np.int32


def molecules(count, seed=0):
    """Small graphs of several sizes."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 12, count)
    return [(*rng.integers(0, n, (2, 2 * n if n > 1 else 0)).astype(np.int32), int(n)) for n in sizes]


def joined(graphs, budget):
    """One flat graph, padded to (nodes, edges)."""
    first = np.cumsum([0, *(n for *_, n in graphs)])
    senders, receivers = (np.concatenate([g[k] + o for g, o in zip(graphs, first[:-1], strict=True)]) for k in (0, 1))
    mask = np.arange(budget[1]) < len(senders)
    return *(np.pad(x, (0, budget[1] - len(x)), constant_values=budget[0] - 1) for x in (senders, receivers)), mask


def test_shapes_of_a_budget_suffice_and_share_one_trace():
    graphs = molecules(400)
    budget = (80, 150, 12)
    shapes = table_shapes(graphs, *budget)
    assert hash(shapes) == hash(table_shapes(graphs, *budget)) and shapes == table_shapes(graphs, *budget)
    traces = []

    @jax.jit
    def first_slots(table):
        traces.append(1)
        return table.incoming.neighbours[:1]

    rng = np.random.default_rng(0)
    for k in range(30):
        chosen = []
        # By chance at first; then the graphs with the highest degrees, which need the widest rows.
        order = (
            rng.permutation(400) if k < 20 else np.argsort([-np.bincount(g[1], minlength=1).max() for g in graphs])[k - 20 :]
        )
        for i in order:
            sizes = np.sum([(graphs[j][2], len(graphs[j][0]), 1) for j in [*chosen, i]], axis=0)
            if np.all(sizes <= budget):
                chosen.append(i)
        senders, receivers, mask = joined([graphs[i] for i in chosen], budget)
        table = NeighbourTable.build(senders, receivers, budget[0], mask, shapes)
        if k % 10 == 0:
            check(table, senders, receivers, mask)
        first_slots(table)
    assert len(traces) == 1


def test_the_slots_of_a_budget_are_few():
    shapes = table_shapes(molecules(400), 2000, 4000, 400)
    assert shapes.incoming.num_slots < 3 * 4000 and shapes.outgoing.num_slots < 3 * 4000


def test_shapes_without_edges():
    for graphs in ([], [([], [], 3)], [([], [], 0)]):
        assert table_shapes(graphs, 10, 10).incoming == RowShapes(1, 10, 0)


def test_the_table_of_a_graph():
    graph = ej.Graph(jnp.ones((3, 1)), [0, 1, 2], [1, 2, 1]).with_table()
    assert repr(graph.table) == "NeighbourTable(3 nodes, 3 edges; slots in 6, out 3)"
    leaves, structure = jax.tree.flatten(graph.table)
    assert jax.tree.unflatten(structure, leaves).shapes == graph.table.shapes
    assert repr(jax.tree.unflatten(structure, range(len(leaves)))) == "NeighbourTable(…)"
