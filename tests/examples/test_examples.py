"""The examples run, write what they say, and their figures keep the laws that they are about."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.compiling import QUICKLY

ROOT = Path(__file__).parents[2]


def run(name: str, *arguments: object) -> subprocess.CompletedProcess:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    environment = os.environ | QUICKLY | {"PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)


def numbers(tree: object) -> list[float]:
    if isinstance(tree, dict):
        return [n for branch in tree.values() for n in numbers(branch)]
    if isinstance(tree, list):
        return [n for branch in tree for n in numbers(branch)]
    return [tree] if isinstance(tree, (int, float)) else []


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    out = tmp_path_factory.mktemp("digits")
    done = run("rotated_digits.py", "--quick", "--out", out, "--json", out / "figures.json")
    assert done.returncode == 0, done.stderr
    return json.loads((out / "figures.json").read_text()), out


@pytest.mark.slow
def test_rotated_digits_writes_finite_figures_and_files(digits: tuple[dict, Path]):
    report, out = digits
    found = numbers(report)
    assert len(found) > 200 and all(map(math.isfinite, found))
    assert report["checkpoint_bitwise_equal"] is True
    assert report["feature_map_difference"] < 1e-5
    for name in ("curves.png", "features.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert (out / "checkpoint").is_dir()


@pytest.mark.slow
def test_rotated_digits_compares_models_of_equal_size(digits: tuple[dict, Path]):
    counts = {name: model["parameters"] for name, model in digits[0]["models"].items()}
    assert all(abs(count / counts["p4m"] - 1) <= 0.05 for count in counts.values())


@pytest.mark.slow
@pytest.mark.parametrize(("model", "elements"), [("p4", 4), ("p4m", 8)])
def test_rotated_digits_networks_are_invariant_under_their_own_group(digits: tuple[dict, Path], model, elements):
    report = digits[0]
    for runs in report["results"][model].values():
        for figures in runs:
            accuracies = list(figures["per_element"].values())[:elements]
            errors = list(figures["equivariance_error"].values())
            assert np.ptp(accuracies) <= 2 / report["test_samples"]  # rounding may decide a tie
            assert max(errors[:elements]) < 1e-4
            assert all(error > 1e-2 for error in errors[elements:])


@pytest.mark.slow
@pytest.mark.parametrize("model", ["MLP", "CNN", "CNN, copies"])
def test_rotated_digits_networks_without_the_symmetry_are_not_invariant(digits: tuple[dict, Path], model):
    for runs in digits[0]["results"][model].values():
        assert all(max(figures["equivariance_error"].values()) > 1e-2 for figures in runs)


@pytest.mark.slow
def test_rotated_digits_reads_a_file_with_odd_sizes(tmp_path: Path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.integers(0, 256, (60, 7, 7), np.uint8), y=rng.integers(0, 3, 60) * 10)
    options = ("--quick", "--sizes", 20, 40, "--steps", 2, "--out", tmp_path / "out", "--json", tmp_path / "f.json")
    done = run("rotated_digits.py", "--data", tmp_path / "data.npz", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "f.json").read_text())
    assert report["sizes"] == [20, 40] and report["test_samples"] == 20


IMAGES, LABELS = np.zeros((400, 8, 8), np.uint8), np.arange(400) % 10
BAD = {
    "no y": ({"x": IMAGES}, "lacks `y`"),
    "no x": ({"y": LABELS}, "lacks `x`"),
    "float images": ({"x": IMAGES.astype(np.float32), "y": LABELS}, "must be uint8"),
    "flat images": ({"x": IMAGES.reshape(400, 64), "y": LABELS}, "must be uint8 (n, H, W)"),
    "rectangles": ({"x": IMAGES[:, :6], "y": LABELS}, "square"),
    "too few labels": ({"x": IMAGES, "y": LABELS[:-1]}, "one integer label for each of 400"),
    "float labels": ({"x": IMAGES, "y": LABELS / 2}, "one integer label"),
    "too few samples": ({"x": IMAGES[:9], "y": LABELS[:9]}, "too few"),
    "one class": ({"x": IMAGES, "y": 0 * LABELS}, "labels are equal"),
    "pickled": ({"x": np.array([None] * 400, object), "y": LABELS}, "can't be read"),
}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "examples")
    spec = importlib.util.spec_from_file_location("rotated_digits", ROOT / "examples" / "rotated_digits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def require_refused(script: ModuleType, capsys: pytest.CaptureFixture, message: str, *arguments: object) -> None:
    """The script leaves with code 2 and one line on stderr."""
    with pytest.raises(SystemExit) as left:
        script.main([str(argument) for argument in arguments])
    text = capsys.readouterr().err
    assert left.value.code == 2 and message in text and len(text.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_rotated_digits_refuses_bad_data(script: ModuleType, capsys, tmp_path: Path, case: str):
    arrays, message = BAD[case]
    np.savez(tmp_path / "data.npz", **arrays)
    out = tmp_path / "out"
    require_refused(script, capsys, message, "--quick", "--data", tmp_path / "data.npz", "--out", out)
    assert not out.exists()


@pytest.mark.slow
def test_rotated_digits_refuses_files_that_are_not_there_or_not_npz(script: ModuleType, capsys, tmp_path: Path):
    require_refused(script, capsys, "can't be read", "--data", tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    require_refused(script, capsys, "can't be read", "--data", tmp_path / "text.npz")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sizes", "0"), "not a positive integer"),
        (("--sizes", "5000"), "too few"),
        (("--seed", "-1"), "must not be negative"),
        (("--colour",), "unrecognized"),
        (("--json", "."), "directory"),
    ],
)
def test_rotated_digits_refuses_bad_arguments(script: ModuleType, capsys, tmp_path: Path, arguments, message: str):
    require_refused(script, capsys, message, *arguments, "--out", tmp_path / "out")


@pytest.mark.slow
def test_rotated_digits_leaves_without_a_traceback(tmp_path: Path):
    done = run("rotated_digits.py", "--data", tmp_path / "none.npz")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_new_group_layers_are_exact_and_the_broken_ones_are_not(tmp_path: Path):
    done = run("new_group.py", "--out", tmp_path, "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new_group.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads((tmp_path / "figures.json").read_text())["layers"]
    elements = {"Q8": 8, "T_h": 24, "T_h vectors": 24, "G2": 12}  # all, and of the Lie group random ones
    assert Counter(row["group"] for row in rows) == {"Q8": 7, "T_h": 10, "T_h vectors": 5, "G2": 5}
    assert Counter(row["group"] for row in rows if "broken" in row["layer"]) == dict.fromkeys(elements, 1)
    for row in rows:
        assert len(row["errors"]) == elements[row["group"]]
        assert len(row["errors_along_algebra"]) == (14 if row["group"] == "G2" else 0)
        if "broken" in row["layer"]:
            assert max(row["errors"]) > 1e-3
            assert max(row["errors_along_algebra"], default=1.0) > 1e-3
        else:
            assert max(row["errors"] + row["errors_along_algebra"]) < 1e-12


@pytest.mark.slow
def test_networks_between_representations_learn_and_keep_the_law(tmp_path: Path):
    done = run("emlp.py", "--quick", "--out", tmp_path, "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert (tmp_path / "emlp.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "figures.json").read_text())
    assert report["sizes"] == [30, 300]
    for task, found in report["results"].items():
        assert found["broken law"] <= 1e-12
        published = report["published"][task]
        ((small, large),) = found["error"]
        assert small <= published["EMLP"][0]
        assert large <= published["MLP, turned copies"][2]


@pytest.mark.slow
def test_pictures_of_the_readme_show_what_they_say(tmp_path: Path):
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    assert pictures.turning(tmp_path / "turning.png") < 1e-5
    report = pictures.audit(tmp_path / "audit.png")
    assert {row.name: [cause.kind for cause in row.causes] for row in report.accused} == {
        "padded": ["border"],
        "head": ["dense"],
    }
    for name in ("turning.png", "audit.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
