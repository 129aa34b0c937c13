"""Settings and small builders that several test files share."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import equijax as ej
from equijax.reps import PermutationRepresentation, Quotient, Regular, Scalar

#: Compiler options with which a program is compiled as users do, where conftest.py chose the quicker emitter.
AS_USERS_COMPILE = {"xla_cpu_use_fusion_emitters": True} if jax.__version_info__ < (0, 11) else {}

QUATERNIONS = ej.FiniteGroup.from_permutations([[1, 2, 3, 0, 5, 6, 7, 4], [4, 7, 6, 5, 2, 1, 0, 3]])


def drawn(key, shape, dtype, scale=1.0):
    """Normal numbers cut from one long draw: JAX would compile a program for each shape, a dear one."""
    size = math.prod(shape)
    long = jax.random.normal(key, (max(8192, 1 << (size - 1).bit_length()),), dtype)
    if isinstance(long, jax.core.Tracer):
        return long[:size].reshape(shape) * scale
    return jax.device_put(
        np.asarray(np.asarray(long)[:size].reshape(shape) * scale, dtype)
    )  # jnp.asarray compiles a program


def randn(shape, seed=0, dtype=jnp.float64):
    """Standard normal numbers."""
    with jax.ensure_compile_time_eval():
        return drawn(jax.random.key(seed), shape, dtype)


def lecun(key, shape, dtype):
    """Draws a kernel with the variance that layers give it by default, 1 / fan-in."""
    return drawn(key, shape, dtype, max(1, math.prod(shape[:-1])) ** -0.5)


BIAS, KERNEL = drawn, lecun


def options(group, seed=0, **more):
    """Keyword arguments of a float64 layer with a bias that is not zero."""
    given = {"param_dtype": jnp.float64, "kernel_init": KERNEL, "bias_init": BIAS, "rngs": nnx.Rngs(seed)}
    return {"group": group, **given, **more}


def dense_matrix(fn, shape):
    """Matrix of an affine map without its constant, ``(outputs, inputs)``, both flattened in C order."""
    size = int(np.prod(shape))
    outputs = np.asarray(fn(jax.device_put(np.eye(size + 1, size).reshape(size + 1, *shape))))  # the last input is zero
    return (outputs[:-1] - outputs[-1]).reshape(size, -1).T


@functools.partial(jax.jit, static_argnums=0)
def _apply(graph, state, x):
    return nnx.merge(graph, state)(x)


def compiled(layer):
    """The layer as one program, which serves equal layers and the same layer after training."""
    graph, state = nnx.split(layer)
    return functools.partial(_apply, graph, state)


@functools.partial(jax.jit, static_argnums=0)
def moved(action, g, x):
    """What an action makes of an array, as one program for all elements."""
    return action(g, x)


def stack(*trees):
    """Concatenates group elements along their leading axes."""
    return jax.tree.map(lambda *leaves: jax.device_put(np.concatenate(leaves)), *trees)


def fibres_of(point_group):
    """One fibre of every kind."""
    return [Scalar(point_group), Regular(point_group), Quotient(point_group.subgroup([point_group.order - 1]))]


def dna():
    """The four letters under the reverse complement, and their group."""
    group = ej.SpaceGroup(ej.Reflection(1))
    return group, PermutationRepresentation(group.point_group, [[0, 1, 2, 3], [3, 2, 1, 0]])


def train(layer, *inputs, steps=3):
    """A few steps of gradient descent on the squares of the outputs; the parameters change and stay finite."""
    graph, start = nnx.split(layer)

    @jax.jit
    def step(state):
        gradient = jax.grad(lambda state: jnp.mean(nnx.merge(graph, state)(*inputs) ** 2))(state)
        return jax.tree.map(lambda p, g: p - 0.1 * g, state, gradient)

    state = start
    for _ in range(steps):
        state = step(state)
    changes = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), start, state)
    assert all(0 < change < np.inf for change in jax.tree.leaves(changes))
    nnx.update(layer, state)


def check_message(call, error, words):
    """The call raises this error, and its message holds all the words."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message


@dataclasses.dataclass(frozen=True)
class WithMask(ej.actions.Action):
    """Moves a pair: an array, and the mask of its points, each by its own action of one group."""

    action: ej.actions.Action
    mask_action: ej.actions.Action = ej.SetAction()

    @property
    def group(self):
        return self.action.group

    def for_input(self, x):
        return WithMask(self.action.for_input(x[0]), self.mask_action)

    def axes(self, ndim):
        return self.action.axes(ndim)

    def __call__(self, g, x):
        values, mask = x
        return self.action(g, values), self.mask_action(g, mask[..., None])[..., 0]
