"""Neighbour sums and message reductions: every form equals a loop written from the equation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.graphs import RowShapes, TableShapes, _chunks, _sums, message_reduce, neighbour_sum
from tests.helpers import randn

FORMS = ("whole", "chunks", "table")


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """Makes the sums choose one form, whatever the sizes."""
    return choose(request.param, monkeypatch)


def choose(name, monkeypatch):
    monkeypatch.setattr(_sums, "TABLE_BYTES", 0 if name == "table" else 2**60)
    if name == "chunks":
        monkeypatch.setattr(_chunks, "WHOLE_BYTES", 0)
        monkeypatch.setattr(_chunks, "CHUNK_BYTES", 2000)
    return name


def power_law(nodes=60, edges=400, seed=0, masked=50):
    """A graph with nodes of high degree, isolated nodes, self loops, double edges, and masked edges among the rest.

    Its table is padded.
    """
    rng = np.random.default_rng(seed)
    p = 1 / np.arange(1, nodes - 4) ** 1.2
    senders, receivers = (rng.permutation(nodes - 5)[rng.choice(nodes - 5, edges, p=p / p.sum())] for _ in range(2))
    senders[:150], receivers[:150] = 3, 4
    keep = np.ones(edges, bool)
    keep[rng.choice(edges, masked, replace=False)] = False
    senders[~keep], receivers[~keep] = nodes - 1, nodes - 1
    node_mask = np.arange(nodes) < nodes - 1
    graph = ej.Graph(None, senders, receivers, node_mask=node_mask, edge_mask=keep)
    return graph.with_table(TableShapes(RowShapes(3, nodes, 130), RowShapes(2, nodes, 190)))


GRAPH = power_law()


def padded(x, mask):
    """Fills padding with NaN."""
    return jnp.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), x, jnp.nan)


def loop(graph, message, shape):
    """Adds ``message(s, r, e)`` of every valid edge to its receiver, in numpy."""
    y = np.zeros((graph.num_nodes, *shape))
    for e in np.flatnonzero(graph.edge_mask):
        s, r = int(graph.senders[e]), int(graph.receivers[e])
        y[r] += message(s, r, e)
    return y


def close(a, b, tolerance=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max(initial=0) <= tolerance * max(np.abs(b).max(initial=0), 1e-300)


@pytest.mark.parametrize("rest, lead", [((), None), ((5,), None), ((5,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((2, 3, 4), 2)])
def test_sums_values_and_gradients_equal_the_loop(form, rest, lead):
    values = padded(randn((GRAPH.num_nodes, *rest)), GRAPH.node_mask)
    weights = None if lead is None else padded(randn((GRAPH.num_edges, *rest[:lead]), 1), GRAPH.edge_mask)
    cotangent = randn(values.shape, 2)
    wide = np.ones(GRAPH.num_edges) if lead is None else np.asarray(weights)
    wide = wide.reshape(*wide.shape, *(1,) * (len(rest) - wide.ndim + 1))
    x, c = np.asarray(values), np.asarray(cotangent)
    summed = lambda values, weights: neighbour_sum(values, GRAPH, weights)  # noqa: E731
    y, pull = jax.jit(lambda v, w, c: (lambda y, back: (y, back(c)))(*jax.vjp(summed, v, w)))(values, weights, cotangent)
    close(y, loop(GRAPH, lambda s, r, e: wide[e] * x[s], rest))
    by_values = np.zeros(x.shape)
    by_weights = np.zeros(wide.shape)
    for e in np.flatnonzero(GRAPH.edge_mask):
        s, r = int(GRAPH.senders[e]), int(GRAPH.receivers[e])
        by_values[s] += wide[e] * c[r]
        inner = x[s] * c[r]
        by_weights[e] = inner.sum(axis=tuple(range(0 if lead is None else lead, len(rest))), keepdims=True).reshape(
            wide.shape[1:]
        )
    close(pull[0], by_values)
    if lead is not None:
        close(pull[1], by_weights.reshape(weights.shape))


@pytest.mark.parametrize("form", ["chunks", "table"])
def test_every_derivative_equals_that_of_the_plain_form(form, monkeypatch):
    values, weights = randn((GRAPH.num_nodes, 2, 3)), randn((GRAPH.num_edges, 2), 1)

    def loss(values, weights):
        return jnp.sum(jnp.sin(neighbour_sum(jnp.tanh(values), GRAPH, weights)))

    def derivatives(values, weights):
        gradient = jax.grad(loss, (0, 1))
        second = jax.grad(lambda *a: sum(jnp.vdot(g, jnp.cos(g)) for g in gradient(*a)), (0, 1))
        return (
            jax.jvp(loss, (values, weights), (weights[:60, :, None] + values, weights**2)),
            jax.jvp(gradient, (values, weights), (values, weights)),
            second(values, weights),
            jax.vmap(gradient)(jnp.stack([values, -values]), jnp.stack([weights, 2 * weights])),
        )

    choose(form, monkeypatch)
    ours = jax.jit(lambda *a: derivatives(*a))(values, weights)
    monkeypatch.undo()
    choose("whole", monkeypatch)
    jax.tree.map(close, ours, jax.jit(lambda *a: derivatives(*a))(values, weights))


def test_tables_are_vmapped_with_their_graphs(monkeypatch):
    graphs = [power_law(seed=seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *graphs)
    values = randn((2, 60, 3))
    both = lambda values: jax.vmap(neighbour_sum)(values, stacked)  # noqa: E731
    choose("table", monkeypatch)
    y, g = jax.jit(lambda v: (both(v), jax.grad(lambda v: jnp.sum(jnp.sin(both(v))))(v)))(values)
    choose("whole", monkeypatch)
    for k, graph in enumerate(graphs):
        plain, pull = jax.vjp(lambda v, graph=graph: neighbour_sum(v, graph), values[k])
        close(y[k], plain)
        close(g[k], pull(jnp.cos(plain))[0])


def test_half_precision_is_summed_in_single(form):
    dtype = jnp.bfloat16
    values, weights = randn((GRAPH.num_nodes, 4), 0, dtype), randn((GRAPH.num_edges,), 1, dtype)
    wide = lambda x: x.astype(jnp.float64)  # noqa: E731

    @jax.jit
    def value_and_pulled(v, w, cotangent):
        y, pull = jax.vjp(lambda v, w: neighbour_sum(v, GRAPH, w), v, w)
        return y, pull(cotangent)

    y, pulled = value_and_pulled(values, weights, values)
    exact, exactly_pulled = value_and_pulled(*map(wide, (values, weights, values)))
    assert y.dtype == dtype
    close(wide(y), exact, jnp.finfo(dtype).eps)
    for ours, reference in zip(pulled, exactly_pulled, strict=True):
        assert ours.dtype == dtype
        close(wide(ours), reference, jnp.finfo(dtype).eps)


def test_integers_are_summed(form):
    values = jnp.arange(GRAPH.num_nodes * 2).reshape(-1, 2)
    y = neighbour_sum(values, GRAPH)
    assert y.dtype == values.dtype
    close(y, loop(GRAPH, lambda s, r, e: np.asarray(values[s]), (2,)).astype(int))


@pytest.mark.parametrize("nodes, edges, masked", [(0, 0, 0), (3, 0, 0), (3, 5, 5), (4, 3, 0)])
def test_small_and_empty_graphs(form, nodes, edges, masked):
    keep = np.arange(edges) >= masked
    graph = ej.Graph(None, *np.zeros((2, edges), int), node_mask=np.ones(nodes, bool), edge_mask=keep).with_table()
    for rest in ((2,), (0,)):
        values = randn((nodes, *rest))
        summed = lambda v, w, graph=graph: neighbour_sum(v, graph, w)  # noqa: E731
        y = jax.jit(summed)(values, jnp.ones(edges))
        close(y, loop(graph, lambda s, r, e, x=values: np.asarray(x[s]), rest))
        gradient = jax.jit(jax.grad(lambda *a, f=summed: jnp.sum(f(*a)), (0, 1)))(values, jnp.ones(edges))
        assert all(np.isfinite(g).all() for g in gradient)


def test_relabelling_moves_the_table(monkeypatch):
    choose("table", monkeypatch)
    p, q = (jax.random.permutation(jax.random.key(k), n) for k, n in ((0, GRAPH.num_nodes), (1, GRAPH.num_edges)))
    values, weights = randn((GRAPH.num_nodes, 3)), randn((GRAPH.num_edges,), 1)

    @jax.jit
    def moved(p, q, values, weights):
        put = lambda x, to: jnp.zeros_like(x).at[to].set(x)  # noqa: E731
        graph = GRAPH.replace(
            senders=put(p[GRAPH.senders], q),
            receivers=put(p[GRAPH.receivers], q),
            node_mask=put(GRAPH.node_mask, p),
            edge_mask=put(GRAPH.edge_mask, q),
            node_graph=GRAPH.node_graph,
        ).replace(table=GRAPH.table.relabelled(p, q))
        y, pull = jax.vjp(lambda v, w: neighbour_sum(v, graph, w), put(values, p), put(weights, q))
        return jax.tree.map(lambda x, to: x[to], (y, *pull(jnp.sin(y))), (p, p, q))

    y, pull = jax.vjp(lambda v, w: neighbour_sum(v, GRAPH, w), values, weights)
    jax.tree.map(close, moved(p, q, values, weights), (y, *pull(jnp.sin(y))))


def test_same_order_same_bits(form):
    values = randn((GRAPH.num_nodes, 3), 0, jnp.float32)
    summed = jax.jit(lambda v: jax.value_and_grad(lambda v: jnp.sum(jnp.sin(neighbour_sum(v, GRAPH))))(v))
    again = jax.jit(lambda v: jax.value_and_grad(lambda v: jnp.sum(jnp.sin(neighbour_sum(v, GRAPH))))(v))
    jax.tree.map(np.testing.assert_array_equal, summed(values), again(values))


def test_the_form_follows_from_the_sizes():
    """Small sums scatter at once, large ones in chunks, and where there is a table they gather."""
    values = jax.ShapeDtypeStruct((10, 64), jnp.float32)

    def program(edges, table=False):
        graph = ej.Graph(None, *np.zeros((2, edges), int), node_mask=np.ones(10, bool))
        graph = graph.with_table() if table else graph
        return str(jax.make_jaxpr(neighbour_sum)(values, graph))

    small, large = 1000, 200_000
    assert "scan" not in program(small) and "cond" not in program(small, table=True)
    assert "scan" in program(large) and "cond" not in program(large)
    assert "cond" in program(large, table=True)  # by platform


@pytest.mark.parametrize(
    "values, weights, error, message",
    [
        ((7, 3), None, ValueError, "`values` has shape (7, 3); its axis 0 must run over the 60 nodes"),
        ((60, 3), (7,), ValueError, "`weights` has shape (7,); its axis 0 must run over the 400 edges"),
        ((60, 3), (400, 1), ValueError, "the first of those of a node's value, (3,)"),
    ],
)
def test_shapes_that_do_not_fit(values, weights, error, message):
    with pytest.raises(error) as caught:
        neighbour_sum(jnp.ones(values), GRAPH, None if weights is None else jnp.ones(weights))
    assert message in str(caught.value)


def test_integer_values_take_no_real_weights():
    with pytest.raises(TypeError, match="`values` are int64 and `weights` float64"):
        neighbour_sum(jnp.ones((60, 3), int), GRAPH, jnp.ones(400))


def test_arrays_of_numpy_are_values_but_no_graph():
    values, weights = np.asarray(randn((60, 3))), np.asarray(randn((400,)))
    assert np.array_equal(
        neighbour_sum(values, GRAPH, weights), neighbour_sum(jnp.asarray(values), GRAPH, jnp.asarray(weights))
    )
    first = lambda sender, receiver, edge: sender  # noqa: E731
    assert np.array_equal(message_reduce(first, GRAPH, values), message_reduce(first, GRAPH, jnp.asarray(values)))
    with pytest.raises(TypeError, match="`graph` is a ndarray; neighbour_sum takes a Graph"):
        neighbour_sum(values, np.ones((60, 60)))
    with pytest.raises(TypeError, match="`graph` is a tuple; message_reduce takes a Graph"):
        message_reduce(first, (GRAPH.senders, GRAPH.receivers), values)


# message_reduce


def messages(scale):
    def fn(sender, receiver, edge):
        hidden = jnp.tanh(sender["x"] * scale - receiver["x"] + edge[:, None])
        return {"all": hidden, "pair": (hidden[:, :1] * 2, receiver["k"] - sender["k"])}

    return fn


REDUCTIONS = {"all": "sum", "pair": ("min", "max")}


def message_inputs():
    nodes = {"x": padded(randn((GRAPH.num_nodes, 3)), GRAPH.node_mask), "k": jnp.arange(GRAPH.num_nodes)}
    return nodes, padded(randn((GRAPH.num_edges,), 1), GRAPH.edge_mask)


@pytest.mark.parametrize("form", ["whole", "chunks"])
def test_messages_equal_the_loop(form, monkeypatch):
    choose(form, monkeypatch)
    nodes, edges = message_inputs()
    out = message_reduce(messages(jnp.float64(0.7)), GRAPH, nodes, edges, REDUCTIONS)
    x, k, a = (np.asarray(v) for v in (nodes["x"], nodes["k"], edges))
    hidden = lambda s, r, e: np.tanh(0.7 * x[s] - x[r] + a[e])  # noqa: E731
    close(out["all"], loop(GRAPH, hidden, (3,)))
    for r in range(GRAPH.num_nodes):
        arriving = [(int(GRAPH.senders[e]), r, e) for e in np.flatnonzero(GRAPH.edge_mask & (GRAPH.receivers == r))]
        close(out["pair"][0][r], np.min([2 * hidden(*m)[:1] for m in arriving], axis=0) if arriving else np.zeros(1))
        assert out["pair"][1][r] == max((k[r] - k[s] for s, *_ in arriving), default=0)
    assert out["pair"][1].dtype == nodes["k"].dtype


def test_derivatives_of_chunks_equal_those_of_all_messages(monkeypatch):
    nodes, edges = message_inputs()

    def loss(x, scale, edges):
        out = message_reduce(messages(scale), GRAPH, {**nodes, "x": x}, edges, REDUCTIONS)
        return jnp.sum(jnp.sin(out["all"])) + jnp.sum(out["pair"][0] ** 2)

    def derivatives(*args):
        gradient = jax.grad(loss, (0, 1, 2))
        second = jax.grad(lambda *a: sum(jnp.vdot(g, g) for g in gradient(*a)), (0, 1, 2))
        return gradient(*args), second(*args), jax.jvp(loss, args, args)

    args = (jnp.nan_to_num(nodes["x"]), jnp.float64(0.7), jnp.nan_to_num(edges))
    choose("chunks", monkeypatch)
    ours = jax.jit(lambda *a: derivatives(*a))(*args)
    monkeypatch.undo()
    jax.tree.map(close, ours, jax.jit(lambda *a: derivatives(*a))(*args))


@pytest.mark.parametrize("form", ["whole", "chunks"])
@pytest.mark.parametrize("word", ["max", "min"])
def test_ties_share_the_gradient(form, word, monkeypatch):
    choose(form, monkeypatch)
    monkeypatch.setattr(_chunks, "CHUNK_BYTES", 40)
    sign = 1 if word == "max" else -1
    values = sign * jnp.asarray([1.0, 2.0, 2.0, 2.0, 0.0, 9.0])
    graph = ej.Graph(None, [0, 1, 2, 0, 3, 4, 5], [5, 5, 5, 5, 5, 5, 0], node_mask=jnp.ones(6, bool))
    reduced = lambda v: message_reduce(lambda s, r, e: s, graph, v, reductions=word)  # noqa: E731
    y, pull = jax.vjp(reduced, values)
    np.testing.assert_array_equal(y, sign * np.asarray([9.0, 0, 0, 0, 0, 2.0]))
    close(pull(jnp.asarray([0, 0, 0, 0, 0, 3.0]))[0], [0, 1.0, 1.0, 1.0, 0, 0])


@pytest.mark.parametrize("form", ["whole", "chunks"])
def test_infinite_messages_keep_their_extremes(form, monkeypatch):
    choose(form, monkeypatch)
    monkeypatch.setattr(_chunks, "CHUNK_BYTES", 16)
    graph = ej.Graph(None, [0, 1, 0, 1], [2, 2, 2, 2], node_mask=jnp.ones(3, bool))
    values = jnp.asarray([-jnp.inf, jnp.inf, 0])
    y = message_reduce(lambda s, r, e: (s, s), graph, values, reductions=("max", "min"))
    assert y[0][2] == jnp.inf and y[1][2] == -jnp.inf
    y = message_reduce(lambda s, r, e: (s, s), graph, jnp.asarray([1.0, jnp.nan, 0]), reductions=("max", "min"))
    assert np.isnan(y[0][2]) and np.isnan(y[1][2])


@pytest.mark.parametrize("form", ["whole", "chunks"])
def test_half_precision_messages(form, monkeypatch):
    choose(form, monkeypatch)
    values = randn((GRAPH.num_nodes, 3), 0, jnp.bfloat16)
    y = message_reduce(lambda s, r, e: (s, s), GRAPH, values, reductions=("sum", "max"))
    assert y[0].dtype == y[1].dtype == jnp.bfloat16
    exact = loop(GRAPH, lambda s, r, e: np.asarray(values[s], float), (3,))
    close(y[0].astype(jnp.float64), exact, jnp.finfo(jnp.bfloat16).eps)


@pytest.mark.parametrize("nodes, edges", [(0, 0), (3, 0)])
def test_messages_on_empty_graphs(nodes, edges):
    graph = ej.Graph(None, [], [], node_mask=np.ones(nodes, bool))
    out = message_reduce(lambda s, r, e: (s, s, s), graph, jnp.ones((nodes, 2)), reductions=("sum", "max", "min"))
    assert all(o.shape == (nodes, 2) and not o.any() for o in out)


def test_chunks_need_not_divide_the_edges(monkeypatch):
    monkeypatch.setattr(_chunks, "WHOLE_BYTES", 0)
    values = randn((GRAPH.num_nodes, 2))
    for size in (48, 200, 10_000):
        monkeypatch.setattr(_chunks, "CHUNK_BYTES", size)
        close(neighbour_sum(values, GRAPH), loop(GRAPH, lambda s, r, e: np.asarray(values[s]), (2,)))


def test_wrong_words_and_messages():
    with pytest.raises(ValueError, match="`reductions` holds 'mean'; the words are"):
        message_reduce(lambda s, r, e: s, GRAPH, jnp.ones((60, 1)), reductions="mean")
    with pytest.raises(ValueError, match=r"`reductions` is \[.*; it must be a word, or have the tree"):
        message_reduce(lambda s, r, e: s, GRAPH, jnp.ones((60, 1)), reductions=["max", "max"])
    with pytest.raises(TypeError, match="`nodes` is 'ab'"):
        message_reduce(lambda s, r, e: s, GRAPH, "ab")
    with pytest.raises(ValueError, match=r"`fn\(…\)\[1\]` has shape \(\); its axis 0 must run over the 400 edges"):
        message_reduce(lambda s, r, e: (s, jnp.sum(s)), GRAPH, jnp.ones((60, 1)))
    with pytest.raises(ValueError, match=r"`nodes\['x'\]` has shape \(3,\)"):
        message_reduce(lambda s, r, e: s["x"], GRAPH, {"x": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"`edges` has shape \(3,\)"):
        message_reduce(lambda s, r, e: s, GRAPH, jnp.ones((60, 1)), jnp.ones(3))
