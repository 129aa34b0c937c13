"""What is put in the place of an argument, and where that is no wrong use."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import equijax as ej
from equijax.reps import Regular, Representation


class Traced:
    """Marks a value that is handed over as a tracer."""

    def __init__(self, value: Any):
        self.value = value


class Foreign:
    """An object of no use."""

    def __repr__(self) -> str:
        return "Foreign()"


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, jax.Array)) and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _is_float(value: Any) -> bool:
    """A float array, or an element that holds one."""
    if isinstance(value, tuple):
        return any(map(_is_float, value))
    return _is_array(value) and np.asarray(value).dtype.kind == "f"


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_numeric(value: Any) -> bool:
    """An array, a number, or a tuple of them."""
    if isinstance(value, tuple):
        return bool(value) and all(map(is_numeric, value))
    return _is_array(value) or isinstance(value, (int, float)) and not isinstance(value, bool)


def _each(change: Any, value: Any) -> Any:
    return tuple(_each(change, v) for v in value) if isinstance(value, tuple) else change(value)


def _negative(value: Any) -> Any:
    return -np.asarray(value, int) - 1 if _is_array(value) and value.dtype == bool else -value - 1


def _half(value: Any) -> Any:
    return np.asarray(value) + 0.5 if _is_array(value) else 1.5


def _nan(value: Any) -> Any:
    return np.full(np.shape(value), np.nan) if _is_array(value) else float("nan")


def _huge(value: Any) -> Any:
    return (
        np.asarray(value) + 2.0**40
        if _is_float(value)
        else np.asarray(value, np.int64) + 2**40
        if _is_array(value)
        else 2**40
    )


def _add_axis(value: Any) -> Any:
    return np.asarray(value)[None]


def _empty(value: Any) -> Any:
    return np.asarray(value)[..., :0] if value.ndim else np.zeros(0, np.asarray(value).dtype)


def is_element(value: Any) -> bool:
    """A tuple of arrays: an element of a product."""
    return isinstance(value, tuple) and bool(value) and all(_is_array(v) or is_element(v) for v in value)


def _true(value: Any) -> Any:
    return np.ones(np.shape(value), bool) if _is_array(value) else True


def _int64(value: Any) -> Any:
    if _is_array(value) and np.asarray(value).dtype.kind in "iu":
        return np.asarray(value, np.int64)
    return np.int64(value) if _is_int(value) else np.int64(1)


def replacements(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields the name and the value of what replaces a valid argument."""
    plain = value if is_numeric(value) else 1
    array = _is_array(value)
    yield "object", Foreign()
    yield "None", None
    yield "string", "ab"
    if is_element(value):
        yield "list", jax.tree.map(lambda leaf: leaf.tolist(), value)
    else:
        yield "list", value.tolist() if _is_array(value) else list(value) if isinstance(value, tuple) else [value, value]
    yield (
        "lower rank",
        value.reshape(-1)[0] if array and value.ndim else value[0] if isinstance(value, tuple) and value else [1, 2],
    )
    yield "higher rank", _each(_add_axis, value) if array or is_element(value) else np.ones((2, 2))
    yield "size 0", _empty(value) if array else np.zeros((0,))
    yield "negative", _each(_negative, plain)
    yield "NaN", _each(_nan, plain)
    yield "1.5", _each(_half, plain)
    yield "2**40", _each(_huge, plain)
    yield "bool", _each(_true, plain)
    if not _is_float(value):
        yield "np.int64", _each(_int64, plain)
    yield "traced", Traced(plain)
    yield "group", ej.Octahedral() if isinstance(value, ej.groups.LieGroup) else ej.SO(4)
    if not callable(value) or isinstance(value, Representation):  # a representation can be called
        yield "fibre", Regular(ej.Cyclic(7))
    yield "()", ()


BATCH = "any leading axes are a batch"
SEQUENCE = "a list is as good as an array or tuple"
NUMBER = "any number is one"
ITSELF = "None is a value of its own: the docstring says which"
#: For each kind of argument the replacements that are right, and why.
KINDS: dict[str, dict[str, str]] = {
    "int": {},
    "optional int": {"None": ITSELF},
    "flag": {"bool": "it is one"},
    "optional flag": {"bool": "it is one", "None": ITSELF},
    "number": {"np.int64": NUMBER, "1.5": NUMBER},
    "positive number": {"np.int64": NUMBER, "1.5": NUMBER, "2**40": NUMBER},
    "any number": {"np.int64": NUMBER, "1.5": NUMBER, "2**40": NUMBER, "negative": NUMBER},
    "numbers": {  # of elements of a finite group
        "np.int64": "integers of any width",
        "list": SEQUENCE,
        "lower rank": BATCH,
        "higher rank": BATCH,
        "size 0": BATCH,
        "traced": "elements may be traced",
    },
    "element": {
        "list": SEQUENCE,
        "higher rank": BATCH,
        "traced": "elements may be traced",
        "np.int64": "integers of any width",
    },
    "one element": {"list": SEQUENCE, "traced": "elements may be traced", "np.int64": "integers of any width"},
    "vectors": {  # of translations
        "np.int64": "integers of any width",
        "list": SEQUENCE,
        "higher rank": BATCH,
        "negative": "vectors point anywhere",
        "traced": "elements may be traced",
    },
    "matrices": {"list": SEQUENCE, "higher rank": BATCH, "traced": "elements may be traced"},
    "directions": {  # of a Lie algebra
        "2**40": NUMBER,
        "list": SEQUENCE,
        "higher rank": BATCH,
        "negative": NUMBER,
        "1.5": NUMBER,
        "NaN": "NaN gives NaN",
        "traced": "arrays may be traced",
    },
    "array": {
        "list": SEQUENCE,
        "negative": NUMBER,
        "1.5": NUMBER,
        "NaN": "NaN gives NaN",
        "2**40": NUMBER,
        "higher rank": BATCH,
        "traced": "arrays may be traced",
        "size 0": BATCH,
    },
    "period": {
        "None": ITSELF,
        "np.int64": "one integer stands for all axes",
        "list": SEQUENCE,
        "lower rank": "one integer stands for all axes",
    },
    "members": {"list": SEQUENCE, "()": "none", "size 0": "none", "np.int64": "integers of any width"},
    "integers": {"list": SEQUENCE, "np.int64": "integers of any width"},
    "table": {"list": SEQUENCE},
    "optional table": {"list": SEQUENCE, "None": ITSELF},
    "directions of a group": {
        "2**40": "other matrices",
        "list": SEQUENCE,
        "negative": "other matrices",
        "1.5": "other matrices",
        "()": "a finite group",
    },
    "one number": {"list": SEQUENCE, "traced": "elements may be traced", "np.int64": "integers of any width"},
    "known number": {
        "list": SEQUENCE,
        "lower rank": BATCH,
        "higher rank": BATCH,
        "size 0": BATCH,
        "np.int64": "integers of any width",
    },
    "axis": {"negative": "counted from the end", "np.int64": "integers of any width"},
    "moved array": {
        "list": SEQUENCE,
        "negative": NUMBER,
        "1.5": NUMBER,
        "NaN": "NaN gives NaN",
        "2**40": NUMBER,
        "bool": "bools are numbers",
        "size 0": BATCH,
        "traced": "arrays may be traced",
    },
    "invertible": {"list": SEQUENCE, "negative": "another matrix", "1.5": "another matrix"},
    "fibres": {"list": SEQUENCE},
    "known element": {"list": SEQUENCE, "np.int64": "integers of any width"},
    "per axis": {
        "None": "1 along each axis",
        "list": SEQUENCE,
        "lower rank": "one number stands for all axes",
        "np.int64": "one number stands for all axes",
    },
    "per axis real": {
        "list": SEQUENCE,
        "lower rank": "one number stands for all axes",
        "negative": NUMBER,
        "1.5": NUMBER,
        "np.int64": NUMBER,
    },
    "kernel": {
        "list": SEQUENCE,
        "lower rank": "one number stands for all axes",
        "np.int64": "integers of any width",
        "()": "either: a group may have no grid",
    },
    "window": {
        "list": SEQUENCE,
        "lower rank": "one number stands for all axes",
        "np.int64": "integers of any width",
    },
    "optional window": {
        "None": "1 along each axis, or as the docstring says",
        "list": SEQUENCE,
        "lower rank": "one number stands for all axes",
        "np.int64": "integers of any width",
    },
    "strides": {"list": SEQUENCE, "np.int64": "integers of any width"},
    "shift": {
        "list": SEQUENCE,
        "np.int64": NUMBER,
        "negative": NUMBER,
        "1.5": NUMBER,
        "2**40": NUMBER,
        "()": "no axes",
        "size 0": "no axes",
    },
    "any array": {
        "list": SEQUENCE,
        "negative": NUMBER,
        "1.5": NUMBER,
        "NaN": "NaN gives NaN",
        "2**40": NUMBER,
        "higher rank": "either: " + BATCH,
        "traced": "arrays may be traced",
        "size 0": "either: there may be no features",
        "bool": "bools are numbers",
    },
    "padding": {"lower rank": "one number for each axis", "np.int64": "one number stands for all axes"},
    "sizes": {"list": SEQUENCE, "np.int64": "integers of any width"},
    "sizes of": {"list": SEQUENCE, "np.int64": "integers of any width", "()": ITSELF},
    "known elements": {
        "np.int64": "integers of any width",
        "higher rank": "all of several",
        "lower rank": "all of several",
        "size 0": "all of none",
    },
    "no sizes": {"list": SEQUENCE},
    "optional fibre": {"None": ITSELF},
    "named sizes": {"None": ITSELF, "list": SEQUENCE, "()": "no types", "size 0": "no types"},
    "graph": {},
    "thing": {},  # an object of one class
    "optional thing": {"None": ITSELF},
    "features": {  # of a graph
        "None": ITSELF,
        "list": SEQUENCE,
        "negative": NUMBER,
        "1.5": NUMBER,
        "2**40": NUMBER,
        "NaN": "NaN gives NaN",
        "traced": "arrays may be traced",
        "bool": "bools are numbers",
        "size 0": "no features",
        "()": "an empty tree",
    },
    "points": {
        "None": ITSELF,
        "list": SEQUENCE,
        "negative": NUMBER,
        "1.5": NUMBER,
        "2**40": NUMBER,
        "NaN": "NaN gives NaN",
        "traced": "arrays may be traced",
    },
    "indices": {"list": SEQUENCE, "np.int64": "integers of any width", "traced": "arrays may be traced"},
    "optional indices": {
        "None": ITSELF,
        "list": SEQUENCE,
        "np.int64": "integers of any width",
        "traced": "arrays may be traced",
    },
    "optional integers": {"None": ITSELF, "list": SEQUENCE, "np.int64": "integers of any width"},
    "mask": {"None": ITSELF, "list": SEQUENCE, "bool": "it is one", "traced": "arrays may be traced"},
    "known mask": {"None": ITSELF, "list": SEQUENCE, "bool": "it is one"},
    "weights": {"list": SEQUENCE, "negative": NUMBER, "1.5": NUMBER, "2**40": NUMBER, "NaN": "NaN gives NaN"},
    "known reals": {"list": SEQUENCE, "negative": NUMBER, "1.5": NUMBER, "2**40": NUMBER},
    "optional reals": {"list": SEQUENCE, "None": ITSELF},
    "axes": {"None": ITSELF, "list": SEQUENCE},
    "words": {"list": SEQUENCE},
    "optional words": {"None": ITSELF},
    "optional group": {"None": ITSELF},
    "optional action": {"None": ITSELF},
    "optional number": {"None": ITSELF, "np.int64": NUMBER, "1.5": NUMBER, "2**40": NUMBER},
    "optional elements": {"None": ITSELF, "list": SEQUENCE, "np.int64": "integers of any width"},
    "checked group": {"group": "any group"},
    "count": {"np.int64": "integers of any width"},
    "dtype": {},
    "input": {
        "higher rank": BATCH,
        "size 0": "no features",
        "negative": NUMBER,
        "1.5": NUMBER,
        "2**40": NUMBER,
        "bool": "bools move as well",
    },
    "rngs": {},
    "optional dtype": {"None": ITSELF},
    "metadata": {},
    "precision": {"None": ITSELF, "list": "one for each operand"},
    "axis name": {"None": ITSELF, "string": "a name", "()": "no axes"},
    "groups of indices": {"None": ITSELF},
    "share": {"np.int64": "1 is one"},
    "aggregation": {"list": "several"},
    "optional function": {"None": ITSELF, "fibre": "a representation can be called"},
    "some words": {"list": SEQUENCE, "lower rank": "either: one word"},
    "pair of numbers": {"list": SEQUENCE, "1.5": NUMBER, "2**40": NUMBER, "np.int64": NUMBER},
    "word": {"string": "a name"},
    "inputs": {
        "bool": "either: bools are numbers",
        "size 0": "either: there may be no features",
        "lower rank": "either: a function may take a number",
        "list": SEQUENCE,
        "higher rank": "either: " + BATCH,
        "negative": NUMBER,
        "1.5": NUMBER,
        "2**40": NUMBER,
        "NaN": "NaN gives NaN",
        "traced": "arrays may be traced",
    },
    "key": {},
    "shape": {"list": SEQUENCE, "lower rank": "a list of integers", "()": "it is a shape"},
    "group": {},
    "any group": {"group": "any group will do"},
    "fibre": {},
    "any fibre": {"fibre": "any representation will do"},
    "action": {},
    "function": {},
    "choice": {},
    "optional choice": {"None": ITSELF},
}
