"""Elements that are averaged over form a group as they act, or are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from tests.helpers import check_message, randn

Z2, P4, C4 = ej.Translation(2), ej.wallpaper("p4"), ej.Cyclic(4)
GRID, FIBRE = ej.GridAction(Z2), ej.FibreAction(ej.reps.Regular(C4))
SPACE = ej.FibreAction(ej.reps.Vector(ej.SO(3)))
SHIFTS = np.stack(np.meshgrid(range(4), range(4), indexing="ij"), -1).reshape(-1, 2).astype(np.int32)
CUBE = np.asarray(ej.Octahedral().matrices)
WEIGHTS = randn((4, 4, 1))


def uneven(x):
    return jnp.sin(x * WEIGHTS)


def over(elements, action=GRID, fn=uneven, out_action=None):
    return ej.nn.Symmetrize(fn, action.group, action, out_action or action, elements=elements)


def test_shifts_of_a_torus_are_a_group_modulo_its_periods():
    x = randn((4, 4, 1), 1)
    layer = over(SHIFTS)
    found = jax.jit(lambda x: (layer(jnp.roll(x, 1, 0)), jnp.roll(layer(x), 1, 0)))(x)
    np.testing.assert_allclose(*found, atol=1e-14)
    check_message(lambda: layer(randn((5, 5, 1))[:, :, :]), ValueError, ["`elements`", "16", "`in_action`", "samples"])
    assert over(SHIFTS, fn=lambda x: x[0, 0], out_action=ej.TrivialAction(Z2))(x).shape == (1,)
    np.testing.assert_allclose(over(np.concatenate([SHIFTS, SHIFTS + 4]))(x), layer(x), atol=1e-14)  # each of them twice


def test_groups_of_any_kind():
    assert over(np.array([2, 0]), FIBRE, jnp.sin)(randn((4, 2))).shape == (4, 2)
    assert over(CUBE, SPACE, jnp.sin)(randn((3, 2))).shape == (3, 2)
    turns = (np.repeat(SHIFTS, 4, 0), np.tile(np.arange(4, dtype=np.int32), 16))
    assert ej.nn._listed.is_closed(P4.open, ej.nn._listed.Listed((SHIFTS[:1].repeat(4, 0), np.arange(4)))) is True
    assert ej.nn._listed.is_closed(ej.wallpaper("p4", 4), ej.nn._listed.Listed(turns)) is True


WRONG = {
    "some shifts": lambda: over(SHIFTS[:3])(randn((4, 4, 1))),
    "one shift twice": lambda: over(np.concatenate([SHIFTS, SHIFTS[:1]]))(randn((4, 4, 1))),
    "shifts out of a box": lambda: over(SHIFTS, ej.GridAction(Z2, boundary="zero"))(randn((4, 4, 1))),
    "output on another torus": lambda: over(SHIFTS, fn=lambda x: jnp.tile(x, (2, 2, 1))[:6, :6])(randn((4, 4, 1))),
    "a quarter turn": lambda: over(np.array([0, 1]), FIBRE, jnp.sin),
    "no identity": lambda: over(np.array([2]), FIBRE, jnp.sin),
    "some turns of the cube": lambda: over(CUBE[:5], SPACE, jnp.sin),
    "nothing": lambda: over(np.zeros((0,), np.int32), FIBRE, jnp.sin),
    "no shift": lambda: over(SHIFTS[:0]),
    "a canonical form": lambda: ej.nn.canonicalize(randn((4, 2)), FIBRE, jnp.sum, np.array([0, 1])),
    "a canonical form of nothing": lambda: ej.nn.canonicalize(randn((4, 2)), FIBRE, jnp.sum, np.array([], np.int32)),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_lists_are_refused(name):
    check_message(WRONG[name], ValueError, ["`elements`"])
