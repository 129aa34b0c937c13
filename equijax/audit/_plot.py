"""Pictures of a report."""

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from equijax.audit._report import Report, Row


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
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures need matplotlib. Install it by pip install 'equijax[audit]'.") from error
    rows = _shown(report)
    height = max(4.2, 0.32 * len(rows) + 1.6)
    figure = Figure(figsize=(15, height), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    _shares(axes[0], report, rows)
    _elements(axes[1], report)
    _places(figure, axes[2], worst_row(report))
    return figure


def worst_row(report: "Report") -> "Row | None":
    """Returns the row whose picture of the error is shown: the one with the largest share, else the largest error."""
    rows = [row for row in report.rows if row.error_map is not None]
    return max(rows, key=lambda row: (abs(row.share or 0), row.local_error), default=None)


def _shown(report: "Report") -> list["Row"]:
    """Returns the rows that break something, or the first ones where none does."""
    rows = [row for row in report.rows if row.accused or abs(row.share or 0) > 1e-9]
    return (rows or list(report.rows))[:30]


def _short(name: str, length: int = 34) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _shares(axis: Any, report: "Report", rows: list["Row"]) -> None:
    names = [_short(row.name) for row in rows]
    places = np.arange(len(rows))
    if any(row.share is not None for row in rows):
        values = [100 * (row.share or 0) for row in rows]
        errors = [100 * (row.share_error or 0) for row in rows]
        colours = ["#b2182b" if v >= 0 else "#2166ac" for v in values]
        axis.barh(places, values, xerr=errors, color=colours, ecolor="#444444", capsize=3)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_xlabel("share of the end-to-end error (%)")
    else:
        values = [max(row.local_error, 1e-17) for row in rows]
        axis.barh(places, values, color="#4393c3")
        axis.set_xscale("log")
        axis.set_xlabel("local error (relative to the output)")
    axis.set_yticks(places, names)
    axis.invert_yaxis()
    axis.set_title(f"{report.model}: which row")


def _elements(axis: Any, report: "Report") -> None:
    errors = [1e-17 if math.isnan(e) else max(float(e), 1e-17) for e in report.error]
    places = np.arange(len(errors))
    axis.barh(places, errors, color="#4d4d4d")
    axis.axvline(report.floor, color="#1b7837", linestyle="--", label="floor (rounding)")
    axis.set_xscale("log")
    axis.set_yticks(places, [_short(label, 26) for label in report.elements])
    axis.invert_yaxis()
    axis.set_xlabel("end-to-end error (relative to the output)")
    axis.set_title("which element")
    axis.legend(loc="lower right")


def _places(figure: Any, axis: Any, row: "Row | None") -> None:
    if row is None or row.error_map is None:
        axis.text(0.5, 0.5, "no error on a grid", ha="center", va="center", transform=axis.transAxes)
        axis.set_axis_off()
        return
    picture = np.asarray(row.error_map)
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
    axis.set_xlabel("axis 1 (samples)")
    axis.set_ylabel("axis 0 (samples)")
    figure.colorbar(image, ax=axis, label="root mean square error", shrink=0.8)
