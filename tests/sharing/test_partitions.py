"""Set partitions: numbers, order, patterns, refinement."""

import itertools

import numpy as np
import pytest

from equijax.sharing import bell_number, equality_pattern, set_partitions
from equijax.sharing._partitions import block_count, refinement, refines, stirling_number
from tests.helpers import check_message

BELL = [1, 1, 2, 5, 15, 52, 203, 877, 4140]


@pytest.mark.parametrize("size", range(9))
def test_counts(size):
    partitions = set_partitions(size)
    assert len(set(partitions)) == len(partitions) == bell_number(size) == BELL[size]
    for blocks in range(size + 2):
        assert sum(block_count(p) == blocks for p in partitions) == stirling_number(size, blocks)


@pytest.mark.parametrize("size", range(6))
def test_restricted_growth_strings_in_lexicographic_order(size):
    partitions = set_partitions(size)
    assert list(partitions) == sorted(partitions)
    assert set(partitions) == {equality_pattern(index) for index in itertools.product(range(size), repeat=size)}
    assert all(equality_pattern(p) == p for p in partitions)


def test_patterns_of_few_values():
    for n in range(1, 5):
        found = {equality_pattern(index) for index in itertools.product(range(n), repeat=4)}
        assert len(found) == sum(stirling_number(4, blocks) for blocks in range(n + 1))


def test_refinement_is_the_order_of_the_lattice():
    partitions, table = set_partitions(4), refinement(4)
    assert table[-1].all() and table[:, 0].all() and np.diag(table).all()
    assert not (table & table.T & ~np.eye(len(table), dtype=bool)).any()
    assert (table == ((table.astype(int) @ table.astype(int)) > 0)).all()
    for (a, fine), (b, coarse) in itertools.product(enumerate(partitions), repeat=2):
        pairs = itertools.combinations(range(4), 2)
        assert table[a, b] == all(coarse[i] == coarse[j] for i, j in pairs if fine[i] == fine[j])
    with pytest.raises(ValueError):
        table[0, 0] = False


def test_wrong_use():
    check_message(lambda: set_partitions(-1), ValueError, ["`size`", "-1"])
    check_message(lambda: bell_number(2.0), TypeError, ["`size`", "2.0"])
    check_message(lambda: stirling_number(3, -2), ValueError, ["`blocks`", "-2"])
    check_message(lambda: refines((0, 1), (0,)), ValueError, ["`fine`", "`coarse`", "2", "1"])
