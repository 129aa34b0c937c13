"""The equivariance error, against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.audit._error import default_elements

TORUS = ej.GridAction(ej.Translation(1)).on((4,))
X = jnp.array([[1.0], [2.0], [3.0], [4.0]])


def test_one_error_for_each_element():
    errors = ej.equivariance_error(lambda x: x, TORUS, TORUS, X)
    assert errors.shape == (4,) and errors.dtype == np.float64 and (errors == 0).all()


def test_the_definition():
    weights = jnp.array([[1.0], [0.0], [0.0], [0.0]])
    errors = ej.equivariance_error(lambda x: weights * x, TORUS, TORUS, X)
    x = np.array([1.0, 2.0, 3.0, 4.0])
    f = lambda x: np.array([1, 0, 0, 0]) * x  # noqa: E731
    expected = [np.linalg.norm(f(np.roll(x, g)) - np.roll(f(x), g)) / np.linalg.norm(f(x)) for g in range(4)]
    np.testing.assert_allclose(errors, expected, atol=1e-15)


def test_a_function_that_is_zero_has_an_absolute_error():
    errors = ej.equivariance_error(lambda x: jnp.where(x == X, 0.0, 1.0), TORUS, TORUS, X)
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
    ("group", "count"),
    [
        (ej.Dihedral(4), 8),
        (ej.wallpaper("p4", 3), 36),
        (ej.Translation(2), 8),
        (ej.Permutation(3), 8),
        (ej.wallpaper("p4m", 20), 8),
    ],
    ids=repr,
)
def test_default_elements(group, count):
    assert len(jax.tree.leaves(default_elements(group))[0]) == count


def test_groups_must_agree():
    other = ej.TrivialAction(ej.Translation(1, 5))
    with pytest.raises(ValueError, match=r"`in_action` belongs to Translation\(1, period=\(4,\)\).*`out_action`.*one group"):
        ej.equivariance_error(lambda x: x, TORUS, other, X)
