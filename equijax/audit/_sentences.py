"""The sentences of the audit: what is wrong with a step, and what to use instead."""

from equijax.audit._causal import causal_by
from equijax.audit._network import Network
from equijax.audit._report import Cause, CauseKind
from equijax.audit._shared import mixes
from equijax.audit._steps import Step


def cause(kind: CauseKind, network: Network, step: Step) -> Cause:
    """Returns a cause with its sentence and its replacement for one step."""
    dimension = len(network.frame.centre) if network.frame.is_grid else 0
    details = {"where": step.name, "kernel": _window(network, step), "strides": _strides(step), "d": dimension}
    sentence, replacement = _TEXTS[kind]
    if kind == "kernel" and any(mixes(network.layouts.get(v)) for v in (*step.before, *step.written)):
        sentence, replacement = _MIXING_KERNEL
    if kind == "phase" and details["strides"] == SEVERAL and any(eq.name == "dot_general" for eq in step.equations):
        sentence, replacement = _WINDOWS
    by = causal_by(network, step.equations) if kind == "order" else ""
    if by:
        sentence, replacement = _CAUSAL[by]
    return Cause(kind, sentence.format(**details), replacement.format(**details))


def places_ignored(network: Network, step: Step) -> Cause:
    """Returns the cause of a step that brings samples back to the fine grid, but not to where they were chosen from."""
    sentence = (
        f"`{step.name}` brings samples back to the fine grid without looking where the layers before it, which choose by "
        "the data, took them from"
    )
    replacement = (
        "`y, choice = layer.with_choice(x)` there; here ej.nn.PolyphaseUpsample(strides)(y, choice), with a convolution "
        "behind it"
    )
    return Cause("phase", sentence, replacement)


def _window(network: Network, step: Step) -> str:
    for eq in step.equations:
        if eq.name == "conv_general_dilated":
            shape = network.trace.program.avals[eq.inputs[1]].shape
            return "×".join(str(shape[k]) for k in eq.params["dimension_numbers"].rhs_spec[2:]) + " kernel"
    return "weights"


def _strides(step: Step) -> str:
    for eq in step.equations:
        strides = eq.params.get("window_strides") or (eq.params.get("strides") if eq.name == "slice" else None)
        if strides and max(strides) > 1:
            return str(max(strides))
    return SEVERAL


#: The stride of a step in which no operation has one.
SEVERAL = "several samples"

#: Of attention within windows, as in a Swin transformer.
_WINDOWS = (
    "`{where}` looks at the places of one window at a time; a shift that the side of a window does not divide moves places "
    "into other windows",
    "attention over all places, or over the neighbours of every place; for shifts by whole windows nothing",
)

#: Of a kernel between fibres that are mixed, where more is asked than that weights are equal.
_MIXING_KERNEL = (
    "the {kernel} of `{where}` does not commute with the point group, which moves its places and mixes its fibres",
    "ej.nn.Conv with group=..., in_fibre=... and out_fibre=..., whose kernels do",
)

#: Of causal layers, by what makes them so.
_CAUSAL = {
    "window": (
        "`{where}` is causal: it looks at earlier places only, and sees where the sequence begins",
        "for a symmetry of whole sequences: a circular or centred convolution; a causal network is exact on shifts only "
        "where nothing is cut off: compare outputs behind its receptive field",
    ),
    "mask": (
        "`{where}` is causal: its mask hides later places, so that each looks back to where the sequence begins",
        "for a symmetry of whole sequences: attention to all places; a causal network is exact on shifts only where nothing "
        "is cut off: a mask of a fixed reach, with outputs compared behind it",
    ),
}

_TEXTS: dict[CauseKind, tuple[str, str]] = {
    "kernel": (
        "the {kernel} of `{where}` differs at places that the point group moves onto each other",
        "ej.nn.LiftingConv, GroupConv or Conv with group=..., which share them",
    ),
    "phase": (
        "`{where}` keeps the samples of one phase (stride {strides}); a shift that the stride does not divide changes it",
        "ej.nn.PolyphaseConv, PolyphaseMaxPool or PolyphaseDownsample, which choose the phase by the data; cheap and "
        "approximate: ej.nn.BlurPool; for rotations: sizes and windows that keep the centre",
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
    "fibre": (
        "`{where}` treats the coordinates of a fibre one by one (a weight, a bias, a scale, a sum over them), but the group "
        "mixes them",
        "ej.nn.EquivariantLinear or ej.nn.Conv between the fibres, whose bias is invariant; nnx.Linear(use_bias=False) over "
        "the features; ej.nn.InvariantPool for invariants",
    ),
    "nonlinearity": (
        "`{where}` applies a pointwise nonlinearity to a fibre that the group does not permute",
        "a norm or gate nonlinearity, or a permutation fibre such as ej.reps.Regular",
    ),
    "order": (
        "`{where}` reads the moved axis in order (cumulative sum, scan, sort, index, the last of several writes)",
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
        "model.eval() for batch statistics, or nnx.LayerNorm, ej.nn.GroupNorm; on graphs ej.nn.GraphNorm",
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
