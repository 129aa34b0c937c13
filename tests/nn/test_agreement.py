"""Layers drawn at random are one and the same map under every algorithm: outputs, gradients, second derivatives."""

import collections
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from equijax.nn._trilinear import trilinear_p
from tests.nn.random_layers import draw

FAST = ("frequency", "group", "auto")
#: What is compared: output, gradients of input and parameters, and a second derivative of each.
KINDS = ("output", "input gradient", "parameter gradient", "second derivative")
EXACT = 1e-13
SINGLE = dict(zip(KINDS, (3e-6, 3e-6, 1e-5, 1e-5), strict=True))


@functools.partial(jax.jit, static_argnums=0)
def everything(graph, point, along):
    """The output at a point (input and parameters), the gradients of a loss there, and their change in a direction.

    The loss is convex and grows, and the direction goes outwards, so that no sum undoes itself.
    """

    def loss(point):
        x, state = point
        y = nnx.merge(graph, state)(x)
        return jnp.sum(jnp.exp(0.3 * y)), y

    gradients, second, y = jax.jvp(jax.grad(loss, has_aux=True), (point,), (along,), has_aux=True)
    return y, gradients, second


def computed(drawn, algorithm, dtype=jnp.float64):
    """Kind → arrays under one algorithm, computed in one dtype, as float64."""
    graph = described(drawn, algorithm)
    point, along = jax.tree.map(lambda leaf: leaf.astype(dtype), (drawn.point, drawn.along))
    y, (dx, dw), second = everything(graph, point, along)
    arrays = ([y], [dx], jax.tree.leaves(dw), jax.tree.leaves(second))
    return {kind: [np.asarray(a, np.float64) for a in own] for kind, own in zip(KINDS, arrays, strict=True)}


def described(drawn, algorithm):
    """The static description of a layer under an algorithm."""
    drawn.layer.set_attributes(algorithm=algorithm)
    return nnx.split(drawn.layer)[0]


def traced(drawn, algorithm):
    """The program of a layer before anything is chosen for a platform."""
    graph = described(drawn, algorithm)
    return jax.make_jaxpr(lambda point: nnx.merge(graph, point[1])(point[0]))(drawn.point)


def has_own_program(drawn, algorithm, dense):
    """Whether an algorithm does anything but the dense convolution, whose program it has to the letter where it does not."""
    program = traced(drawn, algorithm)
    own = any(eqn.primitive is trilinear_p for eqn in program.eqns)
    assert own or str(program) == str(dense), drawn.text
    return own


def errors(reference, other):
    """Kind → the largest difference, relative to the largest entry of each array of the reference."""
    size = lambda a: float(np.max(np.abs(a), initial=0.0))  # noqa: E731
    return {
        kind: max((size(b - a) / (size(a) or 1.0) for a, b in zip(arrays, other[kind], strict=True)), default=0.0)
        for kind, arrays in reference.items()
    }


@dataclasses.dataclass
class Tally:
    """What was found over many layers.

    Attributes:
      faults: bars that were missed, in words.
      own: algorithm → number of layers for which it is a program of its own.
      largest: algorithm, dtype and kind → largest error.
      as_dense: float32 errors above their bar that dense has too.
    """

    faults: list = dataclasses.field(default_factory=list)
    own: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    largest: dict = dataclasses.field(default_factory=dict)
    as_dense: list = dataclasses.field(default_factory=list)

    def note(self, algorithm, dtype, sizes):
        for kind, size in sizes.items():
            key = algorithm, dtype, kind
            self.largest[key] = max(size, self.largest.get(key, 0.0))

    def __str__(self):
        lines = [f"{' '.join(key)}: {size:.1e}" for key, size in sorted(self.largest.items())]
        return "\n".join([str(dict(self.own)), *lines, *self.as_dense, *self.faults])


def compare(drawn, tally, computed=computed):
    """Compares every algorithm that a layer can use with the dense one."""
    plain = traced(drawn, "dense")
    own = [algorithm for algorithm in FAST if has_own_program(drawn, algorithm, plain)]
    reference = computed(drawn, "dense") if own else {}
    dense = functools.cache(lambda: errors(reference, computed(drawn, "dense", jnp.float32)))
    for algorithm in own:
        tally.own[algorithm] += 1
        double = errors(reference, computed(drawn, algorithm))
        single = errors(reference, computed(drawn, algorithm, jnp.float32))
        tally.note(algorithm, "float64", double)
        tally.note(algorithm, "float32", single)
        tally.faults += [f"{drawn.text}: {algorithm} {kind} {e:.1e}" for kind, e in double.items() if not e <= EXACT]
        for kind, e in single.items():
            if not e <= SINGLE[kind]:
                words = f"{drawn.text}: {algorithm} float32 {kind} {e:.1e}, dense {dense()[kind]:.1e}"
                (tally.as_dense if e <= min(2 * dense()[kind], 1e-3) else tally.faults).append(words)


def compare_all(seeds, computed=computed):
    """Compares all layers of some seeds."""
    tally = Tally()
    for seed in seeds:
        compare(draw(seed), tally, computed)
    return tally


def test_twenty_layers():
    tally = compare_all(range(20))
    assert not tally.faults, tally
    assert min(tally.own[name] for name in FAST) >= 4, tally


@pytest.mark.slow
@pytest.mark.parametrize("first", range(30, 250, 44))
def test_two_hundred_and_twenty_layers(first):
    """At least 60 of all go another way by each algorithm; ``-s`` prints the figures."""
    tally = compare_all(range(first, first + 44))
    jax.clear_caches()  # the more programs are kept, the longer it takes to lower another
    print(f"\n{tally}")
    assert not tally.faults, tally
    assert min(tally.own[name] for name in FAST) >= 12, tally


def test_one_other_weight_is_seen():
    """The negative control: under one algorithm a single weight differs in its tenth digit."""
    faults = compare_all([9], _spoilt).faults
    assert {kind for kind in KINDS if any(f"frequency {kind}" in fault for fault in faults)} == set(KINDS), faults


def _spoilt(drawn, algorithm, dtype=jnp.float64):
    if algorithm == "frequency":
        x, state = drawn.point
        state = jax.tree.map(lambda leaf: leaf.at[(0,) * leaf.ndim].multiply(1 + 1e-10), state)
        drawn = dataclasses.replace(drawn, point=(x, state))
    return computed(drawn, algorithm, dtype)


def test_layers_are_drawn_alike_every_time():
    one, two = draw(7), draw(7)
    assert one.text == two.text
    assert all(map(jnp.array_equal, jax.tree.leaves(one.along), jax.tree.leaves(two.along)))
