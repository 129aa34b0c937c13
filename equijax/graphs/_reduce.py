"""Reducing messages at the nodes that receive them: all at once, or one chunk after another."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from equijax._dtypes import accumulation_dtype
from equijax._extrema import segment_largest, segment_largest_weighed
from equijax._masked import keep


def add_at(total: Array, receivers: Array, messages: Array) -> Array:
    """Adds each message to its receiver's total; messages to the number of nodes are dropped, whatever they hold."""
    return total.at[receivers].add(messages, mode="drop")


def reduce_once(word: str, messages: Array, receivers: Array, num_nodes: int) -> Array:
    """Reduces all messages; nodes without one get zeros."""
    if word == "sum":
        return finish(word, reduce_step(word, start(word, messages, num_nodes), messages, receivers), messages.dtype)
    found = jnp.zeros((num_nodes,), bool).at[receivers].set(True, mode="drop")
    return keep(_turned(word, segment_largest(_turned(word, messages), receivers, num_nodes)), found)


def start(word: str, message: Any, num_nodes: int) -> Any:
    """Returns the total of no messages; for the maximum and the minimum, with its weight, 0 where there is none."""
    shape = (num_nodes, *message.shape[1:])
    if word == "sum":
        return jnp.zeros(shape, accumulation_dtype(message.dtype))
    return jnp.zeros(shape, message.dtype), jnp.zeros(shape, jnp.int32)


def reduce_step(word: str, total: Any, messages: Array, receivers: Array) -> Any:
    """Takes more messages into the total."""
    if word == "sum":
        return add_at(total, receivers, messages.astype(total.dtype))
    best, count = total
    largest, new_count = segment_largest_weighed(_turned(word, messages), receivers, best.shape[0])
    return _merge(word, best, count, keep(_turned(word, largest), new_count > 0), new_count)


def finish(word: str, total: Any, dtype: Any) -> Array:
    """Returns the result of a total."""
    return total.astype(dtype) if word == "sum" else total[0]


def _turned(word: str, x: Array) -> Array:
    """Turns the order of numbers round for the minimum, so that the largest is wanted there too; it undoes itself."""
    if word == "max":
        return x
    return -x if jnp.issubdtype(x.dtype, jnp.inexact) else ~x


def _merge(word: str, best: Array, count: Array, new: Array, new_count: Array) -> tuple[Array, Array]:
    """Merges two extremes, each with its weight (0: there is none): the number of messages that share the gradient.

    A NaN is the extreme of all, as in a single pass.
    """
    better = (new > best if word == "max" else new < best) | (new != new)
    take = (new_count > 0) & (better | (count == 0))
    tie = (new_count > 0) & (count > 0) & (new == best)
    merged = jnp.where(take, new, best)
    if jnp.issubdtype(best.dtype, jnp.inexact):
        share = new_count.astype(best.dtype) / jnp.maximum(count + new_count, 1).astype(best.dtype)
        merged = jnp.where(tie & jnp.isfinite(best), best + share * (new - best), merged)
    return merged, jnp.where(take, new_count, jnp.where(tie, count + new_count, count))
