"""The same weights give the same numbers as PyTorch Geometric.

``golden/pyg.npz`` was written with torch 2.13.0 and torch_geometric 2.8.1, by

    python tests/benchmarks/peers/graph_layers_torch.py tests/nn/graphs/golden/pyg.npz --nodes 9 --edges 22 --seed 0
"""

import pathlib

import numpy as np
import pytest

import equijax as ej
from tests.nn.graphs.pyg import PEERS, differences, graph_of


@pytest.fixture(scope="module")
def record():
    with np.load(pathlib.Path(__file__).parent / "golden" / "pyg.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", PEERS)
def test_equal_weights_give_equal_numbers(name, record):
    forward, gradient = differences(name, record)
    assert max(forward, gradient) < 1e-12


def test_the_record_says_where_it_comes_from(record):
    about = {name.removeprefix("about/"): str(value) for name, value in record.items() if name.startswith("about/")}
    assert about == {
        "torch": "2.13.0+cpu", "torch_geometric": "2.8.1", "nodes": "9", "edges": "22", "seed": "0", "dtype": "float64",
    }  # fmt: skip


def test_average_degrees(record):
    ours = ej.nn.average_degrees(graph_of(record, None))
    theirs = [record[f"PNAConv/weights/aggr_module.avg_deg_{kind}"][0] for kind in ("lin", "log")]
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)
