"""Groups are immutable values: equality, hashing, pickling, sharing of tables, static arguments of jit."""

import copy
import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from tests.catalogue import ALL, FINITE, POINT, WALLPAPER, Flips, R, parametrize

every_group = pytest.mark.parametrize("group", **parametrize(ALL))

EQUAL = {
    "names": lambda: (ej.wallpaper("p4m"), ej.SpaceGroup(ej.Dihedral(4))),
    "from a matrix": lambda: (ej.Cyclic(4), ej.PointGroup.from_matrices([R])),
    "rounding": lambda: (ej.Cyclic(5), ej.PointGroup.from_matrices([ej.Cyclic(5).matrices[1] + 1e-11])),
    "source": lambda: (
        ej.FiniteGroup.from_permutations([[1, 2, 0]]),
        ej.FiniteGroup.from_table([[0, 1, 2], [1, 2, 0], [2, 0, 1]]),
    ),
    "other generators": lambda: (ej.Cyclic(4), ej.PointGroup.from_matrices([R, np.linalg.matrix_power(R, 2)])),
    "subgroup": lambda: (ej.Dihedral(4).subgroup([1]).as_group(), ej.Cyclic(4)),
    "reflection": lambda: (ej.Reflection(2, 1), ej.Dihedral(1)),
    "trivial": lambda: (ej.Trivial(2), ej.Cyclic(1)),
    "basis": lambda: (ej.wallpaper("p6m").point_group, ej.Dihedral(6).in_basis(np.array(ej.HEXAGONAL))),
    "period": lambda: (ej.wallpaper("p4", 5), ej.SpaceGroup(ej.Cyclic(4), (5, 5))),
    "product": lambda: (ej.DirectProduct(ej.Cyclic(4)), ej.DirectProduct(ej.PointGroup.from_matrices([R]))),
    "user": lambda: (Flips(4), Flips(4)),
}
UNEQUAL = {
    "element order": (ej.Dihedral(4), ej.PointGroup.from_matrices([R, [[1, 0], [0, -1]]])),
    "element order of a table": (
        ej.FiniteGroup.from_permutations([[1, 2, 3, 0]]),
        ej.FiniteGroup.from_permutations([[2, 3, 0, 1], [1, 2, 3, 0]]),
    ),
    "matrices": (ej.Reflection(2, 0), ej.Reflection(2, 1)),
    "dimension": (ej.Reflection(1), ej.Reflection(2)),
    "sense of rotation": (ej.Cyclic(4), ej.PointGroup.from_matrices([np.transpose(R)])),
    "basis": (ej.Cyclic(2), ej.Cyclic(2).in_basis(ej.HEXAGONAL)),
    "matrices against a table": (ej.Cyclic(3), ej.FiniteGroup.from_permutations([[1, 2, 0]])),
    "period": (ej.wallpaper("p4"), ej.wallpaper("p4", 4)),
    "kind": (ej.Translation(2), ej.wallpaper("p1")),
    "factors": (ej.DirectProduct(ej.Cyclic(2)), ej.Cyclic(2)),
    "user": (Flips(4), Flips(5)),
    "p3m1 and p31m": (ej.wallpaper("p3m1"), ej.wallpaper("p31m")),
}


@pytest.mark.parametrize("make", **parametrize(EQUAL))
def test_equal_groups(make):
    a, b = make()
    assert a == b and b == a and not a != b and hash(a) == hash(b) and len({a, b}) == 1


@pytest.mark.parametrize("pair", **parametrize(UNEQUAL))
def test_unequal_groups(pair):
    a, b = pair
    assert a != b and b != a and not a == b and len({a, b}) == 2


@every_group
def test_comparison_with_foreign_objects(group):
    assert group.__eq__("a group") is NotImplemented
    assert group != "a group" and not group == 3


@every_group
def test_copies_are_equal(group):
    restored = pickle.loads(pickle.dumps(group))
    for other in (restored, copy.copy(group), copy.deepcopy(group)):
        assert type(other) is type(group) and other == group and hash(other) == hash(group)
        assert repr(other) == repr(group) and other.generators is not None


@pytest.mark.parametrize("group", **parametrize(FINITE))
def test_pickles_carry_the_defining_data_only(group):
    restored = pickle.loads(pickle.dumps(group))
    assert restored.table is group.table and restored.inverses is group.inverses
    assert restored.generators == group.generators
    if type(group) is not ej.PointGroup and isinstance(group, ej.PointGroup):
        assert len(pickle.dumps(group)) < 120, "a named group is its arguments"


@every_group
def test_immutable(group):
    for name in ("order", "table", "normal", "something"):
        with pytest.raises(AttributeError):
            setattr(group, name, 1)


@every_group
def test_repr_is_short_and_without_arrays(group):
    assert len(repr(group)) < 200 and "array" not in repr(group) and "object at" not in repr(group)


@pytest.mark.parametrize("group", **parametrize(FINITE))
def test_equal_groups_share_their_tables(group):
    other = copy.deepcopy(group)
    assert other is not group
    assert other.table is group.table and other.inverses is group.inverses
    assert other.conjugacy_classes is group.conjugacy_classes
    a, b = group.subgroup(group.generators[:1]), other.subgroup(group.generators[:1])
    assert a.cosets is b.cosets and a.coset_of is b.coset_of and a.as_group() is b.as_group()
    assert ej.reps.Regular(group).table is ej.reps.Regular(other).table
    assert ej.reps.Quotient(a).table is ej.reps.Quotient(b).table


@pytest.mark.parametrize("group", **parametrize({k: g for k, g in POINT.items() if g.preserves_lattice}))
def test_equal_point_groups_share_their_integer_matrices(group):
    other = copy.deepcopy(group)
    assert other.integer_matrices is group.integer_matrices and other.mixed_axes is group.mixed_axes
    with pytest.raises(ValueError, match="read-only"):
        group.integer_matrices[0] = 0


def test_groups_by_another_name_share_their_tables():
    assert ej.wallpaper("p4m").point_group.table is ej.Dihedral(4).table
    assert ej.PointGroup.from_matrices([R]).table is ej.Cyclic(4).table


SCRIPT = """
import pickle, sys
from tests.catalogue import ALL
groups = {name: group for name, group in ALL.items() if name in %r}
sys.stdout.buffer.write(pickle.dumps({name: (group, getattr(group, "order", 0)) for name, group in groups.items()}))
"""


def test_another_process_with_another_hash_seed():
    names = [
        "Dihedral(4)",
        "icosahedral",
        "hexagonal D6",
        "Q8",
        "S4",
        "p6m",
        "Translation(2, (3, 5))",
        "C4 × S3",
        "Flips(5)",
    ]
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", SCRIPT % (names,)], env=environment, capture_output=True, check=True)
    received = pickle.loads(done.stdout)
    here = {group: name for name, group in ALL.items()}
    for name in names:
        group, order = received[name]
        assert group == ALL[name] and here[group] == here[ALL[name]] and order == ALL[name].order
        if isinstance(group, ej.FiniteGroup):
            assert group.table is ALL[name].table


@pytest.mark.parametrize(
    "make",
    [
        lambda: ej.PointGroup.from_matrices([R]),
        lambda: ej.FiniteGroup.from_permutations([[1, 2, 0], [1, 0, 2]]),
        lambda: ej.wallpaper("p6m"),
        lambda: ej.Translation(2, 5),
        lambda: ej.DirectProduct(ej.Cyclic(2), ej.Permutation(3)),
        lambda: Flips(4),
    ],
    ids=["point", "permutations", "space", "torus", "product", "user"],
)
def test_static_argument_of_jit_without_retracing(make):
    traces = []

    def square(group, a):
        traces.append(group)
        return group.compose(a, a)

    jitted = jax.jit(square, static_argnums=0)
    first, second = make(), make()
    assert first is not second
    a = first.sample(jax.random.key(0))
    one, two = jitted(first, a), jitted(second, a)
    assert len(traces) == 1 and bool(first.isclose(one, two))
    assert bool(first.isclose(one, first.compose(a, a)))


def test_unequal_groups_are_traced_apart():
    traces = []

    def inverse(group, a):
        traces.append(group)
        return group.inverse(a)

    jitted = jax.jit(inverse, static_argnums=0)
    results = [int(jitted(group, jnp.int32(3))) for group in (ej.Cyclic(4), ej.Cyclic(5), ej.Dihedral(4))]
    assert results == [1, 2, 1] and len(traces) == 3


def test_groups_are_keys_of_dictionaries_and_leaves_of_pytrees():
    table = {group: name for name, group in WALLPAPER.items()}
    assert table[ej.SpaceGroup(ej.Dihedral(4))] == "p4m"
    assert jax.tree.leaves(ej.Cyclic(4)) == [ej.Cyclic(4)]
