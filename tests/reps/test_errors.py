"""Wrong use is an error that names the argument, what it got, and what to do."""

import jax.numpy as jnp
import numpy as np
import pytest

import equijax as ej
from equijax import reps
from equijax.reps import (
    FunctionRepresentation,
    MatrixRepresentation,
    PermutationRepresentation,
    Quotient,
    Regular,
    Representation,
    Scalar,
    Vector,
    restrict,
)
from tests.helpers import check_message
from tests.reps.matrix_groups import MatrixGroup

C4, D4, SO2 = ej.Cyclic(4), ej.Dihedral(4), MatrixGroup("SO(2)")
TURN = np.array([[0.0, -1.0], [1.0, 0.0]])

CASES = {
    "complex change of coordinates": (
        lambda: reps.conjugated(Vector(C4), np.eye(2) + 1j * np.ones((2, 2))),
        ValueError,
        ["`matrix`", "complex", "np.block([[A, -B], [B, A]])"],
    ),
    "complex matrices of generators": (
        lambda: MatrixRepresentation.from_generators(C4, [np.array([[1j]])]),
        ValueError,
        ["`matrices`", "complex"],
    ),
    "complex table": (
        lambda: MatrixRepresentation(C4, [[[1]], [[1j]], [[-1]], [[-1j]]]),
        ValueError,
        ["`matrices`", "complex"],
    ),
    "complex function": (
        lambda: FunctionRepresentation(C4, lambda g: jnp.full((1, 1), 1j)),
        ValueError,
        ["`function`", "complex"],
    ),
    "Scalar of a space group": (
        lambda: Scalar(ej.wallpaper("p4")),
        TypeError,
        ["`group`", "SpaceGroup(Cyclic(4))", "FiniteGroup", "`point_group`"],
    ),
    "Regular of a number": (lambda: Regular(4), TypeError, ["`group`", "4", "FiniteGroup", "Dihedral(4)"]),
    "Regular of S_n": (lambda: Regular(ej.Permutation(3)), TypeError, ["`group`", "Permutation(3)", "FiniteGroup"]),
    "Quotient by numbers": (lambda: Quotient([0, 1]), TypeError, ["`subgroup`", "[0, 1]", "group.subgroup(elements)"]),
    "Quotient by a group": (lambda: Quotient(C4), TypeError, ["`subgroup`", "Cyclic(4)", "group.subgroup(elements)"]),
    "rep of no group": (lambda: PermutationRepresentation(None, [[0]]), TypeError, ["`group`", "None", "FiniteGroup"]),
    "rows are missing": (
        lambda: PermutationRepresentation(C4, [[0, 1], [1, 0]]),
        ValueError,
        ["`table`", "(2, 2)", "4 elements", "Cyclic(4)", "from_generators"],
    ),
    "one axis": (lambda: PermutationRepresentation(C4, [0, 1, 2, 3]), ValueError, ["`table`", "(4,)", "4 elements"]),
    "no coordinates": (lambda: PermutationRepresentation(C4, np.zeros((4, 0), int)), ValueError, ["`table`", "(4, 0)"]),
    "no permutation": (
        lambda: PermutationRepresentation(ej.Reflection(1), [[0, 1], [1, 1]]),
        ValueError,
        ["`table`", "not a permutation", "0 … 1"],
    ),
    "floats": (
        lambda: PermutationRepresentation(ej.Reflection(1), [[0.0, 1.0], [1.0, 0.0]]),
        TypeError,
        ["`table`", "[[0.0, 1.0], [1.0, 0.0]]", "integers 0 … dim - 1"],
    ),
    "no homomorphism": (
        lambda: PermutationRepresentation(C4, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]),
        ValueError,
        ["`table`", "does not compose", "order of the rows"],
    ),
    "row 0 is not the identity": (
        lambda: PermutationRepresentation(ej.Trivial(1), [[1, 0]]),
        ValueError,
        ["`table`", "row 0", "identity"],
    ),
    "rows in another order": (
        lambda: PermutationRepresentation(D4, D4.table[[0, 1, 2, 3, 4, 7, 6, 5]]),
        ValueError,
        ["`table`", "order of the rows"],
    ),
    "number of images": (
        lambda: PermutationRepresentation.from_generators(D4, [[1, 0]]),
        ValueError,
        ["`images`", "1 permutations", "Dihedral(4)", "(1, 4)"],
    ),
    "other relations": (
        lambda: PermutationRepresentation.from_generators(C4, [[1, 2, 0]]),
        ValueError,
        ["`table`", "does not compose"],
    ),
    "lengths of the images": (
        lambda: PermutationRepresentation.from_generators(D4, [[1, 0], [1, 2, 0]]),
        ValueError,
        ["`images`", "[1, 2, 0]", "0 … 1"],
    ),
    "images out of range": (
        lambda: PermutationRepresentation.from_generators(C4, [[5, 1]]),
        ValueError,
        ["`images`", "[5, 1]", "exactly once"],
    ),
    "numbers as images": (
        lambda: PermutationRepresentation.from_generators(C4, [1]),
        ValueError,
        ["`images`", "holds 1", "list"],
    ),
    "from_generators of no group": (lambda: PermutationRepresentation.from_generators(3, []), TypeError, ["`group`", "3"]),
    "restriction to a foreign subgroup": (
        lambda: restrict(Regular(C4), D4.subgroup([1])),
        ValueError,
        ["`subgroup`", "Dihedral(4)", "Cyclic(4)"],
    ),
    "sum over two groups": (lambda: Regular(C4) + Regular(D4), ValueError, ["different groups", "Cyclic(4)", "Dihedral(4)"]),
    "product with a word": (lambda: Regular(C4) * "3", TypeError, ["`count`", "'3'", "str", "number of copies"]),
    "product with a float": (lambda: 2.5 * Regular(C4), TypeError, ["`count`", "2.5", "float", "integer"]),
    "no copies": (lambda: 0 * Regular(C4), ValueError, ["`count`", "0", "at least one"]),
    "True copies": (lambda: True * Regular(C4), ValueError, ["`count`", "True", "at least one"]),
    "sum with a number": (lambda: Regular(C4) + 1, TypeError, ["`summands`", "1", "int", "representation"]),
    "empty sum": (lambda: reps.direct_sum(), ValueError, ["`reps`", "empty"]),
    "sum of no representation": (lambda: reps.direct_sum(Regular(C4), None), TypeError, ["`reps`", "None", "NoneType"]),
    "empty product": (lambda: reps.tensor_product(), ValueError, ["`reps`", "empty"]),
    "product over two groups": (
        lambda: Vector(C4) * Vector(D4),
        ValueError,
        ["different groups", "Cyclic(4)", "Dihedral(4)", "restrict"],
    ),
    "sum of matrices over two groups": (lambda: Vector(C4) + Regular(D4), ValueError, ["different groups", "restrict"]),
    "negative tensors": (lambda: reps.tensors(Vector(C4), -1), ValueError, ["`p`", "-1", "at least 0"]),
    "tensors over a number": (lambda: reps.tensors(3, 1), TypeError, ["`base`", "3", "int"]),
    "vectors of a group without matrices": (
        lambda: Vector(ej.FiniteGroup.from_permutations([[1, 0]])),
        ValueError,
        ["from_permutations", "no matrices", "`matrix`"],
    ),
    "matrices of no group": (lambda: MatrixRepresentation(4, np.eye(2)), TypeError, ["`group`", "4", "FiniteGroup"]),
    "matrices of S_n": (
        lambda: MatrixRepresentation(ej.Permutation(3), np.eye(3)[None]),
        TypeError,
        ["`group`", "Permutation(3)", "FiniteGroup"],
    ),
    "too few matrices": (
        lambda: MatrixRepresentation(C4, [np.eye(2)]),
        ValueError,
        ["`matrices`", "(1, 2, 2)", "4 elements", "from_generators"],
    ),
    "matrices that are not square": (
        lambda: MatrixRepresentation(C4, np.zeros((4, 2, 3))),
        ValueError,
        ["`matrices`", "(4, 2, 3)", "square"],
    ),
    "no representation": (
        lambda: MatrixRepresentation(C4, [np.eye(2), TURN, TURN, TURN]),
        ValueError,
        ["`matrices`", "do not compose", "Cyclic(4)", "order"],
    ),
    "transposed matrices": (
        lambda: MatrixRepresentation(D4, np.swapaxes(D4.matrices, 1, 2)),
        ValueError,
        ["do not compose", "column vectors"],
    ),
    "matrices in float32": (
        lambda: MatrixRepresentation(ej.Cyclic(3), ej.Cyclic(3).matrices.astype(np.float32)),
        ValueError,
        ["do not compose", "float64"],
    ),
    "matrices that are words": (
        lambda: MatrixRepresentation(C4, "abcd"),
        TypeError,
        ["`matrices`", "'abcd'", "real matrices"],
    ),
    "matrices that are not finite": (
        lambda: MatrixRepresentation(C4, np.full((4, 1, 1), np.nan)),
        ValueError,
        ["`matrices`", "not finite"],
    ),
    "generators of the wrong order": (
        lambda: MatrixRepresentation.from_generators(ej.Cyclic(3), [TURN]),
        ValueError,
        ["`matrices`", "do not compose"],
    ),
    "number of generators": (
        lambda: MatrixRepresentation.from_generators(D4, [TURN]),
        ValueError,
        ["`matrices` holds 1", "2 generators", "(1, 4)"],
    ),
    "sizes of generators": (
        lambda: MatrixRepresentation.from_generators(D4, [TURN, np.eye(3)]),
        ValueError,
        ["`matrices`", "(3, 3)", "here (2, 2)"],
    ),
    "element out of range": (lambda: MatrixRepresentation(C4, C4.matrices)(7), ValueError, ["`g`", "7", "0 … 3"]),
    "change of coordinates of another size": (
        lambda: reps.conjugated(Vector(C4), np.eye(3)),
        ValueError,
        ["`matrix`", "(3, 3)", "(2, 2)"],
    ),
    "singular change of coordinates": (
        lambda: reps.conjugated(Vector(C4), np.ones((2, 2))),
        ValueError,
        ["`matrix`", "condition number", "orthogonal"],
    ),
    "power of a number": (lambda: reps.symmetric_power(3, 2), TypeError, ["`rep`", "3"]),
    "half a power": (lambda: reps.symmetric_power(Vector(C4), 0.5), TypeError, ["`order`", "0.5", "integer"]),
    "negative power": (lambda: reps.symmetric_power(Vector(C4), -1), ValueError, ["`order`", "-1", "at least 0"]),
    "exterior power above the dimension": (
        lambda: reps.exterior_power(Vector(C4), 3),
        ValueError,
        ["`order`", "3", "at most 2"],
    ),
    "power that is too large": (
        lambda: reps.symmetric_power(Regular(ej.Cyclic(64)), 4),
        ValueError,
        ["`order`", "4", "too many", "lower order"],
    ),
    "function that is a matrix": (
        lambda: FunctionRepresentation(C4, np.eye(2)),
        TypeError,
        ["`function`", "MatrixRepresentation"],
    ),
    "function to a vector": (
        lambda: FunctionRepresentation(SO2, lambda g: g[0]),
        ValueError,
        ["`function`", "(2,)", "square"],
    ),
    "function that is no homomorphism": (
        lambda: FunctionRepresentation(SO2, lambda g: jnp.asarray(g) + 1.0),
        ValueError,
        ["`function`", "does not represent", "SO(2)"],
    ),
    "function of transposes": (
        lambda: FunctionRepresentation(MatrixGroup("SO(3)"), lambda g: jnp.swapaxes(jnp.asarray(g), 0, 1)),
        ValueError,
        ["does not represent", "column vectors"],
    ),
    "restriction to a number": (lambda: Vector(C4).restrict(2), TypeError, ["`subgroup`", "2", "int", "Subgroup"]),
    "restriction to a group of another size": (
        lambda: Vector(MatrixGroup("O(3)")).restrict(C4),
        ValueError,
        ["`subgroup`", "Cyclic(4)", "size 2", "size 3", "from_matrices"],
    ),
    "restriction to a larger group": (
        lambda: Vector(C4).restrict(ej.Cyclic(8)),
        ValueError,
        ["`subgroup`", "Cyclic(8)", "not found in Cyclic(4)"],
    ),
    "restriction to reflections": (
        lambda: Vector(MatrixGroup("SO(2)")).restrict(D4),
        ValueError,
        ["`subgroup`", "Dihedral(4)", "not found"],
    ),
    "restriction to more components": (
        lambda: Vector(MatrixGroup("SO(3)")).restrict(MatrixGroup("O(3)")),
        ValueError,
        ["`subgroup`", "not found"],
    ),
    "restriction to rotations of a foreign subgroup": (
        lambda: Vector(C4).restrict(D4.subgroup([1])),
        ValueError,
        ["`subgroup`", "Dihedral(4)", "Cyclic(4)"],
    ),
    "table of a Lie group": (lambda: reps.matrices(Vector(SO2)), TypeError, ["`group`", "FiniteGroup"]),
}


@pytest.mark.parametrize(("call", "error", "words"), list(CASES.values()), ids=list(CASES))
def test_message(call, error, words):
    check_message(call, error, words)


def test_assignment_names_the_attribute_and_the_remedy():
    with pytest.raises(AttributeError, match="immutable; make a new one instead of changing `table`"):
        PermutationRepresentation(ej.Trivial(1), [[0]]).table = None


def test_the_contract_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Representation()


def test_a_representation_is_no_permutation_unless_it_says_so():
    class Sign(Representation):
        group, dim = ej.Cyclic(2), 1

        def __call__(self, g):
            return 1.0 - 2.0 * np.asarray(g)[..., None, None]

    assert not Sign().is_permutation and Sign().shape == (1,)
