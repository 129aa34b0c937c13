"""Wrong use is an error that names the argument, what it got, and what to do."""

import numpy as np
import pytest

import equijax as ej
from equijax.groups import Subgroup
from equijax.groups._point import MatrixSource, PointGroup
from equijax.groups._space import grid_ndim, point_group_of
from tests.catalogue import R
from tests.helpers import check_message

LOOP = [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]
SHEAR = [[1, 1], [0, 1]]


def _array(value):
    from equijax._arrays import FrozenArray

    return FrozenArray(value, np.float64)


#: name → (call, error, words that the message must contain)
CASES = {
    # integers
    "n = 0": (lambda: ej.Cyclic(0), ValueError, ["`n`", "is 0", "at least 1"]),
    "n = -2": (lambda: ej.Dihedral(-2), ValueError, ["`n`", "is -2", "at least 1"]),
    "n = 4.0": (lambda: ej.Cyclic(4.0), TypeError, ["`n`", "4.0", "integer"]),
    "n = True": (lambda: ej.Dihedral(True), TypeError, ["`n`", "True", "integer"]),
    "ndim of Trivial": (lambda: ej.Trivial(0), ValueError, ["`ndim`", "is 0", "at least 1"]),
    "ndim of Reflection": (lambda: ej.Reflection(0), ValueError, ["`ndim`", "is 0", "at least 1"]),
    "ndim of Translation": (lambda: ej.Translation(0), ValueError, ["`ndim`", "is 0", "at least 1"]),
    "n of Permutation": (lambda: ej.Permutation(-1), ValueError, ["`n`", "is -1", "at least 0"]),
    "n of Permutation, kind": (lambda: ej.Permutation("3"), TypeError, ["`n`", "'3'", "integer"]),
    "axis": (lambda: ej.Reflection(2, 2), ValueError, ["`axis`", "is 2", "0 … 1"]),
    "negative axis": (lambda: ej.Reflection(2, -3), ValueError, ["`axis`", "is -3", "0 … 1"]),
    # permutations
    "no permutations": (lambda: ej.FiniteGroup.from_permutations([]), ValueError, ["`generators`", "empty", "[[0]]"]),
    "repeated image": (
        lambda: ej.FiniteGroup.from_permutations([[0, 0, 1]]),
        ValueError,
        ["`generators`", "[0, 0, 1]", "0 … 2", "exactly once"],
    ),
    "lengths differ": (
        lambda: ej.FiniteGroup.from_permutations([[1, 0], [1, 2, 0]]),
        ValueError,
        ["`generators`", "[1, 2, 0]", "0 … 1"],
    ),
    "S7 is too large": (
        lambda: ej.FiniteGroup.from_permutations([[1, 2, 3, 4, 5, 6, 0], [1, 0, 2, 3, 4, 5, 6]]).order,
        ValueError,
        ["`generators`", "1024", "max_order"],
    ),
    "max_order": (
        lambda: ej.FiniteGroup.from_permutations([[1, 2, 0]], max_order=2).order,
        ValueError,
        ["`generators`", "more than 2 elements", "max_order"],
    ),
    # tables
    "oblong table": (lambda: ej.FiniteGroup.from_table([[0, 1]]), ValueError, ["`table`", "(1, 2)", "square"]),
    "empty table": (lambda: ej.FiniteGroup.from_table(np.zeros((0, 0), int)), ValueError, ["`table`", "(0, 0)", "square"]),
    "float table": (lambda: ej.FiniteGroup.from_table([[0.0]]), ValueError, ["`table`", "float64", "integers"]),
    "identity is not 0": (
        lambda: ej.FiniteGroup.from_table([[1, 0], [0, 1]]),
        ValueError,
        ["`table`", "identity", "0, 1, 2"],
    ),
    "no Latin square": (lambda: ej.FiniteGroup.from_table([[0, 1], [1, 1]]), ValueError, ["`table`", "once"]),
    "not associative": (
        lambda: ej.FiniteGroup.from_table(LOOP),
        ValueError,
        ["`table`", "associative", "a = 1", "table[a, b]"],
    ),
    "no source": (lambda: ej.FiniteGroup([[0]]), TypeError, ["list", "from_permutations", "from_table", "from_matrices"]),
    # matrices
    "complex": (lambda: PointGroup.from_matrices([[[1j]]]), ValueError, ["`generators`", "complex", "np.block"]),
    "no matrices": (lambda: PointGroup.from_matrices([]), ValueError, ["`generators`", "empty", "Trivial"]),
    "not square": (lambda: PointGroup.from_matrices([[[1, 0]]]), ValueError, ["`generators`", "(1, 2)", "square"]),
    "sizes differ": (lambda: PointGroup.from_matrices([R, np.eye(3)]), ValueError, ["`generators`", "(3, 3)", "(2, 2)"]),
    "a number": (lambda: PointGroup.from_matrices([1.0]), ValueError, ["`generators`", "()", "square"]),
    "singular": (lambda: PointGroup.from_matrices([[[1, 0], [0, 0]]]), ValueError, ["`generators`", "determinant 0", "±1"]),
    "scaling": (lambda: PointGroup.from_matrices([2 * np.eye(2)]), ValueError, ["`generators`", "determinant 4", "±1"]),
    "nan": (lambda: PointGroup.from_matrices([[[np.nan]]]), ValueError, ["`generators`", "nan", "±1"]),
    "shear": (lambda: PointGroup.from_matrices([SHEAR], max_order=50), ValueError, ["`generators`", "50", "max_order"]),
    "not closed": (
        lambda: PointGroup(MatrixSource(_array([np.eye(2), R]), (1,))).order,
        ValueError,
        ["`matrices`", "not closed", "from_matrices"],
    ),
    "no isometry of the basis": (
        lambda: PointGroup.from_matrices([R], basis=ej.HEXAGONAL),
        ValueError,
        ["`generators`", "isometry", "`basis`", "in_basis(basis)"],
    ),
    "basis shape": (lambda: ej.Cyclic(3).in_basis(np.eye(3)), ValueError, ["`basis`", "(3, 3)", "2 independent"]),
    "basis singular": (lambda: ej.Cyclic(3).in_basis(np.ones((2, 2))), ValueError, ["`basis`", "independent"]),
    "basis twice": (
        lambda: ej.Cyclic(3).in_basis(ej.HEXAGONAL).in_basis(ej.HEXAGONAL),
        ValueError,
        ["HEXAGONAL", "already", "Cartesian"],
    ),
    "no lattice": (lambda: ej.Cyclic(3).integer_matrices, ValueError, ["Cyclic(3)", "Z^2", "in_basis(HEXAGONAL)"]),
    # subgroups
    "no element": (lambda: ej.Cyclic(4).subgroup([4]), ValueError, ["`elements`", "holds 4", "Cyclic(4)", "0 … 3"]),
    "negative element": (lambda: ej.Cyclic(4).is_subgroup([0, -1]), ValueError, ["`elements`", "-1", "0 … 3"]),
    "not a subgroup": (lambda: Subgroup(ej.Cyclic(4), (0, 1)), ValueError, ["`elements`", "(0, 1)", "group.subgroup"]),
    "not sorted": (lambda: Subgroup(ej.Cyclic(4), (2, 0)), ValueError, ["`elements`", "(2, 0)", "sorted"]),
    "foreign subgroup": (
        lambda: ej.Cyclic(4).cosets(ej.Dihedral(4).subgroup([2])),
        ValueError,
        ["`subgroup`", "Dihedral(4)", "Cyclic(4)", "group.subgroup"],
    ),
    # translations and space groups
    "period length": (lambda: ej.Translation(2, (3, 3, 3)), ValueError, ["`period`", "(3, 3, 3)", "2 axes"]),
    "period 0": (lambda: ej.Translation(2, 0), ValueError, ["`period`", "is 0", "at least 1"]),
    "period 2.5": (lambda: ej.Translation(1, (2.5,)), TypeError, ["`period`", "2.5", "integer"]),
    "scalar period 2.5": (lambda: ej.Translation(1, 2.5), (TypeError, ValueError), ["`period`", "2.5", "integer"]),
    "infinite as_finite": (lambda: ej.Translation(2).as_finite(), ValueError, ["Translation(2)", "infinite", "period="]),
    "point group": (lambda: ej.SpaceGroup(4), TypeError, ["`point_group`", "4", "PointGroup", "Dihedral(4)"]),
    "space group of a space group": (
        lambda: ej.SpaceGroup(ej.wallpaper("p4")),
        TypeError,
        ["`point_group`", "SpaceGroup(Cyclic(4))", "Use its `point_group`"],
    ),
    "abstract point group": (
        lambda: ej.SpaceGroup(ej.FiniteGroup.from_permutations([[1, 0]])),
        TypeError,
        ["`point_group`", "PointGroup"],
    ),
    "space group without a lattice": (lambda: ej.SpaceGroup(ej.Cyclic(3)), ValueError, ["Cyclic(3)", "in_basis(HEXAGONAL)"]),
    "oblong torus": (
        lambda: ej.SpaceGroup(ej.Dihedral(4), (4, 5)),
        ValueError,
        ["`period`", "(4, 5)", "axes 0 and 1", "equally long"],
    ),
    "wallpaper name": (lambda: ej.wallpaper("p5"), ValueError, ["`name`", "'p5'", "p4m", "p6m"]),
    "glide reflections": (lambda: ej.wallpaper("p4g"), ValueError, ["`name`", "'p4g'", "glide", "p4m"]),
    "fields on S_n": (lambda: grid_ndim(ej.Permutation(3)), TypeError, ["`group`", "Permutation(3)", "SpaceGroup"]),
    "fibres of S_n": (lambda: point_group_of(ej.Permutation(3)), TypeError, ["`group`", "Permutation(3)", "SpaceGroup"]),
    # products
    "no factors": (lambda: ej.DirectProduct(), ValueError, ["`factors`", "empty", "at least one"]),
    "a factor": (lambda: ej.DirectProduct(ej.Cyclic(2), 3), TypeError, ["`factors`", "3", "int", "Group"]),
    # elements
    "listing": (lambda: ej.Translation(2).elements(), ValueError, ["Translation(2)", "inf", "sample"]),
}


@pytest.mark.parametrize(("call", "error", "words"), list(CASES.values()), ids=list(CASES))
def test_message(call, error, words):
    check_message(call, error, words)


@pytest.mark.parametrize("name", ["pg", "pmg", "pgg", "p4g"])
def test_the_four_groups_with_glides_are_explained(name):
    with pytest.raises(ValueError, match="glide reflections"):
        ej.wallpaper(name)


@pytest.mark.parametrize("group", [ej.Cyclic(4), ej.wallpaper("p4"), ej.DirectProduct(ej.Cyclic(2))], ids=repr)
def test_assignment_names_the_attribute_and_the_remedy(group):
    with pytest.raises(AttributeError, match="immutable; make a new group instead of changing `order`"):
        group.order = 3


def test_abstract_classes_cannot_be_made():
    for kind in (ej.Group, ej.SemidirectProduct):
        with pytest.raises(TypeError, match="abstract"):
            kind()
