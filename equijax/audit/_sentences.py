"""The sentences of the audit: what is wrong with a step, and what to use instead."""

from typing import Any

from equijax.audit._network import Network, Step
from equijax.audit._report import Cause, CauseKind


def cause(kind: CauseKind, network: Network, step: Step) -> Cause:
    """Returns a cause with its sentence and its replacement for one step."""
    dimension = len(network.frame.centre) if network.frame.is_grid else 0
    details = {"where": step.name, "kernel": _window(step), "strides": _strides(step), "d": dimension}
    sentence, replacement = _TEXTS[kind]
    return Cause(kind, sentence.format(**details), replacement.format(**details))


def _window(step: Step) -> str:
    for eq in step.equations:
        if eq.name == "conv_general_dilated":
            spec = eq.params["dimension_numbers"]
            return "×".join(str(n) for n in _kernel_shape(eq, spec)) + " kernel"
        if eq.name.startswith("reduce_window"):
            return "×".join(str(n) for n in eq.params["window_dimensions"] if n > 1) + " window"
    return "weights"


def _kernel_shape(equation: Any, spec: Any) -> list[int]:
    shape = equation.params.get("rhs_shape")
    if shape is not None:
        return [shape[k] for k in spec.rhs_spec[2:]]
    return []


def _strides(step: Step) -> str:
    for eq in step.equations:
        strides = eq.params.get("window_strides") or (eq.params.get("strides") if eq.name == "slice" else None)
        if strides and max(strides) > 1:
            return str(max(strides))
    return "several samples"


_TEXTS: dict[CauseKind, tuple[str, str]] = {
    "kernel": (
        "the {kernel} of `{where}` has different weights at places that the point group moves onto each other",
        "ej.nn.LiftingConv, GroupConv or Conv with group=..., which share them",
    ),
    "phase": (
        "`{where}` keeps every sample of one phase (stride {strides}), and a shift that the stride does not divide changes the phase",
        "ej.nn.PolyphaseConv, PolyphaseMaxPool or PolyphaseDownsample, which choose the phase by the data; cheap and approximate: "
        "ej.nn.BlurPool; for rotations: sizes and windows that keep the centre",
    ),
    "border": (
        "`{where}` sees the border: what moves out at one side does not come in at the other",
        "padding='CIRCULAR', or unpadded windows and a comparison of the interior",
    ),
    "position": (
        "`{where}` reads an operand that depends on the place (coordinates, a positional embedding, a mask, a single index)",
        "leave it out, or use relative positions (a convolution sees them)",
    ),
    "dense": (
        "`{where}` has a weight of its own for every place",
        "ej.nn.GlobalPool before the dense layer, a convolution, or ej.nn.EquivariantLinear",
    ),
    "nonlinearity": (
        "`{where}` applies a pointwise nonlinearity to a fibre that the group does not permute",
        "a norm or gate nonlinearity, or a permutation fibre such as ej.reps.Regular",
    ),
    "order": (
        "`{where}` reads the moved axis in order (cumulative sum, scan, sort, index)",
        "a symmetric reduction (mean, max, attention), or ej.nn.Symmetrize",
    ),
    "aliasing": (
        "`{where}` makes frequencies that the grid can't hold, so that shifts by parts of a pixel are not respected",
        "ej.nn.FilteredActivation, ej.nn.FourierDownsample",
    ),
    "mask": (
        "`{where}` lets masked (padded) entries change the result",
        "mask before reducing, and divide by the number of valid entries",
    ),
    "tie": (
        "`{where}` chooses between candidates that are (nearly) equal",
        "a choice by data that moves along, with its margin reported",
    ),
    "batch": (
        "`{where}` mixes the samples of the batch",
        "model.eval() for batch statistics, or nnx.LayerNorm, ej.nn.GroupNorm",
    ),
    "state": (
        "`{where}` changes the model's state when it is called",
        "audit model.eval(), or a view with use_running_average=True",
    ),
    "randomness": (
        "`{where}` draws random numbers",
        "model.eval(), or nnx.view(model, deterministic=True)",
    ),
    "unknown": (
        "no repair makes `{where}` commute",
        "declare its action with actions={{path: action}}, or replace it by a layer of ej.nn",
    ),
}
