"""The examples on graphs run, and their figures say what the pages say."""

import json

import pytest

from tests.examples.test_examples import run


def figures_of(name, tmp_path):
    done = run(f"{name}.py", "--quick", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((tmp_path / "figures.json").read_text())


@pytest.mark.slow
def test_nodes(tmp_path):
    figures = figures_of("nodes", tmp_path)
    mean = {kind: {name: sum(row) / len(row) for name, row in rows.items()} for kind, rows in figures["accuracy"].items()}
    assert mean["GCN"]["name"] > 0.8 > 0.7 > mean["MLP"]["name"]
    assert max(figures["errors"].values()) < 1e-5


@pytest.mark.slow
def test_molecules(tmp_path):
    figures = figures_of("molecules", tmp_path)
    assert all(0.3 < sum(row) / len(row) < 4 for row in figures["molecules"].values())
    clusters = figures["clusters"]
    assert clusters["force_mae_mev_per_angstrom"] < 0.9 * clusters["force_mae_of_zero"]
    assert clusters["error_under_rotation"] < 1e-5
