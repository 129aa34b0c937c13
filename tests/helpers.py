"""Settings and small builders that several test files share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import PermutationRep, Quotient, Regular, Scalar

BIAS = nnx.initializers.normal(1.0)
QUATERNIONS = ej.FiniteGroup.from_permutations([[1, 2, 3, 0, 5, 6, 7, 4], [4, 7, 6, 5, 2, 1, 0, 3]])


def randn(shape, seed=0, dtype=jnp.float64):
    """Standard normal numbers."""
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def options(group, seed=0, **more):
    """Keyword arguments of a float64 layer with a bias that is not zero."""
    return {"group": group, "param_dtype": jnp.float64, "bias_init": BIAS, "rngs": nnx.Rngs(seed), **more}


def dense_matrix(fn, shape):
    """Matrix of an affine map without its constant, ``(outputs, inputs)``, both flattened in C order."""
    size = int(np.prod(shape))
    zero = fn(jnp.zeros((1, *shape)))
    rows = fn(jnp.eye(size).reshape(size, *shape)) - jnp.broadcast_to(zero, (size, *zero.shape[1:]))
    return np.asarray(rows).reshape(size, -1).T


def stack(*trees):
    """Concatenates group elements along their leading axes."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *trees)


def fibres_of(point_group):
    """One fibre of every kind."""
    return [Scalar(point_group), Regular(point_group), Quotient(point_group.subgroup([point_group.order - 1]))]


def dna():
    """The four letters under the reverse complement, and their group."""
    group = ej.SpaceGroup(ej.Reflection(1))
    return group, PermutationRep(group.point_group, [[0, 1, 2, 3], [3, 2, 1, 0]])


def check_message(call, error, words):
    """The call raises this error, and its message holds all the words."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
