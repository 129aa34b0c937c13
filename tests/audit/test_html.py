"""The page of made-up reports, in a browser."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from equijax.audit import Mend, Plan
from equijax.audit._html import HEADERS, page
from tests.audit.reports import AWKWARD, made_report, made_row


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_reports_make_a_page_without_addresses(name, tmp_path):
    AWKWARD[name].to_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "http://" not in text and "https://" not in text and "default-src 'none'" in text
    assert ">nan<" not in text and 'data-value="nan"' not in text and 'data-value="inf"' not in text


def test_rows_that_are_kept_are_folded_and_names_break_at_dots():
    kept = made_row("norm", "exact by construction", 0.0, 0.0)
    text = page(made_report(kept, made_row("stages.1.long_name (net.py:75)"), made_row("other", share=0.1)))
    assert text.count('<tr class="kept">') == 1 and text.count('<tr class="bad">') == 2
    assert "show the rows that are kept (1)" in text and " checked>" not in text
    assert "stages.<wbr>1.<wbr>long_<wbr>name <wbr>(net.py:75)</td>" in text
    assert 'data-value="stages.1.long_name (net.py:75)"' in text  # whole, where the table is sorted
    assert " checked>" in page(made_report(kept))
    assert all(f"<dt>{name}</dt>" in text for name in HEADERS[1:])


def test_a_plan_is_a_list_of_code_and_words():
    code = "ej.nn.PolyphaseConv(3, 4, (1, 1), (2, 2), rngs=rngs); as `short` of ej.nn.PolyphaseResidual"
    plan = Plan((Mend("short", ("phase",), -0.001, code),), (0.1, 0.0), 1e-7, ())
    report = made_report(made_row("short"), _planned=lambda: plan)
    text = page(report)
    assert "<code>ej.nn.PolyphaseConv(3, 4, (1, 1), (2, 2), rngs=rngs)</code><br>as `short` of" in text
    assert "short (phase, 0 % of the error): error left 0<br>" in text


def test_numbers_sort_as_numbers_in_a_browser(tmp_path):
    """Infinite and missing numbers have their place too: infinities at an end, what is missing always last."""
    if importlib.util.find_spec("PyQt6") is None or importlib.util.find_spec("PyQt6.QtWebEngineCore") is None:
        pytest.skip("no browser: pip install PyQt6-WebEngine")
    errors = {"<b>&": 2e-7, "two": np.inf, "three": 0.5, "four": np.nan, "five": 10.0, "six": 9.0, "seven": np.nan, "$": 0.0}
    made_report(*(made_row(name, error=error) for name, error in errors.items())).to_html(tmp_path / "page.html")
    program = pathlib.Path(__file__).with_name("browser.py")
    run = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "page.html")], capture_output=True, text=True, timeout=120
    )
    if "cannot open shared object file" in run.stderr:
        pytest.skip(f"the browser misses a library of the system: {run.stderr.strip().splitlines()[-1]}")
    assert run.returncode == 0, run.stderr[-2000:]
    seen = json.loads(run.stdout.strip().splitlines()[-1])
    page = seen["page"]
    names = {way: [row[1] for row in page[way]] for way in ("up", "down")}
    assert names["up"][:6] == ["$", "<b>&", "three", "six", "five", "two"]
    assert names["down"][:6] == ["two", "five", "six", "three", "<b>&", "$"]
    assert sorted(names["up"][6:]) == sorted(names["down"][6:]) == ["four", "seven"]
    assert page["images"] and all(complete and width > 100 for complete, width, _ in page["images"])
    assert seen["console"] == []
    assert all(address.startswith(("file:", "data:")) for address in seen["requests"]) and seen["requests"]
