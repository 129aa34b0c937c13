"""What functions that prepare data on the host have in common."""

import dataclasses
import importlib
from typing import Any

import jax
import numpy as np

from equijax._exported import is_open
from equijax.graphs._graph import Graph

FIELDS = tuple(field.name for field in dataclasses.fields(Graph) if field.name != "table")


def on_host(graph: Any, function: str) -> Graph:
    """Returns the graph with numpy arrays and without its table.

    Raises:
      TypeError: it is no graph.
      ValueError: it is traced.
    """
    require_graph(graph, function)
    try:
        return assemble(**{name: jax.tree.map(np.asarray, getattr(graph, name)) for name in FIELDS})
    except jax.errors.TracerArrayConversionError:
        raise ValueError(f"`graph` is traced; {function} works on the host. Call it outside of jit, on the data.") from None


def require_graph(graph: Any, function: str) -> None:
    """Raises ``TypeError`` where it is no graph."""
    if not isinstance(graph, Graph):
        raise TypeError(f"`graph` is a {type(graph).__name__}; {function} takes a Graph(nodes, senders, receivers, …).")


def assemble(**fields: Any) -> Graph:
    """Puts a graph together without checks; what is not named is None."""
    new = object.__new__(Graph)
    for name in (*FIELDS, "table"):
        object.__setattr__(new, name, fields.get(name))
    return new


def order_by_graph(owners: Any, count: int, xp: Any = np) -> tuple[Any, Any, Any]:
    """Sorts nodes or edges by the graph that they belong to, keeping their order in each.

    Args:
      owners: integers ``(n,)`` in 0 … count, where ``count`` is for padding.
      count: number of graphs.
      xp: ``numpy``, or ``jax.numpy`` for use inside jit.

    Returns:
      The order, ``(n,)``; at which place of it each graph starts, and padding, ``(count + 1,)``; the number of each entry
      within its graph, ``(n,)``.
    """
    order = xp.argsort(owners, stable=True)
    if is_open(*owners.shape):  # a binary search needs to know its number of steps
        counts = xp.zeros(count + 1, owners.dtype).at[owners].add(1)
        starts = xp.cumsum(counts, dtype=counts.dtype) - counts
    else:
        starts = xp.searchsorted(owners[order], xp.arange(count + 1, dtype=owners.dtype))
    return order, starts, xp.argsort(order).astype(starts.dtype) - starts[owners]


def require_all_valid(node_mask: np.ndarray, node_graph: np.ndarray, graph_mask: np.ndarray) -> None:
    """Raises ``ValueError`` where a valid node lies in a graph that is padding."""
    lost = node_mask & ~graph_mask[node_graph]
    if lost.any():
        node = int(np.argmax(lost))
        raise ValueError(
            f"`graph` has a valid node, {node}, in graph {node_graph[node]}, which graph_mask marks as padding. Mask the "
            "node, or not the graph."
        )


def require_one_graph(graph: Graph, function: str) -> None:
    """Raises ``ValueError`` where there is not exactly one valid graph, or it is traced; ``TypeError`` where it is none."""
    count = int(on_host(graph, function).graph_mask.sum())
    if count != 1:
        raise ValueError(
            f"`graph` holds {count} graphs; {function} takes one. Write [{function}(g) for g in unbatch(graph)]."
        )


def require_no_shifts(graph: Graph, form: str) -> None:
    """Raises ``ValueError`` where a graph has shifts, and the form that it is to take has no place for them."""
    if getattr(graph, "shifts", None) is not None:
        raise ValueError(
            f"`graph.shifts` is set, but {form} has no place for it: there, edges to several images would be one. Write "
            "graph.replace(shifts=None) to leave the images out, or put the shifts among the features of the edges first."
        )


def library(name: str) -> Any:
    """Imports an optional library.

    Raises:
      ImportError: it is not installed; the message names the package.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise ImportError(f"`{package}` is not installed, and this function needs it: pip install {package}.") from error
