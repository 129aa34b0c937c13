"""Recurrent layers are one row, however long the sequence."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from tests.audit.networks import DOUBLE, conv, linear, rngs

SHIFTS = ej.GridAction(ej.Translation(1))


class Recurrent(nnx.Module):
    """A circular convolution, a GRU, the mean over time, a dense layer."""

    def __init__(self):
        self.embed = conv(3, 4, d=1)
        self.rnn = nnx.RNN(nnx.GRUCell(4, 4, dtype=float, rngs=rngs(), **DOUBLE))
        self.head = linear(4, 2)

    def __call__(self, x):
        return self.head(self.rnn(jnp.tanh(self.embed(x))).mean(1))


@pytest.mark.parametrize("steps", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_recurrent_layer_is_one_row(steps):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, steps, 3)))
    found = ej.audit.explain(Recurrent(), x, in_action=SHIFTS)
    assert {row.name: {cause.kind for cause in row.causes} for row in found.accused} == {"rnn": {"order"}}
    assert {row.judgement for row in found.rows} == {"kept", "broken"} and len(found.rows) == 5
    assert found.plan.remaining == ("rnn",) and not found.plan.mends
