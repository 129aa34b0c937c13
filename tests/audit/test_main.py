"""The command line: which model, which group, which exit code."""

import json

import jax
import pytest

from equijax.audit.__main__ import main

MODELS = """
import jax.numpy as jnp
from flax import nnx

class Net(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 4, (3, 3), padding="CIRCULAR", rngs=rngs)

    def __call__(self, x):
        return jnp.tanh(self.stem(x))

class Broken(Net):
    def __call__(self, x):
        return super().__call__(x) * jnp.nan

class Points(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Linear(3, 4, rngs=rngs)

    def __call__(self, x):
        return self.stem(x)

class Dense(nnx.Module):
    def __init__(self, rngs):
        self.head = nnx.Linear(192, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(x.reshape(len(x), -1))

class Spectrum(Net):
    def __call__(self, x):
        return jnp.abs(jnp.fft.rfft2(x, axes=(1, 2)))

def optional(*, rngs=None):
    assert rngs is not None
    return Net(rngs)

def two(a, b):
    return Net(a)

def fails(rngs):
    raise RuntimeError("out of luck")
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    (tmp_path / "command_line_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def call(name, *options, shape="2,8,8,3", group="shifts"):
        code = main([f"command_line_models:{name}", "--input-shape", shape, "--group", group, *options])
        return code, capsys.readouterr()

    return call


def test_exit_codes(run):
    assert run("Net")[0] == 0
    assert run("Net", group="translation")[0] == 0
    assert run("optional")[0] == 0
    assert run("Points", shape="2,6,3", group="set")[0] == 0
    assert run("Net", group="p4")[0] == 1
    code, seen = run("Broken")
    assert code == 1 and "NaN or infinities" in seen.out


def test_a_model_that_fails_has_no_verdict(run):
    code, seen = run("fails")
    assert code == 2 and "RuntimeError: out of luck (" in seen.err and "Traceback" not in seen.err


@pytest.mark.parametrize(
    ("name", "options", "arguments", "word"),
    [
        ("Net", ["--html", "missing/page.html"], {}, "no folder"),
        ("Net", ["--json", "missing/figures.json"], {}, "no folder"),
        ("Net", [], {"group": "octahedral"}, "moves 3 axes"),
        ("Net", [], {"shape": "8,8,3", "group": "p4"}, "moves 2 axes"),
        ("Net", [], {"shape": "3"}, "batch, places, features"),
        ("Net", [], {"shape": "2,0,8,3"}, "at least 1"),
        ("two", [], {}, "needs a, b"),
    ],
)
def test_wrong_use_is_one_sentence(run, name, options, arguments, word):
    code, seen = run(name, *options, **arguments)
    assert code == 2 and word in seen.err and seen.err.count("\n") == 1 and "Traceback" not in seen.err


def test_an_output_without_an_action_names_the_option(run):
    code, seen = run("Spectrum")
    assert code == 2 and "--invariant-output" in seen.err and "out_action" not in seen.err
    code, seen = run("Dense", "--invariant-output")
    assert code == 1 and "dense" in seen.out and "error left" in seen.out  # the plan is printed too
    assert max(map(len, seen.out.splitlines())) <= 80


def test_double_precision(run, tmp_path):
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        code, seen = run("Net", "--dtype", "float64", "--json", "figures.json")
        assert code == 0, seen.err
        assert not jax.config.jax_enable_x64
    assert json.loads((tmp_path / "figures.json").read_text())["exact"] is True
