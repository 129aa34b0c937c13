"""What batch normalisation costs on a CPU: value and all gradients of the norm, and of norm and ReLU, against ``nnx.BatchNorm``.

    python tests/benchmarks/batch_norm.py [--rounds N] [--builds N] [--json FILE]

Each program takes the input, the parameters and the cotangent of the output; it returns the output, the new averages and the
gradients of all it takes. One and the same program runs at different speeds depending on where its arrays happen to lie, so each is
given several sets of fresh arrays (``--builds``). The programs take turns; all figures are minima, on the wall and of the process
on all cores, which says more where other programs share the machine.
"""

import argparse
import json
import os
import pathlib
import time

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej

SHAPES = {"p4": (64, 28, 28, 4, 16), "p4m": (64, 28, 28, 8, 16)}


def program(word: str, ours: bool, relu: bool):
    """A compiled step, and its state."""
    features = SHAPES[word][-1]
    kind = (
        ej.nn.BatchNorm(features, group=ej.wallpaper(word), rngs=nnx.Rngs(0))
        if ours
        else nnx.BatchNorm(features, rngs=nnx.Rngs(0))
    )
    graph, params, averages = nnx.split(kind, nnx.Param, nnx.BatchStat)

    @jax.jit
    def step(params, averages, x, cotangent):
        def apply(params, x):
            layer = nnx.merge(graph, params, averages, copy=True)
            y = layer(x)
            return jax.nn.relu(y) if relu else y, nnx.state(layer, nnx.BatchStat)

        y, pull, averaged = jax.vjp(apply, params, x, has_aux=True)
        return y, averaged, pull(cotangent)

    return step, (params, averages)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--builds", type=int, default=4)
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    rows, random = [], np.random.default_rng(0)
    for word, shape in SHAPES.items():
        for relu in (False, True):
            programs = {name: program(word, name == "equijax", relu) for name in ("flax", "equijax")}
            best = {name: [float("inf")] * 2 for name in programs}
            for _ in range(given.builds):
                x, cotangent = (jnp.asarray(random.normal(size=shape), jnp.float32) for _ in range(2))
                results = {name: step(*state, x, cotangent) for name, (step, state) in programs.items()}
                for a, b in zip(*map(jax.tree.leaves, results.values()), strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-2)
                del results
                for _ in range(given.rounds):
                    for name, (step, state) in programs.items():
                        start, cpu = time.perf_counter(), time.process_time()
                        jax.block_until_ready(step(*state, x, cotangent))
                        spent = (time.perf_counter() - start) * 1e3, (time.process_time() - cpu) * 1e3
                        best[name] = [min(pair) for pair in zip(best[name], spent, strict=True)]
            row = {"program": f"{word} norm{' and ReLU' if relu else ''}", "shape": shape}
            row |= {f"{name}_ms": round(wall, 2) for name, (wall, _) in best.items()}
            row |= {f"{name}_cpu_ms": round(cpu, 2) for name, (_, cpu) in best.items()}
            row["ratio"] = round(best["flax"][0] / best["equijax"][0], 2)
            rows.append(row)
            print(row, flush=True)
    if given.json:
        versions = {
            "jax": jax.__version__,
            "flax": flax.__version__,
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2),
        }
        given.json.write_text(
            json.dumps({**versions, "rounds": given.rounds, "builds": given.builds, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
