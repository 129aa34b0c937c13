"""The page of made-up reports, in a browser."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.audit.reports import AWKWARD, made_report, made_row


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_reports_make_a_page_without_addresses(name, tmp_path):
    AWKWARD[name].to_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "http://" not in text and "https://" not in text and "default-src 'none'" in text
    assert ">nan<" not in text and 'data-value="nan"' not in text and 'data-value="inf"' not in text


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
