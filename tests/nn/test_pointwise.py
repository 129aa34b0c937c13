"""Layers claim nothing of activations that mix what the group moves, and believe those that act on numbers."""

import functools

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import equijax as ej
from equijax.nn._pointwise import keeps_entries_apart
from equijax.reps import Regular, Scalar, Vector, band_limited
from tests.helpers import check_message

P4 = ej.wallpaper("p4")
TABLE = jnp.linspace(0.0, 1.0, 5)


class Learned(nnx.Module):
    """One learned slope for each feature."""

    def __init__(self):
        self.slope = nnx.Param(jnp.ones(3))

    def __call__(self, x):
        return x * jnp.broadcast_to(self.slope[...].astype(x.dtype), x.shape)


@jax.custom_vjp
def _own(x):
    return jnp.tanh(x)


_own.defvjp(lambda x: (jnp.tanh(x), x), lambda x, t: (t,))

POINTWISE = {
    **{
        name: getattr(jax.nn, name)
        for name in """relu relu6 silu gelu elu celu selu softplus sigmoid log_sigmoid leaky_relu hard_tanh hard_sigmoid
        hard_silu soft_sign squareplus mish""".split()
    },
    "tanh": jnp.tanh,
    "identity": lambda x: x,
    "jit": jax.jit(jax.nn.gelu),
    "partial": functools.partial(jax.nn.gelu, approximate=False),
    "custom_vjp": _own,
    "checkpoint": jax.checkpoint(jnp.sin),
    "where": lambda x: jnp.where(x > 0, x, jnp.expm1(x)),
    "clip": lambda x: jnp.clip(x, -1, 1),
    "polynomial": lambda x: x**3 - 2 * x**2 + 0.5,
    "vmap": lambda x: jax.vmap(jax.nn.relu, in_axes=1, out_axes=1)(x),
    "looked up": lambda x: jnp.interp(x, TABLE, TABLE**2),
    "loop": lambda x: jax.lax.fori_loop(0, 3, lambda _, y: jnp.sin(y), x),
    "constant": jnp.zeros_like,
    "features": lambda x: jax.nn.softmax(x, axis=-1),
    "learned": Learned(),
}
MIXING = {
    "cumsum": lambda x: jnp.cumsum(x, -3),
    "jitted": jax.jit(lambda x: jnp.cumsum(x, -3)),
    "softmax": lambda x: jax.nn.softmax(x, axis=-2),
    "mean": lambda x: x - x.mean(0, keepdims=True),
    "flip": lambda x: x[::-1],
    "roll": lambda x: jnp.roll(x, 1, axis=1),
    "take": lambda x: jnp.take(x, jnp.arange(x.shape[0])[::-1], axis=0),
    "fft": lambda x: jnp.fft.fft(x, axis=0).real,
    "sort": lambda x: jnp.sort(x, axis=1),
    "table": lambda x: x * jnp.arange(x.shape[1], dtype=x.dtype)[None, :, None],
    "scan": lambda x: jax.lax.scan(lambda c, y: (c + y, c + y), x[0], x)[1],
    "transpose": lambda x: jnp.swapaxes(x, 0, 1),
    "shorter": lambda x: x[:1],
}


@pytest.mark.parametrize("name", POINTWISE)
def test_functions_of_numbers_are_recognised(name):
    assert keeps_entries_apart(POINTWISE[name], (4, 4, 3), 2)
    assert keeps_entries_apart(POINTWISE[name], (1, 1, 3), 2)


@pytest.mark.parametrize("name", MIXING)
def test_functions_that_mix_are_recognised(name):
    assert not keeps_entries_apart(MIXING[name], (4, 4, 3), 2)
    assert not keeps_entries_apart(MIXING[name], (1, 4, 3), 2)


def test_a_function_is_read_anew_when_what_it_closes_over_has_changed():
    kind = [jax.nn.relu]
    fn = lambda x: kind[0](x)  # noqa: E731
    assert keeps_entries_apart(fn, (4, 4, 3), 2)
    kind[0] = MIXING["cumsum"]
    assert not keeps_entries_apart(fn, (4, 4, 3), 2)


def cumulative(axis):
    return lambda x: jnp.cumsum(x, axis)


def layers(mixing):
    """Layers with a pointwise function, or with one that mixes what each of them must keep apart; their input shapes."""
    grid = cumulative(-3) if mixing else jax.nn.relu
    fibre = cumulative(-2) if mixing else jax.nn.relu
    p4 = {"group": P4}
    vector, regular = Vector(P4.point_group), Regular(P4.point_group)
    c5 = band_limited(ej.SO(2), 2)
    return {
        "norm": (
            ej.nn.NormNonlinearity(3, 2 * vector, grid, rngs=nnx.Rngs(0), param_dtype=jnp.float64, **p4),
            (8, 8, 4, 3),
            "activation",
        ),
        "gate": (ej.nn.Gate(vector, grid, **p4), (8, 8, 3, 3), "gate"),
        "gate activation": (ej.nn.Gate(regular, activation=fibre, **p4), (8, 8, 4, 3), "activation"),
        "gate scalars": (ej.nn.Gate(vector + Scalar(P4.point_group), activation=fibre, **p4), (8, 8, 4, 3), "activation"),
        "fourier": (ej.nn.FourierNonlinearity(c5, fibre), (2, 5, 3), "activation"),
    }


@pytest.mark.parametrize("kind", ["norm", "gate", "gate activation", "gate scalars", "fourier"])
def test_layers_claim_nothing_of_functions_that_mix(kind):
    layer, shape, name = layers(True)[kind]
    found = layer.exactness(shape)
    assert not found.kept.is_known and f"`{name}`" in found.reason and "jax.nn.relu" in found.reason
    assert layer(jnp.ones(shape)).shape == layer.out_shape(shape)
    layer, shape, _ = layers(False)[kind]
    assert layer.exactness(shape).kept.is_known and layer.exactness(shape).keeps_point_group == (kind != "fourier")


def test_a_gate_whose_fibre_is_all_gated_does_not_ask_the_activation():
    layer = ej.nn.Gate(Vector(P4.point_group), activation=cumulative(-2), group=P4)
    assert layer.exactness((8, 8, 3, 3)).kept.is_everything


def test_filtered_activations_and_chains():
    shape, claims = (1, 8, 8, 4, 3), {}
    for name, fn in {"relu": jax.nn.relu, "cumsum": cumulative(1)}.items():
        filtered = ej.nn.FilteredActivation(3, 2, activation=fn, fibre=True)
        chain = ej.nn.Sequential(ej.nn.LiftingConv(3, 3, 3, padding="CIRCULAR", group=P4, rngs=nnx.Rngs(0)), filtered)
        claims[name] = chain.exactness((1, 8, 8, 3)).kept
        exactness = filtered.exactness_for(ej.GridAction(P4, Regular(P4.point_group)), shape)
        assert exactness.kept.is_known == (name == "relu")
    assert claims["relu"].keeps_point_group and not claims["cumsum"].is_known


def test_norms_of_vectors_and_a_chain_with_one():
    v = Vector(ej.O(3))
    assert ej.nn.NormNonlinearity(3, v, rngs=nnx.Rngs(0)).exactness((5, 3, 3)).kept.is_everything
    chain = ej.nn.Sequential(ej.nn.NormNonlinearity(3, v, cumulative(0), rngs=nnx.Rngs(0)))
    out_action = chain.exactness((5, 3, 3)).out_action
    check_message(lambda: out_action(jnp.eye(3), jnp.ones((5, 3, 3))), ValueError, ["`activation`"])
