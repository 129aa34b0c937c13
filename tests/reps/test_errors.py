"""Wrong use is an error that names the argument, what it got, and what to do."""

import numpy as np
import pytest

import equijax as ej
from equijax.reps import PermutationRep, Quotient, Regular, Representation, Scalar, restrict
from tests.helpers import check_message

C4, D4 = ej.Cyclic(4), ej.Dihedral(4)

CASES = {
    "Scalar of a space group": (
        lambda: Scalar(ej.wallpaper("p4")),
        TypeError,
        ["`group`", "SpaceGroup(Cyclic(4))", "FiniteGroup", "`point_group`"],
    ),
    "Regular of a number": (lambda: Regular(4), TypeError, ["`group`", "4", "FiniteGroup", "Dihedral(4)"]),
    "Regular of S_n": (lambda: Regular(ej.Permutation(3)), TypeError, ["`group`", "Permutation(3)", "FiniteGroup"]),
    "Quotient by numbers": (lambda: Quotient([0, 1]), TypeError, ["`subgroup`", "[0, 1]", "group.subgroup(elements)"]),
    "Quotient by a group": (lambda: Quotient(C4), TypeError, ["`subgroup`", "Cyclic(4)", "group.subgroup(elements)"]),
    "rep of no group": (lambda: PermutationRep(None, [[0]]), TypeError, ["`group`", "None", "FiniteGroup"]),
    "rows are missing": (
        lambda: PermutationRep(C4, [[0, 1], [1, 0]]),
        ValueError,
        ["`table`", "(2, 2)", "4 elements", "Cyclic(4)", "from_generators"],
    ),
    "one axis": (lambda: PermutationRep(C4, [0, 1, 2, 3]), ValueError, ["`table`", "(4,)", "4 elements"]),
    "no coordinates": (lambda: PermutationRep(C4, np.zeros((4, 0), int)), ValueError, ["`table`", "(4, 0)"]),
    "no permutation": (
        lambda: PermutationRep(ej.Reflection(1), [[0, 1], [1, 1]]),
        ValueError,
        ["`table`", "not a permutation", "0 … 1"],
    ),
    "floats": (lambda: PermutationRep(ej.Reflection(1), [[0.0, 1.0], [1.0, 0.0]]), ValueError, ["`table`", "0 … 1"]),
    "no homomorphism": (
        lambda: PermutationRep(C4, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]),
        ValueError,
        ["`table`", "does not compose", "order of the rows"],
    ),
    "row 0 is not the identity": (
        lambda: PermutationRep(ej.Trivial(1), [[1, 0]]),
        ValueError,
        ["`table`", "row 0", "identity"],
    ),
    "rows in another order": (
        lambda: PermutationRep(D4, D4.table[[0, 1, 2, 3, 4, 7, 6, 5]]),
        ValueError,
        ["`table`", "order of the rows"],
    ),
    "number of images": (
        lambda: PermutationRep.from_generators(D4, [[1, 0]]),
        ValueError,
        ["`images`", "1 permutations", "Dihedral(4)", "(1, 4)"],
    ),
    "other relations": (
        lambda: PermutationRep.from_generators(C4, [[1, 2, 0]]),
        ValueError,
        ["`table`", "does not compose"],
    ),
    "lengths of the images": (
        lambda: PermutationRep.from_generators(D4, [[1, 0], [1, 2, 0]]),
        ValueError,
        ["`images`", "[1, 2, 0]", "0 … 1"],
    ),
    "images out of range": (
        lambda: PermutationRep.from_generators(C4, [[5, 1]]),
        ValueError,
        ["`images`", "[5, 1]", "exactly once"],
    ),
    "numbers as images": (lambda: PermutationRep.from_generators(C4, [1]), ValueError, ["`images`", "holds 1", "list"]),
    "from_generators of no group": (lambda: PermutationRep.from_generators(3, []), TypeError, ["`group`", "3"]),
    "restriction to a foreign subgroup": (
        lambda: restrict(Regular(C4), D4.subgroup([1])),
        ValueError,
        ["`subgroup`", "Dihedral(4)", "Cyclic(4)"],
    ),
    "sum over two groups": (lambda: Regular(C4) + Regular(D4), ValueError, ["different groups", "Cyclic(4)", "Dihedral(4)"]),
}


@pytest.mark.parametrize(("call", "error", "words"), list(CASES.values()), ids=list(CASES))
def test_message(call, error, words):
    check_message(call, error, words)


def test_assignment_names_the_attribute_and_the_remedy():
    with pytest.raises(AttributeError, match="immutable; make a new one instead of changing `table`"):
        PermutationRep(ej.Trivial(1), [[0]]).table = None


def test_the_contract_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Representation()


def test_a_representation_is_no_permutation_unless_it_says_so():
    class Sign(Representation):
        group, dim = ej.Cyclic(2), 1

        def __call__(self, g):
            return 1.0 - 2.0 * np.asarray(g)[..., None, None]

    assert not Sign().is_permutation and Sign().shape == (1,)
