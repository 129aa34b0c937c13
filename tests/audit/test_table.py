"""The table, the verdict and the dictionary of made-up reports."""

import dataclasses
import io
import json

import numpy as np
import pytest
import rich.console
from rich.console import Console

from equijax.audit import Mend, Plan
from tests.audit.reports import AWKWARD, BORDER, KERNEL, made_report, made_row

BROKEN = made_report(
    made_row("stem", "exact by construction", 1e-7, 0.0),
    made_row("blocks.0.conv", causes=(KERNEL, BORDER), survival=0.4, border=0.2, term=0.1),
    made_row("concatenate (networks.py:242)", share=-0.25),
)


@pytest.mark.parametrize("width", [80, 100, 110, 120, 160])
def test_no_cell_is_cropped(width):
    text = BROKEN.table(width=width)
    assert max(map(len, text.splitlines())) <= width
    words = set(text.split())
    assert words >= {"blocks.0.conv", "concatenate", "kernel,", "border", "broken", "-25.0"}
    assert "(networks.py:242)" in words


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_reports_print_at_every_width(name):
    report = AWKWARD[name]
    for width in (60, 100, 160):
        assert report.model in report.table(every=True, width=width)


def test_names_are_no_markup():
    text = AWKWARD["markup"].table(width=160)
    assert all(row.name in text for row in AWKWARD["markup"].rows)


def test_the_text_is_there_in_a_notebook(monkeypatch):
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    assert "blocks.0.conv" in str(BROKEN)


def test_rich_prints_it_and_folds_exact_rows():
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(BROKEN)
    text = console.export_text()
    assert "… 1 exact row" in text and "instead: padding='CIRCULAR'" in text
    assert "stem" in BROKEN.table(every=True)


def test_lines_below_the_table():
    text = str(BROKEN)
    for line in ("shift (1, 0) has no action behind pool", "cancellation", "circular shifts 97.0 %, crops 91.0 %",
                 "Lie derivative, shift along axis 0", "the state changes"):  # fmt: skip
        assert line in text


def test_lines_end_between_elements_and_parts_stand_apart():
    labels = tuple(f"shift ({n}, {n})" for n in range(20))
    report = dataclasses.replace(BROKEN, elements=labels, error=np.full(20, 0.1), lost=("",) * 18 + ("pool",) * 2)
    lines = report.table(width=80).splitlines()
    assert max(map(len, lines)) <= 80 and lines.count("") == 3
    first = next(i for i, line in enumerate(lines) if line.startswith("error by element"))
    assert all(line.endswith("): 0.1,") for line in lines[first : first + 5])
    assert "shift (18, 18), shift (19, 19) have no action behind pool" in lines


def test_a_share_that_scatters_or_is_undone_is_no_figure():
    rows = [made_row("a", share=0.9, share_error=0.6), made_row("b", share=0.1)]
    assert "the largest share is that of a, 90 ± 60 %" in str(made_report(*rows)).replace("\n", " ")
    undone = str(made_report(*rows, cancellation=36.8)).replace("\n", " ")
    assert "undo each other in part; the largest share is that of a, 90 ± 60 %" in undone
    assert "36.8 times as large as their sum; what one mend does" in undone


@pytest.mark.parametrize("width", [60, 71, 80, 100])
def test_no_column_vanishes(width):
    names = ("blocks.0.attention.projection", "blocks.1.short")
    rows = [made_row(name, "exact at these parameters only", 1e-5, -0.25, causes=(KERNEL, BORDER)) for name in names]
    text = made_report(*rows).table(width=width)
    assert max(map(len, text.splitlines())) <= width and {"causes", "kernel,", "border", "verdict"} <= set(text.split())


@pytest.mark.parametrize("width", [60, 71, 80, 100])
def test_numbers_stay_with_their_per_cent(width):
    assert not any(line.startswith("%") for line in BROKEN.table(width=width).splitlines())


def test_narrow_tables_say_in_vain_in_one_line():
    report = made_report(made_row("a", "exact at this shape", 0.0, None, vain=True), made_row("b"))
    row = next(line for line in report.table(width=80).splitlines() if line.startswith("a "))
    assert row.split() == ["a", "in", "vain", "0"]
    assert "exact at this shape, in vain" in report.table(width=160)


def test_outputs_that_are_no_numbers_have_no_verdict():
    fine = made_report(made_row("a", "exact by construction", 0.0, None), error=np.zeros(4), lost=("",) * 4)
    assert fine.exact and fine.undefined == () and fine.assert_exact() is None
    bad = dataclasses.replace(fine, error=np.array([0.0, np.nan, 0.0, 0.0]))
    assert not bad.exact and bad.undefined == ("mirror",) and "NaN or infinities" in str(bad)
    with pytest.raises(AssertionError, match="undefined"):
        bad.assert_exact()
    lost = dataclasses.replace(bad, lost=("", "pool", "", ""))
    assert lost.undefined == ()


def test_assertion_names_rows_causes_and_replacements():
    with pytest.raises(AssertionError) as caught:
        BROKEN.assert_exact()
    for word in ("blocks.0.conv", KERNEL.sentence, BORDER.sentence, BORDER.replacement):
        assert word in str(caught.value)


def test_an_error_without_an_accused_row():
    report = made_report(made_row("a", "exact by construction", 1e-8, 0.0), lost=("",) * 4, error=np.full(4, 0.5))
    assert "no row is accused" in str(report) and not report.exact


@pytest.mark.parametrize("name", AWKWARD)
def test_dictionaries_are_json(name):
    json.dumps(AWKWARD[name].to_dict(), allow_nan=False)


def test_numpy_scalars_become_plain():
    report = dataclasses.replace(BROKEN, seconds=np.float32(1.5), versions={"n": np.int64(3), "b": np.bool_(True)})
    found = report.to_dict()
    assert found["versions"] == {"n": 3, "b": True} and found["seconds"] == 1.5 and found["error"][2] is None


def test_plans_fit_a_terminal():
    code = f"ej.nn.PolyphaseConv({'16, ' * 20}rngs=rngs); as `short` of ej.nn.PolyphaseResidual, with the choice of `x`"
    mends = tuple(Mend(f"stages.{i}.reduce_window_max (networks.py:75)", ("border", "phase"), 0.2, code) for i in range(10))
    lines = str(Plan(mends, (0.1,) * 10 + (0.0,), 1e-7, ())).splitlines()
    assert max(map(len, lines)) <= 80 and lines[-1].startswith("    ") and "error left 0" in "\n".join(lines)
    assert all(line.startswith("    ") for line in lines[2:] if not line[0].isdigit())
    assert any(line.startswith("    as `short` of") for line in lines)
