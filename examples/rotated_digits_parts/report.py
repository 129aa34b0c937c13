"""The table, the labels that each model needs, and the file with every figure."""

import json
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import equijax as ej
from rotated_digits_parts.sizes import Kind


def make_room(out: Path, json: Path | None) -> None:
    """Makes the folders, before hours of training end in a path that can't be written."""
    out.mkdir(parents=True, exist_ok=True)
    if json:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.open("a").close()


def _table(results: dict[str, Any], kinds: dict[str, Kind], size: int) -> Table:
    """Accuracies and errors at the largest training-set size, mean over seeds."""
    table = Table(
        title=f"Trained on {size} upright digits; accuracy in %, mean over seeds",
        caption="D4: all quarter turns and flips. angles: all angles tested. error: equivariance error of the logits.\n"
        "6~9: sixes read as nines and back, upright, in %.",
    )
    columns = ("model", "params", "upright", "D4", "angles", "error, turns", "error, D4", "6~9", "s/run")
    for column in columns:
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, runs in results.items():
        last = runs[str(size)]
        mean = lambda key, last=last: f"{100 * np.mean([run[key] for run in last]):.1f}"  # noqa: E731
        errors = np.array([list(run["equivariance_error"].values()) for run in last])
        angles = np.mean([list(run["per_angle"].values()) for run in last])
        table.add_row(
            name,
            str(kinds[name].parameters),
            mean("upright"),
            mean("quarter_turns_and_flips"),
            f"{100 * angles:.1f}",
            f"{errors[:, :4].max():.0e}",
            f"{errors.max():.0e}",
            mean("six_read_as_nine_or_back"),
            f"{np.mean([run['seconds'] for run in last]):.1f}",
        )
    return table


def _labels_for(sizes: list[int], accuracies: list[float], wanted: float) -> float | None:
    """Reads off a learning curve, between its points on a logarithmic axis, how many labels reach `wanted`."""
    for k, accuracy in enumerate(accuracies):
        if accuracy >= wanted:
            if k == 0:
                return float(sizes[0])
            return float(np.exp(np.interp(wanted, accuracies[k - 1 : k + 1], np.log(sizes[k - 1 : k + 1]))))
    return None


def labels_needed(results: dict[str, Any], sizes: list[int], reference: str) -> dict[str, float | None]:
    """How many labels each model needs for the accuracy under D4 that the reference reaches with all (`accuracy`)."""
    curves = {
        name: [float(np.mean([run["quarter_turns_and_flips"] for run in runs[str(n)]])) for n in sizes]
        for name, runs in results.items()
    }
    wanted = curves[reference][-1]
    return {"accuracy": wanted} | {name: _labels_for(sizes, curve, wanted) for name, curve in curves.items()}


def show(
    console: Console, results: dict[str, Any], kinds: dict[str, Kind], sizes: list[int], needed: dict[str, float | None]
) -> None:
    """Prints the table, the labels needed, and the price of the symmetry."""
    console.print(_table(results, kinds, sizes[-1]))
    console.print(f"Labels for {100 * needed['accuracy']:.1f} % on quarter turns and flips:")
    for name in kinds:
        labels = needed[name]
        at_most = "at most " if labels == sizes[0] else ""
        text = f"not reached with {sizes[-1]}" if labels is None else f"{at_most}{labels:.0f}"
        console.print(f"  {name}: {text}", highlight=False)
    upright = {n: 100 * np.mean([r["upright"] for r in runs[str(sizes[-1])]]) for n, runs in results.items()}
    console.print(
        f"The price: p4 and p4m see no difference between a 6 and a 9 turned by half; upright accuracy is "
        f"{upright['p4']:.1f} and {upright['p4m']:.1f} % against {upright['CNN']:.1f} % of the plain CNN."
    )


def write(path: Path, kinds: dict[str, Kind], found: dict[str, Any], seconds: float) -> None:
    """Writes every figure, with what it was measured on."""
    about = {
        "command": shlex.join(sys.argv),
        "versions": {"python": platform.python_version(), "jax": jax.__version__}
        | {"flax": flax.__version__, "equijax": ej.__version__},
        "platform": platform.platform(),
        "device": jax.devices()[0].device_kind,
        "models": {
            name: {"parameters": k.parameters, "width": k.width, "trained_on_turned_copies": k.copies}
            for name, k in kinds.items()
        },
    }
    path.write_text(json.dumps(about | found | {"seconds": seconds}, indent=1, allow_nan=False))
