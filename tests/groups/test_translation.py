"""Translations of a grid and of a torus."""

import math

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

import equijax as ej
from tests.catalogue import is_group_table

vectors = hnp.arrays(np.int32, (4, 3), elements=st.integers(-1000, 1000))


@hypothesis.given(vectors, vectors)
def test_the_infinite_grid_adds(a, b):
    group = ej.Translation(3)
    assert np.array_equal(group.compose(a, b), a + b)
    assert np.array_equal(group.inverse(a), -a)
    assert np.array_equal(group.isclose(a, b), (a == b).all(1))
    assert np.array_equal(group.reduce(a), a)


@hypothesis.given(vectors, vectors)
def test_the_torus_adds_modulo_the_period(a, b):
    period = np.array([1, 4, 6], np.int32)
    group = ej.Translation(3, (1, 4, 6))
    assert np.array_equal(group.compose(a, b), (a + b) % period)
    assert np.array_equal(group.inverse(a), -a % period)
    assert np.array_equal(group.isclose(a, b), ((a - b) % period == 0).all(1))
    assert np.array_equal(group.isclose(a, a + 3 * period), [True] * 4)


@pytest.mark.parametrize("period", [(5,), (1,), (2, 3), (3, 1, 2)])
def test_as_finite_is_a_bijection_of_groups(period):
    group = ej.Translation(len(period), period)
    finite, vector = group.as_finite()
    assert finite.order == group.order == math.prod(period) and vector.shape == (finite.order, len(period))
    assert vector.dtype == np.int32 and is_group_table(finite.table)
    assert np.array_equal(vector, np.indices(period).reshape(len(period), -1).T), "C order"
    assert np.array_equal(group.elements(), vector)
    for a in range(finite.order):
        for b in range(finite.order):
            assert np.array_equal(vector[finite.table[a, b]], (vector[a] + vector[b]) % np.array(period))
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 1
    again, same = ej.Translation(len(period), period).as_finite()
    assert again is finite and same is vector


def test_a_cyclic_torus_has_the_table_of_the_rotations():
    finite, _ = ej.Translation(1, 6).as_finite()
    assert np.array_equal(finite.table, ej.Cyclic(6).table)
    assert finite != ej.Cyclic(6), "a group of matrices is more than its table"


@pytest.mark.parametrize("period", [5, np.int64(5), [5, 5], (5, 5), np.array([5, 5])])
def test_period_is_normalised(period):
    group = ej.Translation(2, period)
    assert group.period == (5, 5) and group == ej.Translation(2, (5, 5))
    assert hash(group) == hash(ej.Translation(2, (5, 5))) and group.order == 25


def test_generators_are_unit_vectors():
    assert [g.tolist() for g in ej.Translation(2).generators] == [[1, 0], [0, 1]]


def test_values():
    assert ej.Translation(2) == ej.Translation(2) != ej.Translation(3)
    assert ej.Translation(2) != ej.Translation(2, 5) != ej.Translation(2, 6)
    assert repr(ej.Translation(2)) == "Translation(2)" and repr(ej.Translation(2, 5)) == "Translation(2, period=(5, 5))"
