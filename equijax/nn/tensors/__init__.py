"""Layers on tensors whose axes run over nodes: relations, graphs as matrices, and higher orders."""

from equijax.nn.tensors._linear import PermutationEquivariantLinear as PermutationEquivariantLinear
from equijax.nn.tensors._product import MatrixProductBlock as MatrixProductBlock
