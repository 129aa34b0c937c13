"""equijax against escnn, PyTorch, PyTorch Geometric and plain Flax: networks, convolutions, sets, graphs, curves of scaling.

    python tests/benchmarks/peers [--json docs/figures/peers.json] [--rounds N] [--builds N] [--only CASES] [--update]

Each family has its peer: escnn the networks and convolutions, PyTorch the sets, PyTorch Geometric messages and neighbours. Where
both sides can have the same weights, outputs and gradients are compared first, and a difference stops the run. The peer runs in its own interpreter, in a virtual environment that is made at the first run (requirements.txt beside this file;
its py3nj needs gfortran). Each case runs in a new process, with a new process of the peer; the programs run in turn, are built
several times with fresh arrays, and minima are compared: where arrays happen to lie decides as much as the program does.
"""

import argparse
import fnmatch
import json
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import figure
import measure
import peer
from layers import LAYERS
from messages import MESSAGES
from neighbours import NEIGHBOURS
from networks import NETWORKS, Network
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sets import SETS

LARGE_PAGES = "glibc.malloc.hugetlb=1"
QUIET = 0.5
BUSY = (
    "PyTorch's threads wait busily for each other: with another process on these cores its times are several times too long, "
    "and all ratios flatter equijax. Measure on a quiet machine, or look at them with OMP_WAIT_POLICY=PASSIVE in the environment."
)
CASES: tuple[measure.Case, ...] = (*NETWORKS.values(), *LAYERS, *SETS, *MESSAGES, *NEIGHBOURS)
FAMILIES = tuple(dict.fromkeys(case.family for case in CASES))
TABLES = {
    family: family if family in ("networks", "scaling", "sets", "messages", "neighbours") else "layers"
    for family in FAMILIES
}
GRAPHS_AND_SETS = ("sets", "messages", "neighbours")


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--update", action="store_true", help="keep what the JSON file has of other cases")
    parser.add_argument("--picture", type=Path, help="the PNG; else in ../pictures beside the folder of the JSON file")
    parser.add_argument("--rounds", type=int, default=6, help="turns of three runs each, for every build")
    parser.add_argument("--builds", type=int, default=4, help="how often each program gets fresh arrays")
    parser.add_argument("--only", default="", help=f"by comma: {', '.join(FAMILIES)}, or patterns as networks/p4*")
    parser.add_argument("--algorithm", help="set on the layers of equijax that have a choice; else left as it is")
    parser.add_argument("--large-pages", action="store_true", help=f"run all sides with GLIBC_TUNABLES={LARGE_PAGES}")
    parser.add_argument("--threads", type=int, default=2, help="cores that all sides may use")
    parser.add_argument("--peer", type=Path, default=peer.default_folder(), help="folder of the peer's environment")
    parser.add_argument("--no-peer", action="store_true", help="leave the peers out")
    return parser.parse_args()


def chosen(only: str) -> list[measure.Case]:
    """The cases that ``--only`` names; all if it names none."""
    cases: dict[str, measure.Case] = {f"{case.family}/{case.name}": case for case in CASES}
    found = {}
    for pattern in filter(None, only.split(",")):
        names = [name for name in cases if fnmatch.fnmatchcase(name, pattern) or name.split("/")[0] == pattern]
        if not names:
            raise SystemExit(f"--only: no case is called {pattern!r}. There are {', '.join(cases)}.")
        found |= {name: cases[name] for name in names}
    return list((found if only else cases).values())


def in_new_process(fn: Callable, *args: Any) -> Any:
    """Calls ``fn`` in a process that has done nothing before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(fn, args)


def about(given: argparse.Namespace, python: Path | None) -> dict:
    """What was run, where, with which versions."""
    pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "options": {key: getattr(given, key) for key in ("rounds", "builds", "only", "algorithm", "large_pages", "threads")},
        "equijax_side": in_new_process(measure.versions),
        "escnn_side": None if python is None else measure.peer_versions(python),
        "platform": {
            "machine": platform.machine(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "transparent_hugepage": pages.read_text().strip() if pages.exists() else "",
        },
    }


def processor() -> str:
    """The processor's name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def show(console: Console, title: str, rows: list[dict]) -> None:
    """Prints a table without medians, and without what is a list."""
    hidden = ("family", "along", "at") if "case" in rows[0] else ()  # the case says it
    plain = [key for row in rows for key, value in row.items() if not isinstance(value, (dict, list)) and key not in hidden]
    columns = [key for key in dict.fromkeys(plain) if "median" not in key]
    table = Table(title=title)
    for key in columns:
        table.add_column(key.replace("_over_", " ÷ ").replace("_", " "), justify="right", no_wrap=key in ("case", "pass"))
    for row in rows:
        values = [row.get(key, "") for key in columns]
        table.add_row(*map(cell, values))
    console.print(table)


def cell(value: Any) -> str:
    """Three digits of a number."""
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
    return str(value)


def picture_path(given: argparse.Namespace) -> Path | None:
    """Where the picture goes: where it is asked for, or docs/pictures for docs/figures, or beside the JSON file."""
    if given.picture or not given.json:
        return given.picture
    folder = given.json.resolve().parent
    return (folder.parent / "pictures" if folder.name == "figures" else folder) / f"{given.json.stem}.png"


def updated(before: dict, now: dict) -> dict:
    """What is measured now, and from before the cases that are not measured now, unless they are gone; "earlier" says how."""
    order = {(case.family, case.name): place for place, case in enumerate(CASES)}
    about_it = {key: before[key] for key in ("options", "equijax_side", "escnn_side", "platform")}
    figures = {**now, "earlier": [*before.get("earlier", []), about_it]}
    for table in dict.fromkeys(TABLES.values()):
        places = {order[row["family"], row["case"]] for row in now[table]}
        rows = [row for row in before.get(table, []) if order.get((row["family"], row["case"])) not in (None, *places)]
        figures[table] = sorted([*rows, *now[table]], key=lambda row: order[row["family"], row["case"]])
    built = {row["case"]: row for row in (*before["building"], *now["building"])}
    figures["building"] = [built[name] for name in NETWORKS if name in built]
    return figures | {"slopes": measure.slopes(figures["scaling"])}


def main() -> int:
    """Measures, prints tables, writes figures and picture."""
    given = parsed()
    console = Console(width=None if sys.stdout.isatty() else 140)
    cases = chosen(given.only)
    try:
        python = None if given.no_peer else peer.environment(given.peer)
    except RuntimeError as error:
        console.print(f"[red]{error}")
        return 2
    if given.large_pages and os.environ.get("GLIBC_TUNABLES") != LARGE_PAGES:
        os.environ["GLIBC_TUNABLES"] = LARGE_PAGES
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    options = measure.Options(given.rounds, given.builds, python, given.algorithm)
    figures: dict[str, Any] = about(given, python)
    if figures["platform"]["load"] > QUIET:
        console.print(f"[yellow]The load is {figures['platform']['load']:.1f}. {BUSY}")
    rows = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=len(cases))
        for case in cases:
            progress.update(task, description=f"{case.family}, {case.name}")
            rows += in_new_process(measure.case_rows, case, options)
            progress.advance(task)
        progress.update(task, description="first constructions")
        figures["building"] = [measure.building_row(case, python) for case in cases if isinstance(case, Network)]
    for table in dict.fromkeys(TABLES.values()):
        figures[table] = [row for row in rows if TABLES[row["family"]] == table]
    figures["slopes"] = measure.slopes(figures["scaling"])
    for key in ("building", *dict.fromkeys(TABLES.values()), "slopes"):
        if figures[key]:
            show(console, key, figures[key])
    if given.update and given.json and given.json.exists():
        figures = updated(json.loads(given.json.read_text()), figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    if path := picture_path(given):
        graphs_and_sets = [row for table in GRAPHS_AND_SETS for row in figures[table]]
        panels = {"Networks": figures["networks"], "Convolutions": figures["layers"], "Sets and graphs": graphs_and_sets}
        figure.draw(panels, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
