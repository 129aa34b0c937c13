"""The end-to-end error of a model as it runs, with the algorithms of its convolutions."""

from typing import Any

import jax
import numpy as np
from flax import nnx

from equijax.audit._error import gap
from equijax.audit._findings import Walk
from equijax.audit._network import Network
from equijax.audit._table import figure
from equijax.audit._walker import finite_size, size_of
from equijax.nn import Conv, DepthwiseConv


def errors_as_run(subject: Any, found: Walk) -> np.ndarray | None:
    """Returns the end-to-end error of each element, with the model compiled as it is given.

    Args:
      subject: the model, its input and the moved inputs.
      found: what the walk through the dense program found; elements of which it has no error are NaN.

    Returns:
      float64 ``(number of elements,)``; None where all convolutions of the model are dense, so that there is nothing to add.
    """
    network: Network = subject.network
    if not any(isinstance(m, Conv | DepthwiseConv) and m.algorithm != "dense" for m in network.trace.modules.values()):
        return None
    graph, state = nnx.split(subject.model)
    run = jax.jit(lambda state, x: jax.tree.leaves(nnx.merge(graph, state)(x)))
    places = [network.trace.result_variables.index(v) for v in found.results]

    def results(leaves: tuple[Any, ...]) -> list[np.ndarray]:
        outputs = run(state, jax.tree.unflatten(network.trace.x_tree, leaves))
        return [np.asarray(outputs[k]) for k in places]

    clean = results(subject.x)
    scale = sum(finite_size(y) ** 2 for y in clean) ** 0.5 or 1.0
    errors = np.full(network.frame.count, np.nan)
    for e in found.errors:
        squares = 0.0
        for v, y, other in zip(found.results, clean, results(subject.moved[e]), strict=True):
            layout: Any = network.layouts[v]
            squares += size_of(gap(other, *network.frame.move(e, y, layout))) ** 2
        errors[e] = np.sqrt(squares) / scale
    return errors


def note_of(errors: np.ndarray | None) -> tuple[str, ...]:
    """Returns what a report says of errors as the model runs; nothing where all convolutions are dense."""
    if errors is None:
        return ()
    known = errors[~np.isnan(errors)]
    largest = figure(float(known.max())) if known.size else "not known"
    return (
        "the rows read the convolutions in their dense form; as the model runs, with its own algorithms, the end-to-end "
        f"error is {largest}",
    )
