"""Which kind of argument a name stands for, and a value for arguments that are None by default."""

from typing import Any

import jax
import numpy as np
from flax import nnx

import equijax as ej
from equijax.actions import Action
from equijax.reps import Representation

#: Values of arguments whose default is None.
DEFAULTS: dict[str, Any] = {
    "key": jax.random.key(0),
    "rngs": nnx.Rngs(0),
    "period": 4,
    "tolerance": 1e-3,
    "degree": 1,
    "strides": 2,
}
KIND_OF_NAME = {
    "key": "key",
    "shape": "shape",
    "rngs": "rngs",
}


def kind_of(name: str, value: Any) -> str:
    """The kind of an argument by its name, else by its value."""
    if name in KIND_OF_NAME:
        return KIND_OF_NAME[name]
    if value is None:
        return "optional int"
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "choice"
    for cls, kind in ((ej.Group, "group"), (Representation, "fibre"), (Action, "action")):
        if isinstance(value, cls):
            return kind
    if isinstance(value, (np.ndarray, jax.Array)):
        return "array"
    if callable(value):
        return "function"
    if isinstance(value, tuple):
        return "shape"
    return "choice"
