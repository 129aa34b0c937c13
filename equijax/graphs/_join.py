"""Arrays of many graphs one behind the other, and the parts that belong to each."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


def joined(trees: list[Any], size: int, name: str) -> Any:
    """Concatenates trees of arrays and appends zeros up to ``size`` rows."""
    structure = jax.tree.structure(trees[0])
    columns = []
    for k, tree in enumerate(trees):
        leaves, other = jax.tree.flatten(tree)
        if other != structure:
            raise ValueError(
                f"`graphs[{k}].{name}` is {_described(tree)}, but `graphs[0].{name}` is {_described(trees[0])}. All graphs "
                "of a batch need the same fields."
            )
        columns.append(leaves)
    joined = [_joined_leaf(leaves, size, name) for leaves in zip(*columns, strict=True)]
    return jax.tree.unflatten(structure, joined)


def _joined_leaf(leaves: tuple[np.ndarray, ...], size: int, name: str) -> np.ndarray:
    first = leaves[0]
    for k, leaf in enumerate(leaves):
        if leaf.shape[1:] != first.shape[1:] or leaf.dtype != first.dtype:
            raise ValueError(
                f"`graphs[{k}].{name}` holds {leaf.dtype}{list(leaf.shape)}, but `graphs[0].{name}` {first.dtype}"
                f"{list(first.shape)}. All graphs of a batch need the same features and dtypes."
            )
    joined = np.zeros((size, *first.shape[1:]), first.dtype)
    total = sum(map(len, leaves))
    np.concatenate(leaves, out=joined[:total])
    return joined


def _described(tree: Any) -> str:
    return "None" if tree is None else str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree))


def joined_indices(parts: Sequence[np.ndarray], first: np.ndarray, size: int, padding: int) -> np.ndarray:
    """Concatenates indices, each part counted from its own first, and appends ``padding`` up to ``size`` entries."""
    shifted = np.concatenate(parts) + np.repeat(first, [len(part) for part in parts])
    return np.concatenate([shifted, np.full(size - len(shifted), padding)]).astype(np.int32)


def with_zero_shifts(parts: Sequence[Any], counts: Sequence[int]) -> list[Any]:
    """Returns the shifts of many graphs, zeros where one has none but another has some.

    Args:
      parts: the shifts ``(E, d)`` of each, or None.
      counts: the number of edges of each.
    """
    some = next((shifts for shifts in parts if shifts is not None), None)
    if some is None:
        return list(parts)
    zeros = lambda count: np.zeros((count, *some.shape[1:]), some.dtype)  # noqa: E731
    return [zeros(count) if shifts is None else shifts for shifts, count in zip(parts, counts, strict=True)]


def with_table(flat: Any, shapes: Any, budget: str) -> Any:
    """Returns a batch with tables of the shapes of its budget.

    Raises:
      ValueError: they have too few rows; the message says how to compute them.
    """
    try:
        return flat.with_table(shapes)
    except ValueError as error:
        raise ValueError(
            f"`budget.table` has too few rows for these graphs: {error} Every batch of the graphs given to "
            f"{budget}.of(graphs, batch_size, tables=True) fits, so compute the budget from all data that it is to serve."
        ) from error
