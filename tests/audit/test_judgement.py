"""What an audit may call kept: elements reach every layer, and what the input does not try is not judged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.audit.networks import Chain, conv, linear, mean

SHIFTS = ej.GridAction(ej.Translation(2))
TURNS = ej.GridAction(ej.wallpaper("p4"), ej.reps.Scalar(ej.wallpaper("p4").point_group))
IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16, 16, 3)))


def explained(model, x=IMAGE, action=SHIFTS, **more):
    return ej.audit.explain(model, x, in_action=action, **more)


def blamed(report):
    return {row.name: {cause.kind for cause in row.causes} for row in report.accused}


def strided(features, out, size, **more):
    return conv(features, out, k=size, strides=2, **more)


def test_every_layer_behind_a_stride_is_judged():
    """A stride takes the unit shifts away; longer ones find the padding and the stride behind it."""
    model = Chain("a", jnp.tanh, "b", jnp.tanh, "c", jnp.tanh, mean,
                  a=strided(3, 4, 3), b=conv(4, 4, padding="SAME"), c=strided(4, 4, 1))  # fmt: skip
    found = explained(model)
    assert blamed(found) == {"a": {"phase"}, "b": {"border"}, "c": {"phase"}}
    assert found.elements == ("shift (1, 0)", "shift (0, 1)", "shift (2, 2)", "shift (4, 4)")
    assert abs(sum(row.share for row in found.rows) - 1) <= 1e-9
    assert all(row.local_error > 0.1 for row in found.accused)


def test_turns_reach_the_layers_behind_a_stride():
    """A quarter turn of an even grid moves the samples of a stride between each other; with a shift it does not."""
    model = Chain("a", jnp.tanh, "b", jnp.tanh, mean, a=strided(3, 4, 1), b=conv(4, 4))
    found = explained(model, action=TURNS)
    assert blamed(found)["b"] == {"kernel"}
    assert any("turn" in label and "shift" in label for label in found.elements)


class Branches(nnx.Module):
    """A strided layer beside another one, as in a residual block."""

    def __init__(self):
        self.main, self.short = strided(3, 4, 3), strided(3, 4, 1, seed=1)

    def __call__(self, x):
        return jnp.tanh(self.main(x) + self.short(x)).mean((1, 2))


def test_a_branch_beside_another_is_accused_too():
    assert blamed(explained(Branches())) == {"main": {"phase"}, "short": {"phase"}}


class Decoder(nnx.Module):
    """Down by a choice of the data, and up again by one of three ways."""

    def __init__(self, up, padding="CIRCULAR"):
        rngs = nnx.Rngs(0)
        self.down = ej.nn.PolyphaseConv(3, 4, (3, 3), 2, param_dtype=float, rngs=rngs)
        self.middle = conv(4, 4, padding=padding)
        self.up = up
        self.last = conv(7, 4)

    def __call__(self, x):
        y, choice = self.down.with_choice(x)
        y = jnp.tanh(self.middle(y))
        y = self.up(y, choice) if isinstance(self.up, ej.nn.PolyphaseUpsample) else self.up(y)
        return jnp.tanh(self.last(jnp.concatenate([jnp.tanh(y), x], -1))).mean((1, 2))


def transposed():
    return nnx.ConvTranspose(4, 4, (2, 2), strides=2, padding="CIRCULAR", param_dtype=float, rngs=nnx.Rngs(3))


def test_who_ignores_a_choice_is_accused_and_not_who_makes_it():
    found = explained(Decoder(transposed()))
    assert blamed(found) == {"up": {"phase"}}
    (cause,) = found["up"].causes
    assert "PolyphaseUpsample" in cause.replacement and "up" not in cause.replacement.split("`")[0]


def test_a_choice_that_is_handed_on_is_kept():
    explained(Decoder(ej.nn.PolyphaseUpsample((2, 2)))).assert_exact()


def test_a_layer_between_is_judged_through_the_choice():
    assert blamed(explained(Decoder(ej.nn.PolyphaseUpsample((2, 2)), padding="SAME"))) == {"middle": {"border"}}


def faint(x):
    return jax.nn.sigmoid(1e-9 * x)


def silent(x):
    return jax.nn.relu(x - 1e3)


def saturated(x):
    return jnp.tanh(1e3 + 0.01 * x)


def bad():
    return conv(3, 4, padding="SAME")


ZEROS, ONES = jnp.zeros_like(IMAGE), jnp.ones_like(IMAGE)
#: Networks with a fault that the input does not show, and inputs that try nothing.
VAIN = {
    "zero input": (Chain("bad", jnp.tanh, mean, bad=bad()), ZEROS),
    "constant input": (Chain("good", jnp.tanh, mean, good=conv(3, 4)), ONES),
    "one value a channel": (Chain("good", jnp.tanh, mean, good=conv(3, 4)), jnp.broadcast_to(jnp.arange(3.0), IMAGE.shape)),
    "dead": (Chain("bad", silent, mean, "head", bad=bad(), head=linear(4, 2)), IMAGE),
    "dead and dense": (Chain("bad", silent, lambda x: x.reshape(4, -1), "head", bad=bad(), head=linear(1024, 2)), IMAGE),
    "saturated": (Chain("bad", saturated, mean, bad=bad()), IMAGE),
    "faint": (Chain("bad", mean, faint, bad=bad()), IMAGE),
    "masked out": (Chain("bad", lambda x: jnp.where(jnp.zeros(x.shape, bool), x, 0.0), mean, bad=bad()), IMAGE),
    "multiplied by zero": (Chain("bad", lambda x: 0.0 * x, mean, "head", bad=bad(), head=linear(4, 2)), IMAGE),
    "constant output": (Chain("bad", mean, lambda x: jnp.sign(jnp.abs(x) + 1), bad=bad()), IMAGE),
    "clipped": (Chain("bad", lambda x: jnp.clip(x, 50.0, 60.0), mean, bad=bad()), IMAGE),
    "faint strides": (
        Chain("a", "b", mean, faint, a=strided(3, 4, 3, padding="SAME"), b=strided(4, 4, 3, padding="SAME")),
        IMAGE,
    ),
}


@pytest.mark.parametrize("name", VAIN)
def test_exact_in_vain_is_not_judged(name):
    model, x = VAIN[name]
    found = explained(model, x, out_action=ej.TrivialAction(SHIFTS.group))
    assert not found.exact
    assert found.judgement != "kept"
    with pytest.raises(AssertionError, match="not judged|not equivariant"):
        found.assert_exact()
    assert found.to_dict()["judgement"] == found.judgement
    assert [row["judgement"] for row in found.to_dict()["rows"]] == [row.judgement for row in found.rows]


def test_a_layer_that_jittered_parameters_wake_is_judged_by_them():
    """A scale of zero, as residual branches begin with, hides a padded layer until it is trained."""
    found = explained(
        Chain(
            "bad",
            "scale",
            jnp.tanh,
            mean,
            bad=bad(),
            scale=nnx.Linear(4, 4, kernel_init=nnx.initializers.zeros, param_dtype=float, rngs=nnx.Rngs(0)),
        )
    )
    assert found.judgement == "broken" and set(blamed(found)) == {"bad"}


def test_an_ordinary_exact_network_is_kept():
    found = explained(Chain("a", jnp.tanh, mean, "head", a=conv(3, 4), head=linear(4, 2)))
    assert found.exact and found.judgement == "kept" and not found.unjudged
    assert {row.judgement for row in found.rows} == {"kept"}


def test_a_kernel_is_named_beside_a_choice_that_is_ignored():
    """Under turns the weights of the transposed convolution are at fault too."""
    causes = blamed(explained(Decoder(transposed()), action=TURNS))["up"]
    assert {"phase", "kernel"} <= causes


def test_padding_that_the_input_does_not_reach_is_doubted():
    """On a small object before black a zero-padded convolution errs nowhere; that it pads can be read off it."""
    black = jnp.zeros((4, 12, 12, 3)).at[:, 4:8, 4:8].set(IMAGE[:, :4, :4])
    model = Chain("a", jnp.tanh, mean, a=conv(3, 4, padding="SAME", use_bias=False))
    found = explained(model, black)
    assert found["a"].doubt == "pads with zeros" and found["a"].judgement == found.judgement == "not judged"
    assert not found.exact and "pads with zeros" in str(found)
    with pytest.raises(AssertionError, match="were not judged: `a`"):
        found.assert_exact()
    assert found.to_dict()["rows"][0]["doubt"] == "pads with zeros"
