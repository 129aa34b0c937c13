"""The n-body example replays its data and trains, and its network is equivariant where the other is not."""

import importlib.util
import json

import numpy as np
import pytest

from tests.examples.test_examples import ROOT, run


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("nbody", ROOT / "examples" / "nbody.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(charges, places, velocities, steps):
    """One system, pair by pair."""
    places, velocities = places.T.copy(), velocities.T.copy()
    for _ in range(steps):
        force = np.zeros_like(places)
        for i in range(5):
            for j in set(range(5)) - {i}:
                d = places[i] - places[j]
                force[i] += charges[i] * charges[j] * d / np.linalg.norm(d) ** 3
        velocities += 1e-3 * np.clip(force, -100, 100)
        places += 1e-3 * velocities
    return places.T, velocities.T


def test_the_simulation_is_kick_and_drift(script):
    charges, places, velocities = script.beginnings((1, 1, 0))
    assert charges.shape == (2, 5) and places.shape == velocities.shape == (2, 3, 5)
    assert set(np.unique(charges)) <= {-1.0, 1.0}
    np.testing.assert_allclose(np.linalg.norm(velocities, axis=1), 0.5, rtol=1e-12)
    found = script.simulated(charges, places, velocities, 60)
    for k in range(2):
        for mine, theirs in zip(found, plain(charges[k], places[k], velocities[k], 60), strict=True):
            np.testing.assert_allclose(mine[k], theirs, rtol=1e-10, atol=1e-12)


def test_the_parts_are_drawn_from_one_stream(script):
    """Skipping trajectories does not change those behind, and the first is what the published script draws first."""
    few, more = script.beginnings((1, 1, 1)), script.beginnings((3, 2, 1))
    for a, b in zip(few, more, strict=True):
        np.testing.assert_array_equal(a, b[[0, 3, 5]])
    random = np.random.RandomState(43)
    charges = random.choice([-1.0, 0.0, 1.0], size=(5, 1), p=[0.5, 0, 0.5])
    np.testing.assert_array_equal(few[0][0], charges[:, 0])
    np.testing.assert_array_equal(few[1][0], random.randn(3, 5))


@pytest.mark.slow
def test_nbody(tmp_path):
    done = run("nbody.py", "--quick", "--epochs", 4, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "nbody.json").read_text())
    assert report["straight_line"]["test"] == pytest.approx(0.0846, abs=0.03)
    assert report["energy_drift"] < 1e-2
    egnn, network = report["results"]["EGNN"], report["results"]["graph network"]
    assert egnn["equivariance_error"] < 1e-12 and network["equivariance_error"] > 1e-3
    assert all(np.isfinite([row["test"] for row in (egnn, network)]))
    assert (tmp_path / "nbody.png").read_bytes().startswith(b"\x89PNG")
