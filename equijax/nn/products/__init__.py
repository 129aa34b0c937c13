"""Layers for products of symmetries: sets of images, exchangeable matrices, sets of sets."""

from equijax.nn.products._exchangeable import ExchangeableLinear as ExchangeableLinear
from equijax.nn.products._hierarchical import HierarchicalSetLinear as HierarchicalSetLinear
from equijax.nn.products._map import MapElements as MapElements
from equijax.nn.products._set_conv import SetConv as SetConv
