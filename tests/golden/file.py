"""The file of the recording: all numbers of a dtype in one array, and an index of what is where."""

import json
import pathlib
from typing import Any

import numpy as np

FILE = pathlib.Path(__file__).with_name("states.npz")


def write(arrays: dict[str, np.ndarray], meta: dict[str, str]) -> None:
    """Writes arrays by their keys; one array for each dtype keeps the file small."""
    flat: dict[str, list[np.ndarray]] = {}
    index: dict[str, Any] = {}
    for key, value in arrays.items():
        parts = flat.setdefault(value.dtype.name, [])
        index[key] = [value.dtype.name, sum(map(len, parts)), value.shape]
        parts.append(value.reshape(-1))
    np.savez_compressed(FILE, index=json.dumps(meta | {"arrays": index}), **{k: np.concatenate(v) for k, v in flat.items()})


def read() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays by their keys, and what is said of the recording."""
    with np.load(FILE) as file:
        flat = dict(file)
    meta = json.loads(str(flat.pop("index")))
    arrays = {}
    for key, (dtype, start, shape) in meta.pop("arrays").items():
        arrays[key] = flat[dtype][start : start + int(np.prod(shape))].reshape(shape)
    return arrays, meta
