"""The symmetric group, against matrices and itertools."""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import equijax as ej
from tests.catalogue import all_permutations, permutation_matrix


@st.composite
def two_permutations(draw):
    n = draw(st.integers(1, 6))
    return tuple(np.array(draw(st.permutations(range(n))), np.int32) for _ in range(2))


@hypothesis.given(two_permutations())
def test_composition_is_that_of_matrices(pair):
    p, q = pair
    group = ej.Permutation(len(p))
    pq = np.asarray(group.compose(p, q))
    assert np.array_equal(pq, [p[q[i]] for i in range(len(p))])
    assert np.array_equal(permutation_matrix(pq), permutation_matrix(p) @ permutation_matrix(q))
    assert np.array_equal(permutation_matrix(np.asarray(group.inverse(p))), permutation_matrix(p).T)


@pytest.mark.parametrize("n", range(1, 5))
def test_order_and_generators(n):
    group = ej.Permutation(n)
    assert group.order == math.factorial(n) and len(group.generators) == min(n - 1, 2)
    if n > 1:
        assert ej.FiniteGroup.from_permutations(group.generators).order == group.order


def test_large_groups_are_never_enumerated():
    group = ej.Permutation(200)
    assert group.order == math.factorial(200) and hash(group) == hash(ej.Permutation(200))
    with pytest.raises(ValueError, match="sample"):
        group.elements()


def test_batches_multiply_elementwise():
    group, s3 = ej.Permutation(3), all_permutations(3)
    table = np.asarray(group.compose(s3[:, None], s3[None]))
    for i, p in enumerate(s3):
        for j, q in enumerate(s3):
            assert np.array_equal(table[i, j], p[q])
