"""Actions: how a group element moves a whole array."""

from equijax.actions._action import Action as Action
from equijax.actions._action import Axis as Axis
from equijax.actions._fibre import FibreAction as FibreAction
from equijax.actions._field import FieldAction as FieldAction
from equijax.actions._finite import FiniteAction as FiniteAction
from equijax.actions._graph import GraphAction as GraphAction
from equijax.actions._grid import GridAction as GridAction
from equijax.actions._grid_motions import GridMotions as GridMotions
from equijax.actions._hetero import HeteroGraphAction as HeteroGraphAction
from equijax.actions._kept import Everything as Everything
from equijax.actions._kept import Kept as Kept
from equijax.actions._kept import Listed as Listed
from equijax.actions._kept import Nothing as Nothing
from equijax.actions._kept_matrices import ListedMatrices as ListedMatrices
from equijax.actions._kept_parts import KeptProduct as KeptProduct
from equijax.actions._kept_parts import kept_by as kept_by
from equijax.actions._product import ProductAction as ProductAction
from equijax.actions._tensor import SetAction as SetAction
from equijax.actions._tensor import TensorAction as TensorAction
from equijax.actions._trivial import TrivialAction as TrivialAction
from equijax.actions._wreath import WreathAction as WreathAction
