"""The picture: how many times as long the others take, with a line where they are equal."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.patches import Patch  # noqa: E402

COLOURS = {"escnn": "#d55e00", "torch": "#cc79a7", "pyg": "#009e73", "nnx": "#0072b2"}
NAMES = {
    "escnn": "escnn (PyTorch) / equijax",
    "torch": "PyTorch / equijax",
    "pyg": "PyTorch Geometric / equijax",
    "nnx": "plain Flax / equijax",
}
WIDE = 10  # from this ratio on the axis is logarithmic


def draw(panels: dict[str, list[dict]], path: Path) -> None:
    """Draws one panel of horizontal bars for each table that has rows."""
    panels = {title: rows for title, rows in panels.items() if rows}
    if not panels:
        return
    height = 1.6 + 0.55 * max(map(len, panels.values()))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(7.5 * len(panels), max(5, height)), layout="constrained", squeeze=False
    )
    for axis, (title, rows) in zip(axes[0], panels.items(), strict=True):
        bars(axis, rows)
        axis.set_title(title, fontsize=20)
    there = {key for rows in panels.values() for row in rows for key in row}
    shown = [name for name in COLOURS if f"{name}_over_equijax" in there]
    figure.legend(
        [Patch(color=COLOURS[name]) for name in shown],
        [NAMES[name] for name in shown],
        loc="outside lower center",
        ncols=min(2, len(panels)),
        fontsize=17,
        frameon=False,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def bars(axis: Axes, rows: list[dict]) -> None:
    """Draws the ratios of some rows, the first one on top, with their numbers at the ends of the bars.

    Where ratios differ by much the axis is logarithmic, and the bars begin at the line where both are equal.
    """
    text = {"textcoords": "offset points", "va": "center", "fontsize": 14, "fontweight": "bold"}
    inside: dict[str, Any] = {**text, "xytext": (-5, 0), "ha": "right", "color": "white"}
    outside: dict[str, Any] = {**text, "xytext": (5, 0), "ha": "left"}
    longest = max(value for row in rows for key, value in row.items() if key.endswith("_over_equijax"))
    start = 1 if longest > WIDE else 0
    for k, row in enumerate(rows):
        there = [name for name in COLOURS if f"{name}_over_equijax" in row]
        for place, name in enumerate(there):
            value = row[f"{name}_over_equijax"]
            offset = 0.4 * (place - (len(there) - 1) / 2)
            axis.barh(k + offset, value - start, 0.38, left=start, color=COLOURS[name])
            style = inside if not start and value > 0.15 * longest else outside
            axis.annotate(f"{value:.3g}" if start else f"{value:.2f}", (max(value, start), k + offset), **style)
    if start:
        axis.set_xscale("log")
    axis.axvline(1, color="black", linewidth=2, zorder=0)
    axis.set_yticks(range(len(rows)), [f"{row['case']}, {row['pass']}" for row in rows], fontsize=16)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.margins(x=0.2 if start else 0.12)
    axis.tick_params(axis="x", labelsize=16)
    axis.set_xlabel("time of the other / of equijax\n(right of the line: equijax is faster)", fontsize=16)
    axis.spines[["top", "right"]].set_visible(False)
