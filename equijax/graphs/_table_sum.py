"""Neighbour sums by tables."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from equijax._rows import take
from equijax.graphs._table import NeighbourTable, Rows


def _table_sum(values: Array, weights: Array | None, table: NeighbourTable) -> Array:
    """Sums the values ``(N, *lead, F)`` of neighbours, times weights ``(E, *lead)`` or None, by the rows of a table.

    The derivative is written as the formal transpose of the sum over the reversed graph. So reverse mode, which transposes
    it again, gathers; forward mode scatters.
    """
    return _rows_sum(values, _slot_weights(weights, table.incoming), table.incoming)


def _derivative(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    values, weights, table = primals
    values_dot, weights_dot, _ = tangents
    y = table_sum(values, weights, table)
    y_dot = jnp.zeros_like(y)
    if not isinstance(values_dot, SymbolicZero):
        y_dot = y_dot + _push_values(values_dot, weights, table)
    if weights is not None and not isinstance(weights_dot, SymbolicZero):
        y_dot = y_dot + _push_weights(weights_dot, values, table)
    return y, y_dot


table_sum = jax.custom_jvp(_table_sum)
table_sum.defjvp(_derivative, symbolic_zeros=True)


def _recomputed(fn: Any) -> Any:
    """Keeps JAX from storing what was gathered, an array over all slots, for the backward pass."""
    return jax.checkpoint(fn, prevent_cse=False)


@_recomputed
def _push_values(values_dot: Array, weights: Array | None, table: NeighbourTable) -> Array:
    """The sum, linear in the values, as the transpose of the sum over the outgoing edges."""
    reverse = lambda y: _rows_sum(y, _slot_weights(weights, table.outgoing), table.outgoing)  # noqa: E731
    return jax.linear_transpose(reverse, values_dot)(values_dot)[0]


def _push_weights(weights_dot: Array, values: Array, table: NeighbourTable) -> Array:
    """The sum, linear in the weights; its transpose puts an inner product in each slot and reads them by edge."""
    rows = table.incoming
    slots = jnp.zeros((rows.edges.size, *weights_dot.shape[1:]), weights_dot.dtype)
    slots = slots.at[rows.places].add(weights_dot, mode="drop", unique_indices=True)
    return _rows_sum(values, slots.reshape(*rows.edges.shape, *weights_dot.shape[1:]), rows, unroll=1)


def _slot_weights(weights: Array | None, rows: Rows) -> Array | None:
    return None if weights is None else take(weights, rows.edges)


def _rows_sum(values: Array, weights: Array | None, rows: Rows, unroll: int | bool = True) -> Array:
    """Sums over every row, and adds the further rows to their nodes."""
    nodes = rows.neighbours.shape[1] - rows.owners.shape[0]
    # Else XLA computes cheap values anew wherever they are gathered, and reads all that they are computed from.
    values = jax.lax.optimization_barrier(values)

    @_recomputed
    def add(total: Array, slot: tuple) -> tuple[Array, None]:
        chosen = take(values, slot[0])
        return total + (chosen if weights is None else chosen * slot[1][..., None]), None

    def slots_sum(part: slice) -> Array:
        slots = rows.neighbours[:, part], None if weights is None else weights[:, part]
        start = jnp.zeros((slots[0].shape[1], *values.shape[1:]), values.dtype)
        return jax.lax.scan(add, start, slots, unroll=unroll)[0]

    own, further = slots_sum(slice(nodes)), slots_sum(slice(nodes, None))
    return own.at[rows.owners].add(further, mode="drop")
