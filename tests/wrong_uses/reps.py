"""Valid calls of equijax.reps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import equijax as ej
from equijax import reps
from equijax.reps import Irrep, PermutationRepresentation, Quotient, Regular, Scalar, Vector
from tests.wrong_uses.trying import Use

C4, D3, SO3, D4 = ej.Cyclic(4), ej.Dihedral(3), ej.SO(3), ej.Dihedral(4)
HALF = C4.subgroup([2])
X = np.ones((2, 4, 3))


@jax.jit
def one(g: Any) -> Any:
    """The trivial representation of any group."""
    return jnp.ones((1, 1)) * (1.0 - 0.0 * jnp.sum(jnp.asarray(g, float)))


REPS = {
    "Regular": Regular(C4),
    "Quotient": Quotient(D4.subgroup([4])),
    "PermutationRepresentation": PermutationRepresentation(C4, C4.table),
    "MatrixRepresentation": reps.MatrixRepresentation(C4, C4.matrices),
    "Scalar": Scalar(C4),
    "Vector": Vector(C4),
    "Irrep": Irrep(D3, 2),
    "Irrep of SO(3)": Irrep(SO3, 2),
    "Vector of SO(3)": Vector(SO3),
    "DirectSum": Vector(C4) + Scalar(C4),
    "TensorProduct": Vector(C4) * Vector(C4),
    "Power": reps.symmetric_power(Vector(C4), 2),
    "Conjugated": reps.conjugated(Vector(C4), [[2.0, 0.0], [0.0, 1.0]]),
    "Dual": reps.conjugated(Vector(C4), [[2.0, 0.0], [0.0, 1.0]]).dual,
    "Induced": Irrep(HALF.as_group(), 1).induce(HALF),
    "Restricted": Vector(SO3).restrict(ej.Octahedral()),
    "FunctionRepresentation": reps.FunctionRepresentation(ej.Permutation(3), one),
}


def _methods(name: str, rep: reps.Representation) -> list[Use]:
    g = np.asarray(rep.group.identity)
    kinds = {"g": "numbers" if not g.ndim else "element", "x": "moved array", "axis": "axis"}
    x = np.ones((2, *rep.shape, 3))
    batch = {"higher rank": "any axes stand beside that of the fibre", "size 0": "any axes stand beside that of the fibre"}
    alone = "the scalar has no axis, and nothing moves it"
    right = {"x": batch if rep.dim == 2 else {"size 0": batch["size 0"]}}  # the axis in front has length 2 as well
    if not rep.shape:
        right = {name: dict.fromkeys(("lower rank", "higher rank", "size 0"), alone) for name in "gx"}
        right["x"]["()"] = alone
    one = kinds | {"g": "one element" if g.ndim else "one number"}
    call = Use(f"{name}.__call__", rep.__call__, {"g": g}, kinds)
    return [call, Use(f"{name}.act", rep.act, {"g": g, "x": x, "axis": 1}, one, right)]


CONSTRUCTORS = [
    Use("Regular", Regular, {"group": C4}),
    Use("Quotient", Quotient, {"subgroup": HALF}),
    Use("Scalar", Scalar, {"group": C4}, {"group": "any group"}),
    Use("Vector", Vector, {"group": C4}, {"group": "any group"}),
    Use("Irrep", Irrep, {"group": C4, "index": 1}, {"parity": "choice"}),
    Use("Irrep of O(3)", Irrep, {"group": ej.O(3), "index": 1, "parity": 1}, {"parity": "optional int"}),
    Use("PermutationRepresentation", PermutationRepresentation, {"group": C4, "table": C4.table}, {"table": "integers"}),
    Use("PermutationRepresentation.from_generators", PermutationRepresentation.from_generators,
        {"group": C4, "images": np.array([[1, 2, 3, 0]])}, {"images": "integers"}),
    Use("MatrixRepresentation", reps.MatrixRepresentation, {"group": C4, "matrices": C4.matrices}, {"matrices": "table"}),
    Use("MatrixRepresentation.from_generators", reps.MatrixRepresentation.from_generators,
        {"group": C4, "matrices": C4.matrices[1:2]}, {"matrices": "table"}),
    Use("FunctionRepresentation", reps.FunctionRepresentation, {"group": ej.Permutation(3), "function": one}, {"group": "any group"}),
    Use("Induced", reps.Induced, {"rep": Irrep(HALF.as_group(), 1), "subgroup": HALF}),
    Use("Restricted", reps.Restricted, {"base": Vector(SO3), "group": ej.Octahedral()}),
    Use("Dual", reps.Dual, {"base": Vector(C4)}, {"base": "any fibre"}),
    Use("Conjugated", reps.Conjugated, {"base": Vector(C4), "matrix": np.eye(2)}, {"matrix": "invertible"}),
    Use("DirectSum", reps.DirectSum, {"summands": (Vector(C4),) * 2}, {"summands": "fibres"}),
    Use("TensorProduct", reps.TensorProduct, {"terms": (Vector(C4),) * 2}, {"terms": "fibres"}),
    Use("Power", reps.Power, {"base": Vector(C4), "order": 2, "alternating": True}, {"base": "any fibre"}),
    Use("direct_sum", lambda rep: reps.direct_sum(Vector(C4), rep), {"rep": Vector(C4)}),
    Use("tensor_product", lambda rep: reps.tensor_product(Vector(C4), rep), {"rep": Vector(C4)}),
    Use("a + b", lambda summands: Vector(C4) + summands, {"summands": Vector(C4)}),
    Use("a * b", lambda count: Vector(C4) * count, {"count": 2}),
    Use("copies", reps.copies, {"rep": Vector(C4), "count": 2}, {"rep": "any fibre"}),
    Use("tensors", reps.tensors, {"base": Vector(C4), "p": 1, "q": 1}, {"base": "any fibre"}),
    Use("symmetric_power", reps.symmetric_power, {"rep": Vector(C4), "order": 2}, {"rep": "any fibre"}),
    Use("exterior_power", reps.exterior_power, {"rep": Vector(C4), "order": 2}, {"rep": "any fibre"}),
    Use("conjugated", reps.conjugated, {"rep": Vector(C4), "matrix": np.eye(2)}, {"matrix": "invertible"}),
    Use("restrict", reps.restrict, {"fibre": Vector(C4), "subgroup": HALF}),
    Use("Representation.restrict", Regular(C4).restrict, {"subgroup": HALF}),
    Use("Representation.restrict of vectors", Vector(C4).restrict, {"subgroup": HALF}),
    Use("Representation.induce", Irrep(HALF.as_group(), 1).induce, {"subgroup": HALF}),
    Use("Representation.sources", Regular(C4).sources, {"g": np.array(1)}, {"g": "known number"}),
    Use("Scalar.restrict", Scalar(C4).restrict, {"subgroup": HALF}, {"subgroup": "any group"}),
]  # fmt: skip
FUNCTIONS = [
    Use("decompose", reps.decompose, {"rep": Vector(C4)}, {"rep": "any fibre"}),
    Use("matrices", reps.matrices, {"rep": Vector(C4)}, {"rep": "any fibre"}),
    Use("irreps", reps.irreps, {"group": C4}),
    Use("intertwiners", reps.intertwiners, {"in_rep": Vector(C4), "out_rep": Vector(C4)}),
    Use("intertwiner_blocks", reps.intertwiner_blocks, {"in_rep": Vector(C4), "out_rep": Vector(C4)}),
    Use("clebsch_gordan", reps.clebsch_gordan, {"a": Vector(C4), "b": Vector(C4), "c": Scalar(C4)}),
    Use("band_limited", reps.band_limited, {"group": ej.SO(2), "degree": 1}),
    Use("circular_harmonics", reps.circular_harmonics, {"l": 1, "x": np.ones(2)}, {"x": "directions"}),
    Use("spherical_harmonics", reps.spherical_harmonics, {"l": 1, "x": np.ones(3)}, {"x": "directions"}),
    Use("fourier", reps.fourier, {"group": C4, "f": X, "axis": 1}, {"f": "moved array", "axis": "axis", "degree": "choice"}),
    Use("fourier over SO(2)", reps.fourier, {"group": ej.SO(2), "f": np.ones((2, 3, 2)), "axis": 1, "degree": 1},
        {"f": "moved array", "axis": "axis"}),
    Use("inverse_fourier", reps.inverse_fourier, {"group": C4, "coefficients": X, "axis": 1},
        {"coefficients": "moved array", "axis": "axis", "degree": "choice", "elements": "choice"}),
    Use("inverse_fourier over SO(2)", reps.inverse_fourier,
        {"group": ej.SO(2), "coefficients": np.ones((2, 3, 2)), "axis": 1, "degree": 1, "elements": np.eye(2)[None]},
        {"coefficients": "moved array", "axis": "axis", "elements": "element"}),
    Use("fourier_basis", reps.fourier_basis, {"group": ej.SO(2), "degree": 1, "g": np.eye(2)}, {"g": "element"}),
    Use("fourier_samples", reps.fourier_samples, {"group": ej.SO(2), "degree": 1}),
]  # fmt: skip
USES = [*CONSTRUCTORS, *FUNCTIONS, *(use for name, rep in REPS.items() for use in _methods(name, rep))]
