"""One case, in a process that has done nothing before: all contenders in turn, A B C A B C …"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np
import optax
from flax import nnx
from networks import NETWORKS, Network, network
from peer import Peer, construction_s
from programs import Case, Contender

import equijax as ej

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
    """Measures every mode of a case; the rows hold minima, medians, ratios and compile times."""
    contenders: dict[str, Any] = {kind: Contender(case, kind, options.algorithm) for kind in KINDS}
    if options.peer is not None and case.has_peer:
        contenders["escnn"] = Peer(options.peer, case)
    times = {(mode, name): [] for mode in case.modes for name in contenders}
    values = {key: [] for key in times}
    for _ in range(options.builds):
        for contender in contenders.values():
            contender.build()
        for _ in range(options.rounds):
            for mode, name in times:
                ms, value = contenders[name].run(mode, IN_TURN)
                times[mode, name] += ms
                values[mode, name].append(value)
    if "escnn" in contenders:
        contenders["escnn"].close()
    return [mode_row(case, mode, contenders, times, values, options) for mode in case.modes]


def mode_row(case: Case, mode: str, contenders: dict, times: dict, values: dict, options: Options) -> dict:
    """One row of a table."""
    row: dict[str, Any] = {"family": case.family, "case": case.name, "pass": mode}
    if isinstance(case, Network):
        row["parameters"] = {name: contender.parameters for name, contender in contenders.items()}
    else:
        row |= {
            "along": case.along,
            "at": case.at,
            "input": [case.batch, *[case.size] * case.ndim, case.order * case.features],
        }
    row |= {f"{name}_ms": min(times[mode, name]) for name in contenders}
    row |= {f"{name}_median_ms": statistics.median(times[mode, name]) for name in contenders}
    others = [name for name in contenders if name != "equijax"]
    row |= {f"{name}_over_equijax": row[f"{name}_ms"] / row["equijax_ms"] for name in others}
    row |= {f"{kind}_compile_s": contenders[kind].compile_s[mode] for kind in KINDS}
    if mode == "train":  # of the last build: the first and the last turn
        row["loss"] = {name: [values[mode, name][-options.rounds], values[mode, name][-1]] for name in contenders}
    return row


def slopes(rows: list[dict]) -> list[dict]:
    """Exponents of the scaling curves: slopes of the minima in log-log, by least squares."""
    curves: dict[tuple, list[dict]] = {}
    for row in rows:
        curves.setdefault((row["along"], row["pass"]), []).append(row)
    found = []
    for (along, mode), points in curves.items():
        if len(points) < 2:
            continue
        at = np.log([row["at"] for row in points])
        row = {"along": along, "from": points[0]["at"], "to": points[-1]["at"], "pass": mode}
        for name in (*KINDS, "escnn"):
            if all(f"{name}_ms" in point for point in points):
                ms = np.log([point[f"{name}_ms"] for point in points])
                row[name] = float(np.polyfit(at, ms, 1)[0])
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
