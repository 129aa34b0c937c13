"""Graphs: flat values with index arrays and masks, batches of fixed shape, sums over neighbours."""

from equijax.graphs._graph import Graph as Graph
