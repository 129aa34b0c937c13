"""Products of actions, and hierarchies."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.actions import Axis
from equijax.actions._acting import measured_elements
from equijax.reps import Regular, Scalar
from equijax.sharing import LinearSharing
from equijax.testing import check_action, check_equivariance
from tests.helpers import QUATERNIONS, check_message, randn

P4, P4M = ej.wallpaper("p4"), ej.wallpaper("p4m")
REGULAR = Regular(P4.point_group)
IMAGES = ej.ProductAction(ej.SetAction(), ej.GridAction(P4, REGULAR))
MATRICES = ej.ProductAction(ej.SetAction(), ej.SetAction())
FUNCTIONS = ej.ProductAction(ej.SetAction(), ej.FibreAction(Regular(QUATERNIONS)))
ACTIONS = {
    "matrices": (MATRICES, (2, 3, 4, 2)),
    "images": (IMAGES, (2, 3, 3, 3, 4, 2)),
    "functions": (FUNCTIONS.on((3,)), (3, 8, 2)),
    "fibre in the middle": (ej.ProductAction(ej.GridAction(P4M, Regular(P4M.point_group)), ej.TensorAction(2, 2)), (3, 3, 8, 2, 2, 1)),
    "two fibres": (ej.ProductAction(ej.GridAction(P4, REGULAR), ej.FibreAction(Regular(ej.Cyclic(3)))), (3, 3, 4, 3, 1)),
    "nested": (ej.ProductAction(ej.SetAction(2), MATRICES), (2, 3, 4, 1)),
    "with zeros": (ej.ProductAction(ej.SetAction(), ej.GridAction(P4, boundary="zero")), (2, 5, 5, 2)),
    "sets of sets": (ej.WreathAction(), (2, 3, 4, 2)),
    "functions that move by themselves": (ej.WreathAction(inner=ej.FibreAction(Regular(ej.Cyclic(3)))), (4, 3, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIONS)
def test_the_law_of_actions(name):
    action, shape = ACTIONS[name]
    check_action(action, randn(shape), samples=2)


def test_each_factor_moves_its_own_axes():
    p, q = np.array([2, 0, 1]), np.array([1, 3, 2, 0])
    x = np.arange(24).reshape(3, 4, 2)
    moved = np.asarray(MATRICES((p, q), x))
    for i, j in itertools.product(range(3), range(4)):
        assert np.array_equal(moved[p[i], q[j]], x[i, j])
    images = np.arange(2 * 3 * 3).reshape(2, 3, 3, 1)
    turned = ej.ProductAction(ej.SetAction(), ej.GridAction(P4))((np.array([1, 0]), ([0, 0], 1)), images)
    assert np.array_equal(turned[1, ..., 0], np.rot90(images[0, ..., 0]))


def test_a_block_is_permuted_and_then_moved():
    q, p = np.array([[1, 0, 2], [2, 0, 1]]), np.array([1, 0])
    x = np.arange(6).reshape(2, 3, 1)
    moved = np.asarray(ej.WreathAction()((q, p), x))
    for i, j in itertools.product(range(2), range(3)):
        assert moved[p[i], q[p[i]][j]] == x[i, j]


def test_axes():
    assert IMAGES.axes(7) == (
        Axis("batch"), Axis("batch"), Axis("base", 0), Axis("base", 1), Axis("base", 2), Axis("fibre"), Axis("feature"),
    )  # fmt: skip
    x = jnp.zeros((0, 3, 3, 4, 1))
    assert IMAGES((jnp.zeros(0, int), ([0, 0], 1)), x).shape == x.shape, "an empty set"
    assert ej.WreathAction().axes(3) == (Axis("base", 0), Axis("base", 1), Axis("feature"))


@pytest.mark.parametrize("name", ["images", "two fibres", "functions that move by themselves"])
def test_as_permutations(name):
    action, shape = ACTIONS[name]
    action = action.for_input(jnp.zeros(shape))
    sizes = tuple(n for n, axis in zip(shape, action.axes(len(shape)), strict=True) if axis.role == "base")
    finite = action.on(sizes)
    g = finite.group.sample(jax.random.key(3))
    values = np.arange(finite.size)
    moved = np.empty(finite.size, int)
    moved[finite.permutation(g)] = values
    assert np.array_equal(finite(g, values.reshape(*finite.shape, 1)).reshape(-1), moved)
    assert finite.acts(g)


def test_sizes_and_values():
    assert MATRICES.for_input(jnp.zeros((2, 3, 4, 1))) == ej.ProductAction(ej.SetAction(3), ej.SetAction(4))
    assert IMAGES.for_input(jnp.zeros((7, 5, 5, 4, 1))).factors[0] == ej.SetAction(7)
    assert ej.WreathAction().for_input(jnp.zeros((3, 4, 1))) == ej.WreathAction(ej.SetAction(3), ej.SetAction(4))
    assert hash(ej.ProductAction(*IMAGES.factors)) == hash(IMAGES) and ej.ProductAction(*IMAGES.factors) == IMAGES
    assert repr(ej.ProductAction(ej.SetAction(3))) == f"ProductAction({ej.SetAction(3)!r})"


def count(into, out=None):
    return LinearSharing(into, into if out is None else out).count


def test_weights_of_a_product_are_the_product_of_the_weights():
    """Orbits on pairs of a product are products of orbits, so the counts multiply."""
    assert [count(MATRICES.on((n, m))) for n, m in ((3, 4), (1, 4), (3, 1), (1, 1))] == [4, 2, 2, 1]
    grid = ej.GridAction(P4, REGULAR)
    assert count(IMAGES.on((3, 3, 3))) == 2 * count(grid.on((3, 3))) == 72
    lifted = ej.ProductAction(ej.SetAction(), ej.GridAction(P4, Scalar(P4.point_group))).on((3, 3, 3))
    assert count(lifted, IMAGES.on((3, 3, 3))) == 2 * 9
    assert count(FUNCTIONS.on((3,))) == 2 * 8
    relations = ej.ProductAction(ej.TensorAction(4, 2), ej.SetAction(2)).on()
    assert count(relations) == 15 * 2


def test_invariant_outputs_and_partial_pools():
    finite = IMAGES.on((3, 3, 3))
    assert count(finite, ej.TrivialAction(finite.group)) == 1
    group_of_images, group_of_set = finite.action.factors[1].group, ej.Permutation(3)
    one_image = ej.ProductAction(ej.TrivialAction(group_of_set), ej.GridAction(P4, REGULAR)).on((3, 3))
    assert count(finite, one_image) == 36, "from the set to one image"
    one_vector = ej.ProductAction(ej.SetAction(3), ej.TrivialAction(group_of_images)).on()
    assert count(finite, one_vector) == 2, "from the images to a set of numbers"


def test_weights_of_hierarchies():
    assert [count(ej.WreathAction().on((n, m))) for n, m in ((3, 4), (1, 4), (3, 1), (2, 2))] == [3, 2, 2, 3]
    turning = ej.WreathAction(inner=ej.GridAction(P4)).on((2, 3, 3))
    assert count(turning) == count(ej.GridAction(P4).on((3, 3))) + 1, "its own image, and the mean of the other one"
    assert count(ej.WreathAction(inner=ej.WreathAction()).on((2, 2, 2))) == 4


def test_grids_with_borders_and_strides():
    """Only what maps every grid to itself counts: with zeros outside no shifts, on a coarse torus the common ones."""
    bordered = ej.GridAction(P4, boundary="zero")
    product = ej.ProductAction(ej.SetAction(), bordered)
    assert count(product.on((2, 3, 3))) == 2 * count(bordered.on((3, 3)))
    fine, coarse = ej.GridAction(ej.Translation(1), torus=4), ej.GridAction(ej.Translation(1), spacing=2, torus=4)
    pair = [ej.ProductAction(ej.SetAction(), grid).on((2, n)) for grid, n in ((fine, 4), (coarse, 2))]
    assert count(*pair) == 2 * count(fine.on((4,)), coarse.on((2,))) == 2 * 4
    wide = ej.ProductAction(ej.SetAction(), ej.GridAction(P4)).on((2, 3, 4))
    other = ej.ProductAction(ej.SetAction(), ej.GridAction(P4, boundary="zero")).on((2, 3, 4))
    check_message(lambda: LinearSharing(wide, other), ValueError, ["torus", "(3, 4)"])


def test_equivariance_is_measured_at_elements_that_act():
    """On a 4×6 torus quarter turns don't act, and elements that do are drawn, in every factor."""
    action = ej.ProductAction(ej.SetAction(), ej.GridAction(P4))
    x = randn((3, 4, 6, 2))
    p, (t, h) = measured_elements([(action.for_input(x), x.shape)] * 2, jax.random.key(0))
    assert p.shape == (8, 3) and set(np.asarray(h).tolist()) == {0, 2} and t.shape == (8, 2)
    check_equivariance(lambda x: x + x.mean(axis=0, keepdims=True), action, action, x)
    roll = lambda x: x + 2 * jnp.roll(x, 1, axis=1)  # noqa: E731
    assert ej.equivariance_error(roll, action, action, x).max() > 0.1, "half turns are not respected"
    assert ej.equivariance_error(lambda x: x.at[0].mul(2.0), action, action, x).max() > 0.1, "nor is the order"


def test_invariance_of_hierarchies_is_measured():
    action, x = ej.WreathAction(inner=ej.GridAction(P4)), randn((3, 4, 4, 2))
    check_equivariance(lambda x: x.mean(axis=(1, 2), keepdims=True) + x, action, action, x)
    assert ej.equivariance_error(lambda x: x.mean(axis=0, keepdims=True) + x, action, action, x).max() > 0.1


def test_gradient_and_traced_elements():
    act = MATRICES.for_input(jnp.zeros((2, 3, 1)))
    x, w = randn((2, 3, 1)), randn((2, 3, 1), 1)
    g = act.group.sample(jax.random.key(0))
    gradient = jax.jit(jax.grad(lambda x, g: (w * act(g, x)).sum()))(x, g)
    assert np.array_equal(gradient, act(act.group.inverse(g), w))


def test_bad_input():
    x = jnp.zeros((2, 3, 1))
    check_message(lambda: ej.ProductAction(), ValueError, ["`factors` is empty"])
    check_message(lambda: ej.ProductAction(ej.Permutation(3)), TypeError, ["`factors`", "Permutation(3)", "Action"])
    check_message(lambda: MATRICES([1, 0], x[0]), ValueError, ["`x` has shape (3, 1)", "*batch"])
    check_message(lambda: MATRICES(([1, 0],), x), ValueError, ["`g`", "2 entries"])
    check_message(lambda: MATRICES(([1, 0], [0, 1]), x), ValueError, ["(2,)", "3 points"])
    check_message(lambda: MATRICES(([1, 0], [0, 0, 1]), x), ValueError, ["permutation of 0 … 2"])
    check_message(lambda: IMAGES.on((5, 5)), ValueError, ["`shape` is (5, 5)", "3 base axes"])
    check_message(lambda: ej.ProductAction(ej.SetAction(2), ej.GridAction(P4)).on(), ValueError, ["`shape` is ()"])
    check_message(lambda: ej.ProductAction(ej.SetAction(2)).coarsen(2), ValueError, ["no grid"])
    check_message(lambda: ej.WreathAction(ej.TensorAction(3, 2)), TypeError, ["`outer`", "SetAction"])
    check_message(lambda: ej.WreathAction(inner=ej.Permutation(3)), TypeError, ["`inner`", "Action"])
    check_message(lambda: ej.WreathAction()(([[0, 1, 2]], [1, 0]), x), ValueError, ["`g`", "2 of them"])
    check_message(lambda: ej.WreathAction()(([[0, 1, 2], [0, 0, 1]], [1, 0]), x), ValueError, ["permutation of 0 … 2"])
