"""What theory says of every layer of the gallery, measured on the layer alone, with ``jnp.roll`` and without equijax."""

import contextlib
from unittest import mock

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from tests.audit.gallery.parts import Last, Pool, Positions, Sinusoids
from tests.audit.gallery.table import PARAMS
from tests.helpers import randn

#: Classes of the modules that are measured, and what it is called when they don't commute with whole shifts.
WATCHED = {nnx.Conv: "border", nnx.ConvTranspose: "border", Pool: "border", Positions: "position", Sinusoids: "position",
           Last: "position"}  # fmt: skip


def met(model, x):
    """Returns path → (module, shape of its input) for every watched module that the network calls."""
    paths = {id(module): ".".join(map(str, path)) for path, module in nnx.iter_modules(model)}
    found = {}

    def recording(original):
        def call(module, x):
            found[paths[id(module)]] = (module, x.shape)
            return original(module, x)

        return call

    with contextlib.ExitStack() as stack:
        for kind in WATCHED:
            stack.enter_context(mock.patch.object(kind, "__call__", recording(kind.__call__)))
        model(x)
    return found


def near(a, b):
    """Tells whether two arrays are equal but for rounding."""
    return bool(jnp.linalg.norm(a - b) <= 1e-9 * jnp.linalg.norm(b))


def measured(f, shape, word):
    """Returns what a layer breaks.

    A layer with stride s has to move its output by 1 when its input moves by s, else it is called ``word``. And when its input
    moves by 1, its output has to stay or move by a whole number, else its samples depend on the phase of the grid. A layer
    whose output is s times as large has to move its output by s. Without a grid in the output it has to stay.
    """
    x = randn(shape, 7)
    y = f(x)
    kinds = set()
    for axis in range(1, x.ndim - 1):
        if y.ndim < x.ndim:
            kinds |= set() if near(f(jnp.roll(x, 1, axis)), y) else {word}
            continue
        stride, growth = max(1, x.shape[axis] // y.shape[axis]), max(1, y.shape[axis] // x.shape[axis])
        assert x.shape[axis] * growth == y.shape[axis] * stride
        if not near(f(jnp.roll(x, stride, axis)), jnp.roll(y, growth, axis)):
            kinds.add(word)
        unit = f(jnp.roll(x, 1, axis))
        if stride > 1 and not any(near(unit, jnp.roll(y, t, axis)) for t in range(y.shape[axis])):
            kinds.add("phase")
    return kinds


@pytest.mark.parametrize("entry", PARAMS)
def test_the_derived_list_is_what_is_measured(entry):
    model = entry.make()
    found = {}
    with jax.numpy_dtype_promotion("standard"):
        for path, (module, shape) in met(model, entry.x).items():
            word = next(word for kind, word in WATCHED.items() if isinstance(module, kind))
            found[path] = measured(module, shape, word)
        for name, (f, shape, word) in entry.also.items():
            found[name] = measured(lambda x, f=f: f(model, x), shape, word)
    assert {name: kinds for name, kinds in found.items() if kinds} == dict(entry.expected)
