"""Finite groups: tables, known values, properties of generated groups."""

import itertools
import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import equijax as ej
from tests.catalogue import ABSTRACT, FINITE, is_group_table, leaves, parametrize

every_group = pytest.mark.parametrize("group", **parametrize(FINITE))


@every_group
def test_the_table_is_that_of_a_group(group):
    """Exhaustive: every triple of every finite group."""
    assert is_group_table(group.table)
    assert (group.table[np.arange(group.order), group.inverses] == 0).all()
    assert (group.table[group.inverses, np.arange(group.order)] == 0).all()


def test_the_oracle_for_tables_notices_a_loop_that_is_no_group():
    loop = [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]
    assert not is_group_table(np.array(loop))


@pytest.mark.parametrize("group", **parametrize({name: FINITE[name] for name in ("one", "Dihedral(4)", "A5")}))
def test_compose_and_inverse_read_the_table(group):
    n = np.arange(group.order)
    assert np.array_equal(group.compose(n[:, None], n[None]), group.table)
    assert np.array_equal(group.inverse(n), group.inverses)
    assert np.array_equal(group.elements(), n)
    assert int(group.identity) == 0 and group.element_shape.shape == ()


@every_group
def test_tables_are_int32_and_read_only(group):
    for array in (group.table, group.inverses):
        assert array.dtype == np.int32
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("name", "order", "classes", "subgroups"),
    [
        ("Trivial(2)", 1, 1, 1),
        ("Cyclic(6)", 6, 6, 4),
        ("Cyclic(7)", 7, 7, 2),
        ("Dihedral(1)", 2, 2, 2),
        ("Dihedral(2)", 4, 4, 5),
        ("Dihedral(3)", 6, 3, 6),
        ("Dihedral(4)", 8, 5, 10),
        ("Dihedral(5)", 10, 4, 8),
        ("Dihedral(6)", 12, 6, 16),
        ("hexagonal D6", 12, 6, 16),
        ("Reflection(2, 1)", 2, 2, 2),
        ("Octahedral()", 24, 5, 30),
        ("Octahedral(True)", 48, 10, 98),
        ("icosahedral", 60, 5, 59),
        ("S3", 6, 3, 6),
        ("S4", 24, 5, 30),
        ("A4", 12, 4, 10),
        ("A5", 60, 5, 59),
        ("Q8", 8, 5, 6),
        ("Z6 table", 6, 6, 4),
        ("one", 1, 1, 1),
    ],
)
def test_known_orders_classes_and_subgroups(name, order, classes, subgroups):
    group = FINITE[name]
    assert (group.order, len(group.conjugacy_classes), len(group.subgroups())) == (order, classes, subgroups)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("S4", [1, 3, 6, 6, 8]),
        ("A4", [1, 3, 4, 4]),
        ("A5", [1, 12, 12, 15, 20]),
        ("Q8", [1, 1, 2, 2, 2]),
        ("Dihedral(4)", [1, 1, 2, 2, 2]),
        ("Octahedral()", [1, 3, 6, 6, 8]),
    ],
)
def test_class_sizes(name, sizes):
    group = FINITE[name]
    classes = group.conjugacy_classes
    assert sorted(map(len, classes)) == sizes
    assert sorted(g for c in classes for g in c) == list(range(group.order))
    assert [c[0] for c in classes] == sorted(min(c) for c in classes)
    for members in classes:
        for h in range(group.order):
            assert int(group.table[group.table[h, members[0]], group.inverses[h]]) in members


def _orders_of_elements(group):
    counts = []
    for g in range(group.order):
        power, k = g, 1
        while power:
            power, k = int(group.table[power, g]), k + 1
        counts.append(k)
    return sorted(counts)


def test_q8_has_one_involution_and_every_subgroup_is_normal():
    q8 = ABSTRACT["Q8"]
    assert _orders_of_elements(q8) == [1, 2, 4, 4, 4, 4, 4, 4]
    assert all(q8.is_normal(k) for k in q8.subgroups())


def test_a4_has_no_subgroup_of_order_6_and_a5_is_simple():
    assert 6 not in [k.order for k in ABSTRACT["A4"].subgroups()]
    a5 = ABSTRACT["A5"]
    assert [k.order for k in a5.subgroups() if a5.is_normal(k)] == [1, 60]


def test_breadth_first_order_multiplies_on_the_right():
    p, q = np.array([1, 2, 0]), np.array([1, 0, 2])
    group = ej.FiniteGroup.from_permutations([p, q])
    #         0: e, 1: p, 2: q, 3: p∘p, 4: p∘q, 5: q∘p, where (p∘q)[i] = p[q[i]]
    elements = [np.arange(3), p, q, p[p], p[q], q[p]]
    for a, x in enumerate(elements):
        for b, y in enumerate(elements):
            assert np.array_equal(elements[group.table[a, b]], x[y])
    assert group.generators == (1, 2)


def test_numbers_follow_the_generators_as_given():
    cycle, swap = [1, 2, 3, 0], [1, 0, 2, 3]
    one, other = (ej.FiniteGroup.from_permutations(g) for g in ([cycle, swap], [swap, cycle]))
    assert one.order == other.order == 24 and one != other


def test_identities_and_duplicates_among_the_generators_are_dropped():
    group = ej.FiniteGroup.from_permutations([[0, 1, 2], [1, 2, 0], [1, 2, 0]])
    assert (group.order, group.generators) == (3, (1,))


@st.composite
def generator_lists(draw):
    n = draw(st.integers(1, 5))
    return draw(st.lists(st.permutations(range(n)), min_size=1, max_size=3))


@hypothesis.given(generator_lists())
def test_any_permutations_generate_a_group(generators):
    group = ej.FiniteGroup.from_permutations(generators)
    assert is_group_table(group.table)
    assert math.factorial(len(generators[0])) % group.order == 0
    assert group.subgroup(group.generators).order == group.order
    assert group == ej.FiniteGroup.from_permutations(generators)
    again = ej.FiniteGroup.from_table(group.table)
    assert again == group and hash(again) == hash(group)
    assert again.subgroup(again.generators).order == group.order
    for members in group.conjugacy_classes:
        assert group.order % len(members) == 0


@hypothesis.given(st.integers(1, 12), st.data())
def test_from_table_keeps_the_order_of_the_elements(n, data):
    relabel = np.array([0, *data.draw(st.permutations(range(1, n)))])
    table = np.empty((n, n), int)
    table[np.ix_(relabel, relabel)] = relabel[np.add.outer(np.arange(n), np.arange(n)) % n]
    group = ej.FiniteGroup.from_table(table)
    assert np.array_equal(group.table, table)
    assert (group == ej.FiniteGroup.from_table(np.add.outer(np.arange(n), np.arange(n)) % n)) == np.array_equal(
        table, np.add.outer(np.arange(n), np.arange(n)) % n
    )


def test_from_table_copies_its_argument():
    table = np.add.outer(np.arange(3), np.arange(3)) % 3
    group = ej.FiniteGroup.from_table(table)
    table[:] = 0
    assert is_group_table(group.table)


def test_elements_of_any_integer_kind_compose():
    group = ej.Cyclic(4)
    for one in (1, np.int32(1), np.int64(1), np.uint8(1)):
        assert leaves(group.compose(one, [one, 3]))[0].tolist() == [2, 0]


def _loops(n):
    """Every Latin square of 0 … n - 1 whose first row and column are in order."""

    def extended(rows):
        if len(rows) == n:
            yield np.array(rows)
            return
        for rest in itertools.permutations(set(range(n)) - {len(rows)}):
            row = (len(rows), *rest)
            if all(a != b for other in rows for a, b in zip(row, other, strict=True)):
                yield from extended([*rows, row])

    return extended([tuple(range(n))])


def test_of_all_loops_of_order_five_the_associative_ones_are_groups():
    accepted = 0
    for table in _loops(5):
        try:
            ej.FiniteGroup.from_table(table)
            found = True
        except ValueError as error:
            assert "associative" in str(error)
            found = False
        assert found == is_group_table(table)
        accepted += found
    assert accepted == 6  # of 56: the cyclic group, its other elements numbered in 4! / 4 ways
