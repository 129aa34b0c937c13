"""The law of layers on vectors, forward and in the gradient, by the matrices of the fibres."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests.helpers import randn


class Law:
    """Measures the law of several layers that take one fibre, with one compiled program for all of them.

    The gradient's law is that of the adjoint, ``vjp(fn, x)(ρᵀ v) = ρᵀ vjp(fn, ρ x)(v)``. Along the Lie algebra of the fibre
    the law is that of the derivative, ``jvp(fn, x)(A x) = B fn(x)``.

    Args:
      layers: layers of one input fibre, or functions of an array, with their output fibres: pairs.
      fibre: the input fibre.
      elements: the elements, a list.
    """

    def __init__(self, layers, fibre, elements):
        self.fibre, self.layers = fibre, layers
        self.split = [nnx.split(layer) if isinstance(layer, nnx.Module) else (layer, ()) for layer, _ in layers]
        self.into = matrices(fibre, elements)
        self.out = [matrices(out, elements) for _, out in layers]
        self.along = np.stack(fibre.algebra) if fibre.algebra else np.zeros((0, fibre.dim, fibre.dim))

    def errors(self, x):
        """The largest relative errors of each layer over the elements, ``(layers, 2)``: forward and gradient."""
        states = [nnx.split(layer)[1] if isinstance(layer, nnx.Module) else () for layer, _ in self.layers]
        return np.asarray(self._measure(states, x, self.into, self.out))

    @functools.cached_property
    def _measure(self):
        @jax.jit
        def measure(states, x, into, out):
            return jnp.stack([self._one(k, state, x, into, out[k]) for k, state in enumerate(states)])

        return measure

    def _one(self, k, state, x, into, out):
        graph, out_fibre = self.split[k][0], self.layers[k][1]
        fn = lambda x: nnx.merge(graph, state, copy=True)(x) if isinstance(graph, nnx.GraphDef) else graph(x)  # noqa: E731
        y, pull = jax.vjp(fn, x)
        v = randn(y.shape, 7, y.dtype)

        def errors(pair):
            a, b = pair
            moved, pull_moved = jax.vjp(fn, move(a, x, self.fibre))
            (pulled,) = pull(move(b.T, v, out_fibre))
            back = pull_moved(v)[0]
            pairs = ((moved, move(b, y, out_fibre), y), (move(a.T, back, self.fibre), pulled, back))
            return jnp.stack([jnp.abs(p - q).max() / largest(p, q, r) for p, q, r in pairs])

        found = jax.lax.map(errors, (into, out)).max(0)
        if not len(self.along):
            return found

        def away(pair):
            a, b = pair
            derivative = jax.jvp(fn, (x,), (move(a, x, self.fibre),))[1]
            wanted = move(b, y, out_fibre) if out_fibre.shape else jnp.zeros_like(y)
            return jnp.abs(derivative - wanted).max() / largest(wanted, y)

        algebra = jnp.stack([jnp.asarray(b) for b in out_fibre.algebra])
        return jnp.maximum(found, jax.lax.map(away, (jnp.asarray(self.along), algebra)).max())


def largest(*arrays):
    """One plus the largest entry: that to which rounding is relative, also where a boost makes numbers large."""
    return 1 + jnp.stack([jnp.abs(a).max() for a in arrays]).max()


def some_elements(group):
    """One random element of each connected component."""
    first = group.draw(jax.random.key(5))
    return [group.compose(first, jax.tree.map(jnp.asarray, c)) for c in group.components]


def move(matrix, x, fibre):
    """The vectors moved by a matrix."""
    return jnp.einsum("ij,...jf->...if", matrix, x, precision="highest") if fibre.shape else x


def matrices(fibre, elements):
    """The matrices of all elements, float64."""
    return jnp.stack([jnp.asarray(fibre(g), jnp.float64) for g in elements])


def trained(layers, x, steps=3):
    """A few steps of gradient descent for all layers; every parameter changes and stays finite."""
    split = [nnx.split(layer, nnx.Param, ...) for layer in layers]
    rest = [s[2] for s in split]

    @jax.jit
    def step(params):
        def loss(params):
            models = [nnx.merge(s[0], p, r, copy=True) for s, p, r in zip(split, params, rest, strict=True)]
            return sum(jnp.mean((model(x) - 1.0) ** 2) for model in models)

        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    params = [s[1] for s in split]
    for _ in range(steps):
        params = step(params)
    changes = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), [s[1] for s in split], params)
    assert all(0 < change < np.inf for change in jax.tree.leaves(changes)), changes
    for layer, found in zip(layers, params, strict=True):
        nnx.update(layer, found)
