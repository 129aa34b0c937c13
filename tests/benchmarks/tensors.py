"""Tensors on nodes: the layer from relations to relations against the stack of its fifteen maps, and layers of 203 maps.

    python tests/benchmarks/tensors.py [--json FILE] [--rounds N]

Relations: the stack writes all fifteen maps of the input beside one another and multiplies once. Both programs are compiled
and checked against each other, then run in turn (A B A B …), and the minima are compared. The gradient is that of input and
parameters. Layers of 203 maps: time to trace and compile, time to run, and the memory for what is neither input nor output.
"""

import argparse
import json
import os
import platform
import sys
import time

import flax
import jax
import jax.numpy as jnp
import numpy as np
from cost import interleaved
from flax import nnx
from rich.console import Console
from rich.table import Table

import equijax as ej

CHANNELS = 32
RELATIONS = {"nodes": 64, "batch": 8, "channels": CHANNELS}
LARGE = {"nodes": 16, "batch": 4, "channels": CHANNELS}


def stacked(kernel: jax.Array, bias: jax.Array, x: jax.Array) -> jax.Array:
    """The fifteen maps one after another, as a matrix product with the stack, in the order of the layer's kernel."""
    n = x.shape[-2]
    eye = jnp.eye(n)[:, :, None]
    d, r, c = jnp.einsum("biif->bif", x), x.mean(axis=2), x.mean(axis=1)
    t, s = d.mean(axis=1), r.mean(axis=1)
    rows, columns = (lambda v: jnp.broadcast_to(v[:, :, None], x.shape)), (lambda v: jnp.broadcast_to(v[:, None], x.shape))
    everywhere = lambda v: jnp.broadcast_to(v[:, None, None], x.shape)  # noqa: E731
    maps = [eye * rows(v) for v in (d, r, c)] + [eye * everywhere(v) for v in (t, s)]
    maps += [
        rows(d),
        x,
        rows(r),
        x.swapaxes(1, 2),
        columns(d),
        columns(r),
        rows(c),
        columns(c),
        everywhere(t),
        everywhere(s),
    ]
    y = jnp.concatenate(maps, axis=-1) @ kernel.reshape(15 * x.shape[-1], -1)
    return y + bias[1] + eye * bias[0]


def programs(apply, state, x: jax.Array, cotangent: jax.Array) -> dict:
    """Forward, and forward with the gradient of parameters and input, not compiled yet."""
    loss = lambda state, x, v: (apply(state, x) * v).sum()  # noqa: E731
    return {
        "forward": (jax.jit(apply), (state, x)),
        "gradient": (jax.jit(jax.value_and_grad(loss, argnums=(0, 1))), (state, x, cotangent)),
    }


def layer_programs(in_order: int, out_order: int, nodes: int, batch: int, channels: int) -> tuple[dict, dict]:
    """The programs of a layer, and its parameters."""
    layer = ej.nn.PermutationEquivariantLinear(in_order, out_order, channels, channels, rngs=nnx.Rngs(0))
    graph, state = nnx.split(layer)
    shapes = [(batch, *(nodes,) * order, channels) for order in (in_order, out_order)]
    x, v = (jax.random.normal(jax.random.key(k), shape) for k, shape in enumerate(shapes))
    return programs(lambda state, x: nnx.merge(graph, state)(x), state, x, v), nnx.to_pure_dict(state)


def relations_rows(rounds: int) -> list[dict]:
    """Times the layer and the stack in turn."""
    ours, state = layer_programs(2, 2, **RELATIONS)
    x, v = ours["gradient"][1][1:]
    stack = programs(lambda state, x: stacked(state["kernel"], state["bias"], x), state, x, v)
    np.testing.assert_allclose(*(fn(*arguments) for fn, arguments in (ours["forward"], stack["forward"])), atol=1e-4)
    rows = []
    for kind in ("forward", "gradient"):
        run = {}
        for name, (fn, arguments) in {"layer": ours[kind], "stack": stack[kind]}.items():
            compiled = fn.lower(*arguments).compile()
            run[name] = lambda compiled=compiled, arguments=arguments: jax.tree.leaves(compiled(*arguments))[0]
            run[name]().block_until_ready()
        best = interleaved(run, rounds)
        rows.append(
            {"kind": kind, "layer_ms": best["layer"], "stack_ms": best["stack"], "ratio": best["stack"] / best["layer"]}
        )
    return rows


def large_rows(rounds: int) -> list[dict]:
    """Compiles and times the layers with 203 maps."""
    rows = []
    for in_order, out_order in ((3, 3), (2, 4), (4, 2)):
        row = {"in_order": in_order, "out_order": out_order, "maps": ej.sharing.bell_number(in_order + out_order)}
        for kind, (fn, arguments) in layer_programs(in_order, out_order, **LARGE)[0].items():
            start = time.perf_counter()
            compiled = fn.lower(*arguments).compile()
            row[f"{kind}_compile_s"] = time.perf_counter() - start
            run = lambda compiled=compiled, arguments=arguments: jax.tree.leaves(compiled(*arguments))[0]  # noqa: E731
            run().block_until_ready()
            row[f"{kind}_ms"] = interleaved({kind: run}, rounds)[kind]
            row[f"{kind}_extra_mb"] = compiled.memory_analysis().temp_size_in_bytes / 1e6
        rows.append(row)
    return rows


def main() -> int:
    """Measures, prints two tables, writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--rounds", type=int, default=30, help="how often each program runs")
    arguments = parser.parse_args()
    relations, large = relations_rows(arguments.rounds), large_rows(arguments.rounds)
    console = Console()
    table = Table(title=f"Relations to relations, {RELATIONS}, float32, ms (bars: 10 times forward, 4 times gradient)")
    for heading in ("program", "layer", "stack of 15", "times faster"):
        table.add_column(heading, justify="right")
    for row in relations:
        table.add_row(row["kind"], f"{row['layer_ms']:.2f}", f"{row['stack_ms']:.1f}", f"{row['ratio']:.1f}")
    console.print(table)
    table = Table(title=f"Layers of 203 maps, {LARGE}, float32; forward / gradient")
    for heading in ("orders", "compile, s", "run, ms", "extra memory, MB"):
        table.add_column(heading, justify="right")
    for row in large:
        pairs = [(row[f"forward_{unit}"], row[f"gradient_{unit}"]) for unit in ("compile_s", "ms", "extra_mb")]
        table.add_row(f"{row['in_order']} → {row['out_order']}", *(f"{a:.1f} / {b:.1f}" for a, b in pairs))
    console.print(table)
    figures = {
        "versions": {"python": platform.python_version(), "jax": jax.__version__, "flax": flax.__version__,
                     "equijax": ej.__version__},
        "platform": {"machine": platform.machine(), "cores": os.cpu_count(), "backend": jax.default_backend()},
        "rounds": arguments.rounds,
        "relations": {**RELATIONS, "rows": relations},
        "large": {**LARGE, "rows": large},
    }  # fmt: skip
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(figures, file, indent=1)
    return 0


if __name__ == "__main__":
    jnp.zeros(()).block_until_ready()
    sys.exit(main())
