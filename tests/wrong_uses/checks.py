"""Valid calls of equijax.testing and equijax.audit."""

import jax
import numpy as np
from flax import nnx

import equijax as ej
from equijax import audit, testing
from tests.wrong_uses.trying import Use

C4 = ej.Cyclic(4)
POINTS, X = ej.SetAction(3), np.ones((3, 2), np.float32)
ELEMENTS = np.array([[1, 2, 0]], np.int32)
LAYER = ej.nn.SetLinear(2, 2, kernel_init=nnx.initializers.zeros, rngs=nnx.Rngs(0))
CHAIN = ej.nn.Sequential(LAYER)
GRAPH = ej.Graph(np.ones((3, 2)), np.array([0, 1]), np.array([1, 2]))
GRAPH_LAYER = ej.nn.MapNodes(jax.nn.relu)
CAUSE = audit.Cause("kernel", "a sentence", "a replacement")


def same(x):
    """The identity."""
    return x


USES = [
    Use("check_group", testing.check_group, {"group": C4, "samples": 2}, {"group": "group"}, {"group": {"group": "any group"}}),
    Use("check_action", testing.check_action, {"action": ej.FibreAction(ej.reps.Regular(C4)), "x": np.ones((4, 1)), "samples": 2},
        {"x": "input", "tolerance": "optional number"}),
    Use("check_equivariance", testing.check_equivariance,
        {"fn": same, "in_action": POINTS, "out_action": POINTS, "x": X, "elements": ELEMENTS, "gradient": False},
        {"x": "input", "tolerance": "optional number", "elements": "optional elements"}),
    Use("check_graph_layer", testing.check_graph_layer, {"layer": GRAPH_LAYER, "graph": GRAPH, "checks": ("relabelling",)},
        {"graph": "graph", "checks": "words", "in_action": "optional action", "out_action": "optional action", "tolerance": "optional number"}),
    Use("equivariance_error", audit.equivariance_error,
        {"fn": same, "in_action": POINTS, "out_action": POINTS, "x": X, "elements": ELEMENTS},
        {"x": "input", "elements": "optional elements"}, {"x": {"NaN": "NaN is measured"}}),
    Use("explain", audit.explain, {"model": CHAIN, "x": X, "in_action": POINTS, "elements": ELEMENTS, "perturb": False},
        {"x": "input", "group": "optional group", "out_action": "optional action", "actions": "optional words",
         "elements": "optional elements", "depth": "optional int", "shifts": "count"},
        {"x": {"size 0": "either: layers ask for features", "NaN": "NaN is measured", "higher rank": "either: as the model takes it"}}),
    Use("static", audit.static, {"model": CHAIN, "input_shape": (3, 2), "in_action": POINTS},
        {"input_shape": "sizes", "out_action": "optional action", "actions": "optional words", "depth": "optional int", "dtype": "dtype"}),
]  # fmt: skip
