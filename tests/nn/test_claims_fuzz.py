"""Chains drawn at random: no claim is too large, and on tori none is too small."""

import jax.numpy as jnp
import pytest
from flax import nnx

import equijax as ej
from equijax.nn._sampling import Sampling
from equijax.nn._windowed import _exactness
from tests.nn.claims_fuzzer import Drawn, draw, measure, run


def test_a_few_chains():
    faults, counts = run(0, 12)
    assert not faults, "\n".join(faults)
    assert counts["tight"] and counts["checked"]


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 500, 50))
def test_five_hundred_chains(first):
    faults, _ = run(first, first + 50)
    assert not faults, "\n".join(faults)


def test_chains_are_drawn_alike_every_time():
    assert draw(7).text == draw(7).text


def test_the_fuzzer_finds_a_claim_that_is_too_large(monkeypatch):
    """Negative control: with another origin of the output the claim is wrong."""
    rngs = nnx.Rngs(0)
    layer = ej.nn.Conv(1, 1, 2, padding="CIRCULAR", group=ej.wallpaper("p4"), param_dtype=jnp.float64, rngs=rngs)
    drawn = Drawn(ej.nn.Sequential(layer), (4, 4, 1), True, "even window")
    assert measure(drawn) == ([], "tight")
    _exactness.cache_clear()
    monkeypatch.setattr(Sampling, "shift", lambda self, sizes=None: (0.0,) * len(self.window))
    assert any("too large" in fault for fault in measure(drawn)[0])
    _exactness.cache_clear()
