"""A frozen network gives the same numbers, keeps its symmetry, and has no kernels to train."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import equijax as ej
from equijax.nn._frozen import FrozenKernel
from tests.contract.cases import CASES, P4M
from tests.helpers import options, randn

CONVOLUTIONS = [case for case in CASES if any(word in case.name for word in ("Conv", "Linear", "Depthwise", "Separable"))]


def network(algorithm=None, padding="CIRCULAR"):
    """A group CNN for images of 8 × 8 pixels, with a batch norm that has seen some."""
    given = options(P4M, padding=padding, algorithm=algorithm)
    model = ej.nn.Sequential(
        ej.nn.LiftingConv(1, 3, 3, **given),
        ej.nn.BatchNorm(3, group=P4M, param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
        nnx.relu,
        ej.nn.GroupConv(3, 4, 3, **given),
        nnx.relu,
        ej.nn.GroupConv(4, 2, 1, **given),
        ej.nn.GlobalPool("mean", group=P4M),
        ej.nn.FibrePool("max", group=P4M),
    )
    model(randn((4, 8, 8, 1), 7) + 1.0)
    return model


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-13 * float(np.max(np.abs(expected))), rtol=0)


def kernels(model):
    return [module for _, module in nnx.iter_graph(model) if isinstance(module, FrozenKernel)]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=lambda case: case.name)
def test_every_layer_gives_the_same_numbers_and_gradients(case):
    layer = case.build()
    if not isinstance(layer, nnx.Module) or not hasattr(layer, "in_action"):
        pytest.skip("no module")
    x = randn((2, *case.shape))
    frozen, before = ej.nn.freeze(layer), jax.tree.leaves(nnx.state(layer))
    close(frozen(x), layer(x))
    gradient = lambda model: jax.grad(lambda x: jnp.sum(jnp.sin(model(x))))(x)  # noqa: E731
    close(gradient(frozen), gradient(layer))
    assert all(map(jnp.array_equal, before, jax.tree.leaves(nnx.state(layer))))


@pytest.mark.parametrize("algorithm", ["auto", "dense", "frequency", "group"])
@pytest.mark.parametrize("shape", [None, (4, 8, 8, 1)])
def test_a_network_under_every_algorithm(algorithm, shape):
    model = network(algorithm)
    frozen = ej.nn.freeze(model, shape)
    model.eval()
    for x in (randn((4, 8, 8, 1)), randn((3, 6, 6, 1))):
        expected = model(x)
        close(frozen(x), expected)
        close(nnx.jit(lambda model, x: model(x))(frozen, x), expected)
        close(jax.vmap(frozen)(x[:, None]), expected[:, None])
        ej.testing.check_equivariance(frozen, model.in_action, model.out_action, x)
    assert [bool(kernel.spectrum) for kernel in kernels(frozen)][0] is (algorithm == "frequency" and shape is not None)


def test_no_kernel_is_left_to_train():
    model = network()
    frozen = ej.nn.freeze(model, (4, 8, 8, 1))
    names = ["".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(frozen, nnx.Param))]
    assert names
    assert not any("kernel" in name for name in names)
    assert len(kernels(frozen)) == 3
    assert not kernels(model)


def test_a_frozen_network_uses_running_averages_and_the_network_stays_in_training():
    model = network()
    x = randn((4, 8, 8, 1), 3) + 5.0
    frozen = ej.nn.freeze(model)
    assert not np.allclose(frozen(x), model(x), atol=1e-3)
    again = ej.nn.freeze(ej.nn.freeze(model), x.shape)
    close(again(x), ej.nn.freeze(model)(x))


def test_other_parameters_are_other_numbers():
    """The negative control: what is frozen is what the layer held at that time."""
    layer = ej.nn.GroupConv(2, 3, 3, **options(P4M))
    frozen, x = ej.nn.freeze(layer), randn((2, 5, 5, 8, 2))
    before = layer(x)
    layer.kernel[...] = layer.kernel[...].at[0].add(1.0)
    close(frozen(x), before)
    assert not np.allclose(layer(x), before, atol=1e-3)


def test_it_is_exported_for_two_platforms_and_elsewhere_dense():
    model = network("auto")
    frozen, x = ej.nn.freeze(model, (4, 8, 8, 1)), randn((4, 8, 8, 1))
    program = export.export(jax.jit(lambda x: frozen(x)), platforms=("cpu", "cuda"))(x)
    close(program.call(x), frozen(x))
    text = jax.jit(lambda x: frozen(x)).trace(x).lower(lowering_platforms=("cuda",)).as_text()
    assert not re.search(r"stablehlo\.(while|case|gather)", text)
    assert text.count("stablehlo.convolution") == 3


@pytest.mark.parametrize("padding", ["CIRCULAR", "SAME"])
@pytest.mark.parametrize("algorithm", ["auto", "group"])
def test_the_audit_finds_in_a_frozen_network_what_it_finds_in_the_network(padding, algorithm):
    model = network(algorithm, padding)
    x = randn((2, 8, 8, 1))
    model.eval()
    torus = network().in_action
    reports = [ej.audit.explain(m, x, in_action=torus) for m in (model, ej.nn.freeze(model, x.shape))]
    rows = [[(row.name, row.judgement) for row in report.rows] for report in reports]
    assert rows[0] == rows[1]
    assert reports[0].exact is reports[1].exact is (padding == "CIRCULAR")


def test_half_precision_stays_that_of_the_layer():
    layer = ej.nn.GroupConv(2, 3, 3, group=P4M, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    x = randn((2, 5, 5, 8, 2), dtype=jnp.float32)
    frozen = ej.nn.freeze(layer, x.shape)
    assert frozen(x).dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(frozen(x)), np.float32(layer(x)), atol=0.05)


def test_wrong_input_is_answered():
    layer = ej.nn.GroupConv(2, 3, 3, **options(P4M))
    with pytest.raises(TypeError, match="`model` is .* must be a Flax module"):
        ej.nn.freeze(lambda x: x)
    with pytest.raises(TypeError, match="`input_shape`"):
        ej.nn.freeze(layer, "8 by 8")
    with pytest.raises(ValueError, match="`inputs` has"):
        ej.nn.freeze(layer, (2, 5, 5, 4, 2))
    with pytest.raises(ValueError, match="`inputs` has"):
        ej.nn.freeze(layer)(jnp.ones((2, 5, 5, 4, 2)))
