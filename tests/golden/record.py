"""Records the golden states: parameters as drawn, inputs and outputs of every layer of ``tests/golden/cases.py``.

``states.npz`` beside this file was written at commit f3a75f8, before representations of any group existed:

    cd <checkout of f3a75f8> && PYTHONPATH=.:<this checkout> python -m tests.golden.record

That runs that checkout's equijax and its ``conftest.py`` (the settings of the tests) over the layers listed in this checkout.
A layer that is added to the list later is recorded at the commit that brings it, with ``--add``: entries that are there stay.
"""

import argparse
import pathlib
import subprocess

import jax.numpy as jnp
import numpy as np
from flax import nnx

import conftest  # noqa: F401  the settings of the tests
import equijax as ej
from tests.golden.cases import FAMILIES, LAYERS, named, outputs
from tests.golden.environment import environment
from tests.golden.file import FILE, read, write

BASES = {"Layer", "GraphLayer", "HeteroLayer"}  # classes to derive from


def record(family, dtype) -> dict[str, np.ndarray]:
    """What the file holds of a family of layers in one precision."""
    states = [nnx.to_pure_dict(nnx.state(case.layer(dtype))) for case in family]
    inputs = [case.input(dtype) for case in family]
    arrays = {}
    for case, *parts in zip(family, states, inputs, outputs(family, dtype, states, inputs), strict=True):
        for kind, part in zip(("state", "input", "output"), parts, strict=True):
            arrays |= {f"{case.name}|{jnp.dtype(dtype).name}|{kind}|{path}": leaf for path, leaf in named(part).items()}
    return arrays


def left_out() -> set[str]:
    """Public modules that no case holds."""
    kinds = {type(module) for case in LAYERS for _, module in nnx.iter_modules(case.layer(jnp.float32))}
    public = {
        name: value for name, value in vars(ej.nn).items() if isinstance(value, type) and issubclass(value, nnx.Module)
    }
    return {name for name, value in public.items() if not any(issubclass(kind, value) for kind in kinds)} - BASES


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--add", action="store_true", help="keep what is recorded, add what is not")
    old, meta = read() if parser.parse_args().add else ({}, {})
    root = pathlib.Path(ej.__file__).parents[1]
    commit = subprocess.run(
        ["git", "-C", root, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    assert len({case.name for case in LAYERS}) == len(LAYERS), "two layers have one name"
    missing = left_out()
    assert not missing, f"no case holds {sorted(missing)}"
    known = {key.split("|")[0] for key in old}
    new = {}
    for family in FAMILIES.values():
        for dtype in (jnp.float32, jnp.float64):
            new |= record([case for case in family if case.name not in known], dtype)
    write(old | new, meta or {"environment": environment(), "commit": commit})
    print(f"{len(LAYERS)} layers, equijax of {root} at {commit}: {FILE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
