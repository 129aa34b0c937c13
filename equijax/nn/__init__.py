"""Layers: trainable equivariant maps, as Flax NNX modules."""

from equijax.nn._conv import Conv as Conv
from equijax.nn._conv_transpose import ConvTranspose as ConvTranspose
from equijax.nn._exactness import Exactness as Exactness
from equijax.nn._group_conv import GroupConv as GroupConv
from equijax.nn._group_conv import LiftingConv as LiftingConv
from equijax.nn._group_conv import ProjectionConv as ProjectionConv
from equijax.nn._layer import Layer as Layer
from equijax.nn._linear import EquivariantLinear as EquivariantLinear
from equijax.nn._norm import GroupNorm as GroupNorm
from equijax.nn._pool import CosetPool as CosetPool
from equijax.nn._pool import FibrePool as FibrePool
from equijax.nn._pool import GlobalPool as GlobalPool
from equijax.nn._pool import coset_pool as coset_pool
from equijax.nn._restrict import Restrict as Restrict
from equijax.nn._sequential import Sequential as Sequential
from equijax.nn._spatial_pool import AvgPool as AvgPool
from equijax.nn._spatial_pool import MaxPool as MaxPool
