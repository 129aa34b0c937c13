"""Neighbour sums and message passing against the plain forms and PyTorch Geometric: times, compile times, tables.

    python tests/benchmarks/neighbour_sums.py [--json FILE] [--rounds N] [--peer-python PYTHON]

Each case runs in a process of its own, with the malloc that the environment gives it: how fast a large array is allocated
depends on what the process did before. Programs of one case are compiled, then run in turn (A B C A B C …), and the minima are
compared. PyTorch Geometric runs in its own interpreter (one with torch and torch_geometric), before and after the JAX programs
of each case. A gradient is timed together with its value. "chunks" is what a large graph without a table gets. All get the same
numbers; ``difference`` is the largest one of any other from ours, relative to the largest entry.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import equijax as ej
from equijax.graphs import _chunks, _sums, message_reduce, neighbour_sum

BARS = {"random": 5.0, "power law": 5.0, "molecules": 2.0}
SLOWEST_AT_16 = 1.2
TOLERANCE = 1e-4
MESSAGES_BAR = 1.8
PEER = Path(__file__).parent / "peers" / "neighbour_sums_torch.py"


def random_edges(nodes: int = 10_000, edges: int = 160_000, power: float = 0.0) -> tuple:
    """Ends drawn independently, node i with probability ∝ i^-power; at 0.75 the largest degree is about 4300."""
    rng = np.random.default_rng(0)
    p = np.arange(1.0, nodes + 1) ** -power
    return *(rng.permutation(nodes)[rng.choice(nodes, edges, p=p / p.sum())] for _ in range(2)), nodes


def molecule_edges(count: int = 2000, nodes: int = 20, edges: int = 40) -> tuple:
    """Many small graphs in one."""
    rng = np.random.default_rng(0)
    first = nodes * np.arange(count)[:, None]
    return *(np.ravel(rng.integers(0, nodes, (count, edges)) + first) for _ in range(2)), nodes * count


def cases() -> dict[str, tuple]:
    """Senders, receivers, and number of nodes."""
    return {"random": random_edges(), "power law": random_edges(power=0.75), "molecules": molecule_edges()}


@contextlib.contextmanager
def limits(**values: int):
    """Sets the sizes in bytes at which the forms change."""
    homes = {"TABLE_BYTES": _sums, "WHOLE_BYTES": _chunks, "CHUNK_BYTES": _chunks}
    before = {name: getattr(homes[name], name) for name in values}
    try:
        for name, value in values.items():
            setattr(homes[name], name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(homes[name], name, value)


WHOLE = {"TABLE_BYTES": 2**60, "WHOLE_BYTES": 2**60}  # all messages at once
CHUNKS = {"TABLE_BYTES": 2**60}
TABLE = {"TABLE_BYTES": 0}


def compiled(fn, args: tuple, **forms: int) -> tuple:
    """Compiles ``fn`` with the forms chosen by these limits; returns a function without arguments, and the seconds it took."""
    with limits(**forms):
        start = time.perf_counter()
        program = jax.jit(lambda *args: fn(*args)).lower(*args).compile()
    return lambda: program(*args), time.perf_counter() - start


def interleaved(programs: dict, rounds: int) -> dict[str, float]:
    """Runs compiled programs in turn and returns the least time of each, in milliseconds."""
    best = dict.fromkeys(programs, float("inf"))
    for number in range(rounds + 2):
        for name, (run, _) in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            if number >= 2:
                best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return best


class Peer:
    """PyTorch Geometric in another process; without an interpreter it answers nothing."""

    def __init__(self, python: str | None):
        self.process, self.versions = None, None
        if python:
            self.process = subprocess.Popen([python, PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.versions = json.loads(self.process.stdout.readline())

    def times(self, file: str, rounds: int) -> dict[str, float]:
        """Least milliseconds, forward and gradient; the results are in the file with ``.answer.npz`` behind its name."""
        if self.process is None:
            return {}
        request = {"case": file, "rounds": rounds}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        time.sleep(0.3)  # its threads wait busily for a while
        return answer


def in_new_process(fn, *args):
    """Calls ``fn`` in a process that has done nothing before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(fn, args)


def differences(ours: dict, others: dict[str, dict]) -> dict[str, float]:
    """Largest differences of named arrays from ours, relative to the largest entry.

    Raises:
      RuntimeError: one is larger than the tolerance, so the programs don't do the same.
    """
    found = {}
    for name, arrays in others.items():
        pairs = [(np.asarray(ours[key]), np.asarray(arrays[key])) for key in ours]
        found[name] = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)
    if not all(value <= TOLERANCE for value in found.values()):  # also where one is NaN
        raise RuntimeError(f"Relative differences from equijax are {found}; at most {TOLERANCE} is expected.")
    return found


def sum_rows(
    name: str, features: int, peer_python: str | None, rounds: int, weightings: tuple[bool, ...] = (False, True)
) -> list[dict]:
    """Times sums without and with weights, forward and gradient."""
    senders, receivers, nodes = cases()[name]
    peer = Peer(peer_python)
    graph = ej.Graph(None, senders, receivers, node_mask=jnp.ones(nodes, bool)).with_table()
    x, c = (jax.random.normal(jax.random.key(k), (nodes, features)) for k in range(2))
    weights = jax.random.normal(jax.random.key(2), (len(senders),))

    def plain(x, w, graph):
        messages = x[graph.senders] if w is None else x[graph.senders] * w[:, None]
        return jax.ops.segment_sum(messages, graph.receivers, nodes)

    def loss_of(fn):
        return lambda x, w, graph, c: jnp.vdot(c, jnp.square(fn(x, w, graph)))

    ours = lambda x, w, graph: neighbour_sum(x, graph, w)  # noqa: E731
    large = len(senders) * features * 4 >= _sums.TABLE_BYTES  # then the form chosen is the table
    forms = {
        "segment_sum": (plain, {}),
        "chosen": (ours, {}),
        **({"chunks": (ours, CHUNKS)} if large else {"table": (ours, TABLE)}),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/case.npz"
        np.savez(file, senders=senders, receivers=receivers, x=x, c=c)
        first = peer.times(file, rounds)
        programs = {}
        for weighted in weightings:
            w = weights if weighted else None
            for form, (fn, forced) in forms.items():
                graph_of = graph.replace(table=None) if form == "chunks" else graph
                gradient = jax.value_and_grad(loss_of(fn), (0, 1) if weighted else 0)
                programs[weighted, "forward", form] = compiled(fn, (x, w, graph_of), **forced)
                programs[weighted, "gradient", form] = compiled(gradient, (x, w, graph_of, c), **forced)
        best = interleaved(programs, rounds)
        again = peer.times(file, rounds)
        theirs = dict(np.load(f"{file}.answer.npz")) if first else None
    for weighted in weightings:
        both = {form: results(programs, weighted, form) for form in forms}
        others = {form: both[form] for form in forms if form != "chosen"}
        others |= {"pyg": theirs} if theirs is not None and not weighted else {}
        difference = differences(both["chosen"], others)
        for mode in ("forward", "gradient"):
            ms = {form: best[weighted, mode, form] for form in forms}
            row = {"graph": name, "features": features, "weighted": weighted, "pass": mode}
            row |= {f"{form}_ms": value for form, value in ms.items()}
            if first and not weighted:
                row["pyg_ms"] = min(first[mode], again[mode])
                row["faster_than_pyg"] = row["pyg_ms"] / ms["chosen"]
            row["faster_than_segment_sum"] = ms["segment_sum"] / ms["chosen"]
            row |= {f"{form}_compile_s": programs[weighted, mode, form][1] for form in ("segment_sum", "chosen")}
            rows.append(row | {"difference": max(difference.values())})
    return rows


def results(programs: dict, weighted: bool, form: str) -> dict:
    """The sums of one form and their gradient in the nodes."""
    gradient = programs[weighted, "gradient", form][0]()[1]
    return {"sums": programs[weighted, "forward", form][0](), "gradient": gradient[0] if weighted else gradient}


def edge_mlp(parameters, x, graph):
    """Two layers of 64 on the values of both ends, summed."""
    first, second = parameters["mlp"]
    fn = lambda s, r, _: jax.nn.silu(jax.nn.silu(jnp.concatenate([s, r], -1) @ first) @ second)  # noqa: E731
    return message_reduce(fn, graph, x)


def attention(parameters, x, graph):
    """Graph attention with 4 heads: softmax over the neighbours by a maximum and two sums."""
    heads = (x @ parameters["value"]).reshape(-1, 4, 16)
    nodes = {"x": heads, "from": jnp.sum(heads * parameters["from"], -1), "to": jnp.sum(heads * parameters["to"], -1)}
    logit = lambda s, r: jax.nn.leaky_relu(s["from"] + r["to"], 0.2)  # noqa: E731
    stopped = jax.lax.stop_gradient({"from": nodes["from"], "to": nodes["to"]})
    top = message_reduce(lambda s, r, _: logit(s, r), graph, stopped, reductions="max")

    def fn(s, r, _):
        weight = jnp.exp(logit(s, r) - r["top"])
        return weight[..., None] * s["x"], weight

    total, norm = message_reduce(fn, graph, nodes | {"top": top})
    return (total / jnp.where(norm > 0, norm, 1)[..., None]).reshape(x.shape)


def message_rows(name: str, layer, rounds: int) -> list[dict]:
    """Times a layer that computes messages: all edges at once, and as chosen."""
    senders, receivers, nodes = cases()[name]
    graph = ej.Graph(None, senders, receivers, node_mask=jnp.ones(nodes, bool))
    draw = lambda k, *shape: jax.random.normal(jax.random.key(k), shape)  # noqa: E731
    x, c = draw(0, nodes, 64), draw(1, nodes, 64)
    parameters = {"mlp": (draw(2, 128, 64) / 11, draw(3, 64, 64) / 8), "value": draw(4, 64, 64) / 8}
    parameters |= {"from": draw(5, 4, 16) / 4, "to": draw(6, 4, 16) / 4}
    gradient = jax.value_and_grad(lambda p, x, graph, c: jnp.vdot(c, jnp.square(layer(p, x, graph))), (0, 1))
    programs, rows = {}, []
    for form, forced in (("whole", WHOLE), ("chosen", {})):
        programs["forward", form] = compiled(layer, (parameters, x, graph), **forced)
        programs["gradient", form] = compiled(gradient, (parameters, x, graph, c), **forced)
    best = interleaved(programs, rounds)
    for mode in ("forward", "gradient"):
        row = {"layer": layer.__name__, "graph": name, "pass": mode}
        row |= {f"{form}_ms": best[mode, form] for form in ("whole", "chosen")}
        row["faster"] = row["whole_ms"] / row["chosen_ms"]
        row |= {f"{form}_compile_s": programs[mode, form][1] for form in ("whole", "chosen")}
        rows.append(row)
    return rows


def table_row(name: str, edges: tuple) -> dict:
    """Times the building of both tables of a graph, and counts their slots."""
    senders, receivers, nodes = edges
    times = []
    for _ in range(7):
        start = time.perf_counter()
        table = jax.block_until_ready(ej.graphs.NeighbourTable.build(senders, receivers, nodes))
        times.append(1e3 * (time.perf_counter() - start))
    degrees = np.bincount(receivers)
    return {
        "graph": name,
        "nodes": nodes,
        "edges": len(senders),
        "largest_degree": int(degrees.max()),
        "row_width": table.shapes.incoming.width,
        "further_rows": table.shapes.incoming.splits,
        "slots_per_edge": table.shapes.incoming.num_slots / len(senders),
        "build_ms": min(times),
    }


def boundary_row(name: str, features: int, rounds: int) -> dict:
    """Times segment sum and table, value and gradient together."""
    senders, receivers, nodes = cases()[name]
    graph = ej.Graph(None, senders, receivers, node_mask=jnp.ones(nodes, bool)).with_table()
    x = jax.random.normal(jax.random.key(0), (nodes, features))
    loss = jax.value_and_grad(lambda x, graph: jnp.sum(jnp.square(neighbour_sum(x, graph))))
    forms = {"segment_sum": WHOLE, "table": TABLE}
    best = interleaved({k: compiled(loss, (x, graph), **forced) for k, forced in forms.items()}, rounds)
    row = {"graph": name, "features": features, "MiB": len(senders) * features * 4 / 2**20}
    return row | {f"{form}_ms": ms for form, ms in best.items()}


def bars(sums: list[dict], messages: list[dict]) -> list[dict]:
    """Every bar with what was measured."""
    found = []
    for row in sums:
        if row["weighted"]:
            continue
        for other in ("segment_sum", "pyg"):
            if f"faster_than_{other}" in row:
                bar = BARS[row["graph"]] if row["features"] == 64 else 1 / SLOWEST_AT_16
                what = f"sum, {row['graph']}, {row['features']} features, {row['pass']}, against {other}"
                found.append({"what": what, "bar": bar, "measured": row[f"faster_than_{other}"]})
    for row in messages:
        if row["pass"] == "gradient":
            what = f"{row['layer']}, {row['graph']}, {row['pass']}"
            found.append({"what": what, "bar": MESSAGES_BAR, "measured": row["faster"]})
    return [{**row, "reached": row["measured"] >= row["bar"]} for row in found]


def show(console: Console, title: str, rows: list[dict]) -> None:
    """Prints rows as a table."""
    table = Table(title=title)
    for key in dict.fromkeys(key for row in rows for key in row):
        table.add_column(key.replace("_", " "), justify="right")
    for row in rows:
        texts = (
            f"{v:.3g}" if isinstance(v, float) else str(v)
            for v in (row.get(k.header.replace(" ", "_"), "") for k in table.columns)
        )
        table.add_row(*texts)
    console.print(table)


def main() -> int:
    """Measures, prints the tables, writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--rounds", type=int, default=30, help="how often each program runs")
    parser.add_argument("--peer-python", help="an interpreter with torch and torch_geometric")
    parser.add_argument("--boundary", action="store_true", help="also measure from which size on a table pays")
    arguments = parser.parse_args()
    figures = {
        "versions": {"python": platform.python_version(), "jax": jax.__version__, "equijax": ej.__version__},
        "peer": Peer(arguments.peer_python).versions,
        "platform": {"machine": platform.machine(), "cores": os.cpu_count(), "backend": jax.default_backend()},
        "threads": os.cpu_count(),
        "malloc": {key: value for key, value in os.environ.items() if key.startswith("MALLOC_") or key == "LD_PRELOAD"},
        "rounds": arguments.rounds,
        "tables": [table_row(name, edges) for name, edges in cases().items()],
    }
    figures["sums"], figures["messages"] = [], []
    for name in cases():
        for features in (64, 16):
            figures["sums"] += in_new_process(sum_rows, name, features, arguments.peer_python, arguments.rounds)
        for layer in (edge_mlp, attention):
            figures["messages"] += in_new_process(message_rows, name, layer, max(5, arguments.rounds // 4))
    figures["bars"] = bars(figures["sums"], figures["messages"])
    if arguments.boundary:
        sizes = [(name, features) for name in cases() for features in (8, 16, 24, 32)]
        figures["boundary"] = [in_new_process(boundary_row, *size, arguments.rounds) for size in sizes]
    console = Console()
    for key in ("tables", "sums", "messages", "bars", "boundary"):
        if key in figures:
            show(console, key, figures[key])
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(figures, file, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    jnp.zeros(()).block_until_ready()
    sys.exit(main())
