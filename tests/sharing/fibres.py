"""Fibres that mix their coordinates, written as a user would."""

import dataclasses

import jax.numpy as jnp
import numpy as np

import equijax as ej
from equijax.reps import Representation


@dataclasses.dataclass(frozen=True)
class Vector(Representation):
    """What the matrices of a point group do to a vector of the lattice."""

    group: ej.PointGroup

    @property
    def dim(self):
        return self.group.ndim

    def __call__(self, g):
        return jnp.asarray(self.group.integer_matrices, float)[jnp.asarray(g)]


@dataclasses.dataclass(frozen=True)
class Sum(Representation):
    """A direct sum that does not know its parts."""

    first: Representation
    second: Representation

    @property
    def group(self):
        return self.first.group

    @property
    def dim(self):
        return self.first.dim + self.second.dim

    def __call__(self, g):
        a, b = self.first(g).astype(float), self.second(g).astype(float)
        top = jnp.concatenate([a, jnp.zeros((*a.shape[:-1], b.shape[-1]))], -1)
        bottom = jnp.concatenate([jnp.zeros((*b.shape[:-1], a.shape[-1])), b], -1)
        return jnp.concatenate([top, bottom], -2)


@dataclasses.dataclass(frozen=True)
class Skew(Representation):
    """A representation in skew coordinates, so that no matrix but the identity is orthogonal."""

    inner: Representation
    shear: float = 2.0

    @property
    def group(self):
        return self.inner.group

    @property
    def dim(self):
        return self.inner.dim

    @property
    def change(self):
        return np.eye(self.dim) + self.shear * np.triu(np.ones((self.dim, self.dim)), 1)

    def __call__(self, g):
        return jnp.asarray(self.change) @ self.inner(g).astype(float) @ jnp.asarray(np.linalg.inv(self.change))


@dataclasses.dataclass(frozen=True)
class Matrices(Representation):
    """A permutation representation that does not say that it permutes."""

    inner: Representation

    @property
    def group(self):
        return self.inner.group

    @property
    def dim(self):
        return self.inner.dim

    def __call__(self, g):
        return self.inner(g).astype(float)
