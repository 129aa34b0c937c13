"""Arrays that are turned by angles which the grid does not have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.actions._resample import resampled
from equijax.groups import HEXAGONAL, Motions
from equijax.reps import Irrep, Regular, Scalar
from tests.helpers import randn


def turn(angle):
    return jnp.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def waves(points, cut=0.6):
    """A band-limited field with a known value everywhere."""
    rng = np.random.default_rng(0)
    w = rng.uniform(-cut, cut, (12, 2)) * np.pi / 2**0.5
    return np.cos(points @ w.T + rng.uniform(0, 6, 12)).sum(-1)


@pytest.mark.parametrize("angle", [0.1, np.pi / 8, 1.0, 2.5])
def test_a_field_is_turned_to_the_floor_of_the_resampling(angle):
    points = np.stack(np.meshgrid(np.arange(41.0), np.arange(41.0), indexing="ij"), -1) - 20
    action = ej.GridAction(Motions(ej.SO(2)), boundary="zero")
    found = action((jnp.zeros(2), turn(angle)), jnp.asarray(waves(points))[..., None])[..., 0]
    wanted = waves(points @ np.asarray(turn(angle)))  # f(g⁻¹ x)
    inside = np.linalg.norm(points, axis=-1) < 13
    error = np.abs(found - wanted)[inside]
    assert np.sqrt((error**2).mean()) / wanted[inside].std() < 2e-3


def test_what_the_lattice_has_is_moved_sample_by_sample():
    group = Motions(ej.Dihedral(8))
    action = ej.GridAction(group, Regular(ej.Dihedral(8)))
    x = randn((2, 9, 9, 16, 3), 0, jnp.float64)
    for h in range(8):
        g = group.from_lattice(np.array([1, -2], np.int32), np.int32(h))
        exact = action.on_lattice((np.array([1, -2], np.int32), np.int32(h)), x)
        assert (action(g, x) == exact).all()
        traced = jax.jit(lambda t, h: action((t, h), x))(*g)
        np.testing.assert_allclose(traced, exact, atol=1e-12)
        assert action.acts(g, x.shape)
    assert not action.acts((np.zeros(2), np.int32(1)), x.shape)


def test_vectors_turn_with_the_field():
    """The gradient of a turned field is the turned field of gradients."""
    points = np.stack(np.meshgrid(np.arange(41.0), np.arange(41.0), indexing="ij"), -1) - 20
    rng = np.random.default_rng(1)
    w, phase = rng.uniform(-0.4, 0.4, (8, 2)) * np.pi, rng.uniform(0, 6, 8)
    gradient = lambda p: -np.sin(p @ w.T + phase) @ w  # noqa: E731
    action = ej.GridAction(Motions(ej.SO(2)), Irrep(ej.SO(2), 1), "zero")
    R = turn(0.7)
    found = action((jnp.zeros(2), R), jnp.asarray(gradient(points))[..., None])[..., 0]
    wanted = gradient(points @ np.asarray(R)) @ np.asarray(R).T
    inside = np.linalg.norm(points, axis=-1) < 13
    assert np.abs(found - wanted)[inside].max() < 5e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("boundary", ["wrap", "zero"])
def test_samples_constants_and_sizes(boundary):
    x = randn((7, 9, 2), 3, jnp.float64)
    grid = jnp.stack(jnp.meshgrid(jnp.arange(7.0), jnp.arange(9.0), indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_allclose(resampled(x, grid, boundary), x.reshape(-1, 2), atol=1e-14)
    if boundary == "wrap":
        np.testing.assert_allclose(resampled(jnp.ones((7, 9, 1)), grid + 0.37, boundary), 1.0, atol=1e-12)
    else:
        assert (resampled(x, grid + 100.0, boundary) == 0).all()


def test_the_laws_of_the_lattice_part_and_gradients():
    group = Motions(ej.SO(2), HEXAGONAL)
    action = ej.GridAction(group, Irrep(ej.SO(2), 2))
    x = randn((6, 6, 2, 1), 0, jnp.float64)
    kept = ej.actions.kept_by(action, x.shape)
    assert len(kept.point_elements) == 6 and not kept.is_everything and kept.keeps_point_group
    for g in kept.generators():
        for h in kept.generators():
            np.testing.assert_allclose(action(g, action(h, x)), action(group.compose(g, h), x), atol=1e-6)
    gradient = jax.grad(lambda x: (action((jnp.zeros(2), turn(0.3)), x) ** 2).sum())(x)
    assert jnp.isfinite(gradient).all() and jnp.abs(gradient).max() > 0


def test_many_elements_and_wrong_ones():
    action = ej.GridAction(Motions(ej.SO(2)), Scalar(ej.SO(2)), "zero")
    x = randn((9, 9, 1), 0, jnp.float64)
    elements = (jnp.zeros((3, 2)), jnp.stack([turn(a) for a in (0.1, 0.2, 0.3)]))
    each = jax.vmap(action, (0, None))(elements, x)
    np.testing.assert_allclose(each[1], action((jnp.zeros(2), turn(0.2)), x), atol=1e-12)
    with pytest.raises(ValueError, match="vmap"):
        action(elements, x)
    with pytest.raises(ValueError, match="no element"):
        action((jnp.zeros(2), jnp.array([[2.0, 0.0], [0.0, 1.0]])), x)
