"""The layers that existed at commit f3a75f8 draw the same parameters and compute the same numbers from them.

``tests/golden/states.npz`` was recorded there by ``tests/golden/record.py``. In the environment of the recording (versions,
processor, compiler settings) every bit must be equal. Elsewhere another processor may round otherwise: there outputs may differ
by 1e-12 in float64 and 1e-5 in float32, drawn parameters by eight units in the last place, of the largest entry.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.golden.cases import FAMILIES, described, named, outputs
from tests.golden.environment import environment
from tests.golden.file import read

FLOATS = {"float32": 1e-5, "float64": 1e-12}
#: The layers on graphs share nothing with the engine of the others, and take as long to compile as all of them.
families = [pytest.param(name, marks=pytest.mark.slow if name == "graphs" else ()) for name in FAMILIES]
every_family = pytest.mark.parametrize("family", families)


@functools.cache
def golden():
    """The recording as {(layer, dtype, kind): {path: array}}, and whether it was made in this environment."""
    arrays, meta = read()
    assert meta["commit"] == "f3a75f8"
    here = meta["environment"] == environment()
    tree = {}
    for key, value in arrays.items():
        name, dtype, kind, path = key.split("|")
        tree.setdefault((name, dtype, kind), {})[path] = value
    return tree, here


def differs(new, old, tolerance):
    """Why two dicts of arrays are not the same, or nothing; a tolerance of 0 asks for every bit."""
    shapes = [{path: (leaf.shape, leaf.dtype) for path, leaf in named(tree).items()} for tree in (new, old)]
    if shapes[0] != shapes[1]:
        return f"{shapes[0]}, recorded {shapes[1]}"
    for path, value in new.items():
        if np.array_equal(value, old[path], equal_nan=True):
            continue
        difference = np.nanmax(np.abs(value - old[path])) if value.dtype.kind == "f" else np.inf
        same_holes = np.array_equal(np.isfinite(value), np.isfinite(old[path]))
        if not (same_holes and difference <= tolerance * np.nanmax(np.abs(old[path]))):
            return f"{path} by {difference:.1e}"
    return ""


def recorded(case, dtype, kind, like):
    """The recorded arrays in the structure of a tree."""
    arrays = golden()[0].get((case.name, dtype, kind), {})
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.flatten_with_path(like)[0]]
    assert set(paths) == set(arrays), f"{case.name}: {kind} has {paths}, recorded {list(arrays)}"
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[path] for path in paths])


@every_family
def test_initialisation_is_unchanged(family):
    """In float32, the default; float64 asks for the same keys and shapes."""
    tree, here = golden()
    wrong = {}
    for case in FAMILIES[family]:
        drawn = named(nnx.to_pure_dict(nnx.state(case.layer(jnp.float32))))
        wrong[case.name] = differs(drawn, tree.get((case.name, "float32", "state"), {}), 0 if here else 8 * 2**-23)
    assert not (wrong := {name: why for name, why in wrong.items() if why}), wrong


def computed(family, dtype, change=lambda state: state):
    """Outputs of a family from the recorded parameters and inputs."""
    cases, kind = FAMILIES[family], jnp.dtype(dtype)
    empty = [nnx.to_pure_dict(described(case, kind)[1]) for case in cases]
    states = [change(recorded(case, dtype, "state", like)) for case, like in zip(cases, empty, strict=True)]
    inputs = [recorded(case, dtype, "input", jax.eval_shape(lambda case=case: case.input(kind))) for case in cases]
    return {case.name: named(y) for case, y in zip(cases, outputs(cases, kind, states, inputs), strict=True)}


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@every_family
def test_outputs_from_the_golden_state_are_unchanged(family, dtype):
    tree, here = golden()
    wrong = {
        name: differs(y, tree.get((name, dtype, "output"), {}), 0 if here else FLOATS[dtype])
        for name, y in computed(family, dtype).items()
    }
    assert not (wrong := {name: why for name, why in wrong.items() if why}), wrong


def test_a_changed_number_is_noticed():
    """Negative control: one unit in the last place is another bit, and 1e-11 of a number is more than the tolerance."""
    old = {"a": np.ones(3), "b": np.zeros((2, 2))}
    assert not differs({"a": np.ones(3), "b": np.zeros((2, 2))}, old, 0)
    assert differs({"a": np.array([1, 1, np.nextafter(1, 2)]), "b": old["b"]}, old, 0)
    assert not differs({"a": np.array([1, 1, np.nextafter(1, 2)]), "b": old["b"]}, old, 1e-12)
    assert differs({"a": np.array([1, 1, 1 + 1e-11]), "b": old["b"]}, old, 1e-12)
    assert differs({"a": np.array([1, 1, np.nan]), "b": old["b"]}, old, 1e-12)
    assert differs({"a": old["a"], "b": np.zeros(4)}, old, 1e-12)
    assert differs({"a": old["a"]}, old, 1e-12)
    assert differs({"a": np.ones(3, np.float32), "b": old["b"]}, old, 1e-12)
