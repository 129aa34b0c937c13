"""A norm of a batch never counts padding, wherever a function of the user holds it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej

GRAPH = ej.Graph(
    np.arange(12, dtype=np.float32).reshape(4, 3),
    [0],
    [1],
    edges=np.ones((1, 3), np.float32),
    node_graph=[0, 0, 0, 1],
    node_mask=np.array([1, 1, 1, 0], bool),
    edge_mask=np.array([0], bool),
    graph_mask=np.array([1, 0], bool),
)
NORM = nnx.BatchNorm(3, rngs=nnx.Rngs(0))
SETS = jnp.ones((2, 4, 3), jnp.float32)
MASK = jnp.array([[True, True, False, False], [True, False, False, False]])


def through_global(x):
    return NORM(x)


class Object:
    def __init__(self, norm):
        self.norm = norm

    def __call__(self, x):
        return self.norm(x)


class OwnStatistics(nnx.Module):
    def __init__(self):
        self.seen = nnx.BatchStat(jnp.zeros(3))

    def __call__(self, x):
        self.seen[...] = x.mean(0)
        return x


class Updating(ej.nn.MessagePassing):
    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def update(self, nodes, aggregated):
        return self.norm(nodes)


HOLDERS = {
    "a closure": lambda norm: lambda x: norm(x),
    "a default": lambda norm: lambda x, norm=norm: norm(x),
    "a list in a closure": lambda norm: (lambda held: lambda x: held[0](x))([norm]),
    "a partial": lambda norm: functools.partial(lambda held, x: held(x), norm),
    "an object": Object,
    "a global": lambda norm: through_global,
    "a function in a function": lambda norm: lambda x: (lambda y: norm(y))(x),
    "statistics of its own": lambda norm: OwnStatistics(),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_hidden_norm_is_refused_where_there_is_padding(holder):
    fn = HOLDERS[holder](nnx.BatchNorm(3, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="whose statistics would count padding"):
        ej.nn.MapNodes(fn)(GRAPH)


def test_wherever_a_function_meets_a_mask():
    norm = nnx.BatchNorm(3, rngs=nnx.Rngs(0))
    hidden = lambda x: norm(x[..., :3])  # noqa: E731
    calls = [
        lambda: ej.nn.MapEdges(hidden)(GRAPH),
        lambda: ej.nn.GINConv(hidden)(GRAPH),
        lambda: ej.nn.MessagePassing(update=hidden)(GRAPH),
        lambda: Updating(norm)(GRAPH),
        lambda: ej.nn.DeepSet(hidden, hidden)(SETS, MASK),
        lambda: ej.nn.JanossyPool(lambda x: hidden(x.mean(-2)), 2)(SETS, MASK),
        lambda: ej.nn.Sequential(ej.nn.SetLinear(3, 3, rngs=nnx.Rngs(0)), hidden)(SETS, mask=MASK),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="whose statistics would count padding"):
            call()


@pytest.mark.parametrize(
    "wrapped", [lambda norm: functools.partial(norm, use_running_average=False), lambda norm: norm.__call__]
)
def test_a_wrapped_norm_of_flax_gets_its_mask(wrapped):
    norm = nnx.BatchNorm(3, momentum=0.0, rngs=nnx.Rngs(0))
    ej.nn.MapNodes(wrapped(norm))(GRAPH)
    np.testing.assert_allclose(np.asarray(norm.mean), np.asarray(GRAPH.nodes)[:3].mean(0))


def test_what_takes_no_statistics_passes():
    norm, running = nnx.LayerNorm(3, rngs=nnx.Rngs(0)), nnx.BatchNorm(3, use_running_average=True, rngs=nnx.Rngs(0))
    for fn in (lambda x: norm(x), lambda x: running(x), lambda x: jax.nn.relu(x)):
        assert ej.nn.MapNodes(fn)(GRAPH).nodes.shape == (4, 3)


def test_statistics_of_nothing_leave_the_averages_of_a_field_norm():
    norm = ej.nn.FieldBatchNorm(3, ej.reps.Regular(ej.Cyclic(4)), rngs=nnx.Rngs(0))
    norm(SETS)
    averages = lambda: [leaf[...] for leaf in jax.tree.leaves(nnx.state(norm, nnx.BatchStat))]  # noqa: E731
    before = averages()
    norm(5 * SETS, mask=jnp.zeros(2, bool))
    norm(SETS[:0])
    np.testing.assert_array_equal(before, averages())
