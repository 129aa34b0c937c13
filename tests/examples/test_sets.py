"""The example of sums of digits: its pieces are right, and the networks on sets carry over to large sets."""

import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.examples.test_examples import ROOT, run


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("sets_example", ROOT / "examples" / "sets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sets_have_the_sizes_and_sums_they_say(script):
    training, test = script.digits()
    assert len(training[1]) == 1200 and len(test[1]) == 597
    sizes = jnp.array([1, 4, 7])
    images, mask, total = script.draw(jax.random.key(0), tuple(map(jnp.asarray, training)), sizes, 7)
    assert images.shape == (3, 7, 64) and mask.sum(1).tolist() == [1, 4, 7]
    row = {image.tobytes(): label for image, label in zip(*training, strict=True)}
    found = [
        sum(row[np.asarray(x).tobytes()] for x in some[there]) for some, there in zip(images, np.asarray(mask), strict=True)
    ]
    assert total.tolist() == found


@pytest.mark.slow
def test_sums_of_digits(tmp_path):
    done = run("sets.py", "--quick", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    last = {name: rows[0]["error"][-1] for name, rows in report["results"].items()}
    change = {name: max(rows[0]["change"]) for name, rows in report["results"].items()}
    for name in ("deep set", "set attention"):
        assert last[name] < 2 * report["guess"][-1] and change[name] < 1e-5
    for name in ("GRU", "dense on slots"):
        assert last[name] > 5 * last["deep set"] and change[name] > 1e-3
    assert (tmp_path / "sets.png").read_bytes().startswith(b"\x89PNG")
