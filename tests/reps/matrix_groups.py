"""Small Lie groups for tests of representations, independent of the library's own families."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import equijax as ej


@dataclasses.dataclass(frozen=True)
class MatrixGroup(ej.Group):
    """Real matrices, from their algebra and one matrix for each connected part."""

    name: str

    @property
    def n(self):
        return {"SO(2)": 2, "SO(3)": 3, "O(3)": 3, "Lorentz": 4, "proper Lorentz": 4}[self.name]

    @property
    def metric(self):
        return np.diag([1.0, -1.0, -1.0, -1.0]) if self.n == 4 else np.eye(self.n)

    @property
    def algebra(self):
        found = []
        for j in range(self.n):
            for i in range(j):
                x = np.zeros((self.n, self.n))
                x[j, i], x[i, j] = 1.0, -1.0
                found.append(x @ self.metric)
        return tuple(found)

    @property
    def components(self):
        one = np.eye(self.n)
        if self.name == "O(3)":
            return (one, -one)
        if self.name == "Lorentz":
            return (one, *(np.diag(d) for d in ([-1.0, 1, 1, 1], [1.0, -1, 1, 1], [-1.0, -1, 1, 1])))
        return (one,)

    @property
    def discrete_generators(self):
        return self.components

    @property
    def identity(self):
        return jnp.eye(self.n)

    def matrix(self, g):
        return jnp.asarray(g, float)

    def element(self, matrix):
        return jnp.asarray(matrix, float)

    def exp(self, x):
        return jax.scipy.linalg.expm(x)

    def tangent(self, x):
        return jnp.asarray(x, float)

    def compose(self, a, b):
        return jnp.matmul(a, b, precision="highest")

    def inverse(self, a):
        return jnp.asarray(self.metric) @ jnp.swapaxes(a, -1, -2) @ jnp.asarray(self.metric)

    def sample(self, key, shape=()):
        first, second = jax.random.split(key)
        weights = jax.random.normal(first, (*shape, len(self.algebra)))
        which = jax.random.randint(second, shape, 0, len(self.components))
        moved = self.exp(jnp.tensordot(weights, jnp.asarray(np.stack(self.algebra)), 1))
        return jnp.matmul(moved, jnp.asarray(np.stack(self.components))[which], precision="highest")
