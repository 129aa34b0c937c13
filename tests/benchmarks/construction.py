"""How long it takes to build a network in a fresh process, and whose time that is.

    python tests/benchmarks/construction.py [CHECKOUT ...] [--rounds N] [--only WORD] [--json FILE]

Each CHECKOUT is the path of one (this one by default); they are asked in turn, each time in a new process without a cache of
compiled programs, so that everything is compiled that a user's first network compiles. The networks are the small group CNNs
that are compared with escnn, those of the checkout's own ``tests/benchmarks/peers/networks.py``, in layers of equijax. JAX's are
``nnx.Rngs`` and its first key (whose program all later keys use). Who makes the first array of a kind pays for its program.
"head" is the linear layer, Flax's or ours. Seconds; minimum and median. The bar: 0.3 s for everything but the keys.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parents[2]
BAR = 0.3
NETWORKS = ("p4", "p4m", "wide")


def build(name: str, folder: str) -> dict:
    """Builds a network of the file ``networks.py`` in a folder, and returns the seconds of each part."""
    import flax
    import jax
    from flax import nnx

    import equijax as ej

    sys.path.insert(0, folder)
    from networks import network  # pyright: ignore[reportMissingImports]

    seconds: dict[str, float] = dict.fromkeys(("rngs and first key", "convolutions", "batch norms", "head", "rest"), 0.0)
    jax.numpy.zeros(()).block_until_ready()  # JAX has been started before
    begin = time.perf_counter()
    rngs = nnx.Rngs(0)
    rngs.params()
    seconds["rngs and first key"] = time.perf_counter() - begin
    for layer in (ej.nn.Conv, nnx.BatchNorm, nnx.Linear):
        time_construction(layer, seconds)
    jax.block_until_ready(nnx.state(network(name, "equijax", rngs)))
    whole = time.perf_counter() - begin
    seconds["rest"] = whole - sum(seconds.values())
    who = {"equijax": ej.__file__, "versions": f"jax {jax.__version__}, flax {flax.__version__}"}
    return who | {"seconds": seconds | {"whole": whole}}


def time_construction(layer: type, seconds: dict[str, float]) -> None:
    """Makes the construction of a kind of layers, also of those that inherit it, add its time to its part."""
    build = layer.__init__

    def timed(self, *args, **options):
        start = time.perf_counter()
        build(self, *args, **options)
        seconds[part_of(self)] += time.perf_counter() - start

    layer.__init__ = timed  # type: ignore[method-assign]


def part_of(layer) -> str:
    """Which part of the network a layer is: a convolution without a window is its head."""
    if "BatchNorm" in type(layer).__name__:
        return "batch norms"
    return "convolutions" if getattr(layer, "kernel_size", ()) else "head"


def ask(checkout: str, name: str) -> dict:
    """Builds the network in a new process with a checkout's library."""
    root = pathlib.Path(checkout).resolve()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment |= {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, "--build", name, str(root / "tests" / "benchmarks" / "peers")]
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, cwd=root)
    answer = json.loads(found.stdout)
    if not pathlib.Path(answer["equijax"]).is_relative_to(root):
        raise RuntimeError(f"The library of {root} was asked for, but {answer['equijax']} was imported.")
    return answer


def shares(rows: list[dict]) -> dict[str, dict]:
    """What each part is of the whole, medians, in the newest checkout; and everything without the keys in seconds."""
    found = {}
    for row in rows:  # the last one of a network is the newest
        median = {part: values[1] for part, values in row["seconds"].items()}
        found[row["network"]] = {
            "of the whole": {part: round(median[part] / median["whole"], 3) for part in median if part != "whole"},
            "without keys, s": round(median["whole"] - median["rngs and first key"], 3),
        }
    return found


def main() -> None:
    """Asks all checkouts in turn and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", default=[str(HERE)])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="networks whose name contains this word")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--build", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        print(json.dumps(build(*given.build)))
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
    newest = shares(rows)
    for name, share in newest.items():
        print(name, share)
    if given.json:
        figures = {
            "versions": f"{versions}, Python {sys.version.split()[0]}",
            "cores": os.cpu_count(),
            "rounds": given.rounds,
            "figures": "seconds: [minimum, median]; checkouts by number, the last is the newest",
            "bar": {
                "without keys, median": BAR,
                "met": all(share["without keys, s"] <= BAR for share in newest.values()),
                "whole met": all(
                    row["seconds"]["whole"][1] <= BAR for row in rows if row["checkout"] == len(given.checkouts) - 1
                ),
            },
            "shares": newest,
            "rows": rows,
        }
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
