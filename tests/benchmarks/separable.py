"""What a separable group convolution costs on a CPU, against the group convolution, and a depthwise one against that of XLA.

    python tests/benchmarks/separable.py [--rounds N] [--json FILE]

Forward is the output; a step is the output and the gradients of input and parameters. Every program is compiled once and takes turns
with the others; times are the shortest of all rounds, in milliseconds.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej

P4M = ej.wallpaper("p4m")
BATCH, SIZE = 16, 28


def forward(layer, x, cotangent):
    """The output."""
    del cotangent
    return layer(x)


def step(layer, x, cotangent):
    """The output and all gradients."""
    graph, params = nnx.split(layer)
    y, pull = jax.vjp(lambda params, x: nnx.merge(graph, params)(x), params, x)
    return y, pull(cotangent)


def times(layers, x, rounds):
    """The shortest times of both programs of each layer, in milliseconds."""
    random = np.random.default_rng(0)
    programs = {}
    for name, layer in layers.items():
        graph, state = nnx.split(layer)
        cotangent = jnp.asarray(random.normal(size=layer.out_shape(x.shape)), jnp.float32)
        for kind in (forward, step):
            run = jax.jit(lambda state, x, t, kind=kind, graph=graph: kind(nnx.merge(graph, state), x, t))
            programs[name, kind.__name__] = run.lower(state, x, cotangent).compile(), (state, x, cotangent)
    best = dict.fromkeys(programs, math.inf)
    for _ in range(rounds + 1):
        for key, (program, arguments) in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            best[key] = min(best[key], (time.perf_counter() - start) * 1e3)
    return {f"{name}_{kind}_ms": round(value, 2) for (name, kind), value in best.items()}


def count(layer):
    """The number of free weights."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param)))


def against_group_conv(features, window, rounds):
    """One row: a separable convolution, and a group convolution of the same width."""
    o = {"group": P4M, "padding": "CIRCULAR", "rngs": nnx.Rngs(0)}
    separable, group = (getattr(ej.nn, kind)(features, features, window, **o) for kind in ("SeparableConv", "GroupConv"))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(BATCH, SIZE, SIZE, 8, features)), jnp.float32)
    row = {"features": features, "window": window, "separable_weights": count(separable), "group_weights": count(group)}
    row |= times({"separable": separable, "group": group}, x, rounds)
    for kind in ("forward", "step"):
        row[f"{kind}_ratio"] = round(row[f"group_{kind}_ms"] / row[f"separable_{kind}_ms"], 2)
    return row


def against_xla(name, build, shape, rounds):
    """One row: a depthwise convolution, chosen and as ``jax.lax`` computes it."""
    layers = {"chosen": build("auto"), "xla": build("dense")}
    x = jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)
    row = {"layer": name} | times(layers, x, rounds)
    for kind in ("forward", "step"):
        row[f"{kind}_ratio"] = round(row[f"xla_{kind}_ms"] / row[f"chosen_{kind}_ms"], 2)
    return row


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    against_group, depthwise = [], []
    for features in (32, 64):
        for window in (3, 5):
            against_group.append(against_group_conv(features, window, given.rounds))
            print(against_group[-1], flush=True)
    for features in (32, 64):
        for window in (3, 5):
            o = {"padding": "SAME", "rngs": nnx.Rngs(0)}
            cases = {
                f"DepthwiseConv p4m, {window}×{window}, {features} features": (
                    lambda a, f=features, k=window, o=o: ej.nn.DepthwiseConv(f, k, group=P4M, algorithm=a, **o),
                    (BATCH, SIZE, SIZE, 8, features),
                ),
                f"Conv, {window}×{window}, {features} features, as many groups": (
                    lambda a, f=features, k=window, o=o: ej.nn.Conv(f, f, (k, k), feature_group_count=f, algorithm=a, **o),
                    (BATCH, SIZE, SIZE, features),
                ),
            }
            for name, (build, shape) in cases.items():
                depthwise.append(against_xla(name, build, shape, max(2, given.rounds // 3)))
                print(depthwise[-1], flush=True)
    versions = {"jax": jax.__version__, "python": platform.python_version(), "cores": os.cpu_count()}
    result = {
        "versions": versions | {"load": round(os.getloadavg()[0], 2)},
        "input": {"batch": BATCH, "size": SIZE, "group": "p4m"},
        "against_group_conv": against_group,
        "depthwise": depthwise,
    }
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
