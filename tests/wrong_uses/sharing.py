"""Valid calls of equijax.sharing."""

import numpy as np

import equijax as ej
from equijax import sharing
from equijax.reps import Regular, Scalar
from tests.wrong_uses.trying import Use

C4 = ej.Cyclic(4)
TABLE = np.array([[0, 1], [1, 0]])
ORBITS = sharing.OrbitSharing(TABLE, np.array([0, 0]))
BASIS = sharing.BasisSharing(np.eye(2)[None], np.zeros((0, 2)))
WEIGHT = np.ones((2, 2))
PERMUTATIONS = np.array([[1, 0]])
POINTS = ej.SetAction(3).on()


def _methods(name: str, made: sharing.Sharing) -> list[Use]:
    return [
        Use(f"{name}.project", made.project, {"weight": WEIGHT}, {"weight": "weights"}),
        Use(f"{name}.defect", made.defect, {"weight": WEIGHT}, {"weight": "weights"}),
        Use(f"{name}.weights", made.weights, {"theta": np.ones((made.count, 2)), "axes": (1, 0)}, {"theta": "moved array", "axes": "axes"},
            {"theta": {"size 0": "no features", "higher rank": "either: features may have any axes"},
             "axes": {"np.int64": "integers of any width"}}),
        Use(f"{name}.expand", made.expand, {"theta": np.ones((made.count, 2, 3))}, {"theta": "moved array"},
            {"theta": {"size 0": "no features", "higher rank": "either: features may have any axes"}}),
    ]  # fmt: skip


USES = [
    Use("OrbitSharing", sharing.OrbitSharing, {"table": TABLE, "out_orbits": np.array([0, 0])},
        {"table": "integers", "out_orbits": "integers"}),
    Use("BasisSharing", sharing.BasisSharing, {"basis": np.eye(2)[None], "out_invariants": np.ones((1, 2))},
        {"basis": "known reals", "out_invariants": "known reals"}),
    Use("KernelSharing", sharing.KernelSharing,
        {"point_group": C4, "kernel_size": (3, 3), "in_fibre": Scalar(C4), "out_fibre": Regular(C4)}, {"kernel_size": "sizes of"}),
    Use("DiagonalKernelSharing", sharing.DiagonalKernelSharing,
        {"point_group": C4, "kernel_size": (3, 3), "fibre": Regular(C4)}, {"kernel_size": "sizes of"}),
    Use("HarmonicSharing", sharing.HarmonicSharing,
        {"group": ej.Motions(C4), "kernel_size": (3, 3), "in_fibre": Scalar(C4), "out_fibre": Regular(C4),
         "window": sharing.Harmonics()}, {"kernel_size": "sizes of"}),
    Use("Pixels", sharing.Pixels, {}),
    Use("Harmonics", sharing.Harmonics, {"tol": 1e-3, "band": 0.5, "smooth": 0.5},
        {"tol": "share", "band": "share", "smooth": "share"}),
    Use("LinearSharing", sharing.LinearSharing, {"in_action": POINTS, "out_action": POINTS}),
    Use("Draws", sharing.Draws, {"shape": (2,), "rows": (None,)}, {"shape": "sizes", "rows": "skip"}, {"shape": {"()": "no axes"}}),
    *_methods("OrbitSharing", ORBITS), *_methods("BasisSharing", BASIS),
    Use("OrbitSharing.spread_bias", ORBITS.spread_bias, {"bias": np.ones(3)}, {"bias": "moved array"}, {"bias": {"size 0": "no features", "()": "no features"}}),
    Use("orbits", sharing.orbits, {"permutations": PERMUTATIONS, "size": 2}, {"permutations": "integers"},
        {"permutations": {"()": "the trivial group"}}),
    Use("bell_number", sharing.bell_number, {"size": 3}),
    Use("set_partitions", sharing.set_partitions, {"size": 3}),
    Use("equality_pattern", sharing.equality_pattern, {"values": (1, 2, 1)}, {"values": "words"},
        {"values": dict.fromkeys(("size 0", "negative", "NaN", "1.5", "2**40", "bool", "np.int64", "()"), "any hashable entries")}),
]  # fmt: skip
