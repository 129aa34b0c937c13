"""Networks between two representations of any group."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import Irrep, PermutationRepresentation, Regular, Scalar, Vector, tensors
from tests.helpers import KERNEL, check_message, randn
from tests.nn.fields.laws import Law, some_elements, trained

S3 = ej.FiniteGroup.from_permutations([[1, 2, 0], [1, 0, 2]])
POINTS = PermutationRepresentation.from_generators(S3, [[1, 2, 0], [1, 0, 2]])


def model(in_rep, out_rep, **more):
    options = {"in_features": 2, "hidden": 24, "layers": 2, "param_dtype": jnp.float64, "kernel_init": KERNEL}
    return ej.nn.EMLP(in_rep, out_rep, **{**options, "rngs": nnx.Rngs(0), **more})


CASES = {
    "O(3) inertia": (Vector(ej.O(3)), tensors(Vector(ej.O(3)), 2)),
    "Lorentz": (Vector(ej.Lorentz()), Scalar(ej.Lorentz())),
    "SL(2)": (Vector(ej.SL(2)) + Scalar(ej.SL(2)), Vector(ej.SL(2))),
    "SE(3)": (Vector(ej.SE(3)), Vector(ej.SE(3))),
    "S3": (POINTS, POINTS),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "Lorentz")) for n in CASES])
def test_law_before_and_after_training(name):
    in_rep, out_rep = CASES[name]
    network, group = model(in_rep, out_rep, layers=1), in_rep.group
    elements = range(6) if group == S3 else some_elements(group)
    law = Law([(network, out_rep)], in_rep, elements)
    x = 0.5 * randn((4, in_rep.dim, 2))
    assert law.errors(x).max() <= 1e-12
    trained([network], x)
    assert law.errors(x).max() <= 1e-12
    assert float(jnp.abs(network(x)).max()) > 0


@pytest.mark.parametrize("group", [ej.SE(3), pytest.param(ej.E(2), marks=pytest.mark.slow)], ids=repr)
def test_representations_of_rigid_motions_in_layers_without_a_grid(group):
    v = Vector(group)
    options = {"rngs": nnx.Rngs(0), "group": group, "param_dtype": jnp.float64}
    layers = [ej.nn.Gate(v, group=group), ej.nn.Bilinear(2, 2, v, **options), model(v, v, layers=1, group=group)]
    for layer in layers:
        fibre = layer.in_action.fibre
        x = 0.5 * randn((4, fibre.dim, 2))
        error = Law([(layer, layer.out_action.vector.fibre)], fibre, some_elements(group)).errors(x).max()
        assert error <= 1e-12
        assert layer.exactness(x.shape).kept.is_everything


def test_it_learns_the_square_of_a_vector():
    import optax

    in_rep, out_rep = Vector(ej.O(3)), Scalar(ej.O(3))
    network = ej.nn.EMLP(in_rep, out_rep, hidden=32, layers=1, rngs=nnx.Rngs(0))
    x = randn((64, 3, 1), dtype=jnp.float32)
    target = (x**2).sum(-2)
    optimizer = nnx.Optimizer(network, optax.adam(0.02), wrt=nnx.Param)

    @nnx.jit
    def step(network, optimizer):
        loss, gradient = nnx.value_and_grad(lambda network: jnp.mean((network(x) - target) ** 2))(network)
        optimizer.update(network, gradient)
        return loss

    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to a count
        losses = [float(step(network, optimizer)) for _ in range(150)]
    assert losses[-1] < 0.02 * losses[0]


def test_state_shapes_and_actions():
    network = model(POINTS, Scalar(S3), hidden_rep=Regular(S3))
    assert network(jnp.ones((5, 3, 2))).shape == (5, 1)
    assert network.out_action_for(network.in_action).plain == ej.FibreAction(Scalar(S3))
    tree = nnx.to_pure_dict(nnx.state(network))
    assert set(tree) == {"blocks", "linear"}
    assert set(tree["blocks"][0]) == {"bilinear", "linear"}
    assert set(tree["blocks"][0]["bilinear"]) == {"kernel", "left", "right"}
    graph, state = nnx.split(network)
    assert hash(graph) == hash(nnx.split(model(POINTS, Scalar(S3), hidden_rep=Regular(S3)))[0])
    x = randn((5, 3, 2))
    np.testing.assert_array_equal(nnx.merge(graph, state)(x), network(x))
    np.testing.assert_allclose(jax.jit(jax.vmap(network))(x), network(x), rtol=1e-12)


def test_hidden_representation():
    network = model(Vector(ej.SO(3)), tensors(Vector(ej.SO(3)), 2), hidden=60)
    degrees = {getattr(part, "index", 0) for part in network.hidden_rep.parts}
    assert degrees == {0, 1, 2}
    assert model(POINTS, POINTS, hidden_rep=POINTS).hidden_rep == POINTS


@pytest.mark.parametrize("layers", [1, 3])
def test_actions_for_any_number_of_layers(layers):
    network = model(POINTS, Scalar(S3), hidden_rep=Regular(S3), layers=layers)
    assert network.out_action.plain == ej.FibreAction(Scalar(S3))
    with pytest.raises(ValueError, match="in_action"):
        network.out_action_for(ej.FibreAction(Regular(S3)))


def test_bad_input_is_explained():
    v = Vector(ej.O(3))
    check_message(lambda: model(v, Scalar(ej.O(2))), ValueError, ["`out_rep`", "O(2)"])
    check_message(lambda: model("v", v), TypeError, ["`in_rep`"])
    check_message(lambda: model(v, v, group=ej.O(2)), ValueError, ["`in_rep`"])
    moved = Vector(ej.SE(3))
    check_message(lambda: model(moved, Vector(ej.SO(3))), ValueError, ["`out_rep`", "SO(3)", "SE(3)", "Build both"])
    check_message(lambda: model(moved, v, group=ej.SE(3)), ValueError, ["`out_rep`", "O(3)", "or from the group itself"])
    check_message(lambda: model(v, v, hidden_rep=Scalar(ej.O(2))), ValueError, ["`hidden_rep`"])
    check_message(lambda: model(v, v, layers=0), ValueError, ["`layers`"])
    check_message(lambda: model(v, v)(jnp.ones((4, 3, 1))), ValueError, ["`inputs`"])
    check_message(lambda: Irrep(ej.Lorentz(), 1), ValueError, ["irreps"])
