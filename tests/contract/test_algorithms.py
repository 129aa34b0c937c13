"""Every layer with an algorithm keeps its law under each of them, and is the same map."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.nn._trilinear import trilinear_p
from tests.contract.cases import CASES, CUBE, P4M, P6, _conv
from tests.contract.test_contract import batch, check_law, like
from tests.helpers import compiled, options, randn

#: Windows of one sample, which the suite else has on plain groups only.
ONE_SAMPLE = [
    _conv("GroupConv", P4M, (4, 4, 8, 2), 1, label="GroupConv p4m one sample"),
    _conv("GroupConv", P6, (3, 3, 6, 2), 1, label="GroupConv p6 one sample"),
    _conv("ProjectionConv", CUBE, (2, 2, 2, 24, 2), 1, label="ProjectionConv cube one sample"),
]


def with_algorithm(layer):
    """The convolutions of a layer: those of its parts that have an algorithm."""
    return [module for _, module in nnx.iter_modules(layer) if hasattr(module, "algorithm")]


HAVING = [case for case in CASES + ONE_SAMPLE if with_algorithm(nnx.eval_shape(case))]


def under(case, algorithm):
    """The layer of a case with all of its convolutions under one algorithm."""
    layer = like(case)
    layer.set_attributes(algorithm=algorithm, raise_if_not_found=False)
    return layer


@functools.cache
def program(case, algorithm):
    """The program of a layer before anything is chosen for a platform: the forms of its convolutions, and all of it."""
    traced = jax.make_jaxpr(under(case, algorithm))(batch(case, 2))
    return any(eqn.primitive is trilinear_p for eqn in traced.eqns), str(traced)


def test_the_cases_that_have_an_algorithm():
    names = [case.name for case in HAVING]
    assert {"SetConv", "Sequential", "PolyphaseResidual", "PolyphaseStage", "ConvTranspose p4", "Conv two orbits"} <= set(
        names
    )
    own = {algorithm: sum(program(case, algorithm)[0] for case in HAVING) for algorithm in ("frequency", "group")}
    assert own["frequency"] >= 12 and own["group"] >= 5, own
    assert not any(program(case, "dense")[0] for case in HAVING)


@pytest.mark.parametrize("algorithm", ["frequency", "group"])
@pytest.mark.parametrize("case", HAVING, ids=lambda case: case.name, scope="module")
def test_law_and_agreement(case, algorithm):
    """Where an algorithm covers nothing of a layer, its program is the dense one to the letter, whose law stands."""
    own, text = program(case, algorithm)
    if not own:
        assert text == program(case, "dense")[1]
        return
    layer, x = under(case, algorithm), batch(case, 2)
    expected = np.asarray(compiled(under(case, "dense"))(x))
    np.testing.assert_allclose(compiled(layer)(x), expected, rtol=0, atol=1e-13 * np.max(np.abs(expected)))
    check_law(layer, x)


@pytest.mark.slow  # the suite runs it as "auto", which is dense for layers as small as these
@pytest.mark.parametrize("case", HAVING, ids=lambda case: case.name, scope="module")
def test_law_under_the_dense_algorithm(case):
    check_law(under(case, "dense"), batch(case, 2))


def test_a_kernel_that_is_not_shared_is_seen():
    """The negative control: the window of a translation layer is not that of quarter turns."""
    plain, turned = (
        ej.nn.Conv(2, 3, 3, padding="CIRCULAR", **options(group, algorithm="frequency"))
        for group in (ej.Translation(2), ej.wallpaper("p4"))
    )
    with pytest.raises(AssertionError):
        ej.testing.check_equivariance(compiled(plain), turned.in_action, turned.out_action, randn((2, 5, 5, 2)))
