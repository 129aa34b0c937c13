"""What a change of the library costs: the time to run and to build each layer, two checkouts interleaved in one script.

    python tests/benchmarks/contracts_cost.py BEFORE AFTER [--rounds N] [--builds N] [--layers WORD] [--json FILE]

BEFORE and AFTER are paths of checkouts. Each runs in a process of its own that lives as long as the script, so imports don't count;
the script asks them in turn, now one first and now the other, and the one that is not asked sleeps. All figures are minima.

- forward: the jitted program of each layer, float32. One and the same program runs at different speeds depending on where its arrays
  happen to lie, so each is built several times (``--builds``), with fresh arrays, and the rounds go over all of them.
- building: the constructor, parameters drawn, with warm tables; and once with every table of equijax forgotten first. The initialisers
  fill with zeros, so that what is timed is the library and not the random numbers.

Both checkouts' compiled programs are compared too, without the names of source lines: where they are the same, instruction by
instruction, a ratio of forward times that is not 1 is the machine's.

The bars: forward at most 1.02 of before, building at most 1.10. Two runs of one checkout against itself show what the machine adds.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

BARS = {"forward": 1.02, "warm": 1.10, "cold": 1.10}


# --- the worker: one checkout -----------------------------------------------------------------------------------------


def layers() -> dict:
    """How each layer is built, and the shape of its input (or the input itself)."""
    import numpy as np
    from flax import nnx

    import equijax as ej
    from equijax.reps import Quotient, Regular

    zeros = {"kernel_init": nnx.initializers.zeros, "bias_init": nnx.initializers.zeros, "rngs": nnx.Rngs(0)}
    p4, p4m, cube, d3 = ej.wallpaper("p4"), ej.wallpaper("p4m"), ej.SpaceGroup(ej.Octahedral()), ej.Dihedral(3)
    quotient = Quotient(p4m.point_group.subgroup([4]))
    torus, n = ej.GridAction(p4, Regular(p4.point_group)), ej.nn
    pairs = ej.TensorAction(6, 2)
    random = np.random.default_rng(0)
    graph = ej.Graph(random.normal(size=(2000, 32)).astype(np.float32), *random.integers(0, 2000, (2, 8000)))
    circular = {"padding": "CIRCULAR", **zeros}
    regular4 = {"in_fibre": Regular(p4.point_group), "out_fibre": Regular(p4.point_group)}

    def chain():
        parts = [n.LiftingConv(1, 8, 3, group=p4, **circular)]
        parts += [n.GroupConv(8, 8, 3, group=p4, **circular) for _ in range(4)]
        return n.Sequential(*parts, n.GlobalPool(group=p4))

    return {
        "Conv, no group": (lambda: n.Conv(32, 32, (3, 3), **zeros), (16, 28, 28, 32)),
        "Conv p4m, scalars": (lambda: n.Conv(32, 32, 3, group=p4m, **circular), (16, 28, 28, 32)),
        "Conv p4m, quotients": (lambda: n.Conv(8, 8, 3, group=p4m, in_fibre=quotient, out_fibre=quotient, **circular), (16, 28, 28, 4, 8)),
        "LiftingConv p4m": (lambda: n.LiftingConv(3, 8, 5, group=p4m, **circular), (16, 28, 28, 3)),
        "GroupConv p4": (lambda: n.GroupConv(16, 16, 3, group=p4, **circular), (16, 28, 28, 4, 16)),
        "GroupConv p4m": (lambda: n.GroupConv(8, 8, 3, group=p4m, **circular), (16, 28, 28, 8, 8)),
        "GroupConv p4m, 5×5": (lambda: n.GroupConv(8, 8, 5, group=p4m, **circular), (8, 28, 28, 8, 8)),
        "GroupConv cube": (lambda: n.GroupConv(2, 2, 3, group=cube, **circular), (2, 9, 9, 9, 24, 2)),
        "GroupConv D3": (lambda: n.GroupConv(64, 64, (), group=d3, **zeros), (2048, 6, 64)),
        "ProjectionConv p4m": (lambda: n.ProjectionConv(8, 8, 3, group=p4m, **circular), (16, 28, 28, 8, 8)),
        "ConvTranspose p4": (lambda: n.ConvTranspose(8, 8, 4, 2, group=p4, **regular4, **circular), (16, 14, 14, 4, 8)),
        "CentredConv p4": (lambda: n.CentredConv(16, 16, 3, 2, group=p4, **zeros), (16, 28, 28, 16)),
        "PolyphaseConv": (lambda: n.PolyphaseConv(16, 16, (3, 3), 2, **zeros), (16, 28, 28, 16)),
        "SetConv p4": (lambda: n.SetConv(8, 8, 3, group=p4, **regular4, **circular), (2, 6, 14, 14, 4, 8)),
        "EquivariantLinear, torus": (lambda: n.EquivariantLinear(torus.on((4, 4)), torus.on((4, 4)), 8, 8, **zeros), (64, 4, 4, 4, 8)),
        "EquivariantLinear, pairs": (lambda: n.EquivariantLinear(pairs, pairs, 8, 8, **zeros), (64, 6, 6, 8)),
        "PermutationEquivariantLinear": (lambda: n.PermutationEquivariantLinear(2, 2, 16, 16, **zeros), (16, 24, 24, 16)),
        "SetLinear": (lambda: n.SetLinear(64, 64, **zeros), (64, 100, 64)),
        "SetAttentionBlock": (lambda: n.SetAttentionBlock(64, 4, **zeros), (16, 64, 64)),
        "GroupNorm p4": (lambda: n.GroupNorm(16, 4, group=p4, rngs=nnx.Rngs(0)), (16, 28, 28, 4, 16)),
        "FibrePool": (lambda: n.FibrePool(group=p4m), (16, 28, 28, 8, 16)),
        "MaxPool p4m": (lambda: n.MaxPool(2, 2, group=p4m), (16, 28, 28, 8, 16)),
        "BlurPool p4": (lambda: n.BlurPool(4, 2, group=p4), (16, 28, 28, 4, 16)),
        "GlobalPool p4": (lambda: n.GlobalPool(group=p4), (16, 28, 28, 4, 16)),
        "Sequential of six, p4": (chain, (16, 28, 28, 1)),
        "GCNConv": (lambda: n.GCNConv(32, 32, **zeros), graph),
    }  # fmt: skip


def forget_tables() -> None:
    """Empties every cache of functions of equijax."""
    for name, module in list(sys.modules.items()):
        if name.startswith("equijax"):
            for value in list(vars(module).values()):
                if getattr(value, "__module__", "").startswith("equijax") and hasattr(value, "cache_clear"):
                    value.cache_clear()


class Worker:
    """Answers the questions of the script, one line of JSON each."""

    def __init__(self) -> None:
        self.layers = layers()
        self.programs: list = []

    def names(self) -> list[str]:
        return list(self.layers)

    def compile(self, name: str, builds: int) -> None:
        """Builds the program of a layer several times, with arrays of its own each time."""
        import jax
        import numpy as np
        from flax import nnx

        random = np.random.default_rng(0)
        normal = lambda shape: random.normal(size=shape).astype(np.float32)  # noqa: E731
        make, x = self.layers[name]
        definition, state = nnx.split(make())
        run = jax.jit(lambda state, x: nnx.merge(definition, state)(x))
        self.programs = []
        for _ in range(builds):
            values = normal(x) if isinstance(x, tuple) else x
            inputs = jax.tree.map(jax.numpy.array, values)
            weights = jax.tree.map(lambda p: jax.numpy.asarray(normal(p.shape)), state)
            self.programs.append((run.lower(weights, inputs).compile(), weights, inputs))
            jax.block_until_ready(self.programs[-1][0](weights, inputs))

    def program(self) -> str:
        """Digest of the instructions of the compiled program, without what names source lines."""
        return digest(self.programs[0][0])

    def forward(self, calls: int) -> float:
        """Minimum time of a call over all builds, in milliseconds."""
        import jax

        best = float("inf")
        for program, *arguments in self.programs:
            for _ in range(calls):
                start = time.perf_counter()
                jax.block_until_ready(program(*arguments))
                best = min(best, 1e3 * (time.perf_counter() - start))
        return best

    def build(self, name: str, cold: bool, times: int) -> float:
        """Minimum time to build a layer, in milliseconds."""
        import gc

        import jax
        from flax import nnx

        best = float("inf")
        gc.collect()
        gc.disable()
        for _ in range(times):
            if cold:
                forget_tables()
            start = time.perf_counter()
            jax.block_until_ready(jax.tree.leaves(nnx.state(self.layers[name][0]())))
            best = min(best, 1e3 * (time.perf_counter() - start))
        gc.enable()
        return best


def digest(program) -> str:
    """Digest of the instructions of a compiled program, without what names source lines."""
    rows = [re.sub(r", (metadata|backend_config)=\{.*", "", row) for row in program.as_text().splitlines() if " = " in row]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def serve(worker) -> None:
    """Answers questions, one line of JSON each, by the methods of ``worker``."""
    for line in sys.stdin:
        question, *arguments = json.loads(line)
        print("answer " + json.dumps(getattr(worker, question)(*arguments)), flush=True)


# --- the script: asks both --------------------------------------------------------------------------------------------


class Checkout:
    """A process that runs one checkout; ``script`` is the program whose worker it is."""

    def __init__(self, path: str, script: str = __file__):
        self.path = pathlib.Path(path).resolve()
        if not (self.path / "equijax").is_dir():
            raise SystemExit(f"{path} holds no folder equijax")
        environment = os.environ | {"PYTHONPATH": str(self.path)}
        command = [sys.executable, str(pathlib.Path(script).resolve()), "--worker"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=self.path
        )

    def ask(self, *question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise SystemExit(f"{self.path}: the process ended while it was asked {question}")

    def commit(self) -> str:
        command = ["git", "-C", str(self.path), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def interleaved(sides: list[Checkout], rounds: int, *question) -> list[float]:
    """Minimum of the answers of both sides, asked in turn; each goes first in every other round."""
    best = [float("inf")] * 2
    for k in range(rounds):
        for i in (0, 1) if k % 2 == 0 else (1, 0):
            best[i] = min(best[i], sides[i].ask(*question))
    return best


def measure(sides: list[Checkout], name: str, rounds: int, builds: int) -> dict:
    """The row of one layer."""
    row = {"layer": name}
    interleaved_times = {"cold": interleaved(sides, rounds, "build", name, True, 3)}
    interleaved_times["warm"] = interleaved(sides, rounds, "build", name, False, 5)
    for side in sides:
        side.ask("compile", name, builds)
    row["same_program"] = len({side.ask("program") for side in sides}) == 1
    interleaved_times["forward"] = interleaved(sides, rounds, "forward", 3)
    for kind in ("forward", "warm", "cold"):
        before, after = interleaved_times[kind]
        row[kind] = {"before_ms": before, "after_ms": after, "ratio": after / before}
    return row


def show(rows: list[dict], commits: list[str]) -> None:
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{commits[0]} → {commits[1]}, minima in ms (bars: forward {BARS['forward']}, building {BARS['warm']})"
    )
    table.add_column("layer")
    for kind in BARS:
        table.add_column({"forward": "forward", "warm": "building", "cold": "cold tables"}[kind], justify="right")
        table.add_column("ratio", justify="right")
    table.add_column("same program")
    for row in rows:
        cells = []
        for kind, bar in BARS.items():
            one = row[kind]
            mark = " !" if one["ratio"] > bar else ""
            cells += [f"{one['before_ms']:.2f} → {one['after_ms']:.2f}", f"{one['ratio']:.3f}{mark}"]
        table.add_row(row["layer"], *cells, "yes" if row["same_program"] else "no")
    Console(width=145).print(table)


def main() -> None:
    """Measures, prints a table, writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--rounds", type=int, default=20, help="how often each side is asked")
    parser.add_argument("--builds", type=int, default=4, help="how often each program is built")
    parser.add_argument("--layers", default="", help="only the layers whose name holds this")
    parser.add_argument("--json", help="write the figures to this file, for example docs/figures/contracts_cost.json")
    given = parser.parse_args()
    sides = [Checkout(given.before), Checkout(given.after)]
    names = [name for name in sides[0].ask("names") if given.layers in name]
    sides[1].ask("names")
    rows = []
    for name in names:
        rows.append(measure(sides, name, given.rounds, given.builds))
        print(name, *(f"{kind} {rows[-1][kind]['ratio']:.3f}" for kind in BARS), flush=True)
    commits = [side.commit() for side in sides]
    show(rows, commits)
    if given.json:
        import jax

        figures = {
            "before": commits[0], "after": commits[1], "rounds": given.rounds, "builds": given.builds,
            "jax": jax.__version__, "cores": os.cpu_count(), "load": os.getloadavg()[0], "bars": BARS, "layers": rows,
        }  # fmt: skip
        pathlib.Path(given.json).write_text(json.dumps(figures, indent=1) + "\n")
    for side in sides:
        side.process.stdin.close()
        side.process.wait()


if __name__ == "__main__":
    serve(Worker()) if sys.argv[1:] == ["--worker"] else main()
