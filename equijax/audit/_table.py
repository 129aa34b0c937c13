"""A report in the terminal."""

import io
import math
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from equijax.audit._report import Report, Row

#: Below this width the table has the columns ``KEPT`` only.
NARROW = 110
KEPT = (0, 2, 3, 5, 9)

COLOURS = {"broken": "red", "lost here": "red", "approximate": "yellow", "action unknown": "yellow"}


def renderable(report: "Report", every: bool = False) -> Any:
    """Returns what rich prints: a headline, the rows, causes with replacements, notes.

    Args:
      report: the report.
      every: show exact rows too; otherwise runs of them are counted.
    """
    return _Face(report, every)


class _Face:
    """What rich prints; lines of fewer than 110 characters leave out the finer figures."""

    def __init__(self, report: "Report", every: bool):
        self.report, self.every = report, every

    def __rich_console__(self, console: Console, options: Any) -> Any:
        del console
        yield _parts(self.report, self.every, options.max_width < NARROW)


def _parts(report: "Report", every: bool, narrow: bool) -> Group:
    parts: list[Any] = [Text(headline(report), style="bold"), _rows(report, every, narrow)]
    for row in report.accused:
        for cause in row.causes:
            parts.append(Text(f"{row.name}: {cause.kind}: {cause.sentence}."))
            parts.append(Padding(Text(f"instead: {cause.replacement}", style="green"), (0, 0, 0, 4)))
    parts += [Text(line, style="dim") for line in footer(report)]
    return Group(*parts)


def as_text(report: "Report", every: bool = False, width: int = 120) -> str:
    """Returns the table as plain text."""
    stream = io.StringIO()
    # Without force_jupyter=False rich displays the table in a notebook instead of writing it, and the text is empty.
    console = Console(file=stream, width=width, color_system=None, force_terminal=False, force_jupyter=False)
    console.print(renderable(report, every))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def headline(report: "Report") -> str:
    """Returns the verdict in one sentence."""
    known = [e for e in report.error if not math.isnan(e)]
    worst = max(known, default=math.nan)
    figures = f"end-to-end error {number(worst)}, floor {number(report.floor)}"
    subject = f"{report.model} on {report.input_shape} under {report.group}"
    if report.exact:
        return f"{subject}: exact ({figures})."
    if report.undefined:
        return f"{subject}: no verdict, the output holds NaN or infinities ({figures})."
    count = len(report.accused)
    if not count:
        return f"{subject}: not exact, although no row is accused ({figures})."
    return f"{subject}: {count} of {len(report.rows)} rows {'break' if count > 1 else 'breaks'} the symmetry ({figures})."


def footer(report: "Report") -> list[str]:
    """Returns the lines below the table."""
    pairs = zip(report.elements, report.error, strict=True)
    lines = ["error by element: " + ", ".join(f"{label}: {number(error)}" for label, error in pairs)]
    for label, row in zip(report.elements, report.lost, strict=True):
        if row:
            lines.append(f"{label} has no action behind {row}")
    if report.cancellation is not None:
        lines.append(f"cancellation: the terms together are {report.cancellation:.2f} times as large as their sum")
    if report.consistency is not None:
        c = report.consistency
        parts = [
            f"{name} {100 * v:.1f} %" for name, v in (("circular shifts", c.circular), ("crops", c.crops)) if v is not None
        ]
        lines.append(f"predictions kept: {', '.join(parts) or 'not measured'}{f' ({c.note})' if c.note else ''}")
    for one in report.infinitesimal:
        lines.append(f"Lie derivative, {one.name}: {number(one.error)} per pixel")
    lines += list(report.notes)
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return [*lines, f"{report.seconds:.1f} s; {versions}"]


def _rows(report: "Report", every: bool, narrow: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    kept = KEPT if narrow else range(10)
    names = ("row", "action", "verdict", "local error", "÷ floor", "share %", "term", "survival", "border %", "causes")
    for k in kept:
        number_column = 3 <= k <= 8
        table.add_column(names[k], justify="right" if number_column else "left", no_wrap=number_column, overflow="fold")
    folded = 0
    for row in report.rows:
        if not (every or row.accused or row.verdict == "action unknown" or abs(row.share or 0) > 1e-9):
            folded += 1
            continue
        folded = _fold(table, folded)
        texts = [Text(cells(row)[k]) for k in kept]  # not strings: a name in brackets is no markup
        table.add_row(*texts, style=COLOURS.get(row.verdict, "yellow" if row.accused else None))
    _fold(table, folded)
    return table


def _fold(table: Table, count: int) -> int:
    if count:
        table.add_row(f"… {count} exact row{'s' if count > 1 else ''}", style="dim")
    return 0


def cells(row: "Row") -> list[str]:
    """Returns the cells of one row as text."""
    return [
        row.name,
        f"{row.action_in} → {row.action_out}",
        row.verdict,
        number(row.local_error),
        number(row.ratio),
        share(row),
        number(row.term) if row.term else "",
        "" if row.survival is None else number(row.survival),
        "" if row.border is None else f"{100 * row.border:.0f}",
        ", ".join(cause.kind for cause in row.causes),
    ]


def share(row: "Row") -> str:
    """Returns the share of a row in per cent, with its standard error."""
    if row.share is None:
        return ""
    text = f"{100 * row.share:.1f}"
    return text if row.share_error is None or row.share_error < 5e-4 else f"{text} ± {100 * row.share_error:.1f}"


def number(value: float) -> str:
    """Returns a number with two digits that matter."""
    if math.isnan(value):
        return "–"
    return "0" if value == 0 else f"{value:.2g}" if 1e-2 <= abs(value) < 1e4 else f"{value:.1e}"
