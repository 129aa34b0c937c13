"""What gradients of maxima that don't depend on rounding cost: two checkouts interleaved in one script.

    python tests/benchmarks/maxima.py BEFORE AFTER [--rounds N] [--builds N] [--only WORD] [--json FILE]

BEFORE and AFTER are paths of checkouts, each in a process of its own, asked in turn; all figures are minima. The networks are small
group CNNs (five convolutions with batch norm and ReLU, two average pools, a maximum over the fibre, a mean, a linear head; batch
64, 28×28 pixels, Adam). One and the same program runs at different speeds depending on where its arrays happen to lie, so each
is given several sets of fresh arrays (``--builds``). A gradient is timed together with its value. The bar: 1.1 for networks.
The time of the process on all cores stands beside that on the wall: it says more where other programs share the machine. Where
both compiled programs are the same, instruction by instruction, a ratio that is not 1 is the machine's.
"""

import argparse
import json
import os
import pathlib
import sys
import time

from contracts_cost import Checkout, digest, serve

BAR = 1.1
NETWORKS = {
    "p4": ("p4", (16, 16, 32, 32, 64), 5),
    "p4m": ("p4m", (8, 8, 16, 16, 32), 5),
    "p4m wide": ("p4m", (16, 16, 32, 32, 64), 3),
}


def network(name: str):
    """A small group CNN, as one module."""
    import jax
    from flax import nnx

    import equijax as ej

    word, widths, size = NETWORKS[name]
    group, rngs, n = ej.wallpaper(word), nnx.Rngs(0), ej.nn
    layers, features = [], 1
    for k, width in enumerate(widths):
        conv = n.GroupConv if k else n.LiftingConv
        layers += [
            conv(features, width, size, group=group, use_bias=False, rngs=rngs),
            nnx.BatchNorm(width, rngs=rngs),
            jax.nn.relu,
        ]
        layers += [n.AvgPool(2, 2, group=group)] if k in (1, 3) else []
        features = width
    scalar = ej.reps.Scalar(group.point_group)
    pools = [n.FibrePool(group=group), n.GlobalPool("mean", group=group, in_fibre=scalar)]
    return n.Sequential(*layers, *pools, nnx.Linear(features, 10, rngs=rngs))


def network_programs(name: str) -> dict:
    """The training step and the evaluation of a network; each a function and a maker of fresh arguments."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from flax import nnx

    definition, parameters, rest = nnx.split(network(name), nnx.Param, ...)
    adam = optax.adam(1e-3)

    def step(parameters, rest, moments, x, labels):
        def loss(parameters):
            model = nnx.merge(definition, parameters, rest, copy=True)
            losses = optax.softmax_cross_entropy_with_integer_labels(model(x), labels)
            return losses.mean(), nnx.split(model, nnx.Param, ...)[2]

        (value, rest), gradient = jax.value_and_grad(loss, has_aux=True)(parameters)
        updates, moments = adam.update(gradient, moments, parameters)
        return optax.apply_updates(parameters, updates), rest, moments, value

    def evaluate(parameters, rest, x):
        model = nnx.merge(definition, parameters, rest, copy=True)
        model.eval()
        return model(x)

    def fresh(train):
        random = np.random.default_rng(0)
        x = jnp.array(random.normal(size=(64, 28, 28, 1)).astype(np.float32))
        copy = jax.tree.map(jnp.array, (parameters, rest))
        return (*copy, adam.init(copy[0]), x, jnp.array(random.integers(0, 10, 64))) if train else (*copy, x)

    return {"train": (step, lambda: fresh(True)), "evaluate": (evaluate, lambda: fresh(False))}


def maximum_programs(fn, shape: tuple[int, ...]) -> dict:
    """A maximum and its gradient, behind a pointwise function."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    def value(x):
        return jnp.square(fn(jnp.tanh(x))).sum()

    fresh = lambda: (jnp.array(np.random.default_rng(0).normal(size=shape).astype(np.float32)),)  # noqa: E731
    return {"forward": (lambda x: fn(x), fresh), "gradient": (jax.value_and_grad(value), fresh)}


def programs() -> dict:
    """How the programs of each row are made."""
    import numpy as np

    import equijax as ej

    random, p4m = np.random.default_rng(0), ej.wallpaper("p4m")
    nodes, edges = 10_000, 160_000
    ends, few = random.integers(0, nodes, (2, edges)), np.sort(random.integers(0, 2000, 40_000))

    def neighbours(x):
        graph = ej.Graph(None, *ends, node_mask=np.ones(nodes, bool))
        return ej.graphs.message_reduce(lambda sender, receiver, edge: sender - receiver, graph, x, reductions="max")

    largest = ej.nn.Max()
    return {
        "FibrePool p4m": lambda: maximum_programs(ej.nn.FibrePool(group=p4m), (64, 14, 14, 8, 32)),
        "GlobalPool p4m": lambda: maximum_programs(ej.nn.GlobalPool("max", group=p4m), (64, 14, 14, 8, 32)),
        "set of 200": lambda: maximum_programs(largest.over_axis, (64, 200, 64)),
        "segments, 160000 rows": lambda: maximum_programs(lambda x: largest.over_segments(x, ends[1], nodes), (edges, 64)),
        "segments, 40000 rows": lambda: maximum_programs(lambda x: largest.over_segments(x, few, 2000), (40_000, 64)),
        "neighbours, 64 features": lambda: maximum_programs(neighbours, (nodes, 64)),
        "neighbours, 16 features": lambda: maximum_programs(neighbours, (nodes, 16)),
        **{f"network {name}": lambda name=name: network_programs(name) for name in NETWORKS},
    }


class Worker:
    """Answers the questions of the script."""

    def __init__(self) -> None:
        self.rows, self.compiled = programs(), {}

    def names(self) -> list[str]:
        """The rows."""
        return list(self.rows)

    def compile(self, name: str, builds: int) -> list[str]:
        """Compiles the programs of a row, makes arguments for them, and returns their names."""
        import jax

        self.compiled = {}
        for kind, (fn, fresh) in self.rows[name]().items():
            program = jax.jit(fn).lower(*fresh()).compile()
            self.compiled[kind] = program, [fresh() for _ in range(builds)]
            jax.block_until_ready(program(*self.compiled[kind][1][0]))
        return list(self.compiled)

    def program(self, kind: str) -> str:
        """Digest of the instructions of a compiled program."""
        return digest(self.compiled[kind][0])

    def milliseconds(self, kind: str) -> list[float]:
        """Minimum times of a call over all sets of arrays: on the wall, and of the process."""
        import jax

        program, given = self.compiled[kind]
        clocks, best = (time.perf_counter, time.process_time), [float("inf")] * 2
        for arguments in given:
            starts = [clock() for clock in clocks]
            jax.block_until_ready(program(*arguments))
            best = [min(b, 1e3 * (clock() - start)) for b, clock, start in zip(best, clocks, starts, strict=True)]
        return best


def interleaved(sides: list[Checkout], rounds: int, kind: str) -> list[list[float]]:
    """Minima of both sides, asked in turn; each goes first in every other round."""
    best = [[float("inf")] * 2 for _ in sides]
    for k in range(rounds):
        for i in (0, 1) if k % 2 == 0 else (1, 0):
            best[i] = [min(pair) for pair in zip(best[i], sides[i].ask("milliseconds", kind), strict=True)]
    return best


def main() -> None:
    """Measures, prints a table, writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--rounds", type=int, default=10, help="how often each side is asked")
    parser.add_argument("--builds", type=int, default=4, help="sets of arrays for each program")
    parser.add_argument("--only", default="", help="only the rows whose name holds this")
    parser.add_argument("--json", help="write the figures to this file, for example docs/figures/maxima.json")
    given = parser.parse_args()
    sides, rows = [Checkout(path, __file__) for path in (given.before, given.after)], []
    for name in [name for name in sides[0].ask("names") if given.only in name]:
        for kind in [side.ask("compile", name, given.builds) for side in sides][0]:
            (before, busy), (after, busy_after) = interleaved(sides, given.rounds, kind)
            row = {"row": name, "program": kind, "before_ms": before, "after_ms": after, "ratio": after / before}
            row |= {"before_cpu_ms": busy, "after_cpu_ms": busy_after, "cpu_ratio": busy_after / busy}
            rows.append(row | {"same_program": len({side.ask("program", kind) for side in sides}) == 1})
            mark = " !" if "network" in name and after > BAR * before else ""
            print(f"{name:24} {kind:9} {before:8.2f} → {after:8.2f} ms  {after / before:.2f}{mark}"
                  f"   process {busy:8.2f} → {busy_after:8.2f} ms  {busy_after / busy:.2f}  {rows[-1]['same_program']}", flush=True)  # fmt: skip
        if given.json:
            import jax

            figures = {
                "before": sides[0].commit(), "after": sides[1].commit(), "rounds": given.rounds, "builds": given.builds,
                "jax": jax.__version__, "cores": os.cpu_count(), "load": os.getloadavg()[0], "bar": BAR, "rows": rows,
            }  # fmt: skip
            pathlib.Path(given.json).write_text(json.dumps(figures, indent=1) + "\n")
    for side in sides:
        side.process.stdin.close()
        side.process.wait()


if __name__ == "__main__":
    serve(Worker()) if sys.argv[1:] == ["--worker"] else main()
