"""Closing generators under composition."""

import numpy as np
import pytest

from equijax.groups._closure import close, table_from_right_products
from tests.catalogue import is_group_table


def _modular(generators, n, max_order=100):
    return close(generators, 0, lambda a, b: (a + b) % n, lambda a: a, max_order, "generators")


def test_breadth_first_numbering():
    elements, table = _modular([3, 4], 12)
    assert elements == [0, 3, 4, 6, 7, 8, 9, 10, 11, 1, 2, 5]
    assert is_group_table(table) and table.dtype == np.int32


def test_no_generators_give_the_identity_alone():
    elements, table = _modular([], 12)
    assert elements == [0] and table.tolist() == [[0]]


def test_max_order_is_the_largest_order_that_is_accepted():
    assert len(_modular([1], 12, max_order=12)[0]) == 12
    with pytest.raises(ValueError, match="`generators` generate more than 11 elements.*raise `max_order`"):
        _modular([1], 12, max_order=11)


def test_the_table_from_products_with_generators():
    n = 7
    right = (np.arange(n)[:, None] + 1) % n
    table = table_from_right_products(right, [(0, 0), *((b - 1, 0) for b in range(1, n))])
    assert np.array_equal(table, np.add.outer(np.arange(n), np.arange(n)) % n)
