"""Representations that are no permutations, as a user would write them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import equijax as ej
from equijax.reps import Quotient, Regular, Representation, Scalar


@dataclasses.dataclass(frozen=True)
class Plane(Representation):
    """Vectors of the plane, written in a skew basis where ``skew`` is not zero."""

    group: Any
    skew: float = 0.0

    @property
    def dim(self):
        return 2

    def __call__(self, g):
        basis = np.array([[1.0, self.skew], [0.0, 1.0]])
        return jnp.asarray(np.linalg.inv(basis) @ self.group.matrices @ basis)[g]


@dataclasses.dataclass(frozen=True)
class Beside(Representation):
    """A direct sum."""

    summands: tuple

    @property
    def parts(self):
        return self.summands

    @property
    def group(self):
        return self.parts[0].group

    @property
    def dim(self):
        return sum(part.dim for part in self.parts)

    def __call__(self, g):
        return jax.scipy.linalg.block_diag(*(part(g).astype(float) for part in self.parts))


D4 = ej.Dihedral(4)
SCALAR, PLANE, REGULAR, SKEW = Scalar(D4), Plane(D4), Regular(D4), Plane(D4, 0.5)
QUOTIENT = Quotient(D4.subgroup([4]))
MIXED = Beside((SCALAR, PLANE, SCALAR, QUOTIENT, PLANE))
OBLIQUE = Beside((SCALAR, SKEW, SKEW))
