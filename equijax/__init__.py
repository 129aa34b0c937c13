"""equijax: say how a group acts, get the layers."""

__version__ = "0.1.0"

from equijax import actions as actions
from equijax import audit as audit
from equijax import graphs as graphs
from equijax import groups as groups
from equijax import nn as nn
from equijax import reps as reps
from equijax import sharing as sharing
from equijax import testing as testing
from equijax.actions import Action as Action
from equijax.actions import FibreAction as FibreAction
from equijax.actions import GraphAction as GraphAction
from equijax.actions import GridAction as GridAction
from equijax.actions import ProductAction as ProductAction
from equijax.actions import SetAction as SetAction
from equijax.actions import TensorAction as TensorAction
from equijax.actions import TrivialAction as TrivialAction
from equijax.actions import WreathAction as WreathAction
from equijax.audit import equivariance_error as equivariance_error
from equijax.graphs import Graph as Graph
from equijax.groups import HEXAGONAL as HEXAGONAL
from equijax.groups import SE as SE
from equijax.groups import SO as SO
from equijax.groups import Cyclic as Cyclic
from equijax.groups import Dihedral as Dihedral
from equijax.groups import DirectProduct as DirectProduct
from equijax.groups import E as E
from equijax.groups import FiniteGroup as FiniteGroup
from equijax.groups import Group as Group
from equijax.groups import O as O
from equijax.groups import Octahedral as Octahedral
from equijax.groups import Permutation as Permutation
from equijax.groups import PointGroup as PointGroup
from equijax.groups import Reflection as Reflection
from equijax.groups import SemidirectProduct as SemidirectProduct
from equijax.groups import SpaceGroup as SpaceGroup
from equijax.groups import Translation as Translation
from equijax.groups import Trivial as Trivial
from equijax.groups import WreathProduct as WreathProduct
from equijax.groups import wallpaper as wallpaper
