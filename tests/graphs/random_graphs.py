"""Random graphs that several tests share."""

import jax
import numpy as np

import equijax as ej


def random_graph(seed=0, num_nodes=5, num_edges=8, features=2, **more):
    """One graph with features everywhere; it may have self-loops and parallel edges."""
    rng = np.random.default_rng(seed)
    nodes, edges = num_nodes, num_edges if num_nodes else 0
    ends = rng.integers(0, max(nodes, 1), (2, edges))
    fields = dict(
        nodes=rng.normal(size=(nodes, features)),
        positions=rng.normal(size=(nodes, 3)),
        edges={"a": rng.normal(size=(edges, 1)), "b": rng.integers(9, size=edges)},
        globals=rng.normal(size=(1, 2)),
    )
    if "positions" not in more:
        fields |= dict(shifts=rng.normal(size=(edges, 3)))
    return ej.Graph(senders=ends[0], receivers=ends[1], **(fields | more))


def simple_graph(seed=0, nodes=7, probability=0.5):
    """One symmetric graph without self-loops and parallel edges."""
    upper = np.triu(np.random.default_rng(seed).random((nodes, nodes)) < probability, 1)
    senders, receivers = np.nonzero(upper | upper.T)
    return ej.Graph(None, senders, receivers, node_mask=np.ones(nodes, bool))


def with_nan(graph):
    """Fills the padding of all floats with NaN."""

    def fill(tree, mask):
        mask = np.asarray(mask)
        return jax.tree.map(lambda leaf: _filled(np.asarray(leaf), mask), tree)

    fields = {name: fill(getattr(graph, name), graph.node_mask) for name in ("nodes", "positions", "velocities")}
    fields |= {name: fill(getattr(graph, name), graph.edge_mask) for name in ("edges", "shifts")}
    return graph.replace(**fields, globals=fill(graph.globals, graph.graph_mask))


def _filled(leaf, mask):
    if not np.issubdtype(leaf.dtype, np.floating):
        return leaf
    return np.where(mask.reshape(-1, *(1,) * (leaf.ndim - 1)), leaf, np.nan)


def relabelled(graph, seed=0):
    """The graph with its nodes and edges in a random order, and the permutations."""
    rng = np.random.default_rng(seed)
    g = rng.permutation(graph.num_nodes), rng.permutation(graph.num_edges)
    return jax.jit(ej.GraphAction())(g, graph), g


def in_numpy(tree):
    """The same with numpy arrays, on which loops run without compiling."""
    return jax.tree.map(np.asarray, tree)


def assert_equal(a, b):
    """Two pytrees hold the same, bit by bit, with the same dtypes."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert np.array_equal(x, y, equal_nan=np.issubdtype(x.dtype, np.floating))
