"""Every habit of Flax works with every layer on graphs; their laws are in ``tests/nn/graphs/test_laws.py``."""

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from tests.contract.test_contract import close
from tests.nn.graphs.cases import CASES

TRAINABLE = [case for case in CASES if case.names]
every_layer = pytest.mark.parametrize("case", TRAINABLE, ids=lambda case: case.name)
#: One of each kind of program: sums, attention, several aggregations, dense attention, points in space.
KINDS = [case for case in CASES if case.name in ("GCNConv", "GATv2Conv", "PNAConv", "GraphTransformerBlock", "EGNN")]
each_kind = pytest.mark.parametrize("case", KINDS, ids=lambda case: case.name)


def features(y):
    """The new features: of a graph its nodes, of a pool the array."""
    return y.nodes if hasattr(y, "nodes") else y


def stacked(case, count):
    """Graphs of equal shape along a leading axis."""
    return jax.tree.map(lambda *leaves: jax.device_put(np.stack(leaves)), *(case.graph(seed=k) for k in range(count)))


@every_layer
def test_orbax_and_linen(case, tmp_path):
    layer, graph = case(), case.graph()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.state(layer))
        checkpointer.wait_until_finished()
        abstract = nnx.eval_shape(case)
        restored = checkpointer.restore(tmp_path / "state", nnx.state(abstract))
    definition, _ = nnx.split(abstract)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(nnx.state(layer)), strict=True):
        assert (np.asarray(a) == np.asarray(b)).all()
    shape = jax.eval_shape(lambda state: features(nnx.merge(definition, state)(graph)), restored)
    module = nnx.bridge.to_linen(lambda rngs: case(rngs=rngs))
    variables = jax.eval_shape(module.init, jax.random.key(0), graph)
    assert set(variables) == {"params"}
    assert features(jax.eval_shape(module.apply, variables, graph)).shape == shape.shape


@each_kind
def test_vmap_remat_and_one_trace(case):
    graphs, traces = stacked(case, 2), []

    @nnx.jit
    def both(layer, graphs):
        traces.append(1)
        loss = lambda layer, graphs: (features(jax.vmap(layer)(graphs)) ** 2).sum()  # noqa: E731
        plain = nnx.value_and_grad(loss)(layer, graphs)
        return plain, nnx.value_and_grad(lambda layer, graphs: nnx.remat(loss)(layer, graphs))(layer, graphs)

    plain, remat = both(case(), graphs)
    assert close(plain, remat)
    both(case(seed=3), graphs)
    assert len(traces) == 1
    layer, each = case(), [case.graph(seed=k) for k in range(2)]
    alone = float(jax.jit(lambda each: sum((features(layer(graph)) ** 2).sum() for graph in each))(each))
    assert abs(alone - float(plain[0])) <= 1e-12 * alone


@each_kind
def test_scan_over_layers(case):
    graph = case.graph()

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs):
        return case(rngs=rngs)

    definition, state = nnx.split(make(nnx.Rngs(0)))
    y, _ = jax.lax.scan(lambda graph, state: (nnx.merge(definition, state)(graph), None), graph, state)
    z = graph
    apply = jax.jit(lambda state, graph: nnx.merge(definition, state)(graph))
    for k in range(3):
        z = apply(jax.tree.map(lambda leaf, k=k: np.asarray(leaf)[k], state), z)
    assert close(y.nodes, z.nodes, 1e-12)


@each_kind
def test_data_parallel_equals_one_device(case):
    graphs, mesh = stacked(case, 4), jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    put = lambda tree, spec: jax.device_put(tree, NamedSharding(mesh, spec))  # noqa: E731
    layer, parallel = case(), case()
    nnx.update(parallel, put(nnx.state(parallel), P()))

    @nnx.jit
    def step(layer, optimizer, graphs):
        loss, gradient = nnx.value_and_grad(lambda layer: (features(jax.vmap(layer)(graphs)) ** 2).mean())(layer)
        optimizer.update(layer, gradient)
        return loss

    losses = []
    for model, data in ((layer, graphs), (parallel, put(graphs, P("data")))):
        optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)
        losses.append(step(model, optimizer, data))
    assert close(losses[1], losses[0], 1e-12)
    assert close(nnx.state(parallel, nnx.Param), nnx.state(layer, nnx.Param), 1e-12)
