"""Pointwise functions of samples: exact where they say so, and within their sampling error elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax.reps import Irrep, Regular, band_limited, direct_sum, irreps
from tests.helpers import QUATERNIONS, check_message, randn
from tests.nn.fields.laws import Law, matrices, some_elements

STATED = {  # percent: relu, elu, gelu, as in the docstring
    ("SO(2)", 3): (16, 3.0, 0.73, 0.63),
    ("O(2)", 3): (16, 3.0, 0.73, 0.63),
    ("SO(3)", 2): (192, 1.1, 0.28, 0.41),
    ("SO(3)", 3): (240, 2.0, 0.53, 0.77),
    ("O(3)", 2): (384, 0.64, 0.15, 0.19),
}
GROUPS = {"SO(2)": ej.SO(2), "O(2)": ej.O(2), "SO(3)": ej.SO(3), "O(3)": ej.O(3)}


def errors(fibre, activations, elements, x):
    """Relative error of layer(g·x) = g·layer(x), root mean square over vectors, ``(elements, activations)``."""
    layers = [ej.nn.FourierNonlinearity(fibre, activation) for activation in activations]

    @jax.jit
    def measure(moves):
        def one(move):
            turn = lambda z: jnp.einsum("ij,bjf->bif", move, z)  # noqa: E731
            pairs = [(layer(turn(x)), turn(layer(x))) for layer in layers]
            return jnp.stack([((a - b) ** 2).sum() / (b**2).sum() for a, b in pairs])

        return jnp.sqrt(jax.lax.map(one, moves))

    return np.asarray(measure(matrices(fibre, elements)))


@pytest.mark.parametrize(("name", "degree"), STATED)
def test_stated_error_and_exact_cases(name, degree):
    group, (count, *stated) = GROUPS[name], STATED[name, degree]
    fibre = band_limited(group, degree)
    assert ej.nn.FourierNonlinearity(fibre).sample_count == count
    x = randn((200, fibre.dim, 1))
    functions = (jax.nn.relu, jax.nn.elu, jax.nn.gelu, jnp.square, lambda f: f**3)
    symmetry = ej.Cyclic(4) if name in ("SO(2)", "O(2)") else ej.Octahedral()
    kept = [jnp.asarray(c) @ h for c in group.components for h in symmetry.matrices[:8]]
    found = errors(fibre, functions, [*group.sample(jax.random.key(3), (48,)), *kept], x)
    assert found[48:].max() <= 1e-12
    assert found[:, 3:].max() <= 1e-12
    mean = 100 * np.sqrt((found[:48, :3] ** 2).mean(0))
    assert (mean <= 1.25 * np.array(stated)).all()
    assert (mean >= 0.75 * np.array(stated)).all()


@pytest.mark.parametrize("group", [ej.Dihedral(3), QUATERNIONS, ej.Cyclic(5)], ids=["D3", "Q8", "C5"])
def test_finite_groups_are_exact(group):
    fibre = direct_sum(*(irrep for irrep in irreps(group) for _ in range(irrep.dim // irrep.commutant_dim)))
    layer = ej.nn.FourierNonlinearity(fibre)
    assert layer.sample_count == group.order == fibre.dim
    x = randn((3, fibre.dim, 2))
    assert Law([(layer, fibre)], fibre, range(group.order)).errors(x).max() <= 1e-12
    identity = ej.nn.FourierNonlinearity(fibre, lambda f: f)
    np.testing.assert_allclose(identity(x), x, atol=1e-13)


def test_a_part_of_the_irreps_and_reordered_ones():
    group = ej.Dihedral(3)
    fibre = Irrep(group, 2) + Irrep(group, 0)
    x = randn((3, 3, 2))
    assert Law([(ej.nn.FourierNonlinearity(fibre), fibre)], fibre, range(6)).errors(x).max() <= 1e-12
    assert (
        Law([(ej.nn.FourierNonlinearity(Regular(group)), Regular(group))], Regular(group), range(6))
        .errors(randn((3, 6, 2)))
        .max()
        <= 1e-12
    )


def test_derivative_along_the_rotations():
    fibre = band_limited(ej.SO(2), 2)
    layers = [(ej.nn.FourierNonlinearity(fibre, jnp.square), fibre), (ej.nn.FourierNonlinearity(fibre), fibre)]
    found = Law(layers, fibre, some_elements(ej.SO(2))).errors(randn((3, 5, 2)))
    assert found[0].max() <= 1e-12
    assert found[1].max() > 1e-3


def test_samples_that_no_quarter_turn_maps_to_themselves_are_refused():
    fibre = band_limited(ej.SO(2), 3)
    check_message(lambda: ej.nn.FourierNonlinearity(fibre, samples=25), ValueError, ["`samples`", "25", "28"])
    check_message(lambda: ej.nn.FourierNonlinearity(fibre, samples=4), ValueError, ["`samples`", "more samples"])
    hexagonal = ej.nn.FourierNonlinearity(fibre, samples=18, symmetry=ej.Cyclic(6))
    assert hexagonal.sample_count == 18
    check_message(lambda: ej.nn.FourierNonlinearity(band_limited(ej.SO(3), 1), samples=25), ValueError, ["`samples`", "48"])


def test_fibres_that_are_no_functions_are_refused():
    so2, o3, d3 = ej.SO(2), ej.O(3), ej.Dihedral(3)
    check_message(lambda: ej.nn.FourierNonlinearity(2 * Irrep(so2, 1)), ValueError, ["at most 1", "features"])
    check_message(lambda: ej.nn.FourierNonlinearity(Irrep(o3, 1, parity=1)), ValueError, ["sphere", "parity"])
    check_message(lambda: ej.nn.FourierNonlinearity(3 * Irrep(d3, 2)), ValueError, ["at most 2"])
    check_message(lambda: ej.nn.FourierNonlinearity(ej.reps.Vector(ej.Lorentz())), ValueError, ["not orthogonal"])
    check_message(lambda: ej.nn.FourierNonlinearity(ej.reps.Vector(ej.SO(4))), ValueError, ["SO(4)"])


def test_what_is_claimed():
    assert ej.nn.FourierNonlinearity(Regular(ej.Cyclic(3))).exactness((3, 2)).kept.is_everything
    layer = ej.nn.FourierNonlinearity(band_limited(ej.O(2), 1))
    found = layer.exactness((3, 2))
    assert "samples" in found.reason
    assert not found.kept.is_everything
    assert found.elements().shape == (16, 2, 2)
    x = randn((4, 3, 2))
    assert ej.equivariance_error(layer, found.in_action, found.out_action, x, found.elements()).max() <= 1e-12
    others = ej.O(2).sample(jax.random.key(0), (4,))
    assert ej.equivariance_error(layer, found.in_action, found.out_action, x, others).min() > 1e-3
    chain = ej.nn.Sequential(
        layer, ej.nn.FourierNonlinearity(layer.in_fibre, samples=12), ej.nn.InvariantPool(layer.in_fibre)
    )
    found = chain.exactness((3, 2))
    assert found.elements().shape == (8, 2, 2)  # the eighths of a turn of the first layer, the twelfths of the second
    assert ej.equivariance_error(chain, found.in_action, found.out_action, x, found.elements()).max() <= 1e-12


@pytest.mark.parametrize(("group", "count"), [(ej.SO(3), 24), (ej.O(3), 48)], ids=["SO(3)", "O(3)"])
def test_rotations_of_the_cube_are_claimed(group, count):
    layer = ej.nn.FourierNonlinearity(band_limited(group, 1))
    found = layer.exactness((4, 2))
    assert found.elements().shape == (count, 3, 3)
    x = randn((2, layer.in_fibre.dim, 2))
    assert ej.equivariance_error(layer, found.in_action, found.out_action, x, found.elements()).max() <= 1e-12
