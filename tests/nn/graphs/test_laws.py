"""Every layer on graphs keeps its law: order, padding, batch mates, degenerate graphs, dtypes, and the habits of Flax.

All of it runs on one batch of one shape, so that a layer is compiled once, forward and backward together.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.testing import check_equivariance, check_graph_layer
from tests.helpers import randn
from tests.nn.graphs.cases import CASES, FEATURES, GRAPHS, Case, Differences

#: The scope puts all tests of one layer behind each other, in one process that has compiled it.
every_layer = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name, scope="module")
FLOATS = ("nodes", "edges", "positions")


@dataclasses.dataclass(frozen=True)
class Moves(ej.actions.Action):
    """Moves every graph of a pytree, and leaves everything else."""

    action: ej.GraphAction = ej.GraphAction()

    @property
    def group(self):
        return self.action.group

    def for_input(self, x):
        graphs = [leaf for leaf in _graphs(x) if isinstance(leaf, ej.Graph)]
        return Moves(self.action.for_input(graphs[0])) if graphs else self

    def axes(self, ndim):
        raise NotImplementedError

    def __call__(self, g, x):
        move = lambda leaf: self.action(g, leaf) if isinstance(leaf, ej.Graph) else leaf  # noqa: E731
        return jax.tree.map(move, x, is_leaf=lambda leaf: isinstance(leaf, ej.Graph))


def _graphs(x):
    return jax.tree.leaves(x, is_leaf=lambda leaf: isinstance(leaf, ej.Graph))


def floats_of(x):
    """What can be differentiated, by name."""
    if not isinstance(x, ej.Graph):
        return {"pooled": x}
    return {name: getattr(x, name) for name in FLOATS if getattr(x, name) is not None}


class Subject:
    """A layer as one compiled function of parameters, graph and cotangent to output and all gradients."""

    def __init__(self, case, layer=None):
        self.graph = case.graph()
        static, self.state = nnx.split(case() if layer is None else layer)

        @jax.jit
        def run(state, graph, cotangent):
            def forward(state, floats):
                y = nnx.merge(static, state)(graph.replace(**floats))
                return floats_of(y), y

            _, pull, y = jax.vjp(forward, state, floats_of(graph), has_aux=True)
            of_state, of_graph = pull(floats_of(cotangent))
            return y, graph.replace(**of_graph), of_state

        self.run = run
        shape = jax.eval_shape(lambda state, graph: nnx.merge(static, state)(graph), self.state, self.graph)
        draw = {name: randn(leaf.shape, 11 + len(name)) for name, leaf in floats_of(shape).items()}
        self.cotangent = self.graph.replace(**draw) if isinstance(shape, ej.Graph) else draw["pooled"]

    def __call__(self, graph, cotangent=None):
        return self.run(self.state, graph, self.cotangent if cotangent is None else cotangent)

    def only(self, k):
        """The cotangent, zero outside of graph k."""
        return seen(self.cotangent, self.graph, k)


@functools.cache
def subject(case):
    return Subject(case)


def seen(x, graph, k):
    """An output of the world with zeros outside of graph k."""
    if not isinstance(x, ej.Graph):
        return jnp.where((jnp.arange(GRAPHS) == k).reshape(-1, *(1,) * (x.ndim - 1)), x, 0.0)
    nodes = graph.node_mask & (graph.node_graph == k)
    edges = graph.edge_mask & nodes[graph.senders]
    return zeroed(x, nodes, edges)


def zeroed(graph, nodes, edges, value=0.0):
    where = {"nodes": nodes, "positions": nodes, "edges": edges}
    pick = lambda leaf, mask: jnp.where(mask.reshape(-1, *(1,) * (leaf.ndim - 1)), leaf, value)  # noqa: E731
    return graph.replace(**{name: pick(leaf, where[name]) for name, leaf in floats_of(graph).items()})


def alone(graph, k):
    """The world in which all but graph k is padding, full of NaN."""
    nodes = graph.node_mask & (graph.node_graph == k)
    edges = graph.edge_mask & nodes[graph.senders]
    masks = {"node_mask": nodes, "edge_mask": edges, "graph_mask": jnp.arange(GRAPHS) == k}
    return zeroed(graph, nodes, edges, jnp.nan).replace(**masks)


def assert_close(a, b, tolerance=1e-12):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * max(1.0, float(np.abs(y).max(initial=0))))


def assert_finite(*trees):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trees) if jnp.issubdtype(leaf.dtype, jnp.floating))


def check_order(it):
    """Relabelling and reordering, forward, in the gradient, and in the gradient of the parameters."""
    for part in range(3):
        if jax.tree.leaves(it(it.graph)[part]):
            law = lambda pair, part=part: it(*pair)[part]  # noqa: E731
            check_equivariance(law, Moves(), Moves(), (it.graph, it.cotangent), gradient=False)


def check_alone(it):
    """Batch mates, and padding full of NaN, change nothing; copies have the same output."""
    graph = it.graph
    for k in (0, 1):
        y, dx, dw = it(graph, it.only(k))
        z, dz, du = it(alone(graph, k), it.only(k))
        passed = isinstance(z, ej.Graph) and z.edges is not None and case_passes_edges(z, graph, k)
        assert_finite({"nodes": z.nodes} if passed else floats_of(z), floats_of(dz), du)
        for ours, theirs in ((z, y), (dz, dx)):
            assert_close(floats_of(seen(ours, graph, k)), floats_of(seen(theirs, graph, k)))
        assert_close(du, dw)
        outside = seen(dx, graph, 1 - k)
        assert all((np.asarray(leaf) == 0).all() for leaf in floats_of(outside).values())


def case_passes_edges(y, graph, k):
    """Whether the edges of the output are those of the input, with what padding holds."""
    return np.array_equal(y.edges, alone(graph, k).edges, equal_nan=True)


@every_layer
def test_order(case):
    check_order(subject(case))


@every_layer
def test_padding_and_batch_mates(case):
    check_alone(subject(case))


@every_layer
def test_padding_is_zero_behind_and_copies_agree(case):
    it = subject(case)
    y = it(it.graph)[0]
    if not isinstance(y, ej.Graph):
        assert (np.asarray(y[3:]) == 0).all()
        assert_close(y[2], y[0])
        return
    assert (np.asarray(y.nodes[~y.node_mask]) == 0).all()
    rows = [np.asarray(y.nodes[y.node_mask & (y.node_graph == k)]) for k in (0, 2)]
    ranked = [row[np.lexsort(row.T)] for row in rows] if rows[0].ndim == 2 else rows
    assert_close(*ranked, 1e-10)


@every_layer
def test_degenerate_graphs_are_finite(case):
    it = subject(case)
    graph, none = it.graph, {"edge_mask": jnp.zeros(it.graph.num_edges, bool)}
    empty = {**none, "node_mask": jnp.zeros(graph.num_nodes, bool), "graph_mask": jnp.zeros(GRAPHS, bool)}
    worlds = [graph.replace(**none), graph.replace(**empty)]
    for value in (0.0, 1.0, -300.0):
        weights = {"edges": abs(value)} if "weights" in case.reads else {}  # degrees below 0 have no root
        fields = {name: jnp.full_like(leaf, weights.get(name, value)) for name, leaf in floats_of(graph).items()}
        worlds.append(graph.replace(**fields))
    for degenerate in worlds:
        y, dx, dw = it(degenerate)
        assert_finite(floats_of(y), floats_of(dx), dw)


@every_layer
def test_law_after_training(case):
    it = subject(case)
    if not jax.tree.leaves(it.state):
        pytest.skip("nothing to train")
    before, first = it.state, None
    for _ in range(4):
        y, _, _ = it(it.graph)
        residual = jax.tree.map(lambda a, b: a - b, floats_of(y), floats_of(it.cotangent))
        loss = sum(float(jnp.sum(r**2)) for r in jax.tree.leaves(residual))
        first = loss if first is None else first
        cotangent = it.cotangent.replace(**residual) if isinstance(y, ej.Graph) else residual["pooled"]
        gradient = it(it.graph, cotangent)[2]
        it.state = jax.tree.map(lambda w, g: w - 0.003 * g, it.state, gradient)
    assert loss < first
    check_order(it)
    it.state = before


@every_layer
def test_no_nodes_at_all(case):
    graph = case.graph()
    fields = {name: leaf[:0] for name, leaf in floats_of(graph).items()}
    none = ej.Graph(senders=[], receivers=[], node_graph=[], graph_mask=graph.graph_mask, **fields)
    y = jax.jit(case())(none)
    if isinstance(y, ej.Graph):
        assert y.nodes.shape[0] == 0
    else:
        assert (np.asarray(y) == 0).all()


@pytest.mark.parametrize("case", [case for case in CASES if case.dtypes], ids=lambda case: case.name)
def test_bfloat16(case):
    """The dtype of the output; of layers that compute something of their own in float32 the numbers too."""
    graph = case.graph()
    graph = graph.replace(**{name: leaf.astype(jnp.float32) for name, leaf in floats_of(graph).items()})
    layer = case(dtype=jnp.bfloat16)
    assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(nnx.state(layer)))
    nodes_of = lambda y: y.nodes if isinstance(y, ej.Graph) else y  # noqa: E731
    assert nodes_of(jax.eval_shape(layer, graph)).dtype == jnp.bfloat16
    if case.name in ("GATConv", "PNAConv", "GraphNorm", "GraphAttentionPool"):
        it = subject(case)
        expected = it(it.graph)[0]
        assert_close(nodes_of(jax.jit(layer)(graph)).astype(jnp.float32), nodes_of(expected), 0.05)


@every_layer
def test_graph_modes(case):
    graph = case.graph()
    loss = lambda layer, graph: sum(leaf.sum() for leaf in floats_of(layer(graph)).values())  # noqa: E731
    for modes in ((True, True), (True, False), (False, False)):
        with nnx.set_graph_mode(modes[0]), nnx.set_graph_updates(modes[1]):
            layer = case()
            gradient = jax.eval_shape(lambda layer: nnx.jit(nnx.grad(loss))(layer, graph), layer)
            assert len(jax.tree.leaves(gradient)) == len(case.names)


@every_layer
def test_names_split_and_hash(case):
    layer = case()
    tree = jax.tree.leaves_with_path(nnx.to_pure_dict(nnx.state(layer)))
    assert {jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in tree} == set(case.names)
    static, state = nnx.split(layer)
    assert hash(static) == hash(nnx.graphdef(case(seed=3))) and static == nnx.graphdef(case(seed=3))
    assert jax.tree.leaves(nnx.state(nnx.merge(static, state)))[:1] == jax.tree.leaves(state)[:1]
    assert isinstance(repr(layer), str)
    action = layer.in_action
    assert layer.out_action_for(action).group == action.group
    with pytest.raises(TypeError, match="GraphAction"):
        layer.out_action_for(ej.SetAction())
    with pytest.raises(TypeError, match=r"`graph` is a"):
        layer(jnp.ones((3, FEATURES)))


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in ("GCNConv", "GraphNorm")], ids=lambda case: case.name
)
def test_jit_equals_eager(case):
    assert_close(case()(case.graph()).nodes, subject(case)(case.graph())[0].nodes)


@pytest.mark.parametrize("case", [case for case in CASES if case.fibre], ids=lambda case: case.name)
def test_a_fibre_is_a_stack_of_graphs(case):
    layer, graph = case(), case.graph()
    fibre = jnp.stack([graph.nodes, 0.5 * graph.nodes - 1.0], 1)
    single = lambda x: floats_of(layer(graph.replace(nodes=x)))  # noqa: E731
    both, stacked = jax.jit(lambda x: (single(x), jax.vmap(single, 1, 1)(x)))(fibre)
    key = "nodes" if "nodes" in both else "pooled"
    assert_close(both[key], stacked[key])


class Numbered(ej.nn.MessagePassing):
    """Broken on purpose: nodes know their number."""

    def update(self, nodes, aggregated):
        return aggregated + jnp.arange(len(nodes), dtype=nodes.dtype)[:, None]


class LastMessage(ej.nn.GraphLayer):
    """Broken on purpose: a node keeps the message that comes last."""

    def __call__(self, graph):
        receivers = jnp.where(graph.edge_mask, graph.receivers, graph.num_nodes)
        kept = jnp.zeros_like(graph.nodes).at[receivers].set(graph.nodes[graph.senders], mode="drop")
        return graph.replace(nodes=jnp.where(graph.node_mask[:, None], kept, 0.0))


class BatchNorm(ej.nn.GraphLayer):
    """Broken on purpose: statistics of the whole batch."""

    def __call__(self, graph):
        valid = graph.node_mask[:, None]
        mean = jnp.where(valid, graph.nodes, 0.0).sum(0, keepdims=True) / graph.node_mask.sum().astype(graph.nodes.dtype)
        return graph.replace(nodes=jnp.where(valid, graph.nodes - mean, 0.0))


class Unmasked(ej.nn.GraphLayer):
    """Broken on purpose: padding is multiplied by zero."""

    def __call__(self, graph):
        nodes = graph.nodes * graph.node_mask[:, None].astype(graph.nodes.dtype)
        mean = jax.ops.segment_sum(nodes, graph.node_graph, graph.num_graphs).sum(0, keepdims=True)
        return graph.replace(nodes=jnp.where(graph.node_mask[:, None], nodes + mean, 0.0))


@pytest.mark.parametrize(
    ("layer", "check", "public"),
    [
        (Numbered(), check_order, "relabelling"),
        (LastMessage(), check_order, "edge order"),
        (BatchNorm(), check_alone, "batch mates"),
        (Unmasked(), check_alone, "padding"),
    ],
    ids=["numbers", "order of edges", "batch norm", "no mask"],
)
def test_broken_layers_fail(layer, check, public):
    case = Case("broken", lambda **o: layer, ())
    with pytest.raises(AssertionError):
        check(Subject(case))
    with pytest.raises(AssertionError):
        check_graph_layer(layer, case.graph(), checks=[public])


def test_the_public_check_accepts_a_layer_as_users_write_it():
    check_graph_layer(Differences(aggregation="mean"), Case("", Differences, ()).graph())
