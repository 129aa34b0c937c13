"""Graph layers against PyTorch Geometric with the same weights, on random graphs: output and gradient.

    python -m tests.benchmarks.graph_parity --peer-python PATH [--json docs/figures/graph_parity.json]

PATH is a Python with torch and torch_geometric, which need not know JAX. It runs ``peers/graph_layers_torch.py``; here the
weights it writes are put into our layers. Differences are relative to the largest entry, at least 1.
"""

import argparse
import json
import pathlib
import platform
import subprocess
import tempfile

import flax
import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from tests.nn.graphs.pyg import PEERS, differences

jax.config.update("jax_enable_x64", True)
GRAPHS = [(12, 40, 0), (60, 400, 1), (300, 3000, 2)]
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}


def peer_record(python: str, nodes: int, edges: int, seed: int, dtype: str) -> dict:
    """What PyTorch Geometric computes."""
    script = pathlib.Path(__file__).parent / "peers" / "graph_layers_torch.py"
    with tempfile.TemporaryDirectory() as folder:
        out = str(pathlib.Path(folder) / "record.npz")
        options = {"--nodes": nodes, "--edges": edges, "--seed": seed, "--dtype": dtype}
        subprocess.run([python, str(script), out, *(str(x) for pair in options.items() for x in pair)], check=True)
        with np.load(out) as file:
            return dict(file)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--json")
    given = parser.parse_args()
    worst: dict[str, dict[str, list[float]]] = {name: {} for name in PEERS}
    versions = {}
    for dtype in TOLERANCES:
        for nodes, edges, seed in GRAPHS:
            record = peer_record(given.peer_python, nodes, edges, seed, dtype)
            versions = {key: str(record[f"about/{key}"]) for key in ("torch", "torch_geometric")}
            for name in PEERS:
                pair = differences(name, record)
                before = worst[name].get(dtype, [0.0, 0.0])
                worst[name][dtype] = [max(a, b) for a, b in zip(before, pair, strict=True)]
    versions |= {"jax": jax.__version__, "flax": flax.__version__, "python": platform.python_version()}
    graphs = [{"nodes": nodes, "edges": edges, "seed": seed} for nodes, edges, seed in GRAPHS]
    figures = {"versions": versions, "graphs": graphs, "largest difference [output, gradient]": worst}
    table = Table(title="Largest difference to PyTorch Geometric")
    for column in ("layer", *(f"{dtype} {what}" for dtype in TOLERANCES for what in ("output", "gradient"))):
        table.add_column(column)
    for name, found in worst.items():
        table.add_row(name, *(f"{value:.1e}" for dtype in TOLERANCES for value in found[dtype]))
    Console().print(table)
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(figures, indent=1) + "\n")
    for dtype, tolerance in TOLERANCES.items():
        late = [name for name in PEERS if max(worst[name][dtype]) > tolerance]
        if late:
            raise SystemExit(f"{', '.join(late)} differ by more than {tolerance} in {dtype}.")


if __name__ == "__main__":
    main()
