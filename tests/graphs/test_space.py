"""Crystals: vectors along edges, images of points, strain and stress, against ase and plain numpy."""

import pickle

import ase
import ase.build
import ase.calculators.lj
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.neighborlist import neighbor_list

import equijax as ej
from equijax.graphs import (
    GraphBudget,
    add_self_loops,
    batch,
    edge_vectors,
    from_ase,
    from_networkx,
    radius_graph,
    reverse,
    strain,
    to_dense,
    to_jraph,
    to_networkx,
    to_scipy,
    unbatch,
    undirected,
)
from tests.graphs.random_graphs import assert_equal, random_graph, with_nan
from tests.helpers import check_message, randn

CELL = np.array([[2.0, 0.3, 0.0], [0.4, 2.1, -0.2], [0.0, 0.5, 3.0]])


def atoms(pbc=True, count=4, seed=0):
    """Atoms in a triclinic cell, some of them outside of it."""
    positions = np.random.default_rng(seed).uniform(-0.7, 1.7, (count, 3)) @ CELL
    return ase.Atoms("Cu" * count, positions, cell=CELL, pbc=pbc)


def rows(graph):
    """The valid edges with the vectors along them, sorted."""
    table = np.column_stack([graph.receivers, graph.senders, np.asarray(edge_vectors(graph)).round(9) + 0.0])
    return table[np.asarray(graph.edge_mask)][np.lexsort(table[np.asarray(graph.edge_mask)].T[::-1])]


@pytest.mark.parametrize("pbc", [True, (True, False, True), (False, True, False), False], ids=str)
@pytest.mark.parametrize("cutoff", [1.4, 4.5])
def test_vectors_to_images_are_those_of_ase(pbc, cutoff):
    """Also where the cutoff is larger than the cell, so that a neighbour has several images."""
    crystal = atoms(pbc)
    graph = from_ase(crystal, cutoff)
    i, j, back = neighbor_list("ijD", crystal, cutoff)  # from i, which receives, to j
    assert np.array_equal(graph.receivers, i)
    assert np.array_equal(graph.senders, j)
    assert np.allclose(edge_vectors(graph), -back, rtol=0, atol=1e-12)
    assert np.allclose(np.linalg.norm(edge_vectors(graph), axis=1), graph.edges[:, 0], rtol=0, atol=1e-12)
    assert (graph.shifts is None) == (not crystal.pbc.any())
    own = radius_graph(crystal.positions, cutoff, cell=CELL[crystal.pbc])
    assert own.shifts.shape == (own.num_edges, 3)
    assert np.array_equal(rows(own), rows(graph))


def test_edges_to_images_are_in_order_and_between_points_of_one_graph():
    points, owner = np.random.default_rng(1).normal(size=(6, 2)), [0, 1, 0, 1, 0, 1]
    together = radius_graph(points, 1.5, cell=[[1.0, 0.2]], node_graph=owner)
    for k in (0, 1):
        alone = radius_graph(points[k::2], 1.5, cell=[[1.0, 0.2]])
        assert_equal(unbatch(together)[k].shifts, alone.shifts)
        assert_equal(unbatch(together)[k].senders, alone.senders)
    number = np.asarray(together.shifts)[:, 0].round().astype(int)
    assert np.array_equal(together.shifts, number[:, None] * np.array([1.0, 0.2]))
    keys = list(zip(together.receivers.tolist(), together.senders.tolist(), (-number).tolist(), strict=True))
    assert keys == sorted(keys)
    assert radius_graph(np.zeros((0, 2)), 1.0, cell=[[1.0, 0.0]]).shifts.shape == (0, 2)
    assert radius_graph(np.zeros((2, 2)), 1.0, cell=np.zeros((0, 2))).shifts.tolist() == [[0.0, 0.0]] * 2


def test_other_edges():
    graph = batch([from_ase(atoms(), 2.5)], GraphBudget(6, 400, 2)).with_table()
    assert graph.num_edges > from_ase(atoms(), 2.5).num_edges
    back = reverse(graph)
    assert np.array_equal(edge_vectors(back), -np.asarray(edge_vectors(graph)))
    looped = jax.jit(add_self_loops)(graph)
    assert np.array_equal(edge_vectors(looped)[:400], edge_vectors(graph))
    assert not np.asarray(edge_vectors(looped)[400:]).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_undirected_pairs_by_ends_and_opposite_shift(dtype):
    whole = from_ase(atoms(), 3.0)
    turn = np.linalg.qr(randn((3, 3)))[0]  # so that shifts are opposite up to rounding
    shifts = ((np.asarray(whole.shifts) + 1e-15) @ turn).astype(dtype)
    turned = whole.replace(positions=(np.asarray(whole.positions) @ turn).astype(dtype), shifts=shifts)
    assert undirected(turned).num_edges == whole.num_edges
    kept = np.asarray(edge_vectors(whole))[:, 0] > 0
    half = ej.Graph(
        None,
        whole.senders[kept],
        whole.receivers[kept],
        positions=turned.positions,
        shifts=shifts[kept],
        edges=whole.edges[kept],
    )
    both = undirected(half)
    assert both.num_edges == whole.num_edges == 2 * half.num_edges
    same = lambda graph: rows(graph)[:, :2].tolist()  # noqa: E731
    assert same(both) == same(turned)
    assert np.allclose(np.sort(edge_vectors(both), 0), np.sort(edge_vectors(turned), 0), rtol=0, atol=1e-5)
    assert np.allclose(np.linalg.norm(edge_vectors(both), axis=1), both.edges[:, 0], rtol=0, atol=1e-5)
    assert undirected(both).num_edges == both.num_edges


def test_padding_holds_nothing():
    graph = with_nan(batch([from_ase(atoms(), 2.0)] * 2, GraphBudget(11, 300, 4)))
    vectors = edge_vectors(graph)
    assert np.isfinite(vectors).all()
    assert not np.asarray(vectors)[~np.asarray(graph.edge_mask)].any()

    def energy(eps, positions, shifts):
        return jnp.sum(edge_vectors(strain(graph.replace(positions=positions, shifts=shifts), eps)) ** 2)

    found = jax.grad(energy, (0, 1, 2))(jnp.zeros((4, 3, 3)), graph.positions, graph.shifts)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in found)
    assert np.allclose(found[0][0], found[0][1], rtol=1e-12)
    assert not np.asarray(found[0][2:]).any()


def test_a_batch_of_molecules_and_crystals():
    water, copper = from_ase(ase.build.molecule("H2O"), 1.2), from_ase(ase.build.bulk("Cu"), 2.6)
    assert water.shifts is None
    both = unbatch(batch([water, copper]))
    assert not np.asarray(both[0].shifts).any()
    assert both[0].shifts.shape == (4, 3)
    assert_equal(both[1], copper)
    assert_equal(unbatch(batch([copper, water]))[0], copper)


def test_pickle_repr_and_networkx():
    graph = from_ase(ase.build.bulk("Cu"), 2.6)
    assert_equal(pickle.loads(pickle.dumps(graph)), graph)
    assert "shifts float64[12,3]" in repr(graph)
    there = to_networkx(graph)
    back = from_networkx(there, nodes="features", edges="features", positions="positions", shifts="shifts")
    assert np.array_equal(rows(back), rows(graph))


def lennard_jones(graph):
    """The energy of pairs, σ = 1, ε = 1, which is 0 at ase's cutoff 3."""
    inverse = 1.0 / jnp.sum(edge_vectors(graph) ** 2, -1) ** 3
    return 0.5 * jnp.sum(4 * (inverse**2 - inverse) - 4 * (3.0**-12 - 3.0**-6))


@pytest.mark.parametrize("size", [1, 2])
def test_the_stress_is_that_of_ase(size):
    crystal = ase.build.bulk("Cu", "fcc", a=1.7).repeat(size)
    crystal.set_cell(crystal.cell.array @ (np.eye(3) + 0.05 * np.array(randn((3, 3)))), scale_atoms=True)
    crystal.rattle(0.03, seed=0)
    crystal.calc = ase.calculators.lj.LennardJones(rc=3.0)
    graph = from_ase(crystal, 3.0)

    @jax.jit
    def value_and_slopes(eps, positions):
        return jax.value_and_grad(lambda e, x: lennard_jones(strain(graph.replace(positions=x), e)), (0, 1))(eps, positions)

    energy, (slope, pull) = value_and_slopes(jnp.zeros((3, 3)), graph.positions)
    assert np.isclose(energy, crystal.get_potential_energy(), rtol=1e-12)
    assert np.allclose(slope, slope.T, rtol=0, atol=1e-11 * np.abs(slope).max())
    assert np.allclose(slope / crystal.get_volume(), crystal.get_stress(voigt=False), rtol=0, atol=1e-11)
    assert np.allclose(-pull, crystal.get_forces(), rtol=0, atol=1e-11 * np.abs(slope).max())
    eps, step = randn((3, 3), 5), 1e-5
    ahead, behind = (value_and_slopes(sign * step * eps, graph.positions)[0] for sign in (1, -1))
    assert np.isclose((ahead - behind) / (2 * step), jnp.sum(slope * eps), rtol=1e-7)


def test_strain_is_that_of_the_cell():
    crystal, eps = atoms(), 0.1 * np.array(randn((3, 3)))
    graph = strain(from_ase(crystal, 2.5), eps)
    deformed = crystal.copy()
    deformed.set_cell(CELL @ (np.eye(3) + eps), scale_atoms=True)
    assert np.allclose(graph.positions, deformed.positions, rtol=0, atol=1e-12)
    assert np.allclose(edge_vectors(graph), edge_vectors(from_ase(crystal, 2.5)) @ (np.eye(3) + eps), rtol=0, atol=1e-12)
    molecule = random_graph(shifts=None)
    assert np.allclose(strain(molecule, eps).positions, molecule.positions @ (np.eye(3) + eps))
    each = strain(batch([molecule, molecule]), np.stack([eps, 0 * eps]))
    assert np.allclose(each.positions[:5], strain(molecule, eps).positions)
    assert np.array_equal(each.positions[5:], molecule.positions)


def line(**more):
    return ej.Graph(None, [0, 1], [1, 0], **({"positions": jnp.zeros((2, 3))} | more))


SHIFTED = line(shifts=jnp.ones((2, 3)))
WRONG = {
    "cell numbers": (lambda: line(shifts=[[0, 0, 1], [0, 0, -1]]), TypeError, ["`shifts`", "int64", "numbers @ cell"]),
    "one for each node": (lambda: line(shifts=jnp.ones((3, 3))), ValueError, ["`shifts`", "(3, 3)", "2 edges"]),
    "another space": (lambda: line(shifts=jnp.ones((2, 2))), ValueError, ["`shifts`", "(2, 2)", "`positions`", "one length"]),
    "an axis": (lambda: line(shifts=jnp.ones((2, 3, 1))), ValueError, ["`shifts`", "(2, 3, 1)", "(E, d)"]),
    "batch axes": (lambda: line(shifts=jnp.ones((5, 2, 3))), ValueError, ["`shifts`", "(5, 2, 3)", "vmap"]),
    "a tree": (lambda: line(shifts={"a": jnp.ones((2, 3))}), ValueError, ["`shifts`", "dict", "(E, d)"]),
    "dtypes": (lambda: line(shifts=jnp.ones((2, 3), jnp.float32)), TypeError, ["`shifts`", "float32", "float64", "one dtype"]),
    "replaced": (lambda: SHIFTED.replace(shifts=jnp.ones((2, 2))), ValueError, ["`shifts`", "(2, 2)"]),
    "no positions": (lambda: edge_vectors(line(positions=None, node_mask=[True, True])), ValueError, ["no positions", "edge_vectors"]),
    "whole positions": (lambda: edge_vectors(line(positions=jnp.zeros((2, 3), int))), TypeError, ["`graph.positions`", "int64"]),
    "no graph": (lambda: strain(jnp.ones((2, 3)), jnp.eye(3)), TypeError, ["`graph`", "strain", "Graph("]),
    "strain of words": (lambda: strain(SHIFTED, "ab"), TypeError, ["`eps`", "'ab'"]),
    "strain": (lambda: strain(SHIFTED, jnp.eye(2)), ValueError, ["`eps`", "(2, 2)", "(3, 3)", "(1, 3, 3)"]),
    "dense": (lambda: to_dense(SHIFTED), ValueError, ["`graph.shifts`", "a dense graph", "shifts=None"]),
    "matrix": (lambda: to_scipy(SHIFTED), ValueError, ["`graph.shifts`", "a matrix"]),
    "jraph": (lambda: to_jraph(SHIFTED.replace(positions=None)), ValueError, ["`graph.shifts`", "GraphsTuple"]),
    "networkx": (lambda: to_networkx(SHIFTED, directed=False), ValueError, ["`graph.shifts`", "undirected"]),
    "from networkx": (
        lambda: from_networkx(to_networkx(line(), directed=False), shifts="shifts"), ValueError, ["`shifts`", "undirected", "DiGraph"]),
    "cell shape": (lambda: radius_graph(randn((3, 3)), 1.0, cell=np.eye(2)), ValueError, ["`cell`", "(2, 2)", "(k, 3)"]),
    "flat cell": (lambda: radius_graph(randn((3, 3)), 1.0, cell=np.diag([1.0, 1.0, 0.0])), ValueError, ["`cell`", "depend", "Leave out"]),
    "whole points": (lambda: radius_graph(np.zeros((3, 3), int), 1.0, cell=np.eye(3)), TypeError, ["`positions`", "int64", "cell"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use(name):
    check_message(*WRONG[name])
