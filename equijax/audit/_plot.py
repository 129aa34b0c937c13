"""Pictures of a report."""

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from equijax.audit._report import Report, Row

#: Bars in a panel; of more rows or elements the largest are shown.
MOST = 30

#: Bars that fill a panel: fewer leave room below instead of growing fat.
FEW = 6


def save_plot(report: "Report", path: str | os.PathLike[str]) -> None:
    """Draws shares by row, error by element, and where the error sits; the ending of ``path`` says the format.

    Raises:
      ImportError: matplotlib is not installed.
    """
    figure = draw(report)
    figure.savefig(path, dpi=150)


def draw(report: "Report") -> Any:
    """Returns a matplotlib figure with the three panels."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures need matplotlib. Install it by pip install 'equijax[audit]'.") from error
    rows = _shown(report)
    bars = max(len(rows), min(len(report.elements), MOST))
    height = max(4.6, 0.34 * bars + 1.6)
    with rc_context({"font.size": 13}):
        figure = Figure(figsize=(15, height), layout="constrained")
        axes = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
        _shares(axes[0], report, rows)
        _elements(axes[1], report, bars)
        _places(figure, axes[2], worst_row(report))
    return figure


def worst_row(report: "Report") -> "Row | None":
    """Returns the row whose picture of the error is shown: the one with the largest share, else the largest error."""
    rows = [row for row in report.rows if row.error_map is not None and np.ndim(row.error_map)]
    return max(rows, key=_weight, default=None)


def _weight(row: "Row") -> tuple[float, float]:
    return abs(row.share or 0), 0.0 if math.isnan(row.local_error) else row.local_error


def _shown(report: "Report") -> list["Row"]:
    """Returns the rows that break something, or all where none does; the largest of them, in order."""
    rows = [row for row in report.rows if row.accused or abs(row.share or 0) > 1e-9] or list(report.rows)
    kept = sorted(sorted(range(len(rows)), key=lambda i: _weight(rows[i]), reverse=True)[:MOST])
    return [rows[i] for i in kept]


def _short(name: str, length: int = 34) -> str:
    """Returns a name that fits, with dollars that matplotlib does not read as mathematics.

    What is left out is in its middle, for the end of a path tells one row from the next.
    """
    start = length // 4
    return (name if len(name) <= length else f"{name[:start]}…{name[start + 1 - length :]}").replace("$", r"\$")


def _of(shown: int, known: int) -> str:
    return f" ({shown} of {known})" if shown < known else ""


def _shares(axis: Any, report: "Report", rows: list["Row"]) -> None:
    names = [_short(row.name) for row in rows]
    places = np.arange(len(rows))
    if any(row.share is not None for row in rows):
        values = [100 * (row.share or 0) for row in rows]
        errors = [100 * (row.share_error or 0) for row in rows]
        colours = ["#b2182b" if v >= 0 else "#2166ac" for v in values]
        axis.barh(places, values, xerr=errors, color=colours, ecolor="#444444", capsize=3)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_xlabel("share of the end-to-end error (%)" + ("\nnegative: undoes others" if min(values) < 0 else ""))
    else:
        _log_bars(axis, np.array([row.local_error for row in rows]), [row.floor for row in rows], "#4393c3")
        axis.set_xlabel("local error (relative to the output)")
    axis.set_yticks(places, names)
    axis.set_ylim(max(len(rows), FEW) - 0.5, -0.5)
    axis.set_title(f"{_short(report.model)}: which row{_of(len(rows), len(report.rows))}")


def _elements(axis: Any, report: "Report", bars: int) -> None:
    order = sorted(np.argsort(-np.nan_to_num(report.error, nan=np.inf), kind="stable")[:MOST].tolist())
    errors = np.asarray(report.error, np.float64)[order]
    words = ["no action" if report.lost[i] else "not finite" for i in order]
    _log_bars(axis, errors, [report.floor], "#4d4d4d", words)
    if report.floor > 0:
        axis.axvline(report.floor, color="#1b7837", linestyle="--")
    axis.set_yticks(np.arange(len(order)), [_short(report.elements[i], 26) for i in order])
    axis.set_ylim(max(len(order), FEW, bars / 2) - 0.5, -0.5)
    axis.set_xlabel("end-to-end error (relative to the output)")
    axis.set_title(f"which element{_of(len(order), len(report.elements))}; dashed: rounding")


def _log_bars(axis: Any, values: np.ndarray, floors: list[float], colour: str, words: list[str] | None = None) -> None:
    """Draws bars on a logarithmic axis; what has no logarithm is written as a word instead."""
    from matplotlib.ticker import LogLocator, NullFormatter

    known = np.isfinite(values) & (values > 0)
    sizes = [*values[known], *(f for f in floors if f > 0)] or [1e-16, 1.0]
    left = min(sizes) / 10
    axis.set_xscale("log")
    axis.set_xlim(left, max(3 * max(sizes), 1e3 * left))
    axis.xaxis.set_major_locator(LogLocator(numticks=6))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.barh(np.arange(len(values)), np.where(known, values, left), color=colour)
    for place in np.flatnonzero(~known):
        undefined = "not finite" if words is None else words[place]
        axis.text(1.2 * left, place, "0" if values[place] == 0 else undefined, va="center")


def _places(figure: Any, axis: Any, row: "Row | None") -> None:
    from matplotlib.ticker import MaxNLocator

    if row is None or row.error_map is None:
        axis.text(0.5, 0.5, "no row with an error on a grid", ha="center", va="center", transform=axis.transAxes)
        axis.set_axis_off()
        return
    picture = np.asarray(row.error_map, np.float64)
    picture = np.where(np.isfinite(picture), picture, np.nan)
    axis.set_title(f"where: {_short(row.name, 26)}")
    if picture.ndim == 1:
        axis.plot(picture, color="#b2182b", marker="o", markersize=3)
        axis.set_xlabel("position (samples)")
        axis.set_ylabel("root mean square error")
        return
    if picture.ndim > 2:
        middle = picture.shape[0] // 2
        picture = picture[(middle,) * (picture.ndim - 2)]
        axis.set_title(f"where: {_short(row.name, 20)}, slice {middle}")
    image = axis.imshow(picture, cmap="magma", vmin=0)
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axis.set_xlabel("axis 1 (samples)")
    axis.set_ylabel("axis 0 (samples)")
    figure.colorbar(image, cax=axis.inset_axes((1.04, 0, 0.05, 1)), label="root mean square error")
