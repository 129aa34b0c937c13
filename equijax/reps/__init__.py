"""Representations: how a group element acts on one vector, the fibre over a point."""

from equijax.reps._clebsch_gordan import clebsch_gordan as clebsch_gordan
from equijax.reps._decompose import Decomposition as Decomposition
from equijax.reps._decompose import decompose as decompose
from equijax.reps._fourier import fourier as fourier
from equijax.reps._fourier import inverse_fourier as inverse_fourier
from equijax.reps._induce import Induced as Induced
from equijax.reps._irrep import Irrep as Irrep
from equijax.reps._irrep import irreps as irreps
from equijax.reps._permutation import PermutationRep as PermutationRep
from equijax.reps._permutation import PermutationRepresentation as PermutationRepresentation
from equijax.reps._permutation import Quotient as Quotient
from equijax.reps._permutation import Regular as Regular
from equijax.reps._permutation import Scalar as Scalar
from equijax.reps._permutation import restrict as restrict
from equijax.reps._representation import Representation as Representation
from equijax.reps._solver import intertwiner_blocks as intertwiner_blocks
from equijax.reps._solver import intertwiners as intertwiners
