"""One case, in a process that has done nothing before: all contenders in turn, A B C A B C …"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np
import optax
from flax import nnx
from neighbours import NeighbourSum, differences
from networks import NETWORKS, Network, network
from peer import Peer, construction_s
from programs import Contender, SingleLayer

import equijax as ej

Case = Network | SingleLayer | NeighbourSum
KINDS = ("equijax", "nnx")
IN_TURN = 3  # runs before it is another's turn


@dataclasses.dataclass(frozen=True)
class Options:
    """How to measure."""

    rounds: int
    builds: int
    peer: Path | None
    algorithm: str | None


def versions() -> dict:
    """What runs on the JAX side, and how."""
    own = {"python": ".".join(map(str, sys.version_info[:3])), "jax": jax.__version__, "flax": flax.__version__}
    own |= {"optax": optax.__version__, "equijax": ej.__version__, "threads": len(os.sched_getaffinity(0))}
    return own | {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "")}


def peer_versions(python: Path) -> dict:
    """What runs on the peer's side."""
    peer = Peer(python, next(iter(NETWORKS.values())))
    peer.close()
    return peer.versions


def case_rows(case: Case, options: Options) -> list[dict]:
    """Measures every mode of a case; the rows hold minima, medians, ratios, compile times and memory."""
    if isinstance(case, NeighbourSum):
        return case.rows(options.peer, options.rounds * options.builds * IN_TURN)
    with tempfile.TemporaryDirectory() as folder:
        return contest(case, options, f"{folder}/data.npz")


def contest(case: Network | SingleLayer, options: Options, data: str) -> list[dict]:
    """Builds and runs all contenders in turn; ``data`` is where the peer finds the arrays that all sides get."""
    contenders: dict[str, Any] = {kind: Contender(case, kind, options.algorithm) for kind in KINDS}
    same = not isinstance(case, Network) and bool(case.parts("equijax"))
    if not isinstance(case, Network) and same:
        np.savez(data, **case.data())
    if options.peer is not None and case.peer:
        contenders[case.peer] = Peer(options.peer, case, data if same else None)
    times = {(mode, name): [] for mode in case.modes for name in contenders}
    values, found = {key: [] for key in times}, {}
    for _ in range(options.builds):
        for contender in contenders.values():
            contender.build()
        if same and "difference" not in found:
            results = {name: contender.results() for name, contender in contenders.items()}
            found["difference"] = max(differences(results.pop("equijax"), results).values())
        for _ in range(options.rounds):
            for mode, name in times:
                ms, value = contenders[name].run(mode, IN_TURN)
                times[mode, name] += ms
                values[mode, name].append(value)
    if case.peer in contenders:
        contenders[case.peer].close()
    return [mode_row(case, mode, contenders, times, values, options) | found for mode in case.modes]


def mode_row(case: Network | SingleLayer, mode: str, contenders: dict, times: dict, values: dict, options: Options) -> dict:
    """One row of a table."""
    row: dict[str, Any] = {"family": case.family, "case": case.name, "pass": mode}
    if isinstance(case, Network):
        row["parameters"] = {name: contender.parameters for name, contender in contenders.items()}
    else:
        row |= {"along": getattr(case, "along", ""), "at": getattr(case, "at", 0), "input": list(case.shape)}
    row |= {f"{name}_ms": min(times[mode, name]) for name in contenders}
    row |= {f"{name}_median_ms": statistics.median(times[mode, name]) for name in contenders}
    others = [name for name in contenders if name != "equijax"]
    row |= {f"{name}_over_equijax": row[f"{name}_ms"] / row["equijax_ms"] for name in others}
    row |= {f"{kind}_compile_s": contenders[kind].compile_s[mode] for kind in KINDS}
    row |= {f"{kind}_MiB": contenders[kind].memory_MiB[mode] for kind in KINDS}
    if mode == "train":  # of the last build: the first and the last turn
        row["loss"] = {name: [values[mode, name][-options.rounds], values[mode, name][-1]] for name in contenders}
    return row


def slopes(rows: list[dict]) -> list[dict]:
    """Exponents of the scaling curves: slopes of the minima, and of the memory, in log-log, by least squares."""
    curves: dict[tuple, list[dict]] = {}
    for row in rows:
        curves.setdefault((row["along"], row["pass"]), []).append(row)
    found = []
    for (along, mode), points in curves.items():
        if len(points) < 2:
            continue
        at = np.log([row["at"] for row in points])
        row = {"along": along, "from": points[0]["at"], "to": points[-1]["at"], "pass": mode}
        columns = {name: f"{name}_ms" for name in (*KINDS, "escnn")} | {f"{kind}_memory": f"{kind}_MiB" for kind in KINDS}
        for name, key in columns.items():
            if all(key in point for point in points):
                row[name] = float(np.polyfit(at, np.log([point[key] for point in points]), 1)[0])
        found.append(row)
    return found


def building_row(case: Network, python: Path | None) -> dict:
    """Seconds of the first construction in a new process, for every contender."""
    row: dict[str, Any] = {"case": case.name}
    for kind in KINDS:
        row[f"{kind}_s"] = json.loads(subprocess.check_output([sys.executable, __file__, case.name, kind]))
    if python is not None:
        row["escnn_s"] = construction_s(python, case)
    return row


def main() -> None:
    """Makes one network and prints the seconds; JAX has been started before."""
    _, name, kind = sys.argv
    jax.numpy.zeros(()).block_until_ready()
    start = time.perf_counter()
    jax.block_until_ready(nnx.state(network(name, kind, nnx.Rngs(0))))
    print(json.dumps(time.perf_counter() - start))


if __name__ == "__main__":
    main()
