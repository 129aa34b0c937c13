"""Valid calls of windows that sample a grid, and of aggregations."""

from typing import Any

import jax.numpy as jnp

from equijax import nn
from tests.wrong_uses.layers import P4, uses_of
from tests.wrong_uses.trying import Use

WIDTHS: dict[str, Any] = {"in_features": 2, "out_features": 2, "kernel_size": (3, 3), "group": P4}
SAMPLED: dict[str, Any] = {"strides": (2, 2), "group": P4}
POOLED: dict[str, Any] = {"window_shape": (2, 2), **SAMPLED}
#: For each class what it needs, and the shape of an input (None where a call is tried elsewhere).
LAYERS: dict[str, tuple[dict[str, Any], tuple[int, ...] | None]] = {
    "MaxPool": (POOLED, (4, 4, 4, 2)),
    "AvgPool": (POOLED, (4, 4, 4, 2)),
    "BlurPool": ({"size": 3, **SAMPLED}, (4, 4, 4, 2)),
    "CentredConv": ({**WIDTHS, "strides": (2, 2)}, (4, 4, 2)),
    "CentredPool": ({**POOLED, "window_shape": (3, 3)}, (4, 4, 4, 2)),
    "FilteredActivation": ({"features": 2, "ndim": 2, "activation": jnp.tanh}, (4, 4, 2)),
    "FourierDownsample": (SAMPLED, (4, 4, 2)),
    "PolyphaseDownsample": (SAMPLED, (4, 4, 2)),
    "PolyphaseMaxPool": (POOLED, (4, 4, 2)),
    "PolyphaseConv": ({**WIDTHS, "strides": (2, 2)}, (4, 4, 2)),
    "PolyphaseConvTranspose": ({**WIDTHS, "strides": (2, 2)}, None),
    "PhaseScore": ({"features": 2, "hidden": 2, "kernel_size": (3, 3), "group": P4}, (4, 4, 2)),
    "MapElements": ({"element": nn.GlobalPool(group=P4)}, (3, 4, 4, 4, 2)),
}  # fmt: skip
KINDS = {"size": "int", "ndim": "int", "factor": "int", "hidden": "int"}
TRANSLATIONS = {"group": {"None": "translations"}}
RIGHT: dict[str, dict[str, dict[str, str]]] = {
    name: {"strides": {"None": "the window, or 1"}} for name in ("MaxPool", "AvgPool", "CentredPool", "PolyphaseMaxPool")
}
RIGHT["CentredConv"] = TRANSLATIONS
RIGHT["CentredPool"] |= TRANSLATIONS
OWN = {
    **{
        name: {"strides": "window"}
        for name in LAYERS
        if name not in ("MaxPool", "AvgPool", "CentredPool", "PolyphaseMaxPool")
    },
    "CentredConv": {"strides": "optional window"},
    "FilteredActivation": {"fibre": "flag", "param_dtype": "dtype"},
}
AGGREGATIONS = [
    Use("Quantiles", nn.Quantiles, {"probabilities": (0.5, 1.0)}, {"probabilities": "strides"}),
    Use("OrderStatistics", nn.OrderStatistics, {"ranks": (0, -1)}, {"ranks": "strides"},
        {"ranks": {"negative": "counted from the largest"}}),
    Use("StandardDeviation", nn.StandardDeviation, {}, {"threshold": "positive number"}),
]  # fmt: skip
USES = [
    *AGGREGATIONS,
    *(
        use
        for name, (given, shape) in LAYERS.items()
        for use in uses_of(name, given, shape, KINDS | OWN.get(name, {}), RIGHT.get(name))
    ),
]
