"""Representations: irreps of finite groups from nothing, and the solver for maps that commute with a group.

    python tests/benchmarks/representations.py [--json FILE] [--rounds N]

Irreps: time for the character table, all matrices, and the regular representation. Solver: time from matrices of generators
to the canonical basis, N entries of W. Every cache is emptied before each round and the minimum over the rounds is shown. The
group itself (its table) is not timed.
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
from equijax.reps import Vector, _decompose, _solver, intertwiners, tensors
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


def hidden(rep: ej.reps.Representation) -> ej.reps.Representation:
    """The same representation in coordinates that hide its parts."""
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(rep.dim, rep.dim)))
    return ej.reps.conjugated(rep, turn)


def problems() -> dict[str, tuple[ej.reps.Representation, ej.reps.Representation, int]]:
    """Pairs (input, output) and the rank that theory gives."""
    space, points, lorentz = Vector(ej.SO(3)), Vector(ej.Permutation(5)), Vector(ej.groups.Lorentz())
    proper, five, cube = Vector(ej.groups.Lorentz(proper=True)), Vector(ej.O(5)), group_named("I_h")
    sixteen = hidden(16 * space)
    every = hidden(ej.reps.direct_sum(*(symmetric for k in range(7) if (symmetric := ej.reps.symmetric_power(space, k)))))
    regular, irreps = ej.reps.Regular(ej.Cyclic(1000)), ej.reps.direct_sum(*(3 * irrep for irrep in ej.reps.irreps(cube)))
    return {
        "S5, T2 → T2": (tensors(points, 2), tensors(points, 2), 15),
        "SO(3), T2 → T2": (tensors(space, 2), tensors(space, 2), 3),
        "SO(3), T3 → T3": (tensors(space, 3), tensors(space, 3), 15),
        "SO(3), T4 → T4": (tensors(space, 4), tensors(space, 4), 91),
        "O(5), T3 → T3": (tensors(five, 3), tensors(five, 3), 15),
        "O(1,3), T(1,0) → T(2,1)": (lorentz, tensors(lorentz, 2, 1), 3),
        "SO⁺(1,3), T(1,0) → T(2,1)": (proper, tensors(proper, 2, 1), 4),
        "O(1,3), T2 → T4": (tensors(lorentz, 2), tensors(lorentz, 4), 15),
        "SO(3), 16 hidden vectors": (sixteen, sixteen, 256),
        "SO(3), hidden polynomials to degree 6": (every, every, 44),
        "I_h, 3 copies of every irrep (Schur)": (irreps, irreps, 90),
        "C1000, regular (orbits)": (regular, regular, 1000),
    }


def solve(source: ej.reps.Representation, target: ej.reps.Representation) -> tuple[float, int, float]:
    """Seconds, rank and the largest error of the law; orbits stay numbers, which as matrices would fill the memory."""
    for rep in (source, target):
        _ = rep.generators, rep.algebra
    for cache in (_solver._intertwiners, _solver._part_intertwiners):
        cache.cache_clear()
    if source.is_permutation and target.is_permutation:
        images = [[np.argmax(m, axis=0) for m in rep.generators] for rep in (target, source)]
        start = time.perf_counter()
        labels = _solver.pair_orbits(images[0], images[1], target.dim, source.dim)
        return time.perf_counter() - start, int(labels.max()) + 1, 0.0
    start = time.perf_counter()
    maps = intertwiners(source, target)
    seconds = time.perf_counter() - start
    pairs = zip((*target.generators, *target.algebra), (*source.generators, *source.algebra), strict=True)
    return seconds, len(maps), max(np.abs(a @ maps - maps @ b).max(initial=0.0) for a, b in pairs)


def print_solver(rounds: int) -> dict[str, dict[str, float]]:
    """Prints the table of the solver and returns its figures."""
    shown = Table("problem", "N", "rank", "theory", "time [ms]", "error")
    results = {}
    for name, (source, target, theory) in problems().items():
        found = [solve(source, target) for _ in range(rounds)]
        seconds, rank, error = min(each[0] for each in found), found[0][1], found[0][2]
        size = source.dim * target.dim
        shown.add_row(name, str(size), str(rank), str(theory), f"{1e3 * seconds:.1f}", f"{error:.1e}")
        results[name] = {"size": size, "rank": rank, "milliseconds": 1e3 * seconds, "error": float(error)}
    Console().print(shown)
    return results


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="file to write")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    columns = ("table", "matrices", "together", "regular")
    shown = Table("group", "order", "irreps", *(f"{name} [ms]" for name in columns), "error")
    results: dict[str, dict] = {}
    for name in NAMES:
        group = group_named(name)
        _ = group.conjugacy_classes
        rounds = [measure(group) for _ in range(arguments.rounds)]
        best = {key: min(each[key] for each in rounds) for key in rounds[0]}
        results[name] = {"order": group.order, "irreps": len(ej.reps.irreps(group)), **best}
        times = [f"{best[column]:.1f}" for column in columns]
        shown.add_row(name, str(group.order), str(results[name]["irreps"]), *times, f"{best['error']:.1e}")
    Console().print(shown)
    results["solver"] = print_solver(arguments.rounds)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
