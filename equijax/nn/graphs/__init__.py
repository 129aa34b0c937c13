"""Layers on graphs."""

from equijax.nn.graphs._egnn import EGNN as EGNN
from equijax.nn.graphs._layer import GraphLayer as GraphLayer
from equijax.nn.graphs._map import MapEdges as MapEdges
from equijax.nn.graphs._map import MapNodes as MapNodes
