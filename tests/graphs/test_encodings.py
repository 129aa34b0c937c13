"""Encodings: dense formulas, relabelling, batch mates and padding, what is not determined."""

import jax
import numpy as np
import pytest
import scipy.sparse

import equijax as ej
from equijax.graphs import GraphBudget, _encodings, batch, complete_graph, laplacian_encoding, random_walk_encoding
from tests.graphs.random_graphs import in_numpy, random_graph, relabelled, simple_graph, with_nan
from tests.helpers import check_message


def cycle(n):
    ends = np.arange(n)
    return ej.graphs.undirected(ej.Graph(None, ends, (ends + 1) % n, node_mask=np.ones(n, bool)))


def adjacency(graph):
    dense = np.zeros((graph.num_nodes, graph.num_nodes))
    np.add.at(dense, (np.asarray(graph.senders), np.asarray(graph.receivers)), np.asarray(graph.edge_mask, float))
    return dense


DIRECTED = [random_graph(k, n, e, shifts=None) for k, (n, e) in enumerate(((5, 9), (1, 0), (0, 0), (6, 5)))]
SIMPLE = [simple_graph(k, n) for k, n in enumerate((7, 8, 2, 1))]
LOOSE = simple_graph(3, 9, 0.15)  # has several parts, isolated nodes among them
BATCH = batch([*SIMPLE, LOOSE], GraphBudget(40, 200, 7))


@pytest.mark.parametrize("columns", [1024, 2])
def test_random_walks_are_powers_of_the_dense_matrix(columns, monkeypatch):
    monkeypatch.setattr(_encodings, "_COLUMNS", columns)
    flat = with_nan(batch(DIRECTED, GraphBudget(15, 20, 6)))
    encoding = np.asarray(random_walk_encoding(flat, 4))
    a = adjacency(flat)
    step = a / np.maximum(a.sum(1), 1)[:, None]
    expected = np.stack([np.diag(np.linalg.matrix_power(step, k)) for k in range(1, 5)], 1)
    assert np.allclose(encoding, expected, rtol=0, atol=1e-15)
    assert not encoding[12:].any()


def test_random_walks_of_known_graphs():
    walk = np.asarray(random_walk_encoding(cycle(6), 4))
    assert np.allclose(walk, [[0, 1 / 2, 0, 3 / 8]] * 6)


def test_random_walks_move_with_the_nodes():
    moved, (p, _) = relabelled(BATCH)
    before, after = np.asarray(random_walk_encoding(BATCH, 6)), np.asarray(random_walk_encoding(moved, 6))
    assert np.allclose(after[p], before, rtol=0, atol=1e-14)


def test_eigenvectors_are_eigenvectors():
    encoding = in_numpy(laplacian_encoding(BATCH, 9))
    host = in_numpy(BATCH)
    whole = adjacency(host)
    for g in range(5):
        own = np.flatnonzero(host.node_mask & (host.node_graph == g))
        a = whole[np.ix_(own, own)]
        degrees = a.sum(1)
        root = np.where(degrees > 0, np.maximum(degrees, 1) ** -0.5, 0)
        laplacian = root[:, None] * (np.diag(degrees) - a) * root
        count = min(9, len(own) - 1)
        vectors, values = encoding.vectors[own][:, :count], encoding.values[g, :count]
        assert encoding.mask[g].tolist() == [k < count for k in range(9)]
        assert np.allclose(laplacian @ vectors, vectors * values, rtol=0, atol=1e-13)
        assert np.allclose(vectors.T @ vectors, np.eye(count), rtol=0, atol=1e-13)
        assert np.allclose(values, np.clip(np.linalg.eigvalsh(laplacian)[1 : count + 1], 0, 2), rtol=0, atol=1e-13)
        assert np.allclose(np.sqrt(degrees) @ vectors, 0, rtol=0, atol=1e-13)
        assert not encoding.vectors[own][:, count:].any()
    assert not encoding.vectors[~host.node_mask].any()
    assert (encoding.groups[~encoding.mask] == -1).all()


def test_what_is_determined_moves_with_the_nodes():
    moved, (p, _) = relabelled(BATCH)
    before, after = (in_numpy(laplacian_encoding(graph, 6)) for graph in (BATCH, moved))
    assert np.allclose(before.values, after.values, rtol=0, atol=1e-13)
    for name in ("mask", "groups", "determined"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    sure = before.determined[np.asarray(BATCH.node_graph)]
    assert sure[np.asarray(BATCH.node_mask)].mean() > 0.4
    assert np.allclose(after.vectors[p][sure], before.vectors[sure], rtol=0, atol=1e-12)
    for g in range(5):
        own = np.flatnonzero(np.asarray(BATCH.node_mask & (BATCH.node_graph == g)))
        for group in range(before.groups[g].max() + 1):
            chosen = before.groups[g] == group
            first, second = before.vectors[own][:, chosen], after.vectors[p][own][:, chosen]
            assert np.allclose(first @ first.T, second @ second.T, rtol=0, atol=1e-12)


def test_what_symmetric_graphs_leave_open_is_reported():
    six = laplacian_encoding(cycle(6), 4)
    assert six.groups.tolist() == [[0, 0, 1, 1]]
    assert not six.determined.any()
    cut = laplacian_encoding(cycle(6), 3)
    assert cut.groups.tolist() == [[0, 0, -1]]
    path = laplacian_encoding(ej.graphs.from_scipy(path_matrix(4)), 3)
    assert path.groups.tolist() == [[0, 1, 2]]
    assert path.determined.tolist() == [[False, True, False]]  # the mirror image changes the signs of the other two
    two_parts = laplacian_encoding(in_one(complete_graph(2), 3), 3)
    assert np.allclose(two_parts.values, [[0, 0, 2]])
    assert two_parts.groups.tolist() == [[0, 0, -1]]


def path_matrix(n):
    return scipy.sparse.csr_array(np.eye(n, k=1) + np.eye(n, k=-1))


def in_one(graph, copies):
    flat = batch([graph] * copies)
    return ej.Graph(None, flat.senders, flat.receivers, node_mask=flat.node_mask)


def test_batch_mates_and_padding_change_no_bit():
    alone, together = laplacian_encoding(SIMPLE[1], 5), laplacian_encoding(BATCH, 5)
    own = np.flatnonzero(np.asarray(BATCH.node_graph) == 1)
    assert np.array_equal(np.asarray(together.vectors)[own], alone.vectors)
    walks = random_walk_encoding(SIMPLE[1], 5), random_walk_encoding(BATCH, 5)
    assert np.array_equal(np.asarray(walks[1])[own], walks[0])


WRONG = {
    "one way": (lambda: laplacian_encoding(ej.Graph(np.ones((2, 1)), [0], [1]), 1), ValueError, ["1 edges", "0 back", "undirected"]),
    "traced": (lambda: jax.jit(lambda g: laplacian_encoding(g, 1).vectors)(cycle(4)), ValueError, ["traced", "laplacian_encoding"]),
    "traced walk": (lambda: jax.jit(lambda g: random_walk_encoding(g, 1))(cycle(4)), ValueError, ["traced", "random_walk_encoding"]),
    "k": (lambda: laplacian_encoding(cycle(4), 0), ValueError, ["`k` is 0"]),
    "steps": (lambda: random_walk_encoding(cycle(4), 1.5), TypeError, ["`steps` is 1.5"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])


def test_crystals_have_no_encoding():
    crystal = ej.graphs.radius_graph(np.zeros((1, 2)), 1.0, cell=np.eye(2))
    for encode in (ej.graphs.random_walk_encoding, ej.graphs.laplacian_encoding):
        with pytest.raises(ValueError, match="`graph.shifts` is set"):
            encode(crystal, 2)
