"""Table, picture, page, dictionary, assertion, command line."""

import dataclasses
import importlib.util
import json
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread

import equijax as ej
from equijax.audit.__main__ import main
from tests.audit.exact_networks import EXACT
from tests.audit.networks import IMAGE, LINE, P4M, SHIFT1, SHIFT2, SHIFT3, VOLUME, Chain, conv, coordinates, linear, mean


@pytest.fixture(scope="module")
def broken():
    """The report on a network with several faults."""
    model = Chain("stem", jnp.tanh, coordinates, "bad", mean, "head", stem=conv(3, 4), bad=conv(6, 4, padding="SAME"),
                  head=linear(4, 3))  # fmt: skip
    return ej.audit.explain(model, IMAGE, in_action=P4M, shifts=2, infinitesimal=True)


@pytest.fixture(scope="module")
def exact():
    """The report on an exact network."""
    return EXACT[0].audit()


def test_table(broken, exact):
    text = str(broken)
    for word in (
        "Chain",
        "rows break the symmetry",
        "border",
        "position",
        "kernel",
        "quarter turn",
        "use ",
        "GroupConv",
        "jax ",
    ):
        assert word in text, word
    assert max(map(len, text.splitlines())) <= 120 and "exact row" in text
    assert len(broken.table(every=True).splitlines()) > len(text.splitlines())
    narrow = broken.table(width=80)
    assert max(map(len, narrow.splitlines())) <= 80 and "survival" not in narrow and "share %" in narrow
    assert "exact (" in str(exact) and "break" not in str(exact).splitlines()[0]
    assert "predictions kept: circular shifts" in text and "crops" in text and "Lie derivative, shift along axis 1" in text


def test_assert_exact(broken, exact):
    exact.assert_exact()
    with pytest.raises(AssertionError, match="not equivariant"):
        broken.assert_exact()


def test_dictionary(broken):
    found = json.loads(json.dumps(broken.to_dict(), allow_nan=False))
    assert found["exact"] is False and len(found["rows"]) == len(broken.rows)
    assert abs(sum(row["share"] for row in found["rows"]) - 1) < 1e-6
    assert found["rows"][0]["causes"][0]["kind"] == "kernel"
    emptied = dataclasses.replace(broken, error=np.array([np.nan, np.inf, 1.0, 2.0]))
    assert emptied.to_dict()["error"] == [None, None, 1.0, 2.0]


@pytest.mark.slow
def test_pictures(broken, exact, tmp_path):
    line = ej.audit.explain(Chain("bad", mean, bad=conv(3, 4, d=1, padding="SAME")), LINE, in_action=SHIFT1)
    volume = ej.audit.explain(Chain("bad", mean, bad=conv(3, 4, d=3, padding="SAME")), VOLUME, in_action=SHIFT3)
    for number, report in enumerate((broken, exact, line, volume)):
        path = tmp_path / f"{number}.png"
        report.plot(path)
        picture = imread(path)
        assert min(picture.shape[:2]) > 400 and picture[..., :3].std() > 0.05


def test_pictures_without_matplotlib(broken, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"equijax\[audit\]"):
        broken.plot(tmp_path / "x.png")


def test_page_escapes_names_and_asks_for_nothing(broken, tmp_path):
    path = tmp_path / "page.html"
    dataclasses.replace(broken, model="<b>&Net</b>").to_html(path)
    text = path.read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;Net&lt;/b&gt;" in text and "<b>&Net" not in text
    assert "http://" not in text and "https://" not in text and 'src="data:image/png;base64,' in text


def test_page_in_a_browser(broken, tmp_path):
    if importlib.util.find_spec("PyQt6") is None:
        pytest.skip("no browser: pip install PyQt6-WebEngine")
    path = tmp_path / "page.html"
    broken.to_html(path)
    program = pathlib.Path(__file__).with_name("browser.py")
    run = subprocess.run([sys.executable, str(program), str(path)], capture_output=True, text=True, timeout=120)
    if "cannot open shared object file" in run.stderr:
        pytest.skip(f"the browser misses a library of the system: {run.stderr.strip().splitlines()[-1]}")
    assert run.returncode == 0, run.stderr[-2000:]
    seen = json.loads(run.stdout.strip().splitlines()[-1])
    page = seen["page"]
    assert page["title"] == "Audit of Chain" and len(page["before"]) == len(broken.rows)
    errors = [float(row[4]) for row in page["up"]]
    assert errors == sorted(errors) and [float(row[4]) for row in page["down"]] == sorted(errors, reverse=True)
    assert page["up"] != page["before"] and sorted(row[0] for row in page["up"]) == sorted(row[0] for row in page["before"])
    assert page["sorted"].count("ascending") == 1
    assert page["images"] and all(complete and width > 100 and alt for complete, width, alt in page["images"])
    assert seen["console"] == []
    assert all(address.startswith(("file:", "data:")) for address in seen["requests"]) and seen["requests"]


MODEL = """
import jax.numpy as jnp
from flax import nnx

class Net(nnx.Module):
    def __init__(self, rngs, padding):
        self.stem = nnx.Conv(3, 4, (3, 3), padding=padding, rngs=rngs)

    def __call__(self, x):
        return jnp.tanh(self.stem(x)).mean((1, 2))

def make_model(rngs):
    return Net(rngs, "SAME")

def make_exact(*, rngs):
    return Net(rngs, "CIRCULAR")

ready = Net(nnx.Rngs(0), "CIRCULAR")
number = 3
"""


def test_command_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "audited_models.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    shape = ["--input-shape", "2,8,8,3"]
    files = ["--html", "page.html", "--plot", "picture.png", "--json", "figures.json"]
    assert main(["audited_models:make_model", *shape, "--group", "shifts", *files]) == 1
    assert "border" in capsys.readouterr().out
    assert json.loads((tmp_path / "figures.json").read_text())["exact"] is False
    assert (tmp_path / "page.html").stat().st_size > 10_000 and (tmp_path / "picture.png").stat().st_size > 10_000
    assert main(["audited_models:make_exact", *shape, "--group", "shifts"]) == 0
    assert main(["audited_models:ready", *shape, "--group", "p4", "--all", "--invariant-output"]) == 1
    assert main(["audited_models:make_model", *shape, "--group", "p4m", "--static"]) == 1
    assert "pads with zeros" in capsys.readouterr().out
    for wrong, word in (
        (["audited_models", *shape, "--group", "p4"], "package.module"),
        (["audited_models:number", *shape, "--group", "p4"], "function"),
        (["audited_models:missing", *shape, "--group", "p4"], "missing"),
        (["nowhere:make", *shape, "--group", "p4"], "nowhere"),
        (["audited_models:ready", "--input-shape", "2,x", "--group", "p4"], "integers"),
        (["audited_models:ready", *shape, "--group", "p5"], "p5"),
    ):
        assert main(wrong) == 2
        assert word in capsys.readouterr().err


def test_consistency_of_models_with_one_size():
    flat = Chain("stem", jnp.tanh, lambda x: x.reshape(x.shape[0], -1), "head", stem=conv(3, 4), head=linear(256, 3))
    found = ej.audit.explain(
        flat, IMAGE, in_action=SHIFT2, out_action=ej.TrivialAction(SHIFT2.group), shifts=3, perturb=False
    )
    assert found.consistency.crops is None and "no other size" in found.consistency.note
    invariant = EXACT[0].audit(shifts=3).consistency
    assert invariant.circular == 1.0 and 0 <= invariant.crops <= 1
