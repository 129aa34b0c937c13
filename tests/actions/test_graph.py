"""GraphAction: it composes, moves everything along, and refuses what is no permutation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.graphs import GraphBudget, batch, edge_vectors, neighbour_sum
from equijax.reps import Regular, Representation
from equijax.testing import check_action, check_equivariance
from tests.graphs.random_graphs import in_numpy, random_graph
from tests.helpers import check_message, randn

P4 = ej.wallpaper("p4")
PLAIN = batch([random_graph(k, n, e) for k, (n, e) in enumerate(((3, 5), (4, 6)))], GraphBudget(9, 13, 3))
MOVING = PLAIN.replace(velocities=randn((9, 3)))
PATCHES = ej.Graph(randn((4, 3, 3, 4, 2)), [0, 1, 3, 3], [1, 2, 0, 3])


@dataclasses.dataclass(frozen=True)
class Vectors(Representation):
    """A user's own: the matrices themselves."""

    group: ej.O
    dim = 3

    def __call__(self, g):
        return g


@dataclasses.dataclass(frozen=True)
class Squares(Representation):
    """Pairs of vectors, flat."""

    group: ej.O
    dim = 9

    def __call__(self, g):
        return jnp.kron(g, g)


FIELDS = PLAIN.replace(nodes=randn((9, 3, 2)), edges=randn((13, 9, 1)), velocities=randn((9, 3)))
FIBRES = dict(node_fibre=Vectors(ej.O(3)), edge_fibre=Squares(ej.O(3)))
ACTIONS = {
    "fields in space": (ej.GraphAction(space=ej.E(3), **FIBRES), FIELDS),
    "tables": (ej.GraphAction(), PLAIN.with_table()),
    "motions": (ej.GraphAction(space=ej.E(3)), MOVING),
    "patches in space": (
        ej.GraphAction(space=ej.SE(2), node_action=ej.GridAction(P4, Regular(P4.point_group))), PATCHES.replace(positions=randn((4, 2)))),
    "no nodes": (ej.GraphAction(), ej.Graph(jnp.ones((0, 1)), [], [])),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIONS)
def test_the_law_of_actions(name):
    check_action(*ACTIONS[name], samples=1)


def test_as_written_in_a_loop():
    rng = np.random.default_rng(0)
    p, q = rng.permutation(9), rng.permutation(13)
    graph, moved = in_numpy(PLAIN), in_numpy(jax.jit(ej.GraphAction())((p, q), PLAIN))
    for i in range(9):
        for name in ("nodes", "positions", "node_graph", "node_mask"):
            assert np.array_equal(getattr(moved, name)[p[i]], getattr(graph, name)[i])
    for e in range(13):
        assert moved.senders[q[e]] == p[graph.senders[e]]
        assert moved.receivers[q[e]] == p[graph.receivers[e]]
        assert moved.edge_mask[q[e]] == graph.edge_mask[e]
        assert np.array_equal(moved.edges["a"][q[e]], graph.edges["a"][e])
        assert np.array_equal(moved.shifts[q[e]], graph.shifts[e])
    assert np.array_equal(moved.globals, graph.globals)
    assert np.array_equal(moved.graph_mask, graph.graph_mask)
    ej.Graph(
        **{name: getattr(moved, name) for name in ("nodes", "senders", "receivers", "node_graph", "node_mask", "edge_mask")}
    )


def test_one_element_moves_positions_and_fibres():
    p, q, (t, R) = ej.GraphAction(9, 13, ej.E(3)).group.sample(jax.random.key(1))
    graph, moved = in_numpy(FIELDS), in_numpy(jax.jit(ej.GraphAction(space=ej.E(3), **FIBRES))((p, q, (t, R)), FIELDS))
    p, q, R = (np.asarray(part) for part in (p, q, R))
    for i in range(9):
        at = p[i]
        assert np.allclose(moved.nodes[at], R @ graph.nodes[i], atol=1e-6)
        assert np.allclose(moved.velocities[at], R @ graph.velocities[i], atol=1e-6)
    for k in range(13):
        assert np.allclose(moved.edges[q[k]].reshape(3, 3), R @ graph.edges[k].reshape(3, 3) @ R.T, atol=1e-6)
        assert np.allclose(moved.shifts[q[k]], R @ graph.shifts[k], atol=1e-6)


def test_vectors_between_points():
    """The sum of the vectors to the neighbours is a vector field; the positions themselves are not (negative control)."""
    vectors = ej.GraphAction(space=ej.E(3), node_fibre=Vectors(ej.O(3)))
    start = FIELDS.replace(edges=None)

    def pull(graph):
        offset = edge_vectors(graph)
        return graph.replace(nodes=jnp.zeros((9, 3, 1), offset.dtype).at[graph.receivers, :, 0].add(offset))

    check_equivariance(pull, vectors, vectors, start, gradient=False)
    with pytest.raises(AssertionError, match="fails"):
        check_equivariance(
            lambda graph: graph.replace(nodes=graph.positions[..., None]), vectors, vectors, start, gradient=False
        )


def test_what_mixes_coordinates_is_known():
    permuted, mixed = ej.GraphAction(space=ej.Cyclic(4), node_fibre=Regular(ej.Cyclic(4))), ACTIONS["fields in space"][0]
    assert permuted.permutes and ej.GraphAction().permutes and mixed.permutes is False
    sized = mixed.for_input(FIELDS)
    assert sized.num_nodes == 9 and sized != mixed and mixed.fits(sized) and not ej.GraphAction(space=ej.E(3)).fits(sized)
    layer = ej.nn.GCNConv(2, 2, rngs=nnx.Rngs(0))
    check_message(lambda: layer.out_action_for(mixed), ValueError, ["`in_action`", "mixes the coordinates", "invariants"])


def test_a_moved_table_sums_the_same(monkeypatch):
    monkeypatch.setattr("equijax.graphs._sums.TABLE_BYTES", 0)
    graph = PLAIN.with_table()
    sums = jax.jit(lambda graph: graph.replace(nodes=neighbour_sum(graph.nodes, graph)))
    check_equivariance(sums, ej.GraphAction(), ej.GraphAction(), graph)


def test_motions_leave_padding_where_a_layer_left_it():
    g = (np.arange(9), np.arange(13), (jnp.ones(3), jnp.eye(3)))
    moved = in_numpy(ej.GraphAction(space=ej.E(3))(g, MOVING))
    mask = np.asarray(MOVING.node_mask)[:, None]
    assert np.allclose(moved.positions, MOVING.positions + np.where(mask, 1.0, 0.0))
    assert np.array_equal(moved.velocities, MOVING.velocities)


def test_sizes_are_those_of_the_graph():
    sized = ej.GraphAction(space=ej.E(3)).for_input(MOVING)
    assert (sized.num_nodes, sized.num_edges) == (9, 13)
    assert sized.group == ej.DirectProduct(ej.Permutation(9), ej.Permutation(13), ej.E(3))
    assert ej.GraphAction(9, 13).for_input(MOVING) == ej.GraphAction(9, 13)


def test_what_is_not_equivariant_is_found():
    def first(graph):
        return graph.replace(nodes=graph.nodes.at[0].multiply(2.0))

    assert ej.equivariance_error(first, ej.GraphAction(), ej.GraphAction(), PLAIN).max() > 1e-2

    def count(graph):
        return graph.replace(edges={"b": graph.edges["b"].at[0].add(1)})

    assert ej.equivariance_error(count, ej.GraphAction(), ej.GraphAction(), PLAIN).max() == np.inf


ARANGE = (np.arange(9), np.arange(13))
WRONG = {
    "no permutation": (lambda: ej.GraphAction()((np.zeros(9, int), ARANGE[1]), PLAIN), ValueError, ["permutation", "every image once"]),
    "short": (lambda: ej.GraphAction()((np.arange(8), ARANGE[1]), PLAIN), ValueError, ["`g`", "(8,) nodes", "9, padding included"]),
    "edges": (lambda: ej.GraphAction()((ARANGE[0], np.arange(9)), PLAIN), ValueError, ["`g`", "(9,) edges", "13"]),
    "floats": (lambda: ej.GraphAction()((np.arange(9.0), ARANGE[1]), PLAIN), TypeError, ["`g`", "float64", "permutations"]),
    "wrapped": (lambda: ej.GraphAction()((np.arange(9) + 2**32, ARANGE[1]), PLAIN), ValueError, ["`g`", "32 bits"]),
    "an array": (lambda: ej.GraphAction()(ARANGE, jnp.ones((9, 2))), TypeError, ["`x`", "Graph("]),
    "axes": (lambda: ej.GraphAction().axes(3), ValueError, ["axes(3)", "more than one array"]),
    "space": (lambda: ej.GraphAction(space=3), TypeError, ["`space`", "E(3)"]),
    "node action": (lambda: ej.GraphAction(node_action=P4), TypeError, ["`node_action`", "Action"]),
    "fibre without space": (
        lambda: ej.GraphAction(node_fibre=Vectors(ej.O(3))), ValueError, ["`node_fibre`", "`space`", "space=O(3)"]),
    "fibre of another group": (
        lambda: ej.GraphAction(space=ej.SE(3), edge_fibre=Vectors(ej.O(3))), TypeError, ["O(3)", "SE(3)"]),
    "no fibre": (lambda: ej.GraphAction(space=ej.E(3), node_fibre=3), TypeError, ["`node_fibre`", "representation"]),
    "fibre and action": (
        lambda: ej.GraphAction(space=ej.E(3), node_fibre=Vectors(ej.O(3)), node_action=ej.GridAction(P4)),
        ValueError, ["`node_fibre`", "`node_action`", "both"]),
    "size": (lambda: ej.GraphAction(-1), ValueError, ["`num_nodes`"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])
