"""Programs that take and return the pytrees of the library, with open numbers of nodes and edges, are written and read."""

import inspect
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import equijax as ej
from equijax import _exported
from tests.helpers import check_message, randn
from tests.nn.graphs.cases import CASES, world

SAW = ("user", "saw", "film")


def instances():
    """One of every public pytree."""
    graph = world(("edges", "positions")).with_table()
    types = ej.graphs.HeteroGraph(
        {"user": randn((2, 4)), "film": randn((3, 8))}, {SAW: ([0, 1], [0, 2]), ("film", "of", "film"): ([0], [1])}
    )
    encoding = ej.graphs.laplacian_encoding(ej.graphs.complete_graph(3), 2)
    choice = ej.nn.PolyphaseDownsample((2, 2)).with_choice(randn((4, 4, 1)))[1]
    return (graph, graph.table, ej.graphs.to_dense(graph), types, types.edges[SAW], encoding, choice)


def round_trip(fn, *like, **options):
    program = export.export(jax.jit(fn), platforms=["cpu"])(*like)
    return export.deserialize(program.serialize(**options))


def assert_same(a, b, tolerance=1e-11):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def test_every_public_pytree_is_taken_and_returned():
    values = instances()
    assert_same(round_trip(lambda *values: values, *values).call(*values), values, 0)
    modules = (ej, *(getattr(ej, name) for name in ("actions", "graphs", "groups", "nn", "reps", "sharing", "testing")))
    public = {value for module in modules for value in vars(module).values() if inspect.isclass(value)}
    data = {kind for kind in public if issubclass(kind, tuple) or hasattr(kind, "tree_flatten_with_keys")}
    data = {kind for kind in data if not issubclass(kind, nnx.Module)} | {ej.graphs.NeighbourTable}
    assert data == {type(value) for value in values}


def opened(graph):
    """The graph with open numbers of nodes, edges and graphs."""
    sizes = dict(zip((14, 20, 5), export.symbolic_shape("n, e, g"), strict=True))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((sizes[x.shape[0]], *x.shape[1:]), x.dtype), graph)


FEW = ("GCNConv", "GATConv", "EGNN", "GraphTransformerBlock dense")
layers = [pytest.param(case, marks=() if case.name in FEW else pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize("case", layers, ids=lambda case: case.name)
def test_layers_with_open_sizes(case):
    layer, graph = case(), case.graph()
    program = round_trip(lambda graph: layer(graph), opened(graph))
    assert_same(program.call(graph), jax.jit(layer)(graph))
    smaller = jax.eval_shape(program.call, jax.tree.map(lambda x: x[:3], graph))  # other sizes are taken
    assert {leaf.shape[0] for leaf in jax.tree.leaves(smaller)} == {3}


def attend(nodes, senders, receivers, key):
    """A graph that is made inside, and what a layer with noise makes of it."""
    graph = ej.Graph(nodes, senders, receivers)
    layer = ej.nn.TransformerConv(4, 4, 2, dropout_rate=0.5, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    return layer(graph, rngs=jax.random.wrap_key_data(key), return_attention_weights=True), ej.graphs.add_self_loops(graph)


def relate(users, films, senders, receivers):
    """A graph of two types; a layer on it, and its flat form."""
    graph = ej.graphs.HeteroGraph({"user": users, "film": films}, {SAW: (senders, receivers)})
    layer = ej.nn.HeteroConv({SAW: ej.nn.SAGEConv(4, 4, param_dtype=jnp.float64, rngs=nnx.Rngs(0))})
    return layer(graph), graph.to_flat()


@pytest.mark.parametrize("fn", [attend, relate])
def test_graphs_are_made_of_open_sizes(fn):
    n, m, e = export.symbolic_shape("n, m, e")
    ends, key = np.array([0, 1, 2], np.int32), np.zeros(2, np.uint32)
    given = (randn((5, 4)), ends, ends[::-1].copy(), key) if fn is attend else (randn((5, 4)), randn((3, 4), 1), ends, ends)
    sizes = (n, e, e, 2) if fn is attend else (n, m, e, e)
    shapes = [jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype) for size, x in zip(sizes, given, strict=True)]
    assert_same(round_trip(fn, *shapes).call(*given), jax.jit(fn)(*given))


def test_gradients_are_exported_too():
    layer, graph = ej.nn.GCNConv(4, 4, param_dtype=jnp.float64, rngs=nnx.Rngs(0)), world()
    shapes = opened(graph)
    program = round_trip(lambda nodes, graph: layer(graph.replace(nodes=nodes)), shapes.nodes, shapes, vjp_order=1)
    got = jax.grad(lambda nodes: (program.call(nodes, graph).nodes ** 2).sum())(graph.nodes)
    expected = jax.grad(lambda nodes: (layer(graph.replace(nodes=nodes)).nodes ** 2).sum())(graph.nodes)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.slow
def test_another_process_reads_and_calls(tmp_path):
    layer, graph = ej.nn.GINConv(nnx.Linear(4, 3, param_dtype=jnp.float64, rngs=nnx.Rngs(0))), world()
    program = export.export(jax.jit(lambda graph: layer(graph)), platforms=["cpu"])(opened(graph))
    (tmp_path / "program").write_bytes(program.serialize())
    fields = {
        name: np.asarray(getattr(graph, name))
        for name in ("nodes", "senders", "receivers", "node_graph", "node_mask", "edge_mask", "graph_mask")
    }
    (tmp_path / "graph").write_bytes(pickle.dumps(fields))
    code = (
        "import pickle, pathlib, sys, jax; jax.config.update('jax_enable_x64', True); import equijax as ej\n"
        "here = pathlib.Path(sys.argv[1]); fields = pickle.loads((here / 'graph').read_bytes())\n"
        "graph = jax.export.deserialize((here / 'program').read_bytes()).call(ej.Graph(**fields))\n"
        "assert type(graph) is ej.Graph; (here / 'out').write_bytes(pickle.dumps(graph.nodes.__array__()))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    np.testing.assert_allclose(pickle.loads((tmp_path / "out").read_bytes()), layer(graph).nodes, rtol=1e-12, atol=1e-13)


def test_fields_are_known_by_their_names():
    """A program from before a field was added gives None there; one from after it says which field is not known."""
    names = [field for field in ("nodes", "senders", "receivers")]
    graph = _exported._put_together(ej.Graph, names, ("a", "b", "c"))
    assert (graph.nodes, graph.senders, graph.edges, graph.table) == ("a", "b", None, None)
    check_message(lambda: _exported._put_together(ej.Graph, ["colour"], (1,)), ValueError, ["`Graph`", "'colour'", "later"])
