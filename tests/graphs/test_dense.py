"""Dense forms: loops written from the definition, exact round trips, static sizes, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.graphs import DenseGraph, GraphBudget, batch, edges_from_dense, from_dense, nodes_from_dense, to_dense, unbatch
from tests.graphs.random_graphs import assert_equal, in_numpy, random_graph, relabelled, simple_graph, with_nan
from tests.helpers import check_message, randn

GRAPHS = [random_graph(k, n, e, edges=randn((e, 3), k), shifts=None) for k, (n, e) in enumerate(((3, 7), (5, 9), (1, 2)))]
PADDED = with_nan(batch(GRAPHS, GraphBudget(12, 21, 5)))


dense_form = jax.jit(to_dense, static_argnums=1)


def test_as_written_in_a_loop():
    moved, _ = relabelled(PADDED)
    dense = in_numpy(dense_form(moved, 6))
    assert jax.tree.map(jnp.shape, dense) == DenseGraph((5, 6, 2), (5, 6, 6), (5, 6, 6, 3), (5, 6))
    for g, part in enumerate(map(in_numpy, unbatch(moved))):
        n = part.num_nodes
        adjacency, edges = np.zeros((6, 6)), np.zeros((6, 6, 3))
        for e in range(part.num_edges):
            adjacency[part.senders[e], part.receivers[e]] += 1
            edges[part.senders[e], part.receivers[e]] += part.edges[e]
        assert np.array_equal(dense.nodes[g, :n], part.nodes)
        assert not dense.nodes[g, n:].any()
        assert np.array_equal(dense.adjacency[g], adjacency)
        assert np.allclose(dense.edges[g], edges, rtol=0, atol=1e-14)
        assert dense.mask[g].tolist() == [i < n for i in range(6)]
    assert not dense.mask[3:].any()


def test_round_trips():
    graph = batch([simple_graph(k, n) for k, n in enumerate((4, 6))])
    graph = graph.replace(nodes=randn((10, 2)), edges=randn((graph.num_edges, 3)))
    dense = dense_form(graph, 6)
    back = from_dense(dense)
    for part, other in zip(unbatch(back), unbatch(graph), strict=True):
        assert_equal(part, other)
    whole = jax.jit(from_dense)(dense)
    assert whole.num_edges == 2 * 6 * 6
    for part, other in zip(unbatch(whole), unbatch(graph), strict=True):
        assert_equal(part, other)
    assert_equal(dense_form(whole, 6), dense)


def test_values_come_back_to_their_nodes_and_edges():
    moved, _ = relabelled(PADDED)
    dense = dense_form(moved, 6)
    nodes = jax.jit(nodes_from_dense)(dense.nodes, moved)
    assert np.array_equal(nodes, np.where(np.asarray(moved.node_mask)[:, None], moved.nodes, 0))
    values = np.asarray(randn((5, 6, 6, 2)))
    pairs = jax.jit(edges_from_dense)(values, moved)
    number = np.asarray(jax.jit(nodes_from_dense)(np.tile(np.arange(6), (5, 1)), moved))
    host = in_numpy(moved)
    for e in range(moved.num_edges):
        s, r = host.senders[e], host.receivers[e]
        expected = values[host.node_graph[s], number[s], number[r]] if host.edge_mask[e] else np.zeros(2)
        assert np.array_equal(pairs[e], expected)


def test_what_padding_holds_reaches_no_gradient():
    weights = randn((5, 6, 6, 3))

    def loss(edges):
        return jnp.sum(to_dense(PADDED.replace(edges=edges), 6).edges * weights)

    assert np.array_equal(jax.jit(jax.grad(loss))(PADDED.edges), jax.jit(edges_from_dense)(weights, PADDED))


def test_a_graph_that_does_not_fit_is_never_cut_off():
    dense = in_numpy(dense_form(batch(GRAPHS), 3))
    assert np.isnan(dense.nodes[1]).all()
    assert np.isnan(dense.adjacency[1]).all()
    assert np.isfinite(dense.nodes[[0, 2]]).all()
    kinds = batch(GRAPHS).replace(nodes=jnp.arange(9))
    assert jax.eval_shape(lambda graph: to_dense(graph, 9), kinds).nodes.dtype == int  # all nodes fit in any case
    check_message(lambda: dense_form(kinds, 5), TypeError, ["`graph.nodes` holds int64", "`max_nodes`", "outside of jit"])


def test_an_equivariant_layer_on_the_dense_form():
    layer = ej.nn.PermutationEquivariantLinear(2, 1, 3, 4, param_dtype=jnp.float64, rngs=nnx.Rngs(0))

    flat = batch(GRAPHS, GraphBudget(12, 21, 5))

    @jax.jit
    def apply(graph):
        dense = to_dense(graph, 6)
        return graph.replace(nodes=nodes_from_dense(layer(dense.edges, mask=dense.mask), graph))

    ej.testing.check_equivariance(apply, ej.GraphAction(), ej.GraphAction(), flat, gradient=False)


WRONG = {
    "huge": (lambda: to_dense(GRAPHS[0], 2**40), ValueError, ["`max_nodes`", "32 bits"]),
    "no graph": (lambda: to_dense(np.ones((3, 3))), TypeError, ["`graph` is a ndarray", "to_dense"]),
    "too small": (lambda: to_dense(GRAPHS[1], 4), ValueError, ["`max_nodes` is 4", "5 nodes"]),
    "traced": (lambda: jax.jit(to_dense)(GRAPHS[1]), ValueError, ["`max_nodes` is None", "static size"]),
    "no integer": (lambda: to_dense(GRAPHS[1], 4.0), TypeError, ["`max_nodes`", "4.0"]),
    "not square": (lambda: from_dense(DenseGraph(None, jnp.ones((1, 2, 3)), None, None)), ValueError, ["`adjacency`", "(G, n, n)"]),
    "nodes": (
        lambda: from_dense(DenseGraph(jnp.ones((1, 3, 2)), jnp.ones((1, 2, 2)), None, None)), ValueError, ["`nodes`", "(1, 3, 2)"]),
    "mask": (
        lambda: from_dense(DenseGraph(None, jnp.ones((1, 2, 2)), None, jnp.ones(2, bool))), ValueError, ["`mask`", "(2,)", "(1, 2)"]),
    "no arrays": (lambda: from_dense(3), TypeError, ["`dense`", "3", "DenseGraph"]),  # pyright: ignore[reportArgumentType]
    "a number": (lambda: from_dense(DenseGraph(None, 1.0, None, None)), ValueError, ["`adjacency`", "()"]),
    "numbers as mask": (
        lambda: from_dense(DenseGraph(None, jnp.ones((1, 2, 2)), None, jnp.ones((1, 2)))), TypeError, ["`mask`", "float64", "bool"]),
    "values of two graphs": (lambda: nodes_from_dense(jnp.ones((2, 5, 2)), GRAPHS[1]), ValueError, ["`values`", "(2, 5, 2)", "(1, n, …)"]),
    "no square of values": (lambda: edges_from_dense(jnp.ones((1, 5, 6)), GRAPHS[1]), ValueError, ["`values`", "(1, 5, 6)"]),
    "values": (lambda: nodes_from_dense(jnp.ones((1, 4, 2)), GRAPHS[1]), ValueError, ["`max_nodes` is 4", "5 nodes"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])
