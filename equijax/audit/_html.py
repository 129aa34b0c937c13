"""A report as one HTML page that needs nothing but itself."""

import base64
import html
import io
import math
import os
import re
from typing import TYPE_CHECKING

from equijax.audit._advice import advice
from equijax.audit._plot import draw
from equijax.audit._table import cells, figure, footer, headline, shows_leak, summary

if TYPE_CHECKING:
    from equijax.audit._report import Report, Row

HEADERS = ("#", "row", "action", "verdict", "local error", "÷ floor", "share %", "term", "survival", "border %", "causes")
NUMERIC = {"#", "local error", "÷ floor", "share %", "term", "survival", "border %"}

#: The browser itself refuses whatever the page does not hold.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #c62828; --warn: #b26a00; --good: #2e7d32 }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
h1 { font-size: 1.35rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } td, th { padding: .3rem .6rem; border-bottom: 1px solid var(--line) }
th { text-align: left; white-space: nowrap } th button { all: unset; cursor: pointer; font-weight: 600 }
th button:focus-visible { outline: 2px solid currentColor } th[aria-sort=ascending] button::after { content: " ▲" }
th[aria-sort=descending] button::after { content: " ▼" } 
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td { vertical-align: top } td:nth-child(3) { min-width: 9.5rem; font-size: .9em }
td:nth-child(4) { min-width: 4.8rem }
.fold { margin: .8rem 0 } .fold:not(:has(:checked)) + .wide .kept { display: none }
@media (max-width: 60rem) {
:is(td, th):is(:nth-child(3), :nth-child(6), :nth-child(8), :nth-child(9), :nth-child(10)) { display: none } }
dt { font-weight: 600 } dd { margin: 0 0 .3rem 1.5rem } li { margin-bottom: .5rem; overflow-wrap: anywhere }
tr.bad td:nth-child(4) { color: var(--bad); font-weight: 600 } tr.warn td:nth-child(4) { color: var(--warn) }
img { max-width: 100%; background: white } .use { color: var(--good) } .wide { overflow-x: auto }
footer { margin-top: 2rem; font-size: .9rem; opacity: .8 }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --warn: #ffb74d; --good: #81c784 } }
"""

SCRIPT = """
for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => {
  const head = button.parentElement, table = head.closest("table"), body = table.tBodies[0];
  const column = [...head.parentElement.children].indexOf(head);
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.children[column].dataset.value;
  const numeric = head.dataset.numeric === "true";
  const rows = [...body.rows].sort((a, b) => {
    const x = key(a), y = key(b);
    if (numeric && (x === "" || y === "")) return (x === "") - (y === "");
    if (numeric) return (up ? 1 : -1) * (x === y ? 0 : Number(x) - Number(y));
    return (up ? 1 : -1) * x.localeCompare(y);
  });
  body.append(...rows);
});
"""


#: The pieces of a name between which the browser may break it: they end behind dots and underscores; brackets are one.
PIECES = re.compile(r"\([^()]*\)|[^._()]+[._]*|.")

#: What the columns hold.
MEANING = {
    "row": "a call of a submodule (#2 is its second call), or operations between submodules with their line",
    "action": "how the group moves what enters and what leaves the row; “every 2” is a grid of every second sample",
    "verdict": "what is known of the row; “lost here”: it breaks only the elements that have no action behind it",
    "local error": "moved before the row against moved behind it, relative to its output",
    "÷ floor": "local error over what rounding makes; up to 10 is rounding",
    "share %": "the row’s signed part of the end-to-end error, and its standard error over the samples; all add up to 100",
    "term": "what the row alone does to the output",
    "survival": "term over local error: what the layers behind leave of it",
    "border %": "part of the squared local error at the border of the image",
    "causes": "what has to be mended in the row",
}


def save_html(report: "Report", path: str | os.PathLike[str]) -> None:
    """Writes the page."""
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(page(report))


def page(report: "Report") -> str:
    """Returns the page as text: table, causes, pictures; style, script and pictures are inside."""
    title = html.escape(f"Audit of {report.model}")
    head = "".join(
        f'<th scope="col" data-numeric="{str(name in NUMERIC).lower()}"><button type="button">{name}</button></th>'
        for name in HEADERS
    )
    body = "\n".join(_row(number, row) for number, row in enumerate(report.rows, 1))
    causes = "\n".join(
        f"<li><b>{html.escape(one.title)}</b>: {html.escape(one.sentence)}. "
        f'<span class="use">Instead: {html.escape(one.replacement)}.</span></li>'
        for one in advice(report.accused)
    )
    meaning = "\n".join(f"<dt>{name}</dt><dd>{html.escape(words)}</dd>" for name, words in MEANING.items())
    lines = "<br>\n".join(html.escape(line) for line in footer(report))
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<title>{title}</title><style>{STYLE}</style></head>
<body>
<h1>{title}</h1>
<p><b>{html.escape(summary(report))}</b></p>
<p>{html.escape(headline(report))}</p>
{_fold(report)}
<div class="wide"><table><thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table></div>
<details><summary>What the columns mean</summary><dl>
{meaning}
</dl></details>
<h2>Causes, and what to use instead</h2>
<ul>
{causes or "<li>none</li>"}
</ul>
{_plan(report)}<h2>Pictures</h2>
<img alt="Shares by row, error by element, and where the error sits" src="data:image/png;base64,{_picture(report)}">
<footer>{lines}</footer>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _fold(report: "Report") -> str:
    """A box to tick that shows the rows which are kept; ticked where there are no others."""
    kept = sum(map(_is_kept, report.rows))
    ticked = " checked" if kept == len(report.rows) else ""
    hidden = "" if kept else " hidden"
    return f'<p class="fold"{hidden}><label><input type="checkbox"{ticked}> show the rows that are kept ({kept})</label></p>'


def _is_kept(row: "Row") -> bool:
    """Tells whether a row may be folded, as in the terminal."""
    return row.judgement == "kept" and abs(row.share or 0) <= 1e-9


def _plan(report: "Report") -> str:
    """The plan of the report, where it has one."""
    plan = report.plan
    if plan is None or not (plan.mends or plan.remaining):
        return ""
    entries = "\n".join(
        f"<li>{html.escape(mend.title)}: error left {figure(error)}<br><code>{html.escape(mend.parts[0])}</code>"
        f"{''.join(f'<br>{html.escape(part)}' for part in mend.parts[1:])}</li>"
        for mend, error in zip(plan.mends, plan.errors[1:], strict=True)
    )
    words = f"<p>{html.escape(plan.sentence)}</p>\n<ol>\n{entries}\n</ol>\n<p>{html.escape(plan.stays)}</p>"
    return f"<h2>Plan</h2>\n{words}\n"


def _row(number: int, row: "Row") -> str:
    size, ratio = (row.leak, None) if shows_leak(row) else (row.local_error, row.ratio)
    values = ["", "", "", size, ratio, row.share, row.term, row.survival, row.border, ""]
    style = "bad" if row.verdict in ("broken", "lost here") else "warn" if row.judgement != "kept" else ""
    style = "kept" if _is_kept(row) else style
    columns = [f'<td class="n" data-value="{number}">{number}</td>']
    for name, text, value in zip(HEADERS[1:], cells(row), values, strict=True):
        sort = _sortable(value) if name in NUMERIC else text
        words = _breakable(text) if name == "row" else html.escape(text)
        kind = ' class="n"' if name in NUMERIC else ""
        columns.append(f'<td{kind} data-value="{html.escape(sort)}">{words}</td>')
    return f'<tr class="{style}">{"".join(columns)}</tr>'


def _breakable(name: str) -> str:
    """Returns a name that the browser may break behind dots and underscores."""
    return "<wbr>".join(html.escape(piece) for piece in PIECES.findall(name))


def _sortable(value: float | str | None) -> str:
    """Returns a number as JavaScript reads it; nothing for what has no place in an order."""
    if value is None or math.isnan(float(value)):
        return ""
    return repr(float(value)).replace("inf", "Infinity")


def _picture(report: "Report") -> str:
    stream = io.BytesIO()
    draw(report).savefig(stream, format="png", dpi=110)
    return base64.b64encode(stream.getvalue()).decode()
