"""Closing a set of generators under composition."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np


def close(
    generators: Sequence[Any],
    identity: Any,
    compose: Callable[[Any, Any], Any],
    key: Callable[[Any], Hashable],
    max_order: int,
    what: str,
    cause: str = "",
) -> tuple[list[Any], np.ndarray]:
    """Lists the group that ``generators`` generate, breadth first, multiplying on the right.

    Args:
      generators: the generating elements.
      identity: the neutral element; it becomes number 0.
      compose: ``compose(a, b)`` is ``a ∘ b``.
      key: maps equal elements to equal keys.
      max_order: the largest group that is accepted.
      what: how the argument is called in error messages.
      cause: what may be wrong with the generators, for error messages.

    Returns:
      The elements in the order of discovery, and their int32 multiplication table ``table[a, b] = a ∘ b``.

    Raises:
      ValueError: more than ``max_order`` elements appear.
    """
    elements, number = [identity], {key(identity): 0}
    parent: list[tuple[int, int]] = [(0, 0)]
    right = []
    position = 0
    while position < len(elements):
        row = []
        for j, generator in enumerate(generators):
            product = compose(elements[position], generator)
            k = number.setdefault(key(product), len(elements))
            if k == len(elements):
                if k >= max_order:
                    raise ValueError(
                        f"`{what}` generate more than {max_order} elements, the limit that is set. {cause}Where the group "
                        "is that large raise `max_order`; its table has order² entries."
                    )
                elements.append(product)
                parent.append((position, j))
            row.append(k)
        right.append(row)
        position += 1
    return elements, table_from_right_products(np.array(right, np.int32).reshape(len(elements), -1), parent)


def table_from_right_products(right: np.ndarray, parent: Sequence[tuple[int, int]]) -> np.ndarray:
    """Builds the whole table from the products with generators: ``a ∘ (p ∘ s) = (a ∘ p) ∘ s``.

    Args:
      right: int ``(order, generators)``, ``right[a, s] = a ∘ s``.
      parent: for each element ``b > 0`` the pair ``(p, s)`` with ``b = p ∘ s`` and ``p < b``.

    Returns:
      int32 ``(order, order)``.
    """
    order = len(right)
    table = np.empty((order, order), np.int32)
    table[:, 0] = np.arange(order)
    for b in range(1, order):
        p, s = parent[b]
        table[:, b] = right[table[:, p], s]
    return table
