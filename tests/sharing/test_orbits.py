"""Orbits from generators, against brute force over all elements."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import equijax as ej
from equijax.sharing import orbits
from equijax.sharing._orbits import by_first_appearance, pair_orbits
from tests.catalogue import FINITE, all_permutations, brute_orbits, parametrize


@hypothesis.given(st.data())
def test_orbits_of_generated_permutation_groups(data):
    n = data.draw(st.integers(1, 6))
    generators = data.draw(st.lists(st.permutations(range(n)), max_size=3))
    label = list(range(n))
    changed = True
    while changed:
        changed = False
        for p in generators:
            for i in range(n):
                low = min(label[i], label[p[i]])
                changed |= label[i] != low or label[p[i]] != low
                label[i] = label[p[i]] = low
    number = {x: k for k, x in enumerate(sorted(set(label)))}
    found = orbits([np.array(p) for p in generators], n)
    assert found.tolist() == [number[x] for x in label] and found.dtype == np.int32


@hypothesis.given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_numbers_by_first_appearance(labels):
    seen: dict[int, int] = {}
    expected = [seen.setdefault(x, len(seen)) for x in labels]
    assert by_first_appearance(np.array(labels)).tolist() == expected


def test_no_generators_leave_every_point_alone():
    assert orbits([], 4).tolist() == [0, 1, 2, 3]
    assert pair_orbits([], [], 2, 2).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("group", **parametrize({k: FINITE[k] for k in ("S3", "Q8", "A4", "Dihedral(4)", "S4")}))
def test_pair_orbits_are_those_of_all_elements_and_count_as_burnside_says(group):
    into, out = group.table, ej.reps.Quotient(group.subgroup(group.generators[:1])).table
    found = pair_orbits([out[g] for g in group.generators], [into[g] for g in group.generators], out.shape[1], into.shape[1])
    pairs = (out[:, :, None] * into.shape[1] + into[:, None, :]).reshape(group.order, -1)
    assert np.array_equal(found.reshape(-1), brute_orbits(pairs))
    fixed = [(o == np.arange(len(o))).sum() * (i == np.arange(len(i))).sum() for o, i in zip(out, into, strict=True)]
    assert found.max() + 1 == sum(fixed) / group.order


@pytest.mark.parametrize(("n", "count"), [(1, 1), (2, 8), (3, 14), (4, 15), (5, 15)])
def test_pairs_of_points_have_bells_number_of_orbits(n, count):
    swap, cycle = np.arange(n), np.roll(np.arange(n), -1)
    swap[:2] = swap[:2][::-1]
    images = [(n * p[:, None] + p[None]).reshape(-1) for p in (swap, cycle)]
    assert pair_orbits(images, images, n * n, n * n).max() + 1 == count
    if n <= 4:
        every = np.stack([(n * p[:, None] + p[None]).reshape(-1) for p in all_permutations(n)])
        pairs = (every[:, :, None] * n * n + every[:, None, :]).reshape(len(every), -1)
        assert brute_orbits(pairs).max() + 1 == count
