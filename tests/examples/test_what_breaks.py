"""The demonstration of the audit runs, and the repairs do what it says."""

import json

import pytest

from tests.examples.test_examples import run


@pytest.mark.slow
def test_what_breaks_equivariance(tmp_path):
    done = run("what_breaks_equivariance.py", "--quick", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rows break the symmetry" in done.stdout and "PolyphaseConv" in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    for task in ("digits", "photographs"):
        rows = list(figures["results"][task].values())
        kinds = [{kind for kinds in row["accused"].values() for kind in kinds} for row in rows]
        assert {"position", "phase", "dense"} <= kinds[0] and "position" not in kinds[1] and "border" not in kinds[2]
        assert kinds[3] == {"phase"} and kinds[4] == set()
        assert rows[0]["error"] > 1e-2 and rows[4]["error"] <= 10 * rows[4]["floor"]
        assert rows[4]["kept_circular"] == 1.0 and rows[4]["accuracy"] == pytest.approx(rows[4]["accuracy_shifted"])
        assert rows[0]["kept_crops"] is None and rows[4]["kept_crops"] is not None
    assert (tmp_path / "repairs.png").read_bytes().startswith(b"\x89PNG")
    assert "<table>" in (tmp_path / "audit.html").read_text(encoding="utf-8")
