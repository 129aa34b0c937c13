"""Numbers of every kind through every layer: right to the dtype's rounding, or a clear TypeError, as docs/conventions.md says."""

import functools
import inspect
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from tests.contract.cases import CASES, POOLS
from tests.helpers import drawn, lecun

PAGE = pathlib.Path(ej.__file__).parents[1] / "docs" / "conventions.md"
#: Layers that take what their parts take, or a graph.
COMPOSED = {"Sequential", "MapElements", "Declared", "HeteroLayer", "FieldLayer", "Layer", "Symmetrize"}


@functools.cache
def table():
    """Names and words of the table in the conventions: (name, mode) → (integers, complex, range)."""
    rules = {}
    for row in re.findall(r"^\| (`.*) \|$", PAGE.read_text(), re.MULTILINE):
        names, *rule = (cell.strip() for cell in row.split("|"))
        if len(rule) != 3 or rule[2] not in ("whole", "squares"):
            continue
        for group in names.split(";"):
            modes = re.findall(r'`"(\w+)"`', group) or [None]
            rules.update({(name, mode): tuple(rule) for name in re.findall(r"`(\w+)`", group) for mode in modes})
    return rules


def rule_of(layer):
    """The row of a layer: by its mode where its names have some."""
    name = type(layer).__name__
    mode = getattr(layer, "mode", None) or getattr(layer, "method", None)
    if name == "CentredPool":
        mode = "mean" if layer.fill == 0 else "max"
    if name in ("Sequential", "PolyphaseResidual", "PolyphaseStage"):
        return "promoted", "yes", "whole"
    listed = {key[1] for key in table() if key[0] == name}
    return table()[name, mode if mode in listed else None]


def numbers(shape, kind):
    """Entries of one kind; complex ones with both parts."""
    x = np.random.default_rng(0).normal(size=shape)
    return {
        "bool": lambda: x > 0,
        "uint8": lambda: np.clip(200 + 40 * x, 0, 255).astype(np.uint8),
        "int8": lambda: np.clip(90 * x, -128, 127).astype(np.int8),
        "float16": lambda: np.clip(3e4 * x, -6e4, 6e4).astype(np.float16),
        "bfloat16": lambda: x.astype(jnp.bfloat16),
        "large": lambda: (1e15 * x).astype(np.float32),
        "huge": lambda: (1e30 * x).astype(np.float32),
        "tiny": lambda: (1e-30 * x).astype(np.float32),
        "complex64": lambda: (x + 1j * x[..., ::-1]).astype(np.complex64),
    }[kind]()


KINDS = ("bool", "uint8", "int8", "float16", "bfloat16", "large", "huge", "tiny", "complex64")
#: What runs at every change; the others show the same and are slow.
FIRST = ("AvgPool circular", "FibrePool finite")


def _case(case):
    return pytest.param(case, id=case.name, marks=() if case.name in FIRST else pytest.mark.slow)


def _wide(x):
    return x.astype(jnp.complex128 if jnp.iscomplexobj(x) else jnp.float64)


@pytest.mark.parametrize("case", [_case(case) for case in CASES + POOLS])
def test_numbers_of_every_kind(case):
    layer = (
        case(param_dtype=jnp.float32, kernel_init=lecun, bias_init=drawn) if case in CASES else case(param_dtype=jnp.float32)
    )
    integers, complex_, reach = rule_of(layer)
    refused, taken = {}, {}
    for kind in KINDS:
        x = numbers(case.shape, kind)
        whole = not jnp.issubdtype(x.dtype, jnp.inexact)
        if reach == "squares" and (kind == "huge" or (kind == "tiny" and integers == "TypeError")):
            continue
        bad = (complex_ == "TypeError" and kind == "complex64") or (integers == "TypeError" and whole)
        (refused if bad else taken)[kind] = x
    with jax.numpy_dtype_promotion("standard"):
        for x in refused.values():
            with pytest.raises(TypeError, match="astype|side by side"):
                layer(jnp.asarray(x))
        found = jax.device_get(_outputs(layer, taken))
    for kind, (y, expected, single) in found.items():
        x = taken[kind]
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            assert y.dtype == (x.dtype if integers == "kept" else jnp.float32), kind
        elif not jax.tree.leaves(getattr(layer, "kernel", None)) and integers != "promoted":
            assert y.dtype == x.dtype, kind
        rounding = 8 * float(jnp.finfo(y.dtype).eps) if jnp.issubdtype(y.dtype, jnp.inexact) else 0
        size = np.abs(expected).max(initial=0)
        assert np.isfinite(size), kind
        if rounding and size > float(jnp.finfo(y.dtype).max):
            continue  # the result itself does not fit: a user's function squares large halves
        least = float(jnp.finfo(y.dtype).tiny) if rounding else 0
        error = np.abs(y.astype(expected.dtype) - expected).max(initial=0)
        if y.dtype == jnp.float32 and x.dtype.itemsize == 2:  # halves beside parameters: float32's own result, bit for bit
            np.testing.assert_array_equal(y, single)
        # A whole network of squares cancels: of halves up to 2e4 a 4e8 is left as a 4e3, with float32's rounding of the former.
        deep = len(case.names) if case.name == "EMLP" else 1
        assert error <= rounding * size * len(case.shape) * deep + least, (kind, error, size)


def _outputs(layer, given):
    """The layer on each input, on it in twice the precision, and on halves in float32: one program, which rounds as it is told."""

    def apply(given):
        single = lambda x: layer(x.astype(jnp.float32)) if x.dtype in (jnp.float16, jnp.bfloat16) else None  # noqa: E731
        return {kind: (layer(x), layer(_wide(x)), single(x)) for kind, x in given.items()}

    return jax.jit(apply, compiler_options={"xla_allow_excess_precision": False})(given)


def test_every_layer_stands_in_the_table():
    graphs = {name for name in dir(ej.nn.graphs) if inspect.isclass(getattr(ej.nn.graphs, name))}
    layers = {name for name, value in vars(ej.nn).items() if inspect.isclass(value) and issubclass(value, ej.nn.Layer)}
    named = {name for name, _ in table()}
    assert layers - graphs - COMPOSED - named == set()
