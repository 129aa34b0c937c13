"""What the group costs: forward time against one nnx.Conv of the same expanded size, and the time to build a layer.

    python tests/benchmarks/cost.py [--json FILE] [--rounds N]

Forward: the two programs are compiled, then run in turn (A B A B …), and the minima are compared. Building: each layer is
built with cold tables (every cached table is cleared first) and with warm ones, against an nnx.Conv whose kernel has the
same number of parameters, in one process.
"""

import argparse
import gc
import json
import os
import platform
import sys
import time

import flax
import jax
import jax.numpy as jnp
from flax import nnx
from rich.console import Console
from rich.table import Table

import equijax as ej
from equijax.groups import _finite, _point, _subgroup
from equijax.reps import _permutation
from equijax.sharing import _kernel, _window

BATCH, SIZE, CHANNELS = 64, 28, 64
EYE = nnx.initializers.lecun_normal()


def interleaved(programs: dict, rounds: int) -> dict[str, float]:
    """Runs compiled programs in turn and returns the minimum time of each, in milliseconds."""
    best = dict.fromkeys(programs, float("inf"))
    for _ in range(rounds):
        for name, run in programs.items():
            start = time.perf_counter()
            run().block_until_ready()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


def forward_row(name: str, kernel: int, rounds: int) -> dict:
    """Times a group convolution and the dense convolution with its expanded channels."""
    group = ej.wallpaper(name)
    order = group.point_group.order
    features = CHANNELS // order
    ours = ej.nn.GroupConv(features, features, kernel, group=group, algorithm="dense", rngs=nnx.Rngs(0))
    dense = nnx.Conv(CHANNELS, CHANNELS, (kernel, kernel), rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (BATCH, SIZE, SIZE, order, features))
    flat = x.reshape(BATCH, SIZE, SIZE, CHANNELS)
    programs = {}
    for label, layer, inputs in (("group", ours, x), ("dense", dense, flat)):
        graph, state = nnx.split(layer)
        compiled = jax.jit(lambda state, x, graph=graph: nnx.merge(graph, state)(x)).lower(state, inputs).compile()
        programs[label] = lambda compiled=compiled, state=state, inputs=inputs: compiled(state, inputs)
        programs[label]().block_until_ready()
    best = interleaved(programs, rounds)
    return {
        "group": name,
        "kernel": kernel,
        "input": [BATCH, SIZE, SIZE, CHANNELS],
        "group_conv_ms": best["group"],
        "dense_conv_ms": best["dense"],
        "ratio": best["group"] / best["dense"],
    }


def clear_tables() -> None:
    """Forgets every cached table."""
    for module in (_finite, _point, _subgroup, _permutation, _kernel, _window):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def build_ms(make, before=lambda: None, repeats: int = 7) -> float:
    """Minimum time to build a layer, in milliseconds."""
    times = []
    for _ in range(repeats):
        before()
        gc.collect()
        start = time.perf_counter()
        jax.block_until_ready(nnx.state(make()))
        times.append(1e3 * (time.perf_counter() - start))
    return min(times)


def build_row(name: str, group: ej.SpaceGroup, kernel: int, features: int) -> dict:
    """Times the construction of a group convolution and of an nnx.Conv with as many parameters."""
    ndim, order = group.ndim, group.point_group.order

    def make():
        layer = ej.nn.GroupConv(features, features, kernel, group=group, kernel_init=EYE, rngs=nnx.Rngs(0))
        layer.sharing.table  # noqa: B018  the whole table, which the first call would make
        return layer

    same = lambda: nnx.Conv(features, features * order, (kernel,) * ndim, kernel_init=EYE, rngs=nnx.Rngs(0))  # noqa: E731
    assert make().kernel[...].size == same().kernel[...].size
    dense = build_ms(same)
    cold, warm = build_ms(make, clear_tables), build_ms(make)
    return {
        "group": name,
        "kernel": kernel,
        "ndim": ndim,
        "order": order,
        "parameters": int(make().kernel[...].size),
        "dense_build_ms": dense,
        "cold_build_ms": cold,
        "warm_build_ms": warm,
        "extra_cold_ms": cold - dense,
        "extra_warm_ms": warm - dense,
    }


def main() -> int:
    """Measures, prints two tables, writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--rounds", type=int, default=15, help="how often each program runs")
    arguments = parser.parse_args()
    forward = [forward_row(name, k, arguments.rounds) for name in ("p4", "p4m") for k in (3, 5)]
    build = [
        build_row("p4m", ej.wallpaper("p4m"), 5, 16),
        build_row("Octahedral(inversion=True)", ej.SpaceGroup(ej.Octahedral(inversion=True)), 5, 4),
    ]
    console = Console()
    table = Table(title=f"Forward, {BATCH}×{SIZE}×{SIZE}×{CHANNELS} expanded channels, float32, ms (bar: ratio ≤ 1.10)")
    for heading in ("group", "kernel", "GroupConv", "nnx.Conv", "ratio"):
        table.add_column(heading, justify="right")
    for row in forward:
        table.add_row(row["group"], f"{row['kernel']}×{row['kernel']}", f"{row['group_conv_ms']:.1f}",
                      f"{row['dense_conv_ms']:.1f}", f"{row['ratio']:.3f}")  # fmt: skip
    console.print(table)
    table = Table(title="Building a layer, ms (bars: 50 ms more for p4m, 500 ms more for the cubic group)")
    for heading in ("group", "kernel", "parameters", "nnx.Conv", "cold tables", "warm tables", "more when cold"):
        table.add_column(heading, justify="right")
    for row in build:
        table.add_row(row["group"], "×".join([str(row["kernel"])] * row["ndim"]), str(row["parameters"]),
                      f"{row['dense_build_ms']:.1f}", f"{row['cold_build_ms']:.1f}", f"{row['warm_build_ms']:.1f}",
                      f"{row['extra_cold_ms']:.1f}")  # fmt: skip
    console.print(table)
    figures = {
        "versions": {"python": platform.python_version(), "jax": jax.__version__, "flax": flax.__version__,
                     "equijax": ej.__version__},
        "platform": {"machine": platform.machine(), "cores": os.cpu_count(), "backend": jax.default_backend()},
        "rounds": arguments.rounds,
        "forward": forward,
        "build": build,
    }  # fmt: skip
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(figures, file, indent=1)
    return 0


if __name__ == "__main__":
    jnp.zeros(()).block_until_ready()
    sys.exit(main())
