"""Replaying a program: what numpy does instead of XLA has the same bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from equijax.nn._host import _OPERATIONS, on_host
from equijax.nn._jaxpr import read

A, B = np.random.default_rng(0).normal(size=(2, 3, 4))
A[0, 0], B[0, 0], A[1, 1], B[1, 1], A[2, 2] = np.inf, np.inf, np.nan, 0.0, 0.0
POSITIVE = np.abs(A)


def everything(a, b, positive):
    """Every operation that numpy does."""
    small = lax.convert_element_type(a, jnp.bfloat16)
    yield lax.reshape(a, (2, 6))
    yield lax.reshape(small, (12,))
    yield lax.transpose(a, (1, 0))
    yield lax.broadcast_in_dim(a, (2, 4, 3), (2, 1)) if a.shape == (4, 3) else lax.broadcast_in_dim(a, (3, 2, 4), (0, 2))
    yield lax.squeeze(a[:1], (0,))
    yield lax.slice(a, (0, 1), (3, 4), (2, 2))
    yield lax.concatenate([a, b], 1)
    yield lax.pad(a, jnp.zeros((), a.dtype), ((1, 2, 1), (0, 1, 0)))
    yield lax.pad(a, jnp.zeros((), a.dtype), ((-1, 0, 0), (0, -1, 1)))
    yield lax.rev(a, (0, 1))
    yield lax.select(a < b, a, b)
    yield from lax.split(a, (1, 3), 1)
    yield lax.iota(jnp.int32, 4) + lax.broadcasted_iota(jnp.int32, (4,), 0)
    yield lax.broadcasted_iota(a.dtype, (2, 5), 1)
    yield jnp.copy(a)
    yield from (a + b, a - b, a * b, a * 3.0, -a, jnp.sqrt(positive), small + small, small * small)
    yield from (a == b, a != b, a < b, a <= b, a > b, a >= b)
    yield lax.iota(jnp.int32, 3) * 7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bit_for_bit(dtype):
    arguments = [jnp.asarray(x.astype(dtype), dtype) for x in (A, B, POSITIVE)]
    fn = lambda *xs: list(everything(*xs))  # noqa: E731
    program = read(jax.make_jaxpr(fn)(*arguments))
    names = {eq.name for eq in program.equations}
    assert set(_OPERATIONS) - names <= {"add_any"}, set(_OPERATIONS) - names
    for found, wanted in zip(program(*arguments), jax.jit(fn)(*arguments), strict=True):
        found, wanted = np.asarray(found), np.asarray(wanted)
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        np.testing.assert_array_equal(found.astype(np.float64), wanted.astype(np.float64))


def test_tracers_keys_and_others_stay_with_xla():
    x = jnp.ones(3)
    seen = []
    jax.make_jaxpr(lambda x: seen.append(on_host("neg", {}, [x])))(x)
    assert seen == [None] and on_host("neg", {}, [jax.random.key(0)]) is None
    assert on_host("exp", {}, [x]) is None and on_host("neg", {}, [jnp.ones(3, jnp.int32)]) is None
    assert on_host("neg", {}, [1.0]) is None
    (found,) = on_host("neg", {}, [x])
    assert isinstance(found, np.ndarray) and (found == -1).all()
