"""The action that does nothing."""

import jax.numpy as jnp
import numpy as np

import equijax as ej
from equijax.actions import Axis


def test_nothing_moves():
    action = ej.TrivialAction(ej.wallpaper("p4m"))
    x = {"a": jnp.arange(3), "b": "not even an array"}
    assert action(([1, 2], 3), x) is x
    assert action.acts(None, (3, 4)) and action.group == ej.wallpaper("p4m")


def test_public_check_accepts():
    ej.testing.check_action(ej.TrivialAction(ej.Permutation(3)), jnp.arange(4.0), samples=2)


def test_axes():
    action = ej.TrivialAction(ej.Cyclic(3))
    assert action.axes(0) == () and action.axes(1) == (Axis("feature"),)
    assert action.axes(3) == (Axis("batch"), Axis("batch"), Axis("feature"))


def test_as_permutations():
    finite = ej.TrivialAction(ej.Cyclic(3)).on((2, 2))
    assert np.array_equal(finite.permutation(1), np.arange(4))
    assert ej.TrivialAction(ej.Cyclic(3)).on().size == 1
