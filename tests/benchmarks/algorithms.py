"""The algorithms of a convolution side by side, what "auto" chooses among them, and the rates of its cost model.

    python tests/benchmarks/algorithms.py [--json FILE] [--shapes N] [--rounds N] [--builds N] [--fit]

Each row is one map (the output, the gradient of the input or of the kernel) at one shape. "lax" is ``jax.lax`` as Flax calls
it, "dense" the same numbers by the form that XLA computes fastest on a CPU, "frequency" by Fourier transforms of the grid, "group"
irrep by irrep. All programs of a row run in turn on several sets of fresh
arrays, and minima are compared. ``--fit`` prints the rates of ``equijax/nn/_cost.py`` that fit the times best.
"""

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.optimize import nnls

import equijax as ej
from equijax.nn import _cost as cost
from equijax.nn._fibrewise import Fibrewise
from equijax.nn._planar import Planar
from equijax.nn._sampling import Sampling
from equijax.nn._trilinear import Form, Map
from equijax.sharing import KernelSharing

Shapes = dict[str, tuple[int, ...]]
BATCHES, SIZES, CHANNELS, WINDOWS = (
    (1, 2, 4, 8, 16, 32, 64, 128),
    (7, 10, 14, 20, 28, 40, 56, 64),
    (8, 16, 32, 64, 128, 256),
    (2, 3, 3, 4, 5, 5, 7),
)
#: Batch, size, channels in and out, window, grid axes, padding: the layers of the networks of docs/benchmarks.md.
LAYERS = [(64, 28, 1, 64, 5), (64, 28, 64, 64, 5), (64, 14, 64, 128, 5), (64, 14, 128, 128, 5), (64, 7, 128, 256, 5)]
LAYERS += [(64, 28, 1, 128, 3), (64, 28, 128, 128, 3), (64, 14, 128, 256, 3), (64, 14, 256, 256, 3), (64, 7, 256, 512, 3)]
#: Point group, features in and out, batch, size, window: regular fibres.
FIBRES = [
    ("D4", 128, 16, 28, 1),
    ("D4", 64, 1, 28, 1),
    ("D4", 32, 64, 14, 1),
    ("D4", 16, 64, 14, 1),
    ("C4", 64, 16, 28, 1),
    ("C4", 128, 4, 14, 1),
]
FIBRES += [("O", 32, 4, 10, 1), ("O×C2", 16, 4, 10, 1), ("O×C2", 32, 4, 10, 1), ("O×C2", 64, 1, 10, 1)]
FIBRES += [("D4", 64, 16, 28, 3), ("D4", 32, 16, 28, 3), ("D4", 16, 64, 28, 3), ("D4", 8, 64, 28, 5), ("D4", 32, 64, 7, 3)]
FIBRES += [("D4", 64, 1, 28, 3), ("C4", 64, 16, 28, 3), ("C4", 32, 64, 14, 5), ("O", 8, 4, 8, 3), ("O", 16, 4, 8, 3)]
FIBRES += [("O×C2", 8, 2, 8, 3)]
GROUPS = {"D4": ej.Dihedral(4), "C4": ej.Cyclic(4), "O": ej.Octahedral(), "O×C2": ej.Octahedral(inversion=True)}


def planar(batch: int, size: int, into: int, out: int, window: int, ndim: int, padding: str) -> tuple[Form, Shapes]:
    """A convolution of a grid, and the shapes of its arrays."""
    sampling = Sampling((window,) * ndim, (1,) * ndim, (1,) * ndim, padding)
    sizes = (size,) * ndim
    shapes = {"x": (batch, *sizes, into), "w": (*(window,) * ndim, into, out), "y": (batch, *sampling.out_sizes(sizes), out)}
    return Planar(sampling, 1, None, "auto"), shapes


def fibrewise(name: str, features: int, batch: int, size: int, window: int) -> tuple[Form, Shapes]:
    """A convolution between regular fibres, and the shapes of its arrays."""
    group = GROUPS[name]
    regular, ones, kernel_size = ej.reps.Regular(group), (1,) * group.ndim, (window,) * group.ndim
    sharing, grid = KernelSharing(group, kernel_size, regular, regular), (batch, *(size,) * group.ndim)
    channels = (*grid, group.order * features)
    shapes = {"x": channels, "w": (sharing.count, features, features), "y": channels}
    return Fibrewise(sharing, Sampling(kernel_size, ones, ones, "SAME"), None, "auto"), shapes


def cases(count: int) -> Iterator[tuple[str, Form, Shapes]]:
    """The layers of the networks, drawn shapes up to ``count`` in all, and regular fibres."""
    rng, chosen = np.random.default_rng(11), [(*layer, 2, "SAME") for layer in LAYERS]
    while len(chosen) < count:
        ndim = int(rng.choice([1, 2, 2, 2, 2, 3]))
        batch, size, into, out, window = (int(rng.choice(a)) for a in (BATCHES, SIZES, CHANNELS, CHANNELS, WINDOWS))
        size, window = (min(size, 14), min(window, 5)) if ndim == 3 else (size * (4 if ndim == 1 else 1), window)
        operations = 2 * batch * size**ndim * window**ndim * into * out
        if window <= size and 1e7 <= operations <= 1e10 and 4 * batch * size**ndim * max(into, out) <= 2e8:
            chosen.append((batch, size, into, out, window, ndim, str(rng.choice(["SAME", "CIRCULAR", "VALID"]))))
    for case in chosen:
        batch, size, into, out, window, ndim, padding = case
        yield f"{batch} × {size}^{ndim}, {into} → {out}, {window}^{ndim} {padding}", *planar(*case)
    for name, features, batch, size, window in FIBRES:
        ndim = GROUPS[name].ndim
        label = f"{name}, {features} features, {batch} × {size}^{ndim}, {window}^{ndim}"
        yield label, *fibrewise(name, features, batch, size, window)


def algorithms(form: Form) -> tuple[str, ...]:
    """The algorithms of a form beside the dense one."""
    if not isinstance(form, Fibrewise):
        return ("frequency",)
    return ("group", "frequency") if form.has_window else ("group",)


def minima(programs: dict[str, Callable], arguments: Callable[[int], list], rounds: int, builds: int) -> dict[str, float]:
    """Runs compiled programs in turn on fresh arrays and returns the minimum time of each, in milliseconds."""
    best = dict.fromkeys(programs, math.inf)
    for build in range(builds):
        arrays = arguments(build)
        for turn in range(rounds + 1):
            for name, run in programs.items():
                start = time.perf_counter()
                jax.block_until_ready(run(*arrays))
                if turn:
                    best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


def row(name: str, form: Form, shapes: Shapes, wanted: str, rounds: int, builds: int) -> dict[str, Any]:
    """Times one map by all algorithms; says which one is chosen and how it compares."""
    of = Map(form, wanted, shapes[wanted])
    given = [jax.ShapeDtypeStruct(shapes[role], jnp.float32) for role in of.given]
    programs = {"lax": of.dense, "dense": of.by(form.dense_on_cpu)}
    programs |= {algorithm: form.program(of, algorithm) for algorithm in algorithms(form)}
    compiled = {key: jax.jit(program).lower(*given).compile() for key, program in programs.items()}

    def arguments(seed: int) -> list[jax.Array]:
        rng = np.random.default_rng(seed)
        return [jax.device_put(rng.standard_normal(a.shape, np.float32)) for a in given]

    best = minima(compiled, arguments, rounds, builds)
    chosen = form.fastest(of, shapes)
    ratios = {"auto_over_best": best[chosen] / min(best.values()), "auto_over_lax": best[chosen] / best["lax"]}
    found = {"case": name, "wanted": wanted, "auto": chosen, **{f"{key}_ms": best[key] for key in programs}, **ratios}
    return found | {"shapes": {role: list(shape) for role, shape in shapes.items()}}


def fitted(rows: list[dict], forms: dict[str, Form]) -> dict[str, list[float]]:
    """The rates that minimise the relative errors of both models, by number of axes, role and algorithm."""
    found = {}
    for ndim in (2, 3):
        for wanted in "ywx":
            own = [r for r in rows if isinstance(forms[r["case"]], Planar) and len(r["shapes"]["x"]) == ndim + 2]
            own = [r for r in own if r["wanted"] == wanted]
            for kind, key in ((cost.Dense, "dense_ms"), (cost.Frequency, "frequency_ms")):
                units = np.eye(len(kind._fields))
                design = np.array([[_predicted(kind(*unit), r, forms[r["case"]]) for unit in units] for r in own])
                times = np.array([r[key] for r in own])
                found[f"{ndim} {wanted} {kind.__name__}"] = (
                    nnls(design / times[:, None], np.ones(len(times)))[0].round(3).tolist()
                )
    return found


def _predicted(rates: Any, found: dict, form: Any) -> float:
    shapes = {role: tuple(shape) for role, shape in found["shapes"].items()}
    if isinstance(rates, cost.Dense):
        return cost.dense_time(rates, found["wanted"], 1, shapes)
    return cost.frequency_time(rates, form.axes(shapes["x"][1:-1]), shapes)


def summary(rows: list[dict]) -> dict[str, Any]:
    """How often the choice is within the bars, and what it gains in all."""
    chosen = sum(r[f"{r['auto']}_ms"] for r in rows)
    best = sum(r[f"{r['auto']}_ms"] / r["auto_over_best"] for r in rows)
    return {
        "rows": len(rows),
        "auto_over_best_above_1.1": sum(r["auto_over_best"] > 1.1 for r in rows),
        "auto_over_lax_above_1.05": sum(r["auto_over_lax"] > 1.05 for r in rows),
        "all_lax_over_all_auto": sum(r["lax_ms"] for r in rows) / chosen,
        "all_auto_over_all_best": chosen / best,
    }


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--shapes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--builds", type=int, default=2)
    parser.add_argument("--fit", action="store_true")
    given = parser.parse_args()
    console, rows, forms = Console(), [], {}
    for name, form, shapes in track(list(cases(given.shapes)), "measuring", console=console):
        forms[name] = form
        rows += [row(name, form, shapes, wanted, given.rounds, given.builds) for wanted in "ywx"]
    versions = {
        "jax": jax.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    result = {"versions": versions, "summary": summary(rows), "rows": rows}
    console.print_json(data={**versions, **result["summary"]})
    for r in sorted(rows, key=lambda r: -r["auto_over_best"])[:8]:
        console.print(f"{r['case']} ({r['wanted']}): {r['auto']}, {r['auto_over_best']:.2f} times the best")
    if given.fit:
        console.print_json(data=fitted(rows, forms))
    if given.json:
        with open(given.json, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
