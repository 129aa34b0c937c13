"""Irreps of finite groups: time for the character table, all matrices, and the regular representation, from nothing.

    python tests/benchmarks/representations.py [--json FILE] [--rounds N]

Every cache is emptied before each round and the minimum over the rounds is shown. The group itself (its table) is not timed.
One thread: set OPENBLAS_NUM_THREADS=1, small matrices are slower on several.
"""

import argparse
import json
import os
import pathlib
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import numpy as np
from rich.console import Console
from rich.table import Table

import equijax as ej
from equijax.groups import _characters, _finite_irreps
from equijax.reps import _decompose
from tests.reps.finite_groups import group_named

NAMES = ("C31", "D16", "O_h", "A5", "S5", "I_h", "S4 × C5", "S5 × C2", "D15 × D4")
CACHES = (_characters.classes_of, _characters._table, _finite_irreps.irrep_matrices, _decompose.peter_weyl)


def measure(group: ej.FiniteGroup) -> dict[str, float]:
    """Milliseconds for one round, and the largest error of the law over all irreps and pairs of elements."""
    for cache in CACHES:
        cache.cache_clear()
    start = time.perf_counter()
    _ = group.characters.values
    table = time.perf_counter()
    matrices = [irrep.matrices for irrep in ej.reps.irreps(group)]
    irreps = time.perf_counter()
    _ = ej.reps.Regular(group).known_decomposition
    regular = time.perf_counter()
    error = max(np.abs(rho[g] @ rho - rho[group.table[g]]).max() for rho in matrices for g in range(group.order))
    times = {"table": table - start, "matrices": irreps - table, "together": irreps - start, "regular": regular - irreps}
    return {**{name: 1e3 * seconds for name, seconds in times.items()}, "error": float(error)}


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="file to write")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    columns = ("table", "matrices", "together", "regular")
    shown = Table("group", "order", "irreps", *(f"{name} [ms]" for name in columns), "error")
    results = {}
    for name in NAMES:
        group = group_named(name)
        _ = group.conjugacy_classes
        rounds = [measure(group) for _ in range(arguments.rounds)]
        best = {key: min(each[key] for each in rounds) for key in rounds[0]}
        results[name] = {"order": group.order, "irreps": len(ej.reps.irreps(group)), **best}
        times = [f"{best[column]:.1f}" for column in columns]
        shown.add_row(name, str(group.order), str(results[name]["irreps"]), *times, f"{best['error']:.1e}")
    Console().print(shown)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
