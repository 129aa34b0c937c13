"""Every layer can be pickled and copied, with its functions, and is then the same program with the same bits."""

import copy
import functools
import inspect
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.contract.cases import CASES, PLANE, POOLS, SPACE
from tests.golden.cases import FAMILIES
from tests.helpers import randn

FLOAT = jnp.float32


def more():
    """Public layers that no catalogue holds, and functions of every kind that JAX has."""
    vector = ej.FibreAction(PLANE)
    slope = functools.partial(jax.nn.leaky_relu, negative_slope=0.1)
    return {
        "EMLPBlock": (ej.nn.EMLPBlock(2, 3, SPACE, SPACE, param_dtype=FLOAT, rngs=nnx.Rngs(0)), (4, 2)),
        "BatchNorm": (ej.nn.BatchNorm(2, group=ej.wallpaper("p4"), rngs=nnx.Rngs(0)), (3, 3, 4, 2)),
        "FieldBatchNorm": (ej.nn.FieldBatchNorm(2, PLANE, rngs=nnx.Rngs(0)), (3, 3, 2)),
        "FieldDropout": (ej.nn.FieldDropout(0.5, PLANE, deterministic=True), (3, 2)),
        "Declared": (ej.nn.Declared(jnp.negative, vector, vector), (3, 2)),
        "functions": (ej.nn.Sequential(ej.nn.SetLinear(2, 2, rngs=nnx.Rngs(0)), jax.nn.relu, jnp.tanh, slope), (5, 2)),
    }


def layers(family):
    """The layers of one catalogue with their inputs and how they are called; parameters are drawn in numpy, uncompiled."""
    random = np.random.default_rng(0)

    def drawn(build):
        static, state = nnx.split(nnx.eval_shape(build))
        draw = lambda leaf: jax.device_put(np.asarray(random.normal(size=leaf.shape)).astype(leaf.dtype))  # noqa: E731
        return nnx.merge(static, jax.tree.map(draw, state))

    if family in FAMILIES:
        for case in FAMILIES[family]:
            x = jax.eval_shape(lambda case=case: case.input(FLOAT))
            yield case.name, drawn(lambda case=case: case.layer(FLOAT)), x, case.call
    elif family == "contract":
        for case in (*CASES, *POOLS):
            yield case.name, drawn(case), jax.ShapeDtypeStruct((2, *case.shape), jnp.float64), lambda layer, x: layer(x)
    else:
        for name, (layer, shape) in more().items():
            yield name, layer, randn(shape, dtype=FLOAT), lambda layer, x: layer(x)


def program(call, layer, x):
    """What a layer computes, as text, and the constants in it: nothing is compiled."""
    static, state = nnx.split(layer)
    closed = jax.make_jaxpr(lambda state, x: call(nnx.merge(static, state), x))(state, x)
    return str(closed), [np.asarray(const).tobytes() for const in closed.consts]


def same_bits(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs
    )


def through_pickle(value):
    return pickle.loads(pickle.dumps(value))


families = [pytest.param(name, marks=pytest.mark.slow) for name in ("grids", "linear", "graphs", "contract")]


@pytest.mark.parametrize("family", [*families, "others", "more"])
def test_every_layer_is_the_same_after_pickle_and_deepcopy(family):
    wrong = []
    for name, layer, x, call in layers(family):
        before = nnx.split(layer)
        expected = program(call, layer, x)  # after a call: what it may keep is pickled too
        for how in (through_pickle, copy.deepcopy):
            static, state = nnx.split(how(layer))
            shares = name == "functions" or (static == before[0] and hash(static) == hash(before[0]))
            if not (shares and same_bits(state, before[1])):
                wrong.append((name, how.__name__))
        if program(call, nnx.merge(*through_pickle(before)), x) != expected:
            wrong.append((name, "its program"))
    assert not wrong, wrong


@pytest.mark.slow
def test_every_public_layer_is_among_them():
    seen = set()
    for family in (*FAMILIES, "contract", "more"):
        for _, layer, *_ in layers(family):
            seen |= {type(module) for _, module in nnx.iter_modules(layer)}
    public = {value for value in vars(ej.nn).values() if inspect.isclass(value) and issubclass(value, nnx.Module)}
    assert {kind.__name__ for kind in public - seen if not inspect.isabstract(kind)} <= {
        "GraphLayer",
        "FieldLayer",
        "HeteroLayer",
    }  # bases


@jax.jit
def jitted(x):
    """A function that a user compiles."""
    return x


def test_functions_of_jax_are_themselves():
    for fn in (jax.nn.relu, jax.nn.silu, jax.nn.gelu, jnp.tanh, jnp.maximum, jax.lax.tanh, jax.scipy.special.logit, jitted):
        assert through_pickle(fn) is fn
        assert copy.deepcopy(fn) is fn
    with pytest.raises(Exception, match="lambda"):
        pickle.dumps(jax.jit(lambda x: x))


def test_pickles_name_public_places_and_need_no_equijax():
    data = pickle.dumps((jax.nn.relu, jax.nn.silu))
    assert b"jax.nn:relu" in data
    assert b"jax.nn:silu" in data
    code = "import sys, pickle; relu, silu = pickle.loads(sys.stdin.buffer.read()); assert 'equijax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], input=data, check=True, cwd="/")
