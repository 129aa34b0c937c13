"""Valid calls of equijax.groups."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import equijax as ej
from equijax import groups
from tests.wrong_uses.trying import Use

C4, D3, SO3 = ej.Cyclic(4), ej.Dihedral(3), ej.SO(3)
P4 = ej.wallpaper("p4", 4)
KEY = jax.random.key(0)
PERMUTED = ej.FiniteGroup.from_permutations([[1, 2, 0], [1, 0, 2]])


def _elements(name: str, group: ej.Group, kind: str) -> list[Use]:
    """The methods that every group has."""
    one = jax.tree.map(
        np.asarray, jax.jit(group.draw)(KEY) if not isinstance(group, ej.Translation) else jnp.asarray([1, 2], jnp.int32)
    )
    kinds = {"a": kind, "b": kind, "g": kind, "name": "skip"}

    def of(method: str, right: Any = None, **given: Any) -> Use:
        return Use(f"{name}.{method}", getattr(group, method), given, kinds, right or {})

    uses = [of("compose", a=one, b=one), of("inverse", a=one), of("isclose", a=one, b=one)]
    uses += [of("agrees", other=group, right={"other": {"group": "they do not agree"}})]
    uses += [of("require_element", g=one)]
    return [*uses, of("sample", key=KEY)] if group.is_compact else [*uses, of("draw", key=KEY)]


def _matrices(name: str, group: ej.Group, kind: str) -> list[Use]:
    one = jax.tree.map(np.asarray, jax.jit(group.draw)(KEY))
    matrix = np.asarray(group.matrix(one))
    return [
        Use(f"{name}.matrix", group.matrix, {"g": one}, {"g": kind}),
        Use(f"{name}.element", group.element, {"matrix": matrix}, {"matrix": "matrices"}),
    ]


def _lie(name: str, group: Any) -> list[Use]:
    X = np.asarray(group.algebra[0])
    return [
        Use(f"{name}.exp", group.exp, {"X": X}, {"X": "directions"}),
        Use(f"{name}.tangent", group.tangent, {"X": X}, {"X": "directions"}),
        Use(f"{name}.log", group.log, {"g": np.asarray(group.identity)}, {"g": "element"}),
        Use(f"{name}.near_identity", group.near_identity, {"key": KEY, "scale": 0.5}, {"scale": "positive number"}),
    ]


D4 = ej.Dihedral(4)
TORUS = ej.Translation(2, 5)
PRODUCT = ej.DirectProduct(C4, ej.Permutation(3))
POWER = groups.Power(ej.Permutation(2), 3)
WREATH = ej.WreathProduct(ej.Permutation(2), ej.Permutation(3))
TURN = np.array([[0.0, -1.0], [1.0, 0.0]])

CONSTRUCTORS = [
    *(Use(cls.__name__, cls, {"n": 2}) for cls in (ej.Cyclic, ej.Dihedral, ej.SO, ej.O, ej.SU, ej.U, ej.SL, ej.Sp, ej.SE, ej.E)),
    Use("Trivial", ej.Trivial, {"ndim": 2}),
    Use("Reflection", ej.Reflection, {"ndim": 2, "axis": 0}, right={"axis": {"negative": "counted from the end"}}),
    Use("Octahedral", ej.Octahedral, {}),
    Use("Lorentz", ej.Lorentz, {}),
    Use("Permutation", ej.Permutation, {"n": 3}, {"n": "optional int"}),
    Use("Power", groups.Power, {"base": C4, "n": 3}, {"base": "any group", "n": "optional int"}),
    Use("Translation", ej.Translation, {"ndim": 2, "period": (4, 4)}, {"period": "period"}),
    Use("SpaceGroup", ej.SpaceGroup, {"point_group": C4, "period": (4, 4)}, {"period": "period"}),
    Use("Motions", ej.Motions, {"point_group": C4, "basis": np.asarray(ej.HEXAGONAL)}, {"basis": "table"},
        {"basis": {"None": "the square lattice", "negative": "another lattice", "1.5": "another lattice"}}),
    Use("WreathProduct", ej.WreathProduct, {"outer": ej.Permutation(2), "inner": C4}, {"inner": "any group"}),
    Use("DirectProduct", lambda factor: ej.DirectProduct(C4, factor), {"factor": C4}, {"factor": "any group"}),
    Use("wallpaper", ej.wallpaper, {"name": "p1", "period": (4, 4)}, {"period": "period"}),
    Use("bare", groups.bare, {"group": C4}, {"group": "any group"}),
    Use("agree", groups.agree, {"a": C4, "b": C4}, {"a": "any group", "b": "any group"}),
    Use("Subgroup", groups.Subgroup, {"group": C4, "elements": (0, 2)}, {"elements": "integers"}),
    Use("Label", groups.Label, {"index": 1, "parity": None}, {"parity": "optional int"}),
    Use("Characters", groups.Characters, {"group": C4}),
    Use("FiniteGroup", ej.FiniteGroup, {"source": C4._source}, {"source": "choice"}),
    Use("FiniteGroup.from_permutations", ej.FiniteGroup.from_permutations,
        {"generators": np.array([[1, 2, 0]]), "max_order": 10}, {"generators": "integers"}),
    Use("FiniteGroup.from_table", ej.FiniteGroup.from_table, {"table": np.array([[0, 1], [1, 0]])}, {"table": "integers"}),
    Use("PointGroup.from_matrices", ej.PointGroup.from_matrices, {"generators": TURN[None], "basis": np.eye(2), "max_order": 10},
        {"generators": "table", "basis": "optional table"}),
    Use("LieGroup.from_algebra", ej.LieGroup.from_algebra, {"algebra": TURN[None], "components": np.eye(2)[None]},
        {"algebra": "directions of a group", "components": "optional table"}),
]  # fmt: skip
METHODS = [
    *_elements("FiniteGroup", D3, "numbers"), *_matrices("PointGroup", D3, "numbers"),
    *_elements("Permutation", ej.Permutation(3), "element"), *_matrices("Permutation", ej.Permutation(3), "element"),
    *_elements("Translation", TORUS, "vectors"),
    *_elements("SO", SO3, "element"), *_matrices("SO", SO3, "element"), *_lie("SO", SO3),
    *_elements("E", ej.E(2), "element"), *_matrices("E", ej.E(2), "element"),
    *_elements("SU", ej.SU(2), "element"), *_elements("Lorentz", ej.Lorentz(), "element"),
    *_elements("DirectProduct", PRODUCT, "element"),
    *_elements("SpaceGroup", P4, "element"),
    *_elements("Motions", ej.Motions(ej.Cyclic(8)), "element"), *_matrices("Motions", ej.Motions(ej.SO(2)), "element"),
    *_elements("Power", POWER, "element"),
    *_elements("WreathProduct", WREATH, "element"),
    Use("FiniteGroup.subgroup", D3.subgroup, {"elements": (1,)}, {"elements": "members"}),
    Use("FiniteGroup.is_subgroup", D3.is_subgroup, {"elements": (0,)}, {"elements": "members"}),
    Use("FiniteGroup.is_normal", D3.is_normal, {"subgroup": (0,)}, {"subgroup": "members"}),
    Use("FiniteGroup.cosets", D3.cosets, {"subgroup": D3.subgroup([3])}),
    Use("FiniteGroup.element_of", PERMUTED.element_of, {"permutation": (0, 1, 2)}, {"permutation": "integers"}),
    Use("PointGroup.in_basis", ej.Cyclic(6).in_basis, {"basis": np.asarray(ej.HEXAGONAL)}, {"basis": "table"},
        {"basis": {"None": "the square lattice", "negative": "another lattice", "1.5": "another lattice"}}),
    Use("DirectProduct.embed", PRODUCT.embed, {"index": 0, "g": np.array(1)}, {"g": "one number"}),
    Use("Power.embed", POWER.embed, {"place": 0, "g": np.array([1, 0], np.int32)}, {"g": "one element"}),
    Use("Translation.reduce", TORUS.reduce, {"a": np.array([1, 2])}, {"a": "vectors"}),
    Use("Translation.on_torus", ej.Translation(2).on_torus, {"period": (3, 3)}, {"period": "period"}),
    Use("SpaceGroup.on_torus", P4.on_torus, {"period": (3, 3)}, {"period": "period"}),
    Use("SpaceGroup.split", P4.split, {"g": (np.array([1, 2]), np.array(1))}, {"g": "element"}),
    Use("SpaceGroup.automorphism", P4.automorphism, {"h": np.array(1), "n": np.array([1, 2])}, {"h": "numbers", "n": "vectors"}),
    Use("SpaceGroup.join", P4.join, {"t": np.array([1, 2]), "h": np.array(1)}, {"h": "numbers", "t": "vectors"}),
    Use("SpaceGroup.with_point_group", P4.with_point_group, {"point_group": ej.Cyclic(2)}),
    Use("WreathProduct.automorphism", WREATH.automorphism, {"h": np.array([1, 0]), "n": np.array([[0, 1, 2], [1, 2, 0]])},
        {"h": "element", "n": "element"}),
    Use("E.split", ej.E(2).split, {"g": ej.E(2).identity}, {"g": "element"}),
    Use("E.automorphism", ej.E(2).automorphism, {"h": np.eye(2), "n": np.ones(2)}, {"h": "element", "n": "directions"}),
    Use("IrrepFamily.label", D3.irrep_family.label, {"index": 1}, {"parity": "choice"}),
    Use("IrrepFamily.label of O(3)", ej.O(3).irrep_family.label, {"index": 1, "parity": 1}, {"parity": "optional int"}),
    Use("IrrepFamily.up_to", SO3.irrep_family.up_to, {"degree": 1}),
    Use("IrrepFamily.quadrature", SO3.irrep_family.quadrature, {"degree": 1}),
    Use("IrrepFamily.matrix", D3.irrep_family.matrix, {"label": groups.Label(1), "g": np.array(1)}, {"g": "numbers"}),
    Use("IrrepFamily.matrix of SO(3)", SO3.irrep_family.matrix, {"label": groups.Label(2), "g": np.eye(3)}, {"g": "directions"}),
    Use("Characters.roots", D3.characters.roots, {"row": 0, "column": 0}),
]  # fmt: skip
USES = [*CONSTRUCTORS, *METHODS]
