"""A model is observed without being touched, and its trace replays it bit by bit."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.audit._trace import trace
from tests.helpers import check_message

X = jax.random.normal(jax.random.key(0), (2, 6, 6, 3), jnp.float32)


class Small(nnx.Module):
    """A functional and a called convolution, normalisation, dropout, remat, one module called twice."""

    def __init__(self, rngs: nnx.Rngs):
        self.stem = nnx.Conv(3, 4, (3, 3), padding="CIRCULAR", rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.twice = nnx.Conv(4, 4, (3, 3), rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        x = self.norm(nnx.gelu(self.stem(x)))
        x = nnx.remat(lambda layer, x: layer(x))(self.twice, x)
        x = nnx.max_pool(self.twice(x), (2, 2), strides=(2, 2))
        return self.head(self.drop(x).mean((1, 2)))


class Stacked(nnx.Module):
    """Three layers in a scan."""

    def __init__(self, rngs: nnx.Rngs):
        @nnx.split_rngs(splits=3)
        @nnx.vmap(in_axes=0, out_axes=0)
        def make(rngs):
            return nnx.Linear(3, 3, rngs=rngs)

        self.layers = make(rngs)

    def __call__(self, x):
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def forward(x, layer):
            return nnx.relu(layer(x))

        return forward(x, self.layers)


@pytest.mark.parametrize("make", [pytest.param(Small, marks=pytest.mark.slow), Stacked])
def test_replay_is_bitwise(make):
    model = make(nnx.Rngs(0))
    traced = trace(model, X)
    graph, state = nnx.split(model)

    @jax.jit
    def call(state, x):
        return nnx.merge(graph, state)(x)

    found = jax.jit(traced.program)(*traced.state, *traced.x)[0]
    chex.assert_trees_all_equal(np.asarray(found), np.asarray(call(state, X)))
    with jax.disable_jit():
        eager = nnx.merge(graph, state)(X)
    chex.assert_trees_all_equal(np.asarray(traced.program(*traced.state, *traced.x)[0]), np.asarray(eager))


def test_model_classes_and_state_are_untouched():
    model = Small(nnx.Rngs(0))
    classes = [(path, type(module), type(module).__call__) for path, module in nnx.iter_modules(model) if callable(module)]
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngKey))))
    names = sorted(vars(model.stem))
    trace(model, X)
    assert [
        (path, type(module), type(module).__call__) for path, module in nnx.iter_modules(model) if callable(module)
    ] == classes
    after = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngKey))))
    chex.assert_trees_all_equal(before, after)
    assert sorted(vars(model.stem)) == names


def test_every_call_has_its_name():
    calls = list(dict.fromkeys(str(eq.scope[-1]) for eq in trace(Small(nnx.Rngs(0)), X).program.equations if eq.scope))
    assert calls == ["stem", "norm", "twice", "twice#2", "drop", "head"]
    scanned = trace(Stacked(nnx.Rngs(0)), X).program
    assert [str(eq.scope[-1]) for eq in scanned.equations if eq.name == "dot_general"] == ["layers", "layers#2", "layers#3"]


def test_functional_operations_know_their_line():
    program = trace(Small(nnx.Rngs(0)), X).program
    (pool,) = [eq for eq in program.equations if eq.name == "reduce_window_max"]
    assert pool.scope == () and pool.line.startswith("test_trace.py:")


@pytest.mark.parametrize(("graph", "updates"), [(True, True), (True, False), (False, False)])
def test_graph_modes(graph, updates):
    with nnx.set_graph_mode(graph), nnx.set_graph_updates(updates):
        traced = trace(Stacked(nnx.Rngs(0)), X)
        assert len(traced.state) == 2 and traced.outputs == 1


def test_abstract_state():
    traced = trace(nnx.eval_shape(lambda: Stacked(nnx.Rngs(0))), jax.ShapeDtypeStruct((2, 3), jnp.float32))
    assert {leaf.shape for leaf in traced.state} == {(3, 3, 3), (3, 3)}


class Numpy(nnx.Module):
    def __call__(self, x):
        return x * float(np.asarray(x).max())


class Silent(nnx.Module):
    def __call__(self, x):
        return None


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (Numpy(), ValueError, ("`model`", "Numpy", "can't be traced", "jax.numpy")),
        (Silent(), ValueError, ("`model`", "Silent", "returns no array")),
        (jnp.sin, TypeError, ("`model`", "nnx.Module", "Wrap")),
    ],
)
def test_bad_models(model, error, words):
    check_message(lambda: trace(model, X), error, words)


class Inline(nnx.Module):
    """Layers of the library that are made while the model is called, as a plan prints them."""

    def __call__(self, x):
        y = ej.nn.PolyphaseMaxPool((2, 2), (2, 2))(x)
        y, choice = ej.nn.PolyphaseDownsample((3, 3)).with_choice(y)
        return ej.nn.PolyphaseUpsample((3, 3))(y, choice)


def test_layers_that_are_made_in_the_call_are_called_by_their_class():
    before = {cls: cls.__call__ for cls in (ej.nn.PolyphaseMaxPool, ej.nn.PolyphaseDownsample)}
    x = jnp.asarray(X, float).repeat(2, 1).repeat(2, 2) * jnp.arange(1.0, 13.0)[None, :, None, None]
    report = ej.audit.explain(Inline(), x, in_action=ej.GridAction(ej.Translation(2)))
    report.assert_exact()
    assert [row.name for row in report.rows] == ["PolyphaseMaxPool", "PolyphaseDownsample", "PolyphaseUpsample"]
    assert before == {cls: cls.__call__ for cls in before}
