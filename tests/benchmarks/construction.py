"""How long it takes to build a network in a fresh process, and whose time that is.

    python tests/benchmarks/construction.py [CHECKOUT ...] [--rounds N] [--only WORD] [--json FILE]

Each CHECKOUT is the path of one (this one by default); they are asked in turn, each time in a new process without a cache of
compiled programs, so that everything is compiled that a user's first network compiles. The networks are small group CNNs: five
convolutions with ``nnx.BatchNorm`` and ``jax.nn.relu``, and a linear head of Flax. What is ours are the convolutions. What is
Flax's are ``nnx.Rngs``, its first key (whose program all later keys use), the norms and the head. Seconds; minimum and median.
The bar: 0.3 s for what is ours.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parents[2]
BAR = 0.3
NETWORKS = {
    "p4": ("p4", (16, 16, 32, 32, 64), 5),
    "p4m": ("p4m", (8, 8, 16, 16, 32), 5),
    "p4m wide": ("p4m", (16, 16, 32, 32, 64), 3),
}


def build(name: str) -> dict:
    """Builds a network and returns the seconds of each part."""
    import time

    import flax
    import jax
    from flax import nnx

    import equijax as ej

    word, widths, size = NETWORKS[name]
    group, features = ej.wallpaper(word), 1
    seconds = {"rngs and first key": 0.0, "convolutions": 0.0, "batch norms": 0.0, "head": 0.0}

    def timed(part, make):
        start = time.perf_counter()
        made = make()
        seconds[part] += time.perf_counter() - start
        return made

    def first_key():
        rngs = nnx.Rngs(0)
        rngs.params()
        return rngs

    rngs, layers = timed("rngs and first key", first_key), []
    for k, width in enumerate(widths):
        conv = ej.nn.GroupConv if k else ej.nn.LiftingConv
        make = lambda conv=conv, features=features, width=width: conv(features, width, size, group=group, rngs=rngs)  # noqa: E731
        layers.append(timed("convolutions", make))
        layers.append(timed("batch norms", lambda width=width: nnx.BatchNorm(width, rngs=rngs)))
        features = width
    layers.append(timed("head", lambda: nnx.Linear(features, 10, rngs=rngs)))
    seconds["whole"] = sum(seconds.values())
    return {"versions": f"jax {jax.__version__}, flax {flax.__version__}", "seconds": seconds}


def ask(checkout: str, name: str) -> dict:
    """Builds the network in a new process with a checkout's library."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment |= {"PYTHONPATH": str(pathlib.Path(checkout).resolve()), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, "--build", name]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=HERE)
    return json.loads(found.stdout)


def main() -> None:
    """Asks all checkouts in turn and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", default=[str(HERE)])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="networks whose name contains this word")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--build", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        print(json.dumps(build(given.build)))
        return
    rows, versions = [], ""
    for name in (name for name in NETWORKS if given.only in name):
        asked: dict[str, list[dict]] = {checkout: [] for checkout in given.checkouts}
        for _ in range(given.rounds):
            for checkout, found in asked.items():
                answer = ask(checkout, name)
                versions = answer["versions"]
                found.append(answer["seconds"])
        for place, found in enumerate(asked.values()):
            parts = {
                part: [round(pick([f[part] for f in found]), 3) for pick in (min, statistics.median)] for part in found[0]
            }
            rows.append({"network": name, "checkout": place, "seconds": parts})
            print(name, place, parts, flush=True)
    if given.json:
        last = [row["seconds"]["convolutions"][1] for row in rows if row["checkout"] == len(given.checkouts) - 1]
        figures = {
            "versions": f"{versions}, Python {sys.version.split()[0]}",
            "cores": os.cpu_count(),
            "rounds": given.rounds,
            "figures": "seconds: [minimum, median]; checkouts by number, the last is the newest",
            "bar": {"convolutions, median": BAR, "met": all(figure <= BAR for figure in last)},
            "rows": rows,
        }
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
