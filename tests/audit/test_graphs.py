"""The audit on graphs: planted faults are found at their row with their cause, and exact networks accuse nobody."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.helpers import KERNEL, drawn, randn

GRAPH = ej.Graph(
    randn((7, 3)),
    senders=[0, 1, 2, 3, 4, 5, 6, 6],
    receivers=[1, 2, 0, 4, 3, 3, 6, 6],
    edges=randn((8, 2), 1),
    positions=randn((7, 3), 3),
    node_graph=[0, 0, 0, 1, 1, 1, 1],
    node_mask=np.arange(7) < 6,
    edge_mask=np.arange(8) < 6,
)
#: As many nodes as edges: what is what can't be read off the sizes.
SQUARE = ej.Graph(
    randn((6, 3)), [0, 1, 2, 3, 4, 5], [1, 2, 0, 4, 5, 5], edges=randn((6, 2), 1), node_graph=[0, 0, 0, 1, 1, 1]
)
DOUBLE = {"param_dtype": jnp.float64}


def linear(inputs, outputs, seed=0):
    inits = {"kernel_init": KERNEL, "bias_init": functools.partial(drawn, scale=0.5)}
    return nnx.Linear(inputs, outputs, **inits, **DOUBLE, rngs=nnx.Rngs(seed))


def kept(values, mask):
    return jnp.where(mask[:, None], values, 0.0)


class ByHand(nnx.Module):
    """Message passing written with jax.numpy, a step in the middle, a sum over each graph."""

    def __init__(self, step=None, **modules):
        self.lift, self.message, self.head = linear(3, 4), linear(6, 4, 1), linear(4, 2, 2)
        self.step = step
        for name, module in modules.items():
            setattr(self, name, module)

    def __call__(self, graph):
        h = jnp.tanh(self.lift(kept(graph.nodes, graph.node_mask)))
        m = self.message(jnp.concatenate([h[graph.senders], kept(graph.edges, graph.edge_mask)], -1))
        m = kept(jnp.tanh(m), graph.edge_mask)
        h = h + jax.ops.segment_sum(m, graph.receivers, graph.num_nodes)
        if self.step is not None:
            h = self.step(self, h, m, graph)
        pooled = jax.ops.segment_sum(kept(jnp.tanh(h), graph.node_mask), graph.node_graph, graph.num_graphs)
        return self.head(pooled)


class OfLayers(nnx.Module):
    """Layers of this library with a step of the user's between them."""

    def __init__(self, step):
        self.first, self.second = ej.nn.MapNodes(linear(3, 4)), ej.nn.GCNConv(4, 4, **DOUBLE, rngs=nnx.Rngs(3))
        self.pool, self.head = ej.nn.GraphPool("sum"), linear(4, 2)
        self.step = step

    def __call__(self, graph):
        graph = self.second(self.step(self.first(graph)))
        return self.head(jnp.tanh(self.pool(graph)))


def added_up(m, graph):
    return jax.ops.segment_sum(m, graph.receivers, graph.num_nodes)


def in_order(model, h, m, graph):
    def cell(carry, x):
        carry = jnp.tanh(0.5 * carry + x)
        return carry, carry

    return h + added_up(jax.lax.scan(cell, jnp.zeros(4), m)[1], graph)


def dense(model, h, m, graph):
    flat = h.reshape(-1)
    return h + model.bad(flat)[None]


def graph_mean(model, h, m, graph):  # counts padding that is said to lie in the graph
    total = jax.ops.segment_sum(h, graph.node_graph, graph.num_graphs)
    return h - (total / 3)[graph.node_graph]


def attention(model, h, m, graph):
    scores = jnp.where(graph.node_mask[None, :], h @ h.T, -1e9)
    return h + jax.nn.softmax(scores, -1) @ h


def numbers(n):
    return jnp.arange(float(n))[:, None]


def layered(fn):
    return lambda: OfLayers(lambda graph: graph.map_nodes(fn))


#: Name → (model, word or path of the guilty row, causes).
PLANTED = {
    "number of the node": (lambda: ByHand(lambda s, h, m, g: h + numbers(g.num_nodes)), "add", {"position"}),
    "number of the edge": (
        lambda: ByHand(lambda s, h, m, g: h + added_up(m * numbers(g.num_edges), g)),
        "mul",
        {"position"},
    ),
    "sender as a feature": (
        lambda: ByHand(lambda s, h, m, g: h + added_up(m * g.senders[:, None].astype(float), g)),
        "mul",
        {"position"},
    ),
    "edges that go up": (
        lambda: ByHand(lambda s, h, m, g: h + added_up(kept(m, g.senders < g.receivers), g)),
        "lt",
        {"position"},
    ),
    "first node": (lambda: ByHand(lambda s, h, m, g: h * h[0][None]), "slice", {"position"}),
    "sum so far": (lambda: ByHand(lambda s, h, m, g: h + jnp.cumsum(h, 0)), "cumsum", {"order"}),
    "edges in order": (lambda: ByHand(in_order), "tanh", {"order"}),
    "last edge wins": (lambda: ByHand(lambda s, h, m, g: h.at[g.receivers].set(m)), "lt", {"order"}),
    "flatten and dense": (lambda: ByHand(dense, bad=linear(28, 4)), "bad", {"dense"}),
    "mean over everything": (lambda: ByHand(lambda s, h, m, g: h - h.mean(0, keepdims=True)), "sub", {"mask", "batch"}),
    "mean that counts padding": (lambda: ByHand(graph_mean), "scatter-add", {"mask"}),
    "sum over the batch": (
        lambda: ByHand(lambda s, h, m, g: h - kept(h, g.node_mask).sum(0, keepdims=True)),
        "sub",
        {"batch"},
    ),
    "attention over the batch": (lambda: ByHand(attention), "reduce_max", {"batch"}),
    "batch statistics": (
        lambda: ByHand(
            lambda s, h, m, g: s.bad(h.astype(jnp.float32)).astype(float), bad=nnx.BatchNorm(4, rngs=nnx.Rngs(0))
        ),
        "bad",
        {"batch", "mask", "state"},
    ),
    "between two layers": (layered(lambda h: h + numbers(7)), "add", {"position"}),
}


@pytest.mark.parametrize(
    "name", [pytest.param(k, marks=pytest.mark.slow if k == "number of the node" else ()) for k in PLANTED]
)
def test_the_right_row_and_the_right_causes(name):
    make, word, causes = PLANTED[name]
    found = ej.audit.explain(make(), GRAPH, in_action=ej.GraphAction())
    assert [({c.kind for c in row.causes}, row.verdict) for row in found.accused] == [(causes, "broken")], found.table(
        every=True
    )
    (row,) = found.accused
    assert word in {part for member in row.members for part in member.split()}
    if (found.error > 10 * found.floor).any():
        assert abs(row.share - 1) <= 1e-6
    else:
        assert row.share is None


def incidence(model, h, m, graph):
    """Sums messages by a matrix, and multiplies by the adjacency matrix."""
    ends = jax.nn.one_hot(graph.receivers, graph.num_nodes, dtype=h.dtype)
    adjacency = (
        jnp.zeros((graph.num_nodes,) * 2, h.dtype).at[graph.receivers, graph.senders].add(graph.edge_mask.astype(h.dtype))
    )
    return h + ends.T @ m + jnp.tanh(adjacency @ kept(h, graph.node_mask))


def both_ways(model, h, m, graph):
    """Sends along both directions, and takes a maximum over the neighbours that are there."""
    senders = jnp.concatenate([graph.senders, graph.receivers])
    receivers = jnp.concatenate([graph.receivers, graph.senders])
    sent = kept(h[senders], jnp.concatenate([graph.edge_mask] * 2))
    most = jax.ops.segment_max(m, jnp.where(graph.edge_mask, graph.receivers, graph.num_nodes), graph.num_nodes)
    return h + jax.ops.segment_sum(sent, receivers, graph.num_nodes) + jnp.where(jnp.isfinite(most), most, 0.0)


def pairs(model, h, m, graph):
    """Compares all nodes of a graph."""
    near = (graph.node_graph[:, None] == graph.node_graph[None]) & graph.node_mask[None]
    return h + jnp.where(near[..., None], jnp.tanh(h[:, None] - h[None]), 0.0).sum(1)


class Points(nnx.Module):
    """A network on points in space."""

    def __init__(self, step=lambda graph: graph):
        self.move = ej.nn.EGNN(3, 4, ndim=3, edge_features=2, residual=False, **DOUBLE, rngs=nnx.Rngs(0))
        self.pool, self.step = ej.nn.GraphPool("max"), step

    def __call__(self, graph):
        return self.pool(self.step(self.move(graph)))


def lengths(graph):
    gap = ej.graphs.edge_vectors(graph)
    return graph.map_nodes(lambda h: h + added_up((gap**2).sum(-1, keepdims=True), graph))


EXACT = {
    "by hand": (lambda: ByHand(), GRAPH, ej.GraphAction()),
    "as many nodes as edges": (lambda: ByHand(), SQUARE, ej.GraphAction()),
    "matrices": (lambda: ByHand(incidence), GRAPH, ej.GraphAction()),
    "matrices, as many nodes as edges": (lambda: ByHand(incidence), SQUARE, ej.GraphAction()),
    "both ways": (lambda: ByHand(both_ways), GRAPH, ej.GraphAction()),
    "pairs": (lambda: ByHand(pairs), GRAPH, ej.GraphAction()),
    "layers with tables": (layered(jnp.tanh), GRAPH.with_table(), ej.GraphAction()),
    "points": (lambda: Points(lengths), GRAPH.replace(shifts=randn((8, 3), 4)), ej.GraphAction(space=ej.E(3))),
}


@pytest.mark.parametrize("name", [pytest.param(k, marks=pytest.mark.slow if k == "points" else ()) for k in EXACT])
def test_nobody_is_accused(name):
    make, graph, action = EXACT[name]
    found = ej.audit.explain(make(), graph, in_action=action)
    found.assert_exact()
    assert [(row.name, row.causes) for row in found.rows if row.causes or row.ratio > 10] == []
    assert not np.isnan(found.error).any() and found.notes == ()


def test_nodes_and_edges_are_not_confused_where_there_are_as_many():
    found = ej.audit.explain(ByHand(lambda s, h, m, g: h + m), SQUARE, in_action=ej.GraphAction())
    assert [row.name.split()[0] for row in found.accused] == ["add"]


def test_motions_of_the_space():
    squeezed = Points(lambda graph: graph.map_nodes(lambda h: h + graph.positions[:, :1]))
    found = ej.audit.explain(squeezed, GRAPH, in_action=ej.GraphAction(space=ej.E(3)))
    assert len(found.accused) == 1 and "slice" in found.accused[0].name
    motions = [label.startswith("motion") or " and motion" in label for label in found.elements]
    assert [error > 1e-6 for error in found.error] == motions
    ej.audit.explain(squeezed, GRAPH, in_action=ej.GraphAction()).assert_exact()


def with_loops(graph):
    """Adds an edge from every node to itself."""
    each = jnp.arange(graph.num_nodes, dtype=jnp.int32)
    ends = {name: jnp.concatenate([getattr(graph, name), each]) for name in ("senders", "receivers")}
    return graph.replace(**ends, edges=None, edge_mask=jnp.concatenate([graph.edge_mask, graph.node_mask]))


def test_added_edges_are_judged_with_what_uses_them():
    for shift, causes in ((0.0, set()), (1.0, {"position"})):
        model = OfLayers(lambda graph, shift=shift: with_loops(graph).map_nodes(lambda h: h + shift * numbers(len(h))))
        found = ej.audit.explain(model, GRAPH, in_action=ej.GraphAction())
        assert {cause.kind for row in found.accused for cause in row.causes} == causes and found.exact == (not causes)
        assert found.rows[0].name == "first" and "second" in found.rows[1].members


def test_a_graph_as_the_result():
    model = ej.nn.Sequential(ej.nn.MapNodes(linear(3, 4)), ej.nn.MapNodes(jnp.tanh))
    found = ej.audit.explain(model, GRAPH, in_action=ej.GraphAction())
    found.assert_exact()
    assert [row.name for row in found.rows] == ["layers.0", "layers.1"]
    assert found.input_shape.startswith("Graph(7 nodes, 8 edges, 2 graphs;")
    assert found.elements[0] == "relabelling [6, 5, 4, 3, 2, 1, 0]"
    assert found.elements[2] == "edge order [7, 6, 5, 4, 3, 2, 1, 0]"


def test_a_model_of_one_size_is_said_to_be_one():
    found = ej.audit.explain(ByHand(lambda s, h, m, g: h + numbers(7)), GRAPH, in_action=ej.GraphAction())
    assert found.notes[0].startswith("padding and batch mates were not tried: the model takes graphs of one size only")


def test_static_reads_no_graphs():
    with pytest.raises(ValueError, match="`static` reads arrays only. Use explain"):
        ej.audit.static(ByHand(), (7, 3), in_action=ej.GraphAction())


class OnArrays(nnx.Module):
    """A dense layer, a step, another dense layer."""

    def __init__(self, step):
        self.first, self.step, self.last = linear(3, 4), step, linear(4, 2)

    def __call__(self, x):
        return self.last(self.step(self.first(x)))


@pytest.mark.parametrize(
    "step, accused", [(lambda x: x - x.mean(1, keepdims=True), []), (lambda x: jnp.cumsum(x, 2), ["cumsum"])]
)
def test_rows_and_columns_of_a_matrix(step, accused):
    action = ej.ProductAction(ej.SetAction(), ej.SetAction())
    found = ej.audit.explain(OnArrays(step), randn((2, 3, 4, 3)), in_action=action)
    assert [row.name.split()[0] for row in found.accused] == accused and found.exact == (not accused)


def test_sets_of_images_move_as_a_whole():
    action = ej.ProductAction(ej.SetAction(), ej.GridAction(ej.Translation(2)))
    x = randn((2, 3, 4, 4, 3))
    for step, exact in ((lambda x: jnp.tanh(x), True), (lambda x: x * x[:, :, :1], False)):
        found = ej.audit.explain(OnArrays(step), x, in_action=action, out_action=action)
        assert found.exact == exact and len(found.accused) == (not exact)
