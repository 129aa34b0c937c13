"""Valid calls of equijax.actions."""

from typing import Any

import jax
import numpy as np

import equijax as ej
from equijax import actions
from equijax.actions import FibreAction, GridAction, ProductAction, SetAction, TensorAction, TrivialAction, WreathAction
from equijax.reps import Regular, Scalar, Vector
from tests.wrong_uses.trying import Use

P4, C4, D4 = ej.wallpaper("p4"), ej.Cyclic(4), ej.Dihedral(4)
KEY = jax.random.key(0)
ZERO = np.zeros(2, np.int32)
ORDER = np.array([1, 2, 0], np.int32)
GRAPH = ej.Graph(np.ones((3, 2)), np.array([0, 1]), np.array([1, 2]), positions=np.ones((3, 2)))
RELABELLED = (ORDER, np.array([0, 1], np.int32))
ACTIONS: dict[str, tuple[actions.Action, Any, tuple[int, ...], str]] = {
    "FibreAction": (FibreAction(Regular(C4)), np.array(1), (2, 4, 3), "one number"),
    "FibreAction of vectors": (FibreAction(Vector(ej.SO(3))), np.eye(3), (2, 3, 4), "one element"),
    "GridAction": (GridAction(P4), (ZERO, np.array(1)), (2, 3, 3, 4), "one element"),
    "GridAction of a fibre": (GridAction(P4, Regular(C4)), (ZERO, np.array(1)), (2, 3, 3, 4, 5), "one element"),
    "GridAction of motions": (GridAction(ej.Motions(C4)), (np.zeros(2), np.array(1)), (2, 3, 3, 4), "one element"),
    "FiniteAction": (GridAction(P4).on((3, 3)), (ZERO, np.array(1)), (2, 3, 3, 4), "one element"),
    "SetAction": (SetAction(3), ORDER, (2, 3, 4), "one element"),
    "TensorAction": (TensorAction(3, 2), ORDER, (2, 3, 3, 4), "one element"),
    "ProductAction": (ProductAction(SetAction(3), SetAction(2)), (ORDER, np.array([1, 0])), (1, 3, 2, 4), "one element"),
    "WreathAction": (WreathAction(SetAction(2), SetAction(3)), (np.array([[0, 1, 2], [2, 1, 0]]), np.array([1, 0])), (1, 2, 3, 4),
                     "one element"),
}  # fmt: skip
ANY_ARRAY = {"higher rank": "any number of batch axes", "size 0": "no features"}


def _methods(name: str) -> list[Use]:
    action, g, shape, kind = ACTIONS[name]
    kinds = {"g": kind, "x": "moved array", "ndim": "int", "shape": "sizes"}
    uses = [
        Use(f"{name}.__call__", action, {"g": g, "x": np.ones(shape)}, kinds, {"x": ANY_ARRAY}),
        Use(f"{name}.axes", action.axes, {"ndim": len(shape)}, kinds),
    ]
    if "Set" in name or "Tensor" in name or "Product" in name or "Wreath" in name:
        uses.append(Use(f"{name}.for_input", action.for_input, {"x": np.ones(shape)}, kinds, {"x": ANY_ARRAY}))
    known = kinds | {"g": "known element"}
    batches = ("higher rank", "lower rank", "size 0") if kind == "one number" else ("higher rank",)
    free = {"shape": {"()": "either: the shape is not asked"}, "g": dict.fromkeys(batches, "all of several")}
    right = {} if "Grid" in name or name == "FiniteAction" else free
    uses += [
        Use(f"{name}.acts", action.acts, {"g": g, "shape": shape}, known, right),
        Use(
            f"{name}.require_acts",
            action.require_acts,
            {"g": g, "shape": shape},
            kinds,
            right or {"g": {"higher rank": "all of several"}},
        ),
        Use(f"{name}.sources", action.sources, {"g": g, "shape": shape}, known),
    ]
    if name not in ("FibreAction of vectors", "FiniteAction"):
        sizes = (3, 3) if name.startswith("GridAction") else ()
        uses.append(
            Use(
                f"{name}.on",
                action.on,
                {"shape": sizes},
                {"shape": "sizes" if sizes else "no sizes"},
                {"shape": {"lower rank": "one integer stands for all"}} if sizes else {},
            )
        )
    return uses


CONSTRUCTORS = [
    Use("FibreAction", FibreAction, {"fibre": Regular(C4), "group": C4}),
    Use("FibreAction alone", FibreAction, {"fibre": Regular(C4)}, {"fibre": "any fibre", "group": "optional group"}),
    Use("GridAction", GridAction, {"group": P4, "fibre": Regular(C4), "spacing": (1, 1), "origin": (0.0, 0.0), "torus": (4, 4)},
        {"spacing": "per axis", "origin": "per axis real", "torus": "period"}),
    Use("GridAction.coarsen", GridAction(P4).coarsen, {"strides": (2, 2)}, {"strides": "per axis"}),
    Use("GridAction.resampled", GridAction(P4).resampled, {"strides": (2, 2), "shift": (0.5, 0.5)},
        {"strides": "per axis", "shift": "per axis real"}),
    Use("GridAction.restrict", GridAction(P4).restrict, {"subgroup": C4.subgroup([2])}),
    Use("GridAction.with_fibre", GridAction(P4).with_fibre, {"fibre": Regular(C4)}, {}, {"fibre": {"None": "the scalar fibre"}}),
    Use("FibreAction.with_fibre", FibreAction(Scalar(C4)).with_fibre, {"fibre": Regular(C4)}),
    Use("FibreAction.restrict", FibreAction(Regular(C4)).restrict, {"subgroup": C4.subgroup([2])}),
    Use("SetAction", SetAction, {"n": 3}, {"n": "optional int"}),
    Use("TensorAction", TensorAction, {"n": 3, "order": 2}, {"n": "optional int"}),
    Use("ProductAction", lambda factors: ProductAction(SetAction(3), factors), {"factors": SetAction(2)}),
    Use("TrivialAction", TrivialAction, {"group": C4}, {"group": "any group"}),
    Use("WreathAction", WreathAction, {"outer": SetAction(2), "inner": SetAction(3)}),
    Use("FiniteAction", actions.FiniteAction, {"action": GridAction(P4), "shape": (3, 3)}, {"shape": "sizes of"}),
    Use("FiniteAction.permutation", ACTIONS["FiniteAction"][0].permutation, {"g": (ZERO, np.array(1))}, {"g": "known element"}),  # pyright: ignore
    Use("FiniteAction.matrix", ACTIONS["FiniteAction"][0].matrix, {"g": (ZERO, np.array(1))}, {"g": "known element"}),  # pyright: ignore
    Use("GraphAction", ej.GraphAction, {"num_nodes": 3, "num_edges": 2, "space": ej.SE(2)},
        {"num_nodes": "optional int", "num_edges": "optional int", "space": "optional group",
         "node_action": "optional action", "node_fibre": "optional fibre", "edge_fibre": "optional fibre"},
        {"space": {"group": "permutations of the coordinates"}}),
    Use("GraphAction.__call__", ej.GraphAction(3, 2), {"g": RELABELLED, "x": GRAPH}, {"g": "one element", "x": "graph"}),
    Use("GraphAction.for_input", ej.GraphAction().for_input, {"x": GRAPH}, {"x": "graph"}),
    Use("HeteroGraphAction", actions.HeteroGraphAction, {"num_nodes": (("a", 3),), "num_edges": ((("a", "to", "a"), 2),)},
        {"num_nodes": "named sizes", "num_edges": "named sizes", "space": "optional group"},
        {"space": {"group": "rotations of a space of four axes"}}),
    Use("Axis", actions.Axis, {"role": "base", "index": 0}, {"index": "optional int"}),
    Use("Action.fits", SetAction(3).fits, {"other": SetAction(3)}),
    Use("kept_by", actions.kept_by, {"action": GridAction(P4), "shape": (3, 3, 1)}, {"shape": "sizes"}),
    Use("Everything", actions.Everything, {"group": C4}, {"group": "any group"}),
    Use("Nothing", actions.Nothing, {"group": C4}, {"group": "any group"}),
    Use("Listed", actions.Listed, {"group": C4, "numbers": (0, 2)}, {"numbers": "members"}),
    Use("Kept.sample", actions.Everything(C4).sample, {"key": KEY}),
]  # fmt: skip
USES = [*CONSTRUCTORS, *(use for name in ACTIONS for use in _methods(name))]
