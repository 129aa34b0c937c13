"""A report in the terminal."""

import io
import math
import re
import textwrap
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from equijax.audit._advice import advice

if TYPE_CHECKING:
    from equijax.audit._report import Report, Row

#: Below this width the table has the columns ``KEPT`` only.
NARROW = 110
KEPT = (0, 2, 3, 5, 9)

#: Below this width it has no column of actions.
WIDE = 150

#: Longer names of rows are broken at their dots.
NAME = 28

#: Above this cancellation the report says that a share does not tell what its mend does.
UNDONE = 5

ERRORS = "error by element:"

COLOURS = {"broken": "red", "lost here": "red", "approximate": "yellow", "action unknown": "yellow"}


def renderable(report: "Report", every: bool = False) -> Any:
    """Returns what rich prints: a headline, the rows, causes with replacements, notes.

    Args:
      report: the report.
      every: show exact rows too; otherwise they are counted.
    """
    return _Face(report, every)


class _Face:
    """What rich prints; lines of fewer than 110 characters leave out the finer figures."""

    def __init__(self, report: "Report", every: bool):
        self.report, self.every = report, every

    def __rich_console__(self, console: Console, options: Any) -> Any:
        del console
        yield _parts(self.report, self.every, options.max_width)


def _parts(report: "Report", every: bool, width: int) -> Group:
    table = _rows(report, every, width)
    first = _bound(summary(report), width)
    parts: list[Any] = [Text(first, style="bold"), Text(headline(report)), Text(), table, Text()]
    for one in advice(report.accused):
        if len(one.names) == 1:
            parts.append(Text(f"{one.title}: {one.sentence}."))
        else:
            parts += [Text(one.title), Padding(Text(f"{one.sentence}."), (0, 0, 0, 4))]
        parts.append(Padding(Text(f"instead: {one.replacement}", style="green"), (0, 0, 0, 4)))
    if report.accused:
        parts.append(Text())
    lines = [*_filled(ERRORS, errors_by_element(report), width), *footer(report)[1:]]
    parts += [Text(line, style="dim") for line in lines]
    return Group(*parts)


def _bound(text: str, width: int) -> str:
    """Returns text in lines that don't end between a number and its per cent."""
    lines = textwrap.wrap(text.replace(" %", "\0%"), width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def as_text(report: "Report", every: bool = False, width: int = 80) -> str:
    """Returns the table as plain text."""
    stream = io.StringIO()
    # Without force_jupyter=False rich displays the table in a notebook instead of writing it, and the text is empty.
    console = Console(file=stream, width=width, color_system=None, force_terminal=False, force_jupyter=False)
    console.print(renderable(report, every))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def summary(report: "Report") -> str:
    """Returns what was found, for a reader who knows the network and no more."""
    if report.judgement == "kept":
        return "Exact: moving the input changes the output by rounding only, and every row was tried."
    if report.judgement == "not judged":
        doubted = [row for row in report.unjudged if row.doubt]
        if doubted:
            return f"Not judged: `{doubted[0].name}` {doubted[0].doubt}, although this input shows no error."
        return f"Not judged: the input does not show what {_listed([row.name for row in report.unjudged])} would do."
    if report.undefined:
        return "No verdict: the output holds NaN or infinities."
    known = [error for error in report.error if math.isfinite(error)]
    large = max(
        10 * report.floor, 0.5 * max(known, default=0.0)
    )  # the first of the large ones: unit shifts before longer ones
    shown = next((i for i, error in enumerate(report.error) if large < error < math.inf), None)
    sentences = []
    if shown is not None:
        sentences.append(f"{_motion(report.elements[shown])} changes the output by {percent(report.error[shown])}.")
    breaking = [row for row in report.accused if not row.only_leaks]
    if shown is None and breaking:
        sentences.append("The output does not show it yet, but the network breaks the symmetry.")
    count = len(breaking)
    if count:
        first = max(breaking, key=lambda row: row.share or 0.0)
        alone = f"; {_part(report, first)}" if first.share and count > 1 else ""
        sentences.append(f"{count} rows cause it{alone}." if count > 1 else f"One row causes it: {first.name}.")
    sentences += leaking(report)
    sentences += as_run(report)
    if report.unjudged:
        sentences.append(f"Not judged: {_listed([row.name for row in report.unjudged])}.")
    return " ".join(sentences)


def as_run(report: "Report") -> list[str]:
    """Returns a sentence where the model keeps the symmetry with dense convolutions, but not with its own algorithms."""
    label = next(iter(report.broken_as_run), None)
    if label is None:
        return []
    error = dict(zip(report.elements, report.error_as_run, strict=True))[label]
    what = "makes the output undefined" if math.isnan(error) else f"changes the output by {percent(error)}"
    return [f"{_motion(label)} {what} as the model runs, with the algorithms of its convolutions, but not with dense ones."]


def leaking(report: "Report") -> list[str]:
    """Returns a sentence about each kind of leak: the row where it is largest, and the output."""
    found: dict[str, Row] = {}
    for row in report.rows:
        for kind, size in row.leaks.items():
            if kind not in found or size > found[kind].leaks[kind]:
                found[kind] = row
    sentences = []
    for kind, row in found.items():
        part, whole = percent(row.leaks[kind]), report.leaks.get(kind)
        if kind == "state":
            sentences.append(f"A call changes the state of `{row.name}` by {part}.")
        elif kind == "mask":
            output = "" if whole is None else f", the output by {percent(whole)}"
            sentences.append(f"Masked entries change `{row.name}` by {part}{output}.")
        else:
            output = f"output by {percent(whole)}, through" if whole is not None else "part of"
            sentences.append(f"Samples of the batch change each other's {output} `{row.name}` ({part}).")
    return sentences


def _part(report: "Report", row: "Row") -> str:
    """Returns the largest share as half a sentence, with what there is to say against it."""
    part, scatter = row.share or 0.0, row.share_error or 0.0
    figures = f"{100 * part:.0f} ± {100 * scatter:.0f} %"
    if (report.cancellation or 0.0) > UNDONE:
        return f"their effects undo each other in part; the largest share is that of {row.name}, {figures}"
    if 2 * scatter > part:
        return f"the largest share is that of {row.name}, {figures}"
    return f"{row.name} alone {percent(part)}"


def _motion(label: str) -> str:
    """Returns an element as the subject of a sentence."""
    if label.startswith("shift "):
        places = label.removeprefix("shift ").strip("(),").split(", ")
        moved = [k for k, n in enumerate(places) if n != "0"]
        if len(moved) == 1:
            n = places[moved[0]]
            return f"Shifting the input by {n} sample{'s' if n not in ('1', '-1') else ''} along axis {moved[0]} of the grid"
        return f"Shifting the input by ({', '.join(places)}) samples"
    if label.startswith(("quarter", "half", "turn", "reflection", "rotation", "rotoreflection")):
        return f"A {label} of the input"
    return f"Moving the input ({label})"


def _listed(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more rows" if len(names) > most else "")


def percent(part: float) -> str:
    """Returns a part of a whole in per cent."""
    if math.isinf(part):
        return "∞ %"
    return (
        f"{100 * part:.0f} %" if abs(part) >= 0.095 else f"{100 * part:.2g} %" if abs(part) >= 1e-4 else f"{part:.1g} of it"
    )


def headline(report: "Report") -> str:
    """Returns the verdict with the figures."""
    known = [e for e in report.error if not math.isnan(e)]
    worst = max(known, default=math.nan)
    figures = f"end-to-end error {number(worst)}, floor {number(report.floor)}"
    subject = f"{report.model} on {report.input_shape} under {report.group}"
    count, unjudged = len(report.accused), len(report.unjudged)
    if report.exact:
        verdict = "exact"
    elif report.undefined:
        verdict = "no verdict, the output holds NaN or infinities"
    elif report.judgement == "not judged":
        verdict = f"{unjudged} of {len(report.rows)} rows not judged"
    elif not count:
        verdict = "not exact, although no row is accused"
    else:
        verdict = _counted(report)
    return f"{verdict} ({figures}): {subject}"


def _counted(report: "Report") -> str:
    """Returns how many rows do what: "2 of 5 rows break the symmetry, 1 leaks"."""
    leaks = [row for row in report.accused if row.only_leaks and set(row.leaks) != {"state"}]
    states = [row for row in report.accused if row.only_leaks and set(row.leaks) == {"state"}]
    counts = {
        ("breaks the symmetry", "break the symmetry"): len(report.accused) - len(leaks) - len(states),
        ("leaks", "leak"): len(leaks),
        ("changes the state", "change the state"): len(states),
    }
    parts = [(n, words[n > 1]) for words, n in counts.items() if n]
    (n, words), *rest = parts
    total = len(report.rows)
    return ", ".join([f"{n} of {total} row{'s' if total > 1 else ''} {words}", *(f"{n} {words}" for n, words in rest)])


#: What is said below a table with leaks.
LEAKS = (
    "leak: part of a row's output that changes when masked entries, or other samples of the batch, are exchanged, which "
    "must not matter; state: part of the model's state that a call changes. Neither is an error of equivariance"
)


def errors_by_element(report: "Report") -> list[str]:
    """Returns the error of each element as text."""
    return [f"{label}: {number(error)}" for label, error in zip(report.elements, report.error, strict=True)]


def _filled(start: str, entries: list[str], width: int) -> list[str]:
    """Returns a start and entries in lines that end between two entries."""
    lines = [start]
    for place, entry in enumerate(entries):
        text = entry if place == len(entries) - 1 else f"{entry},"
        if len(lines[-1]) + 1 + len(text) > width:
            lines.append("   ")
        lines[-1] += f" {text}"
    return lines


def footer(report: "Report") -> list[str]:
    """Returns the lines below the table; the first are the errors by element."""
    lines = [f"{ERRORS} {', '.join(errors_by_element(report))}"]
    if any(row.leaks for row in report.rows):
        lines.append(LEAKS)
    for row in dict.fromkeys(filter(None, report.lost)):
        labels = [label for label, place in zip(report.elements, report.lost, strict=True) if place == row]
        lines.append(f"{', '.join(labels)} {'have' if len(labels) > 1 else 'has'} no action behind {row}")
    if report.cancellation is not None:
        times = f"{report.cancellation:.3g}" if report.cancellation >= 10 else f"{report.cancellation:.2f}"
        little = "; what one mend does can't be read off its share" if report.cancellation > UNDONE else ""
        lines.append(f"cancellation: the terms together are {times} times as large as their sum{little}")
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


def _rows(report: "Report", every: bool, width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    narrow = width < NARROW
    kept = KEPT if narrow else [k for k in range(10) if k != 1 or width >= WIDE]
    shown = [row for row in report.rows if every or row.judgement != "kept" or abs(row.share or 0) > 1e-9]
    named = [broken_at_dots(row.name, NAME) for row in shown]
    names = ("row", "action", "verdict", "local error", "÷ floor", "share %", "term", "survival", "border %", "causes")
    for k in kept:
        number_column = 3 <= k <= 8
        side = "right" if number_column else "left"
        table.add_column(names[k], justify=side, no_wrap=number_column, overflow="fold")
    for row, name in zip(shown, named, strict=True):
        words = [name, *cells(row)[1:]]
        words[2] = words[2].rpartition(", ")[2] if narrow else words[2]
        texts = [Text(words[k]) for k in kept]  # not strings: a name in brackets is no markup
        table.add_row(*texts, style=COLOURS.get(row.verdict, None if row.judgement == "kept" else "yellow"))
    folded = len(report.rows) - len(shown)
    if folded:
        table.add_row(f"… {folded} exact row{'s' if folded > 1 else ''}", style="dim")
    return table


def broken_at_dots(name: str, width: int) -> str:
    """Returns a name in lines of at most this width, which end behind dots and blanks; longer words stay whole."""
    lines = [""]
    for part in re.findall(r"\([^()]*\)|[^. ]*[. ]?", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def cells(row: "Row") -> list[str]:
    """Returns the cells of one row as text."""
    return [
        row.name,
        f"{row.action_in} → {row.action_out}",
        _verdict(row),
        _error(row),
        "" if shows_leak(row) else number(row.ratio),
        share(row),
        number(row.term) if row.term else "",
        "" if row.survival is None else number(row.survival),
        "" if row.border is None else f"{100 * row.border:.0f}",
        ", ".join(cause.kind for cause in row.causes),
    ]


def shows_leak(row: "Row") -> bool:
    """Tells whether the size of a leak stands in the place of a local error that is rounding."""
    return bool(row.leaks) and row.ratio <= 10


def _error(row: "Row") -> str:
    """Returns the local error, and, with a word that tells it apart, the size of a leak."""
    lines = [] if shows_leak(row) else [number(row.local_error)]
    passed = max((size for kind, size in row.leaks.items() if kind != "state"), default=None)
    lines += [] if passed is None else [f"leak {percent(passed)}"]
    lines += [f"state {percent(row.leaks['state'])}"] if "state" in row.leaks else []
    return "\n".join(lines)


def _verdict(row: "Row") -> str:
    if not row.verdict.startswith("exact") or row.accused:
        return row.verdict
    return f"{row.verdict}, in vain" if row.vain else f"{row.verdict}, doubted" if row.doubt else row.verdict


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


def figure(error: float) -> str:
    """Returns an error with two digits and its power of ten."""
    return f"{error:.1e}" if error else "0"
