"""Valid calls of functions of phases, frequencies, cosets and frames."""

import inspect
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

import equijax as ej
from equijax import nn
from tests.wrong_uses.layers import C4, HALF, P4, described
from tests.wrong_uses.trying import Use

X, F, CLOUD = np.ones((1, 4, 4, 2)), np.ones((4, 2)), np.arange(15.0).reshape(5, 3) ** 2
Y = np.ones((1, 2, 2, 2))
CHOICE = nn.Choice(np.zeros((1, 2), np.int32), np.ones(1))
PARTS = np.ones((1, 4, 2, 2, 2))
DOWN, UP = nn.PolyphaseDownsample((2, 2)), nn.PolyphaseUpsample((2, 2))


def made(cls: Any) -> Any:
    """Returns the constructor of a class of modules as a function, whose arguments can be read."""

    def make(**given: Any) -> Any:
        return cls(**given)

    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    make.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return make


BACK, BLOCK = nn.PolyphaseConvTranspose(2, 2, (2, 2), param_dtype=float, rngs=nnx.Rngs(0)), nn.PolyphaseResidual(DOWN)
STAGE = nn.PolyphaseStage(DOWN, None, UP)
GRID = {"x": "any array", "y": "any array", "parts": "any array", "inputs": "inputs", "strides": "strides", "factors": "strides", "shift": "shift",
        "order": "positive number", "choice": "thing"}  # fmt: skip
CHOSEN = {"choice": {"list": "lists of numbers are as good", "traced": "choices may be traced"}}
OF_GRIDS = [
    Use("phases", described(nn.phases), {"x": X, "strides": (2, 2)}, GRID),
    Use("from_phases", described(nn.from_phases), {"parts": PARTS, "strides": (2, 2)}, GRID),
    Use("polyphase_downsample", described(nn.polyphase_downsample), {"x": X, "strides": (2, 2)}, {**GRID, "choice": "optional thing"}),
    Use("polyphase_downsample with a choice", described(nn.polyphase_downsample), {"x": X, "strides": (2, 2), "choice": CHOICE},
        {**GRID, "x": "skip", "choice": "optional thing", "order": "skip", "trailing": "skip"}, CHOSEN),
    Use("polyphase_upsample", described(nn.polyphase_upsample), {"y": Y, "choice": CHOICE, "strides": (2, 2)}, GRID, CHOSEN),
    Use("Choice", described(lambda choice: nn.polyphase_upsample(Y, nn.Choice(choice, np.ones(1)), (2, 2))), {"choice": np.zeros((1, 2), int)},
        {"choice": "indices"}),
    Use("PolyphaseUpsample", made(nn.PolyphaseUpsample), {"strides": (2, 2), "group": P4},
        {"strides": "window", "group": "optional group", "in_fibre": "optional fibre"}),
    Use("PolyphaseUpsample.__call__", described(UP.__call__), {"inputs": Y, "choice": CHOICE}, GRID, CHOSEN),
    Use("PolyphaseStage.__call__", described(STAGE.__call__), {"inputs": X}, GRID),
    Use("PolyphaseStage", made(nn.PolyphaseStage), {"down": DOWN, "inside": jnp.tanh, "up": UP},
        {"down": "thing", "inside": "function", "up": "thing"}, {"inside": {"None": "nothing is inside", "()": "nothing is inside", "list": "several layers"},
         "join": {"fibre": "a representation can be called"}}),
    Use("PolyphaseResidual", made(nn.PolyphaseResidual), {"main": DOWN, "short": DOWN, "activation": jnp.tanh},
        {"main": "thing", "short": "optional thing", "activation": "optional function"}),
    Use("PolyphaseResidual.with_choice", described(BLOCK.with_choice), {"inputs": X, "choice": CHOICE},
        {**GRID, "inputs": "skip", "choice": "optional thing"}, CHOSEN),
    Use("PolyphaseResidual.choose", described(BLOCK.choose), {"inputs": X}, GRID),
    Use("PolyphaseConvTranspose.__call__", described(BACK.__call__), {"inputs": Y, "choice": CHOICE}, GRID, CHOSEN),
    Use("PolyphaseDownsample.with_choice", described(DOWN.with_choice), {"inputs": X, "choice": CHOICE},
        {**GRID, "inputs": "skip", "choice": "optional thing"}, CHOSEN),
    Use("PolyphaseDownsample.choose", described(DOWN.choose), {"inputs": X}, GRID),
    Use("fourier_shift", described(nn.fourier_shift), {"x": X, "shift": (0.5, 0.5)}, GRID),
    Use("low_pass", described(nn.low_pass), {"x": X, "factors": (2, 2)}, GRID),
]  # fmt: skip
OF_GROUPS = [
    Use("coset_pool", described(nn.coset_pool), {"x": F, "subgroup": HALF}, {"x": "any array"}),
    Use("coset_subsample", described(nn.coset_subsample), {"x": F, "subgroup": HALF}, {**GRID, "coset": "skip"}),
    Use("coset_subsample with a coset", described(nn.coset_subsample), {"x": F, "subgroup": HALF, "coset": np.array(1)},
        {"x": "any array", "coset": "one number", "order": "skip"}, {"coset": {"None": "one is chosen"}}),
    Use("coset_unpool", described(nn.coset_unpool), {"y": np.ones((2, 2)), "subgroup": HALF, "coset": np.array(1)},
        {"y": "any array", "coset": "one number"}),
    Use("pca_frames", described(nn.pca_frames), {"points": CLOUD}, {"points": "any array"}),
    Use("frame_determined", described(nn.frame_determined), {"points": CLOUD}, {"points": "any array"}),
    Use("frame_average", described(nn.frame_average), {"fn": lambda x: x.sum((-2, -1)), "points": CLOUD, "output": "scalars"},
        {"points": "any array"}),
    Use("freeze", described(nn.freeze), {"model": DOWN, "input_shape": (1, 4, 4, 2)}, {"model": "thing", "input_shape": "thing"}, {"input_shape": {"None": "all sizes alike", "np.int64": "an integer", "list": "a shape"}}),
    Use("canonicalize", described(nn.canonicalize),
        {"x": X[0], "action": ej.GridAction(P4), "score": lambda x: jnp.sum(x[0, 0]), "elements": (np.zeros((1, 2), int), np.zeros(1, int))},
        {"x": "moved array", "elements": "skip"}, {"x": {"higher rank": "either: the score says"}}),
    Use("canonicalize by elements", described(lambda elements: nn.canonicalize(F, ej.FibreAction(ej.reps.Regular(C4)), jnp.sum, elements)),
        {"elements": np.array([0, 2])}, {"elements": "optional elements"}, {"elements": {"traced": "elements may be traced"}}),
]  # fmt: skip
USES = [*OF_GRIDS, *OF_GROUPS]
