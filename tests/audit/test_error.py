"""The equivariance error, against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.audit._error import default_elements

TORUS = ej.GridAction(ej.Translation(1)).on((4,))
X = jnp.array([[1.0], [2.0], [3.0], [4.0]])
ALL = TORUS.group.elements()


def test_one_error_for_each_element():
    errors = ej.equivariance_error(lambda x: x, TORUS, TORUS, X, ALL)
    assert errors.shape == (4,) and errors.dtype == np.float64 and (errors == 0).all()


def test_the_definition():
    weights = jnp.array([[1.0], [0.0], [0.0], [0.0]])
    errors = ej.equivariance_error(lambda x: weights * x, TORUS, TORUS, X, ALL)
    x = np.array([1.0, 2.0, 3.0, 4.0])
    f = lambda x: np.array([1, 0, 0, 0]) * x  # noqa: E731
    expected = [np.linalg.norm(f(np.roll(x, g)) - np.roll(f(x), g)) / np.linalg.norm(f(x)) for g in range(4)]
    np.testing.assert_allclose(errors, expected, atol=1e-15)


def test_a_function_that_is_zero_has_an_absolute_error():
    errors = ej.equivariance_error(lambda x: jnp.where(x == X, 0.0, 1.0), TORUS, TORUS, X, ALL)
    np.testing.assert_allclose(errors, [0, 2, 2, 2])


def test_chosen_elements():
    errors = ej.equivariance_error(lambda x: x[::-1], TORUS, TORUS, X, jnp.array([[0], [2], [1]]))
    assert errors.shape == (3,) and errors[0] == errors[1] == 0 < errors[2]


def test_complex_outputs_count_with_both_parts():
    """The error may sit in the imaginary part alone."""
    fn = lambda x: jax.lax.complex(x, x * jnp.arange(4.0)[:, None])  # noqa: E731
    assert ej.equivariance_error(fn, TORUS, TORUS, X, jnp.array([[1]]))[0] > 0.1


def test_batches_are_measured_together():
    x = jnp.stack([X, 2 * X])
    fn = lambda x: x * jnp.broadcast_to(jnp.arange(1.0, 5.0)[:, None], x.shape)  # noqa: E731
    errors = ej.equivariance_error(fn, TORUS, TORUS, x)
    np.testing.assert_allclose(errors, ej.equivariance_error(fn, TORUS, TORUS, X))


@pytest.mark.parametrize(
    ("action", "shape", "count"),
    [
        (ej.FibreAction(ej.reps.Regular(ej.Dihedral(4))), (8, 1), 8),
        (ej.SetAction(3), (3, 1), 8),
        (ej.GridAction(ej.Translation(2)), (4, 4, 1), 5),
        (ej.GridAction(ej.wallpaper("p4m")), (4, 4, 1), 12),
        (ej.GridAction(ej.wallpaper("p4m")), (4, 6, 1), 8),
        (ej.GridAction(ej.wallpaper("p4m"), boundary="zero"), (4, 4, 1), 8),
        (ej.GridAction(ej.wallpaper("p4m")).on((4, 4)), (4, 4, 1), 12),
    ],
    ids=repr,
)
def test_default_elements(action, shape, count):
    """All point elements that act; on a torus with shifts, and four shifts more; every one of them acts."""
    x = jnp.zeros(shape)
    elements = default_elements(action, action, x, x)
    leaves = jax.tree.leaves(elements)
    assert len(leaves[0]) == count
    assert all(action.acts(jax.tree.map(lambda leaf, i=i: leaf[i], elements), shape) for i in range(count))
    if getattr(action, "boundary", "") == "zero":
        assert (leaves[0] == 0).all()


def test_a_layer_with_zero_padding_is_exact_by_default():
    """Shifts are not part of the law of an action with zeros outside; they are measured where they are named."""
    from tests.helpers import options, randn

    layer = ej.nn.GroupConv(1, 1, 3, **options(ej.wallpaper("p4")))
    x = randn((5, 5, 4, 1))
    assert ej.equivariance_error(layer, layer.in_action, layer.out_action, x).max() <= 1e-12
    shift = (jnp.array([[1, 0]]), jnp.array([0]))
    assert ej.equivariance_error(layer, layer.in_action, layer.out_action, x, shift).max() > 1e-2


def test_groups_must_agree():
    other = ej.TrivialAction(ej.Translation(1, 5))
    with pytest.raises(ValueError, match=r"`in_action` belongs to Translation\(1, period=\(4,\)\).*`out_action`.*one group"):
        ej.equivariance_error(lambda x: x, TORUS, other, X)
