"""Layers on sets: deep sets, set attention, Janossy pooling."""

from equijax.nn.sets._attention import AttentionPool as AttentionPool
from equijax.nn.sets._attention import InducedSetAttentionBlock as InducedSetAttentionBlock
from equijax.nn.sets._attention import SetAttentionBlock as SetAttentionBlock
from equijax.nn.sets._deep_sets import DeepSet as DeepSet
from equijax.nn.sets._deep_sets import SetPool as SetPool
from equijax.nn.sets._janossy import JanossyPool as JanossyPool
from equijax.nn.sets._linear import SetLinear as SetLinear
from equijax.nn.sets._multihead import MultiheadAttentionBlock as MultiheadAttentionBlock
