"""Layers on fields of rotations and Lorentz transformations."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import Irrep, Scalar, Vector
from tests.helpers import check_message, randn
from tests.nn.fields.laws import Law, some_elements, trained
from tests.nn.fields.test_fields import NORMS, TOLERANCE, build, options

SO2, O2, SO3, O3, LORENTZ = ej.SO(2), ej.O(2), ej.SO(3), ej.O(3), ej.Lorentz()
FIBRES = {
    "SO(2)": Scalar(SO2) + Irrep(SO2, 1) + Irrep(SO2, 3),
    "O(2)": Scalar(O2) + Irrep(O2, 0, parity=-1) + 2 * Irrep(O2, 1),
    "SO(3)": Scalar(SO3) + 2 * Vector(SO3) + Irrep(SO3, 2),
    "O(3)": Scalar(O3) + Irrep(O3, 1, parity=-1) + Irrep(O3, 1, parity=1),
}


def gated(fibre):
    """A gate behind a linear map that gives it the scalars."""
    gate = ej.nn.Gate(fibre)
    return ej.nn.Bilinear(4, 3, fibre, gate.in_fibre, **options()), gate


SLOW = ("SO(2)", "O(2)", "O(3)")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in FIBRES])
def test_rotations(name):
    fibre = FIBRES[name]
    layers = [build(kind, fibre) for kind in ("NormNonlinearity", "Bilinear", *NORMS)]
    linear, gate = gated(fibre)
    pool = ej.nn.InvariantPool(fibre)
    chain = lambda x: gate(linear(x))  # noqa: E731
    law = Law([(layer, layer.out_fibre) for layer in (*layers, pool)] + [(chain, fibre)], fibre, some_elements(fibre.group))
    x = randn((3, fibre.dim, 4))
    assert law.errors(x).max() <= TOLERANCE
    trained(layers, x)
    assert law.errors(x).max() <= TOLERANCE


def test_lorentz_group():
    fibre = 2 * Scalar(LORENTZ) + 2 * Vector(LORENTZ)
    layer = ej.nn.Bilinear(4, 3, fibre, **options())
    linear, gate = gated(fibre)
    law = Law([(layer, fibre), (lambda x: gate(linear(x)), fibre)], fibre, some_elements(LORENTZ))
    x = randn((3, fibre.dim, 4))
    assert law.errors(x).max() <= TOLERANCE
    trained([layer], x)
    assert law.errors(x).max() <= TOLERANCE
    check_message(lambda: build("FieldRMSNorm", fibre), ValueError, ["not orthogonal", "Gate", "Bilinear"])
    check_message(lambda: ej.nn.InvariantPool(fibre), ValueError, ["not orthogonal"])


def test_negative_control():
    fibre = FIBRES["SO(3)"]
    one_coordinate = lambda x: x * x[..., 1:2, :]  # noqa: E731
    assert Law([(one_coordinate, fibre)], fibre, some_elements(SO3)).errors(randn((3, fibre.dim, 4))).min() > 0.01


def test_products_of_vectors_of_space():
    layer = ej.nn.Bilinear(2, 1, Vector(SO3), Vector(SO3), **options())
    x = randn((10, 3, 2))
    left, right = (np.asarray(x @ m[...])[..., 0] for m in (layer.left, layer.right))
    np.testing.assert_allclose(layer(x)[..., 0], np.cross(left, right) * _factor(layer, x), rtol=1e-10)
    dot = ej.nn.Bilinear(2, 1, Vector(LORENTZ), Scalar(LORENTZ), **options())
    assert dot.kernel.shape == (1, 1)
    assert isinstance(dot.kernel, nnx.Param)


def _factor(layer, x):
    """The weight of the only path, read off one entry."""
    left, right = (np.asarray(x @ m[...])[0, :, 0] for m in (layer.left, layer.right))
    return float(layer(x)[0, 0, 0]) / np.cross(left, right)[0]


def test_dimensions_of_a_gate():
    gate = ej.nn.Gate(FIBRES["SO(3)"])
    assert (gate.gates, gate.in_fibre.dim) == (3, 3 + 12)
    x = randn((2, 15, 4))
    y = gate(x)
    np.testing.assert_allclose(y[:, 1:4], x[:, 4:7] / (1 + jnp.exp(-x[:, :1])), rtol=1e-12)
    np.testing.assert_allclose(y[:, 0], x[:, 3] / (1 + jnp.exp(-x[:, 3])), rtol=1e-12)
