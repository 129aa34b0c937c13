"""What the training steps of the benchmark networks are made of: the time of each kind of layer, forward and backward.

    python tests/benchmarks/shares.py [--json FILE] [--rounds N] [--builds N]

Every layer runs alone on an input of its own shape, compiled, with the gradients of its input (but for the first layer) and of its
parameters; so does Adam. The whole step runs beside them. Alone a layer shares nothing with its neighbours and its arrays are
warmer, so the sum is no more than near the whole; "rest" is the difference.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from rich.console import Console
from rich.progress import track

import equijax as ej

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from networks import NETWORKS, Network, network  # noqa: E402
from programs import network_programs  # noqa: E402

KINDS = {
    "convolutions": (ej.nn.Conv,),
    "batch norms": (ej.nn.BatchNorm,),
    "pools": (ej.nn.AvgPool, ej.nn.FibrePool, ej.nn.GlobalPool),
}


def kind_of(layer: Any) -> str:
    """The row of a layer; what is no module is an activation."""
    return next((kind for kind, classes in KINDS.items() if isinstance(layer, classes)), "activations")


def layer_program(layer: Any, is_first: bool) -> Callable:
    """A layer with its gradients, as a function of its state, its input and the gradient of its output."""
    if not isinstance(layer, nnx.Module):
        return lambda state, x, ct: jax.vjp(layer, x)[1](ct)
    definition, _, rest = nnx.split(layer, nnx.Param, ...)

    def run(parameters: Any, x: jax.Array, ct: jax.Array) -> Any:
        apply = lambda parameters, x: nnx.merge(definition, parameters, rest, copy=True)(x)  # noqa: E731
        if is_first:
            return jax.vjp(lambda parameters: apply(parameters, x), parameters)[1](ct)
        return jax.vjp(apply, parameters, x)[1](ct)

    return run


def minimum(program: Callable, arguments: Callable[[], tuple], rounds: int, builds: int) -> float:
    """Milliseconds of a compiled program on fresh arrays; the least of all runs."""
    best = math.inf
    for _ in range(builds):
        arrays = arguments()
        for turn in range(rounds + 1):
            start = time.perf_counter()
            jax.block_until_ready(program(*arrays))
            best = min(best, 1e3 * (time.perf_counter() - start)) if turn else best
    return best


def out_shape(layer: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a layer's output; nothing is computed."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    if isinstance(layer, nnx.Module):
        return nnx.eval_shape(lambda layer, x: layer(x), layer, x).shape
    return jax.eval_shape(layer, x).shape


def parts(case: Network, rounds: int, builds: int) -> dict[str, float]:
    """Milliseconds of each kind of layer, of Adam and of the whole step."""
    model: Any = network(case.name, "equijax", nnx.Rngs(0))
    model.train()
    random, shape = np.random.default_rng(0), (case.batch, case.size, case.size, 1)
    found = dict.fromkeys((*KINDS, "activations"), 0.0)
    for k, layer in enumerate(model.layers):
        parameters = nnx.split(layer, nnx.Param, ...)[1] if isinstance(layer, nnx.Module) else {}
        out = out_shape(layer, shape)

        def arguments(shape: tuple = shape, out: tuple = out, parameters: Any = parameters) -> tuple:
            drawn = [jnp.array(random.standard_normal(s, np.float32)) for s in (shape, out)]
            return jax.block_until_ready((jax.tree.map(jnp.array, parameters), *drawn))

        compiled = jax.jit(layer_program(layer, not k)).lower(*arguments()).compile()
        found[kind_of(layer)] += minimum(compiled, arguments, rounds, builds)
        shape = out
    found["Adam"] = adam_time(model, rounds, builds)
    program = network_programs(case, "equijax", model)["train"]
    step = jax.jit(program.fn).lower(*program.fresh()).compile()
    whole = minimum(step, program.fresh, rounds, builds)
    return {**found, "rest": whole - sum(found.values()), "whole step": whole}


def adam_time(model: nnx.Module, rounds: int, builds: int) -> float:
    """Milliseconds of an update of all parameters."""
    parameters, adam = nnx.state(model, nnx.Param), optax.adam(1e-3)

    def update(parameters: Any, moments: Any) -> Any:
        changes, moments = adam.update(parameters, moments, parameters)
        return optax.apply_updates(parameters, changes), moments

    def arguments() -> tuple:
        own = jax.tree.map(jnp.array, parameters)
        return own, adam.init(own)

    return minimum(jax.jit(update).lower(*arguments()).compile(), arguments, rounds, builds)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--builds", type=int, default=4)
    given = parser.parse_args()
    console, rows = Console(), []
    for case in track(list(NETWORKS.values()), "measuring", console=console):
        ms = parts(case, given.rounds, given.builds)
        rows.append({"network": case.name, "ms": ms, "share": {k: v / ms["whole step"] for k, v in ms.items()}})
    versions = {"jax": jax.__version__, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    console.print_json(data={**versions, "rows": rows})
    if given.json:
        given.json.write_text(json.dumps({**versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
