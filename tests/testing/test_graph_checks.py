"""The checks of graph layers: layers that keep the laws pass, and each planted fault fails its own check."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.graphs._sums import neighbour_sum
from tests.helpers import randn

GRAPH = ej.Graph(
    randn((7, 3)),
    senders=[0, 1, 2, 3, 4, 5, 6, 6],
    receivers=[1, 2, 0, 4, 3, 3, 6, 6],
    edges=randn((8, 2), 1),
    globals=randn((2, 2), 2),
    positions=randn((7, 3), 3),
    shifts=randn((8, 3), 4),
    node_graph=[0, 0, 0, 1, 1, 1, 1],
    node_mask=np.arange(7) < 6,
    edge_mask=np.arange(8) < 6,
)


class Messages(nnx.Module):
    """Sums weighted features of the neighbours."""

    def __init__(self):
        self.dense = nnx.Linear(3, 4, param_dtype=jnp.float64, rngs=nnx.Rngs(0))

    def __call__(self, graph):
        keep = graph.node_mask[:, None]
        summed = neighbour_sum(self.dense(jnp.where(keep, graph.nodes, 0.0)), graph)
        return graph.replace(nodes=jnp.where(keep, jnp.tanh(summed), 0.0))


def valid(graph):
    return jnp.where(graph.node_mask[:, None], graph.nodes, 0.0)


def per_graph(values, graph):
    return jax.ops.segment_sum(values, graph.node_graph, graph.num_graphs)


def counted(graph):
    return jnp.broadcast_to(per_graph(graph.node_mask.astype(float), graph)[:, None], (graph.num_graphs, 3))


def pooled_mean(graph):
    return per_graph(valid(graph), graph) / jnp.maximum(counted(graph), 1)


def distances(graph):
    gap = ej.graphs.edge_vectors(graph)
    return gap, jnp.sum(gap**2, -1, keepdims=True)


def moving(graph):
    """Moves every point along its edges, in a way that turns with them."""
    gap, square = distances(graph)
    step = jax.ops.segment_sum(gap / (1 + square), graph.receivers, graph.num_nodes)
    return graph.replace(positions=jnp.where(graph.node_mask[:, None], graph.positions + step, 0.0))


GOOD = {
    "messages": (Messages(), None),
    "pointwise": (ej.nn.MapNodes(jax.nn.relu), None),
    "mean": (pooled_mean, None),
    "edges": (lambda graph: graph.replace(edges=jnp.where(graph.edge_mask[:, None], graph.edges, 0.0) ** 2), None),
    "motions": (moving, ej.GraphAction(space=ej.E(3))),
}


@pytest.mark.parametrize("name", GOOD)
def test_layers_that_keep_the_laws_pass(name):
    layer, action = GOOD[name]
    ej.testing.check_graph_layer(layer, GRAPH, in_action=action)


def nodes(values, graph):
    """Returns a graph with these nodes, and zeros at padding."""
    return graph.replace(nodes=jnp.where(graph.node_mask[:, None], values, 0.0))


def unsafe_length(graph):
    """Differentiates a square root at zero."""
    return nodes(jax.ops.segment_sum(jnp.sqrt(distances(graph)[1]), graph.receivers, graph.num_nodes), graph)


FAULTS = {
    "relabelling": (lambda graph: nodes(valid(graph) + jnp.arange(7.0)[:, None], graph), "relabelling does not"),
    "edge order": (
        lambda graph: graph.replace(edges=jnp.where(graph.edge_mask[:, None], jnp.cumsum(graph.edges, 0), 0.0)),
        "edge order does not",
    ),
    "images": (
        lambda graph: nodes(neighbour_sum(jnp.where(graph.node_mask[:, None], graph.positions, 0.0), graph), graph),
        "moving nodes to images of themselves",
    ),
    "padding": (
        lambda graph: nodes(valid(graph) - valid(graph).mean(0, keepdims=True), graph),
        "padding changes the output",
    ),
    "batch mates": (lambda graph: nodes(valid(graph) - valid(graph).sum(0, keepdims=True), graph), "a batch mate changes"),
    "duplicates": (lambda graph: pooled_mean(graph) / graph.num_graphs, "a copy of the graph in its batch changes"),
    "empty graphs": (lambda graph: per_graph(valid(graph), graph) / counted(graph), "NaN or infinities where"),
    "constant inputs": (unsafe_length, "the gradient of unsafe_length holds NaN or infinities where all features"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_fails_its_own_check(name):
    layer, message = FAULTS[name]
    with pytest.raises(AssertionError, match=message):
        ej.testing.check_graph_layer(layer, GRAPH, checks=[name])


def test_a_layer_that_sees_the_frame_does_not_turn():
    def sees(graph):
        return graph.replace(positions=jnp.where(graph.node_mask[:, None], graph.positions**3, 0.0))

    with pytest.raises(AssertionError, match="motions does not commute"):
        ej.testing.check_graph_layer(sees, GRAPH, in_action=ej.GraphAction(space=ej.E(3)))
    ej.testing.check_graph_layer(sees, GRAPH, checks=["relabelling", "edge order", "gradient", "batch mates"])


def test_padding_must_not_spoil_gradients():
    def leaking(graph):  # masks the product, not the input
        return graph.replace(nodes=jnp.where(graph.node_mask[:, None], graph.nodes * jnp.exp(graph.nodes), 0.0))

    with pytest.raises(AssertionError, match="gradient of leaking holds NaN or infinities where padding"):
        ej.testing.check_graph_layer(leaking, GRAPH, checks=["padding"])


def test_a_second_copy_is_looked_at():
    def first_only(graph):
        return nodes(jnp.where(graph.node_graph[:, None] < 2, valid(graph), 0.0), graph)

    with pytest.raises(AssertionError, match="the copy of a graph in a batch has another output"):
        ej.testing.check_graph_layer(first_only, GRAPH, checks=["duplicates"])


def test_tables_are_built_for_every_changed_graph():
    ej.testing.check_graph_layer(Messages(), GRAPH.with_table())


def test_the_layer_is_left_alone():
    class Counting(nnx.Module):
        def __init__(self):
            self.calls = nnx.BatchStat(jnp.zeros(()))

        def __call__(self, graph):
            self.calls[...] = self.calls[...] + 1
            return nodes(valid(graph), graph)

    layer = Counting()
    ej.testing.check_graph_layer(layer, GRAPH, checks=["relabelling", "padding"])
    assert float(layer.calls[...]) == 0


def test_bad_input_is_a_clear_error():
    with pytest.raises(ValueError, match="`checks` names 'order'; the checks are relabelling"):
        ej.testing.check_graph_layer(pooled_mean, GRAPH, checks=["order"])
    with pytest.raises(ValueError, match=r"returns arrays of shapes \[\(7, 3\)\]"):
        ej.testing.check_graph_layer(lambda graph: graph.nodes, GRAPH)
    with pytest.raises(ValueError, match="need as many nodes, edges and graphs"):
        ej.testing.check_graph_layer(lambda graph: ej.Graph(graph.nodes[:2], [0], [1]), GRAPH)


def test_two_nodes_are_really_exchanged():
    pair = ej.Graph(jnp.ones((2, 1)), senders=[0], receivers=[1])
    numbered = lambda graph: graph.replace(nodes=graph.nodes * jnp.arange(1.0, graph.num_nodes + 1)[:, None])  # noqa: E731
    with pytest.raises(AssertionError, match="relabelling does not commute"):
        ej.testing.check_graph_layer(numbered, pair, checks=["relabelling"])


def test_graphs_that_are_taken_to_lie_one_after_the_other_are_found():
    def contiguous(graph):
        return per_graph(valid(graph), graph.replace(node_graph=jnp.sort(graph.node_graph)))

    one = ej.Graph(randn((4, 2)), senders=[0, 1], receivers=[1, 2])
    ej.testing.check_graph_layer(contiguous, one, checks=["relabelling"])
    with pytest.raises(AssertionError, match="a batch mate changes the output"):
        ej.testing.check_graph_layer(contiguous, one, checks=["batch mates"])
